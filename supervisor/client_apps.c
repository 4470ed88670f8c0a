/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client: the table of exposed apps. The dialer learns where an app is, sessions learn what it is called, and
 * neither learns the other half.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/names.h"
#include "supervisor/apps.h"
#include "supervisor/client_events.h"
#include "supervisor/k8s.h"
#include "supervisor/worker_process.h"

#define APPS_MAX 65535u

struct client_app *client_app_by_key(const struct supervisor *s, const char *key)
{
    struct client_app *app;

    TAILQ_FOREACH(app, &s->client->apps, link)
    {
        if (app->key[0] != '\0' && strcmp(app->key, key) == 0)
            return app;
    }
    return NULL;
}

struct client_app *client_app_by_name(const struct supervisor *s, const char *name)
{
    struct client_app *app;

    TAILQ_FOREACH(app, &s->client->apps, link)
    {
        if (strcmp(app->name, name) == 0)
            return app; /* NOLINT(clang-analyzer-unix.Malloc): a freed one is off this list */
    }
    return NULL;
}

struct client_app *client_app_by_id(const struct supervisor *s, uint32_t id)
{
    struct client_app *app;

    TAILQ_FOREACH(app, &s->client->apps, link)
    {
        if (app->id == id)
            return app;
    }
    return NULL;
}

static void tell_dialer(struct worker_process *dialer, const struct client_app *app)
{
    struct msg_dialer_app m = {.app = app->id, .port = app->port};

    (void)snprintf(m.host, sizeof m.host, "%s", app->host);
    (void)worker_send(dialer, MSG_DIALER_APP, &m, -1);
}

static void offer(struct connection *c, const struct client_app *app)
{
    struct msg_app_expose m = {.app = app->id, .service_port = app->service_port};

    if (connection_app_new(c, app->id) == NULL) {
        sup_error("no memory to offer app \"%s\"", app->name);
        return;
    }
    memcpy(m.name, app->name, sizeof m.name);
    memcpy(m.app_protocol, app->app_protocol, sizeof m.app_protocol);
    (void)worker_send(c->worker, MSG_APP_EXPOSE, &m, -1);
}

/* The dialer must know an app before anybody can ask for it. */
static void announce(struct supervisor *s, const struct client_app *app)
{
    struct connection *c;

    if (worker_slot_ready(s->dialer))
        tell_dialer(s->dialer->process, app);
    TAILQ_FOREACH(c, &s->connections, link)
    {
        if (c->state == CONNECTION_OPEN)
            offer(c, app);
    }
}

enum status client_app_add(struct supervisor *s, enum app_source source, const char *key, const char *name,
                           const char *host, uint16_t port, uint16_t service_port, const char *app_protocol,
                           struct client_app **out)
{
    struct client *client = s->client;

    if (!name_is_valid(name) || host[0] == '\0' || strlen(host) >= sizeof(((struct client_app *)0)->host) ||
        port == 0)
        return ERR_FORMAT;
    if (client_app_by_name(s, name) != NULL)
        return ERR_EXISTS;
    if (client->n_apps >= APPS_MAX || client->last_app_id == UINT32_MAX)
        return ERR_FULL;
    struct client_app *app = calloc(1, sizeof *app);
    if (app == NULL)
        return ERR_FULL;
    app->id = ++client->last_app_id;
    app->source = source;
    app->port = port;
    app->service_port = service_port;
    (void)snprintf(app->key, sizeof app->key, "%s", key != NULL ? key : "");
    (void)snprintf(app->name, sizeof app->name, "%s", name);
    (void)snprintf(app->host, sizeof app->host, "%s", host);
    (void)snprintf(app->app_protocol, sizeof app->app_protocol, "%s",
                   app_protocol != NULL ? app_protocol : "");
    TAILQ_INSERT_TAIL(&client->apps, app, link);
    client->n_apps++;
    announce(s, app);
    if (out != NULL)
        *out = app;
    return OK;
}

/* Sessions first: nobody may ask the dialer for what it does not know any more. */
void client_app_remove(struct supervisor *s, struct client_app *app)
{
    struct connection *c;

    TAILQ_FOREACH(c, &s->connections, link)
    {
        struct connection_app *ca = connection_app_find(c, app->id);
        if (ca == NULL)
            continue;
        connection_app_free(ca);
        if (c->worker != NULL)
            (void)WORKER_SEND(c->worker, APP_WITHDRAW, app_withdraw, .app = app->id);
    }
    if (worker_slot_ready(s->dialer))
        (void)WORKER_SEND(s->dialer->process, DIALER_APP_GONE, dialer_app_gone, .app = app->id);
    TAILQ_REMOVE(&s->client->apps, app, link);
    s->client->n_apps--;
    free(app);
}

enum status client_apps_init(struct supervisor *s, struct config_error *error)
{
    const struct config_apps *list = &s->config->expose;

