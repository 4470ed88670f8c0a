/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load engines that ask and wait: requests in a closed loop over warm connections, and connections that
 * are made, used once and closed. Every answer is checked for its request's token; a wrong or missing
 * answer is an error of the run and is never counted as a fast one.
 */
#include "driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

struct slot {
    uint64_t token;
    uint64_t began;
    int fd;
    uint32_t have;
    uint8_t busy;
};

struct asker {
    struct engine *engine;
    struct slot *slots;
    char *request;
    char *answer;
    uint64_t next_token;
    size_t turn;
    int epoll;
};

/* Sends the next request on a slot, with the header before it when the connection is new. */
static int slot_ask(struct asker *asker, struct slot *slot, int with_header)
{
    struct engine *engine = asker->engine;
    struct header header = header_make(MODE_ECHO, engine->request, engine->response);
    size_t size = sizeof header + engine->request, skip = with_header ? 0 : sizeof header;

    slot->token = ++asker->next_token;
    slot->have = 0;
    slot->busy = 1;
    memcpy(asker->request, &header, sizeof header);
    memcpy(asker->request + sizeof header, &slot->token, sizeof slot->token);
    return send_all(slot->fd, asker->request + skip, size - skip);
}

/* Reads what came; 1 = the answer is whole and right, 0 = more to come, -1 = failed. */
static int slot_take(struct asker *asker, struct slot *slot)
{
    uint32_t size = asker->engine->response;
    ssize_t got = recv(slot->fd, asker->answer, size - slot->have, 0);

    if (got <= 0)
        return got < 0 && errno == EAGAIN ? 0 : -1;
    if (slot->have < sizeof slot->token) {
        size_t part = sizeof slot->token - slot->have;

        if ((size_t)got < part)
            part = (size_t)got;
        if (memcmp((char *)&slot->token + slot->have, asker->answer, part) != 0)
            return -1;
    }
    slot->have += (uint32_t)got;
    return slot->have == size;
}

static void count(struct engine *engine, uint64_t began, uint64_t now)
{
    if (engine->window->phase != PHASE_MEASURE)
        return;
    engine->completed++;
    sample_add(engine, now - began);
}

static void asker_init(struct asker *asker, struct engine *engine, size_t slots)
{
    *asker = (struct asker){.engine = engine};
    asker->slots = calloc(slots, sizeof *asker->slots);
    asker->request = calloc(1, sizeof(struct header) + engine->request);
    asker->answer = malloc(engine->response);
    asker->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!asker->slots || !asker->request || !asker->answer || asker->epoll < 0)
        die(1, "request engine");
}

static void asker_clear(struct asker *asker)
{
    close(asker->epoll);
    free(asker->slots);
    free(asker->request);
    free(asker->answer);
}

/* The next connection in turn that has nothing under way. */
static void ask_next(struct asker *asker)
{
    struct engine *engine = asker->engine;

    for (size_t tries = 0; tries < engine->connections; tries++) {
        struct slot *slot = &asker->slots[asker->turn++ % engine->connections];

        if (slot->busy)
            continue;
        slot->began = now_ns();
        if (slot_ask(asker, slot, 0) < 0)
            die(1, "a warm connection broke");
        return;
    }
}

void *request_run(void *argument)
{
    struct engine *engine = argument;
    struct window *window = engine->window;
    struct epoll_event events[256];
    struct asker asker;
    size_t warm = 0;

    asker_init(&asker, engine, engine->connections);
    for (size_t i = 0; i < engine->connections; i++) {
        struct slot *slot = &asker.slots[i];
        struct header header = header_make(MODE_ECHO, engine->request, engine->response);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = slot};

        slot->fd = target_open(&engine->to, &header);
        if (epoll_ctl(asker.epoll, EPOLL_CTL_ADD, slot->fd, &event) < 0)
            die(1, "epoll_ctl");
    }
    for (size_t i = 0; i < engine->outstanding; i++)
        ask_next(&asker);
    while (window->phase != PHASE_DONE) {
        int ready = epoll_wait(asker.epoll, events, 256, 50);

        for (int i = 0; i < ready; i++) {
            struct slot *slot = events[i].data.ptr;
            int state = slot_take(&asker, slot);

            if (state < 0)
                die(1, "a warm connection gave a wrong answer or none");
            if (state == 0)
                continue;
            slot->busy = 0;
            count(engine, slot->began, now_ns());
            if (warm < engine->connections && ++warm == engine->connections)
                window->ready++;
            ask_next(&asker);
        }
        if (warm < engine->connections && now_ns() > window->deadline_ns)
            die(0, "only %zu of %zu connections answered in time", warm, engine->connections);
    }
    for (size_t i = 0; i < engine->connections; i++)
        close(asker.slots[i].fd);
    asker_clear(&asker);
    return NULL;
}

static void slot_open(struct asker *asker, struct slot *slot)
{
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = slot};

    slot->began = now_ns();
    slot->busy = 0;
    slot->fd = target_connect(&asker->engine->to);
    if (slot->fd < 0 || epoll_ctl(asker->epoll, EPOLL_CTL_ADD, slot->fd, &event) < 0)
        die(1, "connect");
}

static void slot_again(struct asker *asker, struct slot *slot, int failed)
{
    if (failed)
        asker->engine->window->errors++;
    close(slot->fd);
    if (failed && asker->engine->window->errors > 1000)
        die(0, "over a thousand connections failed");
    slot_open(asker, slot);
}

void *connect_run(void *argument)
{
    struct engine *engine = argument;
    struct window *window = engine->window;
    struct epoll_event events[256];
    struct asker asker;
    size_t finished = 0;

    asker_init(&asker, engine, engine->connections);
    for (size_t i = 0; i < engine->connections; i++)
        slot_open(&asker, &asker.slots[i]);
    while (window->phase != PHASE_DONE) {
        int ready = epoll_wait(asker.epoll, events, 256, 50);

        for (int i = 0; i < ready; i++) {
            struct slot *slot = events[i].data.ptr;
            struct epoll_event event = {.events = EPOLLIN, .data.ptr = slot};
            int state;

            if (!slot->busy) {
                if ((events[i].events & (EPOLLERR | EPOLLHUP)) || slot_ask(&asker, slot, 1) < 0)
                    slot_again(&asker, slot, 1);
                else if (epoll_ctl(asker.epoll, EPOLL_CTL_MOD, slot->fd, &event) < 0)
                    die(1, "epoll_ctl");
                continue;
            }
            state = slot_take(&asker, slot);
            if (state == 0)
                continue;
            if (state > 0) {
                count(engine, slot->began, now_ns());
                if (++finished == engine->connections)
                    window->ready++;
            }
            slot_again(&asker, slot, state < 0);
        }
        if (finished < engine->connections && now_ns() > window->deadline_ns)
            die(0, "only %zu connections were answered in time", finished);
    }
    for (size_t i = 0; i < engine->connections; i++)
        close(asker.slots[i].fd);
    asker_clear(&asker);
    return NULL;
}
