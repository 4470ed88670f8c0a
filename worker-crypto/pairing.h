/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pairing code that both screens show at first use (docs/protocol.md, "Identities"). Only its making;
 * comparing is a person's work.
 */
#ifndef WORMHOLE_CRYPTO_PAIRING_H
#define WORMHOLE_CRYPTO_PAIRING_H

#include "worker-crypto/primitives.h"

#define PAIRING_CODE_TEXT 19 /* ABCD-EFGH-IJKL-MNOP, without the NUL */

enum status pairing_code(const uint8_t server[HASH_BYTES], const uint8_t client[HASH_BYTES],
                         char out[PAIRING_CODE_TEXT + 1]);

#endif
