/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stand-in for worker-crypto/kem.c with the sizes of ML-KEM-768 and X25519 inside, so that suite 2 can be
 * driven through the handshake machines where the crypto library has no ML-KEM (it came with OpenSSL 3.5).
 * Tests only: it has none of ML-KEM's strength, and must never be linked into a program.
 */
#include <string.h>

#include "worker-crypto/kem.h"

bool kem_available(void)
{
    return true;
}

enum status kem_new(const uint8_t seed[KEM_SEED], EVP_PKEY **key, uint8_t public_key[KEM_PUBLIC])
{
    memset(public_key, 0x11, KEM_PUBLIC);
    return x25519_new(seed, key, public_key);
}

enum status kem_encapsulate(const uint8_t public_key[KEM_PUBLIC], const uint8_t entropy[KEM_ENTROPY],
                            uint8_t ciphertext[KEM_CIPHERTEXT], uint8_t secret[KEM_SECRET])
{
    EVP_PKEY *key = NULL;

    memset(ciphertext, 0x22, KEM_CIPHERTEXT);
    enum status s = x25519_new(entropy, &key, ciphertext);
    if (s == OK)
        s = x25519_derive(key, public_key, secret);
    EVP_PKEY_free(key);
    return s;
}

enum status kem_decapsulate(EVP_PKEY *key, const uint8_t ciphertext[KEM_CIPHERTEXT],
                            uint8_t secret[KEM_SECRET])
{
    return x25519_derive(key, ciphertext, secret);
}
