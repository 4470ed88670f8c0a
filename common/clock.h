/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clocks: monotonic for every deadline, wall clock for what people and the audit read. Nothing that decides
 * may use the wall clock, because it jumps.
 */
#ifndef WORMHOLE_COMMON_CLOCK_H
#define WORMHOLE_COMMON_CLOCK_H

#include <stdint.h>
#include <sys/time.h>
#include <time.h>

static inline uint64_t clock_mono_us(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static inline uint64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000u;
}

static inline uint64_t clock_wall_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

/* A span of time as libevent takes it. */
static inline struct timeval clock_timeval(uint64_t ms)
{
    return (struct timeval){.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000) * 1000};
}

static inline uint64_t clock_wall_s(void)
{
    return clock_wall_ms() / 1000u;
}

#endif
