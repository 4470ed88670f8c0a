/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records (docs/protocol.md, "Records"): AES-256-GCM in place, one key per direction, the nonce from a 64-bit
 * sequence that is never on the wire. It knows nothing of frames or sockets; where keys come from is
 * worker-crypto's business.
 */
#ifndef WORMHOLE_NET_RECORD_H
#define WORMHOLE_NET_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ipc_types.h"
#include "common/protocol.h"
#include "common/status.h"

#define RECORD_OVERHEAD (RECORD_HEADER + RECORD_TAG) /* bytes on the wire beyond the plaintext */

/* The key of one direction. Opaque to users; `record_key_epoch` and the counters are for statistics. */
struct record_key {
    struct evp_cipher_ctx_st *context; /* keyed once; only the IV is set per record */
    uint8_t iv[RECORD_IV];
    uint8_t aad[RECORD_AAD]; /* its last 4 bytes are the header */
    uint32_t epoch;
    uint64_t sequence;               /* of the next record */
    uint64_t bytes;                  /* of plaintext under this key */
    uint64_t max_records, max_bytes; /* hard limits: past them nothing is sealed or opened */
    bool seals;
};

/*
 * Takes a traffic key (HS_KEYS). `seals`: this end writes this direction. sequence: of the first record. The
 * limits are lowered to RECORDS_HARD_LIMIT and BYTES_HARD_LIMIT; 0 = just those. ERR_CRYPTO. A second call on
 * the same struct is a key switch: the old key is wiped. On the first, the struct must be zeroed.
 */
enum status record_key_set(struct record_key *k, enum direction direction, bool seals, uint32_t epoch,
                           uint64_t sequence, const uint8_t key[RECORD_KEY], const uint8_t iv[RECORD_IV],
                           uint64_t max_records, uint64_t max_bytes);
/* Wipes and frees what it holds; a zeroed struct is fine. */
void record_key_clear(struct record_key *k);

/*
 * Seals in place: `record` begins with RECORD_HEADER free bytes, then `len` bytes of plaintext, then
 * RECORD_TAG free bytes; all len + RECORD_OVERHEAD are written. ERR_LIMIT: a hard limit is reached, nothing
 * was done. ERR_CRYPTO.
 */
enum status record_seal(struct record_key *k, uint8_t *record, size_t len);

/*
 * Opens in place: on OK *plain points into record. ERR_FORMAT: too short, wrong type, epoch or reserved bits.
 * ERR_AUTH: the tag is wrong; the connection must end, the plaintext is wiped. ERR_LIMIT as above.
 */
enum status record_open(struct record_key *k, uint8_t *record, size_t len, uint8_t **plain,
                        size_t *plain_len);

/* How many more records may be sealed or opened, counting both limits with records of `record_plain` bytes.
 */
uint64_t record_key_left(const struct record_key *k, size_t record_plain);

#endif
