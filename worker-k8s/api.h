/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 to the API server: libcurl's multi interface on the worker's libevent loop. One call is one
 * request, streamed to its caller. It adds the token, verifies the server and says in few words how a call
 * ended; what that means, and when to try again, is for listwatch.c and mirror.c.
 */
#ifndef WORMHOLE_K8S_API_H
#define WORMHOLE_K8S_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker-k8s/cluster.h"

struct event_base;
struct api;
struct api_call;

#define API_CONNECTIONS_MAX 40

enum api_end {
    API_DONE,    /* a whole HTTP response, whatever its status */
    API_CONNECT, /* no connection: refused, unreachable */
    API_CUT,     /* the connection ended in the middle, or what came was not HTTP */
    API_TIMEOUT, /* the call's own deadline */
    API_TLS,     /* the server could not be verified, or refused us */
    API_STOPPED, /* the caller's data() said so */
};

struct api_result {
    enum api_end end;
    long status;             /* HTTP; 0 when none came */
    uint32_t retry_after_ms; /* from Retry-After; 0: none */
    const char *text;        /* why, in words: the server's message or the transport's; never NULL */
};

struct api_request {
    const char *method;       /* "GET" … */
    const char *path;         /* "/api/v1/…", with the query */
    const char *content_type; /* with a body */
    const char *body;         /* copied; NULL: none */
    size_t body_len;
    uint32_t timeout_ms;
    /* A 2xx response has begun. May be NULL. */
    void (*opened)(void *arg);
    /* Body bytes of a 2xx response; false stops the call. NULL: the body is kept and handed to `done`. */
    bool (*data)(void *arg, const char *bytes, size_t len);
    /*
     * The end; the call is freed after it. body: NUL-terminated, at most API_BODY_MAX bytes (of an error
     * fewer); NULL when there was none, or when it went to data().
     */
    void (*done)(void *arg, const struct api_result *result, const char *body, size_t len);
    void *arg;
};

#define API_BODY_MAX (2u << 20)

struct api_counters {
    uint64_t calls, errors; /* errors: no answer, or a status of 400 and above */
    uint64_t heard_ms;      /* monotonic: when the server last answered anything; 0: never */
};

/* The cluster stays the caller's and must outlive it. NULL: out of memory or curl cannot start. */
struct api *api_new(struct event_base *base, struct cluster *cluster);
void api_free(struct api *api); /* ends every call without calling done */

/* NULL when out of memory. done() is never called from within. */
struct api_call *api_send(struct api *api, const struct api_request *request);
void api_cancel(struct api_call *call); /* no done() follows; NULL is fine */

struct api_counters api_counters(const struct api *api);

/* Is the server known by a name that may lead elsewhere one day? */
bool api_host_is_name(const struct api *api);

/* Starts curl and OpenSSL and reads what they read once, so that nothing is opened after the sandbox. */
enum status api_preload(void);

#endif
