/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server: revocations that could not be stored. They count all the same as long as this process lives, and
 * are stored as soon as the database can be written again. Only makes things stricter: nothing here approves.
 */
#ifndef WORMHOLE_SUPERVISOR_REVOCATIONS_H
#define WORMHOLE_SUPERVISOR_REVOCATIONS_H

#include "supervisor/supervisor.h"

#define REVOCATION_RETRY_MS 10000u

/* From now on the key is not let in, whatever the database says. Noting it again is fine. ERR_NOMEM;
 * ERR_FULL: too many are noted already. */
enum status revocation_hold(struct supervisor *s, const char *fingerprint, const struct store_actor *actor);
bool revocation_is_held(const struct supervisor *s, const char *fingerprint);
/* A later decision about the key is stored: that one counts. */
void revocation_forget(struct supervisor *s, const char *fingerprint);

/* Every second: tries to store what is due. */
void revocations_tick(struct supervisor *s);
/* At the end, before the store is closed: tries once more, and says which keys the next start will let in. */
void revocations_free(struct supervisor *s);

#endif
