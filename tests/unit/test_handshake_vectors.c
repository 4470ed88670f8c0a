/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both handshake machines, with every random byte fixed, must say byte for byte what the independent Python
 * peer said (tests/vectors/handshake.json), derive the same keys, and open each other's messages.
 */
#include "tests/unit/crypto_support.h"

#include "common/fingerprint.h"
#include "worker-crypto/pairing.h"

struct fixture {
    json_t *v;
    EVP_PKEY *identity, *key;
    struct scripted_random server_random, client_random;
    uint8_t server_bytes[128], client_bytes[64], public_key[32], server_fingerprint[32],
        client_fingerprint[32];
    uint8_t spki[RSA_SPKI_MAX];
    size_t spki_len;
    struct expected_server expected;
    struct server_config server_config;
    struct client_config client_config;
};

static void make_keys(struct fixture *f)
{
    uint8_t seed[32];
    size_t len = 32;

    (void)vectors_bytes(f->v, "server_identity_seed", seed, sizeof seed);
    f->identity = ed25519_key(seed);
    f->key = vectors_client_key();
    assert_int_equal(EVP_PKEY_get_raw_public_key(f->identity, f->public_key, &len), 1);
    assert_int_equal(ed25519_fingerprint(f->public_key, f->server_fingerprint), OK);
    f->spki_len = sizeof f->spki;
    assert_int_equal(rsa_spki_write(f->key, f->spki, &f->spki_len), OK);
    assert_int_equal(spki_fingerprint(f->spki, f->spki_len, f->client_fingerprint), OK);
}

/* In the order in which the machines draw. */
static void make_random(struct fixture *f)
{
    (void)vectors_bytes(f->v, "draws/server share", f->server_bytes, 32);
    (void)vectors_bytes(f->v, "draws/server nonce", f->server_bytes + 32, 32);
    (void)vectors_bytes(f->v, "draws/request", f->server_bytes + 64, 16);
    (void)vectors_bytes(f->v, "draws/aes key", f->server_bytes + 80, 32);
    f->server_random = (struct scripted_random){f->server_bytes, 112, 0};
    (void)vectors_bytes(f->v, "draws/client share", f->client_bytes, 32);
    (void)vectors_bytes(f->v, "draws/client nonce", f->client_bytes + 32, 32);
    f->client_random = (struct scripted_random){f->client_bytes, 64, 0};
}

static int setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);
    const struct handshake_common common = {
        .suites = SUITE_BIT(SUITE_X25519),
        .step_ms = 10000,
        .heartbeat_ms = 10000,
        .random = scripted_draw,
    };

    assert_int_equal(primitives_open(), OK);
    f->v = vectors_load("handshake.json");
    make_keys(f);
    make_random(f);
    f->server_config = (struct server_config){common, f->identity, f->public_key, f->server_fingerprint};
    f->server_config.common.random_arg = &f->server_random;
    f->server_config.common.max_record = 16384;
    f->client_config = (struct client_config){
        .common = common,
        .key = f->key,
        .spki = {f->spki, f->spki_len},
        .fingerprint = f->client_fingerprint,
        .name = vectors_text(f->v, "client/name"),
        .slot = 2,
        .expected = &f->expected,
    };
    f->client_config.common.random_arg = &f->client_random;
    f->client_config.common.max_record = 32768;
    (void)vectors_bytes(f->v, "draws/instance", f->client_config.instance, HS_INSTANCE);
    library_random_fixed(0xa5);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    library_random_real();
    EVP_PKEY_free(f->identity);
    EVP_PKEY_free(f->key);
    json_decref(f->v);
    test_free(f);
    return 0;
}

static void expect_sent(const struct fixture *f, const struct spoken *s, unsigned n, const char *message)
{
    uint8_t expected[HS_MESSAGE_MAX];
    char path[64];

    (void)snprintf(path, sizeof path, "messages/%s", message);
    size_t len = vectors_bytes(f->v, path, expected, sizeof expected);
    assert_true(s->n_sent > n);
    assert_int_equal(s->sent_len[n], len);
    assert_memory_equal(s->sent[n], expected, len);
}

static void expect_bytes(const json_t *v, const char *path, const uint8_t *found, size_t len)
{
    uint8_t expected[128];
    assert_int_equal(vectors_bytes(v, path, expected, sizeof expected), len);
    assert_memory_equal(found, expected, len);
}

