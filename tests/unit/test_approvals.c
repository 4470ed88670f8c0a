/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Approval without processes: what crypto is answered for a key that is new, approved, declined, revoked or
 * one too many; what an operator's decision does to who waits; and that a lie of crypto's kills crypto.
 */
#include "supervisor_support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "supervisor/approvals.h"
#include "supervisor/apps.h"
#include "supervisor/decisions.h"
#include "supervisor/limits.h"
#include "supervisor/requests.h"
#include "supervisor/revocations.h"
#include "supervisor/sessions.h"
#include "supervisor/worker_process.h"

static const struct store_actor operator_actor = {.kind = "control", .id = "uid=0(root) pid=1"};

/* A process to kill, as a worker. */
static struct worker_process *worker_make(struct supervisor *s, enum role role)
{
    static const struct worker_handlers none;
    struct worker_process *w = calloc(1, sizeof *w);

    assert_non_null(w);
    w->supervisor = s;
    w->role = role;
    w->ready = true;
    w->doom = WORKER_EXIT_COUNT;
    w->handlers = &none;
    w->pid = fork();
    if (w->pid == 0) {
        (void)pause();
        _exit(0);
    }
    TAILQ_INSERT_TAIL(&s->workers, w, link);
    return w;
}

static bool is_killed(struct worker_process *w)
{
    return w->doom == WORKER_EXIT_VIOLATION;
}

struct world {
    struct supervisor *s;
    struct worker_process *crypto;
};

static struct world world_make(const char *yaml)
{
    struct world world = {.s = supervisor_make(SIDE_SERVER, yaml)};

    world.s->limits = limits_new();
    world.s->approvals = approvals_new(world.s);
    assert_non_null(world.s->limits);
    assert_non_null(world.s->approvals);
    limits_configure(world.s);
    world.crypto = worker_make(world.s, ROLE_CRYPTO);
    return world;
}

static void world_unmake(struct world *world)
{
    struct supervisor *s = world->s;
    struct worker_process *w;
    struct connection *c;

    TAILQ_FOREACH(w, &s->workers, link)
    {
        if (!w->reaped)
            (void)kill(w->pid, SIGKILL); /* they have no channel whose end they could see */
    }
    workers_kill_all(s);
    while ((c = TAILQ_FIRST(&s->connections)) != NULL) {
        c->worker = NULL;
        connection_free(c);
    }
    peers_free(s);
    approvals_free(s->approvals);
    limits_free(s->limits);
    supervisor_unmake(s);
}

static struct connection *connection_make(struct world *world, const char *remote)
{
    struct connection *c = connection_new(world->s);

    assert_non_null(c);
    (void)snprintf(c->remote, sizeof c->remote, "%s", remote);
    c->worker = worker_make(world->s, ROLE_SESSION);
    c->worker->connection = c;
    connection_set_state(c, CONNECTION_HANDSHAKE);
    return c;
}

static struct msg_approval_ask ask_make(const struct connection *c, uint8_t key, const char *name)
{
    struct msg_approval_ask m = {.connection = c->number,
                                 .public_key_len = 4,
                                 .public_key = {1, 2, 3, key},
                                 .bits = 2048,
                                 .suite = 1,
                                 .pairing_code = "AAAA-BBBB-CCCC-DDDD"};

    memset(m.fingerprint, key, sizeof m.fingerprint);
    memset(m.instance, key, sizeof m.instance);
    (void)snprintf(m.name, sizeof m.name, "%s", name);
    return m;
}

static void ask(struct world *world, struct connection *c, uint8_t key, const char *name)
{
    struct msg_approval_ask m = ask_make(c, key, name);
    approval_asked(world->s, world->crypto, &m);
}

static void finish(struct world *world, struct connection *c)
{
    struct msg_connection_open m = {.connection = c->number, .suite = 1};

    memcpy(m.fingerprint, c->fingerprint, sizeof m.fingerprint);
    approval_opened(world->s, world->crypto, &m);
}

