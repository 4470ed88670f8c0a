/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client: apps that the Kubernetes worker has found become apps of this client, and go when they are lost. A
 * worker that dies loses nothing: only the complete list of its successor does. Names and ports from the
 * worker are checked as if it were hostile.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "common/log.h"
#include "common/names.h"
#include "supervisor/client.h"
#include "supervisor/k8s_private.h"

#define FOUND_MAX 16384
#define RETRY_S 30

static struct k8s_found *found_get(struct k8s *k, const char *key)
{
    struct k8s_found *f;

    TAILQ_FOREACH(f, &k->found, link)
    {
        if (strcmp(f->app.key, key) == 0)
            return f;
    }
    return NULL;
}

static void withdraw(struct supervisor *s, struct k8s_found *f)
{
    struct client_app *app = f->offered ? client_app_by_key(s, f->app.key) : NULL;

    f->offered = false;
    if (app != NULL)
        client_app_remove(s, app);
}

static void found_drop(struct supervisor *s, struct k8s_found *f)
{
    struct k8s *k = s->k8s;

    withdraw(s, f);
    TAILQ_REMOVE(&k->found, f, link);
    k->n_found--;
    free(f);
}

static void complain(struct supervisor *s, const char *key, const char *reason, const char *text)
{
    struct worker_process *w = k8s_worker(s);
    struct msg_k8s_complain m;

    (void)snprintf(m.key, sizeof m.key, "%s", key);
    (void)snprintf(m.reason, sizeof m.reason, "%s", reason);
    (void)snprintf(m.text, sizeof m.text, "%s", text);
    if (w != NULL)
        (void)worker_send(w, MSG_K8S_COMPLAIN, &m, -1);
}

static void retry_later(struct k8s *k)
{
    struct timeval tv = {.tv_sec = RETRY_S};

    if (!event_pending(k->timer, EV_TIMEOUT, NULL))
        (void)event_add(k->timer, &tv);
}

/* Offers the app; a name that the configuration already uses stays with it, and the Service's owner hears so.
 */
static void offer(struct supervisor *s, struct k8s_found *f)
{
    const struct msg_k8s_app_found *m = &f->app;
    char text[256];
    enum status status = client_app_add(s, APP_FROM_KUBERNETES, m->key, m->name, m->host, m->port,
                                        m->service_port, m->app_protocol, NULL);

    f->offered = status == OK;
    if (status == OK)
        return;
    retry_later(s->k8s);
    if (status == ERR_EXISTS) {
        (void)snprintf(text, sizeof text,
                       "app name \"%s\" is already used by this client's own configuration", m->name);
        complain(s, m->key, "NameTaken", text);
    } else {
        (void)snprintf(text, sizeof text, "app \"%s\" cannot be exposed: %s", m->name, status_text(status));
        complain(s, m->key, "NotExposed", text);
    }
}

void k8s_app_refused(struct supervisor *s, const char *key, const char *text)
{
    if (s->k8s != NULL)
        complain(s, key, "RefusedByServer", text);
}

static bool same_app(const struct msg_k8s_app_found *a, const struct msg_k8s_app_found *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->host, b->host) == 0 && a->port == b->port &&
           a->service_port == b->service_port && strcmp(a->app_protocol, b->app_protocol) == 0;
}

static void on_found(struct worker_process *w, const struct msg_k8s_app_found *m)
{
    struct supervisor *s = w->supervisor;
    struct k8s *k = s->k8s;
    struct k8s_found *f = found_get(k, m->key);

    if (m->key[0] == '\0' || !name_is_valid(m->name) || m->host[0] == '\0' || m->port == 0 ||
        m->service_port == 0) {
        worker_violation(w, "an app that cannot be: key \"%.64s\", name \"%.63s\"", m->key, m->name);
        return;
    }
    if (f != NULL && f->offered && same_app(&f->app, m)) {
        f->worker = w->number;
        return;
    }
    if (f == NULL && (k->n_found == FOUND_MAX || (f = calloc(1, sizeof *f)) == NULL)) {
        complain(s, m->key, "TooManyApps", "this client exposes too many apps already");
        return;
    }
    if (f->worker == 0) {
        TAILQ_INSERT_TAIL(&k->found, f, link);
        k->n_found++;
    }
    withdraw(s, f);
    f->app = *m;
    f->worker = w->number;
    offer(s, f);
}

static void on_lost(struct supervisor *s, const struct msg_k8s_app_lost *m)
{
    struct k8s_found *f = found_get(s->k8s, m->key);

    if (f == NULL)
        return;
    found_drop(s, f);
    event_active(s->k8s->timer, EV_TIMEOUT, 0); /* somebody may have waited for the name */
}

void k8s_client_retry(struct supervisor *s)
{
    struct k8s_found *f;

    TAILQ_FOREACH(f, &s->k8s->found, link)
    {
        if (!f->offered)
            offer(s, f);
    }
}

void k8s_client_synced(struct worker_process *w)
{
    struct supervisor *s = w->supervisor;
    struct k8s_found *f = TAILQ_FIRST(&s->k8s->found);

    while (f != NULL) {
        struct k8s_found *next = TAILQ_NEXT(f, link);
        if (f->worker != w->number) {
            sup_info("app \"%s\" went while the Kubernetes worker was away", f->app.name);
            found_drop(s, f);
        }
        f = next;
    }
}

void k8s_client_clear(struct k8s *k)
{
    struct k8s_found *f;

    while ((f = TAILQ_FIRST(&k->found)) != NULL) {
        TAILQ_REMOVE(&k->found, f, link);
        free(f);
    }
    k->n_found = 0;
}

void k8s_client_message(struct worker_process *w, enum message_type type, const union message *m)
{
    if (type == MSG_K8S_APP_FOUND)
        on_found(w, &m->k8s_app_found);
    else if (type == MSG_K8S_APP_LOST)
        on_lost(w->supervisor, &m->k8s_app_lost);
    else
        worker_violation(w, "%s on a client", ipc_message_name(type));
}
