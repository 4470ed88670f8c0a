/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Symmetric operations: hash, HMAC, HKDF, AES-256-GCM, random bytes, and the table of algorithms that were
 * looked up. Must not take a decision: a wrong tag is ERR_AUTH and nothing more is said.
 */
#include "worker-crypto/primitives.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include "worker-crypto/algorithms.h"

#define SECURE_HEAP_BYTES (512u << 10)
#define SECURE_HEAP_SMALLEST 32u

struct algorithms algorithms;

enum status primitives_open(void)
{
    if (algorithms.ready)
        return OK;
    /* The library's configuration file could load foreign providers into the process that holds the keys. */
    if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
        return ERR_UNSUPPORTED;
    /* Locked and left out of core dumps, when the limits allow; private keys land there by themselves. */
    (void)CRYPTO_secure_malloc_init(SECURE_HEAP_BYTES, SECURE_HEAP_SMALLEST);

    algorithms.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    algorithms.aes256gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    algorithms.cipher = EVP_CIPHER_CTX_new();
    algorithms.digest = EVP_MD_CTX_new();
    algorithms.hmac = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
    algorithms.hkdf = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    EVP_MAC_free(mac); /* the contexts hold their own references */
    EVP_KDF_free(kdf);
    if (algorithms.sha256 == NULL || algorithms.aes256gcm == NULL || algorithms.cipher == NULL ||
        algorithms.digest == NULL || algorithms.hmac == NULL || algorithms.hkdf == NULL) {
        primitives_close();
        return ERR_UNSUPPORTED;
    }
    algorithms.ready = true;
    return OK;
}

void primitives_close(void)
{
    EVP_KDF_CTX_free(algorithms.hkdf);
    EVP_MAC_CTX_free(algorithms.hmac);
    EVP_MD_CTX_free(algorithms.digest);
    EVP_CIPHER_CTX_free(algorithms.cipher);
    EVP_CIPHER_free(algorithms.aes256gcm);
    EVP_MD_free(algorithms.sha256);
    algorithms = (struct algorithms){0};
}

enum status random_draw(void *unused, uint8_t *out, size_t len)
{
    (void)unused;
    return len <= INT32_MAX && RAND_priv_bytes(out, (int)len) == 1 ? OK : ERR_CRYPTO;
}

enum status hash_spans(const struct span *spans, size_t n, uint8_t out[HASH_BYTES])
{
    uint8_t digest[HASH_BYTES];

    if (EVP_DigestInit_ex2(algorithms.digest, algorithms.sha256, NULL) != 1)
        return ERR_CRYPTO;
    for (size_t i = 0; i < n; i++) {
        if (EVP_DigestUpdate(algorithms.digest, spans[i].data, spans[i].len) != 1)
            return ERR_CRYPTO;
    }
    if (EVP_DigestFinal_ex(algorithms.digest, digest, NULL) != 1)
        return ERR_CRYPTO;
    memcpy(out, digest, sizeof digest);
    return OK;
}

enum status hmac_sha256(const uint8_t key[HASH_BYTES], const void *data, size_t len, uint8_t out[HASH_BYTES])
{
    char name[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0), OSSL_PARAM_END};
    size_t written = 0;

    if (EVP_MAC_init(algorithms.hmac, key, HASH_BYTES, params) != 1 ||
        EVP_MAC_update(algorithms.hmac, data, len) != 1 ||
        EVP_MAC_final(algorithms.hmac, out, &written, HASH_BYTES) != 1 || written != HASH_BYTES)
        return ERR_CRYPTO;
    return OK;
}

/* One run of the library's HKDF in the given mode; a salt for extracting, info for expanding. */
static enum status hkdf_run(int mode, const uint8_t *key, size_t key_len, const char *extra_name,
                            const uint8_t *extra, size_t extra_len, uint8_t *out, size_t len)
{
    char name[] = "SHA256";
    uint8_t none = 0;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, name, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)(key_len > 0 ? key : &none),
                                          key_len),
        extra_len > 0 ? OSSL_PARAM_construct_octet_string(extra_name, (void *)(uintptr_t)extra, extra_len)
                      : OSSL_PARAM_construct_end(),
        OSSL_PARAM_END,
    };

    EVP_KDF_CTX_reset(algorithms.hkdf);
    int done = EVP_KDF_derive(algorithms.hkdf, out, len, params);
    EVP_KDF_CTX_reset(algorithms.hkdf); /* it would keep the key */
    return done == 1 ? OK : ERR_CRYPTO;
}

