/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker that must always be there (crypto, dialer, admin, k8s): started again with back-off when it ends.
 * What it says is its owner's business.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <event2/event.h>

#include "common/clock.h"
#include "common/log.h"
#include "supervisor/worker_process.h"

#define BACKOFF_MIN_MS 100u
#define BACKOFF_MAX_MS 10000u
#define GOOD_MS 60000u /* a life of this length resets the back-off */

static void slot_start(struct worker_slot *slot);

static void slot_schedule(struct worker_slot *slot)
{
    struct timeval pause = clock_timeval(slot->backoff_ms);

    (void)event_add(slot->timer, &pause);
    slot->backoff_ms = slot->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : slot->backoff_ms * 2;
}

static enum status on_setup(struct worker_process *w, void *arg)
{
    struct worker_slot *slot = arg;
    return slot->handlers->setup != NULL ? slot->handlers->setup(w, slot->arg) : OK;
}

static void on_ready(struct worker_process *w, void *arg)
{
    struct worker_slot *slot = arg;

    slot->was_ready = true;
    if (slot->handlers->ready != NULL)
        slot->handlers->ready(w, slot->arg);
}

static void on_message(struct worker_process *w, enum message_type type, const union message *m, int fd,
                       void *arg)
{
    struct worker_slot *slot = arg;
    slot->handlers->message(w, type, m, fd, slot->arg);
}

/* A worker that refuses to start the first time, and says by its exit code that this cannot pass, is fatal.
 */
static bool is_fatal(const struct worker_slot *slot, const struct worker_process *w, enum worker_exit why)
{
    if (slot->was_ready || why != WORKER_EXIT_ERROR)
        return false;
    int code = WEXITSTATUS(w->exit_status);
    return code == EXIT_NOT_PERMITTED || code == EXIT_BAD_CONFIG || code == EXIT_UNAVAILABLE || code == 127;
}

static void on_gone(struct worker_process *w, enum worker_exit why, void *arg)
{
    struct worker_slot *slot = arg;
    struct supervisor *s = slot->supervisor;

    (void)snprintf(slot->last_error, sizeof slot->last_error, "%s%s%s", worker_exit_text(why),
                   w->reason[0] != '\0' ? ": " : "", w->reason);
    slot->process = NULL;
    if (slot->handlers->gone != NULL)
        slot->handlers->gone(w, why, slot->arg);
    if (s->draining || s->exiting)
        return;
    if (is_fatal(slot, w, why)) {
        int code = WEXITSTATUS(w->exit_status);
        sup_error("the %s worker cannot start: see its message above", role_name(slot->role));
        supervisor_exit(s, code == 127 ? EXIT_UNAVAILABLE : code);
        return;
    }
    if (clock_mono_ms() - w->started_ms >= GOOD_MS)
        slot->backoff_ms = BACKOFF_MIN_MS;
    sup_warn("%s worker ended (%s), starting another", role_name(slot->role), slot->last_error);
    slot_schedule(slot);
}

static const struct worker_handlers handlers = {
    .setup = on_setup, .ready = on_ready, .message = on_message, .gone = on_gone};

static void slot_start(struct worker_slot *slot)
{
    slot->process = worker_start(slot->supervisor, slot->role, NULL, &handlers, slot);
    if (slot->process == NULL) {
        slot_schedule(slot);
        return;
    }
    if (slot->started)
        slot->restarts++;
    slot->started = true;
    slot->process->restarts = slot->restarts;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct worker_slot *slot = arg;

    (void)fd;
    (void)what;
    if (!slot->started && !worker_can_run(slot->role)) /* the installation is broken; it was said */
        supervisor_exit(slot->supervisor, EXIT_UNAVAILABLE);
    else
        slot_start(slot);
}

struct worker_slot *worker_slot_new(struct supervisor *s, enum role role, const struct worker_handlers *owner,
                                    void *arg)
{
    struct worker_slot *slot = calloc(1, sizeof *slot);

    if (slot == NULL)
        return NULL;
    slot->supervisor = s;
    slot->role = role;
    slot->handlers = owner;
    slot->arg = arg;
    slot->backoff_ms = BACKOFF_MIN_MS;
    slot->timer = evtimer_new(s->base, on_timer, slot);
    if (slot->timer == NULL) {
        free(slot);
        return NULL;
    }
    slot_start(slot);
    return slot;
}

void worker_slot_free(struct worker_slot *slot)
{
    if (slot == NULL)
        return;
    event_free(slot->timer);
    free(slot);
}

bool worker_slot_ready(const struct worker_slot *slot)
{
    return slot != NULL && slot->process != NULL && slot->process->ready &&
           slot->process->doom == WORKER_EXIT_COUNT;
}