static const char *text_of(uint8_t key)
{
    static char text[FINGERPRINT_TEXT + 1];
    uint8_t digest[FINGERPRINT_BYTES];

    memset(digest, key, sizeof digest);
    fingerprint_format(digest, text);
    return text;
}

static enum outcome decide(struct world *world, enum decision action, uint8_t key, const char *name)
{
    struct decision_result result;

    decision_apply(world->s, action, text_of(key), name, &operator_actor, &result);
    return result.outcome;
}

static bool is_declined(const struct connection *c)
{
    return c->declined && c->state == CONNECTION_APPROVED;
}

static void a_new_key_waits_and_is_let_in_when_accepted(void **state)
{
    struct world world = world_make("");
    struct connection *c = connection_make(&world, "192.0.2.1:1000");

    (void)state;
    ask(&world, c, 1, "edge1");
    assert_int_equal(c->state, CONNECTION_PENDING);
    assert_int_equal(approvals_pending(world.s), 1);
    assert_true(decision_request_waiting(world.s, text_of(1)));
    assert_int_equal(decide(&world, DECISION_ACCEPT, 1, ""), OUTCOME_DONE);
    assert_int_equal(c->state, CONNECTION_APPROVED);
    assert_false(c->declined);
    assert_int_equal(approvals_pending(world.s), 0);
    finish(&world, c);
    assert_int_equal(c->state, CONNECTION_OPEN);
    assert_string_equal(c->peer->name, "edge1");
    /* The second time nobody is asked. */
    struct connection *again = connection_make(&world, "192.0.2.1:1001");
    ask(&world, again, 1, "edge1");
    assert_int_equal(again->state, CONNECTION_APPROVED);
    assert_false(is_killed(world.crypto));
    world_unmake(&world);
}

static void open_without_approval_kills_crypto(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct world world = world_make("");
        struct connection *c = connection_make(&world, "192.0.2.1:1000");
        if (i > 0)
            ask(&world, c, 1, "edge1"); /* pending only */
        if (i == 2)
            assert_int_equal(decide(&world, DECISION_DECLINE, 1, ""), OUTCOME_DONE);
        if (i == 3) {
            assert_int_equal(decide(&world, DECISION_ACCEPT, 1, ""), OUTCOME_DONE);
            c->fingerprint[0] ^= 1; /* crypto names another key than the one that was approved */
            struct msg_connection_open m = {.connection = c->number};
            memset(m.fingerprint, 1, sizeof m.fingerprint);
            approval_opened(world.s, world.crypto, &m);
        } else {
            finish(&world, c);
        }
        assert_true(is_killed(world.crypto));
        assert_int_equal(world.s->counters.violations[ROLE_CRYPTO], 1);
        assert_null(c->peer);
        world_unmake(&world);
    }
}

static void lies_about_connections_kill_crypto(void **state)
{
    struct world world = world_make("");
    struct connection *c = connection_make(&world, "192.0.2.1:1000");
    struct msg_approval_ask m = ask_make(c, 1, "edge1");

    (void)state;
    m.connection = 77; /* never was */
    approval_asked(world.s, world.crypto, &m);
    assert_true(is_killed(world.crypto));
    world_unmake(&world);

    world = world_make("");
    c = connection_make(&world, "192.0.2.1:1000");
    ask(&world, c, 1, "edge1");
    ask(&world, c, 2, "edge1"); /* another key on the same connection */
    assert_true(is_killed(world.crypto));
    assert_int_equal(c->fingerprint[0], 1);
    world_unmake(&world);
}

static void who_is_gone_is_no_lie(void **state)
{
    struct world world = world_make("");
    struct connection *c = connection_make(&world, "192.0.2.1:1000");
    struct msg_approval_ask m = ask_make(c, 1, "edge1");

    (void)state;
    c->worker->connection = NULL;
    c->worker = NULL;
    connection_free(c);
    approval_asked(world.s, world.crypto, &m);
    assert_false(is_killed(world.crypto));
    world_unmake(&world);
}

