/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns the table of sandbox_rules.c into a seccomp filter for one role and installs it: an allow-list, and
 * death for everything else. Must not add a rule of its own but the ones that depend on the process's id.
 *
 * Filters are inherited over fork and exec and only ever add up, so the supervisor's filter is the union of
 * what every role may call, of what the steps of sandbox_enter() and the dynamic loader need, and of its own
 * needs. Where it differs from the union of the workers' lines (mapping code, any clone but new namespaces,
 * sockets that listen), the table has a SUPERVISOR line. Each worker then narrows the rest for itself.
 */
#include "common/sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <unistd.h>

#include "common/sandbox_rules.h"

static unsigned role_bit(enum role role, enum side side)
{
    switch (role) {
    case ROLE_SUPERVISOR: return WHO_SUPERVISOR;
    case ROLE_CRYPTO: return WHO_CRYPTO;
    case ROLE_SESSION: return side == SIDE_SERVER ? WHO_SERVER_SESSION : WHO_CLIENT_SESSION;
    case ROLE_DIALER: return WHO_DIALER;
    case ROLE_ADMIN: return WHO_ADMIN;
    case ROLE_K8S: return WHO_K8S;
    case ROLE_COUNT: break;
    }
    return 0;
}

/* The supervisor gets every role's permissions, but a refusal by error code only where its own line says so.
 */
static bool rule_applies(const struct sandbox_rule *rule, unsigned who)
{
    if (rule->who & who)
        return true;
    return who == WHO_SUPERVISOR && rule->error == 0;
}

static int rules_add(scmp_filter_ctx filter, unsigned who)
{
    for (size_t i = 0; i < sandbox_rules_count; i++) {
        const struct sandbox_rule *rule = &sandbox_rules[i];
        if (!rule_applies(rule, who))
            continue;
        uint32_t action = rule->error == 0 ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(rule->error);
        int rc = seccomp_rule_add_array(filter, action, rule->call, rule->n_args, rule->args);
        if (rc != 0)
            return rc;
    }
    /* abort() signals the own process; no worker signals any other. */
    if (who != WHO_SUPERVISOR)
        return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                                SCMP_A0(SCMP_CMP_MASKED_EQ, 0xffffffffu, (uint32_t)getpid()));
    return 0;
}

enum status sandbox_seccomp_install(enum role role, enum side side)
{
    unsigned who = role_bit(role, side);
    if (who == 0)
        return ERR_TYPE;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (filter == NULL)
        return ERR_NOMEM;
    int rc = rules_add(filter, who);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    errno = rc < 0 ? -rc : rc;
    return rc == 0 ? OK : ERR_UNSUPPORTED;
}
