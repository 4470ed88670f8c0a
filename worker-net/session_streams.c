/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams on the session's side of the mux: on the client, each stream that the server opens is a connection
 * that the dialer is asked for, by the app's number. And the dialer's channel, which also makes the
 * connection to the server.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker-net/session.h"
#include "worker-net/stream_socket.h"

#define DIAL_SERVER_REQUEST 0u /* streams have ids from 1 on */

static struct session_app *app_of(struct stream_account *account)
{
    return (struct session_app *)(void *)((char *)account - offsetof(struct session_app, account));
}

/* ---- streams that wait for the dialer ---- */

/* Room for one more id; forgets streams that ended while they waited, grows when that is not enough. */
static bool queue_room(struct session *s)
{
    struct dial_queue *q = &s->dials;
    uint32_t kept = 0;

    if (q->count < q->cap)
        return true;
    uint32_t cap = q->cap == 0 ? 64 : q->cap;
    uint32_t *ids = malloc(2 * (size_t)cap * sizeof *ids);
    if (ids == NULL)
        return false;
    for (uint32_t i = 0; i < q->count; i++) {
        uint32_t id = q->ids[(q->first + i) % q->cap];
        if (mux_find(s->mux, id) != NULL)
            ids[kept++] = id;
    }
    free(q->ids);
    *q = (struct dial_queue){.ids = ids, .count = kept, .cap = 2 * cap, .in_flight = q->in_flight};
    return true;
}

void session_dial_pump(struct session *s)
{
    struct dial_queue *q = &s->dials;

    while (s->dial != NULL && q->count > 0 && q->in_flight < SESSION_DIALS_MAX) {
        uint32_t id = q->ids[q->first];
        struct stream *stream = mux_find(s->mux, id);
        q->first = (q->first + 1) % q->cap;
        q->count--;
        if (stream == NULL)
            continue; /* reset while it waited */
        const struct session_app *app = app_of(stream->account);
        if (IPC_SEND(s->dial, DIAL_APP, dial_app, .request = id, .app = app->id) != OK)
            mux_refuse(stream, DIAL_INTERNAL);
        else
            q->in_flight++;
    }
}

static struct stream_account *on_asked(void *owner, struct stream *stream, const struct mux_open *open)
{
    struct session *s = owner;
    struct dial_queue *q = &s->dials;

    struct session_app *app = session_app_find(s, open->app);
    if (app == NULL || s->phase == PHASE_ENDING || !queue_room(s))
        return NULL;
    q->ids[(q->first + q->count++) % q->cap] = stream->id; /* asked for at the end of the batch */
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
    if (account != NULL)
        session_settle_soon(app_of(account)->session);
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

/* ---- the dialer's channel ---- */

static void app_connected(struct session *s, uint64_t request, int fd)
{
    struct stream *stream = request <= UINT32_MAX ? mux_find(s->mux, (uint32_t)request) : NULL;

    if (stream == NULL || stream->phase != STREAM_ASKED) {
        stream_socket_reset(fd); /* the caller went away meanwhile */
        return;
    }
    if (stream_socket_attach(stream, s->worker->base, fd, false) != OK) {
        (void)close(fd);
        mux_refuse(stream, DIAL_INTERNAL);
        return;
    }
    mux_accept(stream);
}

static void app_failed(struct session *s, uint64_t request, unsigned code)
{
    struct stream *stream = request <= UINT32_MAX ? mux_find(s->mux, (uint32_t)request) : NULL;

    if (stream != NULL && stream->phase == STREAM_ASKED)
        mux_refuse(stream,
                   code >= DIAL_UNKNOWN_APP && code <= DIAL_INTERNAL ? (enum dial_code)code : DIAL_INTERNAL);
}

static void on_dialed(struct session *s, enum message_type type, const union message *m, int fd)
{
    bool connected = type == MSG_DIAL_CONNECTED;
    uint64_t request = connected ? m->dial_connected.request : m->dial_failed.request;

    if (request == DIAL_SERVER_REQUEST && s->phase == PHASE_DIALING) {
        if (connected)
            session_connected(s, fd);
        else
            session_end(s, END_CONNECT, 0, false, "%s", m->dial_failed.text);
        return;
    }
    if (s->mux == NULL || s->dials.in_flight == 0) {
        if (fd >= 0)
            (void)close(fd);
        return;
    }
    s->dials.in_flight--;
    if (connected)
        app_connected(s, request, fd);
    else
        app_failed(s, request, m->dial_failed.code);
    session_dial_pump(s);
}

static void on_message(void *arg, enum message_type type, const union message *m, int fd)
{
    struct session *s = arg;

    if (s->phase == PHASE_ENDING) {
        if (fd >= 0)
            stream_socket_reset(fd);
        return;
    }
    on_dialed(s, type, m, fd); /* the permit table lets only the dialer's two answers through */
}

static void ask_again(struct stream *stream, void *arg)
{
    struct session *s = arg;
    struct dial_queue *q = &s->dials;

    if (stream->phase == STREAM_ASKED && queue_room(s))
        q->ids[(q->first + q->count++) % q->cap] = stream->id;
}

/* The supervisor starts another dialer and hands over a channel to it: what is not connected yet waits for
 * that. */
static void on_closed(void *arg, const char *reason)
{
    struct session *s = arg;

    (void)reason;
    ipc_channel_free(s->dial);
    s->dial = NULL;
    if (s->phase == PHASE_DIALING) {
        session_end(s, END_INTERNAL, CLOSE_INTERNAL, true, "the dialer went away");
        return;
    }
    s->dials.count = s->dials.in_flight = 0;
    if (s->mux != NULL)
        mux_each(s->mux, ask_again, s);
}

static const struct ipc_handlers handlers = {.message = on_message, .closed = on_closed};

static enum status channel_open(struct session *s, int fd)
{
    s->dial = ipc_channel_new(s->worker->base, fd, CH_DIAL, IPC_LOWER, IN_RUN, "dialer", &handlers, s);
    return s->dial == NULL ? ERR_NOMEM : OK;
}

enum status session_dial_open(struct session *s)
{
    enum status st = channel_open(s, s->dial_fd);

    return st == OK ? IPC_SEND(s->dial, DIAL_SERVER, dial_server, .request = DIAL_SERVER_REQUEST) : st;
}

void session_dial_replace(struct session *s, int fd)
{
    if (s->worker->side != SIDE_CLIENT || s->phase == PHASE_DIALING) {
        (void)close(fd);
        return;
    }
    if (s->dial != NULL) /* its end was not noticed yet */
        on_closed(s, NULL);
    if (channel_open(s, fd) != OK) {
        (void)close(fd);
        session_end(s, END_INTERNAL, CLOSE_INTERNAL, true, "out of memory");
        return;
    }
    session_dial_pump(s);
}
