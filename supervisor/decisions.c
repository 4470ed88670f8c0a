/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See decisions.h. First the database (decision and audit row in one transaction), then the living
 * connections: a decision that could not be stored has no effect. But a revocation: that counts in any case.
 */
#include "supervisor/decisions.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/names.h"
#include "supervisor/approvals.h"
#include "supervisor/apps.h"
#include "supervisor/requests.h"
#include "supervisor/revocations.h"
#include "supervisor/worker_process.h"

__attribute__((format(printf, 3, 4))) static void say(struct decision_result *result, enum outcome outcome,
                                                      const char *format, ...)
{
    va_list args;

    result->outcome = outcome;
    va_start(args, format);
    (void)vsnprintf(result->text, sizeof result->text, format, args);
    va_end(args);
}

static bool is_fingerprint(const char *subject, struct decision_result *result)
{
    uint8_t digest[FINGERPRINT_BYTES];

    if (fingerprint_parse(subject, digest) == OK)
        return true;
    say(result, OUTCOME_BAD, "\"%.80s\" is not a whole fingerprint (SHA256: and 43 characters)", subject);
    return false;
}

/* The store's refusals as an operator should read them. */
static void say_failure(struct supervisor *s, enum status status, const char *fingerprint,
                        struct decision_result *result)
{
    struct store_peer row;
    const char *state = "unknown";

    if (status == ERR_NOT_FOUND) {
        say(result, OUTCOME_NOT_FOUND,
            "no key %s; `wormhole requests list` and `wormhole peers list` show them", fingerprint);
        return;
    }
    if ((status == ERR_EXISTS || status == ERR_WRONG_STATE) && revocation_is_held(s, fingerprint)) {
        say(result, OUTCOME_CONFLICT,
            "%s is revoked, and that could not be stored yet; it is tried every %u seconds. Decide again "
            "after that",
            fingerprint, REVOCATION_RETRY_MS / 1000);
        return;
    }
    if (status == ERR_EXISTS || status == ERR_WRONG_STATE) {
        if (store_peer_by_fingerprint(s->store, fingerprint, &row) == OK)
            state = peer_status_text(row.status);
        say(result, OUTCOME_CONFLICT, "%s is %s%s%s", fingerprint, state,
            status == ERR_EXISTS ? " already" : "",
            status == ERR_WRONG_STATE && (row.status == PEER_REVOKED || row.status == PEER_DECLINED)
                ? "; `wormhole peers preapprove` would let it in again"
                : "");
        return;
    }
    say(result,
        status == ERR_CONFLICT                       ? OUTCOME_CONFLICT
        : status == ERR_FORMAT || status == ERR_SIZE ? OUTCOME_BAD
                                                     : OUTCOME_FAILED,
        "%s", store_last_error(s->store));
}

static const char *name_of(struct supervisor *s, const char *fingerprint, struct store_peer *row)
{
    return store_peer_by_fingerprint(s->store, fingerprint, row) == OK ? row->name : "?";
}

static void decided(struct supervisor *s, enum decision action, const char *what, const char *fingerprint,
                    const struct store_actor *actor, struct decision_result *result)
{
    struct store_peer row;
    const char *name = name_of(s, fingerprint, &row);

    s->counters.decisions[action]++;
    sup_info("%s (%s) %s by %s %s", name, fingerprint, what, actor->kind, actor->id);
    say(result, OUTCOME_DONE, "%s (%s) %s", name, fingerprint, what);
}

void decision_accept(struct supervisor *s, const char *subject, const struct store_actor *actor,
                     struct decision_result *result)
{
    if (!is_fingerprint(subject, result))
        return;
    enum status status = store_accept(s->store, subject, actor);
    if (status != OK) {
        say_failure(s, status, subject, result);
        return;
    }
    revocation_forget(s, subject);
    decided(s, DECISION_ACCEPT, "accepted", subject, actor, result);
    approval_forget(s, subject);
    approval_reconsider(s, subject);
}

