/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See rsa_key.h. The SubjectPublicKeyInfo of an acceptable key is fixed but for the modulus (RFC 8017
 * appendix A.1, RFC 5280), so it is compared with a template instead of being parsed: no ASN.1 decoder meets
 * a stranger's bytes.
 */
#include "worker-crypto/rsa_key.h"

#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>

#include "worker-crypto/algorithms.h"

#define EXPONENT 65537u
#define SMALL_PRIMES_BELOW 10000u
#define FERMAT_ROUNDS 64u

/* What stands before the modulus, with its sizes; and what stands behind it. */
#define TEMPLATE_HEAD 33u
#define TEMPLATE_TAIL 5u
static const uint8_t template_tail[TEMPLATE_TAIL] = {0x02, 0x03, 0x01, 0x00, 0x01};

bool rsa_bits_allowed(unsigned bits)
{
    return bits == 2048 || bits == 3072 || bits == 4096;
}

/* SEQUENCE { SEQUENCE { rsaEncryption, NULL }, BIT STRING { SEQUENCE { INTEGER 00 … */
static void template_head(size_t modulus, uint8_t out[TEMPLATE_HEAD])
{
    static const uint8_t algorithm[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                                        0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};
    size_t integer = modulus + 1, sequence = 4 + integer + TEMPLATE_TAIL, bits = 1 + 4 + sequence;
    size_t all = sizeof algorithm + 4 + bits;
    const uint8_t head[TEMPLATE_HEAD - sizeof algorithm] = {
        0x30,
        0x82,
        (uint8_t)(all >> 8),
        (uint8_t)all,
        0x03,
        0x82,
        (uint8_t)(bits >> 8),
        (uint8_t)bits,
        0x00,
        0x30,
        0x82,
        (uint8_t)(sequence >> 8),
        (uint8_t)sequence,
        0x02,
        0x82,
        (uint8_t)(integer >> 8),
        (uint8_t)integer,
        0x00,
    };

    memcpy(out, head, 4);
    memcpy(out + 4, algorithm, sizeof algorithm);
    memcpy(out + 4 + sizeof algorithm, head + 4, sizeof head - 4);
}

/* The modulus' size in bytes when the DER fits a template, else 0. */
static size_t spki_modulus(const uint8_t *spki, size_t len)
{
    uint8_t head[TEMPLATE_HEAD];

    if (len <= TEMPLATE_HEAD + TEMPLATE_TAIL)
        return 0;
    size_t modulus = len - TEMPLATE_HEAD - TEMPLATE_TAIL;
    if (modulus > RSA_MODULUS_MAX || !rsa_bits_allowed((unsigned)modulus * 8))
        return 0;
    template_head(modulus, head);
    if (memcmp(spki, head, TEMPLATE_HEAD) != 0 ||
        memcmp(spki + TEMPLATE_HEAD + modulus, template_tail, TEMPLATE_TAIL) != 0)
        return 0;
    return modulus;
}

/* Divides by every prime below the limit, several at once: the remainder of a product tells about its
 * factors. */
static bool has_small_factor(const BIGNUM *n)
{
    static bool composite[SMALL_PRIMES_BELOW];
    static BN_ULONG products[800];
    static unsigned n_products;

    if (n_products == 0) {
        BN_ULONG product = 1;
        for (unsigned p = 2; p < SMALL_PRIMES_BELOW; p++) {
            if (composite[p])
                continue;
            for (unsigned m = p * p; p < 100 && m < SMALL_PRIMES_BELOW; m += p)
                composite[m] = true;
            if (product > (BN_ULONG)-1 / p) {
                products[n_products++] = product;
                product = 1;
            }
            product *= p;
        }
        products[n_products++] = product;
    }
    for (unsigned i = 0; i < n_products; i++) {
        BN_ULONG a = products[i], b = BN_mod_word(n, products[i]);
        while (b != 0) { /* their greatest common divisor */
            BN_ULONG rest = a % b;
            a = b;
            b = rest;
        }
        if (a != 1)
            return true;
    }
    return false;
}

