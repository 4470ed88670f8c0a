/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See approvals.h. Each question is answered from the database as it is at that moment (judge.c), and once
 * more when the connection is finished, so that no answer outlives a revocation.
 */
#include "supervisor/approvals.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "supervisor/about.h"
#include "supervisor/apps.h"
#include "supervisor/judge.h"
#include "supervisor/requests.h"
#include "supervisor/worker_process.h"

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
    struct answer answer = judge_ask(s, c, m);
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
        sup_about(LEVEL_INFO, about_connection(c), "%s came back on connection %llu, which replaces %llu",
                  c->name, (unsigned long long)c->number, (unsigned long long)other->number);
        connection_end(other, 0, END_REPLACED, "the same client came back on a new connection");
    }
}

static void connection_finish(struct supervisor *s, struct connection *c)
{
    struct msg_session_peer m = {0};

    if (!judge_is_approved(s, c)) {
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
        sup_about(LEVEL_WARN, about_connection(c), "when %s was last seen could not be stored: %s", c->name,
                  store_last_error(s->store));
    sup_about(LEVEL_INFO, about_connection(c), "%s is connected, key %s, connection %llu", connection_text(c),
              c->fingerprint_text, (unsigned long long)c->number);
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

void approval_reconsider(struct supervisor *s, const char *fingerprint)
{
    struct answer answer;
    struct connection *c;

    TAILQ_FOREACH(c, &s->connections, link)
    {
        if (c->state == CONNECTION_PENDING && strcmp(c->fingerprint_text, fingerprint) == 0 &&
            judge_again(s, c, &answer))
            answer_send(s, c, &answer);
    }
}

void approvals_tick(struct supervisor *s)
{
    static const struct answer expired = {
        .verdict = VERDICT_DECLINED, .code = REFUSAL_EXPIRED, .retry_after_s = 1};
    uint64_t now = clock_mono_ms();
    struct connection *c;

    TAILQ_FOREACH(c, &s->connections, link)
    {
        if (c->state == CONNECTION_PENDING && now >= c->pending_until_ms)
            answer_send(s, c, &expired);
    }
    requests_tick(s);
}
