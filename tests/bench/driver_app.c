/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The application at the far end: one listener that echoes requests, pours out or swallows bytes, as the
 * first 16 bytes of each connection ask. Bulk connections live on a thread of their own, so that the
 * latency of a small request beside a bulk transfer is the tunnel's and not this program's. It must stay
 * cheap: what it burns is taken from the subject that is measured.
 */
#include "driver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct conn {
    struct conn *next_paced;
    uint64_t token; /* the first bytes of the request, sent back as its proof */
    uint64_t total; /* sink: bytes swallowed */
    uint64_t reported;
    uint64_t allowance; /* paced source: bytes that may go now */
    struct header header;
    uint32_t have; /* bytes of the header, then of the present request */
    uint32_t owed; /* echo: bytes of answers not yet taken by the socket */
    int fd;
    uint8_t started;
    uint8_t waiting; /* EPOLLOUT is armed */
    uint8_t paused;  /* paced source on the timer's list, which alone may free it */
};

static int small_epoll, bulk_epoll;
static char pattern[BULK_BUFFER];

static void conn_free(struct conn *conn)
{
    close(conn->fd);
    free(conn);
}

static void conn_watch(int epoll, struct conn *conn, uint32_t events, int operation)
{
    struct epoll_event event = {.events = events, .data.ptr = conn};

    if (epoll_ctl(epoll, operation, conn->fd, &event) < 0)
        die(1, "epoll_ctl");
}

/* Answers start with the request's token; 0 to go on, -1 when the connection is over. */
static int echo_answer(struct conn *conn)
{
    static char answer[SMALL_MAX];
    uint32_t size = (uint32_t)conn->header.argument;

    while (conn->owed) {
        uint32_t offset = (size - conn->owed % size) % size;
        ssize_t sent;

        memcpy(answer, &conn->token, sizeof conn->token);
        sent = send(conn->fd, answer + offset, size - offset, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            if (!conn->waiting)
                conn_watch(small_epoll, conn, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            conn->waiting = 1;
            return 0;
        }
        if (sent < 0)
            return -1;
        conn->owed -= (uint32_t)sent;
    }
    if (conn->waiting)
        conn_watch(small_epoll, conn, EPOLLIN, EPOLL_CTL_MOD);
    conn->waiting = 0;
    return 0;
}

static int echo_feed(struct conn *conn, const char *data, size_t size)
{
    while (size) {
        size_t want = conn->header.request - conn->have;
        size_t take = size < want ? size : want;

        if (conn->have < sizeof conn->token) {
            size_t room = sizeof conn->token - conn->have;

            memcpy((char *)&conn->token + conn->have, data, take < room ? take : room);
        }
        conn->have += (uint32_t)take;
        data += take;
        size -= take;
        if (conn->have == conn->header.request) {
            conn->have = 0;
            conn->owed += (uint32_t)conn->header.argument;
        }
    }
    return echo_answer(conn);
}

/* Takes the 16 header bytes, then passes a bulk connection on to its thread. 1 = no longer ours. */
static int conn_begin(struct conn *conn)
{
    const struct header *header = &conn->header;

    conn->started = 1;
    conn->have = 0;
    if (header->magic[0] != 'W' || header->magic[1] != 'B')
        return -1;
    if (header->mode == MODE_ECHO)
        return header->request < 8 || header->argument < 8 || header->argument > SMALL_MAX ? -1 : 0;
    epoll_ctl(small_epoll, EPOLL_CTL_DEL, conn->fd, NULL);
    conn_watch(bulk_epoll, conn, header->mode == MODE_SINK ? EPOLLIN : EPOLLOUT, EPOLL_CTL_ADD);
    return 1;
}

static void small_ready(struct conn *conn, uint32_t events)
{
    static char buffer[SMALL_MAX];
    ssize_t got;
    int state = 0;

    if ((events & EPOLLOUT) && echo_answer(conn) < 0) {
        conn_free(conn);
        return;
    }
    if (!conn->started) {
        got = recv(conn->fd, (char *)&conn->header + conn->have, sizeof conn->header - conn->have, 0);
        if (got > 0 && (conn->have += (uint32_t)got) == sizeof conn->header)
            state = conn_begin(conn);
        if (state > 0)
            return;
    } else {
        got = recv(conn->fd, buffer, sizeof buffer, 0);
        if (got > 0)
            state = echo_feed(conn, buffer, (size_t)got);
    }
    if (got == 0 || (got < 0 && errno != EAGAIN) || state < 0)
        conn_free(conn);
}

static void accept_all(int listener)
{
    int on = 1, fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *conn = calloc(1, sizeof *conn);

        if (!conn)
            die(1, "connection");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        conn->fd = fd;
        conn_watch(small_epoll, conn, EPOLLIN, EPOLL_CTL_ADD);
    }
}

