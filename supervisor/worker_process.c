/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See worker_process.h. A worker is gone when it has been reaped AND its channel has been read to the end, so
 * that its last words are heard. Whoever breaks a rule is killed first and judged after.
 */
#include "supervisor/worker_process.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "common/log.h"
#include "supervisor/connections.h"
#include "supervisor/worker_private.h"
#include "supervisor/worker_spawn.h"

#define END_SLACK_MS 2000u /* past the drain time, before SIGKILL */

const struct role_channel role_channels[ROLE_COUNT] = {
    [ROLE_CRYPTO] = {CH_CRYPTO, IN_RUN}, [ROLE_SESSION] = {CH_SESSION, IN_HELLO},
    [ROLE_DIALER] = {CH_DIALER, IN_RUN}, [ROLE_ADMIN] = {CH_ADMIN, IN_RUN},
    [ROLE_K8S] = {CH_K8S, IN_RUN},
};

const char *role_name(enum role role)
{
    static const char *const names[ROLE_COUNT] = {"supervisor", "crypto", "session",
                                                  "dialer",     "admin",  "k8s"};
    return (unsigned)role < ROLE_COUNT ? names[role] : "?";
}

const char *worker_exit_text(enum worker_exit why)
{
    static const char *const texts[WORKER_EXIT_COUNT] = {"clean",     "error", "crash",
                                                         "violation", "stuck", "stopped"};
    return (unsigned)why < WORKER_EXIT_COUNT ? texts[why] : "?";
}

const char *worker_peer_name(const struct worker_process *w)
{
    if (w->connection == NULL)
        return "";
    return w->connection->name[0] != '\0' ? w->connection->name : w->connection->remote;
}

static struct log_source source_of(const struct worker_process *w)
{
    return (struct log_source){.role = role_name(w->role),
                               .pid = w->pid,
                               .peer = worker_peer_name(w),
                               .connection = w->connection != NULL ? w->connection->number : 0};
}

/* ---- end ----------------------------------------------------------------------------------------------- */

void worker_channel_drop(struct worker_process *w)
{
    ipc_channel_free(w->channel);
    w->channel = NULL;
}

static enum worker_exit exit_reason(const struct worker_process *w)
{
    if (w->doom != WORKER_EXIT_COUNT)
        return w->doom;
    if (WIFSIGNALED(w->exit_status))
        return WORKER_EXIT_CRASH;
    if (w->stopping)
        return WORKER_EXIT_STOPPED;
    return WEXITSTATUS(w->exit_status) == 0 ? WORKER_EXIT_CLEAN : WORKER_EXIT_ERROR;
}

static void exit_log(struct worker_process *w, enum worker_exit why)
{
    struct log_source from = source_of(w);
    int code = WIFEXITED(w->exit_status) ? WEXITSTATUS(w->exit_status) : 0;

    if (why == WORKER_EXIT_CRASH) {
        int number = WTERMSIG(w->exit_status);
        (void)snprintf(w->reason, sizeof w->reason, "killed by signal %d (%s)%s", number, strsignal(number),
                       number == SIGSYS ? ": it tried what its seccomp filter forbids" : "");
        log_line(LEVEL_ERROR, &from, "crashed: %s", w->reason);
    } else if (why == WORKER_EXIT_ERROR) {
        if (code == 127) /* the dynamic loader */
            (void)snprintf(w->reason, sizeof w->reason, "%s/%s could not be executed", workers_directory(),
                           worker_executable(w->role));
        else if (w->reason[0] == '\0')
            (void)snprintf(w->reason, sizeof w->reason, "exit code %d", code);
        /* A session says itself why it ended; the connection's owner logs that. */
        log_line(w->role == ROLE_SESSION && code != 127 ? LEVEL_DEBUG : LEVEL_ERROR, &from, "ended: %s",
                 w->reason);
    } else {
        log_line(LEVEL_DEBUG, &from, "ended: %s", worker_exit_text(why));
    }
}

void worker_finish(struct worker_process *w)
{
    struct supervisor *s = w->supervisor;
    enum worker_exit why = exit_reason(w);

    exit_log(w, why);
    s->counters.worker_exits[w->role][why]++;
    TAILQ_REMOVE(&s->workers, w, link);
    worker_channel_drop(w);
    if (w->handlers->gone != NULL)
        w->handlers->gone(w, why, w->arg);
    free(w);
}

