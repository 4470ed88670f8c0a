/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients' RSA public keys: which ones a server accepts, and their fingerprints (docs/protocol.md,
 * "Identities"). Must not verify signatures and must not remember who had which key.
 */
#ifndef WORMHOLE_CRYPTO_RSA_KEY_H
#define WORMHOLE_CRYPTO_RSA_KEY_H

#include "worker-crypto/primitives.h"

#define RSA_SPKI_MAX 560u /* DER of a 4096-bit key: 550 */

struct rsa_public {
    EVP_PKEY *key; /* owned; free with rsa_public_clear */
    unsigned bits;
    uint8_t fingerprint[HASH_BYTES];
};

bool rsa_bits_allowed(unsigned bits);

/*
 * Reads one canonical SPKI and checks what is cheap: size, parity, exponent, small factors. ERR_FORMAT with
 * *why set to a static phrase. Does not run rsa_public_check_fully().
 */
enum status rsa_public_read(const uint8_t *spki, size_t len, struct rsa_public *out, const char **why);
void rsa_public_clear(struct rsa_public *key);

/*
 * What is dear (a few milliseconds): encoding again, EVP_PKEY_public_check, close primes. Keys that passed
 * are remembered by fingerprint, the last RSA_PASSED_MAX of them. ERR_FORMAT with *why.
 */
#define RSA_PASSED_MAX 1024u
enum status rsa_public_check_fully(const struct rsa_public *key, const uint8_t *spki, size_t len,
                                   const char **why);

/* The canonical SPKI of a key of an allowed size. *len: in the room, out the size. ERR_FORMAT, ERR_SIZE. */
enum status rsa_spki_write(EVP_PKEY *key, uint8_t *out, size_t *len);

/* SHA-256 over an SPKI. */
enum status spki_fingerprint(const uint8_t *spki, size_t len, uint8_t out[HASH_BYTES]);
/* The SPKI of an Ed25519 key (RFC 8410), for its fingerprint. */
enum status ed25519_fingerprint(const uint8_t public_key[ED25519_PUBLIC], uint8_t out[HASH_BYTES]);

#endif
