/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP/1.x request of an operator, a probe or a scraper, taken apart and judged by RFC 9112 (message
 * syntax) and RFC 9110 (fields), strictly and within fixed sizes. Pure: no sockets, no routes, no decisions
 * about who may do what.
 */
#ifndef WORMHOLE_NET_HTTP_REQUEST_H
#define WORMHOLE_NET_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_SEGMENTS_MAX 8u
#define HTTP_TARGET_MAX 1024u
#define HTTP_BODY_MAX 16384u /* bytes; no request needs one, so it is only read over */
#define HTTP_TOKEN_MAX 256u

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_DELETE, HTTP_OTHER };

struct http_request {
    enum http_method method;
    bool http_1_0;
    bool keep_alive;                /* the client wants, and allows, further requests on the connection */
    bool expect_continue;           /* it waits for "100 Continue" before it sends the body */
    size_t body;                    /* bytes that follow the head */
    char path[HTTP_TARGET_MAX + 1]; /* percent-decoded segments, each NUL-terminated, one after the other */
    const char *segments[HTTP_SEGMENTS_MAX];
    size_t n_segments;               /* "/v1/apps" has two; "/" and "/v1/" end in an empty one */
    char query[HTTP_TARGET_MAX + 1]; /* as sent, without the '?' */
    char host[256]; /* lower case, without the port and without the brackets of an IPv6 address */
    bool has_token;
    char token[HTTP_TOKEN_MAX + 1]; /* of "Authorization: Bearer" */
    bool from_page; /* a browser says that a web page caused it: Origin, or a foreign Sec-Fetch-Site */
};

/*
 * Takes the whole head (HTTP_HEAD_MAX at most, see http_upgrade_head.h; the empty line included) apart. 0, or
 * the HTTP status to refuse it with; then the connection must be closed, for where the next request begins is
 * not sure. *why is a static phrase then. `out` points into itself: do not copy it.
 */
int http_request_parse(const char *head, size_t size, struct http_request *out, const char **why);

/*
 * Value of a parameter of the query, percent-decoded. False: it is not there, occurs twice, or is malformed
 * or too long; *malformed tells the difference.
 */
bool http_request_parameter(const struct http_request *request, const char *name, char *out, size_t cap,
                            bool *malformed);

/* Wipes the token. */
void http_request_clear(struct http_request *request);

#endif
