/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session's side of the mux: what streams and frames of the connection mean to it. Each stream that the
 * server opens on a client becomes a connection that session_dial.c asks for; users come from
 * session_accept.c.
 */
#include "worker-net/session.h"
#include "worker-net/stream_socket.h"

static struct stream_account *on_asked(void *owner, struct stream *stream, const struct mux_open *open)
{
    struct session *s = owner;
    struct session_app *app = session_app_find(s, open->app);

    if (app == NULL || s->phase == PHASE_ENDING || session_dial_later(app, stream->id) != OK)
        return NULL;
    return &app->account;
}

static void on_answered(void *owner, struct stream *stream, unsigned code)
{
    (void)owner;
    if (code != 0)
        log_debug("stream %u was refused by the other side (%u)", stream->id, code);
}

static void on_detach(struct stream *stream, enum stream_end how)
{
    struct stream_account *account = stream->account;

    stream_socket_detach(stream, how);
    if (account == NULL)
        return;
    struct session *s = session_app_of(account)->session;
    session_settle_soon(s);
    session_stats_soon(s);
}

/*
 * Windows follow the shortest round trip, and the very first one is measured while both ends are still busy
 * with themselves: a few more, one after the other, before there is any load.
 */
#define FIRST_PINGS 8u

static void on_pong(void *owner, uint64_t rtt_us)
{
    struct session *s = owner;

    (void)rtt_us;
    if (s->first_pongs < FIRST_PINGS && ++s->first_pongs < FIRST_PINGS) {
        mux_send_ping(s->mux);
        return;
    }
    session_stats_now(s);
}

static void on_goaway(void *owner, unsigned code)
{
    struct session *s = owner;

    log_info("the other side is draining (%u): no new streams", code);
    session_accept_pause(s); /* who connects now waits in the backlog for the next connection */
}

static void on_app(void *owner, enum frame_type type, const struct mux_app *app)
{
    session_app_frame(owner, type, app);
}

static void on_wake(void *owner)
{
    struct session *s = owner;

    if (s->relay != NULL)
        relay_wake(s->relay);
}

const struct mux_ops session_mux_ops = {
    .read = stream_socket_read,
    .write = stream_socket_write,
    .shut = stream_socket_shut,
    .stop = stream_socket_stop,
    .detach = on_detach,
    .asked = on_asked,
    .answered = on_answered,
    .app = on_app,
    .pong = on_pong,
    .goaway = on_goaway,
    .wake = on_wake,
};
