/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See supervisor.h: the life of a supervisor from its configuration to its exit code.
 */
#include "supervisor/supervisor.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/names.h"
#include "supervisor/approvals.h"
#include "supervisor/apps.h"
#include "supervisor/client_events.h"
#include "supervisor/connections.h"
#include "supervisor/control.h"
#include "supervisor/k8s.h"
#include "supervisor/limits.h"
#include "supervisor/notify.h"
#include "supervisor/requests.h"
#include "supervisor/revocations.h"
#include "supervisor/sessions.h"
#include "supervisor/signals.h"
#include "supervisor/startup.h"
#include "supervisor/worker_process.h"

#define TICK_MS 1000u
#define DRAIN_LOOK_MS 20u
#define DRAIN_SLACK_MS 5000u

static const struct store_actor system_actor = {.kind = "system", .id = "supervisor"};

/* ---- readiness and status ------------------------------------------------------------------------------ */

bool supervisor_ready(const struct supervisor *s, char *why, size_t cap)
{
    const struct {
        const struct worker_slot *slot;
        const char *name;
    } slots[] = {{s->crypto, "crypto"}, {s->dialer, "dialer"}, {s->admin, "admin"}, {s->kubernetes, "k8s"}};

    (void)snprintf(why, cap, "%s", "");
    if (s->draining) {
        (void)snprintf(why, cap, "shutting down");
        return false;
    }
    for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++) {
        if (slots[i].slot != NULL && !worker_slot_ready(slots[i].slot)) {
            (void)snprintf(why, cap, "the %s worker is not ready", slots[i].name);
            return false;
        }
    }
    if (s->crypto == NULL || (s->side == SIDE_SERVER && !s->accepting)) {
        (void)snprintf(why, cap, "not accepting yet");
        return false;
    }
    return k8s_ready(s, why, cap);
}

static void status_tell(struct supervisor *s)
{
    struct connection_totals totals;

    connections_totals(s, &totals);
    if (s->draining)
        notify_status(s->notify, "ending, %zu connections left", totals.open);
    else if (s->side == SIDE_SERVER)
        notify_status(s->notify, "%zu tunnel connections, %zu requests wait for a decision", totals.open,
                      approvals_pending(s));
    else
        notify_status(s->notify, "%s, server %s", client_phase_text(client_phase(s)), s->client->target.host);
}

static void greet(const struct supervisor *s)
{
    char where[300];

    if (s->metrics_fd >= 0) {
        address_join(where, sizeof where, s->config->metrics_host, s->metrics_port);
        sup_info("metrics and health on %s", where);
    }
    if (s->side == SIDE_CLIENT)
        return;
    address_join(where, sizeof where, s->config->host, s->tunnel_port);
    sup_info("tunnel port %s, path %s", where, s->config->path);
    address_join(where, sizeof where, s->config->admin_host, s->admin_port);
    sup_info("admin API on %s", where);
}

static void ready_tell(struct supervisor *s)
{
    char why[256];

    if (s->told_ready || !supervisor_ready(s, why, sizeof why))
        return;
    s->told_ready = true;
    notify_ready(s->notify);
    status_tell(s);
    sup_info("ready");
}

/* ---- time ---------------------------------------------------------------------------------------------- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct supervisor *s = arg;

    (void)fd;
    (void)what;
    bool well = workers_tick(s);
    sessions_tick(s);
    if (s->side == SIDE_SERVER) {
        approvals_tick(s);
        revocations_tick(s);
    }
    if (well)
        notify_watchdog(s->notify);
    status_tell(s);
}

/* Readiness is told at once, not at the next tick: service managers and tests wait for it. */
static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct supervisor *s = arg;
    struct timeval soon = {.tv_usec = 20000};

    (void)fd;
    (void)what;
    ready_tell(s);
    if (!s->told_ready)
        (void)event_add(s->ready_look, &soon);
}

static void on_drain_look(evutil_socket_t fd, short what, void *arg)
{
    struct supervisor *s = arg;

    (void)fd;
    (void)what;
    if (s->n_connections == 0 || clock_mono_ms() >= s->drain_until_ms)
        supervisor_exit(s, s->exit_code);
}

static enum status timers_open(struct supervisor *s)
{
    struct timeval tick = clock_timeval(TICK_MS);
    struct timeval now = {0};

    s->watchdog = event_new(s->base, -1, EV_PERSIST, on_tick, s);
    s->drain_timer = event_new(s->base, -1, EV_PERSIST, on_drain_look, s);
    s->ready_look = evtimer_new(s->base, on_turn, s);
    if (s->watchdog == NULL || s->drain_timer == NULL || s->ready_look == NULL)
        return ERR_NOMEM;
    (void)event_add(s->watchdog, &tick);
    (void)event_add(s->ready_look, &now);
    return OK;
}

