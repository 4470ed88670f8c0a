/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a socket refused to take, kept until it can: a list of chunks whose size follows the need, so that a
 * thousand streams with a few bytes each do not hold a thousand large buffers. The bound is the stream's
 * window, kept by the mux.
 */
#include <stdlib.h>
#include <string.h>

#include "worker-net/stream.h"

#define CHUNK_STEP 128u
#define CHUNK_MAX 32768u

struct chunk {
    struct chunk *next;
    uint32_t start, end, cap;
    uint8_t data[];
};

struct stream_spill {
    struct chunk *first, *last;
    size_t bytes;
};

/* As large as what is there already, so that a spill that grows in small steps does not end as a long list.
 */
static struct chunk *chunk_new(size_t want, size_t held)
{
    size_t cap = ((want > held ? want : held) + CHUNK_STEP - 1) / CHUNK_STEP * CHUNK_STEP;

    if (cap > CHUNK_MAX)
        cap = CHUNK_MAX;
    struct chunk *c = malloc(sizeof *c + cap);
    if (c == NULL)
        return NULL;
    c->next = NULL;
    c->start = c->end = 0;
    c->cap = (uint32_t)cap;
    return c;
}

static void chunks_free(struct chunk *c)
{
    while (c != NULL) {
        struct chunk *next = c->next;
        free(c);
        c = next;
    }
}

/* Chunks for len bytes beyond what the last one still takes; NULL and *ok false when memory is out. */
static struct chunk *chunks_new(size_t len, size_t held, bool *ok)
{
    struct chunk *first = NULL, **link = &first;

    *ok = true;
    while (len > 0) {
        struct chunk *c = chunk_new(len, held);
        if (c == NULL) {
            chunks_free(first);
            *ok = false;
            return NULL;
        }
        *link = c;
        link = &c->next;
        len -= len < c->cap ? len : c->cap;
    }
    return first;
}

enum status stream_spill_append(struct stream_spill **spill, const void *data, size_t len)
{
    struct stream_spill *s = *spill;
    const uint8_t *p = data;
    bool ok;

    if (len == 0)
        return OK;
    if (s == NULL) {
        s = calloc(1, sizeof *s);
        if (s == NULL)
            return ERR_NOMEM;
    }
    size_t tail = s->last == NULL ? 0 : s->last->cap - s->last->end;
    struct chunk *more = chunks_new(len > tail ? len - tail : 0, s->bytes, &ok);
    if (!ok) {
        if (*spill == NULL)
            free(s);
        return ERR_NOMEM;
    }
    if (s->last == NULL)
        s->first = s->last = more;
    else
        s->last->next = more;
    s->bytes += len;
    for (struct chunk *c = s->last; c != NULL && len > 0; c = c->next) {
        size_t n = c->cap - c->end;
        n = n < len ? n : len;
        memcpy(c->data + c->end, p, n);
        c->end += (uint32_t)n;
        p += n;
        len -= n;
        s->last = c;
    }
    *spill = s;
    return OK;
}

size_t stream_spill_bytes(const struct stream_spill *spill)
{
    return spill == NULL ? 0 : spill->bytes;
}

int stream_spill_peek(const struct stream_spill *spill, struct iovec *iov, int max)
{
    int n = 0;

    if (spill == NULL)
        return 0;
    for (struct chunk *c = spill->first; c != NULL && n < max; c = c->next) {
        if (c->end == c->start)
            continue;
        iov[n].iov_base = c->data + c->start;
        iov[n].iov_len = c->end - c->start;
        n++;
    }
    return n;
}

void stream_spill_consume(struct stream_spill **spill, size_t len)
{
    struct stream_spill *s = *spill;

    if (s == NULL)
        return;
    s->bytes -= len;
    if (s->bytes == 0) {
        stream_spill_free(spill);
        return;
    }
    while (len > 0) {
        struct chunk *c = s->first;
        size_t n = c->end - c->start;
        if (len < n) {
            c->start += (uint32_t)len;
            return;
        }
        len -= n;
        s->first = c->next; /* never the last one: bytes remain behind it */
        free(c);
    }
}

void stream_spill_free(struct stream_spill **spill)
{
    if (*spill == NULL)
        return;
    chunks_free((*spill)->first);
    free(*spill);
    *spill = NULL;
}
