/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the three files about worker processes share (worker_process.c: channel and end; worker_start.c;
 * workers.c: all of them together). Nobody else includes this.
 */
#ifndef WORMHOLE_SUPERVISOR_WORKER_PRIVATE_H
#define WORMHOLE_SUPERVISOR_WORKER_PRIVATE_H

#include "supervisor/worker_process.h"

/* The kind of a role's channel, and its state once the worker is ready. */
struct role_channel {
    enum ipc_kind kind;
    unsigned run_state;
};
extern const struct role_channel role_channels[ROLE_COUNT];
extern const struct ipc_handlers worker_channel_handlers;

void worker_channel_drop(struct worker_process *w);
/* Reaped, and nothing more to read: the end of the struct, too. */
void worker_finish(struct worker_process *w);

#endif
