/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The apps of one connection: what the client's supervisor exposes goes to the server as frames, what a
 * client offers goes to the server's supervisor, and its answer (a listener, or no) back. The session decides
 * nothing about names and ports.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/names.h"
#include "common/utf8.h"
#include "worker-net/session.h"

struct session_app *session_app_find(const struct session *s, uint32_t id)
{
    struct session_app *app;

    TAILQ_FOREACH(app, &s->apps, link)
    {
        if (app->id == id && !app->gone)
            return app;
    }
    return NULL;
}

struct session_app *session_app_any(const struct session *s, uint32_t id)
{
    struct session_app *app;

    TAILQ_FOREACH(app, &s->apps, link)
    {
        if (app->id == id)
            return app;
    }
    return NULL;
}

struct session_app *session_app_of(struct stream_account *account)
{
    return (struct session_app *)(void *)((char *)account - offsetof(struct session_app, account));
}

/* NULL: too many, or out of memory. */
static struct session_app *app_new(struct session *s, uint32_t id)
{
    if (s->n_apps >= SESSION_APPS_MAX)
        return NULL;
    struct session_app *app = calloc(1, sizeof *app);
    if (app == NULL)
        return NULL;
    app->id = id;
    app->session = s;
    TAILQ_INSERT_TAIL(&s->apps, app, link);
    s->n_apps++;
    return app;
}

static void app_free(struct session_app *app)
{
    struct session *s = app->session;

    session_accept_stop(app);
    TAILQ_REMOVE(&s->apps, app, link);
    s->n_apps--;
    free(app->dials.ids);
    free(app);
}

static void app_withdraw(struct session_app *app)
{
    session_accept_stop(app);
    app->gone = true; /* its streams go on; session_apps_tick() frees it after the last one */
    session_stats_soon(app->session);
}

void session_apps_free(struct session *s)
{
    while (!TAILQ_EMPTY(&s->apps))
        app_free(TAILQ_FIRST(&s->apps));
}

static void send_stats(struct session_app *app)
{
    const struct stream_account *a = &app->account;

    if (a->changes == app->changes_sent || app->session->worker->supervisor == NULL)
        return;
    if (IPC_SEND(app->session->worker->supervisor, APP_STATS, app_stats, .app = app->id,
                 .streams = a->streams, .streams_total = a->streams_total, .refused = a->refused,
                 .bytes_in = a->bytes_in, .bytes_out = a->bytes_out) == OK)
        app->changes_sent = a->changes;
}

void session_apps_tick(struct session *s)
{
    struct session_app *app, *next;

    for (app = TAILQ_FIRST(&s->apps); app != NULL; app = next) {
        next = TAILQ_NEXT(app, link);
        send_stats(app);
        if (app->gone && app->account.streams == 0 && app->dials.in_flight == 0)
            app_free(app);
    }
}

/* ---- frames ---- */

static void answer(struct session *s, uint32_t id, enum refusal code, const char *endpoint, const char *text)
{
    struct mux_app app = {.app = id, .code = (uint16_t)code};

    (void)snprintf(app.name, sizeof app.name, "%s", endpoint);
    (void)snprintf(app.text, sizeof app.text, "%s", text);
    if (mux_send_app(s->mux, FRAME_APP_ACK, &app) != OK)
        session_end(s, END_LIMIT, CLOSE_BUSY, true, "the peer does not read its answers");
}

/* Server: the client offers an app. */
static void peer_adds(struct session *s, const struct mux_app *frame)
{
    struct msg_app_announced m = {.app = frame->app, .service_port = frame->service_port};

    if (session_app_find(s, frame->app) != NULL) {
        session_end(s, END_PROTOCOL, CLOSE_PROTOCOL, false, "an app was added twice");
        return;
    }
    if (!name_is_valid(frame->name) || strlen(frame->text) >= sizeof m.app_protocol ||
        utf8_clip(frame->text, sizeof frame->text) != strlen(frame->text)) {
        answer(s, frame->app, REFUSAL_BAD_NAME, "", "not a valid name");
        return;
    }
    struct session_app *app = app_new(s, frame->app);
    if (app == NULL) {
        answer(s, frame->app, REFUSAL_LIMIT, "", "too many apps");
        return;
    }
    memcpy(m.name, frame->name, strlen(frame->name) + 1); /* a valid name fits */
    utf8_clean(m.app_protocol, sizeof m.app_protocol, frame->text);
    if (ipc_channel_send(s->worker->supervisor, MSG_APP_ANNOUNCED, &m, -1) != OK) {
        app_free(app);
        answer(s, frame->app, REFUSAL_INTERNAL, "", "too many at once, try again");
    }
}

