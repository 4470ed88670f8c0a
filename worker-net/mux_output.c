/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes out, decided as late as possible: when the tunnel can take records, they are filled with what
 * control frames wait and then with data, read at that moment from the applications straight into the
 * records. So control always overtakes data, and nothing is queued that need not be. Streams take turns by
 * deficit round robin; one that has just become active goes first.
 */
#include <errno.h>
#include <string.h>

#include "common/wire.h"
#include "worker-net/mux_private.h"

#define PIECES_MAX 32  /* records that one read may fill */
#define PIECE_MIN 512u /* less room than this at a record's end is not worth a piece of its own */

struct cursor {
    struct mux_body *bodies;
    size_t n, at;
};

static size_t room(const struct mux_body *body)
{
    return body->cap - body->len;
}

/* Puts a frame where it fits, moving to the next record when this one is full. False: all are full. */
static bool put_frame(struct cursor *c, const void *frame, size_t len)
{
    if (c->at < c->n && room(&c->bodies[c->at]) < len)
        c->at++;
    if (c->at >= c->n)
        return false;
    struct mux_body *body = &c->bodies[c->at];
    memcpy(body->data + body->len, frame, len);
    body->len += len;
    return true;
}

static void frame_header(uint8_t *p, enum frame_type type, unsigned flags, size_t len, uint32_t stream)
{
    p[0] = (uint8_t)type;
    p[1] = (uint8_t)flags;
    put_be16(p + 2, (uint16_t)len);
    put_be32(p + 4, stream);
}

static bool put_u64(struct cursor *c, enum frame_type type, uint32_t stream, uint64_t value)
{
    uint8_t frame[FRAME_HEADER + 8];

    frame_header(frame, type, 0, 8, stream);
    put_be64(frame + FRAME_HEADER, value);
    return put_frame(c, frame, sizeof frame);
}

/* ---- control frames: false when the records are full ---- */

static bool put_fifo(struct mux *m, struct cursor *c)
{
    const uint8_t *frame;
    size_t len;

    while ((frame = fifo_peek(&m->fifo, &len)) != NULL) {
        if (!put_frame(c, frame, len))
            return false;
        fifo_drop(&m->fifo, len);
    }
    return true;
}

static bool put_credits(struct mux *m, struct cursor *c)
{
    struct stream *s;

    while ((s = TAILQ_FIRST(&m->credits)) != NULL) {
        if (!put_u64(c, FRAME_MAX_DATA, s->id, s->recv_limit))
            return false;
        credit_remove(s);
    }
    return true;
}

static bool put_control(struct mux *m, struct cursor *c)
{
    if (!put_fifo(m, c)) /* SETTINGS first of all; keeps OPEN, its answer and RESET in order */
        return false;
    if (m->pong_waits) {
        if (!put_u64(c, FRAME_PONG, 0, m->pong_value))
            return false;
        m->pong_waits = false;
    }
    if (m->ping_waits) {
        if (!put_u64(c, FRAME_PING, 0, m->ping_value + 1))
            return false;
        m->ping_waits = false;
        m->ping_value++;
        m->ping_us = m->now_us;
    }
    if (m->credit_waits) {
        if (!put_u64(c, FRAME_MAX_DATA, 0, m->recv_limit))
            return false;
        m->credit_waits = false;
    }
    return put_credits(m, c);
}

/* ---- data ---- */

enum pulled { PULL_MORE, PULL_DRAINED, PULL_ENDED, PULL_BROKEN, PULL_FULL };

/* Where the next `want` bytes of a stream may be read to. */
static int plan_pieces(struct cursor *c, uint64_t want, struct iovec *iov)
{
    int n = 0;

    if (c->at < c->n && c->at + 1 < c->n && room(&c->bodies[c->at]) < FRAME_HEADER + PIECE_MIN)
        c->at++;
    for (size_t i = c->at; i < c->n && n < PIECES_MAX && want > 0; i++) {
        struct mux_body *body = &c->bodies[i];
        if (room(body) <= FRAME_HEADER)
            break;
        size_t len = room(body) - FRAME_HEADER;
        if (len > want)
            len = (size_t)want;
        iov[n++] = (struct iovec){body->data + body->len + FRAME_HEADER, len};
        want -= len;
    }
    return n;
}

/* Puts frame headers before what was read. Returns the last one. */
static uint8_t *commit_pieces(struct cursor *c, const struct stream *s, const struct iovec *iov, size_t got)
{
    uint8_t *last = NULL;

    for (int i = 0; got > 0; i++) {
        struct mux_body *body = &c->bodies[c->at];
        size_t len = got < iov[i].iov_len ? got : iov[i].iov_len;
        last = body->data + body->len;
        frame_header(last, FRAME_DATA, 0, len, s->id);
        body->len += FRAME_HEADER + len;
        got -= len;
        if (got > 0)
            c->at++;
    }
    return last;
}

static void count_sent(struct stream *s, size_t got)
{
    struct mux *m = s->mux;

    s->sent += got;
    m->sent += got;
    s->active_s = m->now_s;
    m->stats.bytes_out += got;
    s->account->bytes_out += got;
    s->account->changes++;
}

