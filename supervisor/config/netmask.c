/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CIDR networks. Numeric only; nothing is resolved.
 */
#include "supervisor/config/netmask.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static bool address_parse(const char *text, int *family, uint8_t address[16])
{
    memset(address, 0, 16);
    if (inet_pton(AF_INET, text, address) == 1) {
        *family = AF_INET;
        return true;
    }
    if (inet_pton(AF_INET6, text, address) != 1)
        return false;
    *family = AF_INET6;
    return true;
}

enum status netmask_parse(const char *text, struct netmask *out)
{
    char address[64];
    size_t len = strcspn(text, "/");
    if (len == 0 || len >= sizeof address)
        return ERR_FORMAT;
    memcpy(address, text, len);
    address[len] = '\0';
    struct netmask mask;
    if (!address_parse(address, &mask.family, mask.address))
        return ERR_FORMAT;
    unsigned most = mask.family == AF_INET ? 32 : 128;
    mask.bits = most;
    if (text[len] == '/') {
        const char *p = text + len + 1;
        size_t digits = strspn(p, "0123456789");
        if (digits == 0 || digits > 3 || p[digits] != '\0' || sscanf(p, "%u", &mask.bits) != 1 ||
            mask.bits > most)
            return ERR_FORMAT;
    }
    *out = mask;
    return OK;
}

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static bool mask_has(const struct netmask *mask, int family, const uint8_t address[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (family == AF_INET6 && mask->family == AF_INET && memcmp(address, mapped, 12) == 0)
        return bits_equal(mask->address, address + 12, mask->bits);
    return family == mask->family && bits_equal(mask->address, address, mask->bits);
}

bool netmask_has_text(const struct netmask *mask, const char *address)
{
    int family = 0;
    uint8_t bytes[16];
    return address_parse(address, &family, bytes) && mask_has(mask, family, bytes);
}

bool netmask_has_sockaddr(const struct netmask *mask, const struct sockaddr *address)
{
    uint8_t bytes[16] = {0};
    if (address->sa_family == AF_INET)
        memcpy(bytes, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
    else if (address->sa_family == AF_INET6)
        memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
    else
        return false;
    return mask_has(mask, address->sa_family, bytes);
}