static void expect_traffic(const struct fixture *f, const struct spoken *s)
{
    assert_int_equal(s->n_opened, 1);
    assert_int_equal(s->max_record, json_integer_value(json_object_get(f->v, "agreed_max_record")));
    expect_bytes(f->v, "traffic_c2s/key", s->traffic[0].key, 32);
    expect_bytes(f->v, "traffic_c2s/iv", s->traffic[0].iv, 12);
    expect_bytes(f->v, "traffic_s2c/key", s->traffic[1].key, 32);
    expect_bytes(f->v, "traffic_s2c/iv", s->traffic[1].iv, 12);
}

static size_t message(const struct fixture *f, const char *name, uint8_t out[HS_MESSAGE_MAX])
{
    char path[64];
    (void)snprintf(path, sizeof path, "messages/%s", name);
    return vectors_bytes(f->v, path, out, HS_MESSAGE_MAX);
}

static void test_server_says_the_same(void **state)
{
    struct fixture *f = *state;
    struct spoken s = {0};
    struct handshake_sink sink = spoken_sink(&s);
    struct server_handshake *h = server_handshake_new(&f->server_config, &sink);
    uint8_t in[HS_MESSAGE_MAX];
    char text[FINGERPRINT_TEXT + 1];

    server_handshake_start(h, 1000);
    expect_sent(f, &s, 0, "server_hello");
    server_handshake_receive(h, in, message(f, "client_hello", in), 1000);
    assert_int_equal(s.n_ask, 1);
    fingerprint_format(s.fingerprint, text);
    assert_string_equal(text, vectors_text(f->v, "client_fingerprint"));
    assert_string_equal(s.pairing, vectors_text(f->v, "pairing_code"));
    assert_string_equal(s.name, "edge-1");
    assert_int_equal(s.slot, 2);
    expect_bytes(f->v, "draws/request", s.request, sizeof s.request);
    expect_bytes(f->v, "draws/instance", s.instance, sizeof s.instance);
    assert_true(server_handshake_answer(h, s.fingerprint, VERDICT_PENDING, 0, 600, 0, 2000));
    expect_sent(f, &s, 1, "pending_600");
    assert_int_equal(server_handshake_next(h), 12000);
    server_handshake_tick(h, 12000);
    expect_sent(f, &s, 2, "pending_590");
    assert_true(server_handshake_answer(h, s.fingerprint, VERDICT_APPROVED, 0, 0, 0, 13000));
    expect_sent(f, &s, 3, "grant");
    expect_sent(f, &s, 4, "server_finished");
    server_handshake_receive(h, in, message(f, "client_finished", in), 13000);
    expect_traffic(f, &s);
    assert_int_equal(s.n_failed, 0);
    server_handshake_free(h);
}

static void test_server_declines_the_same(void **state)
{
    struct fixture *f = *state;
    struct spoken s = {0};
    struct handshake_sink sink = spoken_sink(&s);
    struct server_handshake *h = server_handshake_new(&f->server_config, &sink);
    uint8_t in[HS_MESSAGE_MAX];

    server_handshake_start(h, 0);
    server_handshake_receive(h, in, message(f, "client_hello", in), 0);
    assert_true(server_handshake_answer(h, s.fingerprint, VERDICT_DECLINED, REFUSAL_REVOKED, 0, 3600, 0));
    expect_sent(f, &s, 1, "declined");
    assert_int_equal(s.end, END_DECLINED);
    server_handshake_free(h);
}

static void test_client_says_the_same(void **state)
{
    struct fixture *f = *state;
    struct spoken s = {0};
    struct handshake_sink sink = spoken_sink(&s);
    struct client_handshake *h = client_handshake_new(&f->client_config, &sink);
    uint8_t in[HS_MESSAGE_MAX];
    static const char *const following[] = {"pending_600", "pending_590", "grant", "server_finished"};

    client_handshake_start(h, 0);
    client_handshake_receive(h, in, message(f, "server_hello", in), 0);
    expect_sent(f, &s, 0, "client_hello");
    for (unsigned i = 0; i < 4; i++)
        client_handshake_receive(h, in, message(f, following[i], in), 0);
    expect_sent(f, &s, 1, "client_finished");
    expect_traffic(f, &s);
    assert_int_equal(s.n_wait, 2);
    assert_int_equal(s.n_pairing, 3); /* pending twice, approved */
    assert_string_equal(s.pairing, vectors_text(f->v, "pairing_code"));
    assert_int_equal(s.n_remember, 1);
    expect_bytes(f->v, "traffic_s2c/key", s.traffic[1].key, 32);
    assert_memory_equal(s.remembered, f->server_fingerprint, 32);
    client_handshake_free(h);
}

