/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See approvals.h. Each question is answered from the database as it is at that moment, and once more when
 * the connection is finished, so that no answer outlives a revocation.
 */
#include "supervisor/approvals.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/names.h"
#include "supervisor/apps.h"
#include "supervisor/decisions.h"
#include "supervisor/limits.h"
#include "supervisor/worker_process.h"

#define HELD_SLACK_MS 60000u /* an expired request keeps its place at most so long for its client to renew it */
#define RETRY_BUSY_S 30u
#define RETRY_FINAL_S 3600u /* revoked, superseded: only an operator can change it */
#define RETRY_INTERNAL_S 10u
#define RETRY_NAME_S 300u

/* A request that an operator should see: in the database, and bounded by counting these. */
struct request {
    TAILQ_ENTRY(request) link;
    char fingerprint[FINGERPRINT_TEXT + 1];
    struct source source;
    uint64_t until_ms; /* monotonic: given up then, unless its client is there */
};

struct approvals {
    TAILQ_HEAD(, request) requests;
    size_t n_requests;
};

struct answer {
    enum verdict verdict;
    enum refusal code;
    uint32_t ttl_s, retry_after_s;
};

/* ---- requests that hold a place ------------------------------------------------------------------------ */

static struct request *request_find(const struct approvals *a, const char *fingerprint)
{
    struct request *r;

    TAILQ_FOREACH(r, &a->requests, link)
    {
        if (strcmp(r->fingerprint, fingerprint) == 0)
            return r;
    }
    return NULL;
}

static void request_drop(struct approvals *a, struct request *r)
{
    TAILQ_REMOVE(&a->requests, r, link);
    a->n_requests--;
    free(r);
}

static uint64_t held_until(const struct supervisor *s, uint64_t now)
{
    uint64_t pending_ms = s->config->pending_ms;

    return now + pending_ms + (pending_ms < HELD_SLACK_MS ? pending_ms : HELD_SLACK_MS);
}

static struct request *request_add(struct approvals *a, const char *fingerprint, const char *source,
                                   uint64_t until)
{
    struct request *r = calloc(1, sizeof *r);

    if (r == NULL)
        return NULL;
    (void)snprintf(r->fingerprint, sizeof r->fingerprint, "%s", fingerprint);
    r->source = source_of_text(source);
    r->until_ms = until;
    TAILQ_INSERT_TAIL(&a->requests, r, link);
    a->n_requests++;
    return r;
}

void approval_forget(struct supervisor *s, const char *fingerprint)
{
    struct request *r = request_find(s->approvals, fingerprint);

    if (r != NULL)
        request_drop(s->approvals, r);
}

size_t approvals_pending(const struct supervisor *s)
{
    return s->approvals->n_requests;
}

struct approvals *approvals_new(struct supervisor *s)
{
    struct approvals *a = calloc(1, sizeof *a);
    struct store_peer *rows = calloc(32, sizeof *rows);
    uint64_t ids[32];
    uint64_t after = 0;
    size_t n = 0;

    if (a == NULL || rows == NULL) {
        free(a);
        free(rows);
        return NULL;
    }
    TAILQ_INIT(&a->requests);
    do {
        if (store_list_peers(s->store, after, 1u << PEER_PENDING, rows, ids, 32, &n) != OK)
            break;
        for (size_t i = 0; i < n; i++) {
            (void)request_add(a, rows[i].fingerprint, rows[i].remote,
                              held_until(s, clock_mono_ms()));
            after = ids[i];
        }
    } while (n == 32);
    free(rows);
    return a;
}

void approvals_free(struct approvals *a)
{
    struct request *r;

    if (a == NULL)
        return;
    while ((r = TAILQ_FIRST(&a->requests)) != NULL)
        request_drop(a, r);
    free(a);
}

static bool request_fits(const struct supervisor *s, const struct connection *c)
{
    struct source source = source_of_text(connection_source(c));
    const struct approvals *a = s->approvals;
    const struct request *r;
    size_t same = 0;

    if (a->n_requests >= (size_t)s->config->max_pending)
        return false;
    TAILQ_FOREACH(r, &a->requests, link)
    same += source_equal(&r->source, &source);
    bool proxied = c->from_trusted_proxy && c->forwarded[0] == '\0';
    return proxied || same < (size_t)s->config->max_pending_per_source;
}

