/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams on real sockets: see stream_socket.h. Events are level-triggered, so that no end and no error can
 * be missed, and are taken away only from a socket that has data which cannot go anywhere now.
 */
#include "worker-net/stream_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "worker-net/mux_private.h"

static int socket_of(const struct stream *s)
{
    return event_get_fd(&s->event);
}

static void disarm(struct stream *s)
{
    if (s->armed)
        (void)event_del(&s->event);
    s->armed = false;
}

static void arm(struct stream *s)
{
    if (!s->armed)
        s->armed = event_add(&s->event, NULL) == 0;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct stream *s = arg;

    (void)fd;
    if (s->readable) {
        /* Told already, and nobody could read it since: it waits for credit or for the tunnel. Do not spin.
         */
        s->hangup = s->hangup || (what & EV_CLOSED) != 0;
        disarm(s);
        return;
    }
    mux_readable(s, (what & EV_CLOSED) != 0);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    mux_writable(arg);
}

void stream_socket_options(int fd)
{
    int one = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

enum status stream_socket_attach(struct stream *s, struct event_base *base, int fd, bool inherited)
{
    if (event_assign(&s->event, base, fd, EV_READ | EV_CLOSED | EV_PERSIST, on_readable, s) != 0)
        return ERR_NOMEM;
    if (event_add(&s->event, NULL) != 0)
        return ERR_NOMEM;
    s->armed = true;
    s->attached = true;
    if (!inherited)
        stream_socket_options(fd);
    return OK;
}

ssize_t stream_socket_read(struct stream *s, const struct iovec *iov, int n)
{
    size_t wanted = 0;

    for (int i = 0; i < n; i++)
        wanted += iov[i].iov_len;
    s->mux->stats.read_calls++;
    ssize_t got = readv(socket_of(s), iov, n);
    if (got == 0)
        disarm(s); /* its end would be told for ever */
    else if (got < (ssize_t)wanted)
        arm(s);
    return got;
}

/* Asks to be told when the socket takes data again. */
static bool await_writable(struct stream *s)
{
    if (s->writable == NULL)
        s->writable =
            event_new(event_get_base(&s->event), socket_of(s), EV_WRITE | EV_PERSIST, on_writable, s);
    return s->writable != NULL &&
           (event_pending(s->writable, EV_WRITE, NULL) != 0 || event_add(s->writable, NULL) == 0);
}

ssize_t stream_socket_write(struct stream *s, const struct iovec *iov, int n)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};
    size_t offered = 0;

    for (int i = 0; i < n; i++)
        offered += iov[i].iov_len;
    s->mux->stats.write_calls++;
    ssize_t taken = sendmsg(socket_of(s), &message, MSG_NOSIGNAL);
    if (taken < 0 && errno != EAGAIN && errno != EINTR)
        return -1;
    if (taken < 0)
        taken = 0;
    if ((size_t)taken < offered)
        return await_writable(s) ? taken : -1;
    if (s->writable != NULL && stream_spill_bytes(s->spill) <= offered)
        (void)event_del(s->writable);
    return taken;
}

void stream_socket_shut(struct stream *s)
{
    (void)shutdown(socket_of(s), SHUT_WR);
}

void stream_socket_stop(struct stream *s)
{
    (void)shutdown(socket_of(s), SHUT_RD);
}

void stream_socket_reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    (void)close(fd);
}

void stream_socket_detach(struct stream *s, enum stream_end how)
{
    if (!s->attached)
        return;
    int fd = socket_of(s);
    disarm(s);
    if (s->writable != NULL)
        event_free(s->writable);
    s->writable = NULL;
    s->attached = false;
    if (how == STREAM_BROKEN)
        stream_socket_reset(fd);
    else
        (void)close(fd);
}
