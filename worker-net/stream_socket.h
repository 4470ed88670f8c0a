/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams on real sockets: the reading, writing and ending that the mux asks for, and the events that tell it
 * when. It decides nothing about streams; sockets come connected or accepted from elsewhere.
 */
#ifndef WORMHOLE_NET_STREAM_SOCKET_H
#define WORMHOLE_NET_STREAM_SOCKET_H

#include <sys/uio.h>

#include "worker-net/stream.h"

struct event_base;

/*
 * Gives the stream its socket (non-blocking), whose owner it is from now on; sets attached. ERR_NOMEM: the
 * socket is not taken. `inherited`: it was accepted from a listener prepared with stream_socket_options(), so
 * that its options are set.
 */
enum status stream_socket_attach(struct stream *s, struct event_base *base, int fd, bool inherited);

/* No delay; on a listener, its accepted sockets inherit that. Failure is ignored: not every socket is TCP. */
void stream_socket_options(int fd);

/* Closes so that the other end sees a reset. */
void stream_socket_reset(int fd);

/* For struct mux_ops. */
ssize_t stream_socket_read(struct stream *s, const struct iovec *iov, int n);
ssize_t stream_socket_write(struct stream *s, const struct iovec *iov, int n);
void stream_socket_shut(struct stream *s);
void stream_socket_stop(struct stream *s);
void stream_socket_detach(struct stream *s, enum stream_end how);

#endif
