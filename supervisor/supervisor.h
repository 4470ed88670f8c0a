/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor of a server (listen) or a client (join): the one struct that its modules share, and how it
 * is run. The supervisor decides, stores, accepts, starts and reaps. It must never read a byte from an
 * accepted socket, resolve a name, or hold a key.
 */
#ifndef WORMHOLE_SUPERVISOR_SUPERVISOR_H
#define WORMHOLE_SUPERVISOR_SUPERVISOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "common/fingerprint.h"
#include "common/ipc_channel.h"
#include "common/ipc_types.h"
#include "common/status.h"
#include "supervisor/admin_token.h"
#include "supervisor/config/config.h"
#include "supervisor/exit_codes.h"
#include "supervisor/store/store.h"

struct event;
struct event_base;
struct worker_process;
struct worker_slot;
struct connection;
struct peer;
struct client;
struct control;
struct k8s;
struct limits;
struct notify;
struct signals;
struct approvals;
struct revocation;

/* Why a worker ended, for metrics and `status`. */
enum worker_exit {
    WORKER_EXIT_CLEAN = 0, /* exit code 0 */
    WORKER_EXIT_ERROR,     /* another exit code */
    WORKER_EXIT_CRASH,     /* a signal that we did not send */
    WORKER_EXIT_VIOLATION, /* killed: broke the rules of IPC */
    WORKER_EXIT_STUCK,     /* killed: no answer to pings, or not ready in time */
    WORKER_EXIT_STOPPED,   /* we told it to end */
    WORKER_EXIT_COUNT
};
const char *worker_exit_text(enum worker_exit why);

/* Why an accepted connection was turned away before a session was started. */
enum turned_away {
    AWAY_STARTUPS = 0, /* random early drop */
    AWAY_SOURCE,       /* too many half-open ones of one address */
    AWAY_PENALTY,      /* the address made a session crash lately */
    AWAY_SESSIONS,     /* max-sessions */
    AWAY_RESOURCES,    /* no descriptor, process or memory */
    AWAY_COUNT
};
const char *turned_away_text(enum turned_away why);

#define RTT_BUCKETS 12
extern const uint32_t rtt_bucket_us[RTT_BUCKETS]; /* upper bounds; a last +Inf bucket follows */

/* Sums since the start; metrics and status read them. */
struct counters {
    uint64_t accepted;
    uint64_t turned_away[AWAY_COUNT];
    uint64_t handshakes_ok;
    uint64_t handshakes_failed[END_CODE_COUNT];
    uint64_t sessions_ended[END_CODE_COUNT];
    uint64_t worker_starts[ROLE_COUNT];
    uint64_t worker_exits[ROLE_COUNT][WORKER_EXIT_COUNT];
    uint64_t violations[ROLE_COUNT];
    uint64_t log_suppressed[ROLE_COUNT];
    uint64_t decisions[8];     /* by enum decision; automatic ones are not here */
    uint64_t approvals_auto;   /* dummy and preapproved */
    uint64_t requests_refused; /* pending limits */
    uint64_t reloads, reloads_failed;
    uint64_t rtt_histogram[RTT_BUCKETS + 1];
    uint64_t rtt_count, rtt_sum_us;
    /* of connections that ended; live ones are added from their last SESSION_STATS: connections_totals() */
    uint64_t streams_total, streams_refused, streams_reset;
    uint64_t bytes_in, bytes_out, wire_in, wire_out, records_in, records_out;
    uint64_t read_calls, write_calls;
};

/* A module's part of the struct is behind a pointer when nobody else has business with it. */
struct supervisor {
    struct event_base *base;
    enum side side;
    struct config *config; /* in force; a reload replaces the pointer. Never keep a pointer into it */
    int argc;              /* options as given, for reloads */
    char **argv;

    struct store *store; /* server: open; client: NULL */
    uint64_t started_mono_ms, started_wall_s;
    uint64_t instance;       /* random; WORKER_BEGIN.instance */
    uint8_t instance_id[16]; /* random; the client's hello carries it */
    char state_dir[256];     /* absolute */
    char key_dir[256];       /* of the identity (server) or the key pair (client), absolute */
    char empty_dir[256];     /* workers are chrooted there; empty string: no chroot */
    char control_path[256];
    struct admin_token admin_token; /* its hash; from --admin-token-file by admin_token_load() */
    bool is_root;
    uint32_t own_layers; /* the supervisor's own sandbox: LAYER_* and what is missing */
    uint8_t own_landlock_abi;
    char own_missing[256];
    bool draining;  /* SIGTERM came */
    bool exiting;   /* the loop is about to end */
    bool accepting; /* server: the tunnel port is being served */
    int exit_code;

    /* What crypto said about itself (CRYPTO_IDENTITY): one "server" or "client" key. */
    struct {
        bool known;
        char kind[17], fingerprint[FINGERPRINT_TEXT + 1], known_server[65], path[256];
        uint16_t bits;
        uint64_t created; /* Unix seconds */
        bool generated;
    } identity;

    TAILQ_HEAD(worker_list, worker_process) workers;          /* every living one, see worker_process.h */
    struct worker_slot *crypto, *dialer, *admin, *kubernetes; /* NULL: this process has none */
    uint64_t last_worker_number, last_connection_number, last_app_number;

    TAILQ_HEAD(connection_list, connection) connections; /* both sides, see connections.h */
    size_t n_connections;
    TAILQ_HEAD(peer_list, peer) peers; /* server: peers with a connection or in grace, see apps.h */

    struct counters counters;

    /* Listening sockets that are ours for good; -1: none. Ports are the bound ones (never 0). */
    int tunnel_fd, admin_fd, metrics_fd;
    uint16_t tunnel_port, admin_port, metrics_port;
    struct event *accept_event, *accept_pause;

    /* server: those that are not stored, see revocations.h */
    SLIST_HEAD(revocation_list, revocation) revocations;
    size_t n_revocations;

    struct client *client;       /* client only: client.h */
    struct approvals *approvals; /* server only */
    struct limits *limits;       /* server only */
    struct control *control;     /* control.h; owned by that module */
    struct k8s *k8s;             /* k8s.h; owned by that module */
    struct signals *signals;
    struct notify *notify;
    struct event *watchdog, *drain_timer, *ready_look;
    uint64_t drain_until_ms; /* monotonic */
    bool told_ready;
    int lock_fd; /* lock file in the state directory */
};

/*
 * Runs a server or client until it is told to end; returns the process's exit code. Takes ownership of
 * config. argc/argv: the options as config_load() got them (kept by pointer), so that SIGHUP can load again.
 */
int supervisor_run(struct config *config, int argc, char **argv);

/* Begins an orderly end: GOAWAY on every session, at most drain-time, then out with this code. */
void supervisor_drain(struct supervisor *s, const char *why);
/* Leaves the loop now. */
void supervisor_exit(struct supervisor *s, int code);

/* The readiness that READY=1, /readyz and QUERY_READY speak of. why: at least 256 bytes, says what is
 * missing. */
bool supervisor_ready(const struct supervisor *s, char *why, size_t cap);

#endif
