/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's log lines: rate-limited here, so that a peer who provokes them cannot fill the channel, and
 * written by the supervisor. Must not allocate, and must not write to any file.
 */
#include "common/worker.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/worker_private.h"

#define LOG_BURST 50u
#define LOG_MS_PER_LINE 100u

static struct {
    struct worker *worker;
    const char *name;
    enum log_level level;
    uint32_t suppressed;
    uint64_t full_at; /* monotonic milliseconds when the burst is whole again */
} out = {.name = "wormhole worker", .level = LEVEL_INFO};

void worker_log_open(struct worker *w, const char *name)
{
    out.worker = w;
    out.name = name;
}

void worker_log_set_level(enum log_level level)
{
    out.level = level;
    ipc_trace_enable(level >= LEVEL_TRACE);
}

bool worker_log_enabled(enum log_level level)
{
    return level <= out.level;
}

/* Each line moves full_at one pace ahead; a whole burst ahead means that there is no budget. */
static bool take_budget(void)
{
    uint64_t now = clock_mono_ms();
    if (out.full_at < now)
        out.full_at = now;
    if (out.full_at - now > (uint64_t)(LOG_BURST - 1) * LOG_MS_PER_LINE)
        return false;
    out.full_at += LOG_MS_PER_LINE;
    return true;
}

void worker_log(enum log_level level, const char *format, ...)
{
    if (!worker_log_enabled(level))
        return;
    if (!take_budget()) {
        out.suppressed++;
        return;
    }
    struct msg_worker_log line = {.level = (uint8_t)level, .suppressed = out.suppressed};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line.text, sizeof line.text, format, args);
    va_end(args);
    if (out.worker != NULL && worker_channel_send(out.worker, MSG_WORKER_LOG, &line) == OK) {
        out.suppressed = 0;
        return;
    }
    if (out.worker == NULL)
        (void)fprintf(stderr, "%s: %s\n", out.name, line.text);
    else
        out.suppressed++;
}
