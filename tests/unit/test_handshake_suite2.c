/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Suite 2 through both handshake machines with a stand-in for ML-KEM (kem_stand_in.c): choice of the suite,
 * layout, both secrets in the schedule, and the memory that refuses less than was used before. What the real
 * ML-KEM computes is the crypto library's; it is not tested here.
 */
#include "tests/unit/crypto_support.h"

#include "worker-crypto/kem.h"

#define BOTH (SUITE_BIT(SUITE_X25519) | SUITE_BIT(SUITE_X25519_MLKEM768))

static int setup(void **state)
{
    struct ends *e = test_malloc(sizeof *e);
    ends_open(e);
    e->server_config.common.suites = e->client_config.common.suites = BOTH;
    ends_restart(e);
    *state = e;
    return 0;
}

static int teardown(void **state)
{
    ends_close(*state);
    test_free(*state);
    return 0;
}

/* From the greeting to both ends open. */
static void run(struct ends *e)
{
    ends_ask(e, 0);
    assert_true(server_handshake_answer(e->server, e->key_fingerprint, VERDICT_APPROVED, 0, 0, 0, 0));
    client_handshake_receive(e->client, e->up.sent[1], e->up.sent_len[1], 0);
    client_handshake_receive(e->client, e->up.sent[2], e->up.sent_len[2], 0);
    server_handshake_receive(e->server, e->down.sent[1], e->down.sent_len[1], 0);
    assert_int_equal(e->up.n_opened, 1);
    assert_int_equal(e->down.n_opened, 1);
    assert_memory_equal(e->up.traffic, e->down.traffic, sizeof e->up.traffic);
}

static void test_best_of_both(void **state)
{
    struct ends *e = *state;
    run(e);
    assert_int_equal(e->down.remembered_suite, SUITE_X25519_MLKEM768);
    assert_int_equal(e->down.sent[0][HS_HEADER], SUITE_X25519_MLKEM768);
    assert_true(e->up.sent_len[0] > KEM_PUBLIC && e->down.sent_len[0] > KEM_CIPHERTEXT);
}

static void test_one_end_has_less(void **state)
{
    struct ends *e = *state;
    for (unsigned side = 0; side < 2; side++) {
        e->server_config.common.suites = side == 0 ? SUITE_BIT(SUITE_X25519) : BOTH;
        e->client_config.common.suites = side == 1 ? SUITE_BIT(SUITE_X25519) : BOTH;
        ends_restart(e);
        run(e);
        assert_int_equal(e->down.remembered_suite, SUITE_X25519);
        assert_int_equal(e->down.sent[0][HS_HEADER], SUITE_X25519);
    }
}

static void expect_refused(struct ends *e, enum end_code code)
{
    client_handshake_start(e->client, 0);
    server_handshake_start(e->server, 0);
    client_handshake_receive(e->client, e->up.sent[0], e->up.sent_len[0], 0);
    assert_int_equal(e->down.end, code);
    assert_int_equal(e->down.n_sent, 0);
}

static void test_less_than_before_is_refused(void **state)
{
    struct ends *e = *state;
    e->expected = (struct expected_server){.present = true, .suite = SUITE_X25519_MLKEM768};
    memcpy(e->expected.fingerprint, e->identity_fingerprint, HASH_BYTES);
    run(e); /* as good as before */
    assert_int_equal(e->down.n_remember, 0);
    e->server_config.common.suites = SUITE_BIT(SUITE_X25519);
    ends_restart(e);
    expect_refused(e, END_SERVER_IDENTITY);
    assert_non_null(strstr(e->down.detail, "suite"));
}

static void test_better_than_before_is_remembered(void **state)
{
    struct ends *e = *state;
    e->expected = (struct expected_server){.present = true, .suite = SUITE_X25519};
    memcpy(e->expected.fingerprint, e->identity_fingerprint, HASH_BYTES);
    run(e);
    assert_int_equal(e->down.n_remember, 1);
    assert_int_equal(e->down.remembered_suite, SUITE_X25519_MLKEM768);
}

static void test_nothing_in_common(void **state)
{
    struct ends *e = *state;
    e->server_config.common.suites = SUITE_BIT(SUITE_X25519_MLKEM768); /* hybrid only */
    e->client_config.common.suites = SUITE_BIT(SUITE_X25519);
    ends_restart(e);
    expect_refused(e, END_PROTOCOL);
}

/* Each half of the exchange counts: another ML-KEM ciphertext, or another X25519 share, and nothing opens. */
static void test_both_secrets_count(void **state)
{
    struct ends *e = *state;
    static const size_t places[] = {HS_HEADER + 2, HS_HEADER + 2 + 32 + 32 + 2,
                                    HS_HEADER + 2 + 64 + 2 + KEM_CIPHERTEXT - 1};
    for (unsigned i = 0; i < 3; i++) {
        ends_restart(e);
        client_handshake_start(e->client, 0);
        server_handshake_start(e->server, 0);
        client_handshake_receive(e->client, e->up.sent[0], e->up.sent_len[0], 0);
        e->down.sent[0][places[i]] ^= 4;
        server_handshake_receive(e->server, e->down.sent[0], e->down.sent_len[0], 0);
        assert_int_equal(e->up.end, END_PROTOCOL);
        assert_int_equal(e->up.n_ask, 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_best_of_both),
        TEST(test_one_end_has_less),
        TEST(test_less_than_before_is_refused),
        TEST(test_better_than_before_is_remembered),
        TEST(test_nothing_in_common),
        TEST(test_both_secrets_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
