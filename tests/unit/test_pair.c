/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole tunnels in one process: random data on many streams at once with half-closes, resets, refusals and
 * slow readers, checked byte by byte; a network in between that cuts messages apart or changes a byte; and
 * every way in which a connection ends.
 */
#include "pair_support.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker-net/websocket.h"

static uint32_t dice(uint32_t *seed, uint32_t sides)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % sides;
}

static void expect_idle(const struct pair *p)
{
    assert_int_equal(mux_streams(p->server.mux), 0);
    assert_int_equal(mux_streams(p->client.mux), 0);
    assert_int_equal(mux_buffered(p->server.mux), 0);
    assert_int_equal(mux_buffered(p->client.mux), 0);
    assert_false(p->server.ended);
    assert_false(p->client.ended);
}

static void run_until_idle(struct pair *p)
{
    pair_run(p, NULL);
    expect_idle(p);
}

static void test_one_large_stream(void **state)
{
    struct pair *p = pair_new(&(struct pair_options){0});
    (void)state;

    p->calls[0].user.to_send = 48u << 20;
    p->calls[0].app.to_send = 32u << 20;
    call_start(p, 0);
    run_until_idle(p);
    call_check_whole(&p->calls[0]);
    assert_true(p->most_buffered <= CONNECTION_WINDOW_MAX);
    pair_free(p);
}

/* Sizes around every edge: empty, one byte, a record's payload and its neighbours, windows. */
static void test_edges_of_sizes(void **state)
{
    static const uint64_t sizes[] = {0,     1,     2,     4095,  32743, 32744,  32752,  32759,  32760,
                                     32761, 32768, 65535, 65536, 65537, 131072, 262143, 262144, 262145};
    struct pair *p = pair_new(&(struct pair_options){0});
    unsigned n = sizeof sizes / sizeof sizes[0], index = 0;
    (void)state;

    for (unsigned i = 0; i < n; i++) {
        for (unsigned back = 0; back < 2; back++) {
            struct call *c = &p->calls[index];
            c->user.to_send = sizes[i];
            c->app.to_send = sizes[(i * 7 + back) % n];
            c->app.waits_for_end = back == 1; /* half-close, then the answer */
            call_start(p, index++);
        }
    }
    run_until_idle(p);
    for (unsigned i = 0; i < index; i++)
        call_check_whole(&p->calls[i]);
    pair_free(p);
}

/* Several hundred calls of all characters, at once. */
static void test_many_random_streams(void **state)
{
    struct pair *p = pair_new(&(struct pair_options){0});
    uint32_t seed = 20261123;
    unsigned n = 400;
    (void)state;

    for (unsigned i = 0; i < n; i++) {
        struct call *c = &p->calls[i];
        uint32_t scale = 1u << (4 + dice(&seed, 15));
        c->user.to_send = dice(&seed, scale);
        c->app.to_send = dice(&seed, 1u << (4 + dice(&seed, 15)));
        c->app.waits_for_end = dice(&seed, 4) == 0;
        c->user.waits_for_end = !c->app.waits_for_end && dice(&seed, 6) == 0;
        if (dice(&seed, 8) == 0)
            c->user.slow_ms = 1;
        if (dice(&seed, 8) == 0)
            c->app.slow_ms = 1;
        if (dice(&seed, 6) == 0)
            c->user.reset_at = c->user.to_send / 2;
        else if (dice(&seed, 6) == 0)
            c->app.reset_at = c->app.to_send / 3;
        c->refused = dice(&seed, 20) == 0;
        call_start(p, i);
        if (i % 16 == 0) /* some begin while others run */
            assert_int_equal(event_base_loop(p->base, EVLOOP_NONBLOCK), 0);
    }
    run_until_idle(p);
    unsigned whole = 0, reset = 0, refused = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct call *c = &p->calls[i];
        if (c->refused) {
            refused++;
            assert_true(c->user.got_reset || c->user.was_reset);
            assert_int_equal(c->user.got, 0);
        } else if (c->user.was_reset || c->app.was_reset) {
            reset++; /* the other end was told of it, and never of a clean end that was none */
            const struct party *other = c->user.was_reset ? &c->app : &c->user;
            const struct party *who = c->user.was_reset ? &c->user : &c->app;
            if (!(c->user.was_reset && c->app.was_reset))
                assert_true(other->got_reset);
            assert_false(other->got_end && !who->ended);
        } else {
            whole++;
            call_check_whole(c);
        }
    }
    assert_true(whole > 200);
    assert_true(reset > 50);
    assert_true(refused > 5);
    pair_free(p);
}

