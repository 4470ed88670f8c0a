/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin role: turns requests into questions to the supervisor and answers into replies. One question at a
 * time, in turn, page by page, so that neither a slow client nor a long list can fill anybody's memory or
 * hold up others.
 */
#include "worker-net/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/worker.h"
#include "worker-net/roles.h"

#define ANSWER_S 10          /* the supervisor answers within milliseconds, or not at all */
#define OUTPUT_ENOUGH 65536u /* bytes: no further page before the client has taken some of it */
#define LISTENERS_MAX 4u
#define CONNECTIONS_MAX 1024u

struct admin {
    struct worker *worker;
    struct http_server *server;
    bool configured, api_is_loopback;
    unsigned max_connections;
    struct {
        int fd;
        uint8_t kind;
    } listeners[LISTENERS_MAX]; /* until the server takes them over */
    size_t n_listeners;
    struct admin_job *first, **last; /* waiting for their turn */
    struct admin_job *current;       /* asked, not answered */
    struct event *timeout;
    uint64_t last_number;
};

static struct admin admin;

static void pump(void);

/* ---- jobs ---- */

static void job_free(struct admin_job *job)
{
    explicit_bzero(job->token, sizeof job->token);
    free(job);
}

static void enqueue(struct admin_job *job)
{
    job->next = NULL;
    job->parked = false;
    *admin.last = job;
    admin.last = &job->next;
}

static struct admin_job *dequeue(void)
{
    struct admin_job *job = admin.first;
    if (job == NULL)
        return NULL;
    admin.first = job->next;
    if (admin.first == NULL)
        admin.last = &admin.first;
    return job;
}

/* The job is out of every list. Answering may bring the connection's next request in at once, so it comes
 * last. */
static void fail(struct admin_job *job, int status, const char *text)
{
    struct http_exchange *exchange = job->exchange;
    bool begun = job->begun;
    char why[sizeof((struct msg_result *)0)->text];
    (void)snprintf(why, sizeof why, "%s", text);
    job_free(job);
    if (exchange == NULL)
        return;
    http_exchange_set_data(exchange, NULL);
    if (begun)
        http_reply_abort(exchange);
    else
        http_reply_error(exchange, status, status == 401 ? "WWW-Authenticate: Bearer\r\n" : NULL, why);
}

static void succeed(struct admin_job *job)
{
    struct http_exchange *exchange = job->exchange;
    const struct admin_view *view = job->route->view;
    http_exchange_set_data(exchange, NULL);
    if (job->route->decides) {
        job_free(job);
        http_reply(exchange, 204, NULL, NULL, NULL, 0);
        return;
    }
    struct admin_job copy = *job;
    explicit_bzero(copy.token, sizeof copy.token);
    job_free(job);
    if (view->end != NULL)
        view->end(&copy);
    if (!view->whole)
        http_reply_end(exchange);
}

/* ---- questions ---- */

static enum status ask(struct admin_job *job)
{
    struct ipc_channel *channel = admin.worker->supervisor;
    job->number = ++admin.last_number;
    if (channel == NULL)
        return ERR_EOF;
    if (job->route->decides) {
        struct msg_decide m = {.request = job->number, .action = job->route->what};
        (void)snprintf(m.subject, sizeof m.subject, "%s", job->filter);
        (void)snprintf(m.remote, sizeof m.remote, "%s", http_exchange_remote(job->exchange));
        (void)snprintf(m.token, sizeof m.token, "%s", job->token);
        enum status status = ipc_channel_send(channel, MSG_DECIDE, &m, -1);
        explicit_bzero(m.token, sizeof m.token);
        return status;
    }
    struct msg_query m = {.request = job->number, .what = job->route->what, .after = job->after};
    (void)snprintf(m.filter, sizeof m.filter, "%s", job->filter);
    (void)snprintf(m.token, sizeof m.token, "%s", job->token);
    enum status status = ipc_channel_send(channel, MSG_QUERY, &m, -1);
    explicit_bzero(m.token, sizeof m.token);
    return status;
}

/* Asks for the next in the queue when nothing is under way. */
static void pump(void)
{
    const struct timeval wait = {.tv_sec = ANSWER_S};
    struct admin_job *job = NULL;
    while (admin.current == NULL && (job = dequeue()) != NULL) {
        if (ask(job) != OK) {
            fail(job, 503, "the supervisor does not take questions now");
            continue;
        }
        admin.current = job;
        (void)event_add(admin.timeout, &wait);
    }
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
    struct admin_job *job = admin.current;
    (void)fd;
    (void)what;
    (void)arg;
    admin.current = NULL;
    if (job != NULL)
        fail(job, 503, "the supervisor did not answer in time");
    pump();
}

static int outcome_status(uint8_t outcome)
{
    switch (outcome) {
    case OUTCOME_NOT_FOUND: return 404;
    case OUTCOME_DENIED: return 401;
    case OUTCOME_CONFLICT: return 409;
    case OUTCOME_BAD: return 400;
    case OUTCOME_UNSUPPORTED: return 501;
    default: return 503;
    }
}

static void begin(struct admin_job *job)
{
    const struct admin_view *view = job->route->view;
    if (job->begun || view->whole)
        return;
    job->begun = true;
    http_reply_begin(job->exchange, 200, view->type);
    if (view->begin != NULL)
        view->begin(job);
}

static void on_row(enum message_type type, const union message *row)
{
    struct admin_job *job = admin.current;
    /* Rows of a question that was given up may still come; their first field is always the question's number.
     */
    if (job == NULL || row->result.request != job->number || job->exchange == NULL || job->route->decides)
        return;
    begin(job);
    job->route->view->row(job, type, row);
}

