/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See control.h: connections of the command line, and the admin worker's questions. Here it is judged who
 * asks (by the kernel's word or by the token), never what may be decided. Making the socket is
 * control_socket.c's business.
 */
#include "supervisor/control.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/clock.h"
#include "common/log.h"
#include "supervisor/config/netmask.h"
#include "supervisor/control_socket.h"
#include "supervisor/decisions.h"
#include "supervisor/queries.h"
#include "supervisor/user_names.h"
#include "supervisor/worker_process.h"

#define CLIENTS_MAX 32u
#define ACCEPT_PAUSE_S 1 /* after accept() failed for want of descriptors */

struct control_client {
    TAILQ_ENTRY(control_client) link;
    struct control *control;
    struct ipc_channel *channel;
    bool permitted;
    uint64_t last_ms; /* of its last question, or of its coming */
    char actor[129];
};

struct control {
    struct supervisor *supervisor;
    struct control_socket socket;
    struct event *readable, *pause;
    struct user_names users;
    TAILQ_HEAD(, control_client) clients;
    size_t n_clients;
    uint64_t denied;
};

static void client_free(struct control_client *client)
{
    TAILQ_REMOVE(&client->control->clients, client, link);
    client->control->n_clients--;
    ipc_channel_free(client->channel);
    free(client);
}

/* ---- questions and decisions ---- */

static enum status channel_send(void *arg, enum message_type type, const void *message)
{
    return ipc_channel_send(arg, type, message, -1);
}

static enum status decide(struct supervisor *s, const struct msg_decide *m, const struct store_actor *actor,
                          const struct query_sink *sink)
{
    struct decision_result result = {.outcome = OUTCOME_FAILED};
    decision_apply(s, (enum decision)m->action, m->subject, m->name, actor, &result);
    return query_result(sink, m->request, result.outcome, result.text);
}

static void on_client_message(void *arg, enum message_type type, const union message *m, int fd)
{
    struct control_client *client = arg;
    struct supervisor *s = client->control->supervisor;
    const struct query_sink sink = {.send = channel_send, .arg = client->channel};
    const struct store_actor actor = {.kind = "control", .id = client->actor};
    enum status sent = OK;
    if (fd >= 0)
        (void)close(fd); /* no question carries one; the permit table has refused it already */
    client->last_ms = clock_mono_ms();
    uint64_t request = type == MSG_QUERY ? m->query.request : m->decide.request;
    if (!client->permitted) {
        client->control->denied++;
        sup_warn("control socket: %s may not use it", client->actor);
        sent = query_result(
            &sink, request, OUTCOME_DENIED,
            "this user may not use the control socket: use sudo, or become a member of the group "
            "that --control-group names");
    } else if (type == MSG_QUERY) {
        sent = query_answer(s, &m->query, &sink);
    } else {
        sent = decide(s, &m->decide, &actor, &sink);
    }
    if (sent != OK) {
        sup_warn("control socket: %s does not read its answers: disconnected", client->actor);
        client_free(client);
    }
}

static void on_client_closed(void *arg, const char *reason)
{
    struct control_client *client = arg;
    if (reason != NULL)
        sup_warn("control socket: %s broke the rules: %s", client->actor, reason);
    client_free(client);
}

static const struct ipc_handlers client_handlers = {.message = on_client_message, .closed = on_client_closed};

/* ---- connections ---- */

static void actor_text(const struct control *control, const struct ucred *who, char *out, size_t cap)
{
    const char *name = user_names_find(&control->users, who->uid);
    if (name != NULL)
        (void)snprintf(out, cap, "uid=%u(%s) pid=%d", who->uid, name, (int)who->pid);
    else
        (void)snprintf(out, cap, "uid=%u pid=%d", who->uid, (int)who->pid);
}

/* Who has asked nothing for the longest time makes room: nobody can lock operators out by holding
 * connections. */
static void make_room(struct control *control)
{
    struct control_client *client;
    struct control_client *idlest = TAILQ_FIRST(&control->clients);
    if (control->n_clients < CLIENTS_MAX)
        return;
    TAILQ_FOREACH(client, &control->clients, link)
    {
        if (client->last_ms < idlest->last_ms)
            idlest = client;
    }
    sup_debug("control socket: too many connections; %s made room", idlest->actor);
    client_free(idlest);
}

/* Owns fd. */
static void client_new(struct control *control, int fd)
{
    struct ucred who;
    socklen_t len = sizeof who;
    make_room(control);
    struct control_client *client = calloc(1, sizeof *client);
    if (client == NULL || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0) {
        free(client);
        (void)close(fd);
        return;
    }
    client->control = control;
    client->last_ms = clock_mono_ms();
    client->permitted = control_socket_permits(&control->socket, fd, &who);
    actor_text(control, &who, client->actor, sizeof client->actor);
    client->channel = ipc_channel_new(control->supervisor->base, fd, CH_CONTROL, IPC_UPPER, IN_RUN, "control",
                                      &client_handlers, client);
    if (client->channel == NULL) {
        free(client);
        (void)close(fd);
        return;
    }
    TAILQ_INSERT_TAIL(&control->clients, client, link);
    control->n_clients++;
}

static void on_connection(evutil_socket_t listener, short what, void *arg)
{
    struct control *control = arg;
    (void)what;
    int fd = accept4((int)listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        client_new(control, fd);
        return;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        const struct timeval pause = {.tv_sec = ACCEPT_PAUSE_S};
        sup_warn("control socket: cannot accept: %s", strerror(errno));
        (void)event_del(control->readable);
        (void)event_add(control->pause, &pause);
    }
}

static void on_pause_over(evutil_socket_t fd, short what, void *arg)
{
    struct control *control = arg;
    (void)fd;
    (void)what;
    (void)event_add(control->readable, NULL);
}

/* ---- life ---- */

static enum status control_listen(struct control *control)
{
    struct event_base *base = control->supervisor->base;
    control->readable = event_new(base, control->socket.fd, EV_READ | EV_PERSIST, on_connection, control);
    control->pause = evtimer_new(base, on_pause_over, control);
    if (control->readable == NULL || control->pause == NULL || event_add(control->readable, NULL) != 0)
        return ERR_NOMEM;
    return OK;
}

enum status control_open(struct supervisor *s, struct config_error *error)
{
    struct control *control = calloc(1, sizeof *control);
    if (control == NULL) {
        (void)snprintf(error->text, sizeof error->text, "control socket: out of memory");
        return ERR_NOMEM;
    }
    control->supervisor = s;
    TAILQ_INIT(&control->clients);
    user_names_load(&control->users, "/etc/passwd");
    enum status status =
        control_socket_open(&control->socket, s->control_path, s->config->control_group, error);
    if (status == OK) {
        status = control_listen(control);
        if (status != OK)
            (void)snprintf(error->text, sizeof error->text, "control socket: out of memory");
    }
    s->control = control;
    if (status != OK)
        control_close(s);
    return status;
}

void control_close(struct supervisor *s)
{
    struct control *control = s->control;
    struct control_client *client;
    if (control == NULL)
        return;
    for (struct control_client *next = TAILQ_FIRST(&control->clients); (client = next) != NULL;) {
        next = TAILQ_NEXT(client, link);
        client_free(client);
    }
    if (control->readable != NULL)
        event_free(control->readable);
    if (control->pause != NULL)
        event_free(control->pause);
    control_socket_close(&control->socket);
    user_names_clear(&control->users);
    free(control);
    s->control = NULL;
}

void control_stats(const struct supervisor *s, struct control_stats *out)
{
    *out = (struct control_stats){0};
    if (s->control != NULL) {
        out->denied = s->control->denied;
        out->clients = s->control->n_clients;
    }
}

/* ---- the admin worker ---- */

bool control_admin_is_loopback(const struct config *config)
{
    struct netmask v4;
    struct netmask v6;
    const char *host = config->admin_host;
    return host != NULL && netmask_parse("127.0.0.0/8", &v4) == OK && netmask_parse("::1", &v6) == OK &&
           (strcmp(host, "localhost") == 0 || netmask_has_text(&v4, host) || netmask_has_text(&v6, host));
}

static enum status worker_sink(void *arg, enum message_type type, const void *message)
{
    return worker_send(arg, type, message, -1);
}

/*
 * A right token permits everything. Without one, what is not an operator's business (readiness, figures) is
 * open to whoever reaches the metrics port; the rest only where the API cannot be reached from elsewhere, and
 * decisions only as long as no token is set.
 */
static bool admin_permits(const struct supervisor *s, enum message_type type, const union message *m)
{
    const char *token = type == MSG_QUERY ? m->query.token : m->decide.token;
    if (token[0] != '\0' && admin_token_matches(&s->admin_token, token))
        return true;
    if (type == MSG_QUERY && (m->query.what == QUERY_READY || m->query.what == QUERY_METRICS))
        return true;
    if (!control_admin_is_loopback(s->config))
        return false;
    return type == MSG_QUERY || !s->admin_token.set;
}

void control_admin_message(struct supervisor *s, struct worker_process *w, enum message_type type,
                           const union message *m)
{
    const struct query_sink sink = {.send = worker_sink, .arg = w};
    if (type != MSG_QUERY && type != MSG_DECIDE)
        return;
    if (!admin_permits(s, type, m)) {
        const char *token = type == MSG_QUERY ? m->query.token : m->decide.token;
        const char *why =
            token[0] == '\0' ? "a token is needed: Authorization: Bearer TOKEN" : "the token is wrong";
        if (s->control != NULL)
            s->control->denied++;
        if (type == MSG_DECIDE)
            sup_warn("admin API: a decision of %s was refused: %s", m->decide.remote, why);
        (void)query_result(&sink, type == MSG_QUERY ? m->query.request : m->decide.request, OUTCOME_DENIED,
                           why);
        return;
    }
    if (type == MSG_QUERY) {
        (void)query_answer(s, &m->query, &sink);
        return;
    }
    const struct store_actor actor = {
        .kind = "admin",
        .id = s->admin_token.set ? "token" : "no token is set",
        .remote = m->decide.remote,
    };
    (void)decide(s, &m->decide, &actor, &sink);
}
