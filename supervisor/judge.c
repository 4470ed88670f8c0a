/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See judge.h.
 */
#include "supervisor/judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/names.h"
#include "supervisor/decisions.h"
#include "supervisor/requests.h"
#include "supervisor/revocations.h"

#define RETRY_BUSY_S 30u
#define RETRY_FINAL_S 3600u /* revoked, superseded: only an operator can change it */
#define RETRY_INTERNAL_S 10u
#define RETRY_NAME_S 300u

static struct answer declined(enum refusal code, uint64_t retry_after_s)
{
    return (struct answer){.verdict = VERDICT_DECLINED,
                           .code = code,
                           .retry_after_s =
                               retry_after_s > UINT32_MAX ? UINT32_MAX : (uint32_t)retry_after_s};
}

static struct answer database_failed(struct supervisor *s, const struct connection *c)
{
    sup_error("%s cannot be judged, it will try again: %s", connection_text(c), store_last_error(s->store));
    return declined(REFUSAL_INTERNAL, RETRY_INTERNAL_S);
}

/* Only a proven holder of the key gets here, so an older connection that waits with it is a dead one. */
static void replace_waiting(struct connection *c)
{
    struct connection *other;

    TAILQ_FOREACH(other, &c->supervisor->connections, link)
    {
        if (other != c && other->state == CONNECTION_PENDING &&
            memcmp(other->fingerprint, c->fingerprint, FINGERPRINT_BYTES) == 0)
            connection_end(other, 0, END_REPLACED, "the same client came back");
    }
}

static void request_announce(struct supervisor *s, const struct connection *c)
{
    char warning[256];

    decision_name_warning(s, c->name, c->fingerprint_text, warning, sizeof warning);
    sup_info("%s waits for approval, key %s, pairing code %s%s%s", connection_text(c), c->fingerprint_text,
             c->pairing_code, warning[0] != '\0' ? "; WARNING: " : "", warning);
    sup_info("to approve it: wormhole requests accept %s", c->fingerprint_text);
}

/* The row of the key in the database, as this connection showed it. */
static enum status request_store(struct supervisor *s, const struct connection *c,
                                 const struct msg_approval_ask *m, bool again)
{
    struct store_peer *row = calloc(1, sizeof *row);

    if (row == NULL)
        return ERR_NOMEM;
    memcpy(row->fingerprint, c->fingerprint_text, sizeof row->fingerprint);
    memcpy(row->name, c->name, sizeof row->name);
    row->status = PEER_PENDING;
    row->bits = m->bits;
    row->public_key_len = m->public_key_len;
    memcpy(row->public_key, m->public_key, m->public_key_len);
    row->first_seen = row->last_seen = clock_wall_s();
    (void)snprintf(row->remote, sizeof row->remote, "%s", connection_source(c));
    (void)snprintf(row->pairing_code, sizeof row->pairing_code, "%s", c->pairing_code);
    enum status result = store_request_seen(s->store, row, again);
    free(row);
    return result;
}

/* An operator will have to decide: takes a place, if there is one, and waits. */
static struct answer request_wait(struct supervisor *s, struct connection *c,
                                  const struct msg_approval_ask *m, bool again)
{
    bool is_new = !request_is_held(s, c->fingerprint_text);

    if (is_new && !request_fits(s, c)) {
        s->counters.requests_refused++;
        sup_warn(
            "%s is not put before an operator: too many requests wait (max-pending, max-pending-per-source)",
            connection_text(c));
        return declined(REFUSAL_BUSY, RETRY_BUSY_S);
    }
    if (request_store(s, c, m, again) != OK)
        return database_failed(s, c);
    if (request_hold(s, c) != OK)
        return declined(REFUSAL_INTERNAL, RETRY_INTERNAL_S);
    c->pending_until_ms = clock_mono_ms() + s->config->pending_ms;
    replace_waiting(c);
    if (is_new)
        request_announce(s, c);
    return (struct answer){.verdict = VERDICT_PENDING, .ttl_s = (uint32_t)(s->config->pending_ms / 1000)};
}

