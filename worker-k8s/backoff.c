/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Back-off with jitter (backoff.h). It must not sleep or read a clock.
 */
#include "worker-k8s/backoff.h"

void backoff_good(struct backoff *backoff, uint64_t now)
{
    if (backoff->good_since == 0) {
        backoff->good_since = now;
    }
}

uint32_t backoff_bad(struct backoff *backoff, uint64_t now, uint32_t random)
{
    if (backoff->good_since != 0 && now - backoff->good_since >= BACKOFF_GOOD_MS) {
        backoff->step_ms = 0;
    }
    backoff->good_since = 0;
    uint32_t step = backoff->step_ms == 0 ? BACKOFF_FIRST_MS : backoff->step_ms;
    backoff->step_ms = step >= BACKOFF_LAST_MS / 2 ? BACKOFF_LAST_MS : step * 2;
    return step + random % (step / 2 + 1);
}
