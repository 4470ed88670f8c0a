/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much the peer may send: windows of streams, which grow with use, and of the connection, which is given
 * back on receipt but never beyond what spills may still hold. See docs/protocol.md, "Flow control". Only the
 * receiving half; what we may send ourselves is checked where data is read (mux_output.c).
 */
#include "worker-net/mux_private.h"

/*
 * Half a window within three round trips: the window is the brake, and it doubles, until it holds six to
 * twelve times what the path does. Measured on loopback: two round trips cost throughput, four half as much
 * delay again for a request beside a bulk stream.
 */
#define TUNE_RTTS 3u
#define BESIDE_US 1000000u /* so long after a small piece another one is expected */
#define BESIDE_PART 4u
#define BESIDE_LEAST 2u
#define TUNE_RTT_UNKNOWN 20000u /* microseconds, until a PONG has come */

static uint32_t tune_span_us(const struct mux *m)
{
    uint64_t rtt = m->min_rtt_us == 0 ? TUNE_RTT_UNKNOWN : m->min_rtt_us;

    return rtt > UINT32_MAX / (2 * TUNE_RTTS) ? UINT32_MAX / 2 : (uint32_t)(rtt * TUNE_RTTS);
}

/*
 * What is under way on a bulk stream is what a small answer has to wait behind. While others get small
 * pieces, bulk streams are offered a part of their windows: still more than the path holds, as windows grow
 * to several times that.
 */
static uint32_t beside_offer(const struct mux *m, uint32_t window)
{
    uint32_t least = m->config.stream_window / BESIDE_LEAST;

    if (m->now_us - m->small_us > BESIDE_US || window <= least)
        return window;
    return window / BESIDE_PART > least ? window / BESIDE_PART : least;
}

/*
 * A window of this size, cut down while the memory for waiting data runs out. The pool itself is kept by the
 * connection's window; this only spreads what is left over more streams.
 */
uint32_t window_offer(const struct mux *m, uint32_t window)
{
    uint64_t pool = m->config.connection_window_max;
    uint64_t free_bytes = pool > m->buffered ? pool - m->buffered : 0;

    while (window > MUX_WINDOW_FLOOR && window > free_bytes / 4)
        window /= 2;
    return window;
}

/* The application took (or we threw away) so many bytes of this stream: grow the window, give credit. */
void window_consumed(struct stream *s, uint64_t bytes)
{
    struct mux *m = s->mux;

    s->consumed += bytes;
    if (s->fin_received || s->phase != STREAM_OPEN)
        return; /* nothing more will come, or the first window comes with OPEN_OK */
    if ((uint32_t)s->consumed - s->tune_mark >= s->window / 2) {
        bool fast = (uint32_t)m->now_us - s->tune_us <= tune_span_us(m);
        if (fast && s->spill == NULL && s->window <= m->config.stream_window_max / 2)
            s->window *= 2;
        s->tune_mark = (uint32_t)s->consumed;
        s->tune_us = (uint32_t)m->now_us;
    }
    /* A quarter of what is offered now, not of the window: a window that is cut down could never give so
     * much. */
    uint32_t offer = window_offer(m, beside_offer(m, s->window));
    uint64_t limit = s->consumed + offer;
    if (limit > s->recv_limit && limit - s->recv_limit >= offer / 4) {
        s->recv_limit = limit;
        credit_add(s);
    }
}

/*
 * Credit of the connection. What was received is given back at once, read or not, so that one slow stream
 * does not stop the others; but credit and spills together never exceed the pool: memory stays bounded
 * whatever the peer does.
 */
void window_connection(struct mux *m)
{
    if (m->received - m->tune_mark >= m->window / 2) {
        bool fast = m->now_us - m->tune_us <= tune_span_us(m);
        if (fast && m->window <= m->config.connection_window_max / 2)
            m->window *= 2;
        m->tune_mark = m->received;
        m->tune_us = m->now_us;
    }
    uint64_t pool = m->config.connection_window_max;
    uint64_t room = pool > m->buffered ? pool - m->buffered : 0;
    uint64_t offer = room < m->window ? room : m->window;
    uint64_t step = m->window / 4;
    if (offer < m->window && step > MUX_WINDOW_FLOOR)
        step = MUX_WINDOW_FLOOR; /* short of memory: small steps keep the others moving */
    if (!m->close_sent && m->received + offer >= m->recv_limit + step) {
        m->recv_limit = m->received + offer;
        m->credit_waits = true;
        mux_wake(m);
    }
}
