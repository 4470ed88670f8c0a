/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the dialer's files share: its sessions and the dials under way. Nobody outside dialer*.c includes
 * this; main.c knows only dialer_role (worker-net/roles.h).
 */
#ifndef WORMHOLE_WORKER_NET_DIALER_H
#define WORMHOLE_WORKER_NET_DIALER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/worker.h"
#include "worker-net/dialer_apps.h"
#include "worker-net/dialer_connect.h"
#include "worker-net/dialer_resolve.h"

/* Dials that one session may have under way; more are refused with DIAL_LIMIT. */
#define DIALS_PER_SESSION 4096u
/* Answers that wait in a session's queue before its questions are left unread. */
#define ANSWERS_HIGH 512u
#define ANSWERS_LOW 64u

struct dialer {
    struct worker *worker;
    struct app_table *apps;
    struct resolver *resolver;
    struct event *tick; /* looks after sessions that are throttled or broken */
    LIST_HEAD(, dial_session) sessions;
    uint32_t connect_ms;
    uint16_t server_port;
    char server_host[256]; /* the server, or the proxy before it */
};

/* One session worker that may ask. */
struct dial_session {
    LIST_ENTRY(dial_session) link;
    struct dialer *dialer;
    struct ipc_channel *channel;
    uint64_t connection;
    struct dial_list dials; /* by `own` */
    unsigned n_dials;
    bool throttled, broken;
};

/* One question under way: waits for a name, then for a connection. */
struct dial {
    TAILQ_ENTRY(dial) own;  /* of the session */
    TAILQ_ENTRY(dial) wait; /* of app->waiting, while `waits` */
    struct dial_session *session;
    struct app *app;        /* NULL: the server, or the app is gone since the connect began */
    struct lookup *lookup;  /* the server's; an app's belongs to the app */
    struct event *deadline; /* of the look-up */
    struct connect_job *job;
    uint64_t request, expires; /* expires: monotonic milliseconds */
    bool waits, fresh, server;
};

/* ---- dialer_dial.c ---- */
void dial_server(struct dial_session *s, uint64_t request);
void dial_app(struct dial_session *s, uint64_t request, uint32_t id);
/* Ends all of a session's dials without an answer. */
void dial_cancel_all(struct dial_session *s);
/* Answers the dials that wait for this app's name, because it is withdrawn or changed. */
void dial_app_withdrawn(struct app *app);

/* ---- dialer.c ---- */
void session_answer_failed(struct dial_session *s, uint64_t request, enum dial_code code, const char *format,
                           ...) __attribute__((format(printf, 4, 5)));
/* fd stays the caller's. */
void session_answer_connected(struct dial_session *s, uint64_t request, int fd,
                              const struct dial_address *address);

#endif
