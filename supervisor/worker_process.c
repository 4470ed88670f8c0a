/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See worker_process.h. A worker is gone when it has been reaped AND its channel has been read to the end, so
 * that its last words are heard. Whoever breaks a rule is killed first and judged after.
 */
#include "supervisor/worker_process.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "supervisor/connections.h"
#include "supervisor/worker_log.h"
#include "supervisor/worker_spawn.h"

#define READY_MS                                                                                             \
    60000u /* from exec to WORKER_READY; crypto may have to make a 4096-bit key on a slow machine */
#define PING_EVERY_MS 10000u
#define PONG_MS 30000u
#define END_SLACK_MS 2000u  /* past the drain time, before SIGKILL */
#define FAREWELL_MS 1000u   /* for workers to end by themselves when the supervisor ends */
#define LAST_WORDS_MS 1000u /* the channel of a reaped worker is given up after this */

static const struct {
    enum ipc_kind kind;
    unsigned run_state;
} role_channel[ROLE_COUNT] = {
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

static void channel_drop(struct worker_process *w)
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
        if (code == 127 || code == 126)
            (void)snprintf(w->reason, sizeof w->reason, "%s/%s could not be executed", workers_directory(),
                           worker_executable(w->role));
        else if (w->reason[0] == '\0')
            (void)snprintf(w->reason, sizeof w->reason, "exit code %d", code);
        /* A session says itself why it ended; the connection's owner logs that. */
        log_line(w->role == ROLE_SESSION && code < 126 ? LEVEL_DEBUG : LEVEL_ERROR, &from, "ended: %s",
                 w->reason);
    } else {
        log_line(LEVEL_DEBUG, &from, "ended: %s", worker_exit_text(why));
    }
}

/* Reaped, and nothing more to read: the end of the struct, too. */
static void worker_finish(struct worker_process *w)
{
    struct supervisor *s = w->supervisor;
    enum worker_exit why = exit_reason(w);

    exit_log(w, why);
    s->counters.worker_exits[w->role][why]++;
    TAILQ_REMOVE(&s->workers, w, link);
    channel_drop(w);
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
    channel_drop(w);
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
    ipc_channel_set_state(w->channel, role_channel[w->role].run_state);
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
        channel_drop(w);
        if (w->kill_at_ms == 0) /* it has no business without a channel */
            w->kill_at_ms = clock_mono_ms() + END_SLACK_MS;
    }
    if (w->reaped)
        worker_finish(w);
}

static const struct ipc_handlers channel_handlers = {.message = on_message, .closed = on_closed};

/* ---- start --------------------------------------------------------------------------------------------- */

static void fill_setup(const struct supervisor *s, const struct worker_process *w, struct msg_worker_setup *m)
{
    m->role = (uint8_t)w->role;
    m->side = (uint8_t)s->side;
#ifdef WORMHOLE_SANITIZE
    m->sandbox_mode = SANDBOX_OFF_FOR_SANITIZER;
#else
    m->sandbox_mode = strcmp(s->config->sandbox, "required") == 0 ? SANDBOX_REQUIRED : SANDBOX_BEST_EFFORT;
#endif
    m->landlock_max = (uint8_t)s->config->landlock_max;
    m->log_level = (uint8_t)log_get_level();
#ifdef WORMHOLE_PROBES
    const char *probe = getenv("WORMHOLE_TEST_PROBE"); /* "role:number" */
    if (probe != NULL && strncmp(probe, role_name(w->role), strlen(role_name(w->role))) == 0 &&
        probe[strlen(role_name(w->role))] == ':')
        m->test_probe = (uint8_t)strtoul(strchr(probe, ':') + 1, NULL, 10);
#endif
    m->uid = w->uid;
    m->gid = w->gid;
    (void)snprintf(m->chroot_dir, sizeof m->chroot_dir, "%s", s->empty_dir);
}

static enum status worker_set_up(struct worker_process *w)
{
    struct msg_worker_setup setup = {0};

    fill_setup(w->supervisor, w, &setup);
    enum status result = worker_send(w, MSG_WORKER_SETUP, &setup, -1);
    if (result == OK && w->handlers->setup != NULL)
        result = w->handlers->setup(w, w->arg);
    if (result == OK)
        result = WORKER_SEND(w, WORKER_BEGIN, worker_begin, .instance = w->supervisor->instance);
    return result;
}

/* The parent's end of a new worker: the struct and its channel. Owns fd on success. */
static struct worker_process *worker_new(struct supervisor *s, enum role role, int fd,
                                         const struct worker_handlers *handlers, void *arg)
{
    struct worker_process *w = calloc(1, sizeof *w);
    char label[32];

    if (w == NULL)
        return NULL;
    w->supervisor = s;
    w->number = ++s->last_worker_number;
    w->role = role;
    w->doom = WORKER_EXIT_COUNT;
    w->handlers = handlers;
    w->arg = arg;
    w->started_ms = clock_mono_ms();
    worker_uid(s, role, &w->uid, &w->gid);
    (void)snprintf(label, sizeof label, "%s.%llu", role_name(role), (unsigned long long)w->number);
    w->channel = ipc_channel_new(s->base, fd, role_channel[role].kind, IPC_UPPER, IN_BOOT, label,
                                 &channel_handlers, w);
    if (w->channel == NULL) {
        free(w);
        return NULL;
    }
    return w;
}

