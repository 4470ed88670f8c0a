/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which names peers and apps may carry, and how host:port addresses are written. One place for the rule,
 * because names end up in file-free places that are easy to break: metrics labels, Kubernetes names,
 * terminals.
 */
#ifndef WORMHOLE_COMMON_NAMES_H
#define WORMHOLE_COMMON_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

#define NAME_MAX_BYTES 63

/* RFC 1123 label: [a-z0-9]([-a-z0-9]*[a-z0-9])?, 1 to 63 bytes. */
bool name_is_valid(const char *name);

/*
 * Splits "host:port", "[v6]:port" or "host" (then default_port, 0 = none allowed). host: at least 256 bytes,
 * brackets removed. ERR_FORMAT, ERR_SIZE.
 */
enum status address_split(const char *text, uint16_t default_port, char *host, size_t cap, uint16_t *port);

/* "host:port", an IPv6 host in brackets. */
void address_join(char *out, size_t cap, const char *host, uint16_t port);

struct sockaddr;
/* Numeric text of a socket address: "192.0.2.1:4711", "[2001:db8::1]:4711". */
void address_text(const struct sockaddr *address, char *out, size_t cap);

#endif
