/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worker processes as the supervisor sees them: start, channel, readiness, pings, end, restart. It knows no
 * message but those that every worker has; the rest goes to the handlers of the role.
 */
#ifndef WORMHOLE_SUPERVISOR_WORKER_PROCESS_H
#define WORMHOLE_SUPERVISOR_WORKER_PROCESS_H

#include "supervisor/supervisor.h"
#include "supervisor/worker_log.h"

struct worker_process;

/* What the owner of a kind of worker wants to hear. Any may be NULL. */
struct worker_handlers {
    /* Send what belongs between WORKER_SETUP and WORKER_BEGIN. Not OK: the worker is killed. */
    enum status (*setup)(struct worker_process *w, void *arg);
    /* WORKER_READY came; the channel's state is IN_RUN (session: IN_HELLO). */
    void (*ready)(struct worker_process *w, void *arg);
    /* Every permitted message but the common ones. fd (or -1) belongs to the handler. */
    void (*message)(struct worker_process *w, enum message_type type, const union message *m, int fd,
                    void *arg);
    /* It has been reaped; w is freed after this call. */
    void (*gone)(struct worker_process *w, enum worker_exit why, void *arg);
};

struct worker_process {
    TAILQ_ENTRY(worker_process) link;
    struct supervisor *supervisor;
    uint64_t number; /* never reused */
    enum role role;
    pid_t pid;
    uid_t uid; /* what it was told to become; the kernel's truth is in /proc/PID/status */
    gid_t gid;
    struct ipc_channel *channel; /* NULL once it closed */
    bool ready;
    uint32_t layers; /* as it reported; 0 until ready */
    uint8_t landlock_abi;
    char missing[256];
    uint64_t started_ms; /* monotonic */
    uint32_t restarts;   /* of its slot (crypto, dialer, admin, k8s, a client's connection); else 0 */
    uint64_t ping_nonce, ping_sent_ms, pong_ms;
    bool stopping;         /* we told it to end */
    uint64_t kill_at_ms;   /* monotonic; 0: no deadline */
    enum worker_exit doom; /* why we killed it; WORKER_EXIT_COUNT: we did not */
    char reason[128];      /* last words about it, for log and status */
    bool reaped;           /* the process is no more; exit_status is wait()'s */
    int exit_status;
    struct worker_log log;         /* how much it may still log */
    struct connection *connection; /* a session's; else NULL */
    const struct worker_handlers *handlers;
    void *arg;
};

/*
 * Starts one worker: pair, process, WORKER_SETUP, handlers->setup, WORKER_BEGIN. NULL with a log line when
 * the kernel refuses. `argument` (or NULL) becomes argv[2], for `ps`.
 */
struct worker_process *worker_start(struct supervisor *s, enum role role, const char *argument,
                                    const struct worker_handlers *handlers, void *arg);

/* Whether the role's executable is there. false: starting it would fail however often it is tried. */
bool worker_can_run(enum role role);

/* Asks it to end within drain_ms (enum end_code, reason for the peer), kills it a little later. */
void worker_stop(struct worker_process *w, uint32_t drain_ms, enum end_code code, const char *reason);
/* SIGKILL now; `gone` follows when it is reaped. Violations and stuck ones are logged and counted here. */
void worker_kill(struct worker_process *w, enum worker_exit why, const char *reason);

/*
 * Sends to a worker. On ERR_FULL (it does not take its messages) or a defect the worker is killed; callers
 * may ignore the result, `gone` follows.
 */
enum status worker_send(struct worker_process *w, enum message_type type, const void *message, int fd);
#define WORKER_SEND(w, NAME, name, ...)                                                                      \
    worker_send((w), MSG_##NAME, &(const struct msg_##name){__VA_ARGS__}, -1)
#define WORKER_SEND_FD(w, fd, NAME, name, ...)                                                               \
    worker_send((w), MSG_##NAME, &(const struct msg_##name){__VA_ARGS__}, (fd))

/* A message that is well-formed and permitted but cannot be true: same end as a violation. */
void worker_violation(struct worker_process *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

const char *role_name(enum role role);
/* "edge1", or the remote address of a connection that is not approved yet, or "". Never NULL. */
const char *worker_peer_name(const struct worker_process *w);

/* Before lockdown: finds executables and uids. ERR_NOT_FOUND / ERR_CONFIG with error->text. */
enum status workers_prepare(struct supervisor *s, struct config_error *error);
/* Directory of the worker executables, found by workers_prepare(). */
const char *workers_directory(void);
/* The uid and gid of a role (0, 0: keep ours). */
void worker_uid(const struct supervisor *s, enum role role, uid_t *uid, gid_t *gid);

/* SIGCHLD: reaps what ended. */
void workers_reap(struct supervisor *s);
/* Every second: pings, deadlines. Returns true when every worker answers. */
bool workers_tick(struct supervisor *s);
/* New log level for all. */
void workers_log_level(struct supervisor *s, enum log_level level);
/* The very end: closes all channels, waits a moment, SIGKILL for who is left, reaps. */
void workers_kill_all(struct supervisor *s);

/* A worker that must always be there: restarted with back-off (0.1 s doubling to 10 s, reset after a good
 * minute). */
struct worker_slot {
    struct supervisor *supervisor;
    enum role role;
    const struct worker_handlers *handlers; /* the owner's */
    void *arg;
    struct worker_process *process; /* NULL while it is down */
    struct event *timer;
    uint32_t restarts; /* starts so far */
    uint32_t backoff_ms;
    bool was_ready;       /* once in its life */
    bool started;         /* once in its life */
    char last_error[160]; /* why it ended last */
};
struct worker_slot *worker_slot_new(struct supervisor *s, enum role role,
                                    const struct worker_handlers *handlers, void *arg);
/* Does not kill the process: workers_kill_all() does. */
void worker_slot_free(struct worker_slot *slot);
/* Up and ready? */
bool worker_slot_ready(const struct worker_slot *slot);

#endif
