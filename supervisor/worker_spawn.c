/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See worker_spawn.h. Between fork and exec only async-signal-safe calls are made; everything that needs
 * memory is prepared before.
 */
#include "supervisor/worker_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

static void signals_reset(void)
{
    struct sigaction fresh = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < NSIG; number++) {
        if (number != SIGKILL && number != SIGSTOP)
            (void)sigaction(number, &fresh, NULL);
    }
    /* A peer that is gone must be an error code, not a death. */
    fresh.sa_handler = SIG_IGN;
    (void)sigaction(SIGPIPE, &fresh, NULL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The child: never returns. A failure shows as exit code 126 (descriptors) or 127 (exec). */
__attribute__((noreturn)) static void child_exec(const char *path, char **argv, char **env, int channel,
                                                 int null)
{
    signals_reset();
    if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
        _exit(126);
    if (channel == IPC_WORKER_FD) {
        if (fcntl(channel, F_SETFD, 0) != 0)
            _exit(126);
    } else if (dup2(channel, IPC_WORKER_FD) < 0) {
        _exit(126);
    }
    if (close_range(IPC_WORKER_FD + 1, ~0u, 0) != 0)
        _exit(126);
    (void)umask(077);
    if (chdir("/") != 0)
        _exit(126);
    (void)execve(path, argv, env);
    _exit(127);
}

enum status worker_spawn(const char *path, enum role role, const char *argument, int channel, pid_t *pid)
{
    static int null = -1;
    static char space[8192];
    char *env[N_PASSED + 1];
    char name[32];
    char role_text[16];
    char argument_text[32] = "";
    sigset_t all;
    sigset_t before;

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

    /* No handler of ours may run in the child: it would write into the loop's own wake-up socket. */
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, &before);
    pid_t child = fork();
    if (child == 0)
        child_exec(path, argv, env, channel, null);
    int saved = errno;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    if (child < 0)
        return ERR_IO;
    *pid = child;
    return OK;
}
