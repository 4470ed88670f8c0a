/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server: accepting tunnel connections and giving each its session worker. The accepted socket is passed on
 * at once; not a byte of it is read here.
 */
#ifndef WORMHOLE_SUPERVISOR_SESSIONS_H
#define WORMHOLE_SUPERVISOR_SESSIONS_H

#include "supervisor/connections.h"

/* Makes the events for s->tunnel_fd; nothing is accepted before sessions_accept(s, true). ERR_NOMEM. */
enum status sessions_open(struct supervisor *s);
void sessions_close(struct supervisor *s);
/* Off while crypto is down: connections wait in the listen queue. */
void sessions_accept(struct supervisor *s, bool on);
/* Crypto ended: what was in a handshake cannot be finished any more. Both sides. */
void sessions_crypto_lost(struct supervisor *s);
/* Every second: deadlines of handshakes. Both sides. */
void sessions_tick(struct supervisor *s);

#endif
