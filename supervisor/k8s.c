/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Kubernetes worker's life as the supervisor sees it (k8s.h): its setup, its state, and which half of
 * this module its messages go to. It must not believe a name or port from the worker unchecked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "common/log.h"
#include "supervisor/k8s_private.h"

struct worker_process *k8s_worker(const struct supervisor *s)
{
    return worker_slot_ready(s->kubernetes) ? s->kubernetes->process : NULL;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct supervisor *s = arg;

    (void)fd;
    (void)what;
    if (s->side == SIDE_SERVER)
        k8s_server_pump(s);
    else
        k8s_client_retry(s);
}

/* Only after the worker has heard of every app: what it does not know by then is nobody's. */
static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    struct supervisor *s = arg;
    struct worker_process *w = k8s_worker(s);
    struct timeval soon = {.tv_usec = 50000};

    (void)fd;
    (void)what;
    if (w == NULL)
        return; /* the next one gets its own */
    if (!TAILQ_EMPTY(&s->k8s->errands))
        (void)event_add(s->k8s->sweep, &soon);
    else
        (void)WORKER_SEND(w, K8S_SWEEP, k8s_sweep, .now = 1);
}

enum status k8s_open(struct supervisor *s, struct config_error *error)
{
    struct k8s *k = calloc(1, sizeof *k);
    size_t length = 0;

    for (size_t i = 0; i < s->config->kubernetes_namespaces.n_items; i++)
        length += strlen(s->config->kubernetes_namespaces.items[i]) + 1;
    if (length > sizeof((struct msg_k8s_setup *)NULL)->namespaces) {
        (void)snprintf(error->text, sizeof error->text, "kubernetes-namespaces: too many names");
        free(k);
        return ERR_CONFIG;
    }
    if (k == NULL)
        return ERR_NOMEM;
    k->supervisor = s;
    TAILQ_INIT(&k->errands);
    TAILQ_INIT(&k->found);
    k->timer = evtimer_new(s->base, on_timer, s);
    k->sweep = evtimer_new(s->base, on_sweep, s);
    s->k8s = k;
    if (k->timer == NULL || k->sweep == NULL) {
        k8s_close(s);
        return ERR_NOMEM;
    }
    return OK;
}

void k8s_close(struct supervisor *s)
{
    struct k8s *k = s->k8s;

    if (k == NULL)
        return;
    k8s_server_clear(k);
    k8s_client_clear(k);
    if (k->timer != NULL)
        event_free(k->timer);
    if (k->sweep != NULL)
        event_free(k->sweep);
    free(k);
    s->k8s = NULL;
}

/* Copies an option's text; NULL is empty. Lengths were checked by the option table. */
static void text_set(char *out, size_t cap, const char *text)
{
    (void)snprintf(out, cap, "%s", text != NULL ? text : "");
}

static enum status on_setup(struct worker_process *w, void *arg)
{
    const struct supervisor *s = w->supervisor;
    const struct config *c = s->config;
    struct msg_k8s_setup m = {.network_policies = c->network_policies};
    size_t at = 0;

    (void)arg;
    text_set(m.kubeconfig, sizeof m.kubeconfig, c->kubeconfig);
    text_set(m.context, sizeof m.context, c->kubernetes_context);
    text_set(m.namespace, sizeof m.namespace, s->side == SIDE_SERVER ? c->kubernetes_namespace : NULL);
    text_set(m.labels, sizeof m.labels, c->kubernetes_labels);
    text_set(m.instance, sizeof m.instance, c->kubernetes_instance);
    text_set(m.owner_name, sizeof m.owner_name, c->kubernetes_owner);
    m.grace_ms = (uint32_t)c->grace_ms;
    m.watch_s = (uint32_t)(c->kubernetes_watch_ms / 1000);
    m.relist_s = (uint32_t)(c->kubernetes_relist_ms / 1000);
    for (size_t i = 0; i < c->kubernetes_namespaces.n_items && at < sizeof m.namespaces; i++) {
        int n = snprintf(m.namespaces + at, sizeof m.namespaces - at, "%s%s", i > 0 ? "," : "",
                         c->kubernetes_namespaces.items[i]);
        at += n > 0 ? (size_t)n : 0;
    }
    return worker_send(w, MSG_K8S_SETUP, &m, -1);
}

static void on_ready(struct worker_process *w, void *arg)
{
    struct supervisor *s = w->supervisor;

    (void)arg;
    s->k8s->reported = false;
    if (s->side == SIDE_SERVER)
        k8s_server_ready(s);
}

static void on_state(struct worker_process *w, const struct msg_k8s_state *m)
{
    struct k8s *k = w->supervisor->k8s;

    k->state = *m;
    k->reported = true;
    if (m->synced && w->supervisor->side == SIDE_CLIENT)
        k8s_client_synced(w);
}

static void on_message(struct worker_process *w, enum message_type type, const union message *m, int fd,
                       void *arg)
{
    (void)fd;
    (void)arg;
    if (type == MSG_K8S_STATE)
        on_state(w, &m->k8s_state);
    else if (w->supervisor->side == SIDE_SERVER)
        k8s_server_message(w, type, m);
    else
        k8s_client_message(w, type, m);
}

static void on_gone(struct worker_process *w, enum worker_exit why, void *arg)
{
    struct k8s *k = w->supervisor->k8s;

    (void)why;
    (void)arg;
    if (k == NULL)
        return;
    k->reported = false;
    k->past_calls += k->state.api_calls;
    k->past_errors += k->state.api_errors;
    k->state = (struct msg_k8s_state){0};
    k8s_server_clear(k); /* the next worker hears of every app anyway */
}

const struct worker_handlers k8s_worker_handlers = {
    .setup = on_setup, .ready = on_ready, .message = on_message, .gone = on_gone};

bool k8s_ready(const struct supervisor *s, char *why, size_t cap)
{
    const struct k8s *k = s->k8s;

    if (k == NULL)
        return true;
    if (k->reported && k->state.ready)
        return true;
    if (s->kubernetes == NULL || !worker_slot_ready(s->kubernetes))
        (void)snprintf(why, cap, "the Kubernetes worker is not up");
    else
        (void)snprintf(why, cap, "Kubernetes: %s",
                       k->reported && k->state.text[0] != '\0' ? k->state.text
                                                               : "the first list is not complete");
    return false;
}

void k8s_figures(const struct supervisor *s, struct k8s_figures *out)
{
    const struct k8s *k = s->k8s;

    *out = (struct k8s_figures){0};
    if (k == NULL)
        return;
    out->in_step = k->reported && k->state.ready;
    out->objects = k->state.objects;
    out->api_calls = k->past_calls + k->state.api_calls;
    out->api_errors = k->past_errors + k->state.api_errors;
}

void k8s_state_text(const struct supervisor *s, char *out, size_t cap)
{
    const struct k8s *k = s->k8s;

    out[0] = '\0';
    if (k == NULL)
        return;
    if (!k->reported) {
        (void)snprintf(out, cap, "not up");
        return;
    }
    (void)snprintf(out, cap, "%s%s%s, %u %s, %llu API calls, %llu failed",
                   k->state.ready ? "in step" : "not ready", k->state.text[0] != '\0' ? ": " : "",
                   k->state.text, k->state.objects, s->side == SIDE_SERVER ? "mirrored" : "exposed",
                   (unsigned long long)k->state.api_calls, (unsigned long long)k->state.api_errors);
}
