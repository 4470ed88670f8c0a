/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing JSON (RFC 8259), piece by piece, to a stdio stream or into a fixed buffer. The writer puts the
 * commas, escapes text and keeps it valid UTF-8; the caller says what begins, what ends and what a value is.
 * It reads no JSON and allocates nothing.
 */
#ifndef WORMHOLE_COMMON_JSON_WRITE_H
#define WORMHOLE_COMMON_JSON_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/status.h"

/* jansson has functions of these names, and wormhole-k8s links both. */
#define json_string json_write_string
#define json_null json_write_null

#define JSON_DEPTH 16 /* objects and arrays within each other */

struct json_writer {
    FILE *file; /* or: */
    char *buf;
    size_t cap, used; /* of buf; used counts what was written, without the NUL */
    bool pretty;      /* a line per value, two blanks per level */
    bool failed;      /* did not fit, could not be written, or nested too deep */
    bool after_key;
    unsigned depth;
    uint32_t not_first; /* bit per level: a value was written there already */
};

/* pretty: for people. The stream's errors are the caller's to ask for (ferror). */
void json_to_file(struct json_writer *w, FILE *file, bool pretty);
/* buf stays terminated as long as cap > 0. */
void json_to_buffer(struct json_writer *w, char *buf, size_t cap);

void json_begin_object(struct json_writer *w);
void json_end_object(struct json_writer *w);
void json_begin_array(struct json_writer *w);
void json_end_array(struct json_writer *w);

void json_key(struct json_writer *w, const char *key);
void json_string(struct json_writer *w, const char *text); /* NULL: null */
void json_uint(struct json_writer *w, uint64_t value);
void json_int(struct json_writer *w, int64_t value);
void json_bool(struct json_writer *w, bool value);
void json_null(struct json_writer *w);
/* Bytes as lower-case hexadecimal text; at most 64 of them. */
void json_hex(struct json_writer *w, const uint8_t *data, size_t len);

/* Key and value at once. */
void json_put_string(struct json_writer *w, const char *key, const char *text);
void json_put_uint(struct json_writer *w, const char *key, uint64_t value);
void json_put_bool(struct json_writer *w, const char *key, bool value);

/* OK when everything fitted and was closed again; ERR_SIZE otherwise. A pretty file gets its last newline
 * here. */
enum status json_finish(struct json_writer *w);

#endif
