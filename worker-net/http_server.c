/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See http_server.h: listeners, connections, reading requests, deadlines. A connection that says nothing
 * costs a place and a deadline, no more; when places run out, the one that has been idle longest makes room.
 */
#include "worker-net/http_server_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/names.h"
#include "worker-net/http_upgrade_head.h"

#define INPUT_MAX 32768u   /* bytes of further requests that are read ahead */
#define DRAIN_BELOW 16384u /* `drained` when the output is below this */
#define ACCEPTS_PER_TURN 16
#define ACCEPT_PAUSE_S 1  /* after accept() failed for want of descriptors or memory */
#define ANSWER_MS 300000u /* the longest that one answer may take in all */
#define LINGER_MS 2000u

const struct http_limits http_limits_default = {
    .connections = 64, .request_ms = 10000, .idle_ms = 60000, .send_ms = 30000};

static void exchange_process(struct http_exchange *x);

/* ---- connections ---- */

static void exchange_free(struct http_exchange *x)
{
    TAILQ_REMOVE(&x->server->exchanges, x, link);
    x->server->n_exchanges--;
    http_request_clear(&x->request);
    event_free(x->deadline);
    bufferevent_free(x->bev);
    free(x);
}

static void deadline_set(struct http_exchange *x, unsigned ms)
{
    const struct timeval after = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    (void)event_add(x->deadline, &after);
}

static void state_set(struct http_exchange *x, enum exchange_state state)
{
    const struct http_limits *limits = &x->server->limits;
    x->state = state;
    x->since_ms = clock_mono_ms();
    switch (state) {
    case EXCHANGE_IDLE: deadline_set(x, limits->idle_ms); break;
    case EXCHANGE_HEAD: deadline_set(x, limits->request_ms); break;
    case EXCHANGE_BODY: break; /* the head's deadline is the whole request's */
    case EXCHANGE_ANSWERING: deadline_set(x, ANSWER_MS); break;
    case EXCHANGE_CLOSING: deadline_set(x, limits->send_ms); break;
    case EXCHANGE_LINGERING: deadline_set(x, LINGER_MS); break;
    case EXCHANGE_DEAD: deadline_set(x, 0); break;
    }
}

void http_exchange_doom(struct http_exchange *x)
{
    (void)bufferevent_disable(x->bev, EV_READ | EV_WRITE);
    state_set(x, EXCHANGE_DEAD);
}

/* The connection cannot go on. Whoever still owes it an answer hears of that. */
static void exchange_lost(struct http_exchange *x)
{
    if (x->state == EXCHANGE_ANSWERING)
        x->server->handlers->gone(x->server->arg, x);
    exchange_free(x);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct http_exchange *x = arg;
    (void)fd;
    (void)what;
    if (x->state == EXCHANGE_HEAD || x->state == EXCHANGE_BODY) {
        /* Told why, unless it never said a word. */
        if (evbuffer_get_length(bufferevent_get_input(x->bev)) > 0 || x->state == EXCHANGE_BODY) {
            x->request.keep_alive = false;
            state_set(x, EXCHANGE_ANSWERING);
            http_reply_error(x, 408, NULL, "the request did not come in time");
            return;
        }
    }
    exchange_lost(x);
}

static void linger(struct http_exchange *x)
{
    (void)shutdown(bufferevent_getfd(x->bev), SHUT_WR);
    state_set(x, EXCHANGE_LINGERING);
    if (x->no_more_input)
        http_exchange_doom(x);
}

void http_exchange_finish(struct http_exchange *x)
{
    http_request_clear(&x->request);
    x->data = NULL;
    x->streaming = false;
    if (x->request.keep_alive && !x->no_more_input && !x->server->draining) {
        state_set(x, EXCHANGE_IDLE);
        if (!x->processing)
            exchange_process(x);
        return;
    }
    state_set(x, EXCHANGE_CLOSING);
    if (evbuffer_get_length(bufferevent_get_output(x->bev)) == 0)
        linger(x);
}

/* ---- reading ---- */

static void refuse(struct http_exchange *x, int status, const char *why)
{
    x->request.keep_alive = false;
    state_set(x, EXCHANGE_ANSWERING);
    http_reply_error(x, status, status == 401 ? "WWW-Authenticate: Bearer\r\n" : NULL, why);
}

