/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See http_server.h: the framing of answers (RFC 9112 sections 6 and 7). What an answer says is its owner's
 * business.
 */
#include "worker-net/http_server_private.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/json_write.h"

const char *http_status_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {200, "OK"},
        {204, "No Content"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {421, "Misdirected Request"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++) {
        if (phrases[i].status == status)
            return phrases[i].phrase;
    }
    return "Unknown";
}

static void put_head(struct http_exchange *x, int status, const char *type, const char *extra)
{
    struct evbuffer *out = bufferevent_get_output(x->bev);
    char date[40] = "";
    time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc) != NULL)
        (void)strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    (void)evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\nCache-Control: no-store\r\n", status,
                              http_status_phrase(status), date);
    if (type != NULL)
        (void)evbuffer_add_printf(out, "Content-Type: %s\r\nX-Content-Type-Options: nosniff\r\n", type);
    if (extra != NULL)
        (void)evbuffer_add_printf(out, "%s", extra);
    if (x->server->draining || x->no_more_input)
        x->request.keep_alive = false;
    if (!x->request.keep_alive)
        (void)evbuffer_add_printf(out, "Connection: close\r\n");
    else if (x->request.http_1_0)
        (void)evbuffer_add_printf(out, "Connection: keep-alive\r\n");
}

void http_reply(struct http_exchange *x, int status, const char *type, const char *extra, const void *body,
                size_t len)
{
    struct evbuffer *out = bufferevent_get_output(x->bev);
    put_head(x, status, type, extra);
    if (type != NULL)
        (void)evbuffer_add_printf(out, "Content-Length: %zu\r\n", len);
    (void)evbuffer_add(out, "\r\n", 2);
    if (type != NULL && len > 0 && x->request.method != HTTP_HEAD)
        (void)evbuffer_add(out, body, len);
    http_exchange_finish(x);
}

void http_reply_error(struct http_exchange *x, int status, const char *extra, const char *text)
{
    char body[4096]; /* 512 bytes of text, each at most six when escaped */
    struct json_writer json;
    json_to_buffer(&json, body, sizeof body);
    json_begin_object(&json);
    json_put_string(&json, "error", text);
    json_end_object(&json);
    size_t len = json_finish(&json) == OK ? json.used : 0;
    if (len + 1 < sizeof body)
        body[len++] = '\n';
    http_reply(x, status, "application/json", extra, body, len);
}

void http_reply_begin(struct http_exchange *x, int status, const char *type)
{
    x->chunked = !x->request.http_1_0;
    if (!x->chunked)
        x->request.keep_alive = false;
    put_head(x, status, type, x->chunked ? "Transfer-Encoding: chunked\r\n" : NULL);
    (void)evbuffer_add(bufferevent_get_output(x->bev), "\r\n", 2);
    x->streaming = true;
}

void http_reply_data(struct http_exchange *x, const void *data, size_t len)
{
    struct evbuffer *out = bufferevent_get_output(x->bev);
    if (len == 0 || x->request.method == HTTP_HEAD)
        return;
    if (x->chunked)
        (void)evbuffer_add_printf(out, "%zx\r\n", len);
    (void)evbuffer_add(out, data, len);
    if (x->chunked)
        (void)evbuffer_add(out, "\r\n", 2);
}

void http_reply_end(struct http_exchange *x)
{
    if (x->chunked && x->request.method != HTTP_HEAD)
        (void)evbuffer_add(bufferevent_get_output(x->bev), "0\r\n\r\n", 5);
    http_exchange_finish(x);
}

void http_reply_abort(struct http_exchange *x)
{
    http_exchange_doom(x);
}

size_t http_reply_waiting(const struct http_exchange *x)
{
    return evbuffer_get_length(bufferevent_get_output(x->bev));
}
