/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handshake machines against each other in memory: deadlines, verdicts at every moment, messages in every
 * state, failing randomness, and that a dead machine stays dead and silent.
 */
#include "tests/unit/crypto_support.h"

static int setup(void **state)
{
    struct ends *e = test_malloc(sizeof *e);
    ends_open(e);
    *state = e;
    return 0;
}

static int teardown(void **state)
{
    ends_close(*state);
    test_free(*state);
    return 0;
}

static bool answer(struct ends *e, enum verdict verdict, uint64_t now)
{
    return server_handshake_answer(e->server, e->key_fingerprint, verdict, REFUSAL_DECLINED, 600, 30, now);
}

/* From the approval to both ends open. */
static void finish(struct ends *e, unsigned first, uint64_t now)
{
    client_handshake_receive(e->client, e->up.sent[first], e->up.sent_len[first], now);
    client_handshake_receive(e->client, e->up.sent[first + 1], e->up.sent_len[first + 1], now);
    assert_int_equal(e->down.n_sent, 2);
    server_handshake_receive(e->server, e->down.sent[1], e->down.sent_len[1], now);
}

static void expect_open(const struct ends *e)
{
    assert_int_equal(e->up.n_opened, 1);
    assert_int_equal(e->down.n_opened, 1);
    assert_int_equal(e->up.n_failed + e->down.n_failed, 0);
    assert_memory_equal(e->up.traffic, e->down.traffic, sizeof e->up.traffic);
    assert_memory_equal(e->up.opened_fingerprint, e->key_fingerprint, HASH_BYTES);
    assert_memory_equal(e->down.opened_fingerprint, e->identity_fingerprint, HASH_BYTES);
    assert_int_equal(server_handshake_next(e->server), UINT64_MAX);
    assert_int_equal(client_handshake_next(e->client), UINT64_MAX);
}

static void test_approved_at_once(void **state)
{
    struct ends *e = *state;
    ends_ask(e, 0);
    assert_memory_equal(e->up.fingerprint, e->key_fingerprint, HASH_BYTES);
    assert_true(answer(e, VERDICT_APPROVED, 5));
    finish(e, 1, 5);
    expect_open(e);
    assert_int_equal(e->down.n_remember, 1);
    assert_int_equal(e->down.remembered_suite, SUITE_X25519);
    assert_int_equal(e->down.verdict, VERDICT_APPROVED);
    assert_int_equal(e->up.n_wait + e->down.n_wait, 0);
}

static void test_known_server_is_not_written_again(void **state)
{
    struct ends *e = *state;
    e->expected = (struct expected_server){.present = true, .suite = SUITE_X25519};
    memcpy(e->expected.fingerprint, e->identity_fingerprint, HASH_BYTES);
    ends_ask(e, 0);
    assert_true(answer(e, VERDICT_APPROVED, 0));
    finish(e, 1, 0);
    expect_open(e);
    assert_int_equal(e->down.n_remember, 0);
}

static void test_another_connection_met_another_server_first(void **state)
{
    struct ends *e = *state;
    ends_ask(e, 0);
    assert_true(answer(e, VERDICT_APPROVED, 0));
    e->expected = (struct expected_server){.present = true, .suite = SUITE_X25519, .fingerprint = {1}};
    client_handshake_receive(e->client, e->up.sent[1], e->up.sent_len[1], 0);
    client_handshake_receive(e->client, e->up.sent[2], e->up.sent_len[2], 0);
    assert_int_equal(e->down.end, END_SERVER_IDENTITY);
    assert_int_equal(e->down.n_remember + e->down.n_opened, 0);
    assert_int_equal(e->down.n_sent, 1); /* no CLIENT_FINISHED */
}

static void test_server_cannot_be_remembered(void **state)
{
    struct ends *e = *state;
    ends_ask(e, 0);
    e->down.remember_result = ERR_IO;
    assert_true(answer(e, VERDICT_APPROVED, 0));
    client_handshake_receive(e->client, e->up.sent[1], e->up.sent_len[1], 0);
    client_handshake_receive(e->client, e->up.sent[2], e->up.sent_len[2], 0);
    assert_int_equal(e->down.end, END_KNOWN_SERVER_IO);
    assert_int_equal(e->down.n_opened, 0);
}