static void declined_is_remembered_and_then_forgotten(void **state)
{
    struct world world = world_make("declined-time: 24h\n");
    struct connection *c = connection_make(&world, "192.0.2.1:1000");

    (void)state;
    ask(&world, c, 1, "edge1");
    assert_int_equal(decide(&world, DECISION_DECLINE, 1, ""), OUTCOME_DONE);
    assert_true(is_declined(c));
    struct connection *soon = connection_make(&world, "192.0.2.1:1001");
    ask(&world, soon, 1, "edge1");
    assert_true(is_declined(soon));
    assert_int_equal(approvals_pending(world.s), 0);
    supervisor_configure(world.s, "declined-time: 0\n");
    struct connection *later = connection_make(&world, "192.0.2.1:1002");
    ask(&world, later, 1, "edge1");
    assert_int_equal(later->state, CONNECTION_PENDING);
    world_unmake(&world);
}

static void revoking_ends_sessions_at_once(void **state)
{
    struct world world = world_make("");
    struct connection *c = connection_make(&world, "192.0.2.1:1000");
    struct decision_result result;

    (void)state;
    assert_int_equal(decide(&world, DECISION_PREAPPROVE, 1, "edge1"), OUTCOME_DONE);
    ask(&world, c, 1, "edge1");
    finish(&world, c);
    assert_non_null(c->peer);
    decision_revoke(world.s, "edge1", &operator_actor, &result);
    assert_int_equal(result.outcome, OUTCOME_DONE);
    assert_null(c->peer);
    assert_true(TAILQ_EMPTY(&world.s->peers));
    assert_int_equal(c->worker->doom, WORKER_EXIT_STOPPED);
    int status;
    assert_int_equal(waitpid(c->worker->pid, &status, 0), c->worker->pid); /* SIGKILL, not a request */
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    c->worker->reaped = true;
    struct connection *again = connection_make(&world, "192.0.2.1:1001");
    ask(&world, again, 1, "edge1");
    assert_true(is_declined(again));
    decision_revoke(world.s, "edge1", &operator_actor, &result);
    assert_int_not_equal(result.outcome, OUTCOME_DONE);
    decision_revoke(world.s, "nobody", &operator_actor, &result);
    assert_int_equal(result.outcome, OUTCOME_NOT_FOUND);
    world_unmake(&world);
}

/* The database's file goes away under the server, or comes back. */
static void database_move(struct world *world, bool away)
{
    char path[300];
    char aside[310];

    (void)snprintf(path, sizeof path, "%s", store_path(world->s->store));
    (void)snprintf(aside, sizeof aside, "%s.aside", path);
    assert_int_equal(away ? rename(path, aside) : rename(aside, path), 0);
}

