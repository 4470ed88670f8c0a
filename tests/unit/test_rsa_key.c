/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which RSA keys are accepted: the template against OpenSSL's own encoder, every changed byte of the fixed
 * parts, and moduli with known weaknesses.
 */
#include "tests/unit/crypto_support.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

static int setup(void **state)
{
    (void)state;
    return primitives_open() == OK ? 0 : -1;
}

/* The canonical DER around a modulus. */
static size_t spki_of_modulus(const BIGNUM *n, uint8_t out[RSA_SPKI_MAX])
{
    EVP_PKEY *key = vectors_client_key();
    size_t len = RSA_SPKI_MAX;
    assert_int_equal(rsa_spki_write(key, out, &len), OK);
    EVP_PKEY_free(key);
    assert_int_equal(BN_bn2binpad(n, out + 33, 256), 256);
    return len;
}

static void test_sizes(void **state)
{
    static const struct {
        unsigned bits;
        bool allowed;
    } cases[] = {{1024, false}, {2048, true}, {2056, false}, {3072, true}, {4096, true}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        EVP_PKEY *key = EVP_RSA_gen(cases[i].bits);
        uint8_t der[RSA_SPKI_MAX], ours[RSA_SPKI_MAX], *at = der;
        size_t len = sizeof ours;
        const char *why = NULL;
        struct rsa_public read = {0};
        assert_non_null(key);
        int n = i2d_PUBKEY(key, NULL);
        assert_true(n > 0 && n <= (int)sizeof der);
        assert_int_equal(i2d_PUBKEY(key, &at), n);
        assert_int_equal(rsa_spki_write(key, ours, &len), cases[i].allowed ? OK : ERR_FORMAT);
        assert_int_equal(rsa_public_read(der, (size_t)n, &read, &why), cases[i].allowed ? OK : ERR_FORMAT);
        if (cases[i].allowed) {
            assert_int_equal(len, n);
            assert_memory_equal(ours, der, len);
            assert_int_equal(read.bits, cases[i].bits);
            assert_int_equal(EVP_PKEY_eq(read.key, key), 1);
            assert_int_equal(rsa_public_check_fully(&read, der, len, &why), OK);
            assert_int_equal(rsa_public_check_fully(&read, der, len, &why), OK); /* remembered */
        } else {
            assert_non_null(why);
        }
        rsa_public_clear(&read);
        EVP_PKEY_free(key);
    }
}

static void test_every_other_encoding(void **state)
{
    uint8_t der[RSA_SPKI_MAX];
    size_t len = sizeof der;
    struct rsa_public read;
    const char *why;
    EVP_PKEY *key = vectors_client_key();
    (void)state;
    assert_int_equal(rsa_spki_write(key, der, &len), OK);
    for (size_t i = 0; i < len; i++) {
        if (i >= 33 && i < 33 + 256)
            continue; /* the modulus */
        for (unsigned bit = 0; bit < 8; bit++) {
            der[i] ^= (uint8_t)(1u << bit);
            assert_int_equal(rsa_public_read(der, len, &read, &why), ERR_FORMAT);
            der[i] ^= (uint8_t)(1u << bit);
        }
    }
    for (size_t n = 0; n < len; n++)
        assert_int_equal(rsa_public_read(der, n, &read, &why), ERR_FORMAT);
    der[33] &= 0x7f; /* 2047 bits */
    assert_int_equal(rsa_public_read(der, len, &read, &why), ERR_FORMAT);
    der[33] |= 0x80;
    der[288] &= 0xfe;
    assert_int_equal(rsa_public_read(der, len, &read, &why), ERR_FORMAT);
    assert_non_null(strstr(why, "even"));
    EVP_PKEY_free(key);
}

static void expect_weak(const BIGNUM *n, const char *word)
{
    uint8_t der[RSA_SPKI_MAX];
    size_t len = spki_of_modulus(n, der);
    struct rsa_public read = {0};
    const char *why = "";

    enum status s = rsa_public_read(der, len, &read, &why);
    if (s == OK)
        s = rsa_public_check_fully(&read, der, len, &why);
    assert_int_equal(s, ERR_FORMAT);
    if (strstr(why, word) == NULL)
        fail_msg("\"%s\" does not speak of \"%s\"", why, word);
    rsa_public_clear(&read);
}

