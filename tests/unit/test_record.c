/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records: the library's AES-256-GCM against published vectors, our framing of it against the project's own
 * (which the Python peer reproduces), and every way to tamper with a record or to run into a limit.
 */
#include "crypto_support.h"

#include <stdlib.h>

#include <openssl/evp.h>

#include "worker-net/record.h"

static const uint8_t key[RECORD_KEY] = {1, 2, 3}, iv[RECORD_IV] = {9, 8, 7};

/* The primitive itself, as record.c uses it: keyed once, a new IV each time, tag last. */
static void test_published_gcm(void **state)
{
    json_t *root = vectors_load("published.json");
    json_t *cases = json_object_get(root, "gcm"), *one;
    size_t i;
    (void)state;

    assert_true(json_array_size(cases) >= 3);
    json_array_foreach(cases, i, one)
    {
        uint8_t k[32], nonce[12], aad[64], plain[128], sealed[160], out[160];
        int n = 0, rest = 0;
        assert_int_equal(vectors_bytes(one, "key", k, sizeof k), 32);
        assert_int_equal(vectors_bytes(one, "iv", nonce, sizeof nonce), 12);
        size_t aad_len = vectors_bytes(one, "aad", aad, sizeof aad);
        size_t len = vectors_bytes(one, "plain", plain, sizeof plain);
        assert_int_equal(vectors_bytes(one, "sealed", sealed, sizeof sealed), len + 16);
        EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
        EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
        assert_int_equal(EVP_CipherInit_ex2(c, cipher, k, NULL, 1, NULL), 1);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(EVP_CipherInit_ex2(c, NULL, NULL, nonce, -1, NULL), 1);
            if (aad_len > 0)
                assert_int_equal(EVP_CipherUpdate(c, NULL, &n, aad, (int)aad_len), 1);
            memcpy(out, plain, len);
            n = 0;
            if (len > 0)
                assert_int_equal(EVP_CipherUpdate(c, out, &n, out, (int)len), 1);
            assert_int_equal(EVP_CipherFinal_ex(c, out + n, &rest), 1);
            assert_int_equal(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, out + len), 1);
            assert_memory_equal(out, sealed, len + 16);
        }
        EVP_CIPHER_CTX_free(c);
        EVP_CIPHER_free(cipher);
    }
    json_decref(root);
}

static void test_project_vectors(void **state)
{
    static const char *const traffic[] = {"traffic_c2s", "traffic_s2c"};
    json_t *root = vectors_load("handshake.json");
    json_t *records = json_object_get(root, "records"), *one;
    size_t i;
    (void)state;

    assert_true(json_array_size(records) >= 5);
    json_array_foreach(records, i, one)
    {
        unsigned direction = (unsigned)json_integer_value(json_object_get(one, "direction"));
        uint64_t sequence = (uint64_t)json_integer_value(json_object_get(one, "sequence"));
        uint32_t epoch = (uint32_t)json_integer_value(json_object_get(one, "epoch"));
        const json_t *keys = json_object_get(root, traffic[direction]);
        uint8_t k[32], n[12], plain[2048], wire[2100], record[2100], *opened;
        struct record_key seals = {0}, opens = {0};
        size_t opened_len;
        assert_int_equal(vectors_bytes(keys, "key", k, sizeof k), 32);
        assert_int_equal(vectors_bytes(keys, "iv", n, sizeof n), 12);
        size_t len = vectors_bytes(one, "plain", plain, sizeof plain);
        size_t wire_len = vectors_bytes(one, "wire", wire, sizeof wire);

        assert_int_equal(wire_len, len + RECORD_OVERHEAD);
        assert_int_equal(record_key_set(&seals, direction, true, epoch, sequence, k, n, 0, 0), OK);
        assert_int_equal(record_key_set(&opens, direction, false, epoch, sequence, k, n, 0, 0), OK);
        seals.max_records = opens.max_records = UINT64_MAX; /* the vectors go beyond our own limit */
        memcpy(record + RECORD_HEADER, plain, len);
        assert_int_equal(record_seal(&seals, record, len), OK);
        assert_memory_equal(record, wire, wire_len);
        assert_int_equal(record_open(&opens, record, wire_len, &opened, &opened_len), OK);
        assert_int_equal(opened_len, len);
        assert_memory_equal(opened, plain, len);
        record_key_clear(&seals);
        record_key_clear(&opens);
    }
    json_decref(root);
}

