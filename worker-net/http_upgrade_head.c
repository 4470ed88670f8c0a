/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict cutting of an HTTP/1.1 head: see http_upgrade_head.h. What it lets through has no bare CR, LF or NUL
 * anywhere, so that no proxy in front can have read it differently.
 */
#include "worker-net/http_upgrade_head.h"

#include <string.h>
#include <strings.h>

enum status http_head_size(const char *buf, size_t len, size_t *size)
{
    size_t window = len < HTTP_HEAD_MAX ? len : HTTP_HEAD_MAX;
    const char *end = memmem(buf, window, "\r\n\r\n", 4);

    if (end != NULL) {
        *size = (size_t)(end - buf) + 4;
        return OK;
    }
    return len >= HTTP_HEAD_MAX ? ERR_SIZE : ERR_AGAIN;
}

static bool is_token_char(char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_token(struct http_text t)
{
    for (size_t i = 0; i < t.len; i++) {
        if (!is_token_char(t.at[i]))
            return false;
    }
    return t.len > 0;
}

/* Visible ASCII, blanks and bytes over 0x7f (obs-text), but no control characters. */
static bool is_field_text(struct http_text t)
{
    for (size_t i = 0; i < t.len; i++) {
        unsigned char c = (unsigned char)t.at[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static struct http_text trim(struct http_text t)
{
    while (t.len > 0 && (t.at[0] == ' ' || t.at[0] == '\t')) {
        t.at++;
        t.len--;
    }
    while (t.len > 0 && (t.at[t.len - 1] == ' ' || t.at[t.len - 1] == '\t'))
        t.len--;
    return t;
}

static enum status parse_field(struct http_text line, struct http_field *out)
{
    const char *colon = memchr(line.at, ':', line.len);

    if (colon == NULL)
        return ERR_FORMAT;
    struct http_text name = {line.at, (size_t)(colon - line.at)};
    struct http_text value = {colon + 1, line.len - name.len - 1};
    /* A blank before the colon or at the line's start (a folded line) makes the name no token. */
    if (!is_token(name) || !is_field_text(value))
        return ERR_FORMAT;
    out->name = name;
    out->value = trim(value);
    return OK;
}

/* Takes one CRLF-ended line off the front of *rest. */
static enum status take_line(struct http_text *rest, struct http_text *line)
{
    const char *end = memmem(rest->at, rest->len, "\r\n", 2);

    if (end == NULL)
        return ERR_FORMAT;
    *line = (struct http_text){rest->at, (size_t)(end - rest->at)};
    rest->at = end + 2;
    rest->len -= line->len + 2;
    return OK;
}

static enum status parse_fields(struct http_text rest, struct http_head *out)
{
    struct http_text line;

    out->n_fields = 0;
    for (;;) {
        enum status s = take_line(&rest, &line);
        if (s != OK)
            return s;
        if (line.len == 0)
            return rest.len == 0 ? OK : ERR_FORMAT;
        if (out->n_fields == HTTP_FIELDS_MAX)
            return ERR_SIZE;
        s = parse_field(line, &out->fields[out->n_fields]);
        if (s != OK)
            return s;
        out->n_fields++;
    }
}

/* Cuts the start line at its first two single spaces; the third piece is the rest. */
static enum status parse_start(struct http_text line, struct http_head *out, bool third_required)
{
    const char *first = memchr(line.at, ' ', line.len);

    if (first == NULL || !is_field_text(line))
        return ERR_FORMAT;
    out->start[0] = (struct http_text){line.at, (size_t)(first - line.at)};
    struct http_text rest = {first + 1, line.len - out->start[0].len - 1};
    const char *second = memchr(rest.at, ' ', rest.len);
    if (second == NULL) {
        if (third_required)
            return ERR_FORMAT;
        out->start[1] = rest;
        out->start[2] = (struct http_text){rest.at + rest.len, 0};
        return OK;
    }
    out->start[1] = (struct http_text){rest.at, (size_t)(second - rest.at)};
    out->start[2] = (struct http_text){second + 1, rest.len - out->start[1].len - 1};
    return OK;
}

enum status http_head_parse_any_request(const char *buf, size_t size, struct http_head *out)
{
    struct http_text rest = {buf, size}, line;

    enum status s = take_line(&rest, &line);
    if (s == OK)
        s = parse_start(line, out, true);
    if (s != OK)
        return s;
    struct http_text target = out->start[1];
    if (!is_token(out->start[0]) || target.len == 0)
        return ERR_FORMAT;
    for (size_t i = 0; i < target.len; i++) {
        unsigned char c = (unsigned char)target.at[i];
        if (c <= 0x20 || c >= 0x7f)
            return ERR_FORMAT;
    }
    return parse_fields(rest, out);
}

enum status http_head_parse_request(const char *buf, size_t size, struct http_head *out)
{
    enum status s = http_head_parse_any_request(buf, size, out);
    return s == OK && !http_text_is(out->start[2], "HTTP/1.1") ? ERR_FORMAT : s;
}

enum status http_head_parse_response(const char *buf, size_t size, struct http_head *out)
{
    struct http_text rest = {buf, size}, line;

    enum status s = take_line(&rest, &line);
    if (s == OK)
        s = parse_start(line, out, false);
    if (s != OK)
        return s;
    /* A proxy may still answer CONNECT with HTTP/1.0. */
    if (!http_text_is(out->start[0], "HTTP/1.1") && !http_text_is(out->start[0], "HTTP/1.0"))
        return ERR_FORMAT;
    if (out->start[1].len != 3)
        return ERR_FORMAT;
    for (size_t i = 0; i < 3; i++) {
        if (out->start[1].at[i] < '0' || out->start[1].at[i] > '9')
            return ERR_FORMAT;
    }
    return parse_fields(rest, out);
}

bool http_text_is(struct http_text text, const char *other)
{
    return text.len == strlen(other) && memcmp(text.at, other, text.len) == 0;
}

bool http_text_is_nocase(struct http_text text, const char *other)
{
    return text.len == strlen(other) && strncasecmp(text.at, other, text.len) == 0;
}

size_t http_head_field(const struct http_head *head, const char *name, struct http_text *value)
{
    size_t n = 0;

    for (size_t i = 0; i < head->n_fields; i++) {
        if (!http_text_is_nocase(head->fields[i].name, name))
            continue;
        *value = head->fields[i].value;
        n++;
    }
    return n;
}

bool http_head_list_has(const struct http_head *head, const char *name, const char *word)
{
    for (size_t i = 0; i < head->n_fields; i++) {
        if (!http_text_is_nocase(head->fields[i].name, name))
            continue;
        struct http_text rest = head->fields[i].value;
        while (rest.len > 0) {
            const char *comma = memchr(rest.at, ',', rest.len);
            size_t n = comma == NULL ? rest.len : (size_t)(comma - rest.at);
            if (http_text_is_nocase(trim((struct http_text){rest.at, n}), word))
                return true;
            n += comma == NULL ? 0 : 1;
            rest.at += n;
            rest.len -= n;
        }
    }
    return false;
}
