/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One IPC packet to or from a SOCK_SEQPACKET socket, with at most one descriptor. Whatever else comes is
 * closed before anybody can use it. Knows nothing of messages.
 */
#include "common/ipc.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum status ipc_pair(int pair[2], bool nonblocking)
{
    int type = SOCK_SEQPACKET | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0);
    return socketpair(AF_UNIX, type, 0, pair) == 0 ? OK : ERR_IO;
}

enum status ipc_send_packet(int socket, const uint8_t *buf, size_t len, int fd)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t n;

    if (len == 0 || len > IPC_MESSAGE_MAX)
        return ERR_SIZE;
    if (fd >= 0) {
        memset(&control, 0, sizeof control);
        header.msg_control = control.space;
        header.msg_controllen = sizeof control.space;
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    do {
        n = sendmsg(socket, &header, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n >= 0)
        return (size_t)n == len ? OK : ERR_IO;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ETOOMANYREFS)
        return ERR_AGAIN;
    return errno == EPIPE || errno == ECONNRESET ? ERR_EOF : ERR_IO;
}

/* Collects the descriptors of a received packet: keeps the first in *fd, closes the others; returns how many.
 */
static unsigned descriptors_take(struct msghdr *header, int *fd)
{
    unsigned count = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int got;
            memcpy(&got, CMSG_DATA(c) + i * sizeof got, sizeof got);
            if (count++ == 0)
                *fd = got;
            else
                (void)close(got);
        }
    }
    return count;
}

enum status ipc_recv_packet(int socket, uint8_t *buf, size_t cap, size_t *len, int *fd)
{
    struct iovec part = {.iov_base = buf, .iov_len = cap};
    union {
        char space[CMSG_SPACE(4 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.space,
                            .msg_controllen = sizeof control.space};
    int got = -1;
    ssize_t n;

    /*
     * ECONNRESET is reported once, when the other end went away before it had read everything of ours; what
     * it had sent before is still there, its last words among it.
     */
    do {
        n = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    } while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? ERR_AGAIN : ERR_IO;
    unsigned count = descriptors_take(&header, &got);
    enum status result = OK;
    if ((header.msg_flags & MSG_TRUNC) != 0)
        result = ERR_SIZE;
    else if ((header.msg_flags & MSG_CTRUNC) != 0 && count == 0)
        result = ERR_LIMIT; /* there was room for it, so it could not be installed */
    else if ((header.msg_flags & MSG_CTRUNC) != 0 || count > 1)
        result = ERR_DESCRIPTOR;
    else if (n == 0)
        result = ERR_EOF; /* there are no zero-length messages, so this is the end */
    if (result != OK) {
        if (got >= 0)
            (void)close(got);
        if (result == ERR_LIMIT)
            *len = (size_t)n;
        return result;
    }
    *len = (size_t)n;
    *fd = got;
    return OK;
}
