/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See apps.h. An app lives as long as somebody offers it, plus the grace period; its listening socket lives
 * exactly as long as the app.
 */
#include "supervisor/apps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/names.h"
#include "supervisor/about.h"
#include "supervisor/k8s.h"
#include "supervisor/listeners.h"
#include "supervisor/worker_process.h"

/* ---- peers --------------------------------------------------------------------------------------------- */

struct peer *peer_find(const struct supervisor *s, const uint8_t fingerprint[FINGERPRINT_BYTES])
{
    struct peer *peer;

    TAILQ_FOREACH(peer, &s->peers, link)
    {
        if (memcmp(peer->fingerprint, fingerprint, FINGERPRINT_BYTES) == 0)
            return peer;
    }
    return NULL;
}

static void peer_free_if_idle(struct peer *peer)
{
    if (peer->n_connections > 0 || peer->n_apps > 0)
        return;
    TAILQ_REMOVE(&peer->supervisor->peers, peer, link);
    free(peer);
}

struct peer *peer_attach(struct connection *c)
{
    struct supervisor *s = c->supervisor;
    struct peer *peer = peer_find(s, c->fingerprint);

    if (peer == NULL) {
        peer = calloc(1, sizeof *peer);
        if (peer == NULL)
            return NULL;
        peer->supervisor = s;
        memcpy(peer->fingerprint, c->fingerprint, sizeof peer->fingerprint);
        memcpy(peer->fingerprint_text, c->fingerprint_text, sizeof peer->fingerprint_text);
        TAILQ_INIT(&peer->connections);
        TAILQ_INIT(&peer->apps);
        TAILQ_INSERT_TAIL(&s->peers, peer, link);
    }
    memcpy(peer->name, c->name, sizeof peer->name);
    TAILQ_INSERT_TAIL(&peer->connections, c, peer_link);
    peer->n_connections++;
    c->peer = peer;
    return peer;
}

void peer_detach(struct connection *c)
{
    struct peer *peer = c->peer;

    TAILQ_REMOVE(&peer->connections, c, peer_link);
    peer->n_connections--;
    c->peer = NULL;
    if (peer->n_connections == 0)
        sup_about(LEVEL_INFO, about_peer(peer->name), "%s has no connection any more", peer->name);
    peer_free_if_idle(peer);
}

/* ---- apps ---------------------------------------------------------------------------------------------- */

struct app *app_find(const struct supervisor *s, const char *peer_name, const char *name)
{
    const struct peer *peer;
    struct app *app;

    TAILQ_FOREACH(peer, &s->peers, link)
    {
        if (strcmp(peer->name, peer_name) != 0)
            continue;
        TAILQ_FOREACH(app, &peer->apps, link)
        {
            if (strcmp(app->name, name) == 0)
                return app;
        }
    }
    return NULL;
}

/* Gives up the port's listening socket; the port itself stays the app's in the database. */
static void app_close(struct app *app)
{
    struct peer *peer = app->peer;
    struct connection_app *ca;

    while ((ca = TAILQ_FIRST(&app->offers)) != NULL) {
        TAILQ_REMOVE(&app->offers, ca, peer_link);
        ca->app = NULL;
    }
    k8s_app_down(peer->supervisor, app);
    if (app->listener >= 0)
        (void)close(app->listener);
    if (app->grace != NULL)
        event_free(app->grace);
    TAILQ_REMOVE(&peer->apps, app, link);
    peer->n_apps--;
    free(app);
}

static void on_grace_over(evutil_socket_t fd, short what, void *arg)
{
    struct app *app = arg;
    struct peer *peer = app->peer;

    (void)fd;
    (void)what;
    sup_about(LEVEL_INFO, about_peer(peer->name),
              "%s did not come back in time: app \"%s\" on port %u is closed", peer->name, app->name,
              app->port);
    app_close(app);
    peer_free_if_idle(peer);
}

static struct app *app_new(struct peer *peer, const char *name, int listener, uint16_t port)
{
    struct app *app = calloc(1, sizeof *app);

