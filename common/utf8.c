/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8 checking by RFC 3629's table. Must not allocate: log lines and audit rows pass through here.
 */
#include "common/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static size_t sequence_length(uint8_t lead)
{
    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf)
        return 2;
    if (lead >= 0xe0 && lead <= 0xef)
        return 3;
    if (lead >= 0xf0 && lead <= 0xf4)
        return 4;
    return 0;
}

size_t utf8_sequence(const char *text, size_t len)
{
    if (len == 0)
        return 0;
    const uint8_t *p = (const uint8_t *)text;
    size_t n = sequence_length(p[0]);
    if (n < 2 || n > len)
        return n > len ? 0 : n;
    /* The second byte's range excludes overlong forms, surrogates and what is past U+10FFFF. */
    uint8_t low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
    uint8_t high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return n;
}

size_t utf8_clip(const char *text, size_t max)
{
    size_t len = strnlen(text, max + 1);
    if (len <= max)
        return len;
    len = max;
    while (len > 0 && ((uint8_t)text[len] & 0xc0) == 0x80)
        len--;
    return len;
}

void utf8_clean(char *out, size_t cap, const char *in)
{
    size_t used = 0;
    size_t left = in == NULL ? 0 : strlen(in);
    while (left > 0) {
        size_t n = utf8_sequence(in, left);
        size_t step = n == 0 ? 1 : n;
        if (used + step >= cap)
            break;
        /* C0, DEL and C1 controls: a terminal that shows this text must not obey it. */
        bool control = n == 1 && ((uint8_t)*in < 0x20 || *in == 0x7f);
        control = control || (n == 2 && (uint8_t)in[0] == 0xc2 && (uint8_t)in[1] < 0xa0);
        if (n == 0 || control) {
            out[used++] = '?';
        } else {
            memcpy(out + used, in, n);
            used += n;
        }
        in += step;
        left -= step;
    }
    out[used] = '\0';
}