/* Approved by the configuration, not by a person; audited like every approval. */
static struct answer approve_unasked(struct supervisor *s, struct connection *c,
                                     const struct msg_approval_ask *m, bool again, bool listed)
{
    const struct store_actor actor = {.kind = listed ? "config" : "dummy",
                                      .id = listed ? "preapproved" : "acceptor dummy",
                                      .remote = connection_source(c)};

    if (store_name_taken(s->store, c->name, c->fingerprint_text)) {
        sup_warn("%s is not approved by itself, because its name belongs to another key", connection_text(c));
        return request_wait(s, c, m, again);
    }
    if (request_store(s, c, m, again) != OK || store_accept(s->store, c->fingerprint_text, &actor) != OK)
        return database_failed(s, c);
    s->counters.approvals_auto++;
    approval_forget(s, c->fingerprint_text);
    sup_warn("%s was approved WITHOUT an operator (%s), key %s", connection_text(c), actor.id,
             c->fingerprint_text);
    return (struct answer){.verdict = VERDICT_APPROVED};
}

/* Nobody knows this key, or it asked before and waits: is anybody but a person entitled to approve it? */
static struct answer judge_new(struct supervisor *s, struct connection *c, const struct msg_approval_ask *m,
                               bool again)
{
    bool listed = preapproved_has(s, c->fingerprint_text);

    if (listed || strcmp(s->config->acceptor, "dummy") == 0)
        return approve_unasked(s, c, m, again, listed);
    return request_wait(s, c, m, again);
}

static struct answer judge_declined(struct supervisor *s, struct connection *c,
                                    const struct msg_approval_ask *m, const struct store_peer *row)
{
    uint64_t now = clock_wall_s();
    uint64_t remember_s = s->config->declined_ms / 1000;
    uint64_t age = now > row->decided_at ? now - row->decided_at : 0;

    if (age < remember_s)
        return declined(REFUSAL_DECLINED, remember_s - age);
    return judge_new(s, c, m, true);
}

struct answer judge_ask(struct supervisor *s, struct connection *c, const struct msg_approval_ask *m)
{
    struct store_peer row;

    if (!name_is_valid(m->name)) {
        sup_warn("a client at %s claims an impossible name", connection_source(c));
        return declined(REFUSAL_BAD_NAME, RETRY_NAME_S);
    }
    if (revocation_is_held(s, c->fingerprint_text))
        return declined(REFUSAL_REVOKED, RETRY_FINAL_S);
    enum status result = store_peer_by_fingerprint(s->store, c->fingerprint_text, &row);
    if (result == ERR_NOT_FOUND)
        return judge_new(s, c, m, false);
    if (result != OK)
        return database_failed(s, c);
    switch (row.status) {
    case PEER_APPROVED:
        if (row.name[0] != '\0') { /* the name that was approved, whatever it claims today */
            if (strcmp(row.name, c->name) != 0)
                sup_info("%s calls itself \"%s\" now; it stays \"%s\", under which it was approved",
                         connection_source(c), c->name, row.name);
            memcpy(c->name, row.name, sizeof c->name);
        }
        return (struct answer){.verdict = VERDICT_APPROVED};
    case PEER_PENDING: return judge_new(s, c, m, false);
    case PEER_DECLINED: return judge_declined(s, c, m, &row);
    case PEER_REVOKED: return declined(REFUSAL_REVOKED, RETRY_FINAL_S);
    case PEER_SUPERSEDED: return declined(REFUSAL_SUPERSEDED, RETRY_FINAL_S);
    }
    return declined(REFUSAL_INTERNAL, RETRY_INTERNAL_S);
}

bool judge_is_approved(struct supervisor *s, const struct connection *c)
{
    struct store_peer row;

    return !revocation_is_held(s, c->fingerprint_text) &&
           store_peer_by_fingerprint(s->store, c->fingerprint_text, &row) == OK &&
           row.status == PEER_APPROVED;
}

bool judge_again(struct supervisor *s, struct connection *c, struct answer *answer)
{
    struct store_peer row;

    if (revocation_is_held(s, c->fingerprint_text)) {
        *answer = declined(REFUSAL_REVOKED, RETRY_FINAL_S);
        return true;
    }
    if (store_peer_by_fingerprint(s->store, c->fingerprint_text, &row) != OK || row.status == PEER_PENDING)
        return false;
    if (row.status == PEER_APPROVED) {
        memcpy(c->name, row.name, sizeof c->name);
        *answer = (struct answer){.verdict = VERDICT_APPROVED};
    } else if (row.status == PEER_DECLINED) {
        *answer = declined(REFUSAL_DECLINED, s->config->declined_ms / 1000);
    } else {
        *answer = declined(row.status == PEER_REVOKED ? REFUSAL_REVOKED : REFUSAL_SUPERSEDED, RETRY_FINAL_S);
    }
    return true;
}