/* Ends our direction: FIN on the frame just written, or on an empty one. */
static enum pulled put_fin(struct cursor *c, struct stream *s, uint8_t *last)
{
    uint8_t frame[FRAME_HEADER];

    if (last != NULL) {
        last[1] = FRAME_FLAG_FIN;
    } else {
        frame_header(frame, FRAME_DATA, FRAME_FLAG_FIN, 0, s->id);
        if (!put_frame(c, frame, sizeof frame))
            return PULL_FULL;
    }
    bool was = s->fin_sent != s->fin_received;
    s->fin_sent = true;
    s->active_s = s->mux->now_s;
    mux_half_closed_update(s, was);
    return PULL_ENDED;
}

/* Reads up to `allow` bytes of one stream into the records. */
static enum pulled pull(struct cursor *c, struct stream *s, uint64_t allow, uint64_t *got)
{
    struct iovec iov[PIECES_MAX];
    uint8_t *last = NULL;

    *got = 0;
    if (s->stopped)
        return put_fin(c, s, NULL);
    while (allow > 0) {
        uint64_t planned = 0;
        int pieces = plan_pieces(c, allow, iov);
        if (pieces == 0)
            return PULL_FULL;
        for (int i = 0; i < pieces; i++)
            planned += iov[i].iov_len;
        ssize_t n = s->mux->ops->read(s, iov, pieces);
        if (n == 0)
            return put_fin(c, s, last);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? PULL_DRAINED : PULL_BROKEN;
        last = commit_pieces(c, s, iov, (size_t)n);
        count_sent(s, (size_t)n);
        *got += (uint64_t)n;
        allow -= (uint64_t)n;
        if ((uint64_t)n == planned)
            return PULL_MORE;
        if (!s->hangup)
            return PULL_DRAINED; /* a short read empties a socket, unless its end is behind the data */
    }
    return PULL_MORE;
}

static struct stream *next_ready(const struct mux *m, bool *alone)
{
    struct stream *fresh = TAILQ_FIRST(&m->fresh), *backlog = TAILQ_FIRST(&m->backlog);
    struct stream *s = fresh != NULL ? fresh : backlog;

    if (s != NULL)
        *alone = TAILQ_NEXT(s, ready_link) == NULL && (fresh == NULL || backlog == NULL);
    return s;
}

/* One turn of one stream. False: nothing more fits or may be sent now. */
static bool serve(struct mux *m, struct cursor *c, struct stream *s, bool alone)
{
    uint64_t credit = s->send_limit - s->sent, got;

    if (m->send_limit - m->sent < credit)
        credit = m->send_limit - m->sent;
    if (s->deficit == 0)
        s->deficit = MUX_QUANTUM;
    enum pulled result = pull(c, s, !alone && s->deficit < credit ? s->deficit : credit, &got);
    s->deficit -= got < s->deficit ? (uint32_t)got : s->deficit;
    switch (result) {
    case PULL_FULL: return false;
    case PULL_MORE:
        if (s->sent == s->send_limit) {
            ready_remove(s); /* until MAX_DATA */
        } else if (s->deficit == 0) {
            ready_remove(s);
            ready_add(s, LIST_BACKLOG);
        }
        return true;
    case PULL_DRAINED:
        s->readable = false;
        ready_remove(s);
        return true;
    case PULL_ENDED:
        s->readable = s->hangup = false;
        ready_remove(s);
        (void)mux_stream_settle(s);
        return true;
    case PULL_BROKEN: mux_reset(s, RESET_APPLICATION); return true;
    }
    return true;
}

static void put_data(struct mux *m, struct cursor *c)
{
    struct stream *s;
    bool alone = false;

    while (c->at < c->n && (s = next_ready(m, &alone)) != NULL) {
        if (m->sent == m->send_limit && !s->stopped)
            return; /* until MAX_DATA of the connection */
        if (s->sent == s->send_limit && !s->stopped) {
            ready_remove(s);
            continue;
        }
        if (!serve(m, c, s, alone))
            return;
    }
}

static void put_close(struct mux *m, struct cursor *c)
{
    uint8_t frame[FRAME_HEADER];

    frame_header(frame, FRAME_CLOSE_NOTIFY, 0, 0, 0);
    if (put_frame(c, frame, sizeof frame))
        m->close_sent = true;
}

size_t mux_fill(struct mux *m, struct mux_body *bodies, size_t n)
{
    struct cursor c = {.bodies = bodies, .n = n};
    size_t used = 0;

    for (size_t i = 0; i < n; i++)
        bodies[i].len = 0;
    if (m->close_sent)
        return 0;
    if (put_control(m, &c)) {
        if (m->close_waits) {
            put_close(m, &c);
        } else {
            put_data(m, &c);
            (void)put_control(m, &c); /* what reading brought up (RESET): nothing else would wake us for it */
        }
    }
    while (used < n && bodies[used].len > 0)
        used++;
    return used;
}

void mux_readable(struct stream *s, bool hangup)
{
    s->readable = true;
    s->hangup = s->hangup || hangup;
    if (s->fin_sent || s->phase == STREAM_ASKED || (s->sent == s->send_limit && !s->stopped))
        return;
    ready_add(s, LIST_FRESH);
    if (s->mux->sent < s->mux->send_limit || s->stopped)
        mux_wake(s->mux);
}
