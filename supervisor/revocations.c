/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See revocations.h.
 */
#include "supervisor/revocations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"

/* One per key that an operator named; more than any operator revokes while a disk is full. */
#define HELD_MAX 4096u

struct revocation {
    SLIST_ENTRY(revocation) link;
    char fingerprint[FINGERPRINT_TEXT + 1];
    char kind[17], id[129], remote[65]; /* who decided, for the audit row */
    bool has_remote;
    uint64_t retry_ms; /* monotonic */
};

static struct revocation *revocation_find(const struct supervisor *s, const char *fingerprint)
{
    struct revocation *r;

    SLIST_FOREACH(r, &s->revocations, link)
    {
        if (strcmp(r->fingerprint, fingerprint) == 0)
            return r;
    }
    return NULL;
}

static void revocation_drop(struct supervisor *s, struct revocation *r)
{
    SLIST_REMOVE(&s->revocations, r, revocation, link);
    s->n_revocations--;
    free(r);
}

enum status revocation_hold(struct supervisor *s, const char *fingerprint, const struct store_actor *actor)
{
    if (revocation_find(s, fingerprint) != NULL)
        return OK;
    if (s->n_revocations >= HELD_MAX)
        return ERR_FULL;
    struct revocation *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    (void)snprintf(r->fingerprint, sizeof r->fingerprint, "%s", fingerprint);
    (void)snprintf(r->kind, sizeof r->kind, "%s", actor->kind);
    (void)snprintf(r->id, sizeof r->id, "%s", actor->id == NULL ? "" : actor->id);
    r->has_remote = actor->remote != NULL;
    (void)snprintf(r->remote, sizeof r->remote, "%s", r->has_remote ? actor->remote : "");
    r->retry_ms = clock_mono_ms() + REVOCATION_RETRY_MS;
    SLIST_INSERT_HEAD(&s->revocations, r, link);
    s->n_revocations++;
    return OK;
}

bool revocation_is_held(const struct supervisor *s, const char *fingerprint)
{
    return revocation_find(s, fingerprint) != NULL;
}

void revocation_forget(struct supervisor *s, const char *fingerprint)
{
    struct revocation *r = revocation_find(s, fingerprint);

    if (r != NULL)
        revocation_drop(s, r);
}

/* True: there is nothing left to store. */
static bool revocation_store(struct supervisor *s, const struct revocation *r)
{
    const struct store_actor actor = {
        .kind = r->kind, .id = r->id, .remote = r->has_remote ? r->remote : NULL};

    switch (store_revoke(s->store, r->fingerprint, &actor)) {
    case OK:
        s->counters.decisions[DECISION_REVOKE]++;
        sup_info("the revocation of %s is stored now", r->fingerprint);
        return true;
    case ERR_NOT_FOUND: /* the database can be read again and does not call the key approved */
    case ERR_EXISTS:
    case ERR_WRONG_STATE: return true;
    default: return false;
    }
}

void revocations_tick(struct supervisor *s)
{
    struct revocation *next;
    uint64_t now = clock_mono_ms();

    for (struct revocation *r = SLIST_FIRST(&s->revocations); r != NULL; r = next) {
        next = SLIST_NEXT(r, link);
        if (now < r->retry_ms)
            continue;
        if (revocation_store(s, r)) {
            revocation_drop(s, r);
            continue;
        }
        r->retry_ms = now + REVOCATION_RETRY_MS;
        return; /* what fails for one fails for all: the others wait for their next turn */
    }
}

void revocations_free(struct supervisor *s)
{
    struct revocation *r;

    while ((r = SLIST_FIRST(&s->revocations)) != NULL) {
        if (!revocation_store(s, r))
            sup_error("the revocation of %s was NEVER STORED, and the next start will let this key in: %s",
                      r->fingerprint, store_last_error(s->store));
        revocation_drop(s, r);
    }
}
