/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See worker_spawn.h. The C library makes the child, in memory that it shares with us until its exec.
 */
#include "supervisor/worker_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/ipc.h"
#include "supervisor/worker_process.h"

/*
 * What a worker may know of our environment: an allow-list. The resolver's and OpenSSL's own variables, where
 * the API server is, and what the sanitizers want.
 */
static const char *const passed[] = {
    "LANG",
    "TZ",
    "LOCALDOMAIN",
    "RES_OPTIONS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "ASAN_OPTIONS",
    "UBSAN_OPTIONS",
    "LSAN_OPTIONS",
    "KUBERNETES_SERVICE_HOST",
    "KUBECONFIG",
    "HOME",
    "POD_NAME",
    "POD_NAMESPACE",
    "KUBERNETES_SERVICE_PORT",
    "LLVM_PROFILE_FILE",
};
#define N_PASSED (sizeof passed / sizeof passed[0])

/* HOME is for the Kubernetes worker's kubeconfig only. */
static bool may_pass(const char *name, enum role role)
{
    bool k8s = strncmp(name, "KUBE", 4) == 0 || strncmp(name, "POD_", 4) == 0 || strcmp(name, "HOME") == 0;
    return !k8s || role == ROLE_K8S;
}

static void environment_fill(enum role role, char *space, size_t cap, char **env)
{
    size_t n = 0;
    size_t at = 0;

    for (size_t i = 0; i < N_PASSED; i++) {
        const char *value = may_pass(passed[i], role) ? getenv(passed[i]) : NULL;
        if (value == NULL)
            continue;
        int len = snprintf(space + at, cap - at, "%s=%s", passed[i], value);
        if (len < 0 || (size_t)len >= cap - at)
            continue;
        env[n++] = space + at;
        at += (size_t)len + 1;
    }
    env[n] = NULL;
}

const char *worker_executable(enum role role)
{
    switch (role) {
    case ROLE_CRYPTO: return "wormhole-crypto";
    case ROLE_K8S: return "wormhole-k8s";
    case ROLE_SESSION:
    case ROLE_DIALER:
    case ROLE_ADMIN: return "wormhole-net";
    default: return NULL;
    }
}

/*
 * What the child does between clone and exec: descriptors 0 to 3, nothing above; the root directory. All
 * signals have their default action again; what a worker ignores it ignores by itself.
 */
static int actions_fill(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes, int channel,
                        int null)
{
    sigset_t all;
    sigset_t none;

    (void)sigfillset(&all);
    (void)sigemptyset(&none);
    int failed = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    if (failed == 0)
        failed = posix_spawnattr_setsigdefault(attributes, &all);
    if (failed == 0)
        failed = posix_spawnattr_setsigmask(attributes, &none);
    if (failed == 0)
        failed = posix_spawn_file_actions_adddup2(actions, null, STDIN_FILENO);
    if (failed == 0)
        failed = posix_spawn_file_actions_adddup2(actions, null, STDOUT_FILENO);
    if (failed == 0) /* the same number: only its close-on-exec flag goes */
        failed = posix_spawn_file_actions_adddup2(actions, channel, IPC_WORKER_FD);
    if (failed == 0)
        failed = posix_spawn_file_actions_addclosefrom_np(actions, IPC_WORKER_FD + 1);
    if (failed == 0)
        failed = posix_spawn_file_actions_addchdir_np(actions, "/");
    return failed;
}

/* posix_spawn() does not copy our page tables, which fork() does for every connection. Returns 0 or an errno.
 */
static int spawn(const char *path, char **argv, char **env, int channel, int null, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int failed = posix_spawn_file_actions_init(&actions);

    if (failed != 0)
        return failed;
    failed = posix_spawnattr_init(&attributes);
    if (failed == 0) {
        failed = actions_fill(&actions, &attributes, channel, null);
        if (failed == 0)
            failed = posix_spawn(pid, path, &actions, &attributes, argv, env);
        (void)posix_spawnattr_destroy(&attributes);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    return failed;
}

enum status worker_spawn(const char *path, enum role role, const char *argument, int channel, pid_t *pid)
{
    static int null = -1;
    static char space[8192];
    char *env[N_PASSED + 1];
    char name[32];
    char role_text[16];
    char argument_text[32] = "";

    if (null < 0)
        null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return ERR_IO;
    environment_fill(role, space, sizeof space, env);
    (void)snprintf(name, sizeof name, "%s", worker_executable(role));
    (void)snprintf(role_text, sizeof role_text, "%s", role_name(role));
    if (argument != NULL)
        (void)snprintf(argument_text, sizeof argument_text, "%s", argument);
    char *argv[] = {name, role_text, argument != NULL ? argument_text : NULL, NULL};

    int failed = spawn(path, argv, env, channel, null, pid);
    errno = failed;
    return failed == 0 ? OK : ERR_IO;
}
