/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transcript hash and the keys that come from it (docs/protocol.md, "Transcript and signatures" and "Key
 * schedule"), and sealing with them. Knows labels and order of derivation, no message and no state machine.
 */
#ifndef WORMHOLE_CRYPTO_KEY_SCHEDULE_H
#define WORMHOLE_CRYPTO_KEY_SCHEDULE_H

#include "common/ipc_types.h"
#include "common/protocol.h"
#include "worker-crypto/primitives.h"

struct transcript {
    uint8_t hash[HASH_BYTES];
};

enum status transcript_init(struct transcript *t);
/* T := SHA-256(T | header | body). */
enum status transcript_add(struct transcript *t, const uint8_t *header, size_t header_len,
                           const uint8_t *body, size_t len);
/* The same, but T itself stays: for a body that is cut off before a field. */
enum status transcript_peek(const struct transcript *t, const uint8_t *header, size_t header_len,
                            const uint8_t *body, size_t len, uint8_t out[HASH_BYTES]);

struct seal_key {
    uint8_t key[AEAD_KEY];
    uint8_t iv[AEAD_IV];
};

/* Between CLIENT_HELLO and the grant. Indexes are enum direction. Wipe with OPENSSL_cleanse. */
struct handshake_secrets {
    uint8_t root[HASH_BYTES]; /* HS */
    struct seal_key keys[2];
    uint64_t sequence[2];
};

/* After the grant. */
struct session_secrets {
    struct seal_key traffic[2];
    uint8_t finished[2][HASH_BYTES];
    uint8_t rekey[HASH_BYTES];
};

/* shared: 32 bytes with suite 1, 64 with suite 2. */
enum status schedule_handshake(const uint8_t tc[HASH_BYTES], const uint8_t *shared, size_t shared_len,
                               struct handshake_secrets *out);
enum status schedule_session(const uint8_t root[HASH_BYTES], const uint8_t tg[HASH_BYTES],
                             const uint8_t aes_key[AES_KEY_BYTES], struct session_secrets *out);

/* Record 0 of a direction, the FINISHED messages: header | sealed MAC. */
#define FINISHED_BYTES (RECORD_HEADER + HASH_BYTES + RECORD_TAG)

/* Seals the MAC over T and adds the record to T. */
enum status finished_seal(const struct session_secrets *secrets, enum direction direction,
                          struct transcript *t, uint8_t out[FINISHED_BYTES]);
/* Opens and checks one; ERR_FORMAT, ERR_AUTH. Adds it to T when it is right. */
enum status finished_open(const struct session_secrets *secrets, enum direction direction,
                          struct transcript *t, const uint8_t *in, size_t len);

#endif
