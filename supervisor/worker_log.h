/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines that workers send: limited here again, because a worker that was taken over does not limit
 * itself. Escaping is common/log's business.
 */
#ifndef WORMHOLE_SUPERVISOR_WORKER_LOG_H
#define WORMHOLE_SUPERVISOR_WORKER_LOG_H

#include <stdint.h>

#include "common/ipc.h"
#include "common/log.h"

struct worker_log {
    uint64_t refilled_ms; /* monotonic; 0: never used */
    uint32_t tokens;      /* lines that may be written at once */
    uint64_t suppressed;  /* since the last written line */
};

/* Writes the line, or counts it in log->suppressed and *total. */
void worker_log_line(struct worker_log *log, const struct log_source *from, const struct msg_worker_log *m,
                     uint64_t *total);

#endif
