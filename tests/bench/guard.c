/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instruction guard's fixed work: both ends of a tunnel in one process and on one event loop, over the
 * real relay, websocket, record, mux and stream code, with the tunnel and the applications on socketpairs.
 * Run under callgrind it costs the same number of instructions every time; tests/bench/guard compares them
 * with the committed ones. It must not depend on time, on the machine's speed or on any other process.
 *
 *   bench-guard            does all parts, asking callgrind for one dump after each
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_ZERO_STATS
#define CALLGRIND_DUMP_STATS_AT(name)
#endif

#include "worker-net/mux.h"
#include "worker-net/record.h"
#include "worker-net/relay.h"
#include "worker-net/stream_socket.h"

enum { REQUEST = 128, RESPONSE = 256, SOCKET_BUFFER = 212992, WINDOW = 4 << 20 };

struct end {
    struct mux *mux;
    struct relay *relay;
};

static struct event_base *base;
static struct end server, client;
static struct stream_account account;
static struct stream *asked; /* the client's stream that waits for its application */

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "bench-guard: %s\n", what);
    exit(1);
}

/* ---- what the mux asks for ---- */

static struct stream_account *on_asked(void *owner, struct stream *s, const struct mux_open *open)
{
    (void)owner, (void)open;
    asked = s;
    return &account;
}

static void on_answered(void *owner, struct stream *s, unsigned code)
{
    (void)owner, (void)s;
    if (code != 0)
        fail("a stream was refused");
}

static void on_app(void *owner, enum frame_type type, const struct mux_app *app)
{
    (void)owner, (void)type, (void)app;
}

static void on_pong(void *owner, uint64_t rtt_us)
{
    (void)owner, (void)rtt_us;
}

static void on_goaway(void *owner, unsigned code)
{
    (void)owner, (void)code;
}

static void on_wake(void *owner)
{
    relay_wake(((struct end *)owner)->relay);
}

static const struct mux_ops ops = {.read = stream_socket_read,
                                   .write = stream_socket_write,
                                   .shut = stream_socket_shut,
                                   .stop = stream_socket_stop,
                                   .detach = stream_socket_detach,
                                   .asked = on_asked,
                                   .answered = on_answered,
                                   .app = on_app,
                                   .pong = on_pong,
                                   .goaway = on_goaway,
                                   .wake = on_wake};

/* ---- the two ends ---- */

static size_t on_text(void *arg, const uint8_t *data, size_t len)
{
    (void)arg, (void)data;
    return len;
}

static void on_nothing(void *arg)
{
    (void)arg;
}

static void on_message(void *arg, const uint8_t *data, size_t len)
{
    (void)arg, (void)data, (void)len;
    fail("a message that is no record");
}

static void on_ended(void *arg, const struct relay_end *end)
{
    (void)arg;
    fail(end->text);
}

static const struct relay_handlers handlers = {.text = on_text,
                                               .secured = on_nothing,
                                               .message = on_message,
                                               .heard = on_nothing,
                                               .ended = on_ended,
                                               .finished = on_nothing};

static void end_init(struct end *e, enum side side, int fd)
{
    static const uint8_t key[RECORD_KEY] = {1}, iv[RECORD_IV] = {2};
    /* Windows do not grow here: growing is a matter of time. */
    const struct mux_config config = {.side = side,
                                      .max_streams = 20000,
                                      .stream_window = WINDOW,
                                      .stream_window_max = WINDOW,
                                      .connection_window = 2 * WINDOW,
                                      .connection_window_max = CONNECTION_WINDOW_MAX};
    struct record_key seal = {0}, open = {0};
    struct relay_keys keys = {.in = &open, .out = &seal, .max_plain = RECORD_PLAIN_DEFAULT};
    bool is_client = side == SIDE_CLIENT;

    if (record_key_set(&seal, is_client ? DIRECTION_C2S : DIRECTION_S2C, true, 0, 1, key, iv, 0, 0) != OK ||
        record_key_set(&open, is_client ? DIRECTION_S2C : DIRECTION_C2S, false, 0, 1, key, iv, 0, 0) != OK)
        fail("no keys");
    e->mux = mux_new(&config, &ops, e);
    e->relay = relay_new(base, fd, side, &handlers, e);
    if (e->mux == NULL || e->relay == NULL)
        fail("out of memory");
    relay_start_messages(e->relay, RECORD_PLAIN_DEFAULT + RECORD_OVERHEAD);
    if (relay_start_records(e->relay, e->mux, &keys) != OK)
        fail("no records");
}

static void turn(void)
{
    (void)event_base_loop(base, EVLOOP_NONBLOCK);
}

/* ---- users and applications ---- */

struct pair {
    int user, app;
};

