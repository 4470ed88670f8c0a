/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See pairing.h: the first 80 bits of a hash over both fingerprints, in RFC 4648 base32.
 */
#include "worker-crypto/pairing.h"

#define PAIRING_BYTES 10u

enum status pairing_code(const uint8_t server[HASH_BYTES], const uint8_t client[HASH_BYTES],
                         char out[PAIRING_CODE_TEXT + 1])
{
    static const char label[] = "wormhole/1 pairing"; /* with its NUL */
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const struct span spans[] = {{label, sizeof label}, {server, HASH_BYTES}, {client, HASH_BYTES}};
    uint8_t digest[HASH_BYTES];

    enum status s = hash_spans(spans, 3, digest);
    if (s != OK)
        return s;
    unsigned at = 0;
    for (unsigned bit = 0; bit < PAIRING_BYTES * 8; bit += 5) {
        unsigned pair = (unsigned)digest[bit / 8] << 8 | digest[bit / 8 + 1];
        if (bit > 0 && bit % 20 == 0)
            out[at++] = '-';
        out[at++] = alphabet[pair >> (11 - bit % 8) & 31];
    }
    out[at] = '\0';
    return OK;
}