/* A prime of 1024 bits at or above p. */
static void next_prime(BIGNUM *p, BN_CTX *ctx)
{
    while (BN_check_prime(p, ctx, NULL) != 1)
        assert_int_equal(BN_add_word(p, 2), 1);
}

static void test_small_factors(void **state)
{
    static const BN_ULONG factors[] = {3, 5, 7, 97, 101, 751, 757, 4999, 9967, 9973};
    BIGNUM *n = BN_new();
    (void)state;
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
        /* A multiple of the factor without any smaller one would need luck; any small factor will do. */
        assert_int_equal(BN_rand(n, 2048, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD), 1);
        BN_ULONG rest = BN_mod_word(n, factors[i]);
        if (rest % 2 == 1)
            rest += factors[i]; /* stay odd */
        assert_int_equal(BN_sub_word(n, rest), 1);
        if (BN_num_bits(n) == 2048)
            expect_weak(n, "small factor");
    }
    BN_free(n);
}

static void test_close_primes(void **state)
{
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *p = BN_new(), *q = BN_new(), *n = BN_new();
    (void)state;
    assert_int_equal(BN_rand(p, 1024, BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ODD), 1);
    next_prime(p, ctx);
    /* Equal; neighbours; as far apart as some rounds of Fermat still reach: (p - q) about 2^515. */
    assert_int_equal(BN_sqr(n, p, ctx), 1);
    expect_weak(n, "R"); /* a square is refused by one check or another */
    for (unsigned shift = 0; shift <= 514; shift += 257) {
        assert_non_null(BN_copy(q, p));
        assert_int_equal(BN_one(n), 1);
        assert_int_equal(BN_lshift(n, n, (int)shift), 1);
        assert_int_equal(BN_add(q, q, n), 1);
        assert_int_equal(BN_add_word(q, shift == 0 ? 1 : 0), 1);
        next_prime(q, ctx);
        assert_int_equal(BN_mul(n, p, q, ctx), 1);
        expect_weak(n, "close");
    }
    BN_free(p);
    BN_free(q);
    BN_free(n);
    BN_CTX_free(ctx);
}

static void test_prime_modulus(void **state)
{
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *n = BN_new();
    (void)state;
    assert_int_equal(BN_generate_prime_ex(n, 2048, 0, NULL, NULL, NULL), 1);
    expect_weak(n, "primes");
    BN_free(n);
    BN_CTX_free(ctx);
}

/* More keys than are remembered: the oldest are checked again, nothing is confused. */
static void test_memory_of_passed_keys(void **state)
{
    EVP_PKEY *key = vectors_client_key();
    uint8_t der[RSA_SPKI_MAX];
    size_t len = sizeof der;
    struct rsa_public read = {0};
    const char *why;
    (void)state;
    assert_int_equal(rsa_spki_write(key, der, &len), OK);
    assert_int_equal(rsa_public_read(der, len, &read, &why), OK);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(rsa_public_check_fully(&read, der, len, &why), OK);
    der[200] ^= 2; /* another modulus: its own fingerprint, its own check */
    rsa_public_clear(&read);
    if (rsa_public_read(der, len, &read, &why) == OK) {
        /* A random odd number passes as composite; what matters is that the check ran on it, not on the
         * other. */
        (void)rsa_public_check_fully(&read, der, len, &why);
        rsa_public_clear(&read);
    }
    EVP_PKEY_free(key);
}

static void test_ed25519_fingerprint(void **state)
{
    static const uint8_t seed[32] = {1};
    EVP_PKEY *key = ed25519_key(seed);
    uint8_t public_key[32], ours[32], theirs[32], der[64], *at = der;
    size_t len = 32;
    (void)state;
    assert_int_equal(EVP_PKEY_get_raw_public_key(key, public_key, &len), 1);
    assert_int_equal(ed25519_fingerprint(public_key, ours), OK);
    int n = i2d_PUBKEY(key, &at);
    assert_int_equal(n, 44);
    assert_int_equal(spki_fingerprint(der, 44, theirs), OK);
    assert_memory_equal(ours, theirs, 32);
    EVP_PKEY_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_every_other_encoding),
        cmocka_unit_test(test_small_factors),
        cmocka_unit_test(test_close_primes),
        cmocka_unit_test(test_prime_modulus),
        cmocka_unit_test(test_memory_of_passed_keys),
        cmocka_unit_test(test_ed25519_fingerprint),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