static void test_heartbeat_and_renewal(void **state)
{
    struct ends *e = *state;
    ends_ask(e, 0);
    assert_true(answer(e, VERDICT_PENDING, 0));
    uint64_t now = 0;
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(server_handshake_next(e->server), now + 10000);
        server_handshake_tick(e->server, now + 9999); /* too early */
        assert_int_equal(e->up.n_sent, 2 + i);
        client_handshake_receive(e->client, e->up.sent[1 + i], e->up.sent_len[1 + i], now);
        assert_int_equal(e->down.ttl_s, 600 - now / 1000);
        assert_int_equal(client_handshake_next(e->client), now + 35000);
        now += 10000;
        server_handshake_tick(e->server, now);
    }
    assert_int_equal(e->down.n_pairing, 5);
    assert_int_equal(e->up.n_ask, 1);
}

static void test_renewal_at_half_time(void **state)
{
    struct ends *e = *state;
    e->server_config.common.heartbeat_ms = 1000000;
    ends_ask(e, 0);
    assert_true(answer(e, VERDICT_PENDING, 0));
    assert_int_equal(server_handshake_next(e->server), 300000);
    server_handshake_tick(e->server, 300000);
    assert_int_equal(e->up.n_ask, 2);
    assert_true(answer(e, VERDICT_PENDING, 300001)); /* kept for another ten minutes */
    server_handshake_tick(e->server, 600000);
    assert_int_equal(e->up.n_failed, 0);
    server_handshake_tick(e->server, 600001);
    assert_int_equal(e->up.n_ask, 3);
    server_handshake_tick(e->server, 900001); /* and no answer this time */
    assert_int_equal(e->up.end, END_DECLINED);
    assert_int_equal(e->up.close_code, CLOSE_BUSY);
}

static void test_approved_while_pending(void **state)
{
    struct ends *e = *state;
    ends_ask(e, 0);
    assert_true(answer(e, VERDICT_PENDING, 0));
    client_handshake_receive(e->client, e->up.sent[1], e->up.sent_len[1], 0);
    assert_int_equal(e->down.verdict, VERDICT_PENDING);
    assert_true(answer(e, VERDICT_APPROVED, 5000));
    finish(e, 2, 5000);
    expect_open(e);
}

static void test_declined_while_pending(void **state)
{
    struct ends *e = *state;
    ends_ask(e, 0);
    assert_true(answer(e, VERDICT_PENDING, 0));
    client_handshake_receive(e->client, e->up.sent[1], e->up.sent_len[1], 0);
    assert_true(answer(e, VERDICT_DECLINED, 5));
    client_handshake_receive(e->client, e->up.sent[2], e->up.sent_len[2], 5);
    assert_int_equal(e->down.verdict, VERDICT_DECLINED);
    assert_int_equal(e->down.retry_after_s, 30);
    assert_int_equal(e->down.end, END_DECLINED);
    assert_int_equal(e->up.end, END_DECLINED);
    assert_int_equal(e->up.close_code, CLOSE_DECLINED);
    assert_false(answer(e, VERDICT_APPROVED, 6)); /* too late */
    assert_int_equal(e->up.n_sent, 3);
}

static void test_answers_that_do_not_fit(void **state)
{
    struct ends *e = *state;
    uint8_t other[HASH_BYTES] = {0};
    assert_false(answer(e, VERDICT_APPROVED, 0)); /* before anything */
    server_handshake_start(e->server, 0);
    assert_false(answer(e, VERDICT_APPROVED, 0));
    ends_restart(e);
    ends_ask(e, 0);
    assert_false(server_handshake_answer(e->server, other, VERDICT_APPROVED, 0, 0, 0, 0));
    assert_false(server_handshake_answer(e->server, e->key_fingerprint, (enum verdict)0, 0, 0, 0, 0));
    assert_false(server_handshake_answer(e->server, e->key_fingerprint, (enum verdict)4, 0, 0, 0, 0));
    assert_int_equal(e->up.n_sent, 1);
    assert_true(answer(e, VERDICT_APPROVED, 0));
    assert_false(answer(e, VERDICT_APPROVED, 0)); /* once */
    assert_false(answer(e, VERDICT_DECLINED, 0));
    assert_int_equal(e->up.n_sent, 3);
    finish(e, 1, 0);
    assert_false(answer(e, VERDICT_DECLINED, 0));
    expect_open(e);
}

