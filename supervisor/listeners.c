/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See listeners.h. A port that belongs to an app, connected or not, is never given to another; the store has
 * the last word.
 */
#include "supervisor/listeners.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define KERNEL_TRIES 16
#define RECLAIM_AFTER_S                                                                                      \
    (30ull * 86400u) /* an app that nobody offered so long may lose its port to a new one */

static bool address_fill(const char *host, uint16_t port, struct sockaddr_storage *out, socklen_t *len)
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
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        *len = sizeof *v6;
        return true;
    }
    return false;
}

uint16_t listener_port(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;

    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return 0;
    if (address.ss_family == AF_INET)
        return ntohs(((struct sockaddr_in *)&address)->sin_port);
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return 0;
}

enum status listener_open(const char *host, uint16_t port, int *fd, uint16_t *bound)
{
    struct sockaddr_storage address;
    socklen_t len;
    int on = 1;
    int off = 0;

    if (!address_fill(host, port, &address, &len)) {
        errno = EINVAL;
        return ERR_IO;
    }
    int s = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (s < 0)
        return ERR_IO;
    (void)setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address.ss_family == AF_INET6) /* "::" serves IPv4 as well */
        (void)setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    /* Accepted sockets inherit it. */
    (void)setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(s, (struct sockaddr *)&address, len) != 0 || listen(s, LISTEN_BACKLOG) != 0) {
        int saved = errno;
        (void)close(s);
        errno = saved;
        return ERR_IO;
    }
    *fd = s;
    *bound = listener_port(s);
    return OK;
}

/* Somebody else's port now? Then another one may do; every other error would meet the next port as well. */
static bool port_is_busy(int error)
{
    return error == EADDRINUSE || error == EACCES || error == EPERM;
}

/* The app has a new port: remember it. False: it belongs to another app after all. */
static bool port_keep(struct supervisor *s, const char *fingerprint, const char *app, uint16_t port)
{
    enum status result = store_port_set(s->store, fingerprint, app, port);

    if (result == OK)
        return true;
    if (result == ERR_CONFLICT)
        return false;
    /* Serve all the same: the app works now, and only its port may be another one after a restart. */
    sup_error("the port of app \"%s\" could not be stored, it may change at the next start: %s", app,
              store_last_error(s->store));
    return true;
}

static enum status listen_in_range(struct supervisor *s, const char *fingerprint, const char *app, int *fd,
                                   uint16_t *port)
{
    for (int64_t p = s->config->port_range_min; p <= s->config->port_range_max; p++) {
        uint16_t bound;
        int listener;
        if (store_port_taken(s->store, (uint16_t)p))
            continue;
        if (listener_open(s->config->app_host, (uint16_t)p, &listener, &bound) != OK) {
            if (port_is_busy(errno))
                continue;
            return ERR_IO;
        }
        if (port_keep(s, fingerprint, app, bound)) {
            *fd = listener;
            *port = bound;
            return OK;
        }
        (void)close(listener);
    }
    return ERR_FULL;
}

static enum status listen_anywhere(struct supervisor *s, const char *fingerprint, const char *app, int *fd,
                                   uint16_t *port)
{
    for (unsigned i = 0; i < KERNEL_TRIES; i++) {
        uint16_t bound;
        int listener;
        if (listener_open(s->config->app_host, 0, &listener, &bound) != OK)
            return ERR_IO;
        if (port_keep(s, fingerprint, app, bound)) {
            *fd = listener;
            *port = bound;
            return OK;
        }
        (void)close(listener);
    }
    return ERR_FULL;
}

static enum status listen_new(struct supervisor *s, const char *fingerprint, const char *app, int *fd,
                              uint16_t *port)
{
    uint16_t min = (uint16_t)s->config->port_range_min;
    uint16_t max = (uint16_t)s->config->port_range_max;

    if (!s->config->port_use_range)
        return listen_anywhere(s, fingerprint, app, fd, port);
    enum status result = listen_in_range(s, fingerprint, app, fd, port);
    if (result == ERR_FULL && store_port_reclaim(s->store, min, max, clock_wall_s() - RECLAIM_AFTER_S) == OK)
        result = listen_in_range(s, fingerprint, app, fd, port);
    return result;
}

enum status listener_for_app(struct supervisor *s, const char *fingerprint, const char *app, int *fd,
                             uint16_t *port, char *why, size_t cap)
{
    uint16_t stored = 0;

    if (store_port_get(s->store, fingerprint, app, &stored) == OK && stored != 0) {
        uint16_t bound;
        if (listener_open(s->config->app_host, stored, fd, &bound) == OK) {
            *port = bound;
            return OK;
        }
        sup_warn("app \"%s\" cannot have its port %u back (%s), it gets another", app, stored,
                 strerror(errno));
    }
    enum status result = listen_new(s, fingerprint, app, fd, port);
    if (result == ERR_FULL && s->config->port_use_range)
        (void)snprintf(why, cap, "no free port in %lld-%lld on the server",
                       (long long)s->config->port_range_min, (long long)s->config->port_range_max);
    else if (result == ERR_FULL)
        (void)snprintf(why, cap, "no free port on the server");
    else if (result != OK)
        (void)snprintf(why, cap, "the server cannot listen: %s", strerror(errno));
    return result;
}
