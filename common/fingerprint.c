/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fingerprint.h. The parser accepts exactly what the formatter makes, so that one key has one text.
 */
#include "common/fingerprint.h"

#include <string.h>

static const char prefix[] = "SHA256:";
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void fingerprint_format(const uint8_t digest[FINGERPRINT_BYTES], char *out)
{
    uint32_t bits = 0;
    unsigned held = 0;

    memcpy(out, prefix, sizeof prefix - 1);
    out += sizeof prefix - 1;
    for (unsigned i = 0; i < FINGERPRINT_BYTES; i++) {
        bits = bits << 8 | digest[i];
        held += 8;
        while (held >= 6) {
            held -= 6;
            *out++ = alphabet[bits >> held & 0x3f];
        }
    }
    *out++ = alphabet[bits << (6 - held) & 0x3f]; /* 256 = 42 * 6 + 4: four bits are left */
    *out = '\0';
}

enum status fingerprint_parse(const char *text, uint8_t digest[FINGERPRINT_BYTES])
{
    uint8_t out[FINGERPRINT_BYTES];
    uint32_t bits = 0;
    unsigned held = 0, n = 0;

    if (strnlen(text, FINGERPRINT_TEXT + 1) != FINGERPRINT_TEXT ||
        strncmp(text, prefix, sizeof prefix - 1) != 0)
        return ERR_FORMAT;
    for (const char *p = text + sizeof prefix - 1; *p != '\0'; p++) {
        const char *digit = strchr(alphabet, *p);
        if (digit == NULL)
            return ERR_FORMAT;
        bits = bits << 6 | (uint32_t)(digit - alphabet);
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[n++] = (uint8_t)(bits >> held & 0xff);
        }
    }
    if ((bits & 0x3) != 0) /* the last digit carries four bits; the other two must be zero */
        return ERR_FORMAT;
    memcpy(digest, out, sizeof out);
    return OK;
}

bool fingerprint_is_prefix(const char *text)
{
    size_t len = strnlen(text, FINGERPRINT_TEXT + 1);

    return len >= FINGERPRINT_PREFIX_MIN && len <= FINGERPRINT_TEXT &&
           strncmp(text, prefix, sizeof prefix - 1) == 0 &&
           strspn(text + sizeof prefix - 1, alphabet) == len - (sizeof prefix - 1);
}
