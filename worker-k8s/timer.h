/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arming libevent timers in milliseconds. Nothing else.
 */
#ifndef WORMHOLE_K8S_TIMER_H
#define WORMHOLE_K8S_TIMER_H

#include <event2/event.h>
#include <stdint.h>

static inline void timer_set(struct event *timer, uint32_t ms)
{
    struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000};
    (void)event_add(timer, &tv);
}

#endif
