/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Escape attempts that a test build of a worker makes from inside its own closed sandbox, one per process.
 * Only compiled with WORMHOLE_PROBES, which is never installed.
 */
#ifndef WORMHOLE_COMMON_WORKER_PROBE_H
#define WORMHOLE_COMMON_WORKER_PROBE_H

#include <stddef.h>

/*
 * Tries number `probe` (from 1, in the order of common/worker_probe.def) and writes one line: "probe NAME
 * allowed", "probe NAME refused ERRNO". It may die instead, which is the best answer.
 */
void probe_try(unsigned probe, char *line, size_t cap);

#endif
