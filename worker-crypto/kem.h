/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ML-KEM-768 (FIPS 203) for suite 2, where OpenSSL has it (3.5 and later). Without it kem_available() is
 * false and the rest answers ERR_UNSUPPORTED: nothing is emulated.
 */
#ifndef WORMHOLE_CRYPTO_KEM_H
#define WORMHOLE_CRYPTO_KEM_H

#include "worker-crypto/primitives.h"

#define KEM_PUBLIC 1184u
#define KEM_CIPHERTEXT 1088u
#define KEM_SECRET 32u
#define KEM_SEED 64u    /* d | z of FIPS 203 */
#define KEM_ENTROPY 32u /* m of FIPS 203 */

/* Compiled in and offered by the library at run time. */
bool kem_available(void);

enum status kem_new(const uint8_t seed[KEM_SEED], EVP_PKEY **key, uint8_t public_key[KEM_PUBLIC]);
/* ERR_AUTH: the public key is not a valid one. */
enum status kem_encapsulate(const uint8_t public_key[KEM_PUBLIC], const uint8_t entropy[KEM_ENTROPY],
                            uint8_t ciphertext[KEM_CIPHERTEXT], uint8_t secret[KEM_SECRET]);
enum status kem_decapsulate(EVP_PKEY *key, const uint8_t ciphertext[KEM_CIPHERTEXT],
                            uint8_t secret[KEM_SECRET]);

#endif
