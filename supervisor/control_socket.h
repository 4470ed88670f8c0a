/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket itself: made with its mode and group, a stale one replaced, a living one left alone; and
 * who at its other end may use it. No messages here.
 */
#ifndef WORMHOLE_SUPERVISOR_CONTROL_SOCKET_H
#define WORMHOLE_SUPERVISOR_CONTROL_SOCKET_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "common/status.h"
#include "supervisor/config/config.h"

struct control_socket {
    int fd; /* listening; -1: none */
    char path[108];
    dev_t device; /* of the socket file that we made: another one is not removed at the end */
    ino_t inode;
    bool has_group;
    gid_t group;
};

/*
 * Listens on path (SOCK_SEQPACKET, mode 0600; 0660 for the group). Makes its directory when only that is
 * missing. ERR_CONFLICT: another supervisor answers there; ERR_CONFIG: bad path or group; ERR_IO. error->text
 * says what to do.
 */
enum status control_socket_open(struct control_socket *cs, const char *path, const char *group,
                                struct config_error *error);
void control_socket_close(struct control_socket *cs);

/*
 * May this connection be used? root, our own user, and members of the group. The file's mode says the same;
 * this holds even when somebody changes the mode.
 */
bool control_socket_permits(const struct control_socket *cs, int fd, const struct ucred *who);

#endif
