/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests, decisions and ports: each state a key can be in against each thing that can happen to it, who
 * holds a name, and that a decision and its audit row come together or not at all.
 */
#include "tests/unit/store_support.h"

#include <stdio.h>
#include <string.h>

enum act { ASK, ASK_AGAIN, ACCEPT, DECLINE, REVOKE, PREAPPROVE, EXPIRE };

static enum status act(struct store *store, enum act what, unsigned key)
{
    struct store_peer peer = request_of(key, "edge1");
    switch (what) {
    case ASK: return store_request_seen(store, &peer, false);
    case ASK_AGAIN: return store_request_seen(store, &peer, true);
    case ACCEPT: return store_accept(store, peer.fingerprint, &alice);
    case DECLINE: return store_decline(store, peer.fingerprint, &alice);
    case REVOKE: return store_revoke(store, peer.fingerprint, &alice);
    case PREAPPROVE: return store_preapprove(store, peer.fingerprint, "edge1", &alice);
    case EXPIRE: return store_request_expired(store, peer.fingerprint);
    }
    return ERR_WRONG_STATE;
}

/* How a key gets into each state, from nothing. */
static void bring_to(struct store *store, unsigned status)
{
    static const enum act ways[][3] = {
        [PEER_PENDING] = {ASK, ASK, ASK},
        [PEER_APPROVED] = {ASK, ASK, ACCEPT},
        [PEER_DECLINED] = {ASK, ASK, DECLINE},
        [PEER_REVOKED] = {ASK, ACCEPT, REVOKE},
    };
    for (unsigned i = 0; status != 0 && i < 3; i++)
        assert_int_equal(act(store, ways[status][i], 1), OK);
}

static void test_every_state_and_act(void **state)
{
    /* Answer and state afterwards (0 = no row); rows: nothing, pending, approved, declined, revoked. */
    static const struct {
        enum act act;
        struct {
            enum status answer;
            unsigned after;
        } from[5];
    } table[] = {
        {ASK, {{OK, 1}, {OK, 1}, {ERR_WRONG_STATE, 2}, {ERR_WRONG_STATE, 3}, {ERR_WRONG_STATE, 4}}},
        {ASK_AGAIN, {{OK, 1}, {OK, 1}, {ERR_WRONG_STATE, 2}, {OK, 1}, {ERR_WRONG_STATE, 4}}},
        {ACCEPT, {{ERR_NOT_FOUND, 0}, {OK, 2}, {ERR_EXISTS, 2}, {OK, 2}, {ERR_WRONG_STATE, 4}}},
        {DECLINE, {{ERR_NOT_FOUND, 0}, {OK, 3}, {ERR_WRONG_STATE, 2}, {ERR_EXISTS, 3}, {ERR_WRONG_STATE, 4}}},
        {REVOKE, {{ERR_NOT_FOUND, 0}, {ERR_WRONG_STATE, 1}, {OK, 4}, {ERR_WRONG_STATE, 3}, {ERR_EXISTS, 4}}},
        {PREAPPROVE, {{OK, 2}, {OK, 2}, {ERR_EXISTS, 2}, {OK, 2}, {OK, 2}}},
        {EXPIRE,
         {{ERR_NOT_FOUND, 0}, {OK, 0}, {ERR_WRONG_STATE, 2}, {ERR_WRONG_STATE, 3}, {ERR_WRONG_STATE, 4}}},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        for (unsigned from = 0; from < 5; from++) {
            (void)fixture_open(state);
            struct fixture *f = *state;
            bring_to(f->store, from);
            size_t rows = audit_count(f->store, "");
            enum status answer = act(f->store, table[i].act, 1);
            struct store_peer peer;
            enum status found = store_peer_by_fingerprint(f->store, fingerprint_of(1), &peer);
            unsigned after = found == OK ? peer.status : 0;
            if (answer != table[i].from[from].answer || after != table[i].from[from].after)
                fail_msg("act %u from state %u: answer %s, state %u (%s)", table[i].act, from,
                         status_text(answer), after, store_last_error(f->store));
            /* Whatever was refused left no trace; whatever changed a state left exactly one row. */
            size_t grown = audit_count(f->store, "") - rows;
            assert_int_equal(grown, answer == OK && after != from ? 1 : 0);
            (void)fixture_free(state);
        }
    }
}