static void a_revocation_counts_before_it_is_stored(void **state)
{
    struct world world = world_make("");
    struct connection *c = connection_make(&world, "192.0.2.1:1000");
    struct connection *half = connection_make(&world, "192.0.2.1:1001");
    struct decision_result result;
    struct store_peer row;
    int status;

    (void)state;
    assert_int_equal(decide(&world, DECISION_PREAPPROVE, 1, "edge1"), OUTCOME_DONE);
    ask(&world, c, 1, "edge1");
    finish(&world, c);
    ask(&world, half, 1, "edge1"); /* approved, its handshake not over yet */
    database_move(&world, true);
    decision_revoke(world.s, "edge1", &operator_actor, &result);
    assert_int_equal(result.outcome, OUTCOME_FAILED);
    assert_non_null(strstr(result.text, "COULD NOT BE STORED"));
    assert_non_null(strstr(result.text, "removed or replaced")); /* and why */
    assert_true(TAILQ_EMPTY(&world.s->peers));
    assert_int_equal(waitpid(c->worker->pid, &status, 0), c->worker->pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    c->worker->reaped = true;
    assert_int_equal(waitpid(half->worker->pid, &status, 0), half->worker->pid);
    half->worker->reaped = true;
    struct connection *again = connection_make(&world, "192.0.2.1:1002");
    ask(&world, again, 1, "edge1");
    assert_true(is_declined(again));
    /* Only who is approved can be revoked, disk or no disk. */
    assert_int_equal(decide(&world, DECISION_REVOKE, 2, ""), OUTCOME_NOT_FOUND);
    assert_false(revocation_is_held(world.s, text_of(2)));
    /* Nothing is tried before its time, nothing is forgotten by a try that fails. */
    revocations_tick(world.s);
    assert_true(revocation_is_held(world.s, text_of(1)));
    database_move(&world, false);
    assert_int_equal(decide(&world, DECISION_ACCEPT, 1, ""), OUTCOME_CONFLICT);
    assert_int_equal(decide(&world, DECISION_PREAPPROVE, 1, "edge1"), OUTCOME_CONFLICT);
    assert_int_equal(store_peer_by_fingerprint(world.s->store, text_of(1), &row), OK);
    assert_int_equal(row.status, PEER_APPROVED); /* not stored yet, and yet: */
    struct connection *later = connection_make(&world, "192.0.2.1:1003");
    ask(&world, later, 1, "edge1");
    assert_true(is_declined(later));
    revocations_free(world.s); /* the end of the process tries once more */
    assert_int_equal(store_peer_by_fingerprint(world.s->store, text_of(1), &row), OK);
    assert_int_equal(row.status, PEER_REVOKED);
    assert_int_equal(decide(&world, DECISION_PREAPPROVE, 1, "edge1"), OUTCOME_DONE);
    world_unmake(&world);
}

static void revoked_between_answer_and_finish(void **state)
{
    struct world world = world_make("");
    struct connection *c = connection_make(&world, "192.0.2.1:1000");

    (void)state;
    assert_int_equal(decide(&world, DECISION_PREAPPROVE, 1, "edge1"), OUTCOME_DONE);
    ask(&world, c, 1, "edge1");
    assert_int_equal(c->state, CONNECTION_APPROVED);
    assert_int_equal(store_revoke(world.s->store, text_of(1), &operator_actor), OK); /* behind our back */
    finish(&world, c);
    assert_int_equal(c->state, CONNECTION_DRAINING);
    assert_null(c->peer);
    assert_false(is_killed(world.crypto));
    world_unmake(&world);
}

static void a_name_that_is_taken(void **state)
{
    struct world world = world_make("acceptor: dummy\n");
    struct connection *first = connection_make(&world, "192.0.2.1:1000");
    struct connection *second = connection_make(&world, "192.0.2.2:1000");
    char warning[256];

    (void)state;
    ask(&world, first, 1, "edge1");
    assert_int_equal(first->state, CONNECTION_APPROVED);
    /* Even the dummy does not hand a name over. */
    ask(&world, second, 2, "edge1");
    assert_int_equal(second->state, CONNECTION_PENDING);
    decision_name_warning(world.s, "edge1", text_of(2), warning, sizeof warning);
    assert_non_null(strstr(warning, "belongs to another approved key"));
    assert_int_equal(decide(&world, DECISION_ACCEPT, 2, ""), OUTCOME_CONFLICT);
    assert_int_equal(second->state, CONNECTION_PENDING);
    assert_int_equal(decide(&world, DECISION_REVOKE, 1, ""), OUTCOME_DONE);
    assert_int_equal(decide(&world, DECISION_ACCEPT, 2, ""), OUTCOME_DONE);
    assert_int_equal(second->state, CONNECTION_APPROVED);
    world_unmake(&world);
}

static void the_approved_name_stays(void **state)
{
    struct world world = world_make("");
    struct connection *c = connection_make(&world, "192.0.2.1:1000");

    (void)state;
    assert_int_equal(decide(&world, DECISION_PREAPPROVE, 1, "edge1"), OUTCOME_DONE);
    assert_int_equal(decide(&world, DECISION_PREAPPROVE, 2, "edge2"), OUTCOME_DONE);
    ask(&world, c, 2, "edge1"); /* a good key that claims another one's name */
    finish(&world, c);
    assert_string_equal(c->peer->name, "edge2");
    world_unmake(&world);
}

static void pending_ones_are_bounded(void **state)
{
    struct world world = world_make("max-pending: 3\nmax-pending-per-source: 2\n");
    struct connection *c[5];
    static const char *const from[] = {"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.2:1",
                                       "192.0.2.3:1"};

    (void)state;
    for (uint8_t i = 0; i < 5; i++) {
        c[i] = connection_make(&world, from[i]);
        ask(&world, c[i], (uint8_t)(i + 1), "edge");
    }
    assert_int_equal(c[0]->state, CONNECTION_PENDING);
    assert_int_equal(c[1]->state, CONNECTION_PENDING);
    assert_true(is_declined(c[2])); /* per source */
    assert_int_equal(c[3]->state, CONNECTION_PENDING);
    assert_true(is_declined(c[4])); /* in all */
    assert_int_equal(world.s->counters.requests_refused, 2);
    /* Who was told to come back is not in the database: an attacker does not fill it. */
    struct store_peer row;
    assert_int_equal(store_peer_by_fingerprint(world.s->store, text_of(3), &row), ERR_NOT_FOUND);
    /* A preapproved key needs no place. */
    assert_int_equal(decide(&world, DECISION_PREAPPROVE, 9, "nine"), OUTCOME_DONE);
    struct connection *nine = connection_make(&world, "192.0.2.1:9");
    ask(&world, nine, 9, "nine");
    assert_int_equal(nine->state, CONNECTION_APPROVED);
    world_unmake(&world);
}

static void the_same_key_replaces_its_own_request(void **state)
{
    struct world world = world_make("max-pending-per-source: 1\n");
    struct connection *dead = connection_make(&world, "192.0.2.1:1000");
    struct connection *alive = connection_make(&world, "192.0.2.1:1001");

    (void)state;
    ask(&world, dead, 1, "edge1");
    ask(&world, alive, 1, "edge1");
    assert_int_equal(alive->state, CONNECTION_PENDING);
    assert_int_equal(dead->state, CONNECTION_DRAINING);
    assert_int_equal(dead->end_code, END_REPLACED);
    assert_int_equal(approvals_pending(world.s), 1);
    world_unmake(&world);
}

static void a_reconnect_replaces_what_is_left_of_the_client(void **state)
{
    struct world world = world_make("max-half-open-per-source: 100\n");
    struct connection *c[4];

    (void)state;
    assert_int_equal(decide(&world, DECISION_PREAPPROVE, 1, "edge1"), OUTCOME_DONE);
    for (uint8_t i = 0; i < 4; i++) {
        c[i] = connection_make(&world, "192.0.2.1:1000");
        struct msg_approval_ask m = ask_make(c[i], 1, "edge1");
        m.slot = i < 2 ? i : 0; /* 0, 1 | 0 | 0 of another process */
        memset(m.instance, i == 3 ? 9 : 1, sizeof m.instance);
        approval_asked(world.s, world.crypto, &m);
        finish(&world, c[i]);
        assert_int_equal(c[i]->state, CONNECTION_OPEN);
        if (i == 1)
            assert_int_equal(c[0]->state, CONNECTION_OPEN); /* two slots of one client live together */
        if (i == 2) {
            assert_int_equal(c[0]->state, CONNECTION_DRAINING);
            assert_int_equal(c[1]->state, CONNECTION_OPEN);
        }
    }
    assert_int_equal(c[1]->state, CONNECTION_DRAINING); /* a client that started again has no other slots */
    assert_int_equal(c[2]->state, CONNECTION_DRAINING);
    world_unmake(&world);
}

static void an_impossible_name_is_refused(void **state)
{
    static const char *const names[] = {"", "Edge", "a b", "-a", "a-", "a.b", "\x1b[2J"};
    struct world world = world_make("acceptor: dummy\n");

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct connection *c = connection_make(&world, "192.0.2.1:1000");
        ask(&world, c, 1, names[i]);
        assert_true(is_declined(c));
    }
    world_unmake(&world);
}