void worker_kill(struct worker_process *w, enum worker_exit why, const char *reason)
{
    if (w->doom == WORKER_EXIT_COUNT) {
        struct log_source from = source_of(w);
        w->doom = why;
        (void)snprintf(w->reason, sizeof w->reason, "%s", reason);
        if (why == WORKER_EXIT_VIOLATION) {
            w->supervisor->counters.violations[w->role]++;
            log_line(LEVEL_ERROR, &from, "killed, it broke the rules of IPC: %s", reason);
        } else if (why == WORKER_EXIT_STUCK) {
            log_line(LEVEL_ERROR, &from, "killed, it is stuck: %s", reason);
        } else {
            log_line(LEVEL_DEBUG, &from, "killed: %s", reason);
        }
    }
    worker_channel_drop(w);
    if (!w->reaped)
        (void)kill(w->pid, SIGKILL);
}

void worker_violation(struct worker_process *w, const char *format, ...)
{
    char text[sizeof w->reason];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    worker_kill(w, WORKER_EXIT_VIOLATION, text);
}

void worker_stop(struct worker_process *w, uint32_t drain_ms, enum end_code code, const char *reason)
{
    struct msg_worker_stop m = {.drain_ms = drain_ms, .code = (uint16_t)code};

    w->stopping = true;
    w->kill_at_ms = clock_mono_ms() + drain_ms + END_SLACK_MS;
    (void)snprintf(m.reason, sizeof m.reason, "%s", reason);
    if (!w->ready)
        worker_kill(w, WORKER_EXIT_STOPPED, reason); /* nothing to drain, and BOOT hears no STOP */
    else
        (void)worker_send(w, MSG_WORKER_STOP, &m, -1);
}

enum status worker_send(struct worker_process *w, enum message_type type, const void *message, int fd)
{
    if (w->channel == NULL)
        return ERR_EOF;
    enum status result = ipc_channel_send(w->channel, type, message, fd);
    if (result != OK && result != ERR_EOF) {
        char text[sizeof w->reason];
        (void)snprintf(text, sizeof text, "%s could not be sent: %s", ipc_message_name(type),
                       status_text(result));
        worker_kill(w, WORKER_EXIT_STUCK, text);
    }
    return result;
}

/* ---- channel ------------------------------------------------------------------------------------------- */

static void on_ready(struct worker_process *w, const struct msg_worker_ready *m)
{
    w->ready = true;
    w->layers = m->layers;
    w->landlock_abi = m->landlock_abi;
    memcpy(w->missing, m->missing, sizeof w->missing);
    w->pong_ms = clock_mono_ms();
    ipc_channel_set_state(w->channel, role_channels[w->role].run_state);
    if (w->handlers->ready != NULL)
        w->handlers->ready(w, w->arg);
}

static void on_pong(struct worker_process *w, const struct msg_worker_pong *m)
{
    if (w->ping_sent_ms == 0 || m->nonce != w->ping_nonce) {
        worker_violation(w, "WORKER_PONG that answers no ping");
        return;
    }
    w->ping_sent_ms = 0;
    w->pong_ms = clock_mono_ms();
}

static void on_message(void *arg, enum message_type type, const union message *m, int fd)
{
    struct worker_process *w = arg;

    switch (type) {
    case MSG_WORKER_READY: on_ready(w, &m->worker_ready); break;
    case MSG_WORKER_PONG: on_pong(w, &m->worker_pong); break;
    case MSG_WORKER_LOG: {
        struct log_source from = source_of(w);
        if (m->worker_log.level > LEVEL_TRACE)
            worker_violation(w, "WORKER_LOG with level %u", m->worker_log.level);
        else
            worker_log_line(&w->log, &from, &m->worker_log, &w->supervisor->counters.log_suppressed[w->role]);
        break;
    }
    default:
        if (w->handlers->message != NULL)
            w->handlers->message(w, type, m, fd, w->arg);
        else
            worker_violation(w, "%s is not expected", ipc_message_name(type));
    }
}

static void on_closed(void *arg, const char *reason)
{
    struct worker_process *w = arg;

    if (reason != NULL) {
        worker_kill(w, WORKER_EXIT_VIOLATION, reason);
    } else {
        worker_channel_drop(w);
        if (w->kill_at_ms == 0) /* it has no business without a channel */
            w->kill_at_ms = clock_mono_ms() + END_SLACK_MS;
    }
    if (w->reaped)
        worker_finish(w);
}

const struct ipc_handlers worker_channel_handlers = {.message = on_message, .closed = on_closed};
