/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probe's steps up to the websocket: name, connection, proxy, TLS, upgrade. Each waits at most until the
 * step's deadline and explains what it met; none tries twice.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/names.h"
#include "worker-net/http_upgrade.h"
#include "worker-net/probe.h"
#include "worker-net/probe_io.h"
#include "worker-net/proxy_connect.h"
#include "worker-net/tls.h"

/* The addresses that probe_resolve found, for probe_connect. */
static struct addrinfo *addresses;

static const char *first_hop(const struct probe *p, uint16_t *port)
{
    bool via = p->target.proxy_host[0] != '\0';
    *port = via ? p->target.proxy_port : p->target.port;
    return via ? p->target.proxy_host : p->target.host;
}

enum status probe_resolve(struct probe *p, char *text)
{
    uint16_t port = 0;
    const char *host = first_hop(p, &port);
    char service[8];
    size_t used = 0;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    (void)snprintf(service, sizeof service, "%u", port);
    int failed = getaddrinfo(host, service, &hints, &addresses);
    if (failed != 0) {
        addresses = NULL;
        (void)snprintf(text, PROBE_TEXT, "%s%.200s: %s", p->target.proxy_host[0] != '\0' ? "the proxy " : "",
                       host, failed == EAI_SYSTEM ? strerror(errno) : gai_strerror(failed));
        return ERR_NOT_FOUND;
    }
    used = (size_t)snprintf(text, PROBE_TEXT, "%.100s is", host);
    for (const struct addrinfo *a = addresses; a != NULL && used + 60 < PROBE_TEXT; a = a->ai_next) {
        char one[80];
        address_text(a->ai_addr, one, sizeof one);
        used += (size_t)snprintf(text + used, PROBE_TEXT - used, "%s %s", a == addresses ? "" : ",", one);
    }
    return OK;
}

/* Connects to one address; 0, or the errno that came of it. */
static int connect_one(struct probe *p, const struct addrinfo *address)
{
    int error = 0;
    socklen_t len = sizeof error;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno;
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS)
        error = errno;
    else if (probe_wait(fd, POLLOUT, p->deadline_ms) != OK)
        error = ETIMEDOUT;
    else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error != 0) {
        (void)close(fd);
        return error;
    }
    p->fd = fd;
    return 0;
}

enum status probe_connect(struct probe *p, char *text)
{
    size_t used = 0;
    enum status result = ERR_IO;
    for (const struct addrinfo *a = addresses; a != NULL && result != OK; a = a->ai_next) {
        char one[80];
        address_text(a->ai_addr, one, sizeof one);
        int error = connect_one(p, a);
        result = error == 0 ? OK : ERR_IO;
        if (used + 100 < PROBE_TEXT)
            used += (size_t)snprintf(text + used, PROBE_TEXT - used, "%s%s: %s", used > 0 ? "; " : "", one,
                                     error == 0 ? "connected" : strerror(error));
    }
    if (addresses != NULL)
        freeaddrinfo(addresses);
    addresses = NULL;
    return result;
}

enum status probe_proxy(struct probe *p, char *text)
{
    char request[PROXY_CONNECT_MAX], why[160] = "";
    size_t len = 0, used = 0;
    enum status st =
        proxy_connect_write(p->target.host, p->target.port, p->target.proxy_authorization, request, &len);
    if (st == OK)
        st = probe_write(p, request, len);
    explicit_bzero(request, sizeof request);
    explicit_bzero(p->target.proxy_authorization, sizeof p->target.proxy_authorization);
    while (st == OK) {
        st = proxy_connect_check((const char *)p->input, p->input_len, &used, why, sizeof why);
        if (st != ERR_AGAIN)
            break;
        st = probe_read(p);
    }
    if (st != OK) {
        (void)snprintf(text, PROBE_TEXT, "%s", why[0] != '\0' ? why : probe_why(st));
        return st;
    }
    probe_use(p, used);
    (void)snprintf(text, PROBE_TEXT, "lets us through to %.200s port %u", p->target.host, p->target.port);
    return OK;
}

enum status probe_tls(struct probe *p, char *text)
{
    enum status st = ERR_AGAIN;
    p->tls = tls_new(p->authorities, p->fd, p->target.host);
    if (p->tls == NULL) {
        (void)snprintf(text, PROBE_TEXT, "out of memory");
        return ERR_NOMEM;
    }
    while (st == ERR_AGAIN) {
        bool want_write = false;
        st = tls_handshake(p->tls, &want_write, text, PROBE_TEXT);
        if (st == ERR_AGAIN && probe_wait(p->fd, want_write ? POLLOUT : POLLIN, p->deadline_ms) != OK) {
            (void)snprintf(text, PROBE_TEXT, "no answer in time; is this really a TLS port?");
            return ERR_TIMEOUT;
        }
    }
    if (st == OK)
        (void)snprintf(text, PROBE_TEXT, "the certificate is good for %.200s", p->target.host);
    return st;
}

enum status probe_upgrade(struct probe *p, char *text)
{
    struct upgrade_client upgrade;
    char request[UPGRADE_MESSAGE_MAX], why[160] = "";
    size_t len = 0, used = 0;
    enum status st = upgrade_request_write(&upgrade, p->target.host, p->target.port, p->target.tls ? 443 : 80,
                                           p->target.path, request, &len);
    if (st == OK)
        st = probe_write(p, request, len);
    while (st == OK) {
        st = upgrade_response_check(&upgrade, (const char *)p->input, p->input_len, &used, why, sizeof why);
        if (st != ERR_AGAIN)
            break;
        st = probe_read(p);
    }
    if (st != OK) {
        (void)snprintf(text, PROBE_TEXT, "%s", why[0] != '\0' ? why : probe_why(st));
        return st;
    }
    probe_use(p, used);
    (void)snprintf(text, PROBE_TEXT, "%.300s is a wormhole websocket", p->target.path);
    return OK;
}

/* A plain page, as /readyz is one: the status line decides. */
enum status probe_answer(struct probe *p, char *text)
{
    char request[1200], authority[300];
    address_join(authority, sizeof authority, p->target.host, p->target.port);
    int len = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                       p->target.path, authority);
    enum status st =
        len > 0 && (size_t)len < sizeof request ? probe_write(p, request, (size_t)len) : ERR_SIZE;
    while (st == OK && memchr(p->input, '\n', p->input_len) == NULL)
        st = probe_read(p);
    if (st != OK) {
        (void)snprintf(text, PROBE_TEXT, "%s", probe_why(st));
        return st;
    }
    const char *line = (const char *)p->input;
    size_t line_len = strcspn(line, "\r\n"); /* the buffer holds a line's end */
    if (line_len < 12 || strncmp(line, "HTTP/1.", 7) != 0 || line[8] != ' ') {
        (void)snprintf(text, PROBE_TEXT, "an answer that is not HTTP");
        return ERR_FORMAT;
    }
    (void)snprintf(text, PROBE_TEXT, "%.*s", (int)(line_len > 100 ? 100 : line_len), line);
    return line[9] == '2' ? OK : ERR_REFUSED;
}

void probe_clear(struct probe *p)
{
    if (p->tls != NULL)
        tls_shutdown(p->tls);
    tls_free(p->tls);
    tls_context_free(p->authorities);
    if (p->fd >= 0)
        (void)close(p->fd);
    p->tls = NULL;
    p->authorities = NULL;
    p->fd = -1;
}
