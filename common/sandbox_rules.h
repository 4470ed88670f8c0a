/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of system calls by role: data only. What a line means is said in sandbox_rules.c; who applies it
 * is sandbox_seccomp.c alone.
 */
#ifndef WORMHOLE_COMMON_SANDBOX_RULES_H
#define WORMHOLE_COMMON_SANDBOX_RULES_H

#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>

enum sandbox_who {
    WHO_SUPERVISOR = 1 << 0,
    WHO_CRYPTO = 1 << 1,
    WHO_SERVER_SESSION = 1 << 2,
    WHO_CLIENT_SESSION = 1 << 3,
    WHO_DIALER = 1 << 4,
    WHO_ADMIN = 1 << 5,
    WHO_K8S = 1 << 6,
};

struct sandbox_rule {
    int call;
    uint16_t who;   /* enum sandbox_who */
    uint16_t error; /* 0: allowed; otherwise refused with this errno instead of death */
    uint8_t n_args;
    struct scmp_arg_cmp args[3];
};

extern const struct sandbox_rule sandbox_rules[];
extern const size_t sandbox_rules_count;

#endif