struct pair {
    struct record_key seals, opens;
};

static void pair_init(struct pair *p, uint64_t max_records, uint64_t max_bytes)
{
    memset(p, 0, sizeof *p);
    assert_int_equal(record_key_set(&p->seals, DIRECTION_C2S, true, 0, 1, key, iv, max_records, max_bytes),
                     OK);
    assert_int_equal(record_key_set(&p->opens, DIRECTION_C2S, false, 0, 1, key, iv, max_records, max_bytes),
                     OK);
}

static void pair_clear(struct pair *p)
{
    record_key_clear(&p->seals);
    record_key_clear(&p->opens);
}

static size_t seal_text(struct pair *p, const char *text, uint8_t *record)
{
    size_t len = strlen(text);

    memcpy(record + RECORD_HEADER, text, len);
    assert_int_equal(record_seal(&p->seals, record, len), OK);
    return len + RECORD_OVERHEAD;
}

static void test_every_byte_is_protected(void **state)
{
    uint8_t original[64], record[64], *plain;
    struct pair p;
    size_t plain_len;
    (void)state;

    pair_init(&p, 0, 0);
    size_t len = seal_text(&p, "what nobody may change", original);
    for (size_t i = 0; i < len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            memcpy(record, original, len);
            record[i] ^= (uint8_t)(1u << bit);
            enum status st = record_open(&p.opens, record, len, &plain, &plain_len);
            assert_int_equal(st, i < RECORD_HEADER ? ERR_FORMAT : ERR_AUTH);
            if (st == ERR_AUTH) /* nothing unauthenticated is left to be seen */
                for (size_t k = RECORD_HEADER; k < len - RECORD_TAG; k++)
                    assert_int_equal(record[k], 0);
        }
    }
    for (size_t cut = 0; cut < len; cut++) {
        memcpy(record, original, cut);
        assert_int_not_equal(record_open(&p.opens, record, cut, &plain, &plain_len), OK);
    }
    memcpy(record, original, len); /* and the untouched one still opens */
    assert_int_equal(record_open(&p.opens, record, len, &plain, &plain_len), OK);
    assert_memory_equal(plain, "what nobody may change", plain_len);
    pair_clear(&p);
}

static void test_order_is_protected(void **state)
{
    uint8_t first[64], second[64], copy[64], *plain;
    struct pair p, back;
    size_t plain_len;
    (void)state;

    pair_init(&p, 0, 0);
    size_t len = seal_text(&p, "one", first);
    (void)seal_text(&p, "two", second);
    memcpy(copy, second, len);
    assert_int_equal(record_open(&p.opens, copy, len, &plain, &plain_len), ERR_AUTH); /* dropped one before */
    memcpy(copy, first, len);
    assert_int_equal(record_open(&p.opens, copy, len, &plain, &plain_len), OK);
    memcpy(copy, first, len);
    assert_int_equal(record_open(&p.opens, copy, len, &plain, &plain_len), ERR_AUTH); /* repeated */
    memcpy(copy, second, len);
    assert_int_equal(record_open(&p.opens, copy, len, &plain, &plain_len), OK);

    /* Reflected: the same key and sequence in the other direction. */
    memset(&back, 0, sizeof back);
    assert_int_equal(record_key_set(&back.opens, DIRECTION_S2C, false, 0, 1, key, iv, 0, 0), OK);
    memcpy(copy, first, len);
    assert_int_equal(record_open(&back.opens, copy, len, &plain, &plain_len), ERR_AUTH);
    pair_clear(&back);
    pair_clear(&p);
}

