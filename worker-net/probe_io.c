/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See probe_io.h. Blocking by poll(): a probe does one thing at a time.
 */
#include "worker-net/probe_io.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "worker-net/tls.h"

enum status probe_wait(int fd, short events, uint64_t deadline_ms)
{
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = events};
        uint64_t now = clock_mono_ms();
        int n = now < deadline_ms ? poll(&ready, 1, (int)(deadline_ms - now)) : 0;
        if (n > 0)
            return OK;
        if (n == 0)
            return ERR_TIMEOUT;
        if (errno != EINTR)
            return ERR_IO;
    }
}

static enum status write_some(struct probe *p, const uint8_t *data, size_t len, size_t *n)
{
    if (p->tls != NULL)
        return tls_write(p->tls, data, len, n);
    ssize_t sent = send(p->fd, data, len, MSG_NOSIGNAL);
    if (sent >= 0) {
        *n = (size_t)sent;
        return OK;
    }
    return errno == EAGAIN || errno == EINTR ? ERR_AGAIN : ERR_IO;
}

enum status probe_write(struct probe *p, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len > 0) {
        size_t n = 0;
        enum status st = write_some(p, at, len, &n);
        if (st == ERR_AGAIN)
            st = probe_wait(p->fd, POLLOUT, p->deadline_ms);
        if (st != OK)
            return st;
        at += n;
        len -= n;
    }
    return OK;
}

enum status probe_read(struct probe *p)
{
    size_t room = sizeof p->input - p->input_len, n = 0;
    if (room == 0)
        return ERR_FULL;
    for (;;) {
        enum status st = OK;
        if (clock_mono_ms() >= p->deadline_ms) /* also for one who never stops talking */
            return ERR_TIMEOUT;
        if (p->tls != NULL) {
            st = tls_read(p->tls, p->input + p->input_len, room, &n);
        } else {
            ssize_t got = recv(p->fd, p->input + p->input_len, room, 0);
            n = got > 0 ? (size_t)got : 0;
            st = got > 0 ? OK : got == 0 ? ERR_EOF : errno == EAGAIN || errno == EINTR ? ERR_AGAIN : ERR_IO;
        }
        if (st == OK)
            p->input_len += n;
        if (st == ERR_AGAIN)
            st = probe_wait(p->fd, POLLIN, p->deadline_ms);
        if (st != OK || n > 0)
            return st;
    }
}

void probe_use(struct probe *p, size_t len)
{
    memmove(p->input, p->input + len, p->input_len - len);
    p->input_len -= len;
}

const char *probe_why(enum status status)
{
    switch (status) {
    case ERR_TIMEOUT: return "no answer in time";
    case ERR_EOF: return "the other end closed the connection without an answer";
    case ERR_IO: return strerror(errno);
    case ERR_FULL: return "the answer is far too long";
    default: return status_text(status);
    }
}