/* The schedule by itself: each value that the vectors name. */
static void test_key_schedule(void **state)
{
    struct fixture *f = *state;
    struct handshake_secrets hs;
    struct session_secrets session;
    uint8_t tc[32], tg[32], shared[32], aes_key[32], start[32];
    struct transcript t;

    assert_int_equal(transcript_init(&t), OK);
    (void)vectors_bytes(f->v, "transcript/start", start, 32);
    assert_memory_equal(t.hash, start, 32);
    (void)vectors_bytes(f->v, "transcript/Tc", tc, 32);
    (void)vectors_bytes(f->v, "transcript/grant", tg, 32);
    (void)vectors_bytes(f->v, "shared_secret", shared, 32);
    (void)vectors_bytes(f->v, "draws/aes key", aes_key, 32);
    assert_int_equal(schedule_handshake(tc, shared, sizeof shared, &hs), OK);
    expect_bytes(f->v, "handshake_root", hs.root, 32);
    expect_bytes(f->v, "handshake_c2s/key", hs.keys[0].key, 32);
    expect_bytes(f->v, "handshake_c2s/iv", hs.keys[0].iv, 12);
    expect_bytes(f->v, "handshake_s2c/key", hs.keys[1].key, 32);
    expect_bytes(f->v, "handshake_s2c/iv", hs.keys[1].iv, 12);
    assert_int_equal(schedule_session(hs.root, tg, aes_key, &session), OK);
    expect_bytes(f->v, "traffic_c2s/key", session.traffic[0].key, 32);
    expect_bytes(f->v, "traffic_s2c/iv", session.traffic[1].iv, 12);
    expect_bytes(f->v, "fin_c", session.finished[0], 32);
    expect_bytes(f->v, "fin_s", session.finished[1], 32);
    expect_bytes(f->v, "rekey", session.rekey, 32);
}

/* FINISHED records are records: the vectors' records open with the same keys through the general rule. */
static void test_records(void **state)
{
    struct fixture *f = *state;
    uint8_t key[2][32], iv[2][12], wire[2048], plain[2048], expected[2048], aad[RECORD_AAD];
    size_t i;
    json_t *r;

    (void)vectors_bytes(f->v, "traffic_c2s/key", key[0], 32);
    (void)vectors_bytes(f->v, "traffic_c2s/iv", iv[0], 12);
    (void)vectors_bytes(f->v, "traffic_s2c/key", key[1], 32);
    (void)vectors_bytes(f->v, "traffic_s2c/iv", iv[1], 12);
    json_array_foreach(json_object_get(f->v, "records"), i, r)
    {
        unsigned direction = (unsigned)json_integer_value(json_object_get(r, "direction"));
        uint64_t sequence = (uint64_t)json_integer_value(json_object_get(r, "sequence"));
        uint32_t epoch = (uint32_t)json_integer_value(json_object_get(r, "epoch"));
        size_t len = vectors_bytes(r, "wire", wire, sizeof wire),
               n = vectors_bytes(r, "plain", expected, sizeof expected);
        memcpy(aad, "WH1", 3);
        aad[3] = (uint8_t)direction;
        for (unsigned b = 0; b < 4; b++)
            aad[4 + b] = (uint8_t)(epoch >> (24 - 8 * b));
        memcpy(aad + 8, wire, RECORD_HEADER);
        assert_int_equal(aead_open(key[direction], iv[direction], sequence, aad, sizeof aad,
                                   wire + RECORD_HEADER, len - RECORD_HEADER, plain),
                         OK);
        assert_int_equal(len, n + RECORD_HEADER + RECORD_TAG);
        assert_memory_equal(plain, expected, n);
    }
    assert_int_equal(i, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_server_says_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(test_server_declines_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(test_client_says_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(test_key_schedule, setup, teardown),
        cmocka_unit_test_setup_teardown(test_records, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
