/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See log.h. One line is formatted on the stack and written with one write(), so that lines of several
 * processes that share a terminal or a pipe do not mix. Write errors are ignored: there is nowhere to report
 * them to.
 */
#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 8192

static struct {
    enum log_level level;
    enum log_format format;
    bool colour;
    bool journal;
} out = {.level = LEVEL_INFO, .format = LOG_TEXT};

static const char *const level_names[] = {"error", "warn", "info", "debug", "trace"};

void log_open(enum log_format format, enum log_level level)
{
    const char *no_colour = getenv("NO_COLOR");
    bool terminal = isatty(STDERR_FILENO) == 1;

    out.level = level;
    out.journal = format != LOG_JSON && !terminal && getenv("JOURNAL_STREAM") != NULL;
    out.format = format == LOG_JSON ? LOG_JSON : LOG_TEXT;
    out.colour = terminal && out.format == LOG_TEXT && (no_colour == NULL || *no_colour == '\0');
}

void log_set_level(enum log_level level)
{
    out.level = level;
}

enum log_level log_get_level(void)
{
    return out.level;
}

const char *log_level_name(enum log_level level)
{
    return (unsigned)level <= LEVEL_TRACE ? level_names[level] : "?";
}

bool log_level_parse(const char *text, enum log_level *level)
{
    for (unsigned i = 0; i <= LEVEL_TRACE; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* Length of the valid UTF-8 sequence at p (RFC 3629), or 0. */
static size_t utf8_length(const unsigned char *p, size_t left)
{
    size_t n;
    unsigned long code;

    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] < 0xe0) {
        n = 2;
        code = p[0] & 0x1fu;
    } else if (p[0] >= 0xe0 && p[0] < 0xf0) {
        n = 3;
        code = p[0] & 0x0fu;
    } else if (p[0] >= 0xf0 && p[0] < 0xf5) {
        n = 4;
        code = p[0] & 0x07u;
    } else {
        return 0;
    }
    if (left < n)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0u) != 0x80u)
            return 0;
        code = code << 6 | (p[i] & 0x3fu);
    }
    /* Overlong forms, surrogates, C1 controls and what Unicode does not have. */
    if ((n == 3 && code < 0x800) || (n == 4 && (code < 0x10000 || code > 0x10ffff)) ||
        (code >= 0xd800 && code <= 0xdfff) || code < 0xa0)
        return 0;
    /* Characters that change the direction of a terminal's line: they could make one line look like another.
     */
    if ((code >= 0x200e && code <= 0x200f) || (code >= 0x202a && code <= 0x202e) ||
        (code >= 0x2066 && code <= 0x2069) || code == 0x2028 || code == 0x2029)
        return 0;
    return n;
}

size_t log_escape(char *to, size_t cap, const char *in, size_t len)
{
    const unsigned char *p = (const unsigned char *)in;
    size_t at = 0;

    if (cap == 0)
        return 0;
    for (size_t i = 0; i < len;) {
        size_t n = utf8_length(p + i, len - i);
        bool plain = n > 1 || (n == 1 && p[i] >= 0x20 && p[i] != 0x7f && p[i] != '"' && p[i] != '\\');
        if (plain) {
            if (cap - at <= n)
                break;
            memcpy(to + at, p + i, n);
            at += n;
            i += n;
        } else {
            if (cap - at <= 4)
                break;
            at += (size_t)snprintf(to + at, cap - at, "\\x%02x", p[i]);
            i++;
        }
    }
    to[at] = '\0';
    return at;
}