    if (app == NULL)
        return NULL;
    app->grace = evtimer_new(peer->supervisor->base, on_grace_over, app);
    if (app->grace == NULL) {
        free(app);
        return NULL;
    }
    app->peer = peer;
    app->number = ++peer->supervisor->last_app_number;
    app->number = ++peer->supervisor->last_app_number;
    app->listener = listener;
    app->port = port;
    (void)snprintf(app->name, sizeof app->name, "%s", name);
    address_join(app->endpoint, sizeof app->endpoint, peer->supervisor->config->app_host, port);
    TAILQ_INIT(&app->offers);
    TAILQ_INSERT_TAIL(&peer->apps, app, link);
    peer->n_apps++;
    return app;
}

void app_offer_gone(struct connection_app *ca)
{
    struct app *app = ca->app;
    uint64_t grace_ms = app->peer->supervisor->config->grace_ms;
    struct timeval grace = clock_timeval(grace_ms);

    app->ended_streams_total += ca->stats.streams_total;
    app->ended_refused += ca->stats.refused;
    app->ended_bytes_in += ca->stats.bytes_in;
    app->ended_bytes_out += ca->stats.bytes_out;
    TAILQ_REMOVE(&app->offers, ca, peer_link);
    ca->app = NULL;
    if (TAILQ_EMPTY(&app->offers)) {
        app->grace_until_ms = clock_mono_ms() + grace_ms;
        (void)event_add(app->grace, &grace);
    }
}

static void offer_add(struct app *app, struct connection_app *ca)
{
    (void)event_del(app->grace);
    app->grace_until_ms = 0;
    ca->app = app;
    TAILQ_INSERT_TAIL(&app->offers, ca, peer_link);
}

static void refuse(struct connection *c, uint32_t id, enum refusal code, const char *text)
{
    struct msg_app_refused m = {.app = id, .code = (uint16_t)code};

    (void)snprintf(m.text, sizeof m.text, "%s", text);
    sup_about(LEVEL_WARN, about_connection(c), "app %u of %s is refused: %s", id, connection_text(c), text);
    (void)worker_send(c->worker, MSG_APP_REFUSED, &m, -1);
}

/* What is wrong with this offer before any port is looked for. */
static enum refusal offer_judge(const struct connection *c, const struct msg_app_announced *m,
                                const char **text)
{
    const struct connection_app *ca;

    if (c->n_apps >= (size_t)c->supervisor->config->max_apps_per_peer) {
        *text = "too many apps (max-apps-per-peer on the server)";
        return REFUSAL_LIMIT;
    }
    if (!name_is_valid(m->name)) {
        *text = "the name must be 1 to 63 lower-case letters, digits and inner dashes";
        return REFUSAL_BAD_NAME;
    }
    TAILQ_FOREACH(ca, &c->apps, link)
    {
        if (ca->id == m->app || (ca->app != NULL && strcmp(ca->app->name, m->name) == 0)) {
            *text = "an app of this name is there already";
            return REFUSAL_DUPLICATE;
        }
    }
    return REFUSAL_NONE;
}

static struct app *app_of_peer(const struct peer *peer, const char *name)
{
    struct app *app;

    TAILQ_FOREACH(app, &peer->apps, link)
    {
        if (strcmp(app->name, name) == 0)
            return app;
    }
    return NULL;
}

/* The peer's app of this name, made and listening when it is new. */
static struct app *app_open(struct peer *peer, const char *name, char *why, size_t cap)
{
    struct supervisor *s = peer->supervisor;
    struct app *app = app_of_peer(peer, name);
    uint16_t port;
    int listener;

    if (app != NULL)
        return app;
    if (listener_for_app(s, peer->fingerprint_text, name, &listener, &port, why, cap) != OK)
        return NULL;
    app = app_new(peer, name, listener, port);
    if (app == NULL) {
        (void)snprintf(why, cap, "the server is out of memory");
        (void)close(listener);
    }
    return app;
}

/* Every connection of a peer repeats its apps: only what is new is news. */
static void app_describe(struct app *app, const struct msg_app_announced *m)
{
    bool same = app->service_port == m->service_port && strcmp(app->app_protocol, m->app_protocol) == 0;

    if (same && app->announced)
        return;
    app->announced = true;
    app->service_port = m->service_port;
    memcpy(app->app_protocol, m->app_protocol, sizeof app->app_protocol);
    sup_about(LEVEL_INFO, about_peer(app->peer->name), "app \"%s\" of %s listens on %s", app->name,
              app->peer->name, app->endpoint);
    k8s_app_up(app->peer->supervisor, app);
}

