/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long to wait before asking the API server again: 0.8 s doubling to 30 s, each with jitter, back to the
 * start after two good minutes. Pure: the caller brings the clock and the randomness.
 */
#ifndef WORMHOLE_K8S_BACKOFF_H
#define WORMHOLE_K8S_BACKOFF_H

#include <stdint.h>

#define BACKOFF_FIRST_MS 800u
#define BACKOFF_LAST_MS 30000u
#define BACKOFF_GOOD_MS 120000u

struct backoff {
    uint32_t step_ms;    /* the next wait before jitter; 0: none yet */
    uint64_t good_since; /* monotonic ms since when all is well; 0: it is not */
};

/* All is well from `now` (monotonic milliseconds, not 0). Later calls while it stays well change nothing. */
void backoff_good(struct backoff *backoff, uint64_t now);

/* It went wrong: milliseconds to wait, in [step, 1.5 x step] by `random`. */
uint32_t backoff_bad(struct backoff *backoff, uint64_t now, uint32_t random);

#endif
