/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All workers together: reaping, pings and deadlines, the end of the supervisor. See worker_process.h.
 */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "common/clock.h"
#include "supervisor/worker_private.h"

#define READY_MS                                                                                             \
    60000u /* from exec to WORKER_READY; crypto may have to make a 4096-bit key on a slow machine */
#define PING_EVERY_MS 10000u
#define ANSWER_MS 5000u /* later than this, not everything is well: the watchdog hears nothing */
#define PONG_MS 30000u
#define FAREWELL_MS 1000u   /* for workers to end by themselves when the supervisor ends */
#define LAST_WORDS_MS 1000u /* the channel of a reaped worker is given up after this */

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
        return now - w->ping_sent_ms < ANSWER_MS;
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
    {
        worker_channel_drop(w);
    }
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
