/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The algorithms and reusable contexts behind primitives.h: looking them up costs more than using them.
 * Private to primitives.c, asymmetric.c and kem.c.
 */
#ifndef WORMHOLE_CRYPTO_ALGORITHMS_H
#define WORMHOLE_CRYPTO_ALGORITHMS_H

#include <stdbool.h>

#include <openssl/evp.h>
#include <openssl/kdf.h>

struct algorithms {
    bool ready;
    EVP_MD *sha256;
    EVP_CIPHER *aes256gcm;
    EVP_CIPHER_CTX *cipher;
    EVP_MD_CTX *digest;
    EVP_MAC_CTX *hmac;
    EVP_KDF_CTX *hkdf;
};

extern struct algorithms algorithms;

#endif
