/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets: making one, and choosing the port of an app so that it keeps it for good. Nothing is
 * accepted here.
 */
#ifndef WORMHOLE_SUPERVISOR_LISTENERS_H
#define WORMHOLE_SUPERVISOR_LISTENERS_H

#include "supervisor/supervisor.h"

#define LISTEN_BACKLOG 4096 /* the kernel bounds it by net.core.somaxconn */

/* A numeric address and a port (0: the kernel chooses) as a non-blocking listening socket. ERR_IO: errno. */
enum status listener_open(const char *host, uint16_t port, int *fd, uint16_t *bound);

/* The port that a socket is bound to; 0 when it has none. */
uint16_t listener_port(int fd);

/*
 * Listens for the app of that key: on its stored port when it has one and it is free, else on a new one,
 * which is stored. ERR_FULL: no port is free; why (for people) is set on every failure.
 */
enum status listener_for_app(struct supervisor *s, const char *fingerprint, const char *app, int *fd,
                             uint16_t *port, char *why, size_t cap);

#endif
