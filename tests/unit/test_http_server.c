/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server on real sockets of the loopback interface: framing, keep-alive, pipelining, deadlines,
 * places, and clients that do not behave. The server runs on an event loop that the test turns itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "worker-net/http_server.h"

#define PATIENCE_MS 20000u

struct fixture {
    struct event_base *base;
    struct http_server *server;
    struct sockaddr_in address;
    struct http_exchange *held; /* of a request for /hold, /stream: answered by the test */
    unsigned requests, gone, drained;
    char remote[65];
};

static void on_request(void *arg, struct http_exchange *x)
{
    struct fixture *f = arg;
    const struct http_request *request = http_exchange_request(x);
    const char *path = request->segments[0];
    f->requests++;
    (void)snprintf(f->remote, sizeof f->remote, "%s", http_exchange_remote(x));
    assert_int_equal(http_exchange_kind(x), 7);
    if (strcmp(path, "hold") == 0) {
        f->held = x;
    } else if (strcmp(path, "stream") == 0) {
        f->held = x;
        http_reply_begin(x, 200, "text/plain");
    } else if (strcmp(path, "none") == 0) {
        http_reply(x, 204, NULL, NULL, NULL, 0);
    } else if (strcmp(path, "abort") == 0) {
        http_reply_begin(x, 200, "text/plain");
        http_reply_data(x, "half", 4);
        http_reply_abort(x);
    } else if (strcmp(path, "error") == 0) {
        http_reply_error(x, 405, "Allow: GET\r\n", "no \"way\"\n");
    } else {
        http_reply(x, 200, "text/plain", NULL, path, strlen(path));
    }
}

static void on_drained(void *arg, struct http_exchange *x)
{
    struct fixture *f = arg;
    assert_ptr_equal(x, f->held);
    f->drained++;
}

static void on_gone(void *arg, struct http_exchange *x)
{
    struct fixture *f = arg;
    assert_ptr_equal(x, f->held);
    f->held = NULL;
    f->gone++;
}

static const struct http_handlers handlers = {.request = on_request, .drained = on_drained, .gone = on_gone};

static void set_up(void **state, const struct http_limits *limits)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    (void)signal(SIGPIPE, SIG_IGN);
    f->base = event_base_new();
    f->server = http_server_new(f->base, limits, &handlers, f);
    assert_non_null(f->server);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    f->address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof f->address;
    assert_int_equal(bind(fd, (struct sockaddr *)&f->address, len), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&f->address, &len), 0);
    assert_int_equal(http_server_listen(f->server, fd, 7), OK);
    *state = f;
}

static int setup(void **state)
{
    set_up(state, &http_limits_default);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    http_server_free(f->server);
    event_base_free(f->base);
    free(f);
    return 0;
}

static void turn(struct fixture *f)
{
    (void)event_base_loop(f->base, EVLOOP_NONBLOCK);
    (void)usleep(200);
}