/* Appends to a line, never past its end. */
static void line_add(char *line, size_t *at, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void line_add(char *line, size_t *at, const char *format, ...)
{
    va_list args;

    if (*at >= LINE_MAX_BYTES - 1)
        return;
    va_start(args, format);
    int n = vsnprintf(line + *at, LINE_MAX_BYTES - *at, format, args);
    va_end(args);
    if (n > 0)
        *at += (size_t)n < LINE_MAX_BYTES - *at ? (size_t)n : LINE_MAX_BYTES - *at - 1;
}

static void line_time(char *text, size_t cap)
{
    struct timespec now;
    struct tm utc;
    char seconds[32];

    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    (void)strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(text, cap, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
}

/* JSON strings want \u00NN where log_escape gives \xNN; the escaped text has no other backslashes. */
static void json_add(char *line, size_t *at, const char *escaped)
{
    for (const char *p = escaped; *p != '\0'; p++) {
        if (p[0] == '\\' && p[1] == 'x' && p[2] != '\0' && p[3] != '\0') {
            if (p[2] == '2' && p[3] == '2')
                line_add(line, at, "\\\"");
            else if (p[2] == '5' && p[3] == 'c')
                line_add(line, at, "\\\\");
            else
                line_add(line, at, "\\u00%c%c", p[2], p[3]);
            p += 3;
        } else {
            line_add(line, at, "%c", *p);
        }
    }
}

static void line_json(char *line, size_t *at, enum log_level level, const struct log_source *from,
                      const char *text)
{
    char when[48];

    line_time(when, sizeof when);
    line_add(line, at, "{\"time\":\"%s\",\"level\":\"%s\",\"role\":\"%s\",\"pid\":%d", when,
             log_level_name(level), from->role, (int)from->pid);
    if (from->connection != 0)
        line_add(line, at, ",\"connection\":%llu", from->connection);
    if (from->peer != NULL && from->peer[0] != '\0')
        line_add(line, at, ",\"peer\":\"%s\"", from->peer);
    line_add(line, at, ",\"message\":\"");
    json_add(line, at, text);
    if (*at > LINE_MAX_BYTES - 4)
        *at = LINE_MAX_BYTES - 4;
    line_add(line, at, "\"}");
}

static void line_text(char *line, size_t *at, enum log_level level, const struct log_source *from,
                      const char *text)
{
    static const char *const colours[] = {"\033[31m", "\033[33m", "", "\033[2m", "\033[2m"};
    static const int priorities[] = {3, 4, 6, 7, 7}; /* sd-daemon(3) */
    bool colour = out.colour && colours[level][0] != '\0';
    char when[48];

    if (out.journal) {
        line_add(line, at, "<%d>", priorities[level]);
    } else {
        line_time(when, sizeof when);
        line_add(line, at, "%s %s%-5s%s ", when, colour ? colours[level] : "", log_level_name(level),
                 colour ? "\033[0m" : "");
    }
    line_add(line, at, "%s[%d]", from->role, (int)from->pid);
    if (from->connection != 0 && (from->in_words & SAYS_CONNECTION) == 0)
        line_add(line, at, " #%llu", from->connection);
    if (from->peer != NULL && from->peer[0] != '\0' && (from->in_words & SAYS_PEER) == 0)
        line_add(line, at, " %s", from->peer);
    line_add(line, at, ": ");
    /* Quotes and backslashes are harmless in plain text: show them as they are. */
    for (const char *p = text; *p != '\0'; p++) {
        if (strncmp(p, "\\x22", 4) == 0 || strncmp(p, "\\x5c", 4) == 0) {
            line_add(line, at, "%c", p[2] == '2' ? '"' : '\\');
            p += 3;
        } else {
            line_add(line, at, "%c", *p);
        }
    }
}

void log_line(enum log_level level, const struct log_source *source, const char *format, ...)
{
    char text[2048], escaped[4096], line[LINE_MAX_BYTES];
    struct log_source self = {.role = "supervisor", .pid = getpid()};
    const struct log_source *from = source != NULL ? source : &self;
    int saved = errno;
    size_t at = 0;
    va_list args;

    if ((unsigned)level > LEVEL_TRACE || level > out.level)
        return;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0)
        n = 0;
    (void)log_escape(escaped, sizeof escaped, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
    if (out.format == LOG_JSON)
        line_json(line, &at, level, from, escaped);
    else
        line_text(line, &at, level, from, escaped);
    line[at < LINE_MAX_BYTES - 1 ? at++ : at] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, at);
    (void)ignored;
    errno = saved;
}
