/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's way in: the control socket (typed IPC, SO_PEERCRED is the actor) and the admin worker's
 * questions (a token is the actor). Both end in decisions.h and in read-only queries. No other module may
 * call a decision.
 */
#ifndef WORMHOLE_SUPERVISOR_CONTROL_H
#define WORMHOLE_SUPERVISOR_CONTROL_H

#include "supervisor/supervisor.h"

/*
 * Binds s->control_path (before lockdown: mode 0600, or 0660 and config->control_group) and listens on the
 * loop. A stale socket of a dead supervisor is replaced; a living one is ERR_CONFLICT. error->text says what
 * to do.
 */
enum status control_open(struct supervisor *s, struct config_error *error);
/* Closes connections and removes the socket; NULL-safe on s->control. */
void control_close(struct supervisor *s);

/* QUERY and DECIDE from the admin worker; the answers are sent to it before this returns. */
void control_admin_message(struct supervisor *s, struct worker_process *w, enum message_type type,
                           const union message *m);

/*
 * Is the HTTP admin API bound to a loopback address only? Then reading needs no token, and deciding needs one
 * only when one is set. ADMIN_SETUP.api_is_loopback and this must be one and the same.
 */
bool control_admin_is_loopback(const struct config *config);

struct control_stats {
    uint64_t denied; /* questions and decisions refused for who asked: wrong token, wrong user */
    size_t clients;  /* connections to the control socket */
};
void control_stats(const struct supervisor *s, struct control_stats *out);

#endif
