/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server: tells the Kubernetes worker which apps want a Service, in an orderly queue, because a restarted
 * worker has to hear of thousands at once. It must not send faster than the worker takes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "common/clock.h"
#include "common/log.h"
#include "supervisor/k8s_private.h"

#define CHANNEL_CALM 256 /* messages that may wait in the channel before errands do */
#define PAUSE_MS 10

static void pump_later(struct k8s *k, suseconds_t ms)
{
    struct timeval tv = {.tv_usec = ms * 1000};

    if (!event_pending(k->timer, EV_TIMEOUT, NULL))
        (void)event_add(k->timer, &tv);
}

static void errand_add(struct k8s *k, const char *peer, const char *app, bool up)
{
    struct k8s_errand *errand = calloc(1, sizeof *errand);

    if (errand == NULL) {
        sup_error("out of memory: the Service of app \"%s\" of %s stays as it is", app, peer);
        return;
    }
    (void)snprintf(errand->peer, sizeof errand->peer, "%s", peer);
    (void)snprintf(errand->app, sizeof errand->app, "%s", app);
    errand->up = up;
    TAILQ_INSERT_TAIL(&k->errands, errand, link);
}

static void errand_run(struct supervisor *s, struct worker_process *w, const struct k8s_errand *errand)
{
    if (!errand->up) {
        struct msg_k8s_unmirror m;
        memcpy(m.peer, errand->peer, sizeof m.peer);
        memcpy(m.app, errand->app, sizeof m.app);
        (void)worker_send(w, MSG_K8S_UNMIRROR, &m, -1);
        return;
    }
    const struct app *app = app_find(s, errand->peer, errand->app);
    if (app == NULL)
        return; /* gone again; the errand about that follows */
    struct msg_k8s_mirror m = {.port = app->service_port, .target_port = app->port};
    memcpy(m.peer, errand->peer, sizeof m.peer);
    memcpy(m.app, errand->app, sizeof m.app);
    memcpy(m.app_protocol, app->app_protocol, sizeof m.app_protocol);
    if (m.port == 0) /* an app that is no Service at home has no port of its own */
        m.port = app->port;
    (void)worker_send(w, MSG_K8S_MIRROR, &m, -1);
}

void k8s_server_pump(struct supervisor *s)
{
    struct k8s *k = s->k8s;
    struct k8s_errand *errand;
    struct worker_process *w = k8s_worker(s);

    while (w != NULL && w->channel != NULL && (errand = TAILQ_FIRST(&k->errands)) != NULL) {
        if (ipc_channel_queued(w->channel) >= CHANNEL_CALM) {
            pump_later(k, PAUSE_MS);
            return;
        }
        TAILQ_REMOVE(&k->errands, errand, link);
        errand_run(s, w, errand);
        free(errand);
        w = k8s_worker(s); /* sending may have killed it */
    }
}

void k8s_server_clear(struct k8s *k)
{
    struct k8s_errand *errand;

    while ((errand = TAILQ_FIRST(&k->errands)) != NULL) {
        TAILQ_REMOVE(&k->errands, errand, link);
        free(errand);
    }
}

void k8s_server_ready(struct supervisor *s)
{
    struct k8s *k = s->k8s;
    const struct peer *peer;
    const struct app *app;
    uint64_t up_ms = clock_mono_ms() - s->started_mono_ms;
    uint64_t grace_ms =
        s->config->grace_ms + s->config->grace_ms / 2; /* clients back off as long as a grace period */
    uint64_t left_ms = up_ms < grace_ms ? grace_ms - up_ms : 0;
    struct timeval left = {.tv_sec = (time_t)(left_ms / 1000),
                           .tv_usec = (suseconds_t)(left_ms % 1000) * 1000};

    k8s_server_clear(k);
    TAILQ_FOREACH(peer, &s->peers, link)
    {
        TAILQ_FOREACH(app, &peer->apps, link)
        {
            errand_add(k, peer->name, app->name, true);
        }
    }
    k8s_server_pump(s);
    (void)event_add(k->sweep, &left);
}

void k8s_app_up(struct supervisor *s, struct app *app)
{
    if (s->k8s == NULL)
        return;
    errand_add(s->k8s, app->peer->name, app->name, true);
    k8s_server_pump(s);
}

void k8s_app_down(struct supervisor *s, struct app *app)
{
    if (s->k8s == NULL)
        return;
    errand_add(s->k8s, app->peer->name, app->name, false);
    k8s_server_pump(s);
}

void k8s_server_message(struct worker_process *w, enum message_type type, const union message *m)
{
    const struct msg_k8s_mirrored *mirrored = &m->k8s_mirrored;

    if (type != MSG_K8S_MIRRORED) {
        worker_violation(w, "%s on a server", ipc_message_name(type));
        return;
    }
    struct app *app = app_find(w->supervisor, mirrored->peer, mirrored->app);
    if (app != NULL)
        app_mirrored(app, mirrored->done != 0, mirrored->endpoint, mirrored->text);
}