/* False: the head is not whole yet, or was refused. */
static bool take_head(struct http_exchange *x, struct evbuffer *input)
{
    size_t size = 0;
    const char *why = "";
    size_t len = evbuffer_get_length(input);
    char *text = (char *)evbuffer_pullup(input, (ev_ssize_t)(len < HTTP_HEAD_MAX ? len : HTTP_HEAD_MAX));
    enum status status = text == NULL ? ERR_AGAIN : http_head_size(text, len, &size);
    if (status == ERR_AGAIN)
        return false;
    if (status != OK) {
        refuse(x, 431, "the request's head is too long");
        return false;
    }
    int code = http_request_parse(text, size, &x->request, &why);
    explicit_bzero(text, size); /* a token may be in it, and freed memory stays readable */
    (void)evbuffer_drain(input, size);
    if (code != 0) {
        refuse(x, code, why);
        return false;
    }
    x->body_left = x->request.body;
    if (x->body_left > 0 && x->request.expect_continue)
        (void)evbuffer_add_printf(bufferevent_get_output(x->bev), "HTTP/1.1 100 Continue\r\n\r\n");
    state_set(x, EXCHANGE_BODY);
    return true;
}

static void take_body(struct http_exchange *x, struct evbuffer *input)
{
    size_t len = evbuffer_get_length(input);
    size_t n = len < x->body_left ? len : x->body_left;
    (void)evbuffer_drain(input, n);
    x->body_left -= n;
}

/* Requests that come while another is answered wait in the socket; libevent's own mark for this needs memory
 * at a moment when it does not ask whether there is any. */
static void input_bound(struct http_exchange *x)
{
    if (x->no_more_input || x->state == EXCHANGE_DEAD)
        return;
    if (evbuffer_get_length(bufferevent_get_input(x->bev)) >= INPUT_MAX)
        (void)bufferevent_disable(x->bev, EV_READ);
    else
        (void)bufferevent_enable(x->bev, EV_READ);
}

/* Goes on as far as the input reaches. Answers that are given at once come back here by the loop, not by
 * recursion. */
static void exchange_process(struct http_exchange *x)
{
    struct evbuffer *input = bufferevent_get_input(x->bev);
    x->processing = true;
    for (;;) {
        if (x->state == EXCHANGE_IDLE && evbuffer_get_length(input) > 0)
            state_set(x, EXCHANGE_HEAD);
        if (x->state == EXCHANGE_HEAD && !take_head(x, input))
            break;
        if (x->state == EXCHANGE_BODY)
            take_body(x, input);
        if (x->state != EXCHANGE_BODY || x->body_left > 0)
            break;
        state_set(x, EXCHANGE_ANSWERING);
        x->server->handlers->request(x->server->arg, x);
    }
    x->processing = false;
    if (x->state == EXCHANGE_CLOSING || x->state == EXCHANGE_LINGERING)
        (void)evbuffer_drain(input, evbuffer_get_length(input));
    if (x->no_more_input &&
        (x->state == EXCHANGE_IDLE || x->state == EXCHANGE_HEAD || x->state == EXCHANGE_BODY))
        http_exchange_doom(x);
    input_bound(x);
}

static void on_readable(struct bufferevent *bev, void *arg)
{
    (void)bev;
    exchange_process(arg);
}

static void on_written(struct bufferevent *bev, void *arg)
{
    struct http_exchange *x = arg;
    size_t left = evbuffer_get_length(bufferevent_get_output(bev));
    if (x->state == EXCHANGE_CLOSING && left == 0)
        linger(x);
    else if (x->state == EXCHANGE_ANSWERING && x->streaming && left <= DRAIN_BELOW)
        x->server->handlers->drained(x->server->arg, x);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct http_exchange *x = arg;
    (void)bev;
    if (what != (BEV_EVENT_EOF | BEV_EVENT_READING)) {
        exchange_lost(x);
        return;
    }
    /* A client may shut its side as soon as it has asked; it still wants the answer. */
    x->no_more_input = true;
    if (x->state == EXCHANGE_LINGERING || x->state == EXCHANGE_DEAD)
        exchange_free(x);
    else
        exchange_process(x);
}

/* ---- accepting ---- */

/* How readily a connection is given up for a new one; 0: not at all. */
static unsigned dispensable(const struct http_exchange *x)
{
    switch (x->state) {
    case EXCHANGE_IDLE:
    case EXCHANGE_LINGERING: return 2;
    case EXCHANGE_HEAD: return 1;
    default: return 0;
    }
}

static void make_room(struct http_server *server)
{
    struct http_exchange *x;
    struct http_exchange *victim = NULL;
    unsigned most = 0;
    if (server->n_exchanges < server->limits.connections)
        return;
    TAILQ_FOREACH(x, &server->exchanges, link)
    {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the freed one is off this list */
        unsigned rank = dispensable(x);
        if (rank > most || (rank == most && victim != NULL && x->since_ms < victim->since_ms)) {
            most = rank;
            victim = x;
        }
    }
    if (victim != NULL)
        exchange_free(victim);
}

