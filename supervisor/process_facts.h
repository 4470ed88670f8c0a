/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel says about a living process (proc(5)): for `status` and metrics, so that what they show is
 * what is in force, not what was asked for. Reads /proc only, and only what needs no privilege.
 */
#ifndef WORMHOLE_SUPERVISOR_PROCESS_FACTS_H
#define WORMHOLE_SUPERVISOR_PROCESS_FACTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/status.h"

struct process_facts {
    uint32_t uid, gid; /* effective */
    uint64_t cap_effective, cap_permitted, cap_bounding;
    bool no_new_privs;
    uint8_t seccomp_mode; /* 2 = filter */
    uint32_t seccomp_filters;
    uint32_t rss_kib, threads;
    uint32_t descriptors; /* 0: the kernel does not tell us (before Linux 6.2, another user's process) */
    double cpu_seconds;   /* user and system */
};

/* ERR_NOT_FOUND: there is no such process, or /proc is not mounted or hides it. */
enum status process_facts_read(pid_t pid, struct process_facts *out);

/* The parser of /proc/PID/status by itself. ERR_FORMAT: a line that must be there is not. */
enum status process_facts_parse(const char *text, struct process_facts *out);

#endif
