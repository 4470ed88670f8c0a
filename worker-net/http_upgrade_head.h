/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an HTTP/1.1 message (RFC 9112), strictly: CRLF line ends only, no folded lines, no control
 * characters, bounded in bytes and fields. It cuts text into pieces that point into the caller's buffer; it
 * allocates nothing and decides nothing.
 */
#ifndef WORMHOLE_NET_HTTP_UPGRADE_HEAD_H
#define WORMHOLE_NET_HTTP_UPGRADE_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "common/status.h"

#define HTTP_HEAD_MAX 8192u /* bytes, the empty line included */
#define HTTP_FIELDS_MAX 64u

struct http_text {
    const char *at; /* not terminated */
    size_t len;
};

struct http_field {
    struct http_text name, value; /* value without surrounding blanks */
};

struct http_head {
    /* request: method, target, version; response: version, status, reason */
    struct http_text start[3];
    struct http_field fields[HTTP_FIELDS_MAX];
    size_t n_fields;
};

/*
 * Where does the head end? OK: *size bytes, the empty line included. ERR_AGAIN: not yet. ERR_SIZE: over
 * HTTP_HEAD_MAX.
 */
enum status http_head_size(const char *buf, size_t len, size_t *size);

/*
 * Parse a whole head of `size` bytes. ERR_FORMAT: not HTTP, or not strict enough; ERR_SIZE: too many fields.
 * `out` may be dirty on failure.
 */
enum status http_head_parse_request(const char *buf, size_t size, struct http_head *out);
/* The same whatever the version says: the caller judges start[2]. */
enum status http_head_parse_any_request(const char *buf, size_t size, struct http_head *out);
enum status http_head_parse_response(const char *buf, size_t size, struct http_head *out);

/* How many fields of this name there are; *value gets the last one's (untouched when none). Names ignore
 * case. */
size_t http_head_field(const struct http_head *head, const char *name, struct http_text *value);

/* Is `word` one of the comma-separated elements of any field of this name? Compares without case. */
bool http_head_list_has(const struct http_head *head, const char *name, const char *word);

/* Whole-text comparisons with a NUL-terminated one. */
bool http_text_is(struct http_text text, const char *other);
bool http_text_is_nocase(struct http_text text, const char *other);

#endif
