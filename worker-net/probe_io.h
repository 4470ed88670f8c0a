/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting, reading and writing for the probe's steps, with or without TLS, always against the step's
 * deadline.
 */
#ifndef WORMHOLE_NET_PROBE_IO_H
#define WORMHOLE_NET_PROBE_IO_H

#include "worker-net/probe.h"

/* Until the descriptor is ready for POLLIN or POLLOUT. ERR_TIMEOUT, ERR_IO. */
enum status probe_wait(int fd, short events, uint64_t deadline_ms);
/* All of it. */
enum status probe_write(struct probe *p, const void *data, size_t len);
/* Some more into p->input. ERR_EOF, ERR_TIMEOUT, ERR_IO, ERR_FORMAT, ERR_FULL. */
enum status probe_read(struct probe *p);
/* Drops the first bytes of p->input. */
void probe_use(struct probe *p, size_t len);
/* What these statuses mean to a person. */
const char *probe_why(enum status status);

#endif