void decision_decline(struct supervisor *s, const char *subject, const struct store_actor *actor,
                      struct decision_result *result)
{
    if (!is_fingerprint(subject, result))
        return;
    enum status status = store_decline(s->store, subject, actor);
    if (status != OK) {
        say_failure(s, status, subject, result);
        return;
    }
    decided(s, DECISION_DECLINE, "declined", subject, actor, result);
    approval_forget(s, subject);
    approval_reconsider(s, subject);
}

/* Kills, not asks: a revoked peer has had its time. */
static void sessions_kill(struct supervisor *s, const char *fingerprint)
{
    uint8_t digest[FINGERPRINT_BYTES];
    struct connection *c;

    TAILQ_FOREACH(c, &s->connections, link)
    {
        if (!c->fingerprint_known || strcmp(c->fingerprint_text, fingerprint) != 0)
            continue;
        c->end_known = true;
        c->end_code = END_DECLINED;
        (void)snprintf(c->end_text, sizeof c->end_text, "the key was revoked");
        connection_set_state(c, CONNECTION_DRAINING);
        if (c->worker != NULL)
            worker_kill(c->worker, WORKER_EXIT_STOPPED, "its key was revoked");
    }
    if (fingerprint_parse(fingerprint, digest) == OK) {
        struct peer *peer = peer_find(s, digest);
        if (peer != NULL)
            peer_drop(peer);
    }
}

/* Whose key: a name's is in the database, or is that of who is connected when it cannot be read. */
static bool revoke_subject(struct supervisor *s, const char *subject, char out[FINGERPRINT_TEXT + 1],
                           struct decision_result *result)
{
    uint8_t digest[FINGERPRINT_BYTES];
    struct store_peer row;
    const struct peer *peer;

    if (fingerprint_parse(subject, digest) == OK) {
        (void)snprintf(out, FINGERPRINT_TEXT + 1, "%s", subject);
        return true;
    }
    if (!name_is_valid(subject)) {
        say(result, OUTCOME_BAD, "\"%.80s\" is neither a peer's name nor a whole fingerprint", subject);
        return false;
    }
    enum status found = store_peer_by_name(s->store, subject, &row);
    if (found == OK) {
        memcpy(out, row.fingerprint, sizeof row.fingerprint);
        return true;
    }
    if (found == ERR_NOT_FOUND) {
        say(result, OUTCOME_NOT_FOUND, "no peer \"%s\"; `wormhole peers list` shows them", subject);
        return false;
    }
    TAILQ_FOREACH(peer, &s->peers, link)
    {
        if (strcmp(peer->name, subject) == 0) {
            memcpy(out, peer->fingerprint_text, sizeof peer->fingerprint_text);
            return true;
        }
    }
    say(result, OUTCOME_FAILED, "%s", store_last_error(s->store));
    return false;
}

/* An operator who takes an approval back must not depend on a disk: the key is out at once, and stays out. */
static void revoke_unstored(struct supervisor *s, const char *fingerprint, const struct store_actor *actor,
                            const char *why, struct decision_result *result)
{
    enum status held = revocation_hold(s, fingerprint, actor);

    sessions_kill(s, fingerprint);
    approval_reconsider(s, fingerprint);
    sup_error("%s was cut off by %s %s, but the revocation COULD NOT BE STORED%s: %s", fingerprint,
              actor->kind, actor->id, held == OK ? "" : " nor kept in memory: the key can come back now",
              why);
    if (held == OK)
        say(result, OUTCOME_FAILED,
            "%s is cut off and blocked while this server runs, but that COULD NOT BE STORED: a restart would "
            "let it in again. Mend the cause; it is tried every %u seconds, and revoking again tells. %.260s",
            fingerprint, REVOCATION_RETRY_MS / 1000, why);
    else
        say(result, OUTCOME_FAILED,
            "%s is cut off, but could neither be stored as revoked nor be blocked (%s): it can come back at "
            "once. Stop the server, or mend the cause and revoke again. %.240s",
            fingerprint, status_text(held), why);
}

