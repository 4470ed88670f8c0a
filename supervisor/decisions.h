/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator decides about keys. Called by the control socket and the admin worker's channel after they
 * have judged WHO asks; here it is judged whether it can be done, it is stored with its audit row, and then
 * it takes effect on living connections. Nothing else may approve, but `preapproved` and the dummy acceptor.
 */
#ifndef WORMHOLE_SUPERVISOR_DECISIONS_H
#define WORMHOLE_SUPERVISOR_DECISIONS_H

#include "supervisor/supervisor.h"

struct decision_result {
    enum outcome outcome;
    char text[512]; /* for the operator: what was done, or what is wrong and what to do */
};

/*
 * subject: a whole fingerprint; revoke takes a peer's name too. name: for preapprove. By the time they return
 * OK in result->outcome the decision is on disk. A revocation that cannot be stored takes effect all the same
 * (revocations.h), but is no OK.
 */
void decision_accept(struct supervisor *s, const char *subject, const struct store_actor *actor,
                     struct decision_result *result);
void decision_decline(struct supervisor *s, const char *subject, const struct store_actor *actor,
                      struct decision_result *result);
void decision_revoke(struct supervisor *s, const char *subject, const struct store_actor *actor,
                     struct decision_result *result);
void decision_preapprove(struct supervisor *s, const char *subject, const char *name,
                         const struct store_actor *actor, struct decision_result *result);
/* One of the four by number; OUTCOME_UNSUPPORTED for others and on a client. */
void decision_apply(struct supervisor *s, enum decision action, const char *subject, const char *name,
                    const struct store_actor *actor, struct decision_result *result);

/* Is the client of this pending key connected and waiting right now? Fills the warning about its name ("" if
 * none). */
bool decision_request_waiting(const struct supervisor *s, const char *fingerprint);
void decision_name_warning(const struct supervisor *s, const char *name, const char *fingerprint, char *out,
                           size_t cap);

#endif
