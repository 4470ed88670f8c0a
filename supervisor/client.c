/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client: one session worker per slot, started again whenever it ends, with jittered back-off. A reconnect is
 * a fresh process, not a path of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/names.h"
#include "supervisor/client_events.h"
#include "supervisor/session_common.h"
#include "supervisor/worker_process.h"

#define GOOD_MS 60000u       /* a connection that lived so long resets the back-off */
#define DECLINED_MAX_S 3600u /* ask again at least this often: an operator may have changed his mind */
#define DEADLINE_SLACK_MS 5000u

static void slot_start(struct client_slot *slot);

const char *client_phase_text(enum client_phase phase)
{
    switch (phase) {
    case CLIENT_STARTING: return "starting";
    case CLIENT_CONNECTING: return "connecting";
    case CLIENT_PENDING: return "waiting for approval";
    case CLIENT_OPEN: return "connected";
    case CLIENT_WAITING: return "waiting to connect again";
    case CLIENT_DECLINED: return "declined by the server";
    }
    return "?";
}

enum client_phase client_phase(const struct supervisor *s)
{
    static const enum client_phase best_first[] = {CLIENT_OPEN, CLIENT_PENDING, CLIENT_DECLINED,
                                                   CLIENT_CONNECTING, CLIENT_WAITING};

    for (size_t i = 0; i < sizeof best_first / sizeof best_first[0]; i++) {
        for (size_t k = 0; k < s->client->n_slots; k++) {
            if (s->client->slots[k].phase == best_first[i])
                return best_first[i];
        }
    }
    return CLIENT_STARTING;
}

struct client_slot *client_slot_of(const struct connection *c)
{
    return &c->supervisor->client->slots[c->slot];
}

/* ---- sessions ------------------------------------------------------------------------------------------ */

static struct session_descriptors *setting_up; /* of the one worker_start() that is running */

static enum status send_target(struct worker_process *w, const struct client_target *t, const char *ca_file)
{
    struct msg_session_target m = {.tls = t->tls, .port = t->port, .via_proxy = t->via_proxy};

    (void)snprintf(m.host, sizeof m.host, "%s", t->host);
    (void)snprintf(m.ca_file, sizeof m.ca_file, "%s", ca_file != NULL ? ca_file : "");
    memcpy(m.proxy_authorization, t->proxy_authorization, sizeof m.proxy_authorization);
    enum status result = worker_send(w, MSG_SESSION_TARGET, &m, -1);
    explicit_bzero(m.proxy_authorization, sizeof m.proxy_authorization);
    return result;
}

static enum status on_setup(struct worker_process *w, void *arg)
{
    struct connection *c = arg;
    const struct supervisor *s = c->supervisor;

    w->connection = c;
    enum status result = session_send_start(w, c, s->client->target.path);
    if (result == OK)
        result = send_target(w, &s->client->target, s->config->ca_file);
    if (result == OK)
        result = WORKER_SEND_FD(w, setting_up->handshake, SESSION_HANDSHAKE_CHANNEL,
                                session_handshake_channel, .connection = c->number);
    if (result == OK)
        result = WORKER_SEND_FD(w, setting_up->dial, SESSION_DIAL_CHANNEL, session_dial_channel,
                                .connection = c->number);
    return result;
}

static void on_ready(struct worker_process *w, void *arg)
{
    struct connection *c = arg;

    (void)w;
    if (c->state == CONNECTION_STARTING)
        connection_set_state(c, CONNECTION_HANDSHAKE);
    client_session_ready(c);
}

/*
 * Everything that a client's session may say. The channel's own permit table (messages.def) has judged type
 * and state before: IN_HELLO until connection_finish() (client_crypto.c), IN_OPEN from there to the end.
 */
static void on_message(struct worker_process *w, enum message_type type, const union message *m, int fd,
                       void *arg)
{
    struct connection *c = arg;

    (void)fd; /* no message of a session carries one */
    if (session_message(c, type, m))
        return;
    switch (type) {
    case MSG_APP_STATUS: client_app_answered(c, &m->app_status); break;
    case MSG_APP_STATS: client_app_stats(c, &m->app_stats); break;
    default: worker_violation(w, "%s from a client's session", ipc_message_name(type)); break;
    }
}