/* Turns the loop until the condition holds. */
#define UNTIL(f, condition)                                                                                  \
    do {                                                                                                     \
        uint64_t until_end = clock_mono_ms() + PATIENCE_MS;                                                  \
        while (!(condition)) {                                                                               \
            turn(f);                                                                                         \
            if (clock_mono_ms() > until_end)                                                                 \
                fail_msg("never: %s", #condition);                                                           \
        }                                                                                                    \
    } while (0)

static int dial(struct fixture *f)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&f->address, sizeof f->address), 0);
    assert_int_equal(evutil_make_socket_nonblocking(fd), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Adds what has come to buf (terminated). True: the server has closed. */
static bool hear(int fd, char *buf, size_t cap)
{
    size_t used = strlen(buf);
    ssize_t n = recv(fd, buf + used, cap - 1 - used, 0);
    if (n > 0)
        buf[used + (size_t)n] = '\0';
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

static void until_text(struct fixture *f, int fd, char *buf, size_t cap, const char *text)
{
    uint64_t give_up = clock_mono_ms() + PATIENCE_MS;
    while (strstr(buf, text) == NULL) {
        turn(f);
        bool closed = hear(fd, buf, cap);
        if ((closed && strstr(buf, text) == NULL) || clock_mono_ms() > give_up)
            fail_msg("waited for \"%s\", got \"%s\"", text, buf);
    }
}

static void until_closed(struct fixture *f, int fd, char *buf, size_t cap)
{
    UNTIL(f, hear(fd, buf, cap));
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        n++;
    return n;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"

static void test_keep_alive(void **state)
{
    struct fixture *f = *state;
    char buf[4096] = "";
    int fd = dial(f);
    say(fd, GET("/one"));
    until_text(f, fd, buf, sizeof buf, "\r\n\r\none");
    assert_non_null(strstr(buf, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(buf, "Content-Length: 3\r\n"));
    assert_non_null(strstr(buf, "Cache-Control: no-store\r\n"));
    assert_non_null(strstr(buf, "X-Content-Type-Options: nosniff\r\n"));
    assert_null(strstr(buf, "Connection: close"));
    assert_memory_equal(f->remote, "127.0.0.1:", 10);
    buf[0] = '\0';
    say(fd, GET("/none"));
    until_text(f, fd, buf, sizeof buf, "\r\n\r\n");
    assert_non_null(strstr(buf, "HTTP/1.1 204 No Content\r\n"));
    assert_null(strstr(buf, "Content-Length"));
    buf[0] = '\0';
    say(fd, "GET /two HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    until_closed(f, fd, buf, sizeof buf);
    assert_non_null(strstr(buf, "Connection: close\r\n"));
    assert_non_null(strstr(buf, "\r\n\r\ntwo"));
    (void)close(fd);
    UNTIL(f, http_server_connections(f->server) == 0);
}

static void test_head_and_error(void **state)
{
    struct fixture *f = *state;
    char buf[4096] = "";
    int fd = dial(f);
    say(fd, "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n" GET("/error"));
    until_text(f, fd, buf, sizeof buf, "}");
    assert_non_null(strstr(buf, "Content-Length: 5\r\n\r\nHTTP/1.1 405 Method Not Allowed\r\n"));
    assert_non_null(strstr(buf, "Allow: GET\r\n"));
    assert_non_null(strstr(buf, "{\"error\":\"no \\\"way\\\"\\n\"}\n"));
    (void)close(fd);
}

/* Many requests in one piece are answered in order, and answering them at once does not eat the stack. */
static void test_pipeline(void **state)
{
    struct fixture *f = *state;
    enum { MANY = 700 };
    static char ask[MANY * 64];
    static char buf[MANY * 300];
    size_t used = 0;
    buf[0] = '\0';
    for (unsigned i = 0; i < MANY; i++)
        used += (size_t)snprintf(ask + used, sizeof ask - used, "GET /n%04u HTTP/1.1\r\nHost: a\r\n\r\n", i);
    int fd = dial(f);
    say(fd, ask);
    until_text(f, fd, buf, sizeof buf, "n0699");
    assert_int_equal(count(buf, "HTTP/1.1 200"), MANY);
    const char *at = buf;
    for (unsigned i = 0; i < MANY; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "n%04u", i);
        at = strstr(at, name);
        assert_non_null(at);
    }
    (void)close(fd);
}

static void test_split_everywhere(void **state)
{
    struct fixture *f = *state;
    static const char text[] = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" GET("/last");
    for (size_t cut = 1; cut < sizeof text - 1; cut++) {
        char buf[4096] = "";
        char first[sizeof text];
        int fd = dial(f);
        memcpy(first, text, cut);
        first[cut] = '\0';
        say(fd, first);
        turn(f);
        say(fd, text + cut);
        until_text(f, fd, buf, sizeof buf, "\r\n\r\nlast");
        assert_int_equal(count(buf, "HTTP/1.1 200"), 2);
        (void)close(fd);
    }
}

static void test_expect_continue(void **state)
{
    struct fixture *f = *state;
    char buf[4096] = "";
    int fd = dial(f);
    say(fd, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    until_text(f, fd, buf, sizeof buf, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_int_equal(f->requests, 0);
    say(fd, "hello");
    until_text(f, fd, buf, sizeof buf, "\r\n\r\nx");
    (void)close(fd);
}

static void test_refused_requests_close(void **state)
{
    static const struct {
        const char *text, *answer;
    } cases[] = {
        {"rubbish\r\n\r\n", "HTTP/1.1 400 "},
        {"GET / HTTP/3\r\n\r\n", "HTTP/1.1 505 "},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n", "HTTP/1.1 413 "},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 411 "},
        {"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic x\r\n\r\n", "HTTP/1.1 401 "},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char buf[4096] = "";
        int fd = dial(f);
        say(fd, cases[i].text);
        say(fd, GET("/after"));
        until_closed(f, fd, buf, sizeof buf);
        assert_memory_equal(buf, cases[i].answer, strlen(cases[i].answer));
        assert_int_equal(count(buf, "Date: "), 1); /* what follows a refused one is not looked at */
        assert_non_null(strstr(buf, "Connection: close\r\n"));
        (void)close(fd);
    }
    assert_int_equal(f->requests, 0);
}

static void test_long_head(void **state)
{
    struct fixture *f = *state;
    char buf[4096] = "";
    char junk[9000];
    memset(junk, 'a', sizeof junk);
    int fd = dial(f);
    say(fd, "GET / HTTP/1.1\r\nX: ");
    assert_int_equal(send(fd, junk, sizeof junk, MSG_NOSIGNAL), sizeof junk);
    until_closed(f, fd, buf, sizeof buf);
    assert_memory_equal(buf, "HTTP/1.1 431 ", 13);
    (void)close(fd);
}

static void test_http_1_0(void **state)
{
    struct fixture *f = *state;
    char buf[4096] = "";
    int fd = dial(f);
    say(fd, "GET /stream HTTP/1.0\r\n\r\n");
    UNTIL(f, f->held != NULL);
    http_reply_data(f->held, "part", 4);
    http_reply_end(f->held);
    until_closed(f, fd, buf, sizeof buf);
    assert_null(strstr(buf, "chunked"));
    assert_non_null(strstr(buf, "\r\n\r\npart"));
    (void)close(fd);
}

static void test_chunks(void **state)
{
    struct fixture *f = *state;
    char buf[4096] = "";
    int fd = dial(f);
    say(fd, GET("/stream") GET("/next"));
    UNTIL(f, f->held != NULL);
    http_reply_data(f->held, "hello, ", 7);
    http_reply_data(f->held, "", 0); /* an empty chunk would end the answer */
    http_reply_data(f->held, "wide world of tunnels", 21);
    UNTIL(f, f->drained > 0);
    assert_int_equal(f->requests, 1); /* the next one waits for its turn */
    http_reply_end(f->held);
    until_text(f, fd, buf, sizeof buf, "\r\n\r\nnext");
    assert_non_null(
        strstr(buf, "\r\n\r\n7\r\nhello, \r\n15\r\nwide world of tunnels\r\n0\r\n\r\nHTTP/1.1 200"));
    (void)close(fd);
}

static void test_abort(void **state)
{
    struct fixture *f = *state;
    char buf[4096] = "";
    int fd = dial(f);
    say(fd, GET("/abort") GET("/next"));
    until_closed(f, fd, buf, sizeof buf);
    assert_null(strstr(buf, "0\r\n\r\n")); /* not taken for a whole answer */
    assert_int_equal(f->requests, 1);
    assert_int_equal(f->gone, 0);
    (void)close(fd);
    UNTIL(f, http_server_connections(f->server) == 0);
}

static void test_client_goes(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    say(fd, GET("/hold"));
    UNTIL(f, f->held != NULL);
    const struct linger reset = {.l_onoff = 1};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    (void)close(fd);
    UNTIL(f, f->gone == 1);
    assert_null(f->held);
    assert_int_equal(http_server_connections(f->server), 0);
}

/* `printf … | nc` shuts its side at once and still wants the answer. */
static void test_half_close(void **state)
{
    struct fixture *f = *state;
    char buf[4096] = "";
    int fd = dial(f);
    say(fd, GET("/hold"));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    UNTIL(f, f->held != NULL);
    for (unsigned i = 0; i < 5; i++)
        turn(f);
    assert_int_equal(f->gone, 0);
    http_reply(f->held, 200, "text/plain", NULL, "late", 4);
    until_closed(f, fd, buf, sizeof buf);
    assert_non_null(strstr(buf, "\r\n\r\nlate"));
    (void)close(fd);
    /* and one that leaves in the middle of its request */
    fd = dial(f);
    say(fd, "GET / HT");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    buf[0] = '\0';
    until_closed(f, fd, buf, sizeof buf);
    assert_string_equal(buf, "");
    (void)close(fd);
    UNTIL(f, http_server_connections(f->server) == 0);
}

/* A client that does not read holds no more than the sockets do; its owner is not told to go on. */
static void test_slow_reader(void **state)
{
    struct fixture *f = *state;
    static char block[1 << 16];
    memset(block, 'x', sizeof block);
    int fd = dial(f);
    say(fd, GET("/stream"));
    UNTIL(f, f->held != NULL);
    UNTIL(f, f->drained > 0);
    unsigned sent = 0;
    while (http_reply_waiting(f->held) < 2 * sizeof block) {
        http_reply_data(f->held, block, sizeof block);
        sent++;
        turn(f);
        assert_true(sent < 2000);
    }
    f->drained = 0;
    for (unsigned i = 0; i < 50; i++)
        turn(f);
    assert_int_equal(f->drained, 0);
    char *all = calloc(1, (size_t)sent * (sizeof block + 16) + (1 << 20) + 4096);
    assert_non_null(all);
    size_t used = 0;
    http_reply_end(f->held);
    uint64_t give_up = clock_mono_ms() + PATIENCE_MS;
    while (used < 5 || memcmp(all + used - 5, "0\r\n\r\n", 5) != 0) {
        ssize_t n = recv(fd, all + used, 1 << 20, 0);
        used += n > 0 ? (size_t)n : 0;
        (void)event_base_loop(f->base, EVLOOP_NONBLOCK);
        assert_true(clock_mono_ms() < give_up);
    }
    assert_true(used > (size_t)sent * sizeof block);
    free(all);
    (void)close(fd);
}

static void test_deadlines(void **state)
{
    const struct http_limits limits = {.connections = 8, .request_ms = 80, .idle_ms = 120, .send_ms = 200};
    set_up(state, &limits);
    struct fixture *f = *state;
    char buf[4096] = "";
    /* slowloris: a byte now and then does not extend the deadline */
    int fd = dial(f);
    static const char slow[] =
        "GET /slow HTTP/1.1\r\nX-Padding: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    size_t at = 0;
    uint64_t give_up = clock_mono_ms() + PATIENCE_MS;
    uint64_t next = 0;
    while (!hear(fd, buf, sizeof buf)) {
        if (clock_mono_ms() >= next && at < sizeof slow - 1) {
            (void)send(fd, slow + at++, 1, MSG_NOSIGNAL);
            next = clock_mono_ms() + 20;
        }
        turn(f);
        assert_true(clock_mono_ms() < give_up);
    }
    assert_memory_equal(buf, "HTTP/1.1 408 ", 13);
    assert_true(at < sizeof slow - 1);
    (void)close(fd);
    /* silent from the start: closed without a word */
    fd = dial(f);
    buf[0] = '\0';
    until_closed(f, fd, buf, sizeof buf);
    assert_string_equal(buf, "");
    (void)close(fd);
    /* a body that does not come */
    fd = dial(f);
    say(fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    until_closed(f, fd, buf, sizeof buf);
    assert_memory_equal(buf, "HTTP/1.1 408 ", 13);
    (void)close(fd);
    /* a kept connection that stays idle */
    fd = dial(f);
    buf[0] = '\0';
    say(fd, GET("/x"));
    until_closed(f, fd, buf, sizeof buf);
    assert_memory_equal(buf, "HTTP/1.1 200 ", 13);
    assert_int_equal(count(buf, "HTTP/1.1"), 1);
    (void)close(fd);
    /* an answer that is not taken */
    static char block[1 << 20];
    fd = dial(f);
    say(fd, GET("/stream"));
    UNTIL(f, f->held != NULL);
    for (unsigned i = 0; i < 16; i++)
        http_reply_data(f->held, block, sizeof block);
    UNTIL(f, f->gone == 1);
    (void)close(fd);
}

static void test_places(void **state)
{
    const struct http_limits limits = {
        .connections = 3, .request_ms = 60000, .idle_ms = 60000, .send_ms = 60000};
    set_up(state, &limits);
    struct fixture *f = *state;
    char buf[4096] = "";
    int busy = dial(f);
    say(busy, GET("/hold"));
    UNTIL(f, f->held != NULL);
    int silent[2] = {dial(f), dial(f)};
    UNTIL(f, http_server_connections(f->server) == 3);
    /* One more: the one that has been silent longest goes, never the one that waits for an answer. */
    int fresh = dial(f);
    say(fresh, GET("/fresh"));
    until_text(f, fresh, buf, sizeof buf, "\r\n\r\nfresh");
    buf[0] = '\0';
    until_closed(f, silent[0], buf, sizeof buf);
    assert_int_equal(f->gone, 0);
    /* Idle ones go before half-read ones. */
    int another = dial(f);
    say(another, GET("/hold"));
    UNTIL(f, f->requests == 3);
    buf[0] = '\0';
    until_closed(f, fresh, buf, sizeof buf);
    assert_true(http_server_connections(f->server) <= 3);
    (void)close(busy);
    (void)close(silent[0]);
    (void)close(silent[1]);
    (void)close(fresh);
    (void)close(another);
}

static void test_drain(void **state)
{
    struct fixture *f = *state;
    char buf[4096] = "";
    int idle = dial(f);
    say(idle, GET("/x"));
    until_text(f, idle, buf, sizeof buf, "\r\n\r\nx");
    int busy = dial(f);
    say(busy, GET("/hold"));
    UNTIL(f, f->held != NULL);
    http_server_drain(f->server);
    buf[0] = '\0';
    until_closed(f, idle, buf, sizeof buf);
    int refused = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_not_equal(connect(refused, (struct sockaddr *)&f->address, sizeof f->address), 0);
    (void)close(refused);
    http_reply(f->held, 200, "text/plain", NULL, "bye", 3);
    buf[0] = '\0';
    until_closed(f, busy, buf, sizeof buf);
    assert_non_null(strstr(buf, "Connection: close\r\n"));
    assert_non_null(strstr(buf, "\r\n\r\nbye"));
    (void)close(idle);
    (void)close(busy);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_OWN(name) cmocka_unit_test_teardown(name, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_keep_alive),      TEST(test_head_and_error),
        TEST(test_pipeline),        TEST(test_split_everywhere),
        TEST(test_expect_continue), TEST(test_refused_requests_close),
        TEST(test_long_head),       TEST(test_http_1_0),
        TEST(test_chunks),          TEST(test_abort),
        TEST(test_client_goes),     TEST(test_half_close),
        TEST(test_slow_reader),     TEST_OWN(test_deadlines),
        TEST_OWN(test_places),      TEST(test_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
