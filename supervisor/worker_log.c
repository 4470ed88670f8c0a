/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See worker_log.h. A token bucket a little larger than the one that workers keep themselves, so that an
 * honest worker never meets this one.
 */
#include "supervisor/worker_log.h"

#include "common/clock.h"

#define BURST 100u
#define LINES_PER_SECOND 20u

void worker_log_line(struct worker_log *log, const struct log_source *from, const struct msg_worker_log *m,
                     uint64_t *total)
{
    uint64_t now = clock_mono_ms();

    if (m->level > log_get_level())
        return;
    if (log->refilled_ms == 0) {
        log->tokens = BURST;
        log->refilled_ms = now;
    }
    uint64_t earned = (now - log->refilled_ms) * LINES_PER_SECOND / 1000;
    if (earned > 0) {
        log->tokens = earned >= BURST - log->tokens ? BURST : log->tokens + (uint32_t)earned;
        log->refilled_ms = now;
    }
    /* At debug and trace the operator asked for everything. */
    if (log->tokens == 0 && log_get_level() < LEVEL_DEBUG) {
        log->suppressed++;
        (*total)++;
        return;
    }
    if (log->tokens > 0)
        log->tokens--;
    uint64_t suppressed = log->suppressed + m->suppressed;
    log->suppressed = 0;
    *total += m->suppressed;
    if (suppressed > 0)
        log_line((enum log_level)m->level, from, "%s (%llu lines before it were suppressed)", m->text,
                 (unsigned long long)suppressed);
    else
        log_line((enum log_level)m->level, from, "%s", m->text);
}