static void test_limits(void **state)
{
    uint8_t record[256] = {0}, *plain;
    size_t plain_len;
    struct pair p;
    (void)state;

    pair_init(&p, 4, 0); /* sequence 1, 2, 3 */
    assert_int_equal(record_key_left(&p.seals, 100), 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(record_seal(&p.seals, record, 100), OK);
        assert_int_equal(record_open(&p.opens, record, 120, &plain, &plain_len), OK);
    }
    assert_int_equal(record_key_left(&p.seals, 100), 0);
    assert_int_equal(record_seal(&p.seals, record, 100), ERR_LIMIT);
    assert_int_equal(record_open(&p.opens, record, 120, &plain, &plain_len), ERR_LIMIT);
    pair_clear(&p);

    pair_init(&p, 0, 250);
    assert_int_equal(record_key_left(&p.seals, 100), 2);
    assert_int_equal(record_seal(&p.seals, record, 200), OK);
    assert_int_equal(record_seal(&p.seals, record, 51), ERR_LIMIT);
    assert_int_equal(record_seal(&p.seals, record, 50), OK);
    assert_int_equal(record_seal(&p.seals, record, 1), ERR_LIMIT);
    pair_clear(&p);

    pair_init(&p, UINT64_MAX, UINT64_MAX); /* what is configured cannot exceed the hard limits */
    assert_true(p.seals.max_records == RECORDS_HARD_LIMIT);
    assert_true(p.seals.max_bytes == BYTES_HARD_LIMIT);
    assert_int_equal(record_seal(&p.seals, record, RECORD_PLAIN_MAX + 1), ERR_SIZE);
    pair_clear(&p);
}

/* A key switch: the epoch is in the header and in what is authenticated; the old key opens nothing more. */
static void test_key_switch(void **state)
{
    static const uint8_t next_key[RECORD_KEY] = {0xaa};
    uint8_t record[64], copy[64], *plain;
    size_t plain_len;
    struct pair p;
    (void)state;

    pair_init(&p, 0, 0);
    (void)seal_text(&p, "old", record);
    assert_int_equal(record_key_set(&p.seals, DIRECTION_C2S, true, 257, 0, next_key, iv, 0, 0), OK);
    size_t len = seal_text(&p, "new", record);
    assert_int_equal(record[1], 1); /* the low byte of 257 */
    memcpy(copy, record, len);
    assert_int_equal(record_open(&p.opens, copy, len, &plain, &plain_len), ERR_FORMAT);
    assert_int_equal(record_key_set(&p.opens, DIRECTION_C2S, false, 1, 0, next_key, iv, 0, 0), OK);
    memcpy(copy, record, len); /* the right low byte, but another epoch */
    assert_int_equal(record_open(&p.opens, copy, len, &plain, &plain_len), ERR_AUTH);
    assert_int_equal(record_key_set(&p.opens, DIRECTION_C2S, false, 257, 0, next_key, iv, 0, 0), OK);
    memcpy(copy, record, len);
    assert_int_equal(record_open(&p.opens, copy, len, &plain, &plain_len), OK);
    assert_memory_equal(plain, "new", 3);
    pair_clear(&p);
}

static void test_clear_wipes(void **state)
{
    static const struct record_key zero;
    struct pair p;
    (void)state;

    pair_init(&p, 0, 0);
    pair_clear(&p);
    assert_memory_equal(&p.seals, &zero, sizeof zero);
    record_key_clear(&p.seals); /* twice is fine */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_gcm),
        cmocka_unit_test(test_project_vectors),
        cmocka_unit_test(test_every_byte_is_protected),
        cmocka_unit_test(test_order_is_protected),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_key_switch),
        cmocka_unit_test(test_clear_wipes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
