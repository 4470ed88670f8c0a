/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server: crypto asks whether a proven key may come in; the database, the pending limits and the acceptor
 * answer. A session is never asked and never told more than that it is open. What an operator decides comes
 * in through decisions.h.
 */
#ifndef WORMHOLE_SUPERVISOR_APPROVALS_H
#define WORMHOLE_SUPERVISOR_APPROVALS_H

#include "supervisor/connections.h"

/* APPROVAL_ASK, CONNECTION_OPEN and HANDSHAKE_FAILED from crypto. w: the crypto worker, killed for a lie. */
void approval_asked(struct supervisor *s, struct worker_process *w, const struct msg_approval_ask *m);
void approval_opened(struct supervisor *s, struct worker_process *w, const struct msg_connection_open *m);
void approval_failed(struct supervisor *s, struct worker_process *w, const struct msg_handshake_failed *m);
/* The session of an approved, finished connection got ready after its handshake: rare, but possible. */
void approval_session_ready(struct connection *c);

/* The database says something else about this key now: answers whoever waits with it. */
void approval_reconsider(struct supervisor *s, const char *fingerprint);
/* Applies `preapproved` of the configuration; at start and after a reload. */
void approvals_preapprove(struct supervisor *s);

/* Every second: pending ones whose time is over. */
void approvals_tick(struct supervisor *s);

#endif