/* ---- answers ------------------------------------------------------------------------------------------- */

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
    struct request *r = request_find(s->approvals, c->fingerprint_text);
    bool is_new = r == NULL;

    if (is_new && !request_fits(s, c)) {
        s->counters.requests_refused++;
        sup_warn(
            "%s is not put before an operator: too many requests wait (max-pending, max-pending-per-source)",
            connection_text(c));
        return declined(REFUSAL_BUSY, RETRY_BUSY_S);
    }
    if (request_store(s, c, m, again) != OK)
        return database_failed(s, c);
    uint64_t now = clock_mono_ms();
    if (is_new)
        r = request_add(s->approvals, c->fingerprint_text, connection_source(c), 0);
    if (r == NULL)
        return declined(REFUSAL_INTERNAL, RETRY_INTERNAL_S);
    r->until_ms = held_until(s, now);
    c->pending_until_ms = now + s->config->pending_ms;
    replace_waiting(c);
    if (is_new)
        request_announce(s, c);
    return (struct answer){.verdict = VERDICT_PENDING, .ttl_s = (uint32_t)(s->config->pending_ms / 1000)};
}

/* "FINGERPRINT" or "FINGERPRINT=NAME" in the configuration. */
static bool is_preapproved(const struct supervisor *s, const char *fingerprint)
{
    const struct config_list *list = &s->config->preapproved;

    for (size_t i = 0; i < list->n_items; i++) {
        if (strncmp(list->items[i], fingerprint, FINGERPRINT_TEXT) == 0)
            return true;
    }
    return false;
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
    bool listed = is_preapproved(s, c->fingerprint_text);

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

static struct answer judge(struct supervisor *s, struct connection *c, const struct msg_approval_ask *m)
{
    struct store_peer row;

    if (!name_is_valid(m->name)) {
        sup_warn("a client at %s claims an impossible name", connection_source(c));
        return declined(REFUSAL_BAD_NAME, RETRY_NAME_S);
    }
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

/* Tells crypto, and takes the connection into the state that belongs to the answer. */
static void answer_send(struct supervisor *s, struct connection *c, const struct answer *answer)
{
    struct msg_approval_answer m = {.connection = c->number,
                                    .verdict = (uint8_t)answer->verdict,
                                    .code = (uint16_t)answer->code,
                                    .ttl_s = answer->ttl_s,
                                    .retry_after_s = answer->retry_after_s};

    memcpy(m.fingerprint, c->fingerprint, sizeof m.fingerprint);
    if (answer->verdict == VERDICT_PENDING) {
        connection_set_state(c, CONNECTION_PENDING);
        c->deadline_ms = 0; /* a human decides; pending_until_ms bounds it */
    } else {
        connection_set_state(c, CONNECTION_APPROVED); /* or declined: the handshake ends soon, either way */
        c->deadline_ms = clock_mono_ms() + s->config->handshake_ms;
    }
    if (answer->verdict == VERDICT_DECLINED)
        c->declined = true;
    if (s->crypto != NULL && s->crypto->process != NULL)
        (void)worker_send(s->crypto->process, MSG_APPROVAL_ANSWER, &m, -1);
}

/* ---- from crypto --------------------------------------------------------------------------------------- */

/* NULL: it is gone (a race, no lie), or w lied and is dead now. */
static struct connection *connection_of(struct supervisor *s, struct worker_process *w, uint64_t number,
                                        const char *what)
{
    struct connection *c = connection_find(s, number);

    if (c == NULL && (number == 0 || number > s->last_connection_number))
        worker_violation(w, "%s about connection %llu, which never was", what, (unsigned long long)number);
    return c;
}

void approval_asked(struct supervisor *s, struct worker_process *w, const struct msg_approval_ask *m)
{
    struct connection *c = connection_of(s, w, m->connection, "APPROVAL_ASK");

    if (c == NULL || c->state == CONNECTION_DRAINING)
        return;
    bool again = c->state == CONNECTION_PENDING;
    if (!again && c->state != CONNECTION_STARTING && c->state != CONNECTION_HANDSHAKE) {
        worker_violation(w, "APPROVAL_ASK about connection %llu, which is %s", (unsigned long long)c->number,
                         connection_state_text(c->state));
        return;
    }
    if (again && memcmp(c->fingerprint, m->fingerprint, FINGERPRINT_BYTES) != 0) {
        worker_violation(w, "APPROVAL_ASK changes the key of connection %llu", (unsigned long long)c->number);
        return;
    }
    c->fingerprint_known = true;
    memcpy(c->fingerprint, m->fingerprint, sizeof c->fingerprint);
    fingerprint_format(m->fingerprint, c->fingerprint_text);
    memcpy(c->name, m->name, sizeof c->name);
    memcpy(c->pairing_code, m->pairing_code, sizeof c->pairing_code);
    memcpy(c->instance, m->instance, sizeof c->instance);
    c->suite = m->suite;
    c->slot = m->slot;
    struct answer answer = judge(s, c, m);
    answer_send(s, c, &answer);
}

/* The same client on a new connection: what is left of its former self must not hold anything any more. */
static void replace_older(struct connection *c)
{
    struct connection *other;
    struct connection *next;

    for (other = TAILQ_FIRST(&c->supervisor->connections); other != NULL; other = next) {
        next = TAILQ_NEXT(other, link);
        if (other == c || other->opened_ms == 0 || other->state == CONNECTION_DRAINING ||
            memcmp(other->fingerprint, c->fingerprint, FINGERPRINT_BYTES) != 0)
            continue;
        bool same_client = memcmp(other->instance, c->instance, sizeof c->instance) == 0;
        if (same_client && other->slot != c->slot)
            continue;
        sup_info("%s came back on connection %llu, which replaces %llu", c->name,
                 (unsigned long long)c->number, (unsigned long long)other->number);
        connection_end(other, 0, END_REPLACED, "the same client came back on a new connection");
    }
}

static bool is_approved_now(struct supervisor *s, const struct connection *c)
{
    struct store_peer row;

    return store_peer_by_fingerprint(s->store, c->fingerprint_text, &row) == OK &&
           row.status == PEER_APPROVED;
}

static void connection_finish(struct supervisor *s, struct connection *c)
{
    struct msg_session_peer m = {0};

    if (!is_approved_now(s, c)) {
        connection_end(c, 0, END_DECLINED, "the approval was withdrawn meanwhile");
        return;
    }
    replace_older(c);
    if (peer_attach(c) == NULL) {
        connection_end(c, 0, END_INTERNAL, "out of memory");
        return;
    }
    connection_set_state(c, CONNECTION_OPEN);
    c->opened_ms = clock_mono_ms();
    c->deadline_ms = 0;
    s->counters.handshakes_ok++;
    memcpy(m.name, c->name, sizeof m.name);
    memcpy(m.fingerprint, c->fingerprint, sizeof m.fingerprint);
    (void)worker_send(c->worker, MSG_SESSION_PEER, &m, -1);
    if (c->worker->channel != NULL)
        ipc_channel_set_state(c->worker->channel, IN_OPEN);
    if (store_peer_seen(s->store, c->fingerprint_text, connection_source(c), clock_wall_s()) != OK)
        sup_warn("when %s was last seen could not be stored: %s", c->name, store_last_error(s->store));
    sup_info("%s is connected, key %s, connection %llu", connection_text(c), c->fingerprint_text,
             (unsigned long long)c->number);
}

void approval_opened(struct supervisor *s, struct worker_process *w, const struct msg_connection_open *m)
{
    struct connection *c = connection_of(s, w, m->connection, "CONNECTION_OPEN");

    if (c == NULL || c->state == CONNECTION_DRAINING)
        return;
    if (c->state != CONNECTION_APPROVED || c->declined || c->finished ||
        memcmp(c->fingerprint, m->fingerprint, FINGERPRINT_BYTES) != 0) {
        worker_violation(w, "CONNECTION_OPEN for connection %llu, which was not approved with that key",
                         (unsigned long long)c->number);
        return;
    }
    c->finished = true;
    c->suite = m->suite;
    if (c->worker->ready)
        connection_finish(s, c);
}

void approval_session_ready(struct connection *c)
{
    if (c->finished && c->opened_ms == 0)
        connection_finish(c->supervisor, c);
}

void approval_failed(struct supervisor *s, struct worker_process *w, const struct msg_handshake_failed *m)
{
    struct connection *c = connection_of(s, w, m->connection, "HANDSHAKE_FAILED");

    if (c == NULL || c->end_known)
        return;
    c->end_known = true;
    c->end_code = m->code;
    (void)snprintf(c->end_text, sizeof c->end_text, "%s", m->text);
}

/* ---- decisions and time -------------------------------------------------------------------------------- */

/* The answer to somebody who waits, after the row of its key changed; false: it goes on waiting. */
static bool answer_again(struct supervisor *s, struct connection *c, struct answer *answer)
{
    struct store_peer row;

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

void approval_reconsider(struct supervisor *s, const char *fingerprint)
{
    struct answer answer;
    struct connection *c;

    TAILQ_FOREACH(c, &s->connections, link)
    {
        if (c->state == CONNECTION_PENDING && strcmp(c->fingerprint_text, fingerprint) == 0 &&
            answer_again(s, c, &answer))
            answer_send(s, c, &answer);
    }
}

static void preapprove_one(struct supervisor *s, const char *item)
{
    static const struct store_actor actor = {.kind = "config", .id = "preapproved"};
    char fingerprint[FINGERPRINT_TEXT + 1];
    struct store_peer row;
    const char *name = strchr(item, '=');

    if (name == NULL)
        return; /* without a name it is approved when it shows up */
    (void)snprintf(fingerprint, sizeof fingerprint, "%s", item);
    if (store_peer_by_fingerprint(s->store, fingerprint, &row) == OK) {
        if (row.status == PEER_REVOKED || row.status == PEER_DECLINED || row.status == PEER_SUPERSEDED)
            sup_warn(
                "%s is in preapproved, but was %s by %s: it stays so; `wormhole peers preapprove` changes it",
                fingerprint, peer_status_text(row.status), row.decided_by);
        if (row.status != PEER_PENDING)
            return;
    }
    enum status result = store_preapprove(s->store, fingerprint, name + 1, &actor);
    if (result == OK) {
        s->counters.approvals_auto++;
        sup_info("%s is preapproved as \"%s\"", fingerprint, name + 1);
        approval_forget(s, fingerprint);
        approval_reconsider(s, fingerprint);
    } else if (result != ERR_EXISTS) {
        sup_error("%s cannot be preapproved as \"%s\": %s", fingerprint, name + 1,
                  store_last_error(s->store));
    }
}

void approvals_preapprove(struct supervisor *s)
{
    for (size_t i = 0; i < s->config->preapproved.n_items; i++)
        preapprove_one(s, s->config->preapproved.items[i]);
}

void approvals_tick(struct supervisor *s)
{
    static const struct answer expired = {
        .verdict = VERDICT_DECLINED, .code = REFUSAL_EXPIRED, .retry_after_s = 1};
    uint64_t now = clock_mono_ms();
    struct connection *c;
    struct request *r;
    struct request *next;

    TAILQ_FOREACH(c, &s->connections, link)
    {
        if (c->state == CONNECTION_PENDING && now >= c->pending_until_ms)
            answer_send(s, c, &expired);
    }
    for (r = TAILQ_FIRST(&s->approvals->requests); r != NULL; r = next) {
        next = TAILQ_NEXT(r, link);
        if (now < r->until_ms)
            continue;
        sup_info("the request of %s is dropped, its client did not come back", r->fingerprint);
        if (store_request_expired(s->store, r->fingerprint) == ERR_IO)
            r->until_ms = now + HELD_SLACK_MS; /* once more later */
        else
            request_drop(s->approvals, r);
    }
}
