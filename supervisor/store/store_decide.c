/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What operators decide about keys: which change is possible from which state, and each change with its audit
 * row in one transaction. Whether this operator may decide is not judged here.
 */
#include "supervisor/store/store_internal.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/names.h"
#include "common/utf8.h"

/* From which states a decision leads where. */
struct transition {
    const char *action;
    unsigned from; /* bits 1 << enum peer_status */
    enum peer_status to;
    const char *otherwise; /* what to do instead, for the operator */
};

static const struct transition accept_transition = {"accept", 1u << PEER_PENDING | 1u << PEER_DECLINED,
                                                    PEER_APPROVED,
                                                    "use `wormhole peers preapprove` to allow it again"};
static const struct transition decline_transition = {"decline", 1u << PEER_PENDING, PEER_DECLINED,
                                                     "use `wormhole peers revoke` for an approved one"};
static const struct transition revoke_transition = {"revoke", 1u << PEER_APPROVED, PEER_REVOKED,
                                                    "only an approved key can be revoked"};
static const struct transition preapprove_transition = {
    "preapprove", 1u << PEER_PENDING | 1u << PEER_DECLINED | 1u << PEER_REVOKED, PEER_APPROVED,
    "the client has a newer key"};

static void actor_text(const struct store_actor *actor, char *out, size_t cap)
{
    char text[160];
    (void)snprintf(text, sizeof text, "%.16s %.128s", actor->kind, actor->id == NULL ? "" : actor->id);
    utf8_clean(out, cap, text);
}

static enum status check_name_free(struct store *store, const char *name, const char *fingerprint)
{
    STORE_STATEMENT statement = store_statement(store, SQL_NAME_HOLDER);
    if (statement == NULL)
        return ERR_IO;
    store_bind_text(statement, 1, name);
    store_bind_text(statement, 2, fingerprint);
    int rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        return store_refuse(
            store, ERR_CONFLICT,
            "the name \"%s\" belongs to the approved key %s: revoke that one first, or give this "
            "client another name",
            name, (const char *)sqlite3_column_text(statement, 0));
    return store_result(store, rc, "read");
}

static enum status check_transition(struct store *store, const struct transition *t,
                                    const struct store_peer *peer)
{
    if (peer->status == t->to)
        return store_refuse(store, ERR_EXISTS, "%s is %s already", peer->fingerprint,
                            peer_status_text(t->to));
    if ((t->from & 1u << peer->status) == 0)
        return store_refuse(store, ERR_WRONG_STATE, "cannot %s %s: it is %s; %s", t->action,
                            peer->fingerprint, peer_status_text(peer->status), t->otherwise);
    return OK;
}

static enum status write_decision(struct store *store, const struct transition *t,
                                  const struct store_peer *peer, const struct store_actor *actor)
{
    STORE_STATEMENT statement = store_statement(store, SQL_PEER_DECIDE);
    if (statement == NULL)
        return ERR_IO;
    char by[sizeof peer->decided_by];
    actor_text(actor, by, sizeof by);
    store_bind_text(statement, 1, peer->fingerprint);
    store_bind_text(statement, 2, peer_status_text(t->to));
    store_bind_text(statement, 3, peer->name);
    store_bind_u64(statement, 4, clock_wall_s());
    store_bind_text(statement, 5, by);
    return store_step_done(store, statement, "write a decision");
}

static enum status audit_decision(struct store *store, const struct transition *t,
                                  const struct store_peer *peer, const struct store_actor *actor)
{
    char detail[256];
    (void)snprintf(detail, sizeof detail, "was %s; client at %s, RSA %u, pairing code %s",
                   peer_status_text(peer->status), peer->remote[0] == '\0' ? "unknown" : peer->remote,
                   peer->bits, peer->pairing_code[0] == '\0' ? "none" : peer->pairing_code);
    return audit_append(store, actor, t->action, peer->fingerprint, peer->name, actor->remote, detail);
}

/* name: the one it shall carry; NULL: the one that it asked for. */
static enum status decide(struct store *store, const struct transition *t, const char *fingerprint,
                          const char *name, const struct store_actor *actor)
{
    struct store_peer peer;
    enum status status = store_find(store, fingerprint, &peer);
    if (status == OK)
        status = check_transition(store, t, &peer);
    if (status == OK && name != NULL)
        (void)snprintf(peer.name, sizeof peer.name, "%s", name);
    if (status == OK && t->to == PEER_APPROVED)
        status = check_name_free(store, peer.name, fingerprint);
    if (status == OK)
        status = write_decision(store, t, &peer, actor);
    return status == OK ? audit_decision(store, t, &peer, actor) : status;
}

static enum status decide_whole(struct store *store, const struct transition *t, const char *fingerprint,
                                const struct store_actor *actor)
{
    enum status status = store_begin(store);
    if (status != OK)
        return status;
    status = decide(store, t, fingerprint, NULL, actor);
    return store_finish(store, status, "write a decision");
}

enum status store_accept(struct store *store, const char *fingerprint, const struct store_actor *actor)
{
    return decide_whole(store, &accept_transition, fingerprint, actor);
}

enum status store_decline(struct store *store, const char *fingerprint, const struct store_actor *actor)
{
    return decide_whole(store, &decline_transition, fingerprint, actor);
}

enum status store_revoke(struct store *store, const char *fingerprint, const struct store_actor *actor)
{
    return decide_whole(store, &revoke_transition, fingerprint, actor);
}

static enum status preapprove_new(struct store *store, const char *fingerprint, const char *name,
                                  const struct store_actor *actor)
{
    enum status status = check_name_free(store, name, fingerprint);
    if (status != OK)
        return status;
    STORE_STATEMENT statement = store_statement(store, SQL_PEER_INSERT);
    if (statement == NULL)
        return ERR_IO;
    char by[sizeof((struct store_peer *)0)->decided_by];
    actor_text(actor, by, sizeof by);
    store_bind_text(statement, 1, fingerprint);
    store_bind_text(statement, 2, name);
    store_bind_text(statement, 3, "approved");
    (void)sqlite3_bind_int(statement, 4, 0);
    (void)sqlite3_bind_zeroblob(statement, 5, 0);
    store_bind_u64(statement, 6, 0);
    store_bind_u64(statement, 7, 0);
    store_bind_u64(statement, 8, clock_wall_s());
    store_bind_text(statement, 9, by);
    store_bind_text(statement, 10, "");
    store_bind_text(statement, 11, "");
    status = store_step_done(store, statement, "write a decision");
    return status != OK ? status
                        : audit_append(store, actor, "preapprove", fingerprint, name, actor->remote,
                                       "never seen before");
}

enum status store_preapprove(struct store *store, const char *fingerprint, const char *name,
                             const struct store_actor *actor)
{
    uint8_t digest[FINGERPRINT_BYTES];
    if (fingerprint_parse(fingerprint, digest) != OK)
        return store_refuse(store, ERR_FORMAT, "%.64s: is not a whole fingerprint (SHA256:…)", fingerprint);
    if (!name_is_valid(name))
        return store_refuse(
            store, ERR_FORMAT,
            "\"%.64s\": is not a name: use 1 to 63 of a-z, 0-9 and dashes, no dash at the ends", name);
    enum status status = store_begin(store);
    if (status != OK)
        return status;
    status = decide(store, &preapprove_transition, fingerprint, name, actor);
    if (status == ERR_NOT_FOUND)
        status = preapprove_new(store, fingerprint, name, actor);
    return store_finish(store, status, "write a decision");
}