enum status hkdf_extract(const uint8_t *salt, size_t salt_len, const uint8_t *ikm, size_t ikm_len,
                         uint8_t out[HASH_BYTES])
{
    return hkdf_run(EVP_KDF_HKDF_MODE_EXTRACT_ONLY, ikm, ikm_len, OSSL_KDF_PARAM_SALT, salt, salt_len, out,
                    HASH_BYTES);
}

enum status hkdf_expand(const uint8_t *prk, size_t prk_len, const uint8_t *info, size_t info_len,
                        uint8_t *out, size_t len)
{
    return hkdf_run(EVP_KDF_HKDF_MODE_EXPAND_ONLY, prk, prk_len, OSSL_KDF_PARAM_INFO, info, info_len, out,
                    len);
}

/* iv XOR sequence, the sequence big-endian in the last 8 bytes. */
static void nonce_make(const uint8_t iv[AEAD_IV], uint64_t sequence, uint8_t nonce[AEAD_IV])
{
    memcpy(nonce, iv, AEAD_IV);
    for (unsigned i = 0; i < 8; i++)
        nonce[AEAD_IV - 1 - i] ^= (uint8_t)(sequence >> (8 * i));
}

static bool length_fits(size_t len)
{
    return len <= INT32_MAX - AEAD_TAG;
}

enum status aead_seal(const uint8_t key[AEAD_KEY], const uint8_t iv[AEAD_IV], uint64_t sequence,
                      const void *aad, size_t aad_len, const uint8_t *in, size_t len, uint8_t *out)
{
    EVP_CIPHER_CTX *c = algorithms.cipher;
    uint8_t nonce[AEAD_IV];
    int n, rest;

    if (!length_fits(len) || !length_fits(aad_len))
        return ERR_SIZE;
    nonce_make(iv, sequence, nonce);
    bool done = EVP_EncryptInit_ex2(c, algorithms.aes256gcm, key, nonce, NULL) == 1 &&
                EVP_EncryptUpdate(c, NULL, &n, aad, (int)aad_len) == 1 &&
                (len == 0 || EVP_EncryptUpdate(c, out, &n, in, (int)len) == 1) &&
                EVP_EncryptFinal_ex(c, out + len, &rest) == 1 &&
                EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG, out + len) == 1;
    EVP_CIPHER_CTX_reset(c);
    return done ? OK : ERR_CRYPTO;
}

enum status aead_open(const uint8_t key[AEAD_KEY], const uint8_t iv[AEAD_IV], uint64_t sequence,
                      const void *aad, size_t aad_len, const uint8_t *in, size_t len, uint8_t *out)
{
    EVP_CIPHER_CTX *c = algorithms.cipher;
    uint8_t nonce[AEAD_IV], tag[AEAD_TAG];
    int n, rest;

    if (len < AEAD_TAG)
        return ERR_AUTH;
    if (!length_fits(len) || !length_fits(aad_len))
        return ERR_SIZE;
    size_t plain = len - AEAD_TAG;
    memcpy(tag, in + plain, sizeof tag);
    nonce_make(iv, sequence, nonce);
    bool ready = EVP_DecryptInit_ex2(c, algorithms.aes256gcm, key, nonce, NULL) == 1 &&
                 EVP_DecryptUpdate(c, NULL, &n, aad, (int)aad_len) == 1 &&
                 (plain == 0 || EVP_DecryptUpdate(c, out, &n, in, (int)plain) == 1) &&
                 EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG, tag) == 1;
    bool genuine = ready && EVP_DecryptFinal_ex(c, out + plain, &rest) == 1;
    EVP_CIPHER_CTX_reset(c);
    if (!genuine && plain > 0)
        OPENSSL_cleanse(out, plain);
    if (!ready)
        return ERR_CRYPTO;
    return genuine ? OK : ERR_AUTH;
}
