/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client remembers of its server: the identity that an operator's approval confirmed, and the best
 * suite that it ever used with it. Only the file; when it may be written is the client handshake's decision.
 */
#ifndef WORMHOLE_CRYPTO_KNOWN_SERVER_H
#define WORMHOLE_CRYPTO_KNOWN_SERVER_H

#include "worker-crypto/key_dir.h"
#include "worker-crypto/primitives.h"

#define KNOWN_SERVER_FILE "known_server"
#define KNOWN_SERVER_MAX 256u

struct known_server {
    bool present;
    uint8_t fingerprint[HASH_BYTES];
    uint8_t suite; /* enum hs_suite */
};

/* The text form, and back. parse: ERR_FORMAT unless it is exactly what format writes. out: KNOWN_SERVER_MAX.
 */
void known_server_format(const struct known_server *known, char *out);
enum status known_server_parse(const char *text, size_t len, struct known_server *known);

/* An absent file is OK with present = false. ERR_CONFIG with the error's one line. */
enum status known_server_load(const struct key_dir *dir, struct known_server *known, struct key_error *error);
enum status known_server_save(const struct key_dir *dir, const struct known_server *known,
                              struct key_error *error);

#endif