/* 70 to 100 percent: clients of a server that restarts must not come back in step. */
static uint64_t jittered(uint64_t ms)
{
    uint32_t dice = 0;

    if (getrandom(&dice, sizeof dice, GRND_NONBLOCK) != (ssize_t)sizeof dice)
        dice = (uint32_t)clock_mono_us();
    return ms * (70u + dice % 31u) / 100u;
}

static void slot_schedule(struct client_slot *slot, uint64_t pause_ms)
{
    struct timeval pause = clock_timeval(pause_ms);

    slot->retry_at_ms = clock_mono_ms() + pause_ms;
    (void)event_add(slot->timer, &pause);
}

/* How long to wait after this end, and the phase that it leaves the slot in. */
static uint64_t pause_after(struct client_slot *slot, const struct connection *c)
{
    const struct config *config = slot->supervisor->config;
    uint64_t now = clock_mono_ms();

    slot->phase = CLIENT_WAITING;
    if (c->declined) {
        uint64_t wait_s = slot->declined_retry_s > DECLINED_MAX_S ? DECLINED_MAX_S : slot->declined_retry_s;
        slot->backoff_ms = config->reconnect_min_ms;
        if (c->end_code == END_DECLINED && slot->declined_retry_s > 60)
            slot->phase = CLIENT_DECLINED;
        return jittered(wait_s * 1000 < config->reconnect_min_ms ? config->reconnect_min_ms : wait_s * 1000);
    }
    if (c->opened_ms != 0 && now - c->opened_ms >= GOOD_MS)
        slot->backoff_ms = config->reconnect_min_ms;
    if (slot->backoff_ms < config->reconnect_min_ms)
        slot->backoff_ms = config->reconnect_min_ms;
    if (slot->backoff_ms > config->reconnect_max_ms || c->end_code == END_REPLACED)
        slot->backoff_ms = config->reconnect_max_ms;
    uint64_t pause = jittered(slot->backoff_ms);
    slot->backoff_ms =
        slot->backoff_ms * 2 > config->reconnect_max_ms ? config->reconnect_max_ms : slot->backoff_ms * 2;
    return pause;
}

static void on_gone(struct worker_process *w, enum worker_exit why, void *arg)
{
    struct connection *c = arg;
    struct supervisor *s = c->supervisor;
    struct client_slot *slot = client_slot_of(c);

    (void)w;
    (void)snprintf(slot->last_error, sizeof slot->last_error, "%s%s%.200s",
                   c->end_known ? end_code_text(c->end_code) : worker_exit_text(why),
                   c->end_text[0] != '\0' ? ": " : "", c->end_text);
    session_log_end(c, why);
    client_apps_connection_gone(c);
    slot->connection = NULL;
    slot->restarts++;
    uint64_t pause = pause_after(slot, c);
    bool lost_helper = c->helper_lost;
    c->worker = NULL;
    connection_free(c);
    if (s->draining || s->exiting)
        return;
    if (lost_helper) /* our own process ended, not the server's patience: at once, when its successor is ready
                      */
        pause = 0;
    else
        sup_info("connecting again in %llu.%llu s", (unsigned long long)(pause / 1000),
                 (unsigned long long)(pause % 1000 / 100));
    slot_schedule(slot, pause);
}

static const struct worker_handlers handlers = {
    .setup = on_setup, .ready = on_ready, .message = on_message, .gone = on_gone};

/* ---- slots --------------------------------------------------------------------------------------------- */

static enum status dial_pair(struct connection *c, int *fd)
{
    struct supervisor *s = c->supervisor;
    int pair[2];

    if (!worker_slot_ready(s->dialer))
        return ERR_WRONG_STATE;
    if (ipc_pair(pair, false) != OK)
        return ERR_IO;
    enum status result =
        WORKER_SEND_FD(s->dialer->process, pair[0], DIALER_SESSION, dialer_session, .connection = c->number);
    (void)close(pair[0]);
    if (result != OK) {
        (void)close(pair[1]);
        return result;
    }
    *fd = pair[1];
    return OK;
}

static struct connection *slot_connection(struct client_slot *slot)
{
    struct supervisor *s = slot->supervisor;
    const struct client_target *t = &s->client->target;
    struct session_descriptors descriptors = {-1, -1, -1};
    char number[24];

