/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accepting users on the listeners that the supervisor made and handed over: a bounded number per turn of the
 * loop, and none while no stream could be opened for them, so that they wait in the backlog.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "worker-net/session.h"
#include "worker-net/stream_socket.h"

#define EXHAUSTED_DRAIN_MS 30000u

/* The user's address as OPEN carries it. */
static void describe(const struct sockaddr_storage *from, struct mux_open *open)
{
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
        open->address[10] = open->address[11] = 0xff;
        memcpy(open->address + 12, &v4->sin_addr, 4);
        open->port = ntohs(v4->sin_port);
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
        memcpy(open->address, &v6->sin6_addr, 16);
        open->port = ntohs(v6->sin6_port);
    }
}

/* False: accept no more in this turn. */
static bool accept_one(struct session_app *app, int listener)
{
    struct session *s = app->session;
    struct sockaddr_storage from = {0};
    socklen_t len = sizeof from;
    struct mux_open open = {.app = app->id};
    struct stream *stream = NULL;

    if (mux_can_open(s->mux) != OK) {
        session_accept_pause(s);
        if (mux_is_exhausted(s->mux))
            session_drain(s, EXHAUSTED_DRAIN_MS, END_LIMIT, "all stream numbers are used up");
        return false;
    }
    int fd = accept4(listener, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_warn("cannot accept: %s", strerror(errno));
            session_accept_pause(s); /* until a stream ends, or the next tick */
            session_stats_soon(s);
        }
        return errno == ECONNABORTED || errno == EINTR || errno == EPROTO;
    }
    describe(&from, &open);
    if (mux_open(s->mux, &open, &app->account, &stream) != OK) {
        stream_socket_reset(fd);
        return false;
    }
    if (stream_socket_attach(stream, s->worker->base, fd, true) != OK) {
        (void)close(fd);
        mux_reset(stream, RESET_LIMIT);
        return false;
    }
    mux_readable(stream, false); /* most users have sent something already: it goes out with OPEN */
    return true;
}

static void on_listener(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    for (unsigned i = 0; i < SESSION_ACCEPTS_PER_TURN && accept_one(arg, fd); i++)
        continue;
}

enum status session_accept_start(struct session_app *app, int fd)
{
    struct session *s = app->session;

    app->accept = event_new(s->worker->base, fd, EV_READ | EV_PERSIST, on_listener, app);
    if (app->accept == NULL)
        return ERR_NOMEM;
    stream_socket_options(fd);
    if (s->accept_paused)
        session_settle_soon(s);
    else
        (void)event_add(app->accept, NULL);
    return OK;
}

void session_accept_stop(struct session_app *app)
{
    if (app->accept == NULL)
        return;
    int fd = event_get_fd(app->accept);
    event_free(app->accept);
    (void)close(fd);
    app->accept = NULL;
}

void session_accept_pause(struct session *s)
{
    struct session_app *app;

    s->accept_paused = true;
    TAILQ_FOREACH(app, &s->apps, link)
    {
        if (app->accept != NULL)
            (void)event_del(app->accept);
    }
}

void session_accept_resume(struct session *s)
{
    struct session_app *app;

    if (mux_can_open(s->mux) != OK)
        return;
    s->accept_paused = false;
    TAILQ_FOREACH(app, &s->apps, link)
    {
        if (app->accept != NULL)
            (void)event_add(app->accept, NULL);
    }
}
