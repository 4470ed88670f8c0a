/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order in which a process's cage is closed, and what each role gets by default. The layers themselves
 * are in sandbox_identity.c, sandbox_landlock.c and sandbox_seccomp.c. This file must not know a single
 * system call of the allow-list, and nothing here may widen a cage that is closed.
 */
#include "common/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/sandbox_private.h"

void sandbox_missing(struct sandbox_report *report, const char *part, const char *why)
{
    size_t used = strlen(report->missing);
    (void)snprintf(report->missing + used, sizeof report->missing - used, "%s%s: %s", used > 0 ? "; " : "",
                   part, why);
}

/*
 * Address space, not resident memory: threads' stacks and malloc's arenas only reserve. A session's preload
 * may set its own figure from the windows that it was given.
 */
static const struct {
    uint64_t descriptors, memory;
} role_limits[ROLE_COUNT] = {
    [ROLE_SUPERVISOR] = {0, 0},      [ROLE_CRYPTO] = {4096, 1ull << 30}, [ROLE_SESSION] = {0, 2ull << 30},
    [ROLE_DIALER] = {0, 2ull << 30}, [ROLE_ADMIN] = {4096, 1ull << 30},  [ROLE_K8S] = {1024, 4ull << 30},
};

void sandbox_spec_for_role(struct sandbox_spec *spec, enum role role, enum side side)
{
    memset(spec, 0, sizeof *spec);
    spec->role = role;
    spec->side = side;
    spec->mode = SANDBOX_REQUIRED;
    spec->landlock_max = 255;
    spec->max_descriptors = role_limits[role].descriptors;
    spec->max_memory = role_limits[role].memory;
    if (role != ROLE_SUPERVISOR) {
        /* No worker binds. The dialer's ports are whatever apps are exposed, which changes while it runs. */
        spec->restrict_bind = true;
        spec->restrict_connect = role != ROLE_DIALER;
    }
#ifdef WORMHOLE_SANITIZE
    spec->sanitizer = true;
    spec->mode = SANDBOX_OFF_FOR_SANITIZER;
#endif
}

enum status sandbox_allow_path(struct sandbox_spec *spec, const char *path, unsigned access)
{
    if (strlen(path) >= sizeof spec->paths[0].path || path[0] != '/')
        return ERR_SIZE;
    if (spec->n_paths >= SANDBOX_PATHS_MAX)
        return ERR_FULL;
    struct sandbox_path *slot = &spec->paths[spec->n_paths++];
    (void)snprintf(slot->path, sizeof slot->path, "%s", path);
    slot->access = access;
    return OK;
}

enum status sandbox_allow_connect(struct sandbox_spec *spec, uint16_t port)
{
    if (spec->n_connect_ports >= SANDBOX_PORTS_MAX)
        return ERR_FULL;
    spec->restrict_connect = true;
    spec->connect_ports[spec->n_connect_ports++] = port;
    return OK;
}

enum status sandbox_allow_bind(struct sandbox_spec *spec, uint16_t port)
{
    if (spec->n_bind_ports >= SANDBOX_PORTS_MAX)
        return ERR_FULL;
    spec->restrict_bind = true;
    spec->bind_ports[spec->n_bind_ports++] = port;
    return OK;
}

/*
 * Landlock and seccomp and everything that may not be undone. A failure that leaves the process with more
 * than it should have is fatal in required mode only for what product promises: no_new_privs, seccomp,
 * privileges.
 */
static enum status close_layers(const struct sandbox_spec *spec, struct sandbox_landlock *landlock,
                                struct sandbox_report *report)
{
    bool required = spec->mode == SANDBOX_REQUIRED;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
        report->layers |= LAYER_NO_NEW_PRIVS;
    else
        sandbox_missing(report, "no_new_privs", strerror(errno));

    if (sandbox_landlock_enforce(spec, landlock, report) != OK && required)
        return ERR_UNSUPPORTED;

    if (spec->mode == SANDBOX_OFF_FOR_SANITIZER || spec->sanitizer) {
        sandbox_missing(report, "seccomp", "off in a sanitizer build");
        return OK;
    }
    if (sandbox_seccomp_install(spec->role, spec->side) == OK)
        report->layers |= LAYER_SECCOMP;
    else
        sandbox_missing(report, "seccomp", strerror(errno));
    unsigned needed = LAYER_NO_NEW_PRIVS | LAYER_SECCOMP;
    return !required || (report->layers & needed) == needed ? OK : ERR_UNSUPPORTED;
}

enum status sandbox_enter(const struct sandbox_spec *spec, struct sandbox_report *report)
{
    struct sandbox_landlock landlock;
    memset(report, 0, sizeof *report);
    if ((unsigned)spec->role >= ROLE_COUNT)
        return ERR_TYPE;
    enum status status = sandbox_landlock_prepare(spec, &landlock, report);
    if (status != OK)
        return status;
    status = sandbox_identity(spec, report);
    if (status == OK)
        status = sandbox_rlimits(spec, report);
    if (status != OK) {
        if (landlock.ruleset >= 0)
            (void)close(landlock.ruleset);
        return status;
    }
    /* A sanitizer's leak check attaches to its own process; the change of uid has made it undumpable, too. */
    if (prctl(PR_SET_DUMPABLE, spec->sanitizer ? 1 : 0, 0, 0, 0) == 0 && !spec->sanitizer)
        report->layers |= LAYER_UNDUMPABLE;
    return close_layers(spec, &landlock, report);
}

void sandbox_layers_text(uint32_t layers, char *buf, size_t cap)
{
    static const struct {
        uint32_t layer;
        const char *name;
    } names[] = {
        {LAYER_CHROOT, "chroot"},
        {LAYER_UID, "uid"},
        {LAYER_CAPABILITIES, "caps"},
        {LAYER_RLIMITS, "rlimits"},
        {LAYER_UNDUMPABLE, "undumpable"},
        {LAYER_NO_NEW_PRIVS, "no-new-privs"},
        {LAYER_LANDLOCK_FILES, "landlock-files"},
        {LAYER_LANDLOCK_NET, "landlock-net"},
        {LAYER_LANDLOCK_SCOPES, "landlock-scopes"},
        {LAYER_SECCOMP, "seccomp"},
    };
    size_t used = 0;
    if (cap == 0)
        return;
    buf[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if ((layers & names[i].layer) == 0 || used >= cap)
            continue;
        int n = snprintf(buf + used, cap - used, "%s%s", used > 0 ? " " : "", names[i].name);
        if (n > 0)
            used += (size_t)n;
    }
}
