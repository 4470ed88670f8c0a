/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service manager: sd_notify(3) and socket activation (sd_listen_fds(3)), written by hand so that nothing
 * of systemd is linked. Without a service manager everything here is a no-op.
 */
#ifndef WORMHOLE_SUPERVISOR_NOTIFY_H
#define WORMHOLE_SUPERVISOR_NOTIFY_H

#include "supervisor/supervisor.h"

/* Connects to NOTIFY_SOCKET (before lockdown) and reads WATCHDOG_USEC. Never NULL but out of memory. */
struct notify *notify_open(void);
void notify_close(struct notify *notify);

void notify_ready(struct notify *notify);
void notify_stopping(struct notify *notify);
void notify_reloading(struct notify *notify);
/* One line for `systemctl status`; sent when it differs from the last one. */
void notify_status(struct notify *notify, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* WATCHDOG=1 when it is due; call every second, and only while everything is well. */
void notify_watchdog(struct notify *notify);

/*
 * Sockets that the service manager made: names from LISTEN_FDNAMES ("tunnel", "admin", "metrics"; a single
 * one without such a name is the tunnel). Fills what is there with the descriptors, close-on-exec and
 * non-blocking; what it cannot use is closed. ERR_CONFIG with the text: a descriptor is no listening socket.
 */
enum status activation_take(int *tunnel, int *admin, int *metrics, struct config_error *error);

#endif