static void test_decision_is_audited(void **state)
{
    struct fixture *f = *state;
    const struct store_actor bob = {.kind = "admin", .id = "token", .remote = "198.51.100.9:1234"};
    request(f->store, 7, "edge1");
    struct store_audit_row row = audit_newest(f->store);
    assert_string_equal(row.action, "request");
    assert_string_equal(row.actor_kind, "peer");
    assert_string_equal(row.remote, "192.0.2.7:4000");
    assert_string_equal(row.name, "edge1");
    assert_non_null(strstr(row.detail, "ABCD-EFGH-IJKL-MNOP"));

    assert_int_equal(store_accept(f->store, fingerprint_of(7), &bob), OK);
    row = audit_newest(f->store);
    assert_string_equal(row.action, "accept");
    assert_string_equal(row.actor_kind, "admin");
    assert_string_equal(row.actor, "token");
    assert_string_equal(row.fingerprint, fingerprint_of(7));
    assert_string_equal(row.name, "edge1");
    assert_string_equal(row.remote, "198.51.100.9:1234");
    assert_non_null(strstr(row.detail, "was pending; client at 192.0.2.7:4000"));

    struct store_peer peer;
    assert_int_equal(store_peer_by_fingerprint(f->store, fingerprint_of(7), &peer), OK);
    assert_string_equal(peer.decided_by, "admin token");
    assert_true(peer.decided_at >= peer.first_seen && peer.first_seen > 0);

    assert_int_equal(store_revoke(f->store, fingerprint_of(7), &alice), OK);
    row = audit_newest(f->store);
    assert_string_equal(row.action, "revoke");
    assert_string_equal(row.actor, "uid=1000(alice) pid=4711");
    assert_string_equal(row.remote, "local");
}

static void test_names(void **state)
{
    struct fixture *f = *state;
    request(f->store, 1, "edge1");
    request(f->store, 2, "edge1"); /* two may ask for one name */
    assert_false(store_name_taken(f->store, "edge1", fingerprint_of(2)));
    assert_int_equal(store_accept(f->store, fingerprint_of(1), &alice), OK);
    assert_true(store_name_taken(f->store, "edge1", fingerprint_of(2)));
    assert_false(store_name_taken(f->store, "edge1", fingerprint_of(1)));

    size_t rows = audit_count(f->store, "");
    assert_int_equal(store_accept(f->store, fingerprint_of(2), &alice), ERR_CONFLICT);
    assert_non_null(strstr(store_last_error(f->store), fingerprint_of(1)));
    assert_int_equal(store_preapprove(f->store, fingerprint_of(3), "edge1", &alice), ERR_CONFLICT);
    assert_int_equal(audit_count(f->store, ""), rows);

    struct store_peer peer;
    assert_int_equal(store_peer_by_name(f->store, "edge1", &peer), OK);
    assert_string_equal(peer.fingerprint, fingerprint_of(1));
    assert_int_equal(store_revoke(f->store, fingerprint_of(1), &alice), OK);
    assert_int_equal(store_accept(f->store, fingerprint_of(2), &alice), OK);
    assert_int_equal(store_peer_by_name(f->store, "edge1", &peer), OK);
    assert_string_equal(peer.fingerprint, fingerprint_of(2));
    /* Revoked keys keep their row, and allowing the old one again must not steal the name back. */
    assert_int_equal(store_preapprove(f->store, fingerprint_of(1), "edge1", &alice), ERR_CONFLICT);
    assert_int_equal(store_preapprove(f->store, fingerprint_of(1), "edge2", &alice), OK);
    assert_int_equal(store_peer_by_name(f->store, "nobody", &peer), ERR_NOT_FOUND);
}