/* A reader that stands still holds its window and no more, and the others go on. */
static void test_slow_reader_beside_others(void **state)
{
    struct pair *p = pair_new(&(struct pair_options){.connection_window_max = 2u << 20});
    (void)state;

    p->calls[0].app.to_send = 1u << 20;
    p->calls[0].user.slow_ms = 1;
    for (unsigned i = 1; i < 5; i++)
        p->calls[i].app.to_send = 4u << 20;
    for (unsigned i = 0; i < 5; i++)
        call_start(p, i);
    while (p->calls[1].user.fd >= 0 || p->calls[2].user.fd >= 0 || p->calls[3].user.fd >= 0 ||
           p->calls[4].user.fd >= 0)
        assert_int_equal(event_base_loop(p->base, EVLOOP_ONCE), 0);
    assert_true(p->calls[0].user.fd >= 0); /* still reading while the others are long done */
    run_until_idle(p);
    for (unsigned i = 0; i < 5; i++)
        call_check_whole(&p->calls[i]);
    assert_true(p->most_buffered <= 2u << 20);
    pair_free(p);
}

static void test_small_and_large_records(void **state)
{
    static const size_t sizes[] = {RECORD_PLAIN_MIN, 1025, 4000, RECORD_PLAIN_MAX};
    (void)state;

    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct pair *p = pair_new(&(struct pair_options){.max_plain = sizes[i]});
        for (unsigned k = 0; k < 6; k++) {
            p->calls[k].user.to_send = 200000 + k;
            p->calls[k].app.to_send = 300000 - k;
            call_start(p, k);
        }
        run_until_idle(p);
        for (unsigned k = 0; k < 6; k++)
            call_check_whole(&p->calls[k]);
        pair_free(p);
    }
}

/* ---- a network in between ---- */

/* One direction of it: a thread with blocking sockets, because it must not wait for the ends' own loop. */
struct way {
    struct middle *middle;
    pthread_t thread;
    int from, to;
    bool masked; /* from the client */
    uint32_t seed;
    uint64_t passed;
    size_t have;
    uint8_t data[200000];
};

struct middle {
    struct way ways[2];
    bool fragments; /* cuts messages into fragments, with pings in between */
    uint64_t
        flip_at; /* changes one bit of the byte at this offset of the server's direction; UINT64_MAX: none */
};

static bool write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false; /* that end was told of a bad byte, and has closed */
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static void send_frame(const struct way *w, unsigned first, const uint8_t *payload, size_t len)
{
    static const uint8_t mask[4] = {0xde, 0xad, 0xbe, 0xef};
    uint8_t *out = malloc(WEBSOCKET_HEADER_MAX + len);
    uint8_t *body = out + WEBSOCKET_HEADER_MAX;

    if (len > 0)
        memcpy(body, payload, len);
    if (w->masked)
        websocket_mask(body, len, mask);
    uint8_t *start = websocket_header_before(body, WEBSOCKET_BINARY, len, w->masked ? mask : NULL);
    start[0] = (uint8_t)first;
    (void)write_all(w->to, start, (size_t)(body - start) + len);
    free(out);
}

/* Sends a whole message as fragments of random sizes. */
static void send_fragments(struct way *w, const uint8_t *payload, size_t len)
{
    static const uint8_t ping[3] = {'p', 'i', 'n'};
    unsigned first = WEBSOCKET_BINARY;

    while (len > 0 && dice(&w->seed, 4) != 0) {
        size_t n = dice(&w->seed, (uint32_t)len + 1);
        send_frame(w, first, payload, n);
        if (dice(&w->seed, 3) == 0)
            send_frame(w, 0x80 | WEBSOCKET_PING, ping, sizeof ping);
        first = WEBSOCKET_CONTINUATION;
        payload += n;
        len -= n;
    }
    send_frame(w, 0x80 | first, payload, len);
}

static void pass_fragments(struct way *w)
{
    for (;;) {
        struct websocket_header h;
        const char *why;
        if (websocket_header_parse(w->data, w->have, w->masked, &h, &why) != OK ||
            w->have < h.size + h.length)
            return;
        uint8_t *payload = w->data + h.size;
        if (h.masked)
            websocket_mask(payload, (size_t)h.length, h.mask);
        if (h.opcode == WEBSOCKET_BINARY)
            send_fragments(w, payload, (size_t)h.length);
        else if (h.opcode != WEBSOCKET_PONG) /* those answer our own pings */
            send_frame(w, 0x80u | (unsigned)h.opcode, payload, (size_t)h.length);
        size_t used = h.size + (size_t)h.length;
        memmove(w->data, w->data + used, w->have - used);
        w->have -= used;
    }
}

