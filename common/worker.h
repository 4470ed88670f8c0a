/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of every worker: from exec to sandbox to event loop to exit.
 *
 * A worker's main() hands a `struct worker_role` to worker_main(), which takes the configuration from the
 * supervisor's channel, lets the role preload what it will need, closes the sandbox, says READY and runs the
 * loop. Roles never call the sandbox themselves, and never touch the network before `start`.
 */
#ifndef WORMHOLE_COMMON_WORKER_H
#define WORMHOLE_COMMON_WORKER_H

#include "common/ipc_channel.h"
#include "common/ipc_types.h"
#include "common/sandbox.h"

struct event_base;

struct worker {
    struct event_base *base;
    struct ipc_channel *supervisor; /* the channel on fd 3 */
    enum role role;
    enum side side;
    uint64_t instance; /* the supervisor's, from WORKER_BEGIN */
    bool sanitizer_build;
    uint8_t test_probe; /* test builds: the escape to try (common/worker_probe.def) */
    void *state;        /* the role's own */
};

/*
 * What a role brings. Order of calls: setup (for each message between WORKER_SETUP and WORKER_BEGIN, before
 * any sandbox; fd is the role's), preload (before the sandbox; open key directories, load CA files, warm up
 * OpenSSL and the resolver), sandbox is closed, WORKER_READY is sent, start, then message for each further
 * message.
 */
struct worker_role {
    enum role role;
    enum ipc_kind kind; /* of the channel to the supervisor */
    unsigned run_state; /* IN_RUN, or IN_HELLO for a session */
    const char *name;   /* "net", "crypto", "k8s": for messages before the channel works */
    enum status (*setup)(struct worker *w, enum message_type type, const union message *m, int fd);
    /* May add files and ports to spec. ERR_CONFIG: it has logged what to correct; the process exits with
     * code 78. */
    enum status (*preload)(struct worker *w, struct sandbox_spec *spec);
    enum status (*start)(struct worker *w);
    void (*message)(struct worker *w, enum message_type type, const union message *m, int fd);
    /* WORKER_STOP: finish within drain_ms, then worker_exit(). NULL: exit at once. */
    void (*stop)(struct worker *w, const struct msg_worker_stop *m);
    void (*finish)(struct worker *w); /* before exit: wipe secrets; may be NULL */
};

/* Never returns but by exit(). argv is used for the process title only ("wormhole-net session 12"). */
int worker_main(int argc, char **argv, const struct worker_role *role);

/* Leaves the loop and ends the process with this exit code after flushing the channel. */
void worker_exit(struct worker *w, int code);

/*
 * Logs through the supervisor: printf-like, at most 1 KiB, rate-limited (a burst of 50, then 10 lines a
 * second; what was suppressed is counted in the next line). Before the channel works: to stderr.
 */
void worker_log(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool worker_log_enabled(enum log_level level);

#define log_error(...) worker_log(LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) worker_log(LEVEL_WARN, __VA_ARGS__)
#define log_info(...) worker_log(LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                                       \
    do {                                                                                                     \
        if (worker_log_enabled(LEVEL_DEBUG))                                                                 \
            worker_log(LEVEL_DEBUG, __VA_ARGS__);                                                            \
    } while (0)

#endif