static void test_request_refresh(void **state)
{
    struct fixture *f = *state;
    request(f->store, 1, "edge1");
    request(f->store, 1, "edge1");
    assert_int_equal(audit_count(f->store, "request"), 1);
    request(f->store, 1, "other"); /* a changed name is what an operator must be able to trace */
    assert_int_equal(audit_count(f->store, "request"), 2);
    struct store_audit_row row = audit_newest(f->store);
    assert_string_equal(row.name, "other");
    assert_non_null(strstr(row.detail, "was \"edge1\""));
    struct store_peer peer;
    assert_int_equal(store_peer_by_fingerprint(f->store, fingerprint_of(1), &peer), OK);
    assert_string_equal(peer.name, "other");
    assert_int_equal(peer.bits, 2048);
    assert_int_equal(peer.public_key_len, 2);
    assert_string_equal(peer.pairing_code, "ABCD-EFGH-IJKL-MNOP");
}

static void test_bad_arguments(void **state)
{
    struct fixture *f = *state;
    struct store_peer peer = request_of(1, "edge1");
    (void)snprintf(peer.name, sizeof peer.name, "Edge_1");
    assert_int_equal(store_request_seen(f->store, &peer, false), ERR_FORMAT);
    peer = request_of(1, "edge1");
    peer.fingerprint[20] = '\0';
    assert_int_equal(store_request_seen(f->store, &peer, false), ERR_FORMAT);
    assert_int_equal(store_preapprove(f->store, "SHA256:short", "edge1", &alice), ERR_FORMAT);
    assert_int_equal(store_preapprove(f->store, fingerprint_of(1), "-", &alice), ERR_FORMAT);
    assert_int_equal(store_accept(f->store, "' OR 1=1 --", &alice), ERR_NOT_FOUND);
    assert_int_equal(audit_count(f->store, ""), 1);
}

static void test_peer_seen(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(store_preapprove(f->store, fingerprint_of(1), "edge1", &alice), OK);
    struct store_peer peer;
    assert_int_equal(store_peer_by_name(f->store, "edge1", &peer), OK);
    assert_int_equal(peer.first_seen, 0);
    assert_int_equal(store_peer_seen(f->store, fingerprint_of(1), "203.0.113.5:99", 1700000000), OK);
    assert_int_equal(store_peer_seen(f->store, fingerprint_of(1), "203.0.113.6:98", 1700000009), OK);
    assert_int_equal(store_peer_by_name(f->store, "edge1", &peer), OK);
    assert_int_equal(peer.first_seen, 1700000000);
    assert_int_equal(peer.last_seen, 1700000009);
    assert_string_equal(peer.remote, "203.0.113.6:98");
    assert_int_equal(audit_count(f->store, ""), 2);
}

static void test_list_pages(void **state)
{
    struct fixture *f = *state;
    char name[16];
    for (unsigned i = 1; i <= 10; i++) {
        (void)snprintf(name, sizeof name, "edge%u", i);
        request(f->store, i, name);
        if (i % 2 == 0)
            assert_int_equal(store_accept(f->store, fingerprint_of(i), &alice), OK);
    }
    struct store_peer rows[3];
    uint64_t ids[3];
    size_t n = 99;
    uint64_t after = 0;
    unsigned seen = 0;
    do {
        assert_int_equal(store_list_peers(f->store, after, 1u << PEER_APPROVED, rows, ids, 3, &n), OK);
        for (size_t i = 0; i < n; i++) {
            seen++;
            (void)snprintf(name, sizeof name, "edge%u", 2 * seen);
            assert_string_equal(rows[i].name, name);
            assert_true(ids[i] > after);
            after = ids[i];
        }
    } while (n == 3);
    assert_int_equal(seen, 5);
    assert_int_equal(store_list_peers(f->store, 0, 0, rows, ids, 3, &n), OK);
    assert_int_equal(n, 0);
    struct store_stats stats;
    assert_int_equal(store_stats(f->store, &stats), OK);
    assert_int_equal(stats.peers[PEER_PENDING], 5);
    assert_int_equal(stats.peers[PEER_APPROVED], 5);
    assert_int_equal(stats.audit_seq, 16);
    assert_int_equal(stats.commits, 16);
    assert_int_equal(stats.failures, 0);
}

