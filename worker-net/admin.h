/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin role's parts: routes (admin_routes.c), the questions to the supervisor and their order (admin.c),
 * and how rows become JSON (admin_json.c) or Prometheus text (admin_metrics.c). The role holds no data of its
 * own and decides nothing: it passes on what was asked, with the token that came along.
 */
#ifndef WORMHOLE_NET_ADMIN_H
#define WORMHOLE_NET_ADMIN_H

#include "common/ipc.h"
#include "common/ipc_types.h"
#include "worker-net/http_server.h"

struct admin_job;

/* How an answer is written, piece by piece as rows come. Any may be NULL. */
struct admin_view {
    const char *type; /* of the content */
    bool whole;       /* answers at once at the end, by `end`; otherwise in pieces from the first page on */
    void (*begin)(struct admin_job *job);
    void (*row)(struct admin_job *job, enum message_type type, const union message *row);
    void (*end)(struct admin_job *job);
};

extern const struct admin_view admin_view_apps, admin_view_request_texts, admin_view_requests,
    admin_view_peers, admin_view_audit, admin_view_status, admin_view_metrics, admin_view_alive,
    admin_view_ready;

/* What a route leads to. */
struct admin_route {
    enum admin_listener_kind kind;
    enum http_method method;
    const char *path; /* segments; "*" is any one, handed on as the subject */
    bool decides;
    uint8_t what; /* enum query or enum decision */
    const struct admin_view *view;
};

/* One request on its way to the supervisor and back. */
struct admin_job {
    struct admin_job *next;         /* in the queue */
    struct http_exchange *exchange; /* NULL: the client is gone */
    const struct admin_route *route;
    uint64_t number;  /* of the question under way */
    uint64_t after;   /* cursor */
    uint64_t limit;   /* rows that are still wanted; UINT64_MAX: all */
    char filter[129]; /* or the subject of a decision */
    char token[HTTP_TOKEN_MAX + 1];
    bool begun;  /* the answer's head is on its way */
    bool parked; /* waits for the client to take what it has */
    /* the view's own */
    uint64_t rows;
    uint16_t family;
    bool processes;
    char text[513];
};

/*
 * Finds the route and fills the job. 0, or an HTTP status; then *why says what is wrong, and *allow names the
 * methods of a 405 ("" otherwise; at least 32 bytes).
 */
int admin_route_find(const struct http_request *request, enum admin_listener_kind kind, bool api_is_loopback,
                     struct admin_job *job, const char **why, char *allow, size_t allow_cap);

#endif
