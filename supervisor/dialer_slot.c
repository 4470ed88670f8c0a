/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client: the dialer worker. It alone learns addresses; whom it connects is asked by number.
 */
#include "supervisor/dialer_slot.h"

#include <stdio.h>

#include "supervisor/client_events.h"

static enum status on_setup(struct worker_process *w, void *arg)
{
    const struct supervisor *s = w->supervisor;
    const struct client_target *t = &s->client->target;
    struct msg_dialer_setup m = {.port = t->via_proxy ? t->proxy_port : t->port,
                                 .connect_ms = (uint32_t)s->config->connect_ms};

    (void)arg;
    (void)snprintf(m.host, sizeof m.host, "%s", t->via_proxy ? t->proxy_host : t->host);
    return worker_send(w, MSG_DIALER_SETUP, &m, -1);
}

static void on_ready(struct worker_process *w, void *arg)
{
    (void)arg;
    client_apps_tell_dialer(w->supervisor, w);
    client_dialer_ready(w->supervisor);
    client_workers_ready(w->supervisor);
}

static void on_message(struct worker_process *w, enum message_type type, const union message *m, int fd,
                       void *arg)
{
    (void)fd;
    (void)arg;
    if (type != MSG_WORKER_VIOLATION) {
        worker_violation(w, "%s from the dialer", ipc_message_name(type));
        return;
    }
    struct connection *c = connection_find(w->supervisor, m->worker_violation.connection);
    if (c != NULL && c->worker != NULL)
        worker_violation(c->worker, "reported by the dialer: %s", m->worker_violation.text);
}

static void on_gone(struct worker_process *w, enum worker_exit why, void *arg)
{
    (void)why;
    (void)arg;
    client_dialer_lost(w->supervisor);
}

const struct worker_handlers dialer_handlers = {
    .setup = on_setup, .ready = on_ready, .message = on_message, .gone = on_gone};
