/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a proven key is answered: from the database as it is at this moment, the pending limits and the
 * acceptor. The only place where a connection can become approved. Tells nobody; approvals.c does.
 */
#ifndef WORMHOLE_SUPERVISOR_JUDGE_H
#define WORMHOLE_SUPERVISOR_JUDGE_H

#include "supervisor/connections.h"

struct answer {
    enum verdict verdict;
    enum refusal code;
    uint32_t ttl_s, retry_after_s;
};

/* The answer to a question of crypto's. A new key is recorded; the connection's name becomes the approved
 * one. */
struct answer judge_ask(struct supervisor *s, struct connection *c, const struct msg_approval_ask *m);

/* The answer to somebody who waits, after the row of its key changed; false: it goes on waiting. */
bool judge_again(struct supervisor *s, struct connection *c, struct answer *answer);

/* Is the connection's key approved in the database right now, and no revocation waiting to be stored? */
bool judge_is_approved(struct supervisor *s, const struct connection *c);

/* Is the key in `preapproved` of the configuration ("FINGERPRINT" or "FINGERPRINT=NAME")? */
bool preapproved_has(const struct supervisor *s, const char *fingerprint);

#endif
