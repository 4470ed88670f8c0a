/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bench driver's front: picks the part to play (application, load, first byte, shaper) and holds the
 * helpers that all parts use. It must not measure anything itself.
 */
#include "driver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

_Noreturn void die(int with_errno, const char *format, ...)
{
    int reason = errno;
    va_list arguments;

    fputs("bench-driver: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    if (with_errno)
        fprintf(stderr, ": %s", strerror(reason));
    fputc('\n', stderr);
    exit(2);
}

void target_parse(struct target *target, const char *text)
{
    struct sockaddr_in *address = (struct sockaddr_in *)&target->address;
    const char *colon = strrchr(text, ':');
    char host[64];
    long port;

    if (!colon || (size_t)(colon - text) >= sizeof host)
        die(0, "target \"%s\" is not HOST:PORT", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = 0;
    port = strtol(colon + 1, NULL, 10);
    memset(address, 0, sizeof *address);
    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t)port);
    if (port < 1 || port > 65535 || inet_pton(AF_INET, host, &address->sin_addr) != 1)
        die(0, "target \"%s\" is not an IPv4 address and a port", text);
    target->size = sizeof *address;
}

int target_connect(const struct target *target)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;

    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (const struct sockaddr *)&target->address, target->size) < 0 && errno != EINPROGRESS) {
        int reason = errno;

        close(fd);
        errno = reason;
        return -1;
    }
    return fd;
}

int target_open(const struct target *target, const struct header *header)
{
    int fd = target_connect(target);
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    int reason = 0;
    socklen_t size = sizeof reason;

    if (fd < 0)
        die(1, "connect");
    if (poll(&wait, 1, 30000) != 1)
        die(0, "connect: no answer within 30 s");
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &reason, &size);
    errno = reason;
    if (reason)
        die(1, "connect");
    if (send_all(fd, header, sizeof *header) < 0)
        die(1, "sending a request header");
    return fd;
}

int send_all(int fd, const void *data, size_t size)
{
    const char *at = data;

    while (size) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);

        if (sent < 0 && errno == EAGAIN) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};

            if (poll(&wait, 1, 30000) == 1)
                continue;
            errno = ETIMEDOUT;
        }
        if (sent < 0)
            return -1;
        at += sent;
        size -= (size_t)sent;
    }
    return 0;
}

void sample_add(struct engine *engine, uint64_t nanoseconds)
{
    if (engine->sample_count == engine->sample_room) {
        size_t room = engine->sample_room ? engine->sample_room * 2 : 65536;
        uint32_t *more = realloc(engine->samples, room * sizeof *more);

        if (!more)
            die(1, "samples");
        engine->samples = more;
        engine->sample_room = room;
    }
    engine->samples[engine->sample_count++] = nanoseconds > UINT32_MAX ? UINT32_MAX : (uint32_t)nanoseconds;
}

struct header header_make(int mode, uint32_t request, uint64_t argument)
{
    return (struct header){
        .magic = {'W', 'B'}, .mode = (uint8_t)mode, .request = request, .argument = argument};
}

void descriptors_raise(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } parts[] = {
        {"app", app_main}, {"load", load_main}, {"first-byte", first_byte_main}, {"shaper", shaper_main}};

    signal(SIGPIPE, SIG_IGN);
    descriptors_raise();
    for (size_t i = 0; argc > 1 && i < sizeof parts / sizeof *parts; i++)
        if (strcmp(argv[1], parts[i].name) == 0)
            return parts[i].run(argc - 1, argv + 1);
    fputs("usage: bench-driver app | load | first-byte | shaper [options]\n", stderr);
    return 64;
}