/* Owns fd. */
static void exchange_new(struct http_listener *listener, int fd, const struct sockaddr *address)
{
    struct http_server *server = listener->server;
    struct http_exchange *x = NULL;
    int on = 1;
    make_room(server);
    if (server->n_exchanges < server->limits.connections)
        x = calloc(1, sizeof *x);
    if (x == NULL) {
        (void)close(fd);
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    x->server = server;
    x->kind = listener->kind;
    address_text(address, x->remote, sizeof x->remote);
    x->bev = bufferevent_socket_new(server->base, fd, BEV_OPT_CLOSE_ON_FREE);
    x->deadline = evtimer_new(server->base, on_deadline, x);
    if (x->bev == NULL || x->deadline == NULL) {
        if (x->deadline != NULL)
            event_free(x->deadline);
        if (x->bev != NULL)
            bufferevent_free(x->bev);
        else
            (void)close(fd);
        free(x);
        return;
    }
    const struct timeval send = {.tv_sec = server->limits.send_ms / 1000,
                                 .tv_usec = (suseconds_t)(server->limits.send_ms % 1000) * 1000};
    bufferevent_setcb(x->bev, on_readable, on_written, on_event, x);
    bufferevent_setwatermark(x->bev, EV_WRITE, DRAIN_BELOW, 0);
    (void)bufferevent_set_timeouts(x->bev, NULL, &send);
    TAILQ_INSERT_TAIL(&server->exchanges, x, link);
    server->n_exchanges++;
    state_set(x, EXCHANGE_HEAD);
    (void)bufferevent_enable(x->bev, EV_READ | EV_WRITE);
}

static void on_connection(evutil_socket_t fd, short what, void *arg)
{
    struct http_listener *listener = arg;
    (void)what;
    for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage address = {0};
        socklen_t len = sizeof address;
        int accepted = accept4((int)fd, (struct sockaddr *)&address, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (accepted >= 0) {
            exchange_new(listener, accepted, (const struct sockaddr *)&address);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            const struct timeval pause = {.tv_sec = ACCEPT_PAUSE_S};
            (void)event_del(listener->readable);
            (void)event_add(listener->pause, &pause);
        }
        return;
    }
}

static void on_pause_over(evutil_socket_t fd, short what, void *arg)
{
    const struct http_listener *listener = arg;
    (void)fd;
    (void)what;
    (void)event_add(listener->readable, NULL);
}

static void listener_free(struct http_listener *listener)
{
    if (listener->readable != NULL)
        event_free(listener->readable);
    if (listener->pause != NULL)
        event_free(listener->pause);
    (void)close(listener->fd);
    free(listener);
}

enum status http_server_listen(struct http_server *server, int fd, unsigned kind)
{
    struct http_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL) {
        (void)close(fd);
        return ERR_NOMEM;
    }
    listener->server = server;
    listener->fd = fd;
    listener->kind = kind;
    listener->readable = event_new(server->base, fd, EV_READ | EV_PERSIST, on_connection, listener);
    listener->pause = evtimer_new(server->base, on_pause_over, listener);
    if (listener->readable == NULL || listener->pause == NULL || evutil_make_socket_nonblocking(fd) != 0 ||
        event_add(listener->readable, NULL) != 0) {
        listener_free(listener);
        return ERR_NOMEM;
    }
    listener->next = server->listeners;
    server->listeners = listener;
    return OK;
}

/* ---- life ---- */

struct http_server *http_server_new(struct event_base *base, const struct http_limits *limits,
                                    const struct http_handlers *handlers, void *arg)
{
    struct http_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return NULL;
    server->base = base;
    server->limits = *limits;
    server->handlers = handlers;
    server->arg = arg;
    TAILQ_INIT(&server->exchanges);
    return server;
}

static void close_listeners(struct http_server *server)
{
    while (server->listeners != NULL) {
        struct http_listener *listener = server->listeners;
        server->listeners = listener->next;
        listener_free(listener);
    }
}

void http_server_drain(struct http_server *server)
{
    struct http_exchange *x;
    server->draining = true;
    close_listeners(server);
    TAILQ_FOREACH(x, &server->exchanges, link)
    {
        if (x->state == EXCHANGE_IDLE || x->state == EXCHANGE_HEAD)
            http_exchange_doom(x);
    }
}

void http_server_free(struct http_server *server)
{
    struct http_exchange *x;
    if (server == NULL)
        return;
    close_listeners(server);
    for (struct http_exchange *next = TAILQ_FIRST(&server->exchanges); (x = next) != NULL;) {
        next = TAILQ_NEXT(x, link);
        exchange_free(x);
    }
    free(server);
}

size_t http_server_connections(const struct http_server *server)
{
    return server->n_exchanges;
}

const struct http_request *http_exchange_request(const struct http_exchange *x)
{
    return &x->request;
}

unsigned http_exchange_kind(const struct http_exchange *x)
{
    return x->kind;
}

const char *http_exchange_remote(const struct http_exchange *x)
{
    return x->remote;
}

void http_exchange_set_data(struct http_exchange *x, void *data)
{
    x->data = data;
}

void *http_exchange_data(const struct http_exchange *x)
{
    return x->data;
}