static void configured_approvals_do_not_undo_a_revocation(void **state)
{
    struct world world = world_make("");
    struct store_peer row;
    char yaml[200];

    (void)state;
    (void)snprintf(yaml, sizeof yaml, "preapproved: [\"%s=edge1\"]\n", text_of(1));
    supervisor_configure(world.s, yaml);
    approvals_preapprove(world.s);
    assert_int_equal(store_peer_by_fingerprint(world.s->store, text_of(1), &row), OK);
    assert_int_equal(row.status, PEER_APPROVED);
    assert_int_equal(decide(&world, DECISION_REVOKE, 1, ""), OUTCOME_DONE);
    approvals_preapprove(world.s); /* as at the next start */
    assert_int_equal(store_peer_by_fingerprint(world.s->store, text_of(1), &row), OK);
    assert_int_equal(row.status, PEER_REVOKED);
    assert_int_equal(decide(&world, DECISION_PREAPPROVE, 1, "edge1"), OUTCOME_DONE);
    world_unmake(&world);
}

static void requests_survive_a_restart(void **state)
{
    struct world world = world_make("max-pending-per-source: 1\n");
    struct connection *c = connection_make(&world, "192.0.2.1:1000");

    (void)state;
    ask(&world, c, 1, "edge1");
    approvals_free(world.s->approvals);
    world.s->approvals = approvals_new(world.s);
    assert_int_equal(approvals_pending(world.s), 1);
    struct connection *other = connection_make(&world, "192.0.2.1:1001");
    ask(&world, other, 2, "edge2");
    assert_true(is_declined(other)); /* its place counts */
    world_unmake(&world);
}

