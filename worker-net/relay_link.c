/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes in and out of the tunnel's connection: see relay_link.h.
 */
#include "worker-net/relay_link.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker-net/tls.h"

#define NOTSENT_BYTES (128 << 10) /* what waits in the kernel is latency for everything behind it */

void relay_link_options(int fd, uint32_t dead_ms)
{
    int one = 1, notsent = NOTSENT_BYTES;
    unsigned timeout = dead_ms;

    /* Failure is ignored: a tunnel works without them, and not every descriptor is TCP. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &notsent, sizeof notsent);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
}

static enum status errno_status(void)
{
    return errno == EAGAIN || errno == EINTR ? ERR_AGAIN : ERR_IO;
}

enum status relay_link_read(struct relay_link *link, void *buf, size_t cap, size_t *n)
{
    size_t total = 0;

    if (link->tls == NULL) {
        link->read_calls++;
        ssize_t got = recv(link->fd, buf, cap, 0);
        if (got < 0)
            return errno_status();
        if (got == 0)
            return ERR_EOF;
        link->bytes_in += (uint64_t)got;
        *n = (size_t)got;
        return OK;
    }
    enum status st = OK;
    while (total < cap && st == OK) {
        size_t got = 0;
        link->read_calls++;
        st = tls_read(link->tls, (char *)buf + total, cap - total, &got);
        if (st == OK)
            total += got;
    }
    if (total == 0)
        return st;
    link->bytes_in += total; /* an end or error behind the data comes again at the next call */
    *n = total;
    return OK;
}

/* TLS takes one buffer at a time. */
static enum status write_tls(struct relay_link *link, const struct iovec *iov, int n, size_t *written)
{
    *written = 0;
    for (int i = 0; i < n; i++) {
        size_t done = 0;
        while (done < iov[i].iov_len) {
            size_t took = 0;
            enum status st =
                tls_write(link->tls, (const char *)iov[i].iov_base + done, iov[i].iov_len - done, &took);
            if (st != OK)
                return *written > 0 ? OK : st;
            done += took;
            *written += took;
        }
    }
    return OK;
}

enum status relay_link_flush(struct relay_link *link)
{
    return link->tls == NULL ? OK : tls_flush(link->tls);
}

enum status relay_link_write(struct relay_link *link, const struct iovec *iov, int n, size_t *written)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};
    enum status st = OK;

    if (link->tls != NULL) {
        link->write_calls++; /* gathered: one in most cases */
        st = write_tls(link, iov, n, written);
        if (st == OK && relay_link_flush(link) == ERR_IO)
            st = ERR_IO;
    } else {
        link->write_calls++;
        ssize_t took = sendmsg(link->fd, &message, MSG_NOSIGNAL);
        if (took < 0)
            return errno_status();
        *written = (size_t)took;
    }
    if (st == OK)
        link->bytes_out += *written;
    return st;
}

void relay_link_shut(struct relay_link *link)
{
    if (link->tls != NULL)
        tls_shutdown(link->tls);
    (void)shutdown(link->fd, SHUT_WR);
}

void relay_link_close(struct relay_link *link)
{
    tls_free(link->tls);
    link->tls = NULL;
    if (link->fd >= 0)
        (void)close(link->fd);
    link->fd = -1;
}
