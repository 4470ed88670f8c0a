/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See sessions.h.
 */
#include "supervisor/sessions.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/names.h"
#include "supervisor/approvals.h"
#include "supervisor/apps.h"
#include "supervisor/limits.h"
#include "supervisor/session_common.h"
#include "supervisor/worker_process.h"

#define ACCEPTS_PER_TURN 16
#define PAUSE_S 1               /* without descriptors, processes or memory */
#define COMPLAIN_MS 10000u      /* one log line in this time about connections that are turned away */
#define DEADLINE_SLACK_MS 5000u /* the session keeps the deadline itself; this is for one that does not */

const char *turned_away_text(enum turned_away why)
{
    static const char *const texts[AWAY_COUNT] = {"startups", "source", "penalty", "sessions", "resources"};
    return (unsigned)why < AWAY_COUNT ? texts[why] : "?";
}

/* ---- what a session says ------------------------------------------------------------------------------- */

static struct session_descriptors *setting_up; /* of the one worker_start() that is running */

static enum status on_setup(struct worker_process *w, void *arg)
{
    struct connection *c = arg;

    w->connection = c;
    enum status result = session_send_start(w, c, c->supervisor->config->path);
    if (result == OK)
        result =
            WORKER_SEND_FD(w, setting_up->socket, SESSION_SOCKET, session_socket, .connection = c->number);
    if (result == OK)
        result = WORKER_SEND_FD(w, setting_up->handshake, SESSION_HANDSHAKE_CHANNEL,
                                session_handshake_channel, .connection = c->number);
    return result;
}

static void on_ready(struct worker_process *w, void *arg)
{
    struct connection *c = arg;

    (void)w;
    if (c->state == CONNECTION_STARTING)
        connection_set_state(c, CONNECTION_HANDSHAKE);
    approval_session_ready(c);
}

static void on_forwarded(struct worker_process *w, struct connection *c,
                         const struct msg_session_forwarded *m)
{
    if (!c->from_trusted_proxy) {
        worker_violation(w, "SESSION_FORWARDED, but the connection comes from no trusted proxy");
        return;
    }
    struct source source = source_of_text(m->address);
    if (source.family == 0)
        return; /* the proxy passed on nonsense: its own address counts */
    (void)snprintf(c->forwarded, sizeof c->forwarded, "%s", m->address);
    uint64_t wait_ms = limits_penalty_ms(c->supervisor, &source);
    if (wait_ms > 0) {
        c->supervisor->counters.turned_away[AWAY_PENALTY]++;
        connection_end(c, 0, END_LIMIT, "sessions of this address crashed lately");
    }
}

/*
 * Everything that a server's session may say, and when. The channel's own permit table (messages.def) has
 * judged type and state before: IN_HELLO until connection_finish() (approvals.c), IN_OPEN from there to the
 * end.
 */
static void on_message(struct worker_process *w, enum message_type type, const union message *m, int fd,
                       void *arg)
{
    struct connection *c = arg;

    (void)fd; /* no message of a session carries one */
    if (session_message(c, type, m))
        return;
    switch (type) {
    case MSG_SESSION_FORWARDED: on_forwarded(w, c, &m->session_forwarded); break;
    case MSG_APP_ANNOUNCED:
        if (c->state == CONNECTION_OPEN)
            app_announced(c, &m->app_announced);
        break; /* DRAINING: too late, no listener for it */
    case MSG_APP_REMOVED:
        if (c->peer != NULL)
            app_removed(c, &m->app_removed);
        break;
    case MSG_APP_STATS: app_stats(c, &m->app_stats); break;
    default: worker_violation(w, "%s from a server's session", ipc_message_name(type)); break;
    }
}

static void on_gone(struct worker_process *w, enum worker_exit why, void *arg)
{
    struct connection *c = arg;

    (void)w;
    if (why == WORKER_EXIT_CRASH || why == WORKER_EXIT_VIOLATION) {
        struct source source = source_of_text(connection_source(c));
        bool proxy_itself = c->from_trusted_proxy && c->forwarded[0] == '\0';
        if (!proxy_itself && !c->supervisor->draining)
            limits_punish(c->supervisor, &source, connection_source(c));
    }
    session_log_end(c, why);
    c->worker = NULL;
    connection_free(c);
}

static const struct worker_handlers handlers = {
    .setup = on_setup, .ready = on_ready, .message = on_message, .gone = on_gone};

/* ---- accepting ----------------------------------------------------------------------------------------- */

static void turn_away(struct supervisor *s, enum turned_away why, const char *remote)
{
    static uint64_t complained_ms;
    static unsigned unsaid;
    uint64_t now = clock_mono_ms();

    s->counters.turned_away[why]++;
    if (complained_ms != 0 && now - complained_ms < COMPLAIN_MS) {
        unsaid++;
        return;
    }
    complained_ms = now;
    sup_warn("connection from %s turned away: %s (and %u others since the last such line)", remote,
             turned_away_text(why), unsaid);
    unsaid = 0;
}

