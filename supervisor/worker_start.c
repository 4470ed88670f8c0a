/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting one worker: channel, process, its setting up. See worker_process.h; the process itself is
 * worker_spawn.c's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "supervisor/worker_private.h"
#include "supervisor/worker_spawn.h"

static void fill_setup(const struct supervisor *s, const struct worker_process *w, struct msg_worker_setup *m)
{
    m->role = (uint8_t)w->role;
    m->side = (uint8_t)s->side;
    /* A sanitizer build's worker leaves out by itself what sanitizers cannot bear. */
    m->sandbox_mode = strcmp(s->config->sandbox, "required") == 0 ? SANDBOX_REQUIRED : SANDBOX_BEST_EFFORT;
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
    w->channel = ipc_channel_new(s->base, fd, role_channels[role].kind, IPC_UPPER, IN_BOOT, label,
                                 &worker_channel_handlers, w);
    if (w->channel == NULL) {
        free(w);
        return NULL;
    }
    return w;
}

bool worker_can_run(enum role role)
{
    char path[512];

    (void)snprintf(path, sizeof path, "%s/%s", workers_directory(), worker_executable(role));
    return access(path, X_OK) == 0;
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
        sup_error("a %s worker could not be started (%s): %s", role_name(role), path, strerror(saved));
        worker_channel_drop(w);
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
