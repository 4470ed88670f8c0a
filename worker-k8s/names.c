/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Name rules of Kubernetes and of mirrored Services (names.h). It must stay free of state: the same input
 * gives the same name in every process and after every restart.
 */
#include "worker-k8s/names.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/names.h"
#include "worker-k8s/digest.h"

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}
static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}
static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static bool is_label_char(char c)
{
    return is_lower(c) || is_digit(c);
}

bool name_is_service(const char *text)
{
    return is_lower(text[0]) && name_is_valid(text);
}

bool name_is_label_value(const char *text)
{
    size_t len = strnlen(text, K8S_NAME_MAX + 1);
    if (len == 0) {
        return true;
    }
    if (len > K8S_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        bool plain = is_label_char(text[i]) || is_upper(text[i]);
        bool inner = text[i] == '-' || text[i] == '_' || text[i] == '.';
        if (!plain && (!inner || i == 0 || i == len - 1)) {
            return false;
        }
    }
    return true;
}

void name_hash(const char *a, const char *b, size_t digits, char *out)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t digest[32];
    digest_pair(a, b, digest);
    for (size_t i = 0; i < digits && i < 64; i++) {
        uint8_t byte = digest[i / 2];
        out[i] = hex[i % 2 == 0 ? byte >> 4 : byte & 15];
    }
    out[digits < 64 ? digits : 64] = '\0';
}

/* Cuts text to what leaves room for "-" and the hash, drops a trailing hyphen, and appends both. */
static void append_hash(char *name, const char *a, const char *b)
{
    const size_t room = K8S_NAME_MAX - K8S_NAME_HASH - 1;
    char hash[K8S_NAME_HASH + 1];
    size_t len = strlen(name);
    if (len > room) {
        len = room;
    }
    while (len > 0 && name[len - 1] == '-') {
        len--;
    }
    name_hash(a, b, K8S_NAME_HASH, hash);
    snprintf(name + len, K8S_NAME_MAX + 1 - len, "-%s", hash);
}

void name_mirror(const char *peer, const char *app, bool hashed, char out[K8S_NAME_MAX + 1])
{
    char full[256];
    int len = snprintf(full, sizeof full, "%s-%s", peer, app);
    if (!hashed && len <= K8S_NAME_MAX && name_is_service(full)) {
        memcpy(out, full, (size_t)len + 1);
        return;
    }
    char clean[sizeof full + 2];
    size_t n = 0;
    if (!is_lower(full[0] | 0x20)) { /* must start with a letter; upper case becomes lower below */
        clean[n++] = 'w';
        clean[n++] = '-';
    }
    for (const char *p = full; *p != '\0'; p++) {
        char c = is_upper(*p) ? (char)(*p + ('a' - 'A')) : *p;
        clean[n++] = is_label_char(c) ? c : '-';
    }
    clean[n] = '\0';
    snprintf(out, K8S_NAME_MAX + 1, "%.*s", K8S_NAME_MAX, clean);
    append_hash(out, peer, app);
}

void name_app(const char *base, const char *port, char out[K8S_NAME_MAX + 1])
{
    char full[256];
    int len = snprintf(full, sizeof full, "%s%s%s", base, port != NULL ? "-" : "", port != NULL ? port : "");
    snprintf(out, K8S_NAME_MAX + 1, "%.*s", K8S_NAME_MAX, full);
    if (len > K8S_NAME_MAX) {
        append_hash(out, base, port != NULL ? port : "");
    }
}
