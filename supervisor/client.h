/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's side (join): one session per slot, restarted with jittered back-off; the table of exposed
 * apps; what the console says. Addresses of apps go to the dialer only, names of apps to the sessions only.
 */
#ifndef WORMHOLE_SUPERVISOR_CLIENT_H
#define WORMHOLE_SUPERVISOR_CLIENT_H

#include "supervisor/connections.h"

enum app_source { APP_FROM_CONFIG = 1, APP_FROM_KUBERNETES = 2 };

struct client_app {
    TAILQ_ENTRY(client_app) link;
    uint32_t id; /* never reused */
    enum app_source source;
    char key[321]; /* Kubernetes: K8S_APP_FOUND.key; else "" */
    char name[64];
    char host[256];
    uint16_t port; /* where to connect */
    uint16_t
        service_port; /* what a mirrored Service listens on; the same as port but for headless Services */
    char app_protocol[64];
    bool answered;      /* the server has said something */
    uint16_t code;      /* enum refusal */
    char endpoint[256]; /* where it listens on the server; "" until known */
    char text[129];     /* what the server said when it refused */
    uint64_t ended_streams_total, ended_refused, ended_bytes_in, ended_bytes_out;
};

enum client_phase {
    CLIENT_STARTING = 1,
    CLIENT_CONNECTING, /* dialling or shaking hands */
    CLIENT_PENDING,    /* an operator decides */
    CLIENT_OPEN,
    CLIENT_WAITING,  /* pause before the next try */
    CLIENT_DECLINED, /* the server said no; tries again after its time */
};
const char *client_phase_text(enum client_phase phase);

struct client_slot {
    struct supervisor *supervisor;
    uint8_t slot;
    enum client_phase phase;
    struct connection *connection; /* NULL while waiting */
    struct event *timer;
    uint64_t backoff_ms, retry_at_ms; /* retry_at monotonic */
    uint32_t restarts;
    uint64_t declined_retry_s;
    char last_error[256]; /* why the last connection ended */
};

struct client_target {
    bool tls;
    char host[256];
    uint16_t port;
    char path[256];
    bool via_proxy;
    char proxy_host[256];
    uint16_t proxy_port;
    char proxy_authorization[513]; /* "Basic …" or "" */
};

struct client {
    struct client_target target;
    TAILQ_HEAD(client_app_list, client_app) apps;
    size_t n_apps;
    uint32_t last_app_id;
    struct client_slot slots[16];
    size_t n_slots;
    char pairing_code[33];
    char server_fingerprint[FINGERPRINT_TEXT + 1];
    bool was_open;     /* once at least: the key is approved */
    bool told_waiting; /* the console and the log said that an operator must decide */
};

/*
 * Adds an app, and offers it on every open connection. ERR_EXISTS: the name is taken (by another source or
 * address); ERR_FORMAT: bad name or address; ERR_FULL. *out may be NULL.
 */
enum status client_app_add(struct supervisor *s, enum app_source source, const char *key, const char *name,
                           const char *host, uint16_t port, uint16_t service_port, const char *app_protocol,
                           struct client_app **out);
void client_app_remove(struct supervisor *s, struct client_app *app);
struct client_app *client_app_by_key(const struct supervisor *s, const char *key);
struct client_app *client_app_by_name(const struct supervisor *s, const char *name);
struct client_app *client_app_by_id(const struct supervisor *s, uint32_t id);

struct app_totals;
void client_app_totals(const struct supervisor *s, const struct client_app *app, struct app_totals *out);
/* The worst and the best of the slots in one phase, for status and readiness. */
enum client_phase client_phase(const struct supervisor *s);

#endif
