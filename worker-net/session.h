/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session role: one tunnel connection from its first byte to its last, on either side. This header is
 * shared by the session_*.c files only. A session opens nothing: every descriptor that it has was handed to
 * it.
 */
#ifndef WORMHOLE_NET_SESSION_H
#define WORMHOLE_NET_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/worker.h"
#include "worker-net/http_upgrade.h"
#include "worker-net/mux.h"
#include "worker-net/record.h"
#include "worker-net/relay.h"
#include "worker-net/tls.h"

/* Apps on one connection, withdrawn ones with live streams included. */
#define SESSION_APPS_MAX 4096u
/* Connections that the dialer is asked for at once (all its answers fit into the channel's queue); of them
 * for one app, so that one that does not answer stops no other. */
#define SESSION_DIALS_MAX IPC_QUEUE_MESSAGES
#define SESSION_DIALS_PER_APP 512u
#define SESSION_ACCEPTS_PER_TURN 64u
#define SESSION_FINISH_MS 1000u /* last words and the peer's last words */
/* How long there may be no dialer: twice the longest pause before another is started. */
#define SESSION_REDIAL_MS 20000u
#define SESSION_LINGER_MS 2000u /* after them: slow readers of streams that are complete */

struct event;

enum session_phase {
    PHASE_DIALING,   /* client: the dialer connects to the server or its proxy */
    PHASE_PROXY,     /* client: CONNECT was sent */
    PHASE_TLS,       /* client */
    PHASE_UPGRADE,   /* HTTP */
    PHASE_HANDSHAKE, /* crypto talks to its counterpart through us, until keys and the supervisor's word are
                        here */
    PHASE_OPEN,
    PHASE_DRAINING, /* no new streams */
    PHASE_ENDING,   /* last words */
};

/* Streams of an app that wait for the dialer, first come first served, by id. */
struct dial_queue {
    uint32_t *ids;
    uint32_t first, count, cap;
    uint32_t in_flight; /* asked for, not answered */
};

struct session_app {
    TAILQ_ENTRY(session_app) link;
    uint32_t id;
    bool gone;            /* withdrawn: takes no new streams, lives until its last one ends */
    struct event *accept; /* server: its listener; NULL: none */
    struct stream_account account;
    uint64_t changes_sent;   /* account.changes at the last APP_STATS */
    struct dial_queue dials; /* client */
    struct session *session;
};

struct session {
    struct worker *worker;
    enum session_phase phase;
    struct msg_session_start start;
    struct msg_session_target target; /* client */
    bool has_start, has_target;
    int socket_fd, handshake_fd, dial_fd; /* until start; -1: none */
    struct tls_context *tls;
    char tls_error[256]; /* why there is none */

    struct ipc_channel *handshake, *dial;
    struct relay *relay;
    struct mux *mux;
    struct upgrade_client upgrade;
    struct record_key keys[2]; /* enum direction; until the relay has them */
    bool has_key[2], has_peer;
    uint32_t max_record; /* negotiated */

    TAILQ_HEAD(, session_app) apps;
    uint32_t n_apps;
    bool accept_paused;       /* the peer, or this process, takes no more streams for the moment */
    uint32_t dials_in_flight; /* of all apps */

    struct event *deadline; /* of the handshake, of draining, of lingering: one after the other */
    struct event *ping, *dead, *stats, *reap, *settle;
    struct event *redial;   /* client: how long there may be no dialer */
    uint64_t heard_ms;      /* when the peer was last heard */
    uint64_t stats_records; /* records at the last SESSION_STATS: unchanged ones are not sent */
    uint64_t trim_records;  /* records at the last ping: no traffic since then, buffers are given back */
    bool stats_armed;
    bool relay_done; /* ENDING: the last words are over */
    uint8_t first_pongs;
    enum end_code drain_code;
    char drain_reason[129];
};

/* session.c */
/*
 * Ends the session: tells the supervisor (once), the peer (close_code, 0: nothing to say; orderly: with
 * CLOSE_NOTIFY), and exits when that is done.
 */
void session_end(struct session *s, enum end_code code, uint16_t close_code, bool orderly, const char *format,
                 ...) __attribute__((format(printf, 5, 6)));
void session_open(struct session *s);
/* Starts draining: no new streams, the end when the last one is over or after drain_ms. */
void session_drain(struct session *s, uint32_t drain_ms, enum end_code code, const char *reason);
/* Looks, from the loop: is draining or lingering done? May new streams be accepted again? */
void session_settle(struct session *s);

/* session_connect.c */
extern const struct relay_handlers session_relay_handlers;
enum status session_connect_start(struct session *s);
void session_connected(struct session *s, int fd);

/* session_handshake.c */
enum status session_handshake_open(struct session *s);
void session_handshake_received(struct session *s, const uint8_t *data, size_t len);
void session_handshake_settle(struct session *s);

/* session_streams.c */
extern const struct mux_ops session_mux_ops;

/* session_dial.c */
enum status session_dial_open(struct session *s);
/* A channel to another dialer, because the one before ended. Takes fd. */
void session_dial_replace(struct session *s, int fd);
/* Notes a stream that wants a connection to the app; session_dial_pump() asks. ERR_NOMEM. */
enum status session_dial_later(struct session_app *app, uint32_t stream);
/* Asks the dialer for what waits. */
void session_dial_pump(struct session *s);

/* session_apps.c */
struct session_app *session_app_find(const struct session *s, uint32_t id);
/* A withdrawn one, too. */
struct session_app *session_app_any(const struct session *s, uint32_t id);
/* The app whose account this is. */
struct session_app *session_app_of(struct stream_account *account);
void session_app_frame(struct session *s, enum frame_type type, const struct mux_app *app);
void session_app_message(struct session *s, enum message_type type, const union message *m, int fd);
void session_apps_free(struct session *s);
/* Frees withdrawn apps without streams; tells the supervisor about changed figures. */
void session_apps_tick(struct session *s);

/* session_accept.c */
enum status session_accept_start(struct session_app *app, int fd);
void session_accept_stop(struct session_app *app);
void session_accept_pause(struct session *s);
void session_accept_resume(struct session *s);

/* session_timers.c */
enum status session_timers_new(struct session *s);
void session_timers_free(struct session *s);
void session_deadline(struct session *s, uint64_t ms);
/* Client: the dialer is gone, or there is another. A session that gets none in time ends. */
void session_dialer_gone(struct session *s, bool gone);
void session_timers_open(struct session *s);
void session_stats_soon(struct session *s);
void session_stats_now(struct session *s);
void session_reap_soon(struct session *s);
/* Has session_settle() called in this turn of the loop: for callers inside the mux. */
void session_settle_soon(struct session *s);

#endif