static void *run_way(void *arg)
{
    struct way *w = arg;
    const struct middle *m = w->middle;

    for (;;) {
        ssize_t n = recv(w->from, w->data + w->have, sizeof w->data - w->have, 0);
        if (n <= 0)
            break;
        w->have += (size_t)n;
        if (m->fragments) {
            pass_fragments(w);
            continue;
        }
        if (!w->masked && m->flip_at >= w->passed && m->flip_at < w->passed + w->have)
            w->data[m->flip_at - w->passed] ^= 0x10;
        if (!write_all(w->to, w->data, w->have))
            break;
        w->passed += w->have;
        w->have = 0;
    }
    (void)shutdown(w->to, SHUT_WR);
    (void)shutdown(w->from, SHUT_RD);
    return NULL;
}

static void make_blocking(int fd)
{
    assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
}

static struct pair *pair_with_middle(struct middle *m)
{
    int left[2], right[2];

    tcp_pair(left);
    tcp_pair(right);
    make_blocking(left[1]);
    make_blocking(right[0]);
    for (unsigned i = 0; i < 2; i++) {
        m->ways[i].middle = m;
        m->ways[i].masked = i == 1;
        m->ways[i].seed = 99 + i;
        m->ways[i].from = i == 0 ? left[1] : right[0];
        m->ways[i].to = i == 0 ? right[0] : left[1];
        assert_int_equal(pthread_create(&m->ways[i].thread, NULL, run_way, &m->ways[i]), 0);
    }
    return pair_new(&(struct pair_options){.link = {left[0], right[1]}});
}

/* After pair_free(): both directions have seen their end. */
static void middle_free(struct middle *m)
{
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_join(m->ways[i].thread, NULL), 0);
    (void)close(m->ways[0].from);
    (void)close(m->ways[0].to);
    free(m);
}

static struct middle *middle_new(void)
{
    struct middle *m = calloc(1, sizeof *m);

    assert_non_null(m);
    m->flip_at = UINT64_MAX;
    return m;
}

/* A proxy may cut our messages into fragments and ping us in between: nothing changes. */
static void test_fragmenting_network(void **state)
{
    struct middle *m = middle_new();
    (void)state;

    m->fragments = true;
    struct pair *p = pair_with_middle(m);
    for (unsigned i = 0; i < 20; i++) {
        p->calls[i].user.to_send = 100000 * i;
        p->calls[i].app.to_send = 2000000 - 100000 * i;
        call_start(p, i);
    }
    run_until_idle(p);
    for (unsigned i = 0; i < 20; i++)
        call_check_whole(&p->calls[i]);
    pair_free(p);
    middle_free(m);
}

/* A changed bit anywhere: the end that sees it says so and ends; no wrong byte is ever delivered, and users
 * see a reset. */
static void test_changed_bits(void **state)
{
    uint32_t seed = 4711;
    (void)state;

    for (unsigned i = 0; i < 60; i++) {
        struct middle *m = middle_new();
        m->flip_at = i < 20 ? 150 + i
                            : dice(&seed, 900000); /* headers of the first frames too; SETTINGS get through */
        struct pair *p = pair_with_middle(m);
        for (unsigned k = 0; k < 3; k++) {
            p->calls[k].user.to_send = 1u << 20;
            p->calls[k].app.to_send = 1u << 20;
            call_start(p, k);
        }
        pair_run(p, &p->client.ended);
        assert_in_range(p->client.end.code, END_WEBSOCKET, END_BAD_TAG);
        while (p->n_busy > 0)
            assert_int_equal(event_base_loop(p->base, EVLOOP_ONCE), 0);
        for (unsigned k = 0; k < 3;
             k++) /* parties compared each byte; what is missing must not look like an end */
            assert_true(p->calls[k].user.got_reset || p->calls[k].user.got == 1u << 20);
        pair_free(p);
        middle_free(m);
    }
}

/* ---- how connections end ---- */

static struct pair *pair_with_calls(const struct pair_options *options, unsigned n)
{
    struct pair *p = pair_new(options);

    for (unsigned i = 0; i < n; i++) {
        p->calls[i].user.to_send = p->calls[i].app.to_send = 1ull << 40; /* without end */
        call_start(p, i);
    }
    while (p->calls[n - 1].user.got < 100000)
        assert_int_equal(event_base_loop(p->base, EVLOOP_ONCE), 0);
    return p;
}

