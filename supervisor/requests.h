/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that an operator should see, and the places that bound them: so many in all, so many of one
 * source, one per key. A place outlives its client's connection for a while. Decides about nothing else.
 */
#ifndef WORMHOLE_SUPERVISOR_REQUESTS_H
#define WORMHOLE_SUPERVISOR_REQUESTS_H

#include "supervisor/connections.h"

/* Loads the requests that are in the database. NULL: out of memory. */
struct approvals *approvals_new(struct supervisor *s);
void approvals_free(struct approvals *a);

/* Places that are taken now (with a living client or not). */
size_t approvals_pending(const struct supervisor *s);
/* The key's request is settled or gone: its place is free. */
void approval_forget(struct supervisor *s, const char *fingerprint);

bool request_is_held(const struct supervisor *s, const char *fingerprint);
/* Is there a place for one more of this connection's source? */
bool request_fits(const struct supervisor *s, const struct connection *c);
/* Takes or renews the place of the connection's key, up to pending-time and then some. ERR_NOMEM. */
enum status request_hold(struct supervisor *s, const struct connection *c);
/* Drops what its client did not renew in time, in the database too. */
void requests_tick(struct supervisor *s);

#endif
