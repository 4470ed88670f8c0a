/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library for LD_PRELOAD that makes the real `wormhole listen` try one escape (WORMHOLE_PROBE_NUMBER) where
 * it would begin its event loop: its cage is closed then, and nothing has been read from anywhere. It ends
 * the process.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/worker_probe.h"

struct event_base;

__attribute__((visibility("default"))) int event_base_loop(struct event_base *base, int flags);
__attribute__((visibility("default"))) int event_base_dispatch(struct event_base *base);

int event_base_loop(struct event_base *base, int flags)
{
    char line[160];
    const char *number = getenv("WORMHOLE_PROBE_NUMBER");
    (void)base;
    (void)flags;
    probe_try(number != NULL ? (unsigned)strtoul(number, NULL, 10) : 0, line, sizeof line);
    (void)dprintf(STDERR_FILENO, "%s\n", line);
    _exit(0);
}

int event_base_dispatch(struct event_base *base)
{
    return event_base_loop(base, 0);
}