/* Starts the session of an accepted connection; false: it could not be. Does not close fd. */
static bool session_begin(struct supervisor *s, int fd, const struct sockaddr_storage *address,
                          const char *remote)
{
    struct session_descriptors descriptors = {.socket = fd, .handshake = -1, .dial = -1};
    char number[24];

    struct connection *c = connection_new(s);
    if (c == NULL)
        return false;
    c->address = *address;
    (void)snprintf(c->remote, sizeof c->remote, "%s", remote);
    c->from_trusted_proxy = limits_is_trusted(s, (const struct sockaddr *)address);
    c->deadline_ms = c->started_ms + s->config->handshake_ms + DEADLINE_SLACK_MS;
    c->end_code = END_INTERNAL;
    if (session_handshake_pair(c, &descriptors.handshake) == OK) {
        (void)snprintf(number, sizeof number, "%llu", (unsigned long long)c->number);
        setting_up = &descriptors;
        c->worker = worker_start(s, ROLE_SESSION, number, &handlers, c);
        setting_up = NULL;
        (void)close(descriptors.handshake);
    }
    if (c->worker == NULL) {
        connection_free(c);
        return false;
    }
    return true;
}

/* False: stop accepting for a moment. */
static bool accept_one(struct supervisor *s, int fd, const struct sockaddr_storage *address)
{
    enum turned_away why = AWAY_RESOURCES;
    char remote[65];

    address_text((const struct sockaddr *)address, remote, sizeof remote);
    s->counters.accepted++;
    bool admitted = limits_admit(s, (const struct sockaddr *)address, &why);
    bool begun = admitted && session_begin(s, fd, address, remote);
    (void)close(fd);
    if (!begun)
        turn_away(s, why, remote);
    return begun || !admitted;
}

static void accept_later(struct supervisor *s)
{
    struct timeval pause = {.tv_sec = PAUSE_S};

    (void)event_del(s->accept_event);
    (void)event_add(s->accept_pause, &pause);
}

static void on_accept(evutil_socket_t listener, short what, void *arg)
{
    struct supervisor *s = arg;

    (void)what;
    for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage address;
        socklen_t len = sizeof address;
        int fd = accept4(listener, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
            turn_away(s, AWAY_RESOURCES, strerror(errno));
            accept_later(s);
            return;
        }
        if (fd < 0)
            return; /* EAGAIN, or the connection ended while it waited */
        if (!accept_one(s, fd, &address)) {
            accept_later(s);
            return;
        }
    }
}

static void on_pause_over(evutil_socket_t fd, short what, void *arg)
{
    struct supervisor *s = arg;

    (void)fd;
    (void)what;
    if (s->accepting)
        (void)event_add(s->accept_event, NULL);
}

enum status sessions_open(struct supervisor *s)
{
    s->accept_event = event_new(s->base, s->tunnel_fd, EV_READ | EV_PERSIST, on_accept, s);
    s->accept_pause = evtimer_new(s->base, on_pause_over, s);
    return s->accept_event != NULL && s->accept_pause != NULL ? OK : ERR_NOMEM;
}

void sessions_close(struct supervisor *s)
{
    s->accepting = false;
    if (s->accept_event != NULL)
        event_free(s->accept_event);
    if (s->accept_pause != NULL)
        event_free(s->accept_pause);
    s->accept_event = s->accept_pause = NULL;
    if (s->tunnel_fd >= 0)
        (void)close(s->tunnel_fd);
    s->tunnel_fd = -1;
}

void sessions_accept(struct supervisor *s, bool on)
{
    if (s->accept_event == NULL || s->accepting == on)
        return;
    s->accepting = on;
    if (on) {
        (void)event_add(s->accept_event, NULL);
    } else {
        (void)event_del(s->accept_event);
        (void)event_del(s->accept_pause);
    }
}

void sessions_crypto_lost(struct supervisor *s)
{
    struct connection *c;

    TAILQ_FOREACH(c, &s->connections, link)
    {
        if (c->opened_ms == 0 && c->state != CONNECTION_DRAINING)
            connection_end(c, 0, END_INTERNAL, "the crypto worker was restarted");
    }
}

void sessions_tick(struct supervisor *s)
{
    uint64_t now = clock_mono_ms();
    struct connection *c;

    TAILQ_FOREACH(c, &s->connections, link)
    {
        if (c->deadline_ms != 0 && now >= c->deadline_ms && c->state != CONNECTION_DRAINING)
            connection_end(c, 0, END_TIMEOUT, "the handshake took too long");
    }
}
