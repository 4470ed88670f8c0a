/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queues of the mux: encoded control frames that wait for a record, streams that are ready to send, and
 * streams whose credit is to be announced. Only queueing: what is put in, and when it is taken out, is
 * decided elsewhere.
 */
#include <stdlib.h>
#include <string.h>

#include "common/wire.h"
#include "worker-net/mux_private.h"

#define FIFO_FIRST 1024u

void fifo_init(struct frame_fifo *f, size_t max)
{
    *f = (struct frame_fifo){.max = max};
}

void fifo_clear(struct frame_fifo *f)
{
    free(f->data);
    *f = (struct frame_fifo){.max = f->max};
}

/* Makes room for len bytes at the end, by moving to the front or by growing. */
static enum status fifo_room(struct frame_fifo *f, size_t len)
{
    size_t used = f->end - f->start;

    if (f->cap - f->end >= len)
        return OK;
    if (used + len > f->max)
        return ERR_FULL;
    if (used + len <= f->cap / 2) { /* at least half is free at the front: moving stays cheap on average */
        memmove(f->data, f->data + f->start, used);
    } else {
        size_t cap = f->cap == 0 ? FIFO_FIRST : f->cap * 2;
        while (cap < used + len)
            cap *= 2;
        uint8_t *data = malloc(cap);
        if (data == NULL)
            return ERR_NOMEM;
        if (used > 0)
            memcpy(data, f->data + f->start, used);
        free(f->data);
        f->data = data;
        f->cap = cap;
    }
    f->start = 0;
    f->end = used;
    return OK;
}

enum status fifo_put(struct frame_fifo *f, enum frame_type type, uint32_t stream, const void *payload,
                     size_t len)
{
    enum status st = fifo_room(f, FRAME_HEADER + len);
    if (st != OK)
        return st;
    uint8_t *p = f->data + f->end;
    p[0] = (uint8_t)type;
    p[1] = 0;
    put_be16(p + 2, (uint16_t)len);
    put_be32(p + 4, stream);
    if (len > 0)
        memcpy(p + FRAME_HEADER, payload, len);
    f->end += FRAME_HEADER + len;
    return OK;
}

void mux_queue(struct mux *m, enum frame_type type, uint32_t stream, const void *payload, size_t len)
{
    if (fifo_put(&m->fifo, type, stream, payload, len) != OK)
        m->overrun = true;
    mux_wake(m);
}

const uint8_t *fifo_peek(const struct frame_fifo *f, size_t *len)
{
    if (f->start == f->end)
        return NULL;
    *len = FRAME_HEADER + get_be16(f->data + f->start + 2);
    return f->data + f->start;
}

void fifo_drop(struct frame_fifo *f, size_t len)
{
    f->start += len;
    if (f->start < f->end)
        return;
    f->start = f->end = 0;
    if (f->cap > (size_t)64 * FIFO_FIRST) /* a burst is over: give its memory back */
        fifo_clear(f);
}

void ready_add(struct stream *s, enum ready_list list)
{
    if (s->list != LIST_NONE)
        return;
    s->list = (uint8_t)list;
    if (list == LIST_FRESH)
        TAILQ_INSERT_TAIL(&s->mux->fresh, s, ready_link);
    else
        TAILQ_INSERT_TAIL(&s->mux->backlog, s, ready_link);
}

void ready_remove(struct stream *s)
{
    if (s->list == LIST_FRESH)
        TAILQ_REMOVE(&s->mux->fresh, s, ready_link);
    else if (s->list == LIST_BACKLOG)
        TAILQ_REMOVE(&s->mux->backlog, s, ready_link);
    s->list = LIST_NONE;
}

void credit_add(struct stream *s)
{
    if (s->wants_credit)
        return;
    s->wants_credit = true;
    TAILQ_INSERT_TAIL(&s->mux->credits, s, credit_link);
    mux_wake(s->mux);
}

void credit_remove(struct stream *s)
{
    if (!s->wants_credit)
        return;
    s->wants_credit = false;
    TAILQ_REMOVE(&s->mux->credits, s, credit_link);
}
