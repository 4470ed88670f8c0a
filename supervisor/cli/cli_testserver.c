/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wormhole testserver`: a tiny HTTP server for trying a tunnel. Answers every request with one text and
 * closes. It is no part of a tunnel, keeps no state and serves no files.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/names.h"
#include "supervisor/cli/args.h"

#define HEAD_MAX 16384
#define PATIENCE_S 15

struct testserver {
    const char *response;
    size_t response_len;
};

static void end_connection(struct bufferevent *bev, short what, void *arg)
{
    (void)what;
    (void)arg;
    bufferevent_free(bev);
}

static void answered(struct bufferevent *bev, void *arg)
{
    (void)arg;
    bufferevent_free(bev); /* all is written: the answer said Connection: close */
}

static void request_came(struct bufferevent *bev, void *arg)
{
    const struct testserver *server = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
    if (end.pos < 0) {
        if (evbuffer_get_length(in) > HEAD_MAX)
            bufferevent_free(bev);
        return;
    }
    char method[8] = "";
    (void)evbuffer_copyout(in, method, sizeof method - 1);
    bool head = strncmp(method, "HEAD ", 5) == 0;
    (void)evbuffer_add_printf(bufferevent_get_output(bev),
                              "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: "
                              "%zu\r\nConnection: close\r\n\r\n",
                              server->response_len + 1);
    if (!head) {
        (void)bufferevent_write(bev, server->response, server->response_len);
        (void)bufferevent_write(bev, "\n", 1);
    }
    bufferevent_setcb(bev, NULL, answered, end_connection, arg);
    (void)bufferevent_enable(bev, EV_WRITE);
}

static void connection_came(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                            int len, void *arg)
{
    static const struct timeval patience = {.tv_sec = PATIENCE_S};
    struct bufferevent *bev =
        bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
    (void)address;
    (void)len;
    if (bev == NULL) {
        (void)evutil_closesocket(fd);
        return;
    }
    bufferevent_setcb(bev, request_came, NULL, end_connection, arg);
    (void)bufferevent_set_timeouts(bev, &patience, &patience);
    (void)bufferevent_enable(bev, EV_READ);
}

static void told_to_end(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)event_base_loopbreak(arg);
}

static bool address_make(const char *host, uint16_t port, struct sockaddr_storage *out, socklen_t *len)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        *len = sizeof *v4;
        return true;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
        return false;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    *len = sizeof *v6;
    return true;
}

static bool port_parse(const char *text, uint16_t *port)
{
    char *end = NULL;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || value > 65535)
        return false;
    *port = (uint16_t)value;
    return true;
}

static void say_where(struct evconnlistener *listener)
{
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    char text[80] = "?";
    if (getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&bound, &len) == 0)
        address_text((struct sockaddr *)&bound, text, sizeof text);
    (void)fprintf(stderr, "Answering on http://%s/ until Ctrl-C\n", text);
}

static int testserver_run(const struct args *args)
{
    const char *host = args_value(args, "host"), *port_text = args_value(args, "port");
    const char *response = args_value(args, "response");
    struct testserver server = {.response = response != NULL ? response : "Hello from wormhole testserver"};
    struct sockaddr_storage address;
    socklen_t len = 0;
    uint16_t port = 1234;
    server.response_len = strlen(server.response);
    if (port_text != NULL && !port_parse(port_text, &port)) {
        cli_error("--port: must be between 0 and 65535, not \"%.40s\"", port_text);
        return EXIT_USAGE_ERROR;
    }
    host = host != NULL ? host : "127.0.0.1";
    if (!address_make(host, port, &address, &len)) {
        cli_error("--host: must be a numeric address, not \"%.80s\"", host);
        return EXIT_USAGE_ERROR;
    }
    struct event_base *base = event_base_new();
    struct evconnlistener *listener =
        base != NULL
            ? evconnlistener_new_bind(base, connection_came, &server,
                                      LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, -1,
                                      (struct sockaddr *)&address, (int)len)
            : NULL;
    if (listener == NULL) {
        cli_error("cannot listen on %s port %u: %s", host, port, strerror(errno));
        if (base != NULL)
            event_base_free(base);
        return EXIT_FAILED;
    }
    struct event *interrupt = evsignal_new(base, SIGINT, told_to_end, base);
    struct event *terminate = evsignal_new(base, SIGTERM, told_to_end, base);
    if (interrupt != NULL && terminate != NULL) {
        (void)event_add(interrupt, NULL);
        (void)event_add(terminate, NULL);
    }
    say_where(listener);
    int ran = event_base_dispatch(base);
    if (interrupt != NULL)
        event_free(interrupt);
    if (terminate != NULL)
        event_free(terminate);
    evconnlistener_free(listener);
    event_base_free(base);
    return ran < 0 ? EXIT_FAILED : EXIT_DONE;
}

static const struct cli_option options[] = {
    {"host", "ADDRESS", "address to listen on; default 127.0.0.1", NULL, COMPLETE_NOTHING},
    {"port", "PORT", "port to listen on; default 1234, 0 picks a free one", NULL, COMPLETE_NOTHING},
    {"response", "TEXT", "what to answer", NULL, COMPLETE_NOTHING},
    {NULL, NULL, NULL, NULL, COMPLETE_NOTHING},
};

static const struct cli_example examples[] = {
    {"wormhole testserver --port 1234 --response \"it works\"", "answers every HTTP request with this text"},
    {"wormhole join --expose name=hello,address=127.0.0.1:1234", "exposes it"},
    {NULL, NULL},
};

const struct cli_command cli_testserver = {
    .name = "testserver",
    .summary = "runs a tiny HTTP server for trying a tunnel",
    .description =
        "Answers every HTTP request with one text until it is interrupted. For trying whether a tunnel "
        "works; it serves no files.",
    .options = options,
    .examples = examples,
    .see_also = "wormhole-join(8)",
    .section = 1,
    .run = testserver_run,
};