static void what_is_no_fingerprint(void **state)
{
    static const char *const subjects[] = {"", "SHA256:", "edge1; drop table", "SHA256:AAAA"};
    struct world world = world_make("");
    struct decision_result result;

    (void)state;
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
        decision_apply(world.s, DECISION_ACCEPT, subjects[i], "", &operator_actor, &result);
        assert_int_equal(result.outcome, OUTCOME_BAD);
    }
    assert_int_equal(decide(&world, DECISION_ACCEPT, 5, ""), OUTCOME_NOT_FOUND);
    assert_int_equal(decide(&world, (enum decision)77, 5, ""), OUTCOME_UNSUPPORTED);
    assert_int_equal(decide(&world, DECISION_PREAPPROVE, 5, "Not A Name"), OUTCOME_BAD);
    world_unmake(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_key_waits_and_is_let_in_when_accepted),
        cmocka_unit_test(open_without_approval_kills_crypto),
        cmocka_unit_test(lies_about_connections_kill_crypto),
        cmocka_unit_test(who_is_gone_is_no_lie),
        cmocka_unit_test(declined_is_remembered_and_then_forgotten),
        cmocka_unit_test(revoking_ends_sessions_at_once),
        cmocka_unit_test(a_revocation_counts_before_it_is_stored),
        cmocka_unit_test(revoked_between_answer_and_finish),
        cmocka_unit_test(a_name_that_is_taken),
        cmocka_unit_test(the_approved_name_stays),
        cmocka_unit_test(pending_ones_are_bounded),
        cmocka_unit_test(the_same_key_replaces_its_own_request),
        cmocka_unit_test(a_reconnect_replaces_what_is_left_of_the_client),
        cmocka_unit_test(an_impossible_name_is_refused),
        cmocka_unit_test(configured_approvals_do_not_undo_a_revocation),
        cmocka_unit_test(requests_survive_a_restart),
        cmocka_unit_test(what_is_no_fingerprint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