static void test_deadlines(void **state)
{
    struct ends *e = *state;
    client_handshake_start(e->client, 100);
    assert_int_equal(client_handshake_next(e->client), 10100);
    client_handshake_tick(e->client, 10099);
    assert_int_equal(e->down.n_failed, 0);
    client_handshake_tick(e->client, 10100);
    assert_int_equal(e->down.end, END_TIMEOUT);
    assert_int_equal(e->down.close_code, CLOSE_TIMEOUT);

    ends_restart(e);
    server_handshake_start(e->server, 0);
    server_handshake_tick(e->server, 10000);
    assert_int_equal(e->up.end, END_TIMEOUT);

    ends_restart(e);
    ends_ask(e, 0);
    assert_int_equal(server_handshake_next(e->server), 10000);
    server_handshake_tick(e->server, 10000);
    assert_int_equal(e->up.end, END_TIMEOUT); /* the supervisor is silent */
    client_handshake_tick(e->client, 10000);
    assert_int_equal(e->down.end, END_TIMEOUT); /* the server is silent */

    ends_restart(e);
    ends_ask(e, 0);
    assert_true(answer(e, VERDICT_APPROVED, 1));
    server_handshake_tick(e->server, 10001);
    assert_int_equal(e->up.end, END_TIMEOUT); /* no CLIENT_FINISHED */
    client_handshake_receive(e->client, e->up.sent[1], e->up.sent_len[1], 5);
    client_handshake_tick(e->client, 10005);
    assert_int_equal(e->down.end, END_TIMEOUT); /* no SERVER_FINISHED */
}

/* What is said to a machine after its end changes nothing. */
static void test_dead_and_open_machines_are_silent(void **state)
{
    struct ends *e = *state;
    ends_ask(e, 0);
    assert_true(answer(e, VERDICT_APPROVED, 0));
    finish(e, 1, 0);
    server_handshake_receive(e->server, e->down.sent[0], e->down.sent_len[0], 0);
    client_handshake_receive(e->client, e->up.sent[0], e->up.sent_len[0], 0);
    server_handshake_start(e->server, 0);
    client_handshake_start(e->client, 0);
    server_handshake_tick(e->server, UINT64_MAX - 1);
    client_handshake_tick(e->client, UINT64_MAX - 1);
    expect_open(e);

    ends_restart(e);
    server_handshake_start(e->server, 0);
    server_handshake_receive(e->server, (const uint8_t *)"x", 1, 0);
    assert_int_equal(e->up.n_failed, 1);
    for (unsigned i = 0; i < 3; i++) {
        server_handshake_receive(e->server, (const uint8_t *)"x", 1, 0);
        server_handshake_tick(e->server, 100000);
        server_handshake_start(e->server, 0);
    }
    assert_int_equal(e->up.n_failed, 1);
    assert_int_equal(e->up.n_sent, 1);
    assert_int_equal(server_handshake_next(e->server), UINT64_MAX);
}

/* Every type of message in every state but its own is fatal, and never opens anything. */
static void test_types_in_states(void **state)
{
    struct ends *e = *state;
    for (unsigned type = 0; type < 256; type++) {
        uint8_t m[64] = {0};
        hs_header_write(m, (uint8_t)type, 40);
        for (unsigned stage = 0; stage < 4; stage++) {
            ends_restart(e);
            if (stage == 0) {
                server_handshake_start(e->server, 0);
                client_handshake_start(e->client, 0);
            } else {
                ends_ask(e, 0);
            }
            if (stage == 2)
                (void)answer(e, VERDICT_PENDING, 0);
            if (stage == 3)
                (void)answer(e, VERDICT_APPROVED, 0);
            server_handshake_receive(e->server, m, 48, 0);
            client_handshake_receive(e->client, m, 48, 0);
            assert_int_equal(e->up.n_failed, 1);
            assert_int_equal(e->down.n_failed, 1);
            assert_int_equal(e->up.n_opened + e->down.n_opened + e->down.n_remember, 0);
        }
    }
    /* And before the start, when a session has no business to hand on anything. */
    ends_restart(e);
    server_handshake_receive(e->server, (const uint8_t *)"", 0, 0);
    client_handshake_receive(e->client, (const uint8_t *)"", 0, 0);
    assert_int_equal(e->up.n_failed + e->down.n_failed, 2);
}