static int socket_end(int *mine)
{
    int pair[2], size = SOCKET_BUFFER;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        fail("socketpair");
    for (int i = 0; i < 2; i++)
        (void)setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    *mine = pair[0];
    return pair[1];
}

static struct pair pair_open(void)
{
    const struct mux_open open = {.app = 1, .port = 1};
    struct stream *s;
    struct pair p;

    if (mux_open(server.mux, &open, &account, &s) != OK ||
        stream_socket_attach(s, base, socket_end(&p.user), true) != OK)
        fail("no stream");
    asked = NULL;
    while (asked == NULL)
        turn();
    if (stream_socket_attach(asked, base, socket_end(&p.app), true) != OK)
        fail("no stream at the client");
    mux_accept(asked);
    return p;
}

static void pair_close(struct pair p)
{
    close(p.user);
    for (int i = 0; i < 4; i++)
        turn();
    close(p.app);
    for (int i = 0; i < 4; i++)
        turn();
}

static void bulk(struct pair p, size_t bytes, bool down)
{
    static uint8_t buffer[262144];
    int from = down ? p.app : p.user, to = down ? p.user : p.app;
    size_t sent = 0, got = 0;

    while (got < bytes) {
        size_t left = bytes - sent;
        ssize_t n = left > 0 ? write(from, buffer, left < sizeof buffer ? left : sizeof buffer) : 0;
        if (n > 0)
            sent += (size_t)n;
        turn();
        while ((n = read(to, buffer, sizeof buffer)) > 0)
            got += (size_t)n;
    }
}

static void exchange(int from, int to, size_t size)
{
    uint8_t buffer[RESPONSE] = {0};

    if (write(from, buffer, size) != (ssize_t)size)
        fail("a request did not fit");
    for (size_t got = 0; got < size;) {
        ssize_t n = read(to, buffer, size - got);
        if (n > 0)
            got += (size_t)n;
        else
            turn();
    }
}

/* Rounds of one request on each of n streams, all of a round under way together. */
static void requests(const struct pair *pairs, size_t n, size_t rounds)
{
    uint8_t buffer[RESPONSE] = {0};

    for (size_t r = 0; r < rounds; r++) {
        for (size_t i = 0; i < n; i++)
            if (write(pairs[i].user, buffer, REQUEST) != REQUEST)
                fail("a request did not fit");
        for (size_t i = 0; i < n; i++)
            while (read(pairs[i].app, buffer, REQUEST) != REQUEST)
                turn();
        for (size_t i = 0; i < n; i++)
            if (write(pairs[i].app, buffer, RESPONSE) != RESPONSE)
                fail("an answer did not fit");
        for (size_t i = 0; i < n; i++)
            while (read(pairs[i].user, buffer, RESPONSE) != RESPONSE)
                turn();
    }
}

static void connections(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct pair p = pair_open();

        exchange(p.user, p.app, REQUEST);
        exchange(p.app, p.user, RESPONSE);
        pair_close(p);
    }
}

int main(void)
{
    static struct pair many[64];

    /* poll(2), because epoll's order of events is the kernel's and would not repeat itself. */
    struct event_config *config = event_config_new();
    if (config == NULL || event_config_avoid_method(config, "epoll") != 0)
        fail("no event base");
    base = event_base_new_with_config(config);
    event_config_free(config);
    int near, far = socket_end(&near);
    end_init(&server, SIDE_SERVER, near);
    end_init(&client, SIDE_CLIENT, far);
    for (int i = 0; i < 4; i++)
        turn();
    struct pair one = pair_open();
    bulk(one, 4 << 20, true); /* windows have grown, memory is warm */
    bulk(one, 4 << 20, false);
    connections(10);
    for (size_t i = 0; i < 64; i++)
        many[i] = pair_open();
    requests(many, 64, 2);

    CALLGRIND_ZERO_STATS;
    bulk(one, 16 << 20, true);
    CALLGRIND_DUMP_STATS_AT("bulk-down 16 MiB");
    bulk(one, 16 << 20, false);
    CALLGRIND_DUMP_STATS_AT("bulk-up 16 MiB");
    requests(&one, 1, 2000);
    CALLGRIND_DUMP_STATS_AT("request 2000 one-by-one");
    requests(many, 64, 50);
    CALLGRIND_DUMP_STATS_AT("request-64 3200 sixty-four-together");
    connections(500);
    CALLGRIND_DUMP_STATS_AT("connection 500 open-request-close");
    struct end *ends[] = {&server, &client};
    for (int i = 0; i < 2; i++) {
        mux_free(ends[i]->mux);
        relay_free(ends[i]->relay);
    }
    event_base_free(base);
    return 0;
}