    for (size_t i = 0; i < list->n_items; i++) {
        const struct config_app *item = &list->items[i];
        if (client_app_add(s, APP_FROM_CONFIG, NULL, item->name, item->host, item->port, item->port, NULL,
                           NULL) != OK) {
            (void)snprintf(error->text, sizeof error->text, "app \"%s\" (%.200s:%u) cannot be exposed",
                           item->name, item->host, item->port);
            return ERR_CONFIG;
        }
    }
    if (list->n_items == 0 && !s->config->kubernetes)
        sup_warn("nothing is exposed: give --expose ADDRESS, or --kubernetes");
    return OK;
}

void client_apps_free(struct supervisor *s)
{
    struct client_app *app;

    while ((app = TAILQ_FIRST(&s->client->apps)) != NULL) {
        TAILQ_REMOVE(&s->client->apps, app, link);
        free(app);
    }
}

static bool is_listed(const struct config_apps *list, const struct client_app *app)
{
    for (size_t i = 0; i < list->n_items; i++) {
        const struct config_app *item = &list->items[i];
        if (strcmp(item->name, app->name) == 0 && strcmp(item->host, app->host) == 0 &&
            item->port == app->port)
            return true;
    }
    return false;
}

void client_apps_reload(struct supervisor *s)
{
    const struct config_apps *list = &s->config->expose;
    struct client_app *app;
    struct client_app *next;

    for (app = TAILQ_FIRST(&s->client->apps); app != NULL; app = next) {
        next = TAILQ_NEXT(app, link);
        if (app->source == APP_FROM_CONFIG && !is_listed(list, app)) {
            sup_info("app \"%s\" is withdrawn", app->name);
            client_app_remove(s, app);
        }
    }
    for (size_t i = 0; i < list->n_items; i++) {
        const struct config_app *item = &list->items[i];
        app = client_app_by_name(s, item->name);
        if (app != NULL && app->source == APP_FROM_CONFIG)
            continue; /* unchanged: a changed one is gone by now */
        enum status result = client_app_add(s, APP_FROM_CONFIG, NULL, item->name, item->host, item->port,
                                            item->port, NULL, NULL);
        if (result == OK)
            sup_info("app \"%s\" is exposed", item->name);
        else
            sup_error("app \"%s\" cannot be exposed: %s", item->name, status_text(result));
    }
}

void client_apps_tell_dialer(struct supervisor *s, struct worker_process *dialer)
{
    const struct client_app *app;

    TAILQ_FOREACH(app, &s->client->apps, link)
    {
        tell_dialer(dialer, app);
    }
}

void client_apps_offer_all(struct connection *c)
{
    const struct client_app *app;

    TAILQ_FOREACH(app, &c->supervisor->client->apps, link)
    {
        offer(c, app);
    }
}

void client_app_answered(struct connection *c, const struct msg_app_status *m)
{
    struct client_app *app = client_app_by_id(c->supervisor, m->app);

    if (app == NULL)
        return; /* withdrawn meanwhile */
    bool same = app->answered && app->code == m->code && strcmp(app->endpoint, m->endpoint) == 0;
    app->answered = true;
    app->code = m->code;
    memcpy(app->endpoint, m->endpoint, sizeof app->endpoint);
    memcpy(app->text, m->text, sizeof app->text);
    if (same)
        return;
    if (m->code == REFUSAL_NONE)
        sup_info("app \"%s\" (%s:%u) is on the server at %s", app->name, app->host, app->port, app->endpoint);
    else {
        sup_error("the server refuses app \"%s\": %s%s%s", app->name, refusal_text(m->code),
                  m->text[0] != '\0' ? ": " : "", m->text);
        if (app->source == APP_FROM_KUBERNETES)
            k8s_app_refused(c->supervisor, app->key, m->text[0] != '\0' ? m->text : refusal_text(m->code));
    }
    console_app(app);
}

void client_app_stats(struct connection *c, const struct msg_app_stats *m)
{
    struct connection_app *ca = connection_app_find(c, m->app);

    if (ca != NULL)
        connection_app_stats(ca, m);
}

void client_apps_connection_gone(struct connection *c)
{
    const struct connection_app *ca;

    TAILQ_FOREACH(ca, &c->apps, link)
    {
        struct client_app *app = client_app_by_id(c->supervisor, ca->id);
        if (app == NULL)
            continue;
        app->ended_streams_total += ca->stats.streams_total;
        app->ended_refused += ca->stats.refused;
        app->ended_bytes_in += ca->stats.bytes_in;
        app->ended_bytes_out += ca->stats.bytes_out;
    }
}

void client_app_totals(const struct supervisor *s, const struct client_app *app, struct app_totals *out)
{
    const struct connection *c;

    *out = (struct app_totals){.streams_total = app->ended_streams_total,
                               .refused = app->ended_refused,
                               .bytes_in = app->ended_bytes_in,
                               .bytes_out = app->ended_bytes_out};
    TAILQ_FOREACH(c, &s->connections, link)
    {
        const struct connection_app *ca = connection_app_find(c, app->id);
        if (ca == NULL)
            continue;
        out->streams += ca->stats.streams;
        out->streams_total += ca->stats.streams_total;
        out->refused += ca->stats.refused;
        out->bytes_in += ca->stats.bytes_in;
        out->bytes_out += ca->stats.bytes_out;
    }
}