/* Server: the client withdraws one. */
static void peer_withdraws(struct session *s, uint32_t id)
{
    struct session_app *app = session_app_find(s, id);

    if (app == NULL)
        return; /* was refused */
    (void)IPC_SEND(s->worker->supervisor, APP_REMOVED, app_removed, .app = id);
    app_withdraw(app);
}

/* Client: the server's answer. */
static void peer_answers(struct session *s, const struct mux_app *frame)
{
    struct msg_app_status m = {.app = frame->app, .code = frame->code};

    if (session_app_find(s, frame->app) == NULL)
        return; /* withdrawn meanwhile */
    utf8_clean(m.endpoint, sizeof m.endpoint, frame->name);
    utf8_clean(m.text, sizeof m.text, frame->text);
    (void)ipc_channel_send(s->worker->supervisor, MSG_APP_STATUS, &m, -1);
}

void session_app_frame(struct session *s, enum frame_type type, const struct mux_app *app)
{
    if (s->phase == PHASE_ENDING || s->worker->supervisor == NULL)
        return;
    switch (type) {
    case FRAME_APP_ADD: peer_adds(s, app); break;
    case FRAME_APP_WITHDRAW: peer_withdraws(s, app->app); break;
    default: peer_answers(s, app); break;
    }
}

/* ---- the supervisor's messages ---- */

/* Client: offer it to the server. */
static void expose(struct session *s, const struct msg_app_expose *m)
{
    struct mux_app frame = {.app = m->app, .service_port = m->service_port};

    if (session_app_find(s, m->app) != NULL)
        return;
    if (app_new(s, m->app) == NULL) {
        log_error("app %s cannot be exposed: too many", m->name);
        return;
    }
    (void)snprintf(frame.name, sizeof frame.name, "%s", m->name);
    (void)snprintf(frame.text, sizeof frame.text, "%s", m->app_protocol);
    if (mux_send_app(s->mux, FRAME_APP_ADD, &frame) != OK)
        session_end(s, END_LIMIT, CLOSE_BUSY, true, "the peer does not read");
}

static void withdraw(struct session *s, uint32_t id)
{
    struct mux_app frame = {.app = id};
    struct session_app *app = session_app_find(s, id);

    if (app == NULL)
        return;
    app_withdraw(app);
    (void)mux_send_app(s->mux, FRAME_APP_WITHDRAW, &frame);
}

/* Server: the listener that the supervisor made. */
static void listener(struct session *s, const struct msg_app_listener *m, int fd)
{
    struct session_app *app = session_app_find(s, m->app);

    if (app == NULL) { /* withdrawn meanwhile */
        (void)close(fd);
        return;
    }
    session_accept_stop(app);
    if (session_accept_start(app, fd) != OK) {
        (void)close(fd);
        answer(s, m->app, REFUSAL_INTERNAL, "", "out of memory");
        return;
    }
    answer(s, m->app, REFUSAL_NONE, m->endpoint, "");
}

static void refused(struct session *s, const struct msg_app_refused *m)
{
    struct session_app *app = session_app_find(s, m->app);

    if (app == NULL)
        return;
    answer(s, m->app, (enum refusal)m->code, "", m->text);
    app_withdraw(app);
}

void session_app_message(struct session *s, enum message_type type, const union message *m, int fd)
{
    struct session_app *app;

    switch (type) {
    case MSG_APP_EXPOSE: expose(s, &m->app_expose); break;
    case MSG_APP_WITHDRAW: withdraw(s, m->app_withdraw.app); break;
    case MSG_APP_LISTENER: listener(s, &m->app_listener, fd); break;
    case MSG_APP_REFUSED: refused(s, &m->app_refused); break;
    case MSG_APP_UNLISTEN:
        app = session_app_find(s, m->app_unlisten.app);
        if (app != NULL)
            session_accept_stop(app);
        break;
    default:
        if (fd >= 0)
            (void)close(fd);
        break;
    }
}