    struct connection *c = connection_new(s);
    if (c == NULL)
        return NULL;
    c->slot = slot->slot;
    address_join(c->remote, sizeof c->remote, t->host, t->port);
    memcpy(c->instance, s->instance_id, sizeof c->instance);
    c->deadline_ms = c->started_ms + s->config->connect_ms + 2 * s->config->handshake_ms + DEADLINE_SLACK_MS;
    c->end_code = END_INTERNAL;
    if (session_handshake_pair(c, &descriptors.handshake) == OK && dial_pair(c, &descriptors.dial) == OK) {
        (void)snprintf(number, sizeof number, "%llu", (unsigned long long)c->number);
        setting_up = &descriptors;
        c->worker = worker_start(s, ROLE_SESSION, number, &handlers, c);
        setting_up = NULL;
    }
    if (descriptors.handshake >= 0)
        (void)close(descriptors.handshake);
    if (descriptors.dial >= 0)
        (void)close(descriptors.dial);
    if (c->worker == NULL) {
        connection_free(c);
        return NULL;
    }
    c->worker->restarts = slot->restarts;
    return c;
}

static void slot_start(struct client_slot *slot)
{
    struct supervisor *s = slot->supervisor;

    if (slot->connection != NULL || s->draining || s->exiting)
        return;
    if (!worker_slot_ready(s->crypto) || !worker_slot_ready(s->dialer))
        return; /* client_workers_ready() comes back to it */
    (void)event_del(slot->timer);
    slot->retry_at_ms = 0;
    slot->connection = slot_connection(slot);
    slot->phase = slot->connection != NULL ? CLIENT_CONNECTING : CLIENT_WAITING;
    if (slot->connection == NULL)
        slot_schedule(slot, jittered(s->config->reconnect_min_ms));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    slot_start(arg);
}

void client_workers_ready(struct supervisor *s)
{
    struct client *client = s->client;

    /* Until the key is approved one connection is enough: the others would only wait beside it. */
    for (size_t i = 0; i < (client->was_open ? client->n_slots : 1); i++) {
        struct client_slot *slot = &client->slots[i];
        if (slot->retry_at_ms <= clock_mono_ms())
            slot_start(slot);
    }
}

void client_dialer_lost(struct supervisor *s)
{
    struct connection *c;

    /* What is open goes on, and gets a channel to the next one; what was about to connect may end of it. */
    TAILQ_FOREACH(c, &s->connections, link)
    {
        if (c->state == CONNECTION_DRAINING || c->opened_ms != 0)
            continue;
        c->helper_lost = true;
        if (c->state == CONNECTION_STARTING)
            connection_end(c, 0, END_INTERNAL, "the dialer was restarted");
    }
}

void client_dialer_ready(struct supervisor *s)
{
    struct connection *c;
    int fd;

    TAILQ_FOREACH(c, &s->connections, link)
    {
        if (c->state == CONNECTION_DRAINING || c->worker == NULL || dial_pair(c, &fd) != OK)
            continue;
        (void)WORKER_SEND_FD(c->worker, fd, SESSION_DIAL_CHANNEL, session_dial_channel,
                             .connection = c->number);
        (void)close(fd);
    }
}

struct client *client_new(struct supervisor *s, struct config_error *error)
{
    struct client *client = calloc(1, sizeof *client);

    if (client == NULL) {
        (void)snprintf(error->text, sizeof error->text, "out of memory");
        return NULL;
    }
    TAILQ_INIT(&client->apps);
    client->n_slots = (size_t)s->config->connections;
    for (size_t i = 0; i < client->n_slots; i++) {
        struct client_slot *slot = &client->slots[i];
        slot->supervisor = s;
        slot->slot = (uint8_t)i;
        slot->phase = CLIENT_STARTING;
        slot->backoff_ms = s->config->reconnect_min_ms;
        slot->timer = evtimer_new(s->base, on_timer, slot);
    }
    s->client = client;
    if (client_target_fill(&client->target, s->config, error) != OK || client_apps_init(s, error) != OK) {
        client_free(s);
        return NULL;
    }
    return client;
}

void client_free(struct supervisor *s)
{
    struct client *client = s->client;

    if (client == NULL)
        return;
    client_apps_free(s);
    for (size_t i = 0; i < client->n_slots; i++) {
        if (client->slots[i].timer != NULL)
            event_free(client->slots[i].timer);
    }
    explicit_bzero(&client->target, sizeof client->target);
    free(client);
    s->client = NULL;
}
