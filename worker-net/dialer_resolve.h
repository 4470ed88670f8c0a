/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking up names beside the event loop: getaddrinfo() in a few threads, because a name server that is
 * silent must not hold up a single dial, and because the system's own resolver knows hosts, search domains
 * and a changed resolv.conf. The threads see a name and an answer and nothing else of this process.
 */
#ifndef WORMHOLE_WORKER_NET_DIALER_RESOLVE_H
#define WORMHOLE_WORKER_NET_DIALER_RESOLVE_H

#include <stdbool.h>
#include <stdint.h>

#include "worker-net/dialer_connect.h"

struct event_base;
struct resolver;
struct lookup;

/* gai: 0 and the addresses (port set, families alternating), or an EAI_* code. Called from the loop, once. */
typedef void (*lookup_done)(void *arg, int gai, const struct dial_addresses *addresses);

/* Before the sandbox: fixes name service to "files dns", so that no code is loaded for it later. NULL: no
 * memory. */
struct resolver *resolver_new(struct event_base *base);

/*
 * Begins a look-up; urgent ones (the server's name) go first and always find a thread. Threads are started
 * when first needed. ERR_LIMIT: too many are waiting; ERR_NOMEM.
 */
enum status resolver_lookup(struct resolver *resolver, const char *host, uint16_t port, bool urgent,
                            lookup_done done, void *arg, struct lookup **lookup);
/* done will not be called; the thread, if one is at it, finishes for nothing. Accepts NULL. */
void lookup_cancel(struct lookup *lookup);

/* Is `host` an address rather than a name? Then *addresses has it, and no look-up is needed. */
bool resolver_numeric(const char *host, uint16_t port, struct dial_addresses *addresses);

#endif
