/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the session workers of a server and of a client have in common on the supervisor's side:
 * SESSION_START, figures, the end. Knows nothing of approvals or apps.
 */
#ifndef WORMHOLE_SUPERVISOR_SESSION_COMMON_H
#define WORMHOLE_SUPERVISOR_SESSION_COMMON_H

#include "supervisor/connections.h"

/* Descriptors that a session gets while it is set up; ours are closed after worker_start(). -1: none. */
struct session_descriptors {
    int socket;    /* server: the accepted connection */
    int handshake; /* to crypto */
    int dial;      /* client: to the dialer */
};

/*
 * Hands crypto its end of a new handshake channel and keeps the session's in *fd. The connection must have
 * its number, remote and slot. ERR_WRONG_STATE: crypto is not ready.
 */
enum status session_handshake_pair(struct connection *c, int *fd);

/* Sends SESSION_START from the configuration. path: the websocket's. */
enum status session_send_start(struct worker_process *w, const struct connection *c, const char *path);

/* SESSION_STATS and SESSION_END; false: not one of them. */
bool session_message(struct connection *c, enum message_type type, const union message *m);

/* One line about how a connection ended, at a level that fits, before connection_free(). */
void session_log_end(const struct connection *c, enum worker_exit why);

const char *end_code_text(unsigned code);

#endif
