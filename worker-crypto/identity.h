/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This end's own long-lived key: loaded from its file, or made when there is none. Everything about it that
 * may be shown is here; the private part stays inside `key`. Must not talk to anybody.
 */
#ifndef WORMHOLE_CRYPTO_IDENTITY_H
#define WORMHOLE_CRYPTO_IDENTITY_H

#include "worker-crypto/key_dir.h"
#include "worker-crypto/primitives.h"
#include "worker-crypto/rsa_key.h"

#define IDENTITY_SERVER_FILE "server_ed25519.pem"
#define IDENTITY_CLIENT_FILE "client_rsa.pem"

struct identity {
    EVP_PKEY *key;    /* owned */
    const char *kind; /* "server" or "client" */
    unsigned bits;
    uint8_t public_key[ED25519_PUBLIC]; /* server only */
    uint8_t spki[RSA_SPKI_MAX];         /* client only */
    size_t spki_len;
    uint8_t fingerprint[HASH_BYTES];
    uint64_t created; /* Unix seconds: when its file was written */
    bool generated;   /* just now */
    char path[320];
};

/* ERR_CONFIG with the error's one line. Free with identity_clear. */
enum status identity_open_server(struct identity *identity, const struct key_dir *dir,
                                 struct key_error *error);
/* bits: the size of a key that has to be made; one that exists may have any allowed size. */
enum status identity_open_client(struct identity *identity, const struct key_dir *dir, unsigned bits,
                                 struct key_error *error);
void identity_clear(struct identity *identity);

#endif