static void next_page(struct admin_job *job)
{
    if (http_reply_waiting(job->exchange) > OUTPUT_ENOUGH)
        job->parked = true; /* on_drained() goes on */
    else
        enqueue(job);
}

static void on_result(const struct msg_result *m)
{
    struct admin_job *job = admin.current;
    if (job == NULL || m->request != job->number)
        return;
    admin.current = NULL;
    (void)event_del(admin.timeout);
    if (job->exchange == NULL) {
        job_free(job);
    } else if (m->outcome != OUTCOME_DONE) {
        fail(job, outcome_status(m->outcome), m->text);
    } else if (job->route->decides) {
        succeed(job);
    } else {
        begin(job);
        /* A cursor that stands still would go round forever. */
        bool more = m->more != 0 && m->cursor > job->after && job->limit > 0;
        job->after = m->cursor;
        if (more)
            next_page(job);
        else
            succeed(job);
    }
    pump();
}

/* ---- the HTTP side ---- */

static void on_request(void *arg, struct http_exchange *exchange)
{
    (void)arg;
    const char *why = "";
    char allow[64];
    struct admin_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        http_reply_error(exchange, 503, NULL, "out of memory");
        return;
    }
    int status = admin_route_find(http_exchange_request(exchange),
                                  (enum admin_listener_kind)http_exchange_kind(exchange),
                                  admin.api_is_loopback, job, &why, allow, sizeof allow);
    if (status != 0) {
        char extra[80] = "";
        if (allow[0] != '\0')
            (void)snprintf(extra, sizeof extra, "Allow: %s\r\n", allow);
        job_free(job);
        http_reply_error(exchange, status, extra, why);
        return;
    }
    job->exchange = exchange;
    http_exchange_set_data(exchange, job);
    enqueue(job);
    pump();
}

static void on_drained(void *arg, struct http_exchange *exchange)
{
    struct admin_job *job = http_exchange_data(exchange);
    (void)arg;
    if (job == NULL || !job->parked)
        return;
    enqueue(job);
    pump();
}

static void on_gone(void *arg, struct http_exchange *exchange)
{
    struct admin_job *job = http_exchange_data(exchange);
    (void)arg;
    if (job == NULL)
        return;
    job->exchange = NULL;
    if (job == admin.current)
        return; /* its answer is still to come, and is thrown away */
    for (struct admin_job **at = &admin.first; *at != NULL; at = &(*at)->next) {
        if (*at != job)
            continue;
        *at = job->next;
        if (*at == NULL)
            admin.last = at;
        break;
    }
    job_free(job);
}

static const struct http_handlers handlers = {.request = on_request, .drained = on_drained, .gone = on_gone};

/* ---- the worker ---- */

static enum status take_listener(uint8_t kind, int fd)
{
    bool known = kind == ADMIN_LISTENER_API || kind == ADMIN_LISTENER_METRICS;
    if (!known || fd < 0 || admin.n_listeners == LISTENERS_MAX) {
        if (fd >= 0)
            (void)close(fd);
        return ERR_FORMAT;
    }
    if (admin.server != NULL)
        return http_server_listen(admin.server, fd, kind);
    admin.listeners[admin.n_listeners].fd = fd;
    admin.listeners[admin.n_listeners++].kind = kind;
    return OK;
}

static enum status admin_setup(struct worker *w, enum message_type type, const union message *m, int fd)
{
    admin.worker = w;
    admin.last = &admin.first;
    if (type == MSG_ADMIN_LISTENER)
        return take_listener(m->admin_listener.kind, fd);
    if (fd >= 0)
        (void)close(fd);
    if (type != MSG_ADMIN_SETUP)
        return ERR_PERMIT;
    admin.configured = true;
    admin.api_is_loopback = m->admin_setup.api_is_loopback != 0;
    admin.max_connections = m->admin_setup.max_connections;
    if (admin.max_connections == 0 || admin.max_connections > CONNECTIONS_MAX)
        admin.max_connections = CONNECTIONS_MAX;
    return OK;
}

static enum status admin_preload(struct worker *w, struct sandbox_spec *spec)
{
    (void)w;
    (void)spec;
    if (!admin.configured) {
        log_error("admin: was not told whom to serve");
        return ERR_CONFIG;
    }
    /* The Date of answers: the C library reads the time zone's file the first time, and later it cannot. */
    tzset();
    return OK;
}

static enum status admin_start(struct worker *w)
{
    struct http_limits limits = http_limits_default;
    limits.connections = admin.max_connections == 0 ? limits.connections : admin.max_connections;
    admin.timeout = evtimer_new(w->base, on_timeout, NULL);
    admin.server = http_server_new(w->base, &limits, &handlers, NULL);
    if (admin.timeout == NULL || admin.server == NULL)
        return ERR_NOMEM;
    enum status status = OK;
    for (size_t i = 0; status == OK && i < admin.n_listeners; i++)
        status = http_server_listen(admin.server, admin.listeners[i].fd, admin.listeners[i].kind);
    return status;
}

static void admin_message(struct worker *w, enum message_type type, const union message *m, int fd)
{
    if (type == MSG_ADMIN_LISTENER) {
        if (take_listener(m->admin_listener.kind, fd) != OK)
            log_error("a listening socket could not be taken over");
        return;
    }
    (void)w;
    if (fd >= 0)
        (void)close(fd);
    if (type == MSG_RESULT)
        on_result(&m->result);
    else
        on_row(type, m);
}

const struct worker_role admin_role = {
    .role = ROLE_ADMIN,
    .kind = CH_ADMIN,
    .run_state = IN_RUN,
    .name = "admin",
    .setup = admin_setup,
    .preload = admin_preload,
    .start = admin_start,
    .message = admin_message,
};
