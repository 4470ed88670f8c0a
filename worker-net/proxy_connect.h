/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP CONNECT through a proxy (RFC 9110 section 9.3.6), as pure text work: the request, and what the proxy's
 * answer means. Credentials come ready-made; nothing here may log them.
 */
#ifndef WORMHOLE_NET_PROXY_CONNECT_H
#define WORMHOLE_NET_PROXY_CONNECT_H

#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

#define PROXY_CONNECT_MAX 2048u

/*
 * Writes the request for a tunnel to host:port. authorization: the whole value of Proxy-Authorization ("Basic
 * …"), or "". out: PROXY_CONNECT_MAX bytes; holds the credentials, so the caller wipes it. ERR_SIZE.
 */
enum status proxy_connect_write(const char *host, uint16_t port, const char *authorization, char *out,
                                size_t *len);

/*
 * Judges the answer at the start of buf. OK: 2xx, *used bytes; the tunnel begins. ERR_AGAIN. ERR_REFUSED: the
 * proxy said no; ERR_FORMAT: not an answer of an HTTP proxy. `why` (at least 160 bytes) then says what, and
 * what to do.
 */
enum status proxy_connect_check(const char *buf, size_t len, size_t *used, char *why, size_t why_cap);

#endif
