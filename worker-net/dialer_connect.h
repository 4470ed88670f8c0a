/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connecting to the first of several addresses that answers (after RFC 8305): the next one starts when the
 * last has failed or has been silent for a moment, the first that connects wins. Knows nothing of names or
 * apps, and never reads or writes what it connected.
 */
#ifndef WORMHOLE_WORKER_NET_DIALER_CONNECT_H
#define WORMHOLE_WORKER_NET_DIALER_CONNECT_H

#include <netinet/in.h>
#include <stdint.h>

#include "common/status.h"

#define DIAL_ADDRESSES_MAX 8
/* Pause before the next address is tried beside the last (RFC 8305 section 5: 250 ms recommended). */
#define DIAL_STAGGER_MS 250

struct dial_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t len;
};

struct dial_addresses {
    struct dial_address list[DIAL_ADDRESSES_MAX];
    unsigned n;
};

struct event_base;
struct connect_job;

/*
 * Called once. Connected: error 0, fd non-blocking with TCP_NODELAY (the callee's), address the one that
 * answered. Otherwise fd -1 and the errno that says most; ETIMEDOUT for the deadline.
 */
typedef void (*connect_done)(void *arg, int fd, const struct dial_address *address, int error);

/*
 * Starts connecting; done may be called before this returns (usual for local addresses), and then the answer
 * is NULL. Otherwise the job, to cancel it with; it frees itself after done.
 */
struct connect_job *connect_start(struct event_base *base, const struct dial_addresses *addresses,
                                  uint32_t timeout_ms, connect_done done, void *arg);
/* Ends it without a call of done. Accepts NULL. */
void connect_cancel(struct connect_job *job);

#endif
