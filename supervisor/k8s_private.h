/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two halves of the supervisor's Kubernetes side share: k8s.c (both sides: setup, state),
 * k8s_server.c (apps to mirror) and k8s_client.c (apps that were found). Nobody else includes this.
 */
#ifndef WORMHOLE_SUPERVISOR_K8S_PRIVATE_H
#define WORMHOLE_SUPERVISOR_K8S_PRIVATE_H

#include "supervisor/k8s.h"

/* Server: one message that waits for its turn. The app is looked up again when it is sent. */
struct k8s_errand {
    TAILQ_ENTRY(k8s_errand) link;
    char peer[64], app[64];
    bool up;
};

/* Client: a Service port that the worker of this or an earlier life has found. */
struct k8s_found {
    TAILQ_ENTRY(k8s_found) link;
    struct msg_k8s_app_found app;
    uint64_t worker; /* number of the worker that said so last */
    bool offered;    /* there is a client_app of this key */
};

struct k8s {
    struct supervisor *supervisor;
    struct msg_k8s_state state;       /* the last report */
    bool reported;                    /* since the worker's start */
    uint64_t past_calls, past_errors; /* of workers that are gone */
    struct event *timer;              /* server: next errands; client: names that may have come free */
    struct event *sweep;              /* server: the grace period of peers after our start */
    TAILQ_HEAD(k8s_errands, k8s_errand) errands;
    TAILQ_HEAD(k8s_found_list, k8s_found) found;
    size_t n_found;
};

struct worker_process *k8s_worker(const struct supervisor *s); /* NULL: not up */

void k8s_server_ready(struct supervisor *s);
void k8s_server_message(struct worker_process *w, enum message_type type, const union message *m);
void k8s_server_pump(struct supervisor *s);
void k8s_server_clear(struct k8s *k);

void k8s_client_message(struct worker_process *w, enum message_type type, const union message *m);
/* The worker's list is complete: what it did not find any more is gone. */
void k8s_client_synced(struct worker_process *w);
void k8s_client_retry(struct supervisor *s);
void k8s_client_clear(struct k8s *k);

#endif
