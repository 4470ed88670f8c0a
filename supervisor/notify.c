/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See notify.h. Must not block: a message that the manager's socket does not take is lost, and the next one
 * says the same again.
 */
#include "supervisor/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

struct notify {
    int fd; /* -1: nobody listens */
    uint64_t watchdog_ms, next_watchdog_ms;
    char last_status[256];
};

static void send_text(const struct notify *n, const char *text)
{
    if (n != NULL && n->fd >= 0)
        (void)send(n->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int socket_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);

    if ((path[0] != '/' && path[0] != '@') || len < 2 || len >= sizeof address.sun_path)
        return -1;
    memcpy(address.sun_path, path, len);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address,
                           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) != 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

struct notify *notify_open(void)
{
    struct notify *n = calloc(1, sizeof *n);
    const char *path = getenv("NOTIFY_SOCKET");
    const char *usec = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");

    if (n == NULL)
        return NULL;
    n->fd = path != NULL ? socket_connect(path) : -1;
    if (usec != NULL && (pid == NULL || strtol(pid, NULL, 10) == (long)getpid()))
        n->watchdog_ms = strtoull(usec, NULL, 10) / 2000; /* twice as often as it must be */
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
    return n;
}

void notify_close(struct notify *n)
{
    if (n == NULL)
        return;
    if (n->fd >= 0)
        (void)close(n->fd);
    free(n);
}

void notify_ready(struct notify *n)
{
    send_text(n, "READY=1");
}

void notify_stopping(struct notify *n)
{
    send_text(n, "STOPPING=1");
}

void notify_reloading(struct notify *n)
{
    char text[96];

    /* Type=notify-reload wants the time at which the reload began. */
    (void)snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%llu",
                   (unsigned long long)clock_mono_us());
    send_text(n, text);
}

void notify_status(struct notify *n, const char *format, ...)
{
    char text[sizeof n->last_status];
    char line[sizeof text + 16];
    va_list args;

    if (n == NULL || n->fd < 0)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (strcmp(text, n->last_status) == 0)
        return;
    memcpy(n->last_status, text, sizeof text);
    (void)snprintf(line, sizeof line, "STATUS=%s", text);
    send_text(n, line);
}

void notify_watchdog(struct notify *n)
{
    uint64_t now = clock_mono_ms();

    if (n == NULL || n->watchdog_ms == 0 || now < n->next_watchdog_ms)
        return;
    send_text(n, "WATCHDOG=1");
    n->next_watchdog_ms = now + (n->watchdog_ms > 1000 ? n->watchdog_ms - 1000 : 0);
}
