/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dialer of a client: the one process that may make connections, and only to the server and to exposed
 * apps, which sessions name by id. Keeps the list of its sessions and of the supervisor's apps; dialer_dial.c
 * does the dialling. Never reads or writes what it connected, and holds no key.
 */
#include "worker-net/dialer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/names.h"
#include "worker-net/roles.h"

static struct dialer dialer;

static void session_free(struct dial_session *s)
{
    dial_cancel_all(s);
    LIST_REMOVE(s, link);
    ipc_channel_free(s->channel);
    free(s);
}

/* Later, in its own turn: whoever answers may still be at work for this session. */
static void tick_soon(int milliseconds)
{
    struct timeval delay = {.tv_usec = (suseconds_t)milliseconds * 1000};
    if (evtimer_pending(dialer.tick, NULL) == 0 || milliseconds == 0)
        (void)evtimer_add(dialer.tick, &delay);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    bool again = false;
    (void)fd;
    (void)what;
    (void)arg;
    for (struct dial_session *s = LIST_FIRST(&dialer.sessions), *next; s != NULL; s = next) {
        next = LIST_NEXT(s, link);
        if (s->broken) {
            session_free(s);
            continue;
        }
        if (s->throttled && ipc_channel_queued(s->channel) < ANSWERS_LOW) {
            s->throttled = false;
            ipc_channel_pause(s->channel, false);
        }
        again = again || s->throttled;
    }
    if (again)
        tick_soon(10);
}

/* What could not be sent; a session that does not take its answers is not asked for more questions. */
static void session_answered(struct dial_session *s, enum status status)
{
    if (status != OK) {
        if (status != ERR_EOF)
            log_warn("connection %llu: cannot answer: %s", (unsigned long long)s->connection,
                     status_text(status));
        s->broken = true;
        tick_soon(0);
    } else if (!s->throttled && ipc_channel_queued(s->channel) >= ANSWERS_HIGH) {
        s->throttled = true;
        ipc_channel_pause(s->channel, true);
        tick_soon(10);
    }
}

void session_answer_failed(struct dial_session *s, uint64_t request, enum dial_code code, const char *format,
                           ...)
{
    struct msg_dial_failed m = {.request = request, .code = (uint16_t)code};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(m.text, sizeof m.text, format, args);
    va_end(args);
    if (!s->broken)
        session_answered(s, ipc_channel_send(s->channel, MSG_DIAL_FAILED, &m, -1));
}

void session_answer_connected(struct dial_session *s, uint64_t request, int fd,
                              const struct dial_address *address)
{
    struct msg_dial_connected m = {.request = request};
    if (s->broken)
        return;
    address_text(&address->any, m.address, sizeof m.address);
    enum status status = ipc_channel_send(s->channel, MSG_DIAL_CONNECTED, &m, fd);
    /* No descriptor, or no memory, for it to wait in the queue? */
    if (status == ERR_IO || status == ERR_NOMEM)
        session_answer_failed(s, request, DIAL_LIMIT, "too many connections are being made");
    else
        session_answered(s, status);
}

static void on_session_message(void *arg, enum message_type type, const union message *m, int fd)
{
    struct dial_session *s = arg;
    (void)fd; /* no message of this channel carries one to us */
    if (type == MSG_DIAL_APP)
        dial_app(s, m->dial_app.request, m->dial_app.app);
    else if (type == MSG_DIAL_SERVER)
        dial_server(s, m->dial_server.request);
}

static void on_session_closed(void *arg, const char *reason)
{
    struct dial_session *s = arg;
    if (reason != NULL) {
        struct msg_worker_violation m = {.connection = s->connection};
        (void)snprintf(m.text, sizeof m.text, "%s", reason);
        (void)ipc_channel_send(dialer.worker->supervisor, MSG_WORKER_VIOLATION, &m, -1);
    }
    session_free(s);
}

static void session_add(struct worker *w, uint64_t connection, int fd)
{
    static const struct ipc_handlers handlers = {.message = on_session_message, .closed = on_session_closed};
    char label[32];
    struct dial_session *s = calloc(1, sizeof *s);
    (void)snprintf(label, sizeof label, "session %llu", (unsigned long long)connection);
    if (s != NULL)
        s->channel = ipc_channel_new(w->base, fd, CH_DIAL, IPC_UPPER, IN_RUN, label, &handlers, s);
    if (s == NULL || s->channel == NULL) {
        log_error("connection %llu: out of memory", (unsigned long long)connection);
        free(s);
        (void)close(fd);
        return;
    }
    s->dialer = &dialer;
    s->connection = connection;
    TAILQ_INIT(&s->dials);
    LIST_INSERT_HEAD(&dialer.sessions, s, link);
}

/* Dials that are past the look-up go on: what is being connected to was exposed when it was asked for. */
static void app_forget_dials(struct app *app)
{
    struct dial_session *s;
    struct dial *d;
    dial_app_withdrawn(app);
    LIST_FOREACH(s, &dialer.sessions, link)
    TAILQ_FOREACH(d, &s->dials, own)
    if (d->app == app)
        d->app = NULL;
}

static void app_change(const struct msg_dialer_app *m)
{
    struct app *known = app_find(dialer.apps, m->app);
    if (known != NULL)
        app_forget_dials(known);
    if (app_set(dialer.apps, m->app, m->host, m->port) == NULL)
        log_error("app %u: out of memory", m->app);
}

static void app_gone(uint32_t id)
{
    struct app *app = app_find(dialer.apps, id);
    if (app == NULL)
        return;
    app_forget_dials(app);
    app_remove(dialer.apps, id);
}

static void on_message(struct worker *w, enum message_type type, const union message *m, int fd)
{
    switch (type) {
    case MSG_DIALER_APP: app_change(&m->dialer_app); return;
    case MSG_DIALER_APP_GONE: app_gone(m->dialer_app_gone.app); return;
    case MSG_DIALER_SESSION: session_add(w, m->dialer_session.connection, fd); return;
    default:
        if (fd >= 0)
            (void)close(fd);
        return;
    }
}

static enum status setup(struct worker *w, enum message_type type, const union message *m, int fd)
{
    if (fd >= 0)
        (void)close(fd);
    if (type != MSG_DIALER_SETUP || w->side != SIDE_CLIENT || m->dialer_setup.port == 0)
        return ERR_CONFIG;
    memcpy(dialer.server_host, m->dialer_setup.host, sizeof dialer.server_host);
    dialer.server_port = m->dialer_setup.port;
    dialer.connect_ms = m->dialer_setup.connect_ms > 0 ? m->dialer_setup.connect_ms : 10000;
    return OK;
}

static enum status preload(struct worker *w, struct sandbox_spec *spec)
{
    struct rlimit files;
    if (dialer.server_port == 0) {
        log_error("dialer: was not told where the server is");
        return ERR_CONFIG;
    }
    /* Every connection under way is a descriptor; the resolver's threads need no heaps of their own. */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    (void)mallopt(M_ARENA_MAX, 1);
    dialer.worker = w;
    dialer.apps = app_table_new();
    dialer.resolver = resolver_new(w->base);
    dialer.tick = evtimer_new(w->base, on_tick, NULL);
    if (dialer.apps == NULL || dialer.resolver == NULL || dialer.tick == NULL)
        return ERR_NOMEM;
    return sandbox_allow_resolver(spec);
}

const struct worker_role dialer_role = {
    .role = ROLE_DIALER,
    .kind = CH_DIALER,
    .run_state = IN_RUN,
    .name = "net dialer",
    .setup = setup,
    .preload = preload,
    .message = on_message,
};
