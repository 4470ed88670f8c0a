/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks in CIDR notation (trusted-proxies, NO_PROXY): parsing and membership. Nothing else.
 */
#ifndef WORMHOLE_SUPERVISOR_NETMASK_H
#define WORMHOLE_SUPERVISOR_NETMASK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"

struct sockaddr;

struct netmask {
    int family;          /* AF_INET or AF_INET6 */
    unsigned bits;       /* prefix length */
    uint8_t address[16]; /* network order; the first 4 for IPv4 */
};

/* "192.0.2.0/24", "2001:db8::/32", or one address. ERR_FORMAT. */
enum status netmask_parse(const char *text, struct netmask *out);
/* Is this numeric address inside? An IPv4-mapped IPv6 address counts as the IPv4 one. */
bool netmask_has_text(const struct netmask *mask, const char *address);
bool netmask_has_sockaddr(const struct netmask *mask, const struct sockaddr *address);

#endif
