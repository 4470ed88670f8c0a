/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time in a session: the deadline of the current phase, pings and the death of a silent peer, figures for the
 * supervisor, and the reaping of forgotten half-closed streams. An idle session has one timer that fires: the
 * ping's.
 */
#include <stdlib.h>

#include <event2/event.h>
#include <openssl/rand.h>

#include "common/clock.h"
#include "common/protocol.h"
#include "worker-net/session.h"

#define STATS_MS 1000u

static void arm(struct event *e, uint64_t ms)
{
    struct timeval tv = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

    (void)event_add(e, &tv);
}

void session_deadline(struct session *s, uint64_t ms)
{
    arm(s->deadline, ms);
}

static void on_redial(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    session_end(arg, END_INTERNAL, CLOSE_INTERNAL, true, "the dialer went away and no other came");
}

void session_dialer_gone(struct session *s, bool gone)
{
    if (gone)
        arm(s->redial, SESSION_REDIAL_MS);
    else
        (void)event_del(s->redial);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    static const char *const steps[] = {
        [PHASE_DIALING] = "connecting took too long",
        [PHASE_PROXY] = "the proxy did not answer CONNECT in time",
        [PHASE_TLS] = "the TLS handshake took too long",
        [PHASE_UPGRADE] = "the websocket upgrade took too long",
        [PHASE_HANDSHAKE] = "the handshake took too long",
    };
    struct session *s = arg;

    (void)fd;
    (void)what;
    if (s->phase < PHASE_OPEN)
        session_end(s, END_TIMEOUT, CLOSE_TIMEOUT, false, "%s", steps[s->phase]);
    else if (s->phase == PHASE_DRAINING)
        session_end(s, s->drain_code, 1001, true, "%s", s->drain_reason);
    else if (s->phase == PHASE_ENDING)
        worker_exit(s->worker, 0);
}

/* ---- the peer's life ---- */

/* ms ± 10 %, so that many clients of one server do not ping in step. */
static uint64_t jittered(uint64_t ms)
{
    uint16_t dice = 0;

    (void)RAND_bytes((unsigned char *)&dice, sizeof dice);
    return ms * 9 / 10 + ms / 5 * dice / UINT16_MAX;
}

static uint64_t records(const struct session *s)
{
    struct relay_stats stats;

    relay_get_stats(s->relay, &stats);
    return stats.records_in + stats.records_out;
}

static void on_ping(evutil_socket_t fd, short what, void *arg)
{
    struct session *s = arg;

    (void)fd;
    (void)what;
    if (s->phase != PHASE_OPEN && s->phase != PHASE_DRAINING)
        return;
    if (records(s) - s->trim_records <= 4) /* nothing but pings since the last one */
        relay_trim(s->relay);
    s->trim_records = records(s);
    mux_send_ping(s->mux);
    arm(s->ping, jittered(s->start.ping_ms));
}

static void on_dead(evutil_socket_t fd, short what, void *arg)
{
    struct session *s = arg;
    uint64_t silent = clock_mono_ms() - s->heard_ms;

    (void)fd;
    (void)what;
    if (s->phase != PHASE_OPEN && s->phase != PHASE_DRAINING)
        return;
    if (silent >= s->start.dead_ms)
        session_end(s, END_TIMEOUT, CLOSE_TIMEOUT, false, "nothing was heard for %llu s",
                    (unsigned long long)(silent / 1000));
    else
        arm(s->dead, s->start.dead_ms - silent);
}

void session_timers_open(struct session *s)
{
    (void)event_del(s->deadline);
    s->heard_ms = clock_mono_ms();
    arm(s->ping, jittered(s->start.ping_ms));
    arm(s->dead, s->start.dead_ms);
}

/* ---- figures ---- */

void session_stats_now(struct session *s)
{
    struct relay_stats r;

    if (s->mux == NULL || s->relay == NULL || s->worker->supervisor == NULL)
        return;
    const struct mux_stats *m = mux_statistics(s->mux);
    relay_get_stats(s->relay, &r);
    (void)IPC_SEND(s->worker->supervisor, SESSION_STATS, session_stats,
                   .rtt_us = (uint32_t)mux_rtt_us(s->mux), .streams = mux_streams(s->mux),
                   .streams_total = m->streams_total, .streams_refused = m->streams_refused,
                   .streams_reset = m->streams_reset, .bytes_in = m->bytes_in, .bytes_out = m->bytes_out,
                   .wire_in = r.wire_in, .wire_out = r.wire_out, .records_in = r.records_in,
                   .records_out = r.records_out, .read_calls = r.read_calls + m->read_calls,
                   .write_calls = r.write_calls + m->write_calls, .buffered = mux_buffered(s->mux));
    s->stats_records = r.records_in + r.records_out;
    session_apps_tick(s);
}

void session_stats_soon(struct session *s)
{
    if (s->stats_armed || s->mux == NULL)
        return;
    s->stats_armed = true;
    arm(s->stats, STATS_MS);
}

static void on_stats(evutil_socket_t fd, short what, void *arg)
{
    struct session *s = arg;

    (void)fd;
    (void)what;
    s->stats_armed = false;
    if (s->phase != PHASE_OPEN && s->phase != PHASE_DRAINING)
        return;
    if (records(s) != s->stats_records)
        session_stats_now(s);
    else
        session_apps_tick(s);
    session_settle(s);
    session_reap_soon(s);
}

/* ---- half-closed streams that everybody forgot ---- */

void session_reap_soon(struct session *s)
{
    if (mux_has_half_closed(s->mux) && !event_pending(s->reap, EV_TIMEOUT, NULL))
        arm(s->reap, (uint64_t)s->start.half_closed_idle_s * 1000 / 4 + 1000);
}

static void on_reap(evutil_socket_t fd, short what, void *arg)
{
    struct session *s = arg;
    uint64_t now_us = clock_mono_us();

    (void)fd;
    (void)what;
    if (s->phase != PHASE_OPEN && s->phase != PHASE_DRAINING)
        return;
    mux_set_now(s->mux, now_us);
    if (now_us / 1000000u > s->start.half_closed_idle_s)
        mux_reap(s->mux, (uint32_t)(now_us / 1000000u) - s->start.half_closed_idle_s);
    session_reap_soon(s);
}

static void on_settle(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    session_settle(arg);
}

void session_settle_soon(struct session *s)
{
    event_active(s->settle, EV_TIMEOUT, 0);
}

/* ---- making and freeing ---- */

enum status session_timers_new(struct session *s)
{
    struct event_base *base = s->worker->base;

    s->deadline = evtimer_new(base, on_deadline, s);
    s->ping = evtimer_new(base, on_ping, s);
    s->dead = evtimer_new(base, on_dead, s);
    s->stats = evtimer_new(base, on_stats, s);
    s->reap = evtimer_new(base, on_reap, s);
    s->settle = event_new(base, -1, 0, on_settle, s);
    s->redial = evtimer_new(base, on_redial, s);
    return s->deadline != NULL && s->ping != NULL && s->dead != NULL && s->stats != NULL && s->reap != NULL &&
                   s->settle != NULL && s->redial != NULL
               ? OK
               : ERR_NOMEM;
}

void session_timers_free(struct session *s)
{
    struct event **all[] = {&s->deadline, &s->ping, &s->dead, &s->stats, &s->reap, &s->settle, &s->redial};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (*all[i] != NULL)
            event_free(*all[i]);
        *all[i] = NULL;
    }
}