/* Until both ends are done, and all users and applications have heard of it. */
static void run_to_the_end(struct pair *p)
{
    while (!p->client.finished || !p->server.finished || p->n_busy > 0)
        assert_int_equal(event_base_loop(p->base, EVLOOP_ONCE), 0);
}

static void expect_all_reset(const struct pair *p, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        assert_true(p->calls[i].user.got_reset);
        assert_true(p->calls[i].app.got_reset);
        assert_false(p->calls[i].user.got_end || p->calls[i].app.got_end);
    }
}

static void test_orderly_close(void **state)
{
    struct pair *p = pair_with_calls(&(struct pair_options){0}, 5);
    (void)state;

    p->server.ended = true;
    mux_abandon(p->server.mux);
    mux_send_close(p->server.mux);
    relay_finish(p->server.relay, true, WEBSOCKET_CLOSE_GOING_AWAY, "bye", 5000);
    run_to_the_end(p);
    assert_int_equal(p->client.end.code, END_PEER_CLOSED);
    expect_all_reset(p, 5);
    pair_free(p);
}

static void test_truncation_is_noticed(void **state)
{
    int link[2];
    (void)state;

    tcp_pair(link);
    int cut = dup(link[0]);
    struct pair *p = pair_with_calls(&(struct pair_options){.link = {link[0], link[1]}}, 5);
    assert_int_equal(shutdown(cut, SHUT_RDWR), 0); /* no last words */
    run_to_the_end(p);
    assert_int_equal(p->client.end.code, END_TRUNCATED);
    assert_int_equal(p->server.end.code, END_TRUNCATED);
    expect_all_reset(p, 5);
    (void)close(cut);
    pair_free(p);
}

/* A websocket close alone is no end that anybody trusts: data is missing, so users see a reset. */
static void test_websocket_close_is_truncation(void **state)
{
    struct pair *p = pair_with_calls(&(struct pair_options){0}, 2);
    (void)state;

    p->server.ended = true;
    mux_abandon(p->server.mux);
    relay_finish(p->server.relay, false, 4408, "too slow", 5000);
    run_to_the_end(p);
    assert_int_equal(p->client.end.code, END_TIMEOUT);
    assert_non_null(strstr(p->client.end_text, "4408: too slow"));
    expect_all_reset(p, 2);
    pair_free(p);
}

/* The hard limits of a key end the connection cleanly: CLOSE_NOTIFY is said within them. */
static void test_hard_limits(void **state)
{
    static const struct pair_options limits[] = {{.max_records = 300}, {.max_bytes = 8u << 20}};
    (void)state;

    for (unsigned i = 0; i < 2; i++) {
        struct pair *p = pair_new(&limits[i]);
        p->calls[0].app.to_send = 1ull << 40;
        p->calls[1].user.to_send = 1ull << 40;
        call_start(p, 0);
        call_start(p, 1);
        run_to_the_end(p);
        enum end_code server = p->server.end.code, client = p->client.end.code;
        assert_true(server == END_LIMIT || client == END_LIMIT); /* or both at once */
        assert_true(server == END_LIMIT || server == END_PEER_CLOSED);
        assert_true(client == END_LIMIT || client == END_PEER_CLOSED);
        assert_true(p->calls[0].user.got > 1u << 20);
        assert_true(p->calls[0].user.got_reset && p->calls[1].app.got_reset);
        pair_free(p);
    }
}

/* A peer that breaks the rules inside an authentic record. */
static void test_protocol_error_ends_it(void **state)
{
    struct pair *p = pair_with_calls(&(struct pair_options){0}, 2);
    struct mux_app app = {.app = 1};
    (void)state;

    assert_int_equal(mux_send_app(p->server.mux, FRAME_APP_ADD, &app), OK); /* only a client may */
    run_to_the_end(p);
    assert_int_equal(p->client.end.code, END_PROTOCOL);
    assert_int_equal(p->server.end.code,
                     END_PROTOCOL); /* from the close code that the client answered with */
    expect_all_reset(p, 2);
    pair_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_large_stream),
        cmocka_unit_test(test_edges_of_sizes),
        cmocka_unit_test(test_many_random_streams),
        cmocka_unit_test(test_slow_reader_beside_others),
        cmocka_unit_test(test_small_and_large_records),
        cmocka_unit_test(test_fragmenting_network),
        cmocka_unit_test(test_changed_bits),
        cmocka_unit_test(test_orderly_close),
        cmocka_unit_test(test_truncation_is_noticed),
        cmocka_unit_test(test_websocket_close_is_truncation),
        cmocka_unit_test(test_hard_limits),
        cmocka_unit_test(test_protocol_error_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
