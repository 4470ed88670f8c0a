/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text form of a key's fingerprint: "SHA256:" and the unpadded base64url (RFC 4648 section 5) of the
 * 32-byte SHA-256 over the DER SubjectPublicKeyInfo. Only the text form: hashing is worker-crypto's.
 */
#ifndef WORMHOLE_COMMON_FINGERPRINT_H
#define WORMHOLE_COMMON_FINGERPRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

#define FINGERPRINT_BYTES 32
#define FINGERPRINT_TEXT 50             /* "SHA256:" + 43; without the NUL */
#define FINGERPRINT_PREFIX_MIN (7 + 12) /* shortest prefix that a person may type */

/* out: at least FINGERPRINT_TEXT + 1 bytes. */
void fingerprint_format(const uint8_t digest[FINGERPRINT_BYTES], char *out);

/* ERR_FORMAT unless the whole text is one canonical fingerprint. */
enum status fingerprint_parse(const char *text, uint8_t digest[FINGERPRINT_BYTES]);

/* Could `text` be a shortened fingerprint (prefix form, long enough)? */
bool fingerprint_is_prefix(const char *text);

#endif
