/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The primitives against published vectors, and that each refuses what is forged. Framing of signatures and
 * the pairing code are checked against values made elsewhere (tests/vectors/handshake.json covers the rest).
 */
#include "tests/unit/crypto_support.h"

#include "worker-crypto/pairing.h"

static int setup(void **state)
{
    *state = vectors_load("published.json");
    return primitives_open() == OK ? 0 : -1;
}

static int teardown(void **state)
{
    json_decref(*state);
    return 0;
}

static void test_hkdf(void **state)
{
    size_t i;
    json_t *c;
    json_array_foreach(json_object_get(*state, "hkdf"), i, c)
    {
        uint8_t ikm[128], salt[128], info[128], okm[128], prk[32], out[128];
        size_t ikm_len = vectors_bytes(c, "ikm", ikm, sizeof ikm),
               salt_len = vectors_bytes(c, "salt", salt, sizeof salt);
        size_t info_len = vectors_bytes(c, "info", info, sizeof info),
               len = vectors_bytes(c, "okm", okm, sizeof okm);
        uint8_t expected[32];
        (void)vectors_bytes(c, "prk", expected, sizeof expected);
        assert_int_equal(hkdf_extract(salt, salt_len, ikm, ikm_len, prk), OK);
        assert_memory_equal(prk, expected, 32);
        assert_int_equal(hkdf_expand(prk, 32, info, info_len, out, len), OK);
        assert_memory_equal(out, okm, len);
    }
    assert_int_equal(i, 3);
}

static void test_x25519(void **state)
{
    size_t i;
    json_t *c;
    json_array_foreach(json_object_get(*state, "x25519"), i, c)
    {
        uint8_t private_bytes[32], peer[32], expected[32], share[32], secret[32];
        EVP_PKEY *key = NULL;
        (void)vectors_bytes(c, "private", private_bytes, 32);
        (void)vectors_bytes(c, "peer", peer, 32);
        (void)vectors_bytes(c, "secret", expected, 32);
        assert_int_equal(x25519_new(private_bytes, &key, share), OK);
        if (json_object_get(c, "public") != NULL) {
            uint8_t public_key[32];
            (void)vectors_bytes(c, "public", public_key, 32);
            assert_memory_equal(share, public_key, 32);
        }
        assert_int_equal(x25519_derive(key, peer, secret), OK);
        assert_memory_equal(secret, expected, 32);
        EVP_PKEY_free(key);
    }
    assert_int_equal(i, 4);
}

/* Points of small order (RFC 7748 section 6.1): the result would be zero for any private key. */
static void test_x25519_small_order(void **state)
{
    static const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    uint8_t private_bytes[32], share[32], secret[32] = {9}, peer[32];
    EVP_PKEY *key = NULL;
    (void)state;
    assert_int_equal(random_draw(NULL, private_bytes, 32), OK);
    assert_int_equal(x25519_new(private_bytes, &key, share), OK);
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        (void)hex_bytes(points[i], peer, 32);
        assert_int_equal(x25519_derive(key, peer, secret), ERR_AUTH);
        assert_int_equal(secret[0], 9);
    }
    EVP_PKEY_free(key);
}

static void test_gcm(void **state)
{
    size_t i;
    json_t *c;
    json_array_foreach(json_object_get(*state, "gcm"), i, c)
    {
        uint8_t key[32], iv[12], aad[64], plain[128], sealed[144], out[144];
        (void)vectors_bytes(c, "key", key, 32);
        (void)vectors_bytes(c, "iv", iv, 12);
        size_t aad_len = vectors_bytes(c, "aad", aad, sizeof aad),
               len = vectors_bytes(c, "plain", plain, sizeof plain);
        assert_int_equal(vectors_bytes(c, "sealed", sealed, sizeof sealed), len + AEAD_TAG);
        assert_int_equal(aead_seal(key, iv, 0, aad, aad_len, plain, len, out), OK);
        assert_memory_equal(out, sealed, len + AEAD_TAG);
        assert_int_equal(aead_open(key, iv, 0, aad, aad_len, sealed, len + AEAD_TAG, out), OK);
        assert_memory_equal(out, plain, len);
        memcpy(out, plain, len);
        assert_int_equal(aead_seal(key, iv, 0, aad, aad_len, out, len, out), OK); /* in place */
        assert_memory_equal(out, sealed, len + AEAD_TAG);
        for (size_t bit = 0; bit < (len + AEAD_TAG) * 8; bit++) {
            sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_equal(aead_open(key, iv, 0, aad, aad_len, sealed, len + AEAD_TAG, out), ERR_AUTH);
            sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        assert_int_equal(aead_open(key, iv, 1, aad, aad_len, sealed, len + AEAD_TAG, out), ERR_AUTH);
        assert_int_equal(aead_open(key, iv, 0, aad, aad_len, sealed, AEAD_TAG - 1, out), ERR_AUTH);
    }
    assert_int_equal(i, 3);
}

static void test_ed25519(void **state)
{
    json_t *c = json_array_get(json_object_get(*state, "ed25519"), 0);
    uint8_t seed[32], public_key[32], derived[32], signature[64], framed[64], input[64 + 32 + 1 + 32];
    uint8_t hash[32] = {1, 2, 3};
    size_t len = 32, n = 0;
    (void)vectors_bytes(c, "seed", seed, 32);
    (void)vectors_bytes(c, "public", public_key, 32);
    (void)vectors_bytes(c, "signature", signature, 64);
    EVP_PKEY *key = ed25519_key(seed);
    assert_int_equal(EVP_PKEY_get_raw_public_key(key, derived, &len), 1);
    assert_memory_equal(derived, public_key, 32);

    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    len = sizeof framed;
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, NULL, NULL, key), 1);
    assert_int_equal(EVP_DigestSign(ctx, framed, &len, (const uint8_t *)"", 0), 1);
    assert_memory_equal(framed, signature, 64); /* the library itself */

    assert_int_equal(ed25519_sign(key, "some label", hash, framed), OK);
    memset(input, ' ', 64);
    memcpy(input + 64, "some label", 11); /* with its NUL */
    memcpy(input + 75, hash, 32);
    n = 107;
    EVP_MD_CTX_reset(ctx);
    assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key), 1);
    assert_int_equal(EVP_DigestVerify(ctx, framed, 64, input, n), 1);
    EVP_MD_CTX_free(ctx);

    assert_int_equal(ed25519_verify(public_key, "some label", hash, framed), OK);
    assert_int_equal(ed25519_verify(public_key, "some labels", hash, framed), ERR_AUTH);
    hash[31] ^= 1;
    assert_int_equal(ed25519_verify(public_key, "some label", hash, framed), ERR_AUTH);
    hash[31] ^= 1;
    for (unsigned i = 0; i < 64; i++) {
        framed[i] ^= 0x40;
        assert_int_equal(ed25519_verify(public_key, "some label", hash, framed), ERR_AUTH);
        framed[i] ^= 0x40;
    }
    EVP_PKEY_free(key);
}

