/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tunnel's own connection as a pipe of bytes: a plain socket, or TLS over it. It counts, and it knows
 * nothing of what the bytes are.
 */
#ifndef WORMHOLE_NET_RELAY_LINK_H
#define WORMHOLE_NET_RELAY_LINK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/status.h"

struct tls;

struct relay_link {
    int fd;          /* non-blocking; owned */
    struct tls *tls; /* NULL: plain; owned */
    uint64_t bytes_in, bytes_out, read_calls, write_calls;
};

/* Socket options for a tunnel: no delay, little unsent data in the kernel, an end when nothing is
 * acknowledged. */
void relay_link_options(int fd, uint32_t dead_ms);

/*
 * OK with *n > 0, ERR_AGAIN, ERR_EOF, ERR_IO (errno), ERR_FORMAT (TLS). With TLS a read that filled the
 * buffer may have left bytes inside, which no event will tell.
 */
enum status relay_link_read(struct relay_link *link, void *buf, size_t cap, size_t *n);
/* Writes as much as is taken; OK even when that is not all: then it would block. */
enum status relay_link_write(struct relay_link *link, const struct iovec *iov, int n, size_t *written);
/* OK: all that was taken is the kernel's; ERR_AGAIN: TLS still holds some, the socket is full; ERR_IO
 * (errno). */
enum status relay_link_flush(struct relay_link *link);
/* No more will be written; the other end is told. */
void relay_link_shut(struct relay_link *link);
void relay_link_close(struct relay_link *link);

#endif
