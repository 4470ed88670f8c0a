/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See json_write.h. After the first failure nothing more is written, so that a buffer never holds JSON with a
 * hole.
 */
#include "common/json_write.h"

#include <inttypes.h>
#include <string.h>

#include "common/utf8.h"

static void put(struct json_writer *w, const char *text, size_t len)
{
    if (w->failed)
        return;
    if (w->file != NULL) {
        (void)fwrite(text, 1, len, w->file);
        return;
    }
    if (len >= w->cap - w->used) {
        w->failed = true;
        return;
    }
    memcpy(w->buf + w->used, text, len);
    w->used += len;
    w->buf[w->used] = '\0';
}

static void put_line(struct json_writer *w)
{
    if (!w->pretty)
        return;
    put(w, "\n", 1);
    for (unsigned i = 0; i < w->depth; i++)
        put(w, "  ", 2);
}

/* Whatever must stand between this value or key and what came before it. */
static void put_separator(struct json_writer *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    if (w->depth == 0)
        return;
    if ((w->not_first >> w->depth & 1u) != 0)
        put(w, ",", 1);
    w->not_first |= 1u << w->depth;
    put_line(w);
}

void json_to_file(struct json_writer *w, FILE *file, bool pretty)
{
    *w = (struct json_writer){.file = file, .pretty = pretty};
}

void json_to_buffer(struct json_writer *w, char *buf, size_t cap)
{
    *w = (struct json_writer){.buf = buf, .cap = cap, .failed = cap == 0};
    if (cap > 0)
        buf[0] = '\0';
}

static void begin(struct json_writer *w, const char *mark)
{
    if (w->failed || w->depth + 1 >= JSON_DEPTH) {
        w->failed = true;
        return;
    }
    put_separator(w);
    put(w, mark, 1);
    w->depth++;
    w->not_first &= ~(1u << w->depth);
}

static void end(struct json_writer *w, const char *mark)
{
    if (w->failed || w->depth == 0 || w->after_key) {
        w->failed = true;
        return;
    }
    bool empty = (w->not_first >> w->depth & 1u) == 0;
    w->depth--;
    if (!empty)
        put_line(w);
    put(w, mark, 1);
}

void json_begin_object(struct json_writer *w)
{
    begin(w, "{");
}

void json_end_object(struct json_writer *w)
{
    end(w, "}");
}

void json_begin_array(struct json_writer *w)
{
    begin(w, "[");
}

void json_end_array(struct json_writer *w)
{
    end(w, "]");
}

static void put_escaped(struct json_writer *w, const char *text)
{
    static const char short_forms[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* pairs: the byte, its letter */
    size_t len = strlen(text);
    put(w, "\"", 1);
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)text[i];
        size_t sequence = utf8_sequence(text + i, len - i);
        const char *form = NULL;
        for (const char *f = short_forms; *f != '\0'; f += 2)
            if ((unsigned char)*f == c)
                form = f;
        if (form != NULL) {
            char escaped[2] = {'\\', form[1]};
            put(w, escaped, 2);
            i++;
        } else if (c < 0x20 || c == 0x7f) {
            char escaped[8];
            int n = snprintf(escaped, sizeof escaped, "\\u%04x", c);
            put(w, escaped, (size_t)n);
            i++;
        } else if (sequence == 0) {
            put(w, "\xef\xbf\xbd", 3); /* U+FFFD for each byte that is no UTF-8 */
            i++;
        } else {
            put(w, text + i, sequence);
            i += sequence;
        }
    }
    put(w, "\"", 1);
}

void json_key(struct json_writer *w, const char *key)
{
    put_separator(w);
    put_escaped(w, key);
    put(w, ": ", w->pretty ? 2 : 1);
    w->after_key = true;
}

void json_string(struct json_writer *w, const char *text)
{
    if (text == NULL) {
        json_null(w);
        return;
    }
    put_separator(w);
    put_escaped(w, text);
}

void json_uint(struct json_writer *w, uint64_t value)
{
    char text[24];
    put_separator(w);
    put(w, text, (size_t)snprintf(text, sizeof text, "%" PRIu64, value));
}

void json_int(struct json_writer *w, int64_t value)
{
    char text[24];
    put_separator(w);
    put(w, text, (size_t)snprintf(text, sizeof text, "%" PRId64, value));
}

void json_bool(struct json_writer *w, bool value)
{
    put_separator(w);
    put(w, value ? "true" : "false", value ? 4 : 5);
}

void json_null(struct json_writer *w)
{
    put_separator(w);
    put(w, "null", 4);
}

void json_hex(struct json_writer *w, const uint8_t *data, size_t len)
{
    char text[2 * 64 + 3];
    if (len > 64) {
        w->failed = true;
        return;
    }
    text[0] = '"';
    for (size_t i = 0; i < len; i++)
        (void)snprintf(text + 1 + 2 * i, 3, "%02x", data[i]);
    text[1 + 2 * len] = '"';
    put_separator(w);
    put(w, text, 2 * len + 2);
}

void json_put_string(struct json_writer *w, const char *key, const char *text)
{
    json_key(w, key);
    json_string(w, text);
}

void json_put_uint(struct json_writer *w, const char *key, uint64_t value)
{
    json_key(w, key);
    json_uint(w, value);
}

void json_put_bool(struct json_writer *w, const char *key, bool value)
{
    json_key(w, key);
    json_bool(w, value);
}

enum status json_finish(struct json_writer *w)
{
    if (w->depth != 0 || w->after_key)
        w->failed = true;
    if (w->pretty)
        put(w, "\n", 1);
    return w->failed ? ERR_SIZE : OK;
}
