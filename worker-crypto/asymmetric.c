/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key exchange, signatures and key wrapping of primitives.h. Every byte string that is signed is built here
 * from a label and a hash, so that nothing else can ever be signed with an identity key.
 */
#include "worker-crypto/primitives.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "worker-crypto/algorithms.h"

#define PSS_SALT 32
#define SIGN_PAD 64u
#define SIGN_INPUT_MAX (SIGN_PAD + SIGN_LABEL_MAX + 1u + HASH_BYTES)

enum status x25519_new(const uint8_t private_bytes[X25519_BYTES], EVP_PKEY **key, uint8_t share[X25519_BYTES])
{
    size_t len = X25519_BYTES;
    EVP_PKEY *fresh = EVP_PKEY_new_raw_private_key_ex(NULL, "X25519", NULL, private_bytes, X25519_BYTES);

    if (fresh == NULL)
        return ERR_CRYPTO;
    if (EVP_PKEY_get_raw_public_key(fresh, share, &len) != 1 || len != X25519_BYTES) {
        EVP_PKEY_free(fresh);
        return ERR_CRYPTO;
    }
    *key = fresh;
    return OK;
}

enum status x25519_derive(EVP_PKEY *key, const uint8_t peer[X25519_BYTES], uint8_t secret[X25519_BYTES])
{
    EVP_PKEY *other = EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, peer, X25519_BYTES);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    enum status result = ERR_CRYPTO;
    uint8_t out[X25519_BYTES];
    size_t len = sizeof out;

    if (other != NULL && ctx != NULL && EVP_PKEY_derive_init(ctx) == 1 &&
        EVP_PKEY_derive_set_peer(ctx, other) == 1) {
        /* The library refuses an all-zero result, which only a share of small order gives. */
        result = EVP_PKEY_derive(ctx, out, &len) == 1 && len == sizeof out ? OK : ERR_AUTH;
    }
    if (result == OK)
        memcpy(secret, out, sizeof out);
    OPENSSL_cleanse(out, sizeof out);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(other);
    return result;
}

/* 64 spaces | label | 0 | hash: the spaces keep it apart from anything that another protocol signs. */
static size_t sign_input(const char *label, const uint8_t hash[HASH_BYTES], uint8_t out[SIGN_INPUT_MAX])
{
    size_t len = strnlen(label, SIGN_LABEL_MAX);

    memset(out, ' ', SIGN_PAD);
    memcpy(out + SIGN_PAD, label, len);
    out[SIGN_PAD + len] = 0;
    memcpy(out + SIGN_PAD + len + 1, hash, HASH_BYTES);
    return SIGN_PAD + len + 1 + HASH_BYTES;
}

enum status ed25519_sign(EVP_PKEY *key, const char *label, const uint8_t hash[HASH_BYTES],
                         uint8_t signature[ED25519_SIGNATURE])
{
    uint8_t input[SIGN_INPUT_MAX];
    size_t input_len = sign_input(label, hash, input), len = ED25519_SIGNATURE;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    bool done = ctx != NULL && EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, key, NULL) == 1 &&
                EVP_DigestSign(ctx, signature, &len, input, input_len) == 1 && len == ED25519_SIGNATURE;
    EVP_MD_CTX_free(ctx);
    return done ? OK : ERR_CRYPTO;
}

enum status ed25519_verify(const uint8_t public_key[ED25519_PUBLIC], const char *label,
                           const uint8_t hash[HASH_BYTES], const uint8_t signature[ED25519_SIGNATURE])
{
    uint8_t input[SIGN_INPUT_MAX];
    size_t input_len = sign_input(label, hash, input);
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, public_key, ED25519_PUBLIC);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    bool genuine = key != NULL && ctx != NULL &&
                   EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, key, NULL) == 1 &&
                   EVP_DigestVerify(ctx, signature, ED25519_SIGNATURE, input, input_len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return genuine ? OK : ERR_AUTH;
}

static bool pss_configure(EVP_PKEY_CTX *ctx)
{
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, "SHA256", NULL) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, PSS_SALT) == 1; /* exactly, for verifying too */
}

enum status pss_sign(EVP_PKEY *key, const char *label, const uint8_t hash[HASH_BYTES], uint8_t *signature,
                     size_t *len)
{
    uint8_t input[SIGN_INPUT_MAX];
    size_t input_len = sign_input(label, hash, input);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *detail = NULL;

    bool done = ctx != NULL && EVP_DigestSignInit_ex(ctx, &detail, "SHA256", NULL, NULL, key, NULL) == 1 &&
                pss_configure(detail) && EVP_DigestSign(ctx, signature, len, input, input_len) == 1;
    EVP_MD_CTX_free(ctx);
    return done ? OK : ERR_CRYPTO;
}

enum status pss_verify(EVP_PKEY *key, const char *label, const uint8_t hash[HASH_BYTES],
                       const uint8_t *signature, size_t len)
{
    uint8_t input[SIGN_INPUT_MAX];
    size_t input_len = sign_input(label, hash, input);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *detail = NULL;

    bool genuine = ctx != NULL &&
                   EVP_DigestVerifyInit_ex(ctx, &detail, "SHA256", NULL, NULL, key, NULL) == 1 &&
                   pss_configure(detail) && EVP_DigestVerify(ctx, signature, len, input, input_len) == 1;
    EVP_MD_CTX_free(ctx);
    return genuine ? OK : ERR_AUTH;
}

/* Padding, hashes and label of OAEP on a context that is initialised for wrapping or unwrapping. */
static bool oaep_configure(EVP_PKEY_CTX *ctx, const uint8_t label[HASH_BYTES])
{
    uint8_t *copy = OPENSSL_memdup(label, HASH_BYTES);

    if (copy == NULL)
        return false;
    if (EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) != 1 ||
        EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, "SHA256", NULL) != 1 ||
        EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, "SHA256", NULL) != 1 ||
        EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, copy, (int)HASH_BYTES) != 1) {
        OPENSSL_free(copy);
        return false;
    }
    return true;
}

enum status oaep_wrap(EVP_PKEY *key, const uint8_t label[HASH_BYTES], const uint8_t secret[AES_KEY_BYTES],
                      uint8_t *out, size_t *len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);

    bool done = ctx != NULL && EVP_PKEY_encrypt_init(ctx) == 1 && oaep_configure(ctx, label) &&
                EVP_PKEY_encrypt(ctx, out, len, secret, AES_KEY_BYTES) == 1;
    EVP_PKEY_CTX_free(ctx);
    return done ? OK : ERR_CRYPTO;
}

enum status oaep_unwrap(EVP_PKEY *key, const uint8_t label[HASH_BYTES], const uint8_t *in, size_t len,
                        uint8_t secret[AES_KEY_BYTES])
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    uint8_t plain[RSA_MODULUS_MAX];
    size_t plain_len = sizeof plain;

    bool done = ctx != NULL && EVP_PKEY_decrypt_init(ctx) == 1 && oaep_configure(ctx, label) &&
                EVP_PKEY_decrypt(ctx, plain, &plain_len, in, len) == 1 && plain_len == AES_KEY_BYTES;
    if (done)
        memcpy(secret, plain, AES_KEY_BYTES);
    OPENSSL_cleanse(plain, sizeof plain);
    EVP_PKEY_CTX_free(ctx);
    return done ? OK : ERR_AUTH;
}
