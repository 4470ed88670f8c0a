/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See admin_slot.h.
 */
#include "supervisor/admin_slot.h"

#include "supervisor/control.h"

#define CONNECTIONS_MAX 64u

bool admin_wanted(const struct supervisor *s)
{
    return s->side == SIDE_SERVER || s->config->metrics;
}

static enum status on_setup(struct worker_process *w, void *arg)
{
    const struct supervisor *s = w->supervisor;
    bool server = s->side == SIDE_SERVER;
    enum status result = WORKER_SEND(
        w, ADMIN_SETUP, admin_setup, .api_is_loopback = server && control_admin_is_loopback(s->config),
        .token_required = s->admin_token.set, .max_connections = CONNECTIONS_MAX);

    (void)arg;
    if (result == OK && s->admin_fd >= 0)
        result = WORKER_SEND_FD(w, s->admin_fd, ADMIN_LISTENER, admin_listener, .kind = ADMIN_LISTENER_API,
                                .port = s->admin_port);
    if (result == OK && s->metrics_fd >= 0)
        result = WORKER_SEND_FD(w, s->metrics_fd, ADMIN_LISTENER, admin_listener,
                                .kind = ADMIN_LISTENER_METRICS, .port = s->metrics_port);
    return result;
}

static void on_message(struct worker_process *w, enum message_type type, const union message *m, int fd,
                       void *arg)
{
    (void)arg;
    (void)fd; /* the admin worker sends no descriptor */
    control_admin_message(w->supervisor, w, type, m);
}

const struct worker_handlers admin_handlers = {.setup = on_setup, .message = on_message};
