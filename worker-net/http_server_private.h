/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two halves of the HTTP server share: connections (http_server.c) and answers (http_reply.c).
 * Nobody else includes this.
 */
#ifndef WORMHOLE_NET_HTTP_SERVER_PRIVATE_H
#define WORMHOLE_NET_HTTP_SERVER_PRIVATE_H

#include <sys/queue.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "worker-net/http_server.h"

enum exchange_state {
    EXCHANGE_IDLE,      /* kept connection, nothing of a next request yet */
    EXCHANGE_HEAD,      /* the head is coming */
    EXCHANGE_BODY,      /* the body is coming (and ignored) */
    EXCHANGE_ANSWERING, /* the owner has the request */
    EXCHANGE_CLOSING,   /* the answer's end is on its way, then the connection closes */
    EXCHANGE_LINGERING, /* our side is shut; what still comes is ignored, so that no reset eats the answer */
    EXCHANGE_DEAD       /* freed at the next turn of the loop */
};

struct http_exchange {
    TAILQ_ENTRY(http_exchange) link;
    struct http_server *server;
    struct bufferevent *bev;
    struct event *deadline;
    enum exchange_state state;
    unsigned kind;
    uint64_t since_ms; /* of the state, for making room */
    bool processing;   /* http_exchange_process() is on the stack */
    bool no_more_input;
    bool chunked, streaming;
    size_t body_left;
    void *data;
    char remote[65];
    struct http_request request;
};

struct http_listener {
    struct http_listener *next;
    struct http_server *server;
    struct event *readable, *pause;
    int fd;
    unsigned kind;
};

struct http_server {
    struct event_base *base;
    struct http_limits limits;
    const struct http_handlers *handlers;
    void *arg;
    struct http_listener *listeners;
    TAILQ_HEAD(, http_exchange) exchanges;
    size_t n_exchanges;
    bool draining;
};

/* The answer is complete in the output buffer: on to the next request, or to the end. */
void http_exchange_finish(struct http_exchange *exchange);
/* Frees it as soon as nothing of it can be on the stack. */
void http_exchange_doom(struct http_exchange *exchange);

#endif