void app_announced(struct connection *c, const struct msg_app_announced *m)
{
    const char *text = NULL;
    char why[128] = "";

    enum refusal code = offer_judge(c, m, &text);
    if (code != REFUSAL_NONE) {
        refuse(c, m->app, code, text);
        return;
    }
    struct app *app = app_open(c->peer, m->name, why, sizeof why);
    if (app == NULL) {
        refuse(c, m->app, REFUSAL_NO_PORT, why);
        return;
    }
    struct connection_app *ca = connection_app_new(c, m->app);
    if (ca == NULL) {
        refuse(c, m->app, REFUSAL_INTERNAL, "the server is out of memory");
        return;
    }
    offer_add(app, ca);
    app_describe(app, m);
    struct msg_app_listener answer = {.app = m->app, .port = app->port};
    memcpy(answer.endpoint, app->endpoint, sizeof answer.endpoint);
    (void)worker_send(c->worker, MSG_APP_LISTENER, &answer, app->listener);
}

void app_removed(struct connection *c, const struct msg_app_removed *m)
{
    struct connection_app *ca = connection_app_find(c, m->app);

    if (ca == NULL)
        return; /* it was refused */
    struct app *app = ca->app;
    connection_app_free(ca);
    if (app == NULL || !TAILQ_EMPTY(&app->offers))
        return;
    sup_about(LEVEL_INFO, about_connection(c), "app \"%s\" of %s was withdrawn, port %u is closed", app->name,
              app->peer->name, app->port);
    app_close(app);
}

void app_stats(struct connection *c, const struct msg_app_stats *m)
{
    struct connection_app *ca = connection_app_find(c, m->app);

    if (ca != NULL)
        connection_app_stats(ca, m);
}

void app_totals(const struct app *app, struct app_totals *out)
{
    const struct connection_app *ca;

    *out = (struct app_totals){.streams_total = app->ended_streams_total,
                               .refused = app->ended_refused,
                               .bytes_in = app->ended_bytes_in,
                               .bytes_out = app->ended_bytes_out};
    TAILQ_FOREACH(ca, &app->offers, peer_link)
    {
        out->streams += ca->stats.streams;
        out->streams_total += ca->stats.streams_total;
        out->refused += ca->stats.refused;
        out->bytes_in += ca->stats.bytes_in;
        out->bytes_out += ca->stats.bytes_out;
    }
}

void app_state_text(const struct app *app, char *out, size_t cap)
{
    uint64_t now = clock_mono_ms();
    int n;

    if (app->grace_until_ms == 0)
        n = snprintf(out, cap, "connected");
    else
        n = snprintf(
            out, cap, "waiting for the client (%llu s left)",
            (unsigned long long)(app->grace_until_ms > now ? (app->grace_until_ms - now + 999) / 1000 : 0));
    if (app->mirror_error[0] != '\0' && n > 0 && (size_t)n < cap)
        (void)snprintf(out + n, cap - (size_t)n, "; %s", app->mirror_error);
}

void app_mirrored(struct app *app, bool done, const char *endpoint, const char *text)
{
    app->mirrored = done;
    if (done)
        (void)snprintf(app->endpoint, sizeof app->endpoint, "%s", endpoint);
    else
        address_join(app->endpoint, sizeof app->endpoint, app->peer->supervisor->config->app_host, app->port);
    (void)snprintf(app->mirror_error, sizeof app->mirror_error, "%s", done ? "" : text);
}

void peer_drop(struct peer *peer)
{
    struct app *app;
    struct app *next;
    struct connection *c;

    for (app = TAILQ_FIRST(&peer->apps); app != NULL; app = next) {
        next = TAILQ_NEXT(app, link);
        app_close(app);
    }
    while ((c = TAILQ_FIRST(&peer->connections)) != NULL) {
        TAILQ_REMOVE(&peer->connections, c, peer_link);
        peer->n_connections--;
        c->peer = NULL;
    }
    peer_free_if_idle(peer);
}

void peers_free(struct supervisor *s)
{
    struct peer *peer;
    struct peer *next;

    for (peer = TAILQ_FIRST(&s->peers); peer != NULL; peer = next) {
        next = TAILQ_NEXT(peer, link);
        peer_drop(peer);
    }
}