static void test_ports(void **state)
{
    struct fixture *f = *state;
    uint16_t port = 0;
    assert_int_equal(store_preapprove(f->store, fingerprint_of(1), "edge1", &alice), OK);
    assert_int_equal(store_preapprove(f->store, fingerprint_of(2), "edge2", &alice), OK);
    assert_int_equal(store_port_get(f->store, fingerprint_of(1), "web", &port), ERR_NOT_FOUND);
    assert_int_equal(store_port_set(f->store, fingerprint_of(9), "web", 30000), ERR_NOT_FOUND);
    assert_int_equal(store_port_set(f->store, fingerprint_of(1), "web", 30000), OK);
    assert_int_equal(store_port_set(f->store, fingerprint_of(1), "web", 30000), OK);
    assert_int_equal(store_port_set(f->store, fingerprint_of(2), "web", 30000), ERR_CONFLICT);
    assert_int_equal(store_port_set(f->store, fingerprint_of(1), "api", 30000), ERR_CONFLICT);
    assert_int_equal(store_port_set(f->store, fingerprint_of(1), "api", 0), ERR_FORMAT);
    assert_true(store_port_taken(f->store, 30000));
    assert_false(store_port_taken(f->store, 30001));
    assert_int_equal(store_port_set(f->store, fingerprint_of(1), "web", 30001), OK);
    assert_false(store_port_taken(f->store, 30000));
    fixture_reopen(f);
    assert_int_equal(store_port_get(f->store, fingerprint_of(1), "web", &port), OK);
    assert_int_equal(port, 30001);
}

static void test_port_reclaim(void **state)
{
    struct fixture *f = *state;
    uint16_t port = 0;
    for (unsigned i = 1; i <= 3; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "edge%u", i);
        assert_int_equal(store_preapprove(f->store, fingerprint_of(i), name, &alice), OK);
        assert_int_equal(store_port_set(f->store, fingerprint_of(i), "web", (uint16_t)(30000 + i)), OK);
    }
    char sql[160];
    (void)snprintf(sql, sizeof sql, "UPDATE apps SET last_used=1000 WHERE peer='%s'", fingerprint_of(2));
    assert_int_equal(raw_sql(f->path, sql, NULL, 0), 0);
    assert_int_equal(store_revoke(f->store, fingerprint_of(3), &alice), OK);
    /* Nothing in this range may go, whatever its state. */
    assert_int_equal(store_port_reclaim(f->store, 40000, 40010, 2000), ERR_NOT_FOUND);
    /* First the revoked peer's, then the approved but long unused one, and the one in use never. */
    assert_int_equal(store_port_reclaim(f->store, 30000, 30010, 2000), OK);
    assert_int_equal(store_port_get(f->store, fingerprint_of(3), "web", &port), ERR_NOT_FOUND);
    assert_int_equal(store_port_reclaim(f->store, 30000, 30010, 2000), OK);
    assert_false(store_port_taken(f->store, 30002));
    assert_int_equal(store_port_reclaim(f->store, 30000, 30010, 2000), ERR_NOT_FOUND);
    assert_int_equal(store_port_get(f->store, fingerprint_of(1), "web", &port), OK);
    assert_int_equal(port, 30001);
    /* Reading an old port marks it as used. */
    (void)snprintf(sql, sizeof sql, "UPDATE apps SET last_used=1000 WHERE peer='%s'", fingerprint_of(1));
    assert_int_equal(raw_sql(f->path, sql, NULL, 0), 0);
    assert_int_equal(store_port_get(f->store, fingerprint_of(1), "web", &port), OK);
    assert_int_equal(store_port_reclaim(f->store, 30000, 30010, 2000), ERR_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_free)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_state_and_act),
        TEST(test_decision_is_audited),
        TEST(test_names),
        TEST(test_request_refresh),
        TEST(test_bad_arguments),
        TEST(test_peer_seen),
        TEST(test_list_pages),
        TEST(test_ports),
        TEST(test_port_reclaim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