void decision_revoke(struct supervisor *s, const char *subject, const struct store_actor *actor,
                     struct decision_result *result)
{
    char fingerprint[FINGERPRINT_TEXT + 1];
    struct store_peer row;

    if (!revoke_subject(s, subject, fingerprint, result))
        return;
    enum status status = store_revoke(s->store, fingerprint, actor);
    if (status == OK) {
        revocation_forget(s, fingerprint);
        sessions_kill(s, fingerprint);
        decided(s, DECISION_REVOKE, "revoked", fingerprint, actor, result);
        return;
    }
    if (status == ERR_NOT_FOUND || status == ERR_EXISTS || status == ERR_WRONG_STATE) {
        say_failure(s, status, fingerprint, result);
        return;
    }
    /* It cannot be written. If it can be read, only what is approved there needs to be taken back. */
    char why[sizeof result->text];
    (void)snprintf(why, sizeof why, "%s", store_last_error(s->store));
    status = store_peer_by_fingerprint(s->store, fingerprint, &row);
    if (status == OK && row.status != PEER_APPROVED)
        say_failure(s, row.status == PEER_REVOKED ? ERR_EXISTS : ERR_WRONG_STATE, fingerprint, result);
    else if (status == ERR_NOT_FOUND)
        say_failure(s, status, fingerprint, result);
    else
        revoke_unstored(s, fingerprint, actor, why, result);
}

void decision_preapprove(struct supervisor *s, const char *subject, const char *name,
                         const struct store_actor *actor, struct decision_result *result)
{
    if (!is_fingerprint(subject, result))
        return;
    if (!name_is_valid(name)) {
        say(result, OUTCOME_BAD, "a name is needed: 1 to 63 lower-case letters, digits and inner dashes");
        return;
    }
    enum status status = store_preapprove(s->store, subject, name, actor);
    if (status != OK) {
        say_failure(s, status, subject, result);
        return;
    }
    revocation_forget(s, subject);
    decided(s, DECISION_PREAPPROVE, "preapproved", subject, actor, result);
    approval_forget(s, subject);
    approval_reconsider(s, subject);
}

void decision_apply(struct supervisor *s, enum decision action, const char *subject, const char *name,
                    const struct store_actor *actor, struct decision_result *result)
{
    if (s->side != SIDE_SERVER || s->store == NULL) {
        say(result, OUTCOME_UNSUPPORTED, "this is a client: keys are approved on the server");
        return;
    }
    switch (action) {
    case DECISION_ACCEPT: decision_accept(s, subject, actor, result); break;
    case DECISION_DECLINE: decision_decline(s, subject, actor, result); break;
    case DECISION_REVOKE: decision_revoke(s, subject, actor, result); break;
    case DECISION_PREAPPROVE: decision_preapprove(s, subject, name, actor, result); break;
    default: say(result, OUTCOME_UNSUPPORTED, "not supported"); break;
    }
}

bool decision_request_waiting(const struct supervisor *s, const char *fingerprint)
{
    const struct connection *c;

    TAILQ_FOREACH(c, &s->connections, link)
    {
        if (c->state == CONNECTION_PENDING && strcmp(c->fingerprint_text, fingerprint) == 0)
            return true;
    }
    return false;
}

void decision_name_warning(const struct supervisor *s, const char *name, const char *fingerprint, char *out,
                           size_t cap)
{
    struct store_peer row;

    (void)snprintf(out, cap, "%s", "");
    if (store_name_taken(s->store, name, fingerprint) && store_peer_by_name(s->store, name, &row) == OK)
        (void)snprintf(
            out, cap,
            "the name \"%s\" belongs to another approved key, %s; this one can only be accepted after that "
            "one is revoked",
            name, row.fingerprint);
}