static EVP_PKEY *key_from_modulus(BIGNUM *n)
{
    BIGNUM *e = BN_new();
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *key = NULL;

    if (e != NULL && builder != NULL && ctx != NULL && BN_set_word(e, EXPONENT) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        params = OSSL_PARAM_BLD_to_param(builder);
    if (params != NULL && EVP_PKEY_fromdata_init(ctx) == 1)
        (void)EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    EVP_PKEY_CTX_free(ctx);
    BN_free(e);
    return key;
}

enum status rsa_public_read(const uint8_t *spki, size_t len, struct rsa_public *out, const char **why)
{
    struct rsa_public fresh = {0};
    size_t modulus = spki_modulus(spki, len);

    *why = "not a canonical RSA key of 2048, 3072 or 4096 bits with exponent 65537";
    if (modulus == 0 || spki[TEMPLATE_HEAD] < 0x80)
        return ERR_FORMAT;
    if ((spki[TEMPLATE_HEAD + modulus - 1] & 1) == 0) {
        *why = "RSA modulus is even";
        return ERR_FORMAT;
    }
    BIGNUM *n = BN_bin2bn(spki + TEMPLATE_HEAD, (int)modulus, NULL);
    enum status result = n != NULL ? OK : ERR_NOMEM;
    if (result == OK && has_small_factor(n)) {
        *why = "RSA modulus has a small factor";
        result = ERR_FORMAT;
    }
    if (result == OK)
        result = spki_fingerprint(spki, len, fresh.fingerprint);
    if (result == OK) {
        fresh.bits = (unsigned)modulus * 8;
        fresh.key = key_from_modulus(n);
        if (fresh.key == NULL)
            result = ERR_CRYPTO;
    }
    BN_free(n);
    if (result == OK)
        *out = fresh;
    return result;
}

void rsa_public_clear(struct rsa_public *key)
{
    EVP_PKEY_free(key->key);
    *key = (struct rsa_public){0};
}

enum status rsa_spki_write(EVP_PKEY *key, uint8_t *out, size_t *len)
{
    unsigned char *at = out;
    int needed = i2d_PUBKEY(key, NULL);

    if (needed <= 0)
        return ERR_FORMAT;
    if ((size_t)needed > *len)
        return ERR_SIZE;
    needed = i2d_PUBKEY(key, &at);
    if (needed <= 0 || spki_modulus(out, (size_t)needed) == 0)
        return ERR_FORMAT;
    *len = (size_t)needed;
    return OK;
}

enum status spki_fingerprint(const uint8_t *spki, size_t len, uint8_t out[HASH_BYTES])
{
    const struct span spans[] = {{spki, len}};
    return hash_spans(spans, 1, out);
}

enum status ed25519_fingerprint(const uint8_t public_key[ED25519_PUBLIC], uint8_t out[HASH_BYTES])
{
    static const uint8_t head[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
    const struct span spans[] = {{head, sizeof head}, {public_key, ED25519_PUBLIC}};
    return hash_spans(spans, 2, out);
}

/* ---- the dear checks ---- */

/* r = floor(sqrt(n)) by Newton's method, from above. */
static bool integer_root(BIGNUM *r, const BIGNUM *n, BN_CTX *ctx)
{
    BN_CTX_start(ctx);
    BIGNUM *next = BN_CTX_get(ctx);
    bool done = next != NULL && BN_one(r) == 1 && BN_lshift(r, r, (BN_num_bits(n) + 1) / 2) == 1;

    while (done) {
        done =
            BN_div(next, NULL, n, r, ctx) == 1 && BN_add(next, next, r) == 1 && BN_rshift1(next, next) == 1;
        if (!done || BN_cmp(next, r) >= 0)
            break;
        done = BN_copy(r, next) != NULL;
    }
    BN_CTX_end(ctx);
    return done;
}

/* Most numbers that are no squares show it in their remainder: this lets about one in 40 through. */
static bool may_be_square(const BIGNUM *v)
{
    static const unsigned moduli[] = {64, 63, 65, 11};
    for (unsigned i = 0; i < sizeof moduli / sizeof moduli[0]; i++) {
        unsigned m = moduli[i], rest = (unsigned)BN_mod_word(v, m), root = 0;
        while (root < m && root * root % m != rest)
            root++;
        if (root == m)
            return false;
    }
    return true;
}

/* Fermat: n = a² - b² with a just above sqrt(n) when its primes are close. *found: it was factored. */
static bool fermat(const BIGNUM *n, BN_CTX *ctx, bool *found)
{
    BN_CTX_start(ctx);
    BIGNUM *a = BN_CTX_get(ctx), *rest = BN_CTX_get(ctx), *root = BN_CTX_get(ctx), *square = BN_CTX_get(ctx);
    bool done = square != NULL && integer_root(a, n, ctx);

    *found = false;
    if (done && BN_sqr(square, a, ctx) == 1 && BN_cmp(square, n) == 0)
        *found = true;
    for (unsigned i = 0; i < FERMAT_ROUNDS && done && !*found; i++) {
        done = BN_add_word(a, 1) == 1 && BN_sqr(rest, a, ctx) == 1 && BN_sub(rest, rest, n) == 1;
        if (!done || !may_be_square(rest))
            continue;
        done = integer_root(root, rest, ctx) && BN_sqr(square, root, ctx) == 1;
        *found = done && BN_cmp(square, rest) == 0;
    }
    BN_CTX_end(ctx);
    return done;
}

static bool primes_are_close(EVP_PKEY *key)
{
    BIGNUM *n = NULL;
    BN_CTX *ctx = BN_CTX_new();
    bool found = true;

    if (ctx == NULL || EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n) != 1 || !fermat(n, ctx, &found))
        found = true; /* fail closed */
    BN_free(n);
    BN_CTX_free(ctx);
    return found;
}

static uint8_t passed[RSA_PASSED_MAX][HASH_BYTES];
static unsigned passed_next, passed_count;

static bool passed_find(const uint8_t fingerprint[HASH_BYTES])
{
    for (unsigned i = 0; i < passed_count; i++) {
        if (memcmp(passed[i], fingerprint, HASH_BYTES) == 0)
            return true;
    }
    return false;
}

static bool encodes_the_same(EVP_PKEY *key, const uint8_t *spki, size_t len)
{
    uint8_t again[RSA_SPKI_MAX];
    size_t again_len = sizeof again;

    return rsa_spki_write(key, again, &again_len) == OK && again_len == len && memcmp(again, spki, len) == 0;
}

enum status rsa_public_check_fully(const struct rsa_public *key, const uint8_t *spki, size_t len,
                                   const char **why)
{
    if (passed_find(key->fingerprint))
        return OK;
    if (!encodes_the_same(key->key, spki, len)) {
        *why = "RSA key is not canonical";
        return ERR_FORMAT;
    }
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->key, NULL);
    bool valid = ctx != NULL && EVP_PKEY_public_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    if (!valid) {
        *why = "RSA modulus is not a product of two primes";
        return ERR_FORMAT;
    }
    if (primes_are_close(key->key)) {
        *why = "RSA primes are too close together";
        return ERR_FORMAT;
    }
    memcpy(passed[passed_next], key->fingerprint, HASH_BYTES);
    passed_next = (passed_next + 1) % RSA_PASSED_MAX;
    if (passed_count < RSA_PASSED_MAX)
        passed_count++;
    return OK;
}
