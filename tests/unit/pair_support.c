/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See pair_support.h.
 */
#include "pair_support.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "worker-net/stream_socket.h"

#define DEADLINE_S 60
#define PIECE 65536u

/* ---- bytes ---- */

static uint64_t scramble(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

void fill_pattern(uint64_t seed, uint64_t offset, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint64_t word = scramble(seed + (offset + i) / 8 * 0x9e3779b97f4a7c15ull);
        for (uint64_t k = (offset + i) % 8; k < 8 && i < len; k++, i++)
            out[i] = (uint8_t)(word >> (8 * k));
    }
}

/* ---- sockets ---- */

void tcp_pair(int fd[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd[0], (struct sockaddr *)&address, sizeof address), 0);
    fd[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fd[1] >= 0);
    assert_int_equal(evutil_make_socket_nonblocking(fd[0]), 0);
    (void)close(listener);
}

/* ---- parties ---- */

static void party_over(struct party *p)
{
    if (p->fd < 0)
        return;
    event_free(p->readable);
    event_free(p->writable);
    event_free(p->pause);
    (void)close(p->fd);
    p->fd = -1;
    p->pair->n_busy--;
}

static void party_settle(struct party *p)
{
    if ((p->ended && p->got_end) || p->got_reset || p->was_reset)
        party_over(p);
}

