/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server: peers that are connected (or in their grace period) and the apps that they expose: names, stable
 * ports, listening sockets. Every listening socket's original stays here; sessions get duplicates. Nothing is
 * ever accepted or read here.
 */
#ifndef WORMHOLE_SUPERVISOR_APPS_H
#define WORMHOLE_SUPERVISOR_APPS_H

#include "supervisor/connections.h"

struct app {
    TAILQ_ENTRY(app) link; /* peer->apps */
    uint64_t number;       /* never reused; long lists are paged by it */
    struct peer *peer;
    char name[64];
    char app_protocol[64];
    uint16_t service_port; /* of the service on the edge; what a mirrored Service listens on */
    uint16_t port;         /* where it listens here */
    int listener;
    char endpoint[256];     /* "0.0.0.0:30007"; in Kubernetes "service.namespace:port" */
    bool announced;         /* it was logged and mirrored once */
    bool mirrored;          /* the endpoint is a Service's */
    char mirror_error[256]; /* why it has no Service, or "" */
    TAILQ_HEAD(app_offer_list, connection_app) offers; /* connections that carry it now; empty: in grace */
    struct event *grace;                               /* closes it when nobody offers it again in time */
    uint64_t grace_until_ms;                           /* monotonic; 0: offered */
    uint64_t ended_streams_total, ended_refused, ended_bytes_in,
        ended_bytes_out; /* of connections that are gone */
};

struct peer {
    TAILQ_ENTRY(peer) link; /* supervisor->peers */
    struct supervisor *supervisor;
    uint8_t fingerprint[FINGERPRINT_BYTES];
    char fingerprint_text[FINGERPRINT_TEXT + 1];
    char name[64];
    TAILQ_HEAD(peer_connection_list, connection)
    connections; /* CONNECTION_OPEN or DRAINING; empty: its apps are in grace */
    size_t n_connections;
    TAILQ_HEAD(peer_app_list, app) apps;
    size_t n_apps;
};

struct app_totals {
    uint32_t streams;
    uint64_t streams_total, refused, bytes_in, bytes_out;
};
void app_totals(const struct app *app, struct app_totals *out);
/* "connected", or "waiting for the client (12 s left)", and what is wrong with its Service. */
void app_state_text(const struct app *app, char *out, size_t cap);

struct peer *peer_find(const struct supervisor *s, const uint8_t fingerprint[FINGERPRINT_BYTES]);
struct app *app_find(const struct supervisor *s, const char *peer, const char *name);

/* The connection is approved and finished: it belongs to this peer now. NULL: out of memory. */
struct peer *peer_attach(struct connection *c);
/* The connection's worker is gone. A peer without connections and apps is forgotten. */
void peer_detach(struct connection *c);
/* Closes every listener of the peer and forgets it. Its connections must have been killed before. */
void peer_drop(struct peer *peer);
/* At the very end. */
void peers_free(struct supervisor *s);

/* APP_ANNOUNCED, APP_REMOVED and APP_STATS of a session. A withdrawn app's listener closes at once. */
void app_announced(struct connection *c, const struct msg_app_announced *m);
void app_removed(struct connection *c, const struct msg_app_removed *m);
void app_stats(struct connection *c, const struct msg_app_stats *m);

/* A connection does not carry the app any more; its figures stay with the app. */
void app_offer_gone(struct connection_app *ca);

/* K8S_MIRRORED: the Service exists (or why not). */
void app_mirrored(struct app *app, bool done, const char *endpoint, const char *text);

#endif
