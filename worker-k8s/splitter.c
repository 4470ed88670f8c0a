/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streaming cutters for watch lines and list items (splitter.h). It must keep its memory bounded by the limit
 * whatever comes, and must never hand out an object that was cut short.
 */
#include "worker-k8s/splitter.h"

#include <stdlib.h>
#include <string.h>

/* Where in the list's top-level object we are; the scanner's whole state together with depth and in_string.
 */
enum list_position {
    AT_START, /* before the opening brace */
    AT_KEY,   /* a member's name, a comma or the end may come */
    AT_COLON, /* after a member's name */
    AT_VALUE, /* a member's value may begin */
    IN_VALUE, /* inside a value of no interest, or a captured one */
    IN_ITEMS, /* between the items */
    AT_END,   /* after the closing brace */
};

#define KEEP_BUFFER (256u << 10) /* a larger buffer is given back once its object is done */

static void init(struct splitter *s, bool list, size_t limit, split_object object, void *arg)
{
    memset(s, 0, sizeof *s);
    s->object = object;
    s->arg = arg;
    s->limit = limit;
    s->list = list;
    s->position = AT_START;
}

void splitter_init_lines(struct splitter *s, size_t limit, split_object object, void *arg)
{
    init(s, false, limit, object, arg);
}

void splitter_init_list(struct splitter *s, size_t limit, split_object object, void *arg)
{
    init(s, true, limit, object, arg);
}

void splitter_clear(struct splitter *s)
{
    free(s->buffer);
    s->buffer = NULL;
    s->len = s->cap = 0;
}

/* Appends to the object under way; past the limit it turns into one that is skipped. */
static enum status keep(struct splitter *s, const char *bytes, size_t len)
{
    if (s->overlong || len == 0) {
        return OK;
    }
    if (len > s->limit - s->len) {
        s->overlong = true;
        s->len = 0;
        return OK;
    }
    if (s->len + len > s->cap) {
        size_t cap = s->cap == 0 ? 8192 : s->cap;
        while (cap < s->len + len) {
            cap *= 2;
        }
        char *bigger = realloc(s->buffer, cap);
        if (bigger == NULL) {
            return ERR_NOMEM;
        }
        s->buffer = bigger;
        s->cap = cap;
    }
    memcpy(s->buffer + s->len, bytes, len);
    s->len += len;
    return OK;
}

static enum status deliver(struct splitter *s, enum split_kind kind)
{
    enum status status = OK;
    if (s->overlong) {
        s->skipped++;
        status = kind == SPLIT_META ? ERR_SIZE : OK;
    } else if (s->len > 0 || kind != SPLIT_LINE) {
        status = s->object(s->arg, kind, s->buffer, s->len);
    }
    s->overlong = false;
    s->len = 0;
    if (s->cap > KEEP_BUFFER) {
        splitter_clear(s);
    }
    return status;
}