static void party_reset(struct party *p)
{
    struct linger now = {.l_onoff = 1};

    p->was_reset = true;
    (void)setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

static void on_party_writable(evutil_socket_t fd, short what, void *arg)
{
    static uint8_t buf[PIECE];
    struct party *p = arg;
    uint64_t want = p->to_send - p->sent;

    (void)what;
    if (want > PIECE)
        want = PIECE;
    if (p->reset_at != UINT64_MAX && p->sent + want > p->reset_at)
        want = p->reset_at - p->sent;
    fill_pattern(p->seed, p->sent, buf, (size_t)want);
    ssize_t n = want == 0 ? 0 : send(fd, buf, (size_t)want, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
        p->got_reset = true;
    if (n > 0)
        p->sent += (uint64_t)n;
    if (p->sent == p->reset_at) {
        party_reset(p);
    } else if (p->sent == p->to_send) {
        (void)shutdown(fd, SHUT_WR);
        p->ended = true;
        (void)event_del(p->writable);
    }
    party_settle(p);
}

static void on_party_readable(evutil_socket_t fd, short what, void *arg)
{
    static uint8_t buf[PIECE], expected[PIECE];
    struct timeval pause = {0, 1000 * (suseconds_t)((struct party *)arg)->slow_ms};
    struct party *p = arg;

    (void)what;
    ssize_t n = recv(fd, buf, p->slow_ms > 0 ? 3000 : PIECE, 0);
    if (n > 0) {
        fill_pattern(p->other->seed, p->got, expected, (size_t)n);
        assert_memory_equal(buf, expected, (size_t)n);
        p->got += (uint64_t)n;
        if (p->slow_ms > 0) {
            (void)event_del(p->readable);
            (void)event_add(p->pause, &pause);
        }
        return;
    }
    if (n < 0 && errno == EAGAIN)
        return;
    (void)event_del(p->readable);
    p->got_end = n == 0;
    p->got_reset = n < 0;
    if (p->got_end && p->waits_for_end)
        (void)event_add(p->writable, NULL);
    party_settle(p);
}

static void on_party_pause(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)event_add(((struct party *)arg)->readable, NULL);
}

static void party_start(struct party *p, struct pair *pair, struct party *other, uint64_t seed, int fd)
{
    p->pair = pair;
    p->other = other;
    p->seed = seed;
    p->fd = fd;
    pair->n_busy++;
    p->readable = event_new(pair->base, fd, EV_READ | EV_PERSIST, on_party_readable, p);
    p->writable = event_new(pair->base, fd, EV_WRITE | EV_PERSIST, on_party_writable, p);
    p->pause = evtimer_new(pair->base, on_party_pause, p);
    assert_int_equal(event_add(p->readable, NULL), 0);
    if (!p->waits_for_end)
        assert_int_equal(event_add(p->writable, NULL), 0);
}

/* ---- the tunnel's ends ---- */

static struct stream_account *on_asked(void *owner, struct stream *s, const struct mux_open *open)
{
    struct tunnel_end *end = owner;
    struct pair *p = end->pair;

    assert_true(open->app < p->n_calls);
    p->asked[p->n_asked++] = s->id;
    event_active(p->accept_soon, EV_TIMEOUT, 0);
    return &p->calls[open->app].account[1];
}

static void on_accept_soon(evutil_socket_t unused, short what, void *arg)
{
    struct pair *p = arg;

    (void)unused;
    (void)what;
    while (p->n_asked > 0) {
        struct stream *s = mux_find(p->client.mux, p->asked[--p->n_asked]);
        int fd[2];
        if (s == NULL)
            continue;
        struct call *c = (struct call *)(void *)((char *)s->account - offsetof(struct call, account[1]));
        if (c->refused) {
            mux_refuse(s, DIAL_REFUSED);
            continue;
        }
        tcp_pair(fd);
        party_start(&c->app, p, &c->user, scramble((uint64_t)(c - p->calls) * 2 + 1), fd[0]);
        assert_int_equal(stream_socket_attach(s, p->base, fd[1], false), OK);
        mux_accept(s);
    }
}

static void on_answered(void *owner, struct stream *s, unsigned code)
{
    (void)owner;
    (void)s;
    (void)code;
}

static void on_app(void *owner, enum frame_type type, const struct mux_app *app)
{
    (void)owner;
    (void)type;
    (void)app;
}

static void on_pong(void *owner, uint64_t rtt_us)
{
    (void)owner;
    (void)rtt_us;
}

static void on_goaway(void *owner, unsigned code)
{
    (void)owner;
    (void)code;
}

static void on_wake(void *owner)
{
    struct tunnel_end *end = owner;

    if (end->relay != NULL)
        relay_wake(end->relay);
}

static const struct mux_ops ops = {
    .read = stream_socket_read,
    .write = stream_socket_write,
    .shut = stream_socket_shut,
    .stop = stream_socket_stop,
    .detach = stream_socket_detach,
    .asked = on_asked,
    .answered = on_answered,
    .app = on_app,
    .pong = on_pong,
    .goaway = on_goaway,
    .wake = on_wake,
};

static size_t on_text(void *arg, const uint8_t *data, size_t len)
{
    (void)arg;
    (void)data;
    return len;
}

static void on_secured(void *arg)
{
    (void)arg;
}

static void on_message(void *arg, const uint8_t *data, size_t len)
{
    (void)arg;
    (void)data;
    (void)len;
}

static void on_heard(void *arg)
{
    struct tunnel_end *end = arg;
    uint64_t buffered = mux_buffered(end->mux);

    if (buffered > end->pair->most_buffered)
        end->pair->most_buffered = buffered;
}

/* As the session does it: streams that are not whole break, and the last words are said. */
static void on_ended(void *arg, const struct relay_end *why)
{
    struct tunnel_end *end = arg;
    bool orderly = why->code == END_PEER_CLOSED || why->code == END_LIMIT;

    assert_false(end->ended);
    end->ended = true;
    end->end = *why;
    (void)snprintf(end->end_text, sizeof end->end_text, "%s", why->text);
    mux_abandon(end->mux);
    if (orderly)
        mux_send_close(end->mux);
    relay_finish(end->relay, orderly, why->close_code, why->text, 1000);
}

static void on_finished(void *arg)
{
    ((struct tunnel_end *)arg)->finished = true;
}

static const struct relay_handlers handlers = {.text = on_text,
                                               .secured = on_secured,
                                               .message = on_message,
                                               .heard = on_heard,
                                               .ended = on_ended,
                                               .finished = on_finished};

static void end_start(struct tunnel_end *end, struct pair *p, enum side side, int fd,
                      const struct pair_options *o)
{
    static const uint8_t key[2][RECORD_KEY] = {{1}, {2}}, iv[2][RECORD_IV] = {{3}, {4}};
    size_t max_plain = o->max_plain == 0 ? RECORD_PLAIN_DEFAULT : o->max_plain;
    struct mux_config config = {
        .side = side,
        .max_streams = PAIR_CALLS,
        .stream_window = STREAM_WINDOW_INITIAL,
        .stream_window_max = STREAM_WINDOW_MAX,
        .connection_window = CONNECTION_WINDOW_INITIAL,
        .connection_window_max =
            o->connection_window_max == 0 ? CONNECTION_WINDOW_MAX : o->connection_window_max,
    };
    struct record_key keys[2] = {0};
    enum direction in = side == SIDE_SERVER ? DIRECTION_C2S : DIRECTION_S2C;
    enum direction out = side == SIDE_SERVER ? DIRECTION_S2C : DIRECTION_C2S;

    end->pair = p;
    end->side = side;
    relay_link_options(fd, 10000);
    end->relay = relay_new(p->base, fd, side, &handlers, end);
    assert_non_null(end->relay);
    relay_start_messages(end->relay, HS_MESSAGE_MAX);
    assert_int_equal(record_key_set(&keys[0], in, false, 0, 1, key[in], iv[in], o->max_records, o->max_bytes),
                     OK);
    assert_int_equal(
        record_key_set(&keys[1], out, true, 0, 1, key[out], iv[out], o->max_records, o->max_bytes), OK);
    end->mux = mux_new(&config, &ops, end);
    assert_non_null(end->mux);
    struct relay_keys give = {.in = &keys[0], .out = &keys[1], .max_plain = max_plain};
    assert_int_equal(relay_start_records(end->relay, end->mux, &give), OK);
    mux_send_ping(end->mux);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct pair *p = arg;

    (void)fd;
    (void)what;
    for (unsigned i = 0; i < p->n_calls; i++) {
        const struct party *u = &p->calls[i].user, *a = &p->calls[i].app;
        if (u->fd >= 0 || a->fd >= 0)
            print_message("call %u: user sent %lu/%lu got %lu end %d, app sent %lu/%lu got %lu end %d\n", i,
                          u->sent, u->to_send, u->got, u->got_end, a->sent, a->to_send, a->got, a->got_end);
    }
    fail_msg("still %u parties after %d s", p->n_busy, DEADLINE_S);
}

struct pair *pair_new(const struct pair_options *options)
{
    struct pair *p = calloc(1, sizeof *p);
    struct timeval deadline = {DEADLINE_S, 0};
    int link[2] = {options->link[0], options->link[1]};

    assert_non_null(p);
    p->base = event_base_new();
    p->calls = calloc(PAIR_CALLS, sizeof *p->calls);
    assert_non_null(p->calls);
    p->n_calls = PAIR_CALLS;
    for (unsigned i = 0; i < PAIR_CALLS; i++) {
        p->calls[i].user.fd = p->calls[i].app.fd = -1;
        p->calls[i].user.reset_at = p->calls[i].app.reset_at = UINT64_MAX;
    }
    p->accept_soon = event_new(p->base, -1, 0, on_accept_soon, p);
    p->deadline = evtimer_new(p->base, on_deadline, p);
    assert_int_equal(event_add(p->deadline, &deadline), 0);
    if (link[1] == 0)
        tcp_pair(link);
    end_start(&p->server, p, SIDE_SERVER, link[0], options);
    end_start(&p->client, p, SIDE_CLIENT, link[1], options);
    /* Users can be let in when the client has said how many. */
    while (mux_can_open(p->server.mux) == ERR_AGAIN)
        assert_int_equal(event_base_loop(p->base, EVLOOP_ONCE), 0);
    return p;
}

void pair_free(struct pair *p)
{
    for (unsigned i = 0; i < p->n_calls; i++) {
        party_over(&p->calls[i].user);
        party_over(&p->calls[i].app);
    }
    struct tunnel_end *ends[] = {&p->server, &p->client};
    for (unsigned i = 0; i < 2; i++) {
        mux_free(ends[i]->mux);
        relay_free(ends[i]->relay);
    }
    event_free(p->accept_soon);
    event_free(p->deadline);
    event_base_free(p->base);
    free(p->calls);
    free(p);
}

void call_start(struct pair *p, unsigned index)
{
    struct call *c = &p->calls[index];
    struct mux_open open = {.app = index};
    struct stream *s = NULL;
    int fd[2];

    tcp_pair(fd);
    party_start(&c->user, p, &c->app, scramble(index * 2), fd[0]);
    assert_int_equal(mux_open(p->server.mux, &open, &c->account[0], &s), OK);
    assert_int_equal(stream_socket_attach(s, p->base, fd[1], false), OK);
    mux_readable(s, false);
}

/* The last frames of the streams may still be under way when the parties have seen everything. */
static bool is_busy(const struct pair *p)
{
    return p->n_busy + p->n_asked + mux_streams(p->server.mux) + mux_streams(p->client.mux) > 0;
}

void pair_run(struct pair *p, const bool *until)
{
    while (until != NULL ? !*until : is_busy(p))
        assert_int_equal(event_base_loop(p->base, EVLOOP_ONCE), 0);
}

void call_check_whole(const struct call *c)
{
    assert_int_equal(c->user.got, c->app.to_send);
    assert_int_equal(c->app.got, c->user.to_send);
    assert_true(c->user.got_end && c->app.got_end);
    assert_false(c->user.got_reset || c->app.got_reset);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(c->account[i].streams, 0);
    assert_int_equal(c->account[0].bytes_out, c->user.to_send);
    assert_int_equal(c->account[1].bytes_in, c->user.to_send);
}
