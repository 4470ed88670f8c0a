/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS for wss://: a client that verifies chain and host name, over a descriptor that it was handed.
 * Certificates of authorities are loaded before the sandbox closes; afterwards no file is opened. It protects
 * nothing that the tunnel's own handshake does not protect again: it is there because the way to the server
 * demands it.
 */
#ifndef WORMHOLE_NET_TLS_H
#define WORMHOLE_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/status.h"

struct tls_context;
struct tls;

/*
 * Loads the authorities from ca_file, or from the system's bundle when it is "". ERR_IO: no such file;
 * ERR_FORMAT: nothing usable in it; ERR_CRYPTO, ERR_NOMEM. `why` (at least 255 bytes) then says which file
 * and what to do.
 */
enum status tls_context_new(const char *ca_file, struct tls_context **out, char *why, size_t why_cap);
void tls_context_free(struct tls_context *context);

/*
 * A connection to `host` (a name or an address, which the certificate must carry) over fd, which stays the
 * caller's. NULL when out of memory.
 */
struct tls *tls_new(struct tls_context *context, int fd, const char *host);
void tls_free(struct tls *t);

/*
 * Goes on with the handshake. ERR_AGAIN: call again when the socket is readable (or writable, if
 * *want_write). ERR_AUTH: the certificate is not accepted; ERR_EOF, ERR_IO, ERR_FORMAT: it failed. `why` (at
 * least 255 bytes) says exactly what.
 */
enum status tls_handshake(struct tls *t, bool *want_write, char *why, size_t why_cap);

/* As recv() and send(): OK with *n > 0; ERR_AGAIN; ERR_EOF; ERR_IO (errno); ERR_FORMAT: TLS itself failed. */
enum status tls_read(struct tls *t, void *buf, size_t cap, size_t *n);
enum status tls_write(struct tls *t, const void *buf, size_t len, size_t *n);
/*
 * From here on what tls_write() takes is gathered, and goes out by tls_flush() or when there is much of it.
 * Only after the handshake. Returns false when out of memory: nothing has changed.
 */
bool tls_gather_writes(struct tls *t);
/* OK: nothing waits any more; ERR_AGAIN: the socket is full; ERR_IO (errno). */
enum status tls_flush(struct tls *t);
/* Sends close_notify, once, as far as the socket takes it. */
void tls_shutdown(struct tls *t);

#endif
