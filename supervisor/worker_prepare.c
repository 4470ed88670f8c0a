/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must be known about workers before the supervisor locks itself down: where their executables are, and
 * which uid each role gets. The user database is read once, here; names of hosts never.
 */
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/worker_process.h"
#include "supervisor/worker_spawn.h"

static char directory[PATH_MAX];

static struct {
    uid_t uid;
    gid_t gid;
} ids[ROLE_COUNT];

/* Users that the packages make, the more special one first. */
static const char *const users[ROLE_COUNT][2] = {
    [ROLE_CRYPTO] = {"wormhole-crypto", NULL},
    [ROLE_SESSION] = {"wormhole-session", "wormhole-net"},
    [ROLE_DIALER] = {"wormhole-dialer", "wormhole-net"},
    [ROLE_ADMIN] = {"wormhole-admin", "wormhole-net"},
    [ROLE_K8S] = {"wormhole-k8s", NULL},
};

static bool directory_has(const char *dir, enum role role)
{
    char path[PATH_MAX + 64];

    int n = snprintf(path, sizeof path, "%s/%s", dir, worker_executable(role));
    return n > 0 && (size_t)n < sizeof path && access(path, X_OK) == 0;
}

/* Next to us in a build tree; where the packages put them; below the same prefix when it was moved. */
static enum status directory_find(const struct supervisor *s, struct config_error *error)
{
    char own[PATH_MAX];
    char candidates[3][PATH_MAX + 32];

    ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
    if (n <= 0) {
        (void)snprintf(error->text, sizeof error->text,
                       "/proc/self/exe: %s; is /proc mounted? The worker executables are found by it.",
                       strerror(errno));
        return ERR_NOT_FOUND;
    }
    own[n] = '\0';
    *strrchr(own, '/') = '\0';
    (void)snprintf(candidates[0], sizeof candidates[0], "%s", own);
    (void)snprintf(candidates[1], sizeof candidates[1], "%s", WORMHOLE_LIBEXEC_DIR);
    (void)snprintf(candidates[2], sizeof candidates[2], "%s/../libexec/wormhole", own);
    enum role last = s->config->kubernetes ? ROLE_K8S : ROLE_ADMIN;
    for (unsigned i = 0; i < 3; i++) {
        bool whole = true;
        for (enum role role = ROLE_CRYPTO; role <= last && whole; role++)
            whole = directory_has(candidates[i], role);
        if (whole && realpath(candidates[i], directory) != NULL)
            return OK;
    }
    (void)snprintf(
        error->text, sizeof error->text,
        "the worker executables (wormhole-net, wormhole-crypto%s) are not in %.150s and not in %.150s; "
        "install them there",
        s->config->kubernetes ? ", wormhole-k8s" : "", candidates[0], candidates[1]);
    return ERR_NOT_FOUND;
}

static void ids_find(const struct supervisor *s)
{
    if (!s->is_root || s->config->single_uid)
        return; /* zeros: keep ours */
    for (enum role role = ROLE_CRYPTO; role < ROLE_COUNT; role++) {
        ids[role].uid = (uid_t)s->config->user_base + (uid_t)role;
        ids[role].gid = (gid_t)s->config->user_base + (gid_t)role;
        for (unsigned i = 0; i < 2 && users[role][i] != NULL; i++) {
            const struct passwd *user = getpwnam(users[role][i]);
            if (user != NULL && user->pw_uid != 0 && user->pw_gid != 0) {
                ids[role].uid = user->pw_uid;
                ids[role].gid = user->pw_gid;
                break;
            }
        }
    }
}

enum status workers_prepare(struct supervisor *s, struct config_error *error)
{
    enum status result = directory_find(s, error);
    if (result == OK)
        ids_find(s);
    return result;
}

const char *workers_directory(void)
{
    return directory;
}

void worker_uid(const struct supervisor *s, enum role role, uid_t *uid, gid_t *gid)
{
    (void)s;
    *uid = ids[role].uid;
    *gid = ids[role].gid;
}
