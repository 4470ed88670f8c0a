/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start of a worker's process, and what it finds when it wakes up: descriptors 0 to 3, a short
 * environment, default signals. Nothing of the supervisor's may leak through here. Knows no message.
 */
#ifndef WORMHOLE_SUPERVISOR_WORKER_SPAWN_H
#define WORMHOLE_SUPERVISOR_WORKER_SPAWN_H

#include <sys/types.h>

#include "common/ipc_types.h"
#include "common/status.h"

/* "wormhole-net" and so on: the executable of a role. */
const char *worker_executable(enum role role);

/*
 * Starts `path` with channel as its descriptor 3 (the caller closes its own copy). argument (or NULL) is
 * argv[2]. ERR_IO: errno, which may be that of execve(2).
 */
enum status worker_spawn(const char *path, enum role role, const char *argument, int channel, pid_t *pid);

#endif
