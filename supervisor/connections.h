/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tunnel connections, one session worker each, on both sides: who is at the other end as the supervisor
 * itself learnt it (from crypto and the database, never from the session), state, figures. Accepting is
 * sessions.c's business, approving approvals.c's.
 */
#ifndef WORMHOLE_SUPERVISOR_CONNECTIONS_H
#define WORMHOLE_SUPERVISOR_CONNECTIONS_H

#include <sys/socket.h>

#include "supervisor/supervisor.h"

enum connection_state {
    CONNECTION_STARTING = 1, /* worker not ready yet */
    CONNECTION_HANDSHAKE,    /* nobody is proven */
    CONNECTION_PENDING,      /* key proven, a human decides */
    CONNECTION_APPROVED,     /* decided, the handshake is being finished */
    CONNECTION_OPEN,         /* records flow */
    CONNECTION_DRAINING,     /* told to end */
};
const char *connection_state_text(enum connection_state state);

/* One app on one connection. */
struct connection_app {
    TAILQ_ENTRY(connection_app) link;      /* connection->apps */
    TAILQ_ENTRY(connection_app) peer_link; /* app->offers; server only */
    struct connection *connection;
    struct app *app;            /* server; NULL: refused */
    uint32_t id;                /* the client's number for it */
    struct msg_app_stats stats; /* last APP_STATS */
};

struct connection {
    TAILQ_ENTRY(connection) link;      /* supervisor->connections */
    TAILQ_ENTRY(connection) peer_link; /* peer->connections */
    struct supervisor *supervisor;
    uint64_t number; /* from 1, never reused */
    enum connection_state state;
    struct worker_process *worker;   /* its session */
    struct peer *peer;               /* server: since CONNECTION_OPEN */
    struct sockaddr_storage address; /* of the other end; server only */
    char remote[65];                 /* text; client: the server's */
    char forwarded[65];              /* what a trusted proxy said, or "" */
    bool from_trusted_proxy;
    uint64_t started_ms, deadline_ms, opened_ms; /* monotonic; deadline 0: none */

    bool fingerprint_known; /* crypto checked possession */
    uint8_t fingerprint[FINGERPRINT_BYTES];
    char fingerprint_text[FINGERPRINT_TEXT + 1];
    char name[64]; /* as claimed until approved, then the stored one */
    char pairing_code[33];
    uint8_t suite, slot;
    uint8_t instance[16];
    uint64_t pending_until_ms; /* monotonic; while PENDING */
    bool declined;             /* server: crypto was told no; client: the server said no */
    bool helper_lost;          /* client: it ends because a worker of ours ended */
    bool finished;             /* crypto said CONNECTION_OPEN */

    bool end_known;    /* SESSION_END or HANDSHAKE_FAILED came */
    uint16_t end_code; /* enum end_code */
    char end_text[256];

    struct msg_session_stats stats; /* last SESSION_STATS */
    TAILQ_HEAD(connection_app_list, connection_app) apps;
    size_t n_apps;
};

struct connection *connection_new(struct supervisor *s);
/* Unlinks from everything; its figures go into the counters. The worker must be gone. */
void connection_free(struct connection *c);
/* NULL: no such connection (any more). */
struct connection *connection_find(const struct supervisor *s, uint64_t number);
void connection_set_state(struct connection *c, enum connection_state state);
/* "edge1 (192.0.2.1:4711)", for log lines. */
const char *connection_text(const struct connection *c);
/* The address that counts for limits and the audit: the forwarded one behind a trusted proxy, else the
 * socket's. */
const char *connection_source(const struct connection *c);
/* WORKER_STOP with this code; killed when it does not end in time. */
void connection_end(struct connection *c, uint32_t drain_ms, enum end_code code, const char *reason);

struct connection_app *connection_app_find(const struct connection *c, uint32_t id);
/* NULL: out of memory. Freeing one takes it out of its app's offers, too. */
struct connection_app *connection_app_new(struct connection *c, uint32_t id);
void connection_app_free(struct connection_app *ca);

/* SESSION_STATS and APP_STATS: taken over where they can be true (sums never fall). */
void connection_stats(struct connection *c, const struct msg_session_stats *m);
void connection_app_stats(struct connection_app *ca, const struct msg_app_stats *m);

/* Figures of all connections since the start, ended ones included. */
struct connection_totals {
    size_t open, pending, half_open;
    uint32_t streams;
    uint64_t streams_total, streams_refused, streams_reset, bytes_in, bytes_out, wire_in, wire_out;
    uint64_t records_in, records_out, read_calls, write_calls, buffered;
};
void connections_totals(const struct supervisor *s, struct connection_totals *out);

#endif