static void test_rsa(void **state)
{
    uint8_t hash[32] = {5}, label[32] = {6}, other[32] = {7}, secret[32], out[32], buf[RSA_MODULUS_MAX];
    size_t len = sizeof buf;
    EVP_PKEY *key = vectors_client_key();
    (void)state;
    assert_int_equal(pss_sign(key, "label", hash, buf, &len), OK);
    assert_int_equal(len, 256);
    assert_int_equal(pss_verify(key, "label", hash, buf, len), OK);
    assert_int_equal(pss_verify(key, "lable", hash, buf, len), ERR_AUTH);
    assert_int_equal(pss_verify(key, "label", other, buf, len), ERR_AUTH);
    assert_int_equal(pss_verify(key, "label", hash, buf, len - 1), ERR_AUTH);
    assert_int_equal(pss_verify(key, "label", hash, buf, 0), ERR_AUTH);
    buf[100] ^= 1;
    assert_int_equal(pss_verify(key, "label", hash, buf, len), ERR_AUTH);

    assert_int_equal(random_draw(NULL, secret, sizeof secret), OK);
    len = sizeof buf;
    assert_int_equal(oaep_wrap(key, label, secret, buf, &len), OK);
    assert_int_equal(len, 256);
    assert_int_equal(oaep_unwrap(key, other, buf, len, out), ERR_AUTH);
    assert_int_equal(oaep_unwrap(key, label, buf, len - 1, out), ERR_AUTH);
    assert_int_equal(oaep_unwrap(key, label, buf, 0, out), ERR_AUTH);
    assert_int_equal(oaep_unwrap(key, label, buf, len, out), OK);
    assert_memory_equal(out, secret, 32);
    len = 255;
    assert_int_equal(oaep_wrap(key, label, secret, buf, &len), ERR_CRYPTO); /* no room */
    EVP_PKEY_free(key);
}

static void test_pairing_code(void **state)
{
    uint8_t server[32] = {0}, client[32] = {0};
    char one[PAIRING_CODE_TEXT + 1], other[PAIRING_CODE_TEXT + 1];
    (void)state;
    client[31] = 1;
    assert_int_equal(pairing_code(server, client, one), OK);
    assert_int_equal(pairing_code(client, server, other), OK);
    assert_string_not_equal(one, other); /* the sides are not interchangeable */
    assert_int_equal(strspn(one, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567-"), PAIRING_CODE_TEXT);
    assert_int_equal(strlen(one), PAIRING_CODE_TEXT);
    assert_true(one[4] == '-' && one[9] == '-' && one[14] == '-');
}

static void test_random(void **state)
{
    uint8_t a[64] = {0}, b[64] = {0};
    (void)state;
    assert_int_equal(random_draw(NULL, a, sizeof a), OK);
    assert_int_equal(random_draw(NULL, b, sizeof b), OK);
    assert_memory_not_equal(a, b, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hkdf),
        cmocka_unit_test(test_x25519),
        cmocka_unit_test(test_x25519_small_order),
        cmocka_unit_test(test_gcm),
        cmocka_unit_test(test_ed25519),
        cmocka_unit_test(test_rsa),
        cmocka_unit_test(test_pairing_code),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
