/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP/1.1 server on listening sockets that were handed over: connections, deadlines, keep-alive,
 * framing of answers. It knows no route and no meaning. One exchange at a time per connection; its answer may
 * come later and in pieces. Everything is bounded: connections, heads, bodies, time, and what waits to be
 * sent.
 */
#ifndef WORMHOLE_NET_HTTP_SERVER_H
#define WORMHOLE_NET_HTTP_SERVER_H

#include "common/status.h"
#include "worker-net/http_request.h"

struct event_base;
struct http_server;
struct http_exchange; /* a request and its answer */

struct http_handlers {
    /* A request has been read whole, body and all. Answer it now or later with http_reply*(). */
    void (*request)(void *arg, struct http_exchange *exchange);
    /* What http_reply_data() queued has gone out: more may follow. Only between http_reply_begin() and
     * _end(). */
    void (*drained)(void *arg, struct http_exchange *exchange);
    /* The client is gone before its answer was finished: forget the exchange. */
    void (*gone)(void *arg, struct http_exchange *exchange);
};

/* Milliseconds. */
struct http_limits {
    unsigned connections;
    unsigned request_ms; /* from the first byte (or the connection) to the end of the request */
    unsigned idle_ms;    /* between requests on a kept connection */
    unsigned send_ms;    /* without any progress of the answer */
};
extern const struct http_limits http_limits_default;

/* NULL: out of memory. */
struct http_server *http_server_new(struct event_base *base, const struct http_limits *limits,
                                    const struct http_handlers *handlers, void *arg);
/* Closes everything; `gone` is not called. */
void http_server_free(struct http_server *server);

/* Accepts on fd (owned from now on) from now on. kind comes back from http_exchange_kind(). */
enum status http_server_listen(struct http_server *server, int fd, unsigned kind);
/* Takes no more connections, and closes each after its exchange. */
void http_server_drain(struct http_server *server);
size_t http_server_connections(const struct http_server *server);

/* ---- exchanges ---- */

const struct http_request *http_exchange_request(const struct http_exchange *exchange);
unsigned http_exchange_kind(const struct http_exchange *exchange);
/* "192.0.2.1:4711" */
const char *http_exchange_remote(const struct http_exchange *exchange);
/* The owner's pointer, NULL at first. */
void http_exchange_set_data(struct http_exchange *exchange, void *data);
void *http_exchange_data(const struct http_exchange *exchange);

/*
 * A whole answer. type NULL: no body (204). extra: further header lines, each ended by CRLF, or NULL. The
 * exchange is over and must not be used any more.
 */
void http_reply(struct http_exchange *exchange, int status, const char *type, const char *extra,
                const void *body, size_t len);
/* {"error":"…"} */
void http_reply_error(struct http_exchange *exchange, int status, const char *extra, const char *text);

/* An answer in pieces, chunked (HTTP/1.0: until the connection closes). */
void http_reply_begin(struct http_exchange *exchange, int status, const char *type);
void http_reply_data(struct http_exchange *exchange, const void *data, size_t len);
void http_reply_end(struct http_exchange *exchange);
/* The rest cannot be had: cuts the connection, so that the client cannot take the part for the whole. */
void http_reply_abort(struct http_exchange *exchange);
/* Bytes of the answer that the client has not taken yet. */
size_t http_reply_waiting(const struct http_exchange *exchange);

/* The reason phrase of a status; "Unknown" for one that is not used here. */
const char *http_status_phrase(int status);

#endif
