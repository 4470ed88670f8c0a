/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's dialer, as the session uses it: the connection to the server at the beginning, and one to an
 * app for each stream that the server opens, asked for by the app's number. So many at a time in all and for
 * each app, so that one that does not answer cannot stop the others.
 */
#include <stdlib.h>
#include <unistd.h>

#include "worker-net/session.h"
#include "worker-net/stream_socket.h"

#define DIAL_SERVER_REQUEST 0u

/* What a question for an app is numbered with: never 0, because streams are not. */
static uint64_t request_of(const struct session_app *app, uint32_t stream)
{
    return (uint64_t)app->id << 32 | stream;
}

/* ---- streams that wait ---- */

/* How many of those that wait are still streams; their ids go to out when it is given. */
static uint32_t queue_living(const struct session_app *app, uint32_t *out)
{
    const struct dial_queue *q = &app->dials;
    uint32_t n = 0;

    for (uint32_t i = 0; i < q->count; i++) {
        /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): with no capacity there is no count either */
        uint32_t id = q->ids[(q->first + i) % q->cap];
        if (mux_find(app->session->mux, id) == NULL)
            continue;
        if (out != NULL)
            out[n] = id;
        n++;
    }
    return n;
}

/*
 * Room for one more id; forgets streams that ended while they waited, and grows only when half of it is taken
 * by living ones: opening and resetting without end must not make it grow.
 */
static enum status queue_room(struct session_app *app)
{
    struct dial_queue *q = &app->dials;

    if (q->count < q->cap)
        return OK;
    uint32_t living = queue_living(app, NULL);
    uint32_t cap = q->cap == 0 ? 64 : living > q->cap / 2 ? 2 * q->cap : q->cap;
    uint32_t *ids = malloc((size_t)cap * sizeof *ids);
    if (ids == NULL)
        return ERR_NOMEM;
    (void)queue_living(app, ids);
    free(q->ids);
    *q = (struct dial_queue){.ids = ids, .count = living, .cap = cap, .in_flight = q->in_flight};
    return OK;
}

enum status session_dial_later(struct session_app *app, uint32_t stream)
{
    struct dial_queue *q = &app->dials;

    enum status st = queue_room(app);
    if (st == OK)
        q->ids[(q->first + q->count++) % q->cap] = stream;
    return st;
}

/* Asks for what one app has waiting. False: the dialer's channel takes no more. */
static bool pump_app(struct session *s, struct session_app *app)
{
    struct dial_queue *q = &app->dials;

    while (q->count > 0 && q->in_flight < SESSION_DIALS_PER_APP && s->dials_in_flight < SESSION_DIALS_MAX) {
        uint32_t id = q->ids[q->first];
        if (mux_find(s->mux, id) != NULL) { /* else it was reset while it waited */
            if (IPC_SEND(s->dial, DIAL_APP, dial_app, .request = request_of(app, id), .app = app->id) != OK)
                return false; /* an answer, or the channel's end, comes back to it */
            q->in_flight++;
            s->dials_in_flight++;
        }
        q->first = (q->first + 1) % q->cap;
        q->count--;
    }
    return true;
}

void session_dial_pump(struct session *s)
{
    struct session_app *app;

    TAILQ_FOREACH(app, &s->apps, link)
    {
        if (s->dial == NULL || !pump_app(s, app))
            return;
    }
}

/* ---- answers ---- */

static void app_connected(struct session *s, struct stream *stream, int fd)
{
    if (stream_socket_attach(stream, s->worker->base, fd, false) != OK) {
        (void)close(fd);
        mux_refuse(stream, DIAL_INTERNAL);
        return;
    }
    mux_accept(stream);
}

static void on_app_dialed(struct session *s, uint64_t request, int fd, unsigned code)
{
    struct session_app *app = session_app_any(s, (uint32_t)(request >> 32));

    if (app == NULL || app->dials.in_flight == 0) { /* nothing that we asked for */
        if (fd >= 0)
            (void)close(fd);
        return;
    }
    app->dials.in_flight--;
    s->dials_in_flight--;
    struct stream *stream = mux_find(s->mux, (uint32_t)request);
    bool wanted = stream != NULL && stream->phase == STREAM_ASKED && stream->account == &app->account;
    if (wanted && fd >= 0)
        app_connected(s, stream, fd);
    else if (wanted)
        mux_refuse(stream,
                   code >= DIAL_UNKNOWN_APP && code <= DIAL_INTERNAL ? (enum dial_code)code : DIAL_INTERNAL);
    else if (fd >= 0)
        stream_socket_reset(fd); /* the caller went away meanwhile */
    session_dial_pump(s);
}

static void on_message(void *arg, enum message_type type, const union message *m, int fd)
{
    struct session *s = arg;
    bool connected = type == MSG_DIAL_CONNECTED; /* the permit table lets only this or DIAL_FAILED through */
    uint64_t request = connected ? m->dial_connected.request : m->dial_failed.request;
    bool lost = connected && fd < 0; /* this process may have no more descriptors */

    if (s->phase == PHASE_ENDING) {
        if (fd >= 0)
            stream_socket_reset(fd);
    } else if (request != DIAL_SERVER_REQUEST) {
        on_app_dialed(s, request, fd, lost ? DIAL_LIMIT : connected ? 0 : m->dial_failed.code);
    } else if (s->phase != PHASE_DIALING) {
        if (fd >= 0)
            (void)close(fd);
    } else if (lost) {
        session_end(s, END_CONNECT, 0, false, "no descriptor is left for the connection");
    } else if (connected) {
        session_connected(s, fd);
    } else {
        session_end(s, END_CONNECT, 0, false, "%s", m->dial_failed.text);
    }
}

/* ---- the channel ---- */

static void ask_again(struct stream *stream, void *arg)
{
    (void)arg;
    if (stream->phase == STREAM_ASKED)
        (void)session_dial_later(session_app_of(stream->account), stream->id);
}

/*
 * A dialer that died is started again by the supervisor, which hands over a channel to it: what is not
 * connected yet waits for that. One that only dropped us is not, and a fresh session is the way out.
 */
static void on_closed(void *arg, const char *reason)
{
    struct session *s = arg;
    struct session_app *app;

    ipc_channel_free(s->dial);
    s->dial = NULL;
    if (reason != NULL) {
        session_end(s, END_INTERNAL, CLOSE_INTERNAL, true, "the dialer broke the rules: %s", reason);
        return;
    }
    if (s->phase == PHASE_DIALING) {
        session_end(s, END_INTERNAL, CLOSE_INTERNAL, true, "the dialer went away");
        return;
    }
    session_dialer_gone(s, true);
    s->dials_in_flight = 0;
    TAILQ_FOREACH(app, &s->apps, link)
    {
        app->dials.count = app->dials.in_flight = 0;
    }
    if (s->mux != NULL)
        mux_each(s->mux, ask_again, s);
}

static const struct ipc_handlers handlers = {
    .message = on_message, .closed = on_closed, .takes_lost_descriptors = true};

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
    session_dialer_gone(s, false);
    session_dial_pump(s);
}