/* One turn of a sink: 0 to go on, -1 at the end. */
static int sink_turn(struct conn *conn)
{
    static char buffer[BULK_BUFFER];
    ssize_t got = recv(conn->fd, buffer, sizeof buffer, 0);

    if (got < 0)
        return errno == EAGAIN ? 0 : -1;
    conn->total += (uint64_t)got;
    if (got == 0 || (conn->header.argument && conn->total - conn->reported >= conn->header.argument)) {
        conn->reported = conn->total;
        if (send(conn->fd, &conn->total, sizeof conn->total, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
            return -1;
    }
    return got == 0 ? -1 : 0;
}

static int source_turn(struct conn *conn, struct conn **paced)
{
    size_t size = sizeof pattern;
    ssize_t sent;

    if (conn->header.argument && conn->allowance < size)
        size = (size_t)conn->allowance;
    if (size == 0) {
        /* Out of allowance: the timer takes it up again. */
        conn_watch(bulk_epoll, conn, 0, EPOLL_CTL_MOD);
        conn->next_paced = *paced;
        conn->paused = 1;
        *paced = conn;
        return 0;
    }
    sent = send(conn->fd, pattern, size, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN ? 0 : -1;
    if (conn->header.argument)
        conn->allowance -= (uint64_t)sent;
    return 0;
}

static void *bulk_thread(void *argument)
{
    struct itimerspec tick = {.it_interval.tv_nsec = 1000000, .it_value.tv_nsec = 1000000};
    struct epoll_event events[64], timer_event = {.events = EPOLLIN, .data.ptr = NULL};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), armed = 0;
    struct conn *paced = NULL;

    (void)argument;
    if (timer < 0 || epoll_ctl(bulk_epoll, EPOLL_CTL_ADD, timer, &timer_event) < 0)
        die(1, "timer");
    for (;;) {
        int count = epoll_wait(bulk_epoll, events, 64, -1);

        for (int i = 0; i < count; i++) {
            struct conn *conn = events[i].data.ptr;
            uint64_t ticks = 0;

            if (conn) {
                int dead = (events[i].events & (EPOLLERR | EPOLLHUP)) != 0;

                if (dead && conn->paused) {
                    epoll_ctl(bulk_epoll, EPOLL_CTL_DEL, conn->fd, NULL);
                    continue;
                }
                if (dead ||
                    (conn->header.mode == MODE_SINK ? sink_turn(conn) : source_turn(conn, &paced)) < 0)
                    conn_free(conn);
                continue;
            }
            if (read(timer, &ticks, sizeof ticks) < 0)
                continue;
            for (struct conn *next, *one = paced; one; one = next) {
                next = one->next_paced;
                one->paused = 0;
                one->allowance = one->header.argument * (ticks > 20 ? 20 : ticks) / 1000 + 1;
                if (epoll_ctl(bulk_epoll, EPOLL_CTL_MOD, one->fd,
                              &(struct epoll_event){.events = EPOLLOUT, .data.ptr = one}) < 0)
                    conn_free(one);
            }
            paced = NULL;
        }
        /* No tick while nobody is paced: an idle application must cost nothing. */
        if (armed != (paced != NULL)) {
            armed = paced != NULL;
            timerfd_settime(timer, 0, armed ? &tick : &(struct itimerspec){0}, NULL);
        }
    }
    return NULL;
}

int app_main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    struct epoll_event events[256], event = {.events = EPOLLIN, .data.ptr = NULL};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    pthread_t thread;

    inet_pton(AF_INET, argc > 1 ? argv[1] : "127.0.0.1", &address.sin_addr);
    for (size_t i = 0, x = 88172645463325252u; i < sizeof pattern; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        pattern[i] = (char)x; /* not compressible */
    }
    small_epoll = epoll_create1(EPOLL_CLOEXEC);
    bulk_epoll = epoll_create1(EPOLL_CLOEXEC);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 4096) < 0 ||
        small_epoll < 0 || bulk_epoll < 0 || getsockname(listener, (struct sockaddr *)&address, &size) < 0 ||
        epoll_ctl(small_epoll, EPOLL_CTL_ADD, listener, &event) < 0)
        die(1, "listening");
    if (pthread_create(&thread, NULL, bulk_thread, NULL))
        die(0, "no thread");
    printf("%u\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(small_epoll, events, 256, -1);

        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr)
                small_ready(events[i].data.ptr, events[i].events);
            else
                accept_all(listener);
        }
    }
}
