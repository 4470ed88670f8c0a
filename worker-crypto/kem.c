/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ML-KEM-768 over OpenSSL's provider. The only file with a condition on the library's version, so that the
 * state machines are the same code everywhere.
 */

#include "worker-crypto/kem.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/opensslv.h>
#include <openssl/params.h>

#if OPENSSL_VERSION_NUMBER >= 0x30500000L

#define KEM_NAME "ML-KEM-768"

bool kem_available(void)
{
    static int known = -1; /* asking the providers costs more than a handshake */

    if (known < 0) {
        EVP_KEM *kem = EVP_KEM_fetch(NULL, KEM_NAME, NULL);
        EVP_KEYMGMT *keys = EVP_KEYMGMT_fetch(NULL, KEM_NAME, NULL);
        known = kem != NULL && keys != NULL;
        EVP_KEM_free(kem);
        EVP_KEYMGMT_free(keys);
    }
    return known == 1;
}

enum status kem_new(const uint8_t seed[KEM_SEED], EVP_PKEY **key, uint8_t public_key[KEM_PUBLIC])
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_ML_KEM_SEED, (void *)(uintptr_t)seed, KEM_SEED),
        OSSL_PARAM_END,
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, KEM_NAME, NULL);
    EVP_PKEY *fresh = NULL;
    size_t len = KEM_PUBLIC;

    bool done = ctx != NULL && EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_CTX_set_params(ctx, params) == 1 &&
                EVP_PKEY_generate(ctx, &fresh) == 1 &&
                EVP_PKEY_get_raw_public_key(fresh, public_key, &len) == 1 && len == KEM_PUBLIC;
    EVP_PKEY_CTX_free(ctx);
    if (!done) {
        EVP_PKEY_free(fresh);
        return ERR_CRYPTO;
    }
    *key = fresh;
    return OK;
}

enum status kem_encapsulate(const uint8_t public_key[KEM_PUBLIC], const uint8_t entropy[KEM_ENTROPY],
                            uint8_t ciphertext[KEM_CIPHERTEXT], uint8_t secret[KEM_SECRET])
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_KEM_PARAM_IKME, (void *)(uintptr_t)entropy, KEM_ENTROPY),
        OSSL_PARAM_END,
    };
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key_ex(NULL, KEM_NAME, NULL, public_key, KEM_PUBLIC);
    EVP_PKEY_CTX *ctx = key != NULL ? EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL) : NULL;
    size_t ciphertext_len = KEM_CIPHERTEXT, secret_len = KEM_SECRET;

    bool done = ctx != NULL && EVP_PKEY_encapsulate_init(ctx, params) == 1 &&
                EVP_PKEY_encapsulate(ctx, ciphertext, &ciphertext_len, secret, &secret_len) == 1 &&
                ciphertext_len == KEM_CIPHERTEXT && secret_len == KEM_SECRET;
    enum status result = done ? OK : key == NULL ? ERR_AUTH : ERR_CRYPTO;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    return result;
}

enum status kem_decapsulate(EVP_PKEY *key, const uint8_t ciphertext[KEM_CIPHERTEXT],
                            uint8_t secret[KEM_SECRET])
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    size_t len = KEM_SECRET;

    bool done = ctx != NULL && EVP_PKEY_decapsulate_init(ctx, NULL) == 1 &&
                EVP_PKEY_decapsulate(ctx, secret, &len, ciphertext, KEM_CIPHERTEXT) == 1 && len == KEM_SECRET;
    EVP_PKEY_CTX_free(ctx);
    return done ? OK : ERR_CRYPTO;
}

#else

bool kem_available(void)
{
    return false;
}

enum status kem_new(const uint8_t seed[KEM_SEED], EVP_PKEY **key, uint8_t public_key[KEM_PUBLIC])
{
    (void)seed;
    (void)key;
    (void)public_key;
    return ERR_UNSUPPORTED;
}

enum status kem_encapsulate(const uint8_t public_key[KEM_PUBLIC], const uint8_t entropy[KEM_ENTROPY],
                            uint8_t ciphertext[KEM_CIPHERTEXT], uint8_t secret[KEM_SECRET])
{
    (void)public_key;
    (void)entropy;
    (void)ciphertext;
    (void)secret;
    return ERR_UNSUPPORTED;
}

enum status kem_decapsulate(EVP_PKEY *key, const uint8_t ciphertext[KEM_CIPHERTEXT],
                            uint8_t secret[KEM_SECRET])
{
    (void)key;
    (void)ciphertext;
    (void)secret;
    return ERR_UNSUPPORTED;
}

#endif