static void timers_close(struct supervisor *s)
{
    struct event *const all[] = {s->watchdog, s->drain_timer, s->ready_look};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i] != NULL)
            event_free(all[i]);
    }
}

/* ---- end ----------------------------------------------------------------------------------------------- */

void supervisor_exit(struct supervisor *s, int code)
{
    s->exiting = true;
    s->exit_code = code;
    (void)event_base_loopbreak(s->base);
}

void supervisor_drain(struct supervisor *s, const char *why)
{
    struct timeval look = clock_timeval(DRAIN_LOOK_MS);
    uint32_t drain_ms = (uint32_t)s->config->drain_ms;
    struct connection *c;

    if (s->draining)
        return;
    s->draining = true;
    s->drain_until_ms = clock_mono_ms() + drain_ms + DRAIN_SLACK_MS;
    sup_info("%s: ending, running streams have %u s", why, drain_ms / 1000);
    notify_stopping(s->notify);
    if (s->side == SIDE_SERVER)
        sessions_close(s);
    TAILQ_FOREACH(c, &s->connections, link)
    {
        connection_end(c, c->state == CONNECTION_OPEN ? drain_ms : 0, END_STOPPING,
                       s->side == SIDE_SERVER ? "the server is shutting down"
                                              : "the client is shutting down");
    }
    (void)event_add(s->drain_timer, &look);
}

static void descriptor_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static void supervisor_clear(struct supervisor *s)
{
    struct connection *c;

    s->exiting = true;
    workers_kill_all(s);
    while ((c = TAILQ_FIRST(&s->connections)) != NULL)
        connection_free(c);
    peers_free(s);
    worker_slot_free(s->crypto);
    worker_slot_free(s->dialer);
    worker_slot_free(s->admin);
    worker_slot_free(s->kubernetes);
    control_close(s);
    k8s_close(s);
    client_free(s);
    sessions_close(s);
    approvals_free(s->approvals);
    limits_free(s->limits);
    if (s->store != NULL) {
        revocations_free(s);
        if (s->told_ready)
            (void)store_audit(s->store, &system_actor, "stop", NULL, NULL, NULL, NULL);
        store_close(s->store);
    }
    descriptor_close(&s->admin_fd);
    descriptor_close(&s->metrics_fd);
    timers_close(s);
    signals_close(s);
    notify_close(s->notify);
    if (s->base != NULL)
        event_base_free(s->base);
    descriptor_close(&s->lock_fd);
    config_free(s->config);
}

/* ---- run ----------------------------------------------------------------------------------------------- */

static void audit_start(struct supervisor *s)
{
    bool dummy = s->side == SIDE_SERVER && strcmp(s->config->acceptor, "dummy") == 0;

    if (s->store == NULL)
        return;
    if (store_audit(s->store, &system_actor, "start", NULL, NULL, NULL,
                    dummy ? "acceptor dummy: approves everybody" : NULL) != OK)
        sup_error("the start could not be audited: %s", store_last_error(s->store));
    if (dummy) {
        sup_warn("*** ACCEPTOR DUMMY: EVERY CLIENT IS APPROVED WITHOUT ASKING ***");
        sup_warn("*** anybody who reaches the tunnel port gets in; this is for trials only ***");
    }
}

static int run(struct supervisor *s)
{
    struct config_error error = {.text = ""};
    int exit_code = EXIT_FAILED;

    ipc_trace_enable(log_get_level() >= LEVEL_TRACE);
    if (startup_run(s, &error, &exit_code) != OK) {
        sup_error("%s", error.text);
        return exit_code;
    }
    greet(s);
    audit_start(s);
    if (timers_open(s) != OK || startup_workers(s) != OK) {
        sup_error("out of memory");
        return EXIT_FAILED;
    }
    while (!s->exiting) {
        if (event_base_loop(s->base, EVLOOP_NO_EXIT_ON_EMPTY) != 0)
            break;
    }
    return s->exit_code;
}

int supervisor_run(struct config *config, int argc, char **argv)
{
    static struct supervisor supervisor; /* one per process; too large for a stack */
    struct supervisor *s = &supervisor;

    *s = (struct supervisor){.config = config,
                             .side = config->side,
                             .argc = argc,
                             .argv = argv,
                             .tunnel_fd = -1,
                             .admin_fd = -1,
                             .metrics_fd = -1,
                             .lock_fd = -1};
    TAILQ_INIT(&s->workers);
    TAILQ_INIT(&s->connections);
    TAILQ_INIT(&s->peers);
    int code = run(s);
    supervisor_clear(s);
    return code;
}
