/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker between exec and sandbox: makes sure that a living supervisor is at the other end, and takes the
 * configuration from it. Reads nothing but the channel; the supervisor is trusted here, but its messages are
 * judged by the permit table all the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/worker_private.h"

/* The process that made our channel: what getppid() has to say as long as it lives. */
static pid_t supervisor_pid;

bool worker_boot_parent_lives(void)
{
    return getppid() == supervisor_pid;
}

/*
 * The supervisor alone decides when a worker ends, by message or by closing the channel: what a terminal or
 * an init system sends to a whole group must not cut a drain short. SIGXFSZ and SIGPIPE become error codes.
 */
static void signals_ignore(void)
{
    static const int ignored[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGPIPE, SIGXFSZ,
                                  SIGUSR1, SIGUSR2, SIGTSTP, SIGTTIN, SIGTTOU, SIGALRM};
    sigset_t none;
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        (void)signal(ignored[i], SIG_IGN);
    (void)signal(SIGCHLD, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Standard input and output lead nowhere; standard error stays until the sandbox is closed. */
static bool standard_descriptors(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return false;
    bool ok = dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDOUT_FILENO) >= 0;
    if (fcntl(STDERR_FILENO, F_GETFD) < 0)
        ok = ok && dup2(null, STDERR_FILENO) >= 0;
    if (null > STDERR_FILENO)
        (void)close(null);
    return ok;
}

enum status worker_boot_process(const char **why)
{
    int type = 0, domain = 0;
    struct ucred peer = {0};
    socklen_t len = sizeof type;
    *why = "this is a part of Wormhole that only `wormhole listen` and `wormhole join` can start";
    if (getsockopt(IPC_WORKER_FD, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_SEQPACKET)
        return ERR_WRONG_STATE;
    len = sizeof domain;
    if (getsockopt(IPC_WORKER_FD, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0 || domain != AF_UNIX)
        return ERR_WRONG_STATE;
    len = sizeof peer;
    if (getsockopt(IPC_WORKER_FD, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || peer.pid <= 0)
        return ERR_WRONG_STATE;
    supervisor_pid = peer.pid;
    *why = "the supervisor is gone";
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || !worker_boot_parent_lives())
        return ERR_WRONG_STATE;
    *why = "cannot prepare the descriptors";
    if (fcntl(IPC_WORKER_FD, F_SETFD, FD_CLOEXEC) != 0 || !standard_descriptors())
        return ERR_IO;
    (void)umask(077);
    signals_ignore();
    return OK;
}

enum status worker_channel_send(struct worker *w, enum message_type type, const void *message)
{
    if (w->supervisor != NULL)
        return ipc_channel_send(w->supervisor, type, message, -1);
    uint8_t buf[IPC_MESSAGE_MAX];
    size_t len;
    enum status status = ipc_encode(type, message, buf, sizeof buf, &len);
    return status == OK ? ipc_send_packet(IPC_WORKER_FD, buf, len, -1) : status;
}

bool worker_common_message(struct worker *w, enum message_type type, const union message *m)
{
    if (type == MSG_WORKER_PING) {
        struct msg_worker_pong pong = {.nonce = m->worker_ping.nonce};
        (void)worker_channel_send(w, MSG_WORKER_PONG, &pong);
        return true;
    }
    if (type == MSG_WORKER_LOG_LEVEL) {
        if (m->worker_log_level.level <= LEVEL_TRACE)
            worker_log_set_level((enum log_level)m->worker_log_level.level);
        return true;
    }
    return false;
}

/* Waits for one packet until the deadline. */
static enum status packet_wait(uint64_t deadline, uint8_t *buf, size_t *len, int *fd)
{
    for (;;) {
        enum status status = ipc_recv_packet(IPC_WORKER_FD, buf, IPC_MESSAGE_MAX, len, fd);
        if (status != ERR_AGAIN)
            return status;
        uint64_t now = clock_mono_ms();
        if (now >= deadline)
            return ERR_TIMEOUT;
        struct pollfd p = {.fd = IPC_WORKER_FD, .events = POLLIN};
        if (poll(&p, 1, (int)(deadline - now)) < 0 && errno != EINTR)
            return ERR_IO;
    }
}

static enum status take_setup(struct worker *w, const struct worker_role *role, struct sandbox_spec *spec,
                              const struct msg_worker_setup *m)
{
    if (m->role != role->role || (m->side != SIDE_SERVER && m->side != SIDE_CLIENT) ||
        (m->sandbox_mode != SANDBOX_REQUIRED && m->sandbox_mode != SANDBOX_BEST_EFFORT) ||
        m->log_level > LEVEL_TRACE)
        return ERR_CONFIG;
#ifndef WORMHOLE_PROBES
    if (m->test_probe != 0)
        return ERR_UNSUPPORTED;
#endif
    w->side = (enum side)m->side;
    w->test_probe = m->test_probe;
    sandbox_spec_for_role(spec, role->role, w->side);
    w->sanitizer_build = spec->sanitizer;
    if (!spec->sanitizer)
        spec->mode = (enum sandbox_mode)m->sandbox_mode;
    spec->landlock_max = m->landlock_max;
    spec->uid = m->uid;
    spec->gid = m->gid;
    memcpy(spec->chroot_dir, m->chroot_dir, sizeof spec->chroot_dir);
    worker_log_set_level((enum log_level)m->log_level);
    return OK;
}

/* One message of the boot; *done is set by the last. fd is the role's once its setup was called. */
static enum status take_message(struct worker *w, const struct worker_role *role, struct sandbox_spec *spec,
                                enum message_type type, const union message *m, int fd, bool *done)
{
    bool configured = w->side != 0;
    if (type == MSG_WORKER_SETUP)
        return take_setup(w, role, spec, &m->worker_setup);
    if (type == MSG_WORKER_STOP)
        return ERR_EOF;
    if (worker_common_message(w, type, m))
        return OK;
    if (!configured)
        return ERR_WRONG_STATE;
    if (type == MSG_WORKER_BEGIN) {
        w->instance = m->worker_begin.instance;
        *done = true;
        return OK;
    }
    if (role->setup != NULL)
        return role->setup(w, type, m, fd);
    if (fd >= 0)
        (void)close(fd);
    return ERR_PERMIT;
}

static enum status next_message(struct worker *w, const struct worker_role *role, struct sandbox_spec *spec,
                                struct ipc_permit *permit, uint64_t deadline, union message *m, uint8_t *buf,
                                bool *done, const char **why)
{
    enum message_type type;
    size_t len;
    int fd;
    enum status status = packet_wait(deadline, buf, &len, &fd);
    if (status != OK)
        return status;
    unsigned number = len >= 2 ? (unsigned)(buf[0] | buf[1] << 8) : 0;
    status = ipc_permit_check(permit, number, why);
    if (status == OK && (fd >= 0) != (ipc_descriptors(number) == 1))
        status = ERR_DESCRIPTOR;
    if (status == OK)
        status = ipc_decode(buf, len, &type, m);
    if (status != OK) {
        if (fd >= 0)
            (void)close(fd);
        return status;
    }
    return take_message(w, role, spec, type, m, fd, done);
}

enum status worker_boot_messages(struct worker *w, const struct worker_role *role, struct sandbox_spec *spec,
                                 const char **why)
{
    /* On the heap: setting up may carry a proxy's password, and a stack is wiped less surely. */
    struct boot_memory {
        uint8_t buf[IPC_MESSAGE_MAX];
        union message message;
    } *memory = calloc(1, sizeof *memory);
    struct ipc_permit permit = {.kind = role->kind, .end = IPC_LOWER, .state = IN_BOOT};
    uint64_t deadline = clock_mono_ms() + WORKER_BOOT_MS;
    enum status status = memory != NULL ? OK : ERR_NOMEM;
    bool done = false;
    *why = NULL;
    while (status == OK && !done)
        status = next_message(w, role, spec, &permit, deadline, &memory->message, memory->buf, &done, why);
    if (memory != NULL)
        explicit_bzero(memory, sizeof *memory);
    free(memory);
    if (*why == NULL)
        *why = status_text(status);
    return status;
}
