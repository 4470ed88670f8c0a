/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load engines that move or hold bytes in bulk: pouring and swallowing streams, and connections that are
 * only held (idle ones, and stalled readers that ask for bytes and never take them). They count bytes per
 * stream and must not measure latency.
 */
#include "driver.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

struct stream {
    int fd;
    size_t index;
    int begun;
};

/* Moves what can be moved now on one stream; the number of payload bytes, or -1 when it is over. */
static ssize_t stream_turn(const struct engine *engine, struct stream *stream, char *buffer)
{
    uint64_t total;
    ssize_t count;

    if (!engine->upwards) {
        count = recv(stream->fd, buffer, BULK_BUFFER, 0);
        return count > 0 ? count : count < 0 && errno == EAGAIN ? 0 : -1;
    }
    count = send(stream->fd, buffer, BULK_BUFFER, MSG_NOSIGNAL);
    if (count < 0 && errno != EAGAIN)
        return -1;
    if (!engine->report)
        return count > 0 ? count : 0;
    /* The sink's own reports count then, not what the socket took. */
    count = 0;
    while (recv(stream->fd, &total, sizeof total, MSG_DONTWAIT | MSG_PEEK) == sizeof total &&
           recv(stream->fd, &total, sizeof total, MSG_DONTWAIT) == sizeof total)
        count = (ssize_t)(total - engine->bytes[stream->index]);
    return count;
}

void *bulk_run(void *argument)
{
    struct engine *engine = argument;
    struct window *window = engine->window;
    struct stream *streams = calloc(engine->connections, sizeof *streams);
    char *buffer = malloc(BULK_BUFFER);
    struct epoll_event events[64];
    struct header header = header_make(engine->upwards ? MODE_SINK : MODE_SOURCE, 0,
                                       engine->upwards ? engine->report : engine->rate);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    size_t begun = 0;

    if (!streams || !buffer || epoll < 0)
        die(1, "bulk engine");
    for (size_t i = 0; i < BULK_BUFFER; i++)
        buffer[i] = (char)(i * 2654435761u >> 13);
    for (size_t i = 0; i < engine->connections; i++) {
        struct epoll_event event = {.data.ptr = &streams[i]};

        event.events = engine->upwards ? (uint32_t)EPOLLOUT : (uint32_t)EPOLLIN;
        if (engine->upwards && engine->report)
            event.events |= (uint32_t)EPOLLIN;
        streams[i] = (struct stream){.fd = target_open(&engine->to, &header), .index = i};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, streams[i].fd, &event) < 0)
            die(1, "epoll_ctl");
    }
    while (window->phase != PHASE_DONE) {
        int count = epoll_wait(epoll, events, 64, 50);

        for (int i = 0; i < count; i++) {
            struct stream *stream = events[i].data.ptr;
            ssize_t moved = stream_turn(engine, stream, buffer);

            if (moved < 0) {
                window->errors++;
                epoll_ctl(epoll, EPOLL_CTL_DEL, stream->fd, NULL);
                continue;
            }
            if (moved > 0 && !stream->begun) {
                stream->begun = 1;
                if (++begun == engine->connections)
                    window->ready++;
            }
            atomic_fetch_add_explicit(&engine->bytes[stream->index], (uint64_t)moved, memory_order_relaxed);
        }
        if (begun < engine->connections && now_ns() > window->deadline_ns)
            die(0, "only %zu of %zu bulk streams carried a byte in time", begun, engine->connections);
    }
    for (size_t i = 0; i < engine->connections; i++)
        close(streams[i].fd);
    close(epoll);
    free(streams);
    free(buffer);
    return NULL;
}

/*
 * Idle: each connection makes one round trip, to be whole from end to end, and rests. Stalled: each asks
 * for an endless source, takes the first byte and nothing more.
 */
void *hold_run(void *argument)
{
    struct engine *engine = argument;
    struct window *window = engine->window;
    int stalled = strcmp(engine->kind, "stalled") == 0;
    struct header header = header_make(stalled ? MODE_SOURCE : MODE_ECHO, stalled ? 0 : 8, stalled ? 0 : 8);
    int *fds = calloc(engine->connections, sizeof *fds);
    size_t opened = 0, answered = 0;
    enum { AHEAD = 32 };

    if (!fds)
        die(1, "hold engine");
    while (answered < engine->connections) {
        char answer[8];

        if (opened < engine->connections && opened - answered < AHEAD) {
            fds[opened] = target_open(&engine->to, &header);
            if (!stalled && send_all(fds[opened], "idlebyte", 8) < 0)
                die(1, "idle connection");
            opened++;
            continue;
        }
        struct pollfd wait = {.fd = fds[answered], .events = POLLIN};
        if (poll(&wait, 1, 30000) != 1 || recv(fds[answered], answer, stalled ? 1 : 8, 0) < 1)
            die(1, "connection %zu of %zu to hold got no answer", answered + 1, engine->connections);
        answered++;
    }
    window->ready++;
    struct pollfd done = {.fd = engine->wakeup, .events = POLLIN};
    while (window->phase != PHASE_DONE) {
        if (poll(&done, 1, -1) > 0 && window->phase != PHASE_DONE) {
            uint64_t value;

            if (read(engine->wakeup, &value, sizeof value) < 0)
                break;
        }
    }
    /* Those that went away meanwhile are errors: idle must survive. */
    for (size_t i = 0; i < engine->connections; i++) {
        char answer;

        if (!stalled && recv(fds[i], &answer, 1, MSG_DONTWAIT | MSG_PEEK) == 0)
            window->errors++;
        close(fds[i]);
    }
    free(fds);
    return NULL;
}
