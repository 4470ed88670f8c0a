/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounded reading and writing of big-endian fields: a cursor that fails once and stays failed, so that a
 * parser reads as a list of fields and checks once at the end. A failed read gives zeros and a view of
 * nothing.
 */
#ifndef WORMHOLE_CRYPTO_CURSOR_H
#define WORMHOLE_CRYPTO_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/wire.h"

struct reader {
    const uint8_t *data;
    size_t len, at;
    bool failed;
};

/* The next n bytes, or NULL. */
static inline const uint8_t *read_bytes(struct reader *r, size_t n)
{
    if (r->failed || r->len - r->at < n) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *p = r->data + r->at;
    r->at += n;
    return p;
}

static inline uint8_t read_u8(struct reader *r)
{
    const uint8_t *p = read_bytes(r, 1);
    return p != NULL ? *p : 0;
}

static inline uint16_t read_u16(struct reader *r)
{
    const uint8_t *p = read_bytes(r, 2);
    return p != NULL ? get_be16(p) : 0;
}

static inline uint32_t read_u32(struct reader *r)
{
    const uint8_t *p = read_bytes(r, 4);
    return p != NULL ? get_be32(p) : 0;
}

struct writer {
    uint8_t *data;
    size_t cap, at;
    bool failed;
};

static inline void write_bytes(struct writer *w, const void *data, size_t n)
{
    if (w->failed || w->cap - w->at < n) {
        w->failed = true;
        return;
    }
    if (n > 0)
        memcpy(w->data + w->at, data, n);
    w->at += n;
}

static inline void write_u8(struct writer *w, uint8_t v)
{
    write_bytes(w, &v, 1);
}

static inline void write_u16(struct writer *w, uint16_t v)
{
    uint8_t b[2];
    put_be16(b, v);
    write_bytes(w, b, sizeof b);
}

static inline void write_u32(struct writer *w, uint32_t v)
{
    uint8_t b[4];
    put_be32(b, v);
    write_bytes(w, b, sizeof b);
}

#endif