struct worker_process *worker_start(struct supervisor *s, enum role role, const char *argument,
                                    const struct worker_handlers *handlers, void *arg)
{
    char path[512];
    int pair[2];

    (void)snprintf(path, sizeof path, "%s/%s", workers_directory(), worker_executable(role));
    if (ipc_pair(pair, false) != OK) {
        sup_error("no socket for a %s worker: %s", role_name(role), strerror(errno));
        return NULL;
    }
    struct worker_process *w = worker_new(s, role, pair[0], handlers, arg);
    if (w == NULL) {
        sup_error("no memory for a %s worker", role_name(role));
        (void)close(pair[0]);
        (void)close(pair[1]);
        return NULL;
    }
    enum status result = worker_spawn(path, role, argument, pair[1], &w->pid);
    int saved = errno;
    (void)close(pair[1]);
    if (result != OK) {
        sup_error("a %s worker could not be started: %s", role_name(role), strerror(saved));
        channel_drop(w);
        free(w);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&s->workers, w, link);
    s->counters.worker_starts[role]++;
    result = worker_set_up(w);
    if (result != OK)
        worker_kill(w, WORKER_EXIT_STOPPED, "it could not be set up");
    return w;
}

/* ---- life ---------------------------------------------------------------------------------------------- */

void workers_reap(struct supervisor *s)
{
    struct worker_process *w;
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        TAILQ_FOREACH(w, &s->workers, link)
        {
            if (w->pid == pid && !w->reaped)
                break;
        }
        if (w == NULL)
            continue;
        w->reaped = true;
        w->exit_status = status;
        w->kill_at_ms = clock_mono_ms() + LAST_WORDS_MS;
        if (w->channel == NULL)
            worker_finish(w);
    }
}

/* False: it does not answer as it should. */
static bool worker_tick(struct worker_process *w, uint64_t now, bool late)
{
    if (w->reaped) {
        if (now >= w->kill_at_ms)
            worker_finish(w);
        return true;
    }
    if (w->kill_at_ms != 0 && now >= w->kill_at_ms) {
        if (w->doom == WORKER_EXIT_COUNT)
            worker_kill(w, w->stopping ? WORKER_EXIT_STOPPED : WORKER_EXIT_STUCK, "it did not end in time");
        return true;
    }
    if (w->doom != WORKER_EXIT_COUNT || w->stopping)
        return true;
    if (!w->ready) {
        if (now - w->started_ms > READY_MS && !late)
            worker_kill(w, WORKER_EXIT_STUCK, "not ready in time");
        return now - w->started_ms < PONG_MS;
    }
    if (w->ping_sent_ms != 0) {
        if (late) {
            w->ping_sent_ms = now; /* we slept, not the worker */
        } else if (now - w->ping_sent_ms > PONG_MS) {
            worker_kill(w, WORKER_EXIT_STUCK, "no answer to a ping");
            return false;
        }
        return now - w->ping_sent_ms < PING_EVERY_MS;
    }
    if (now - w->pong_ms >= PING_EVERY_MS) {
        w->ping_sent_ms = now;
        (void)WORKER_SEND(w, WORKER_PING, worker_ping, .nonce = ++w->ping_nonce);
    }
    return true;
}

bool workers_tick(struct supervisor *s)
{
    static uint64_t last;
    uint64_t now = clock_mono_ms();
    bool late = last != 0 && now - last > 5000; /* stopped, suspended or starved: judge nobody for it */
    bool well = true;
    struct worker_process *w;
    struct worker_process *next;

    last = now;
    for (w = TAILQ_FIRST(&s->workers); w != NULL; w = next) {
        next = TAILQ_NEXT(w, link);
        well = worker_tick(w, now, late) && well;
    }
    return well;
}

void workers_log_level(struct supervisor *s, enum log_level level)
{
    struct worker_process *w;

    TAILQ_FOREACH(w, &s->workers, link)
    {
        (void)WORKER_SEND(w, WORKER_LOG_LEVEL, worker_log_level, .level = (uint8_t)level);
    }
}

/* Without their channels they end by themselves, and wipe what they know; whoever does not is killed. */
static void workers_wait(struct supervisor *s)
{
    uint64_t deadline = clock_mono_ms() + FAREWELL_MS;
    struct timespec moment = {.tv_nsec = 2000000};
    struct worker_process *w;
    bool alive = true;

    TAILQ_FOREACH(w, &s->workers, link)
    channel_drop(w);
    while (alive && clock_mono_ms() < deadline) {
        alive = false;
        TAILQ_FOREACH(w, &s->workers, link)
        {
            if (!w->reaped && waitpid(w->pid, &w->exit_status, WNOHANG) == w->pid)
                w->reaped = true;
            alive = alive || !w->reaped;
        }
        if (alive)
            (void)nanosleep(&moment, NULL);
    }
}

void workers_kill_all(struct supervisor *s)
{
    struct worker_process *w;

    workers_wait(s);
    TAILQ_FOREACH(w, &s->workers, link)
    {
        if (!w->reaped)
            (void)kill(w->pid, SIGKILL);
    }
    while ((w = TAILQ_FIRST(&s->workers)) != NULL) {
        if (!w->reaped)
            (void)waitpid(w->pid, &w->exit_status, 0);
        w->reaped = true;
        if (w->doom == WORKER_EXIT_COUNT)
            w->doom = WORKER_EXIT_STOPPED;
        worker_finish(w);
    }
}
