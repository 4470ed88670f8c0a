/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few cryptographic operations that the handshake is made of, each with exactly the parameters of
 * docs/protocol.md and no others. Thin over OpenSSL: algorithms are looked up once. Must not know any message
 * or state. Not for threads: one process, one thread.
 */
#ifndef WORMHOLE_CRYPTO_PRIMITIVES_H
#define WORMHOLE_CRYPTO_PRIMITIVES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

#include "common/status.h"

#define HASH_BYTES 32u
#define AEAD_KEY 32u
#define AEAD_IV 12u
#define AEAD_TAG 16u
#define X25519_BYTES 32u
#define ED25519_PUBLIC 32u
#define ED25519_SIGNATURE 64u
#define RSA_MODULUS_MAX 512u /* bytes: 4096 bits */
#define AES_KEY_BYTES 32u    /* what GRANT wraps */
#define SIGN_LABEL_MAX 32u

/*
 * Looks up every algorithm and sets up locked memory for keys; before the sandbox. ERR_UNSUPPORTED when the
 * library lacks one. Safe to call twice.
 */
enum status primitives_open(void);
void primitives_close(void);

/* Bytes for hashing in one go: a list of spans. */
struct span {
    const void *data;
    size_t len;
};

/* Where random bytes come from: the CSPRNG, or fixed bytes in tests. ERR_CRYPTO. */
typedef enum status random_source(void *arg, uint8_t *out, size_t len);
enum status random_draw(void *unused, uint8_t *out, size_t len);

enum status hash_spans(const struct span *spans, size_t n, uint8_t out[HASH_BYTES]);
enum status hmac_sha256(const uint8_t key[HASH_BYTES], const void *data, size_t len, uint8_t out[HASH_BYTES]);

/* RFC 5869 sections 2.2 and 2.3 with SHA-256. expand: len at most 255 * 32. */
enum status hkdf_extract(const uint8_t *salt, size_t salt_len, const uint8_t *ikm, size_t ikm_len,
                         uint8_t out[HASH_BYTES]);
enum status hkdf_expand(const uint8_t *prk, size_t prk_len, const uint8_t *info, size_t info_len,
                        uint8_t *out, size_t len);

/*
 * AES-256-GCM (NIST SP 800-38D); nonce = iv XOR sequence in its last 8 bytes. out may be in. seal writes
 * len + AEAD_TAG bytes; open takes len >= AEAD_TAG and writes len - AEAD_TAG, ERR_AUTH (out wiped) when
 * forged.
 */
enum status aead_seal(const uint8_t key[AEAD_KEY], const uint8_t iv[AEAD_IV], uint64_t sequence,
                      const void *aad, size_t aad_len, const uint8_t *in, size_t len, uint8_t *out);
enum status aead_open(const uint8_t key[AEAD_KEY], const uint8_t iv[AEAD_IV], uint64_t sequence,
                      const void *aad, size_t aad_len, const uint8_t *in, size_t len, uint8_t *out);

/* RFC 7748. The private bytes are copied; the caller wipes its own. derive: ERR_AUTH for a share of small
 * order. */
enum status x25519_new(const uint8_t private_bytes[X25519_BYTES], EVP_PKEY **key,
                       uint8_t share[X25519_BYTES]);
enum status x25519_derive(EVP_PKEY *key, const uint8_t peer[X25519_BYTES], uint8_t secret[X25519_BYTES]);

/*
 * Signatures over 64 spaces | label | 0 | hash (docs/protocol.md, "Transcript and signatures"). label: at
 * most SIGN_LABEL_MAX bytes. verify: ERR_AUTH.
 */
enum status ed25519_sign(EVP_PKEY *key, const char *label, const uint8_t hash[HASH_BYTES],
                         uint8_t signature[ED25519_SIGNATURE]);
enum status ed25519_verify(const uint8_t public_key[ED25519_PUBLIC], const char *label,
                           const uint8_t hash[HASH_BYTES], const uint8_t signature[ED25519_SIGNATURE]);
/* RSASSA-PSS, SHA-256, MGF1-SHA-256, 32 bytes of salt. *len: in the room, out the signature's size. */
enum status pss_sign(EVP_PKEY *key, const char *label, const uint8_t hash[HASH_BYTES], uint8_t *signature,
                     size_t *len);
enum status pss_verify(EVP_PKEY *key, const char *label, const uint8_t hash[HASH_BYTES],
                       const uint8_t *signature, size_t len);

/* RSAES-OAEP, SHA-256, MGF1-SHA-256, with a 32-byte label. wrap: *len as in pss_sign. unwrap: ERR_AUTH. */
enum status oaep_wrap(EVP_PKEY *key, const uint8_t label[HASH_BYTES], const uint8_t secret[AES_KEY_BYTES],
                      uint8_t *out, size_t *len);
enum status oaep_unwrap(EVP_PKEY *key, const uint8_t label[HASH_BYTES], const uint8_t *in, size_t len,
                        uint8_t secret[AES_KEY_BYTES]);

#endif