/* The random source fails at its nth call: an honest internal error, no message with half of its secrets. */
static void test_no_random_numbers(void **state)
{
    struct ends *e = *state;
    static struct failing_random server_random, client_random;

    e->server_config.common.random = e->client_config.common.random = failing_draw;
    e->server_config.common.random_arg = &server_random;
    e->client_config.common.random_arg = &client_random;
    for (unsigned n = 1; n <= 4; n++) { /* share, nonce, request, AES key */
        ends_restart(e);
        server_random = (struct failing_random){.fail_at = n};
        client_random = (struct failing_random){0};
        client_handshake_start(e->client, 0);
        server_handshake_start(e->server, 0);
        if (n > 2) {
            client_handshake_receive(e->client, e->up.sent[0], e->up.sent_len[0], 0);
            server_handshake_receive(e->server, e->down.sent[0], e->down.sent_len[0], 0);
        }
        if (n > 3)
            (void)answer(e, VERDICT_APPROVED, 0);
        assert_int_equal(e->up.end, END_INTERNAL);
        assert_int_equal(e->up.n_sent, n > 2 ? 1 : 0);
        assert_int_equal(e->up.n_ask, n > 3 ? 1 : 0);
    }
    for (unsigned n = 1; n <= 2; n++) { /* share, nonce */
        ends_restart(e);
        server_random = (struct failing_random){0};
        client_random = (struct failing_random){.fail_at = n};
        client_handshake_start(e->client, 0);
        server_handshake_start(e->server, 0);
        client_handshake_receive(e->client, e->up.sent[0], e->up.sent_len[0], 0);
        assert_int_equal(e->down.end, END_INTERNAL);
        assert_int_equal(e->down.n_sent, 0);
    }
}

static void test_record_sizes(void **state)
{
    struct ends *e = *state;
    static const uint32_t sizes[][3] = {{1024, 65536, 1024}, {65536, 1024, 1024}, {4096, 4096, 4096}};
    for (unsigned i = 0; i < 3; i++) {
        e->server_config.common.max_record = sizes[i][0];
        e->client_config.common.max_record = sizes[i][1];
        ends_restart(e);
        ends_ask(e, 0);
        assert_true(answer(e, VERDICT_APPROVED, 0));
        finish(e, 1, 0);
        expect_open(e);
        assert_int_equal(e->up.max_record, sizes[i][2]);
        assert_int_equal(e->down.max_record, sizes[i][2]);
    }
}

static void test_pinned_mismatch_sends_nothing(void **state)
{
    struct ends *e = *state;
    e->expected = (struct expected_server){.present = true, .pinned = true, .fingerprint = {3}};
    client_handshake_start(e->client, 0);
    server_handshake_start(e->server, 0);
    client_handshake_receive(e->client, e->up.sent[0], e->up.sent_len[0], 0);
    assert_int_equal(e->down.end, END_SERVER_IDENTITY);
    assert_int_equal(e->down.n_sent + e->down.n_pairing, 0);
    assert_non_null(strstr(e->down.detail, "--server-fingerprint"));
}

/* The keys of two handshakes have nothing in common, even with the same identities. */
static void test_fresh_keys(void **state)
{
    struct ends *e = *state;
    struct seal_key first[2];
    ends_ask(e, 0);
    (void)answer(e, VERDICT_APPROVED, 0);
    finish(e, 1, 0);
    memcpy(first, e->up.traffic, sizeof first);
    assert_memory_not_equal(first[0].key, first[1].key, AEAD_KEY);
    ends_restart(e);
    ends_ask(e, 0);
    (void)answer(e, VERDICT_APPROVED, 0);
    finish(e, 1, 0);
    assert_memory_not_equal(first[0].key, e->up.traffic[0].key, AEAD_KEY);
    assert_memory_not_equal(first[1].iv, e->up.traffic[1].iv, AEAD_IV);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_approved_at_once),
        TEST(test_known_server_is_not_written_again),
        TEST(test_another_connection_met_another_server_first),
        TEST(test_server_cannot_be_remembered),
        TEST(test_heartbeat_and_renewal),
        TEST(test_renewal_at_half_time),
        TEST(test_approved_while_pending),
        TEST(test_declined_while_pending),
        TEST(test_answers_that_do_not_fit),
        TEST(test_deadlines),
        TEST(test_dead_and_open_machines_are_silent),
        TEST(test_types_in_states),
        TEST(test_no_random_numbers),
        TEST(test_record_sizes),
        TEST(test_pinned_mismatch_sends_nothing),
        TEST(test_fresh_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
