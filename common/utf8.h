/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding well-formed UTF-8 (RFC 3629) in text that came from outside, so that what is stored, logged or
 * written as JSON is always valid. No conversion and no knowledge of characters.
 */
#ifndef WORMHOLE_COMMON_UTF8_H
#define WORMHOLE_COMMON_UTF8_H

#include <stddef.h>

/*
 * Bytes (1 to 4) of the well-formed sequence that text starts with; 0 when it starts with none: overlong
 * forms, surrogates, what is above U+10FFFF, a lone or cut sequence, or len = 0.
 */
size_t utf8_sequence(const char *text, size_t len);

/* The most bytes, at most max, of NUL-terminated text that do not cut a sequence in two. */
size_t utf8_clip(const char *text, size_t max);

/*
 * Copies `in` (NUL-terminated; NULL counts as "") so that the result is valid UTF-8 without control
 * characters: each offending byte becomes '?'. Cut at a character's edge when it does not fit; always
 * terminated (cap > 0).
 */
void utf8_clean(char *out, size_t cap, const char *in);

#endif
