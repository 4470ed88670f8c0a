/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two things that this worker needs from libcrypto: SHA-256 and base64. In a file of their own, because
 * OpenSSL's headers and common/status.h claim the same names. No policy here.
 */
#ifndef WORMHOLE_K8S_DIGEST_H
#define WORMHOLE_K8S_DIGEST_H

#include <stddef.h>
#include <stdint.h>

/* SHA-256(a NUL b) into out[32]: the NUL keeps "ab","c" and "a","bc" apart. All zero when libcrypto fails. */
void digest_pair(const char *a, const char *b, uint8_t out[32]);

/* Decodes len characters (a multiple of 4, no blanks) into out (at least len bytes). -1: not base64, or
 * empty. */
int base64_decode(const char *text, size_t len, char *out);

#endif
