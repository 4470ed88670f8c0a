/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See signals.h.
 */
#include "supervisor/signals.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "common/log.h"
#include "supervisor/reload.h"
#include "supervisor/worker_process.h"

static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
#define N_NUMBERS (sizeof numbers / sizeof numbers[0])

struct signals {
    struct event *events[N_NUMBERS];
};

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct supervisor *s = arg;

    (void)what;
    switch (number) {
    case SIGCHLD: workers_reap(s); break;
    case SIGHUP: supervisor_reload(s); break;
    default:
        if (s->draining) {
            sup_warn("%s again: ending at once", strsignal((int)number));
            supervisor_exit(s, s->exit_code);
        } else {
            supervisor_drain(s, strsignal((int)number));
        }
    }
}

enum status signals_open(struct supervisor *s)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    (void)sigaction(SIGPIPE, &ignore, NULL);
    s->signals = calloc(1, sizeof *s->signals);
    if (s->signals == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < N_NUMBERS; i++) {
        s->signals->events[i] = evsignal_new(s->base, numbers[i], on_signal, s);
        if (s->signals->events[i] == NULL || event_add(s->signals->events[i], NULL) != 0)
            return ERR_NOMEM;
    }
    return OK;
}

void signals_close(struct supervisor *s)
{
    if (s->signals == NULL)
        return;
    for (size_t i = 0; i < N_NUMBERS; i++) {
        if (s->signals->events[i] != NULL)
            event_free(s->signals->events[i]);
    }
    free(s->signals);
    s->signals = NULL;
}