static enum status feed_lines(struct splitter *s, const char *bytes, size_t len)
{
    while (len > 0) {
        const char *newline = memchr(bytes, '\n', len);
        size_t part = newline != NULL ? (size_t)(newline - bytes) : len;
        enum status status = keep(s, bytes, part);
        if (status != OK) {
            return status;
        }
        if (newline == NULL) {
            return OK;
        }
        status = deliver(s, SPLIT_LINE);
        if (status != OK) {
            return status;
        }
        bytes += part + 1;
        len -= part + 1;
    }
    return OK;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* A bracket opens: remembers what must close it. */
static enum status open_bracket(struct splitter *s, char c)
{
    if (s->depth == SPLIT_DEPTH_MAX) {
        return ERR_SIZE;
    }
    s->depth++;
    s->close[s->depth] = c == '{' ? '}' : ']';
    return OK;
}

static bool key_is(const struct splitter *s, const char *name)
{
    return s->key_len == strlen(name) && memcmp(s->key, name, s->key_len) == 0;
}

/* The first byte of a member's value at depth 1. */
static enum status begin_value(struct splitter *s, char c)
{
    s->position = IN_VALUE;
    if (c == '[' && key_is(s, "items")) {
        s->position = IN_ITEMS;
        s->seen_items = true;
        return open_bracket(s, c);
    }
    if (c == '{') {
        if (key_is(s, "metadata")) {
            s->capturing = SPLIT_META;
            s->capture = 2;
        }
        return open_bracket(s, c);
    }
    if (c == '[') {
        return open_bracket(s, c);
    }
    if (c == '"') {
        s->in_string = true;
    } else if (key_is(s, "items") && c == 'n') {
        s->seen_items = true; /* "items": null is an empty list */
    }
    return c == '}' || c == ']' || c == ',' || c == ':' ? ERR_FORMAT : OK;
}

/* A closing bracket at any depth. *done is set when the captured object ends with it. */
static enum status close_bracket(struct splitter *s, char c, bool *done)
{
    if (s->depth == 0 || s->close[s->depth] != c) {
        return ERR_FORMAT;
    }
    *done = s->capture != 0 && s->depth == s->capture;
    s->depth--;
    if (s->depth == 0) {
        s->position = AT_END;
        s->ended = true;
    } else if (s->depth == 1) {
        s->position = AT_KEY;
    }
    return OK;
}

/* A byte outside of any string. */
static enum status structural(struct splitter *s, char c, bool *done)
{
    switch ((enum list_position)s->position) {
    case AT_START: s->position = AT_KEY; return c == '{' ? open_bracket(s, c) : ERR_FORMAT;
    case AT_KEY:
        if (c == '"') {
            s->in_string = true;
            s->key_len = 0;
            return OK;
        }
        return c == '}' ? close_bracket(s, c, done) : c == ',' ? OK : ERR_FORMAT;
    case AT_COLON: s->position = AT_VALUE; return c == ':' ? OK : ERR_FORMAT;
    case AT_VALUE: return begin_value(s, c);
    case IN_ITEMS:
        if (c == '{') {
            s->capturing = SPLIT_ITEM;
            s->capture = 3;
            s->position = IN_VALUE;
            return open_bracket(s, c);
        }
        return c == ']' ? close_bracket(s, c, done) : c == ',' ? OK : ERR_FORMAT;
    case IN_VALUE:
        if (c == '"') {
            s->in_string = true;
        } else if (c == '{' || c == '[') {
            return open_bracket(s, c);
        } else if (c == ',' && s->depth == 1) {
            s->position = AT_KEY;
        } else if (c == '}' || c == ']') {
            return close_bracket(s, c, done);
        }
        return OK;
    case AT_END: return ERR_FORMAT;
    }
    return ERR_FORMAT;
}

static void string_byte(struct splitter *s, char c)
{
    if (s->escaped) {
        s->escaped = false;
    } else if (c == '\\') {
        s->escaped = true;
    } else if (c == '"') {
        s->in_string = false;
        if (s->position == AT_KEY) {
            s->position = AT_COLON;
        }
        return;
    }
    if (s->position == AT_KEY && s->key_len < sizeof s->key) {
        s->key[s->key_len++] = c; /* a longer key fills the array and so equals none of ours */
    }
}

/* The captured object is whole: hands it over and says where the scanner is now. */
static enum status end_capture(struct splitter *s)
{
    enum split_kind kind = s->capturing;
    s->capture = 0;
    if (kind == SPLIT_ITEM) {
        s->position = IN_ITEMS;
    } else {
        s->seen_meta = true;
    }
    return deliver(s, kind);
}

static enum status feed_list(struct splitter *s, const char *bytes, size_t len)
{
    size_t from = 0; /* first byte of the captured object that is not kept yet */
    bool inside = s->capture != 0;
    for (size_t i = 0; i < len; i++) {
        enum status status = OK;
        bool done = false;
        if (s->in_string) {
            string_byte(s, bytes[i]);
        } else if (!is_space(bytes[i])) {
            status = structural(s, bytes[i], &done);
        }
        if (status == OK && s->capture != 0 && !inside) {
            inside = true;
            from = i;
            s->len = 0;
            s->overlong = false;
        }
        if (status == OK && done) {
            status = keep(s, bytes + from, i + 1 - from);
            if (status == OK) {
                status = end_capture(s);
            }
            inside = false;
        }
        if (status != OK) {
            return status;
        }
    }
    if (!inside) {
        return OK;
    }
    enum status status = keep(s, bytes + from, len - from);
    bool meta_too_long = s->capturing == SPLIT_META && (s->overlong || s->len > SPLIT_META_MAX);
    return status == OK && meta_too_long ? ERR_SIZE : status;
}

enum status splitter_feed(struct splitter *s, const char *bytes, size_t len)
{
    return s->list ? feed_list(s, bytes, len) : feed_lines(s, bytes, len);
}

enum status splitter_end(struct splitter *s)
{
    if (!s->list) {
        return OK;
    }
    return s->ended && s->seen_items && s->seen_meta ? OK : ERR_FORMAT;
}
