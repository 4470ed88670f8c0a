/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From records to applications: pieces of DATA are gathered per stream while a batch of records is read, then
 * handed over with one call each; what the application does not take is kept in a spill. Order within a
 * stream is never changed.
 */
#include <limits.h>

#include "worker-net/mux_private.h"

#define PIECES_PER_CALL 128

/* Keeps bytes that cannot be delivered now. False: out of memory, the stream was reset. */
static bool spill_add(struct stream *s, const uint8_t *data, size_t len)
{
    if (stream_spill_append(&s->spill, data, len) != OK) {
        mux_reset(s, RESET_LIMIT);
        return false;
    }
    s->mux->buffered += len;
    return true;
}

/* Writes pieces to the application and spills the rest. False: the stream is gone. */
static bool deliver_pieces(struct stream *s, const struct iovec *iov, int n)
{
    ssize_t taken = s->mux->ops->write(s, iov, n);

    if (taken < 0) {
        mux_reset(s, RESET_APPLICATION);
        return false;
    }
    size_t left = (size_t)taken;
    for (int i = 0; i < n; i++) {
        size_t skip = left < iov[i].iov_len ? left : iov[i].iov_len;
        left -= skip;
        if (skip < iov[i].iov_len &&
            !spill_add(s, (const uint8_t *)iov[i].iov_base + skip, iov[i].iov_len - skip))
            return false;
    }
    window_consumed(s, (uint64_t)taken);
    return true;
}

/* Takes the stream's chain out of the gather table. Returns its first piece's index + 1. */
static uint32_t chain_take(struct stream *s)
{
    struct gather_stream *g = &s->mux->gather.streams[s->gather - 1];
    uint32_t first = g->first;

    g->stream = NULL;
    s->gather = 0;
    return first;
}

void deliver_forget(struct stream *s)
{
    if (s->gather != 0)
        (void)chain_take(s);
}

void deliver_stream(struct stream *s)
{
    const struct gather_piece *pieces = s->mux->gather.pieces;

    if (s->gather == 0)
        return;
    uint32_t at = chain_take(s);
    while (at != 0) {
        struct iovec iov[PIECES_PER_CALL];
        int n = 0;
        for (; at != 0 && n < PIECES_PER_CALL; at = pieces[at - 1].next, n++) {
            iov[n].iov_base = (void *)(uintptr_t)pieces[at - 1].data;
            iov[n].iov_len = pieces[at - 1].len;
        }
        if (s->attached && s->spill == NULL) {
            if (!deliver_pieces(s, iov, n))
                return;
            continue;
        }
        for (int i = 0; i < n; i++) {
            if (!spill_add(s, iov[i].iov_base, iov[i].iov_len))
                return;
        }
    }
    (void)mux_stream_settle(s);
}

void mux_input_end(struct mux *m)
{
    struct gather *g = &m->gather;

    for (uint32_t i = 0; i < g->n_streams; i++) {
        if (g->streams[i].stream != NULL)
            deliver_stream(g->streams[i].stream);
    }
    g->n_streams = 0;
    g->n_pieces = 0;
    window_connection(m);
}

/* Notes a piece of DATA for delivery at the end of the batch. OK always: a full table is delivered first. */
enum status deliver_add(struct stream *s, const uint8_t *data, size_t len)
{
    struct gather *g = &s->mux->gather;

    if (g->n_pieces == MUX_GATHER_PIECES || (s->gather == 0 && g->n_streams == MUX_GATHER_STREAMS)) {
        uint32_t id = s->id;
        struct mux *m = s->mux;
        mux_input_end(m);
        s = mux_find(m, id); /* delivering may have ended it */
        if (s == NULL)
            return OK;
    }
    struct gather_piece *piece = &g->pieces[g->n_pieces++];
    *piece = (struct gather_piece){.data = data, .len = (uint32_t)len};
    if (s->gather == 0) {
        g->streams[g->n_streams] =
            (struct gather_stream){.stream = s, .first = g->n_pieces, .last = g->n_pieces};
        s->gather = (uint16_t)(++g->n_streams);
    } else {
        struct gather_stream *chain = &g->streams[s->gather - 1];
        g->pieces[chain->last - 1].next = g->n_pieces;
        chain->last = g->n_pieces;
    }
    return OK;
}

bool deliver_spill(struct stream *s)
{
    while (s->spill != NULL) {
        struct iovec iov[32];
        size_t offered = 0;
        int n = stream_spill_peek(s->spill, iov, 32);
        for (int i = 0; i < n; i++)
            offered += iov[i].iov_len;
        ssize_t taken = s->mux->ops->write(s, iov, n);
        if (taken < 0) {
            mux_reset(s, RESET_APPLICATION);
            return false;
        }
        s->active_s = s->mux->now_s;
        stream_spill_consume(&s->spill, (size_t)taken);
        s->mux->buffered -= (uint64_t)taken;
        window_consumed(s, (uint64_t)taken);
        window_connection(s->mux);
        if ((size_t)taken < offered)
            return true;
    }
    return !mux_stream_settle(s);
}

void mux_writable(struct stream *s)
{
    if (s->spill != NULL)
        (void)deliver_spill(s);
}
