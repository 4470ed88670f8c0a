/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries known bytes and compares every one: the application (`flow serve`) and the user (`flow call`) at
 * the two ends of a tunnel. For amounts that Python is too slow for; it measures nothing and knows nothing of
 * what is in between.
 *
 *   flow serve                        prints its port on 127.0.0.1, serves until it is killed
 *   flow call PORT STREAMS UP DOWN    STREAMS connections at once, UP and DOWN bytes each; exit code 0: all
 * unchanged flow idle PORT STREAMS            opens them, prints "open", echoes one byte through each per
 * line on standard input
 */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE (256u << 10)
#define STACK (64u << 10)

/* What a user asks of the application, in its first bytes; host order, both are here. up: UINT64_MAX: echo.
 */
struct request {
    uint64_t magic, seed, up, down;
};
#define MAGIC 0x776f6c66656c6f68ull

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* The next words of a stream of pseudo-random bytes (splitmix64). */
static void pattern(uint64_t *state, uint64_t *out, size_t words)
{
    uint64_t x = *state;

    for (size_t i = 0; i < words; i++) {
        uint64_t z = x += 0x9e3779b97f4a7c15ull;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        out[i] = z ^ (z >> 31);
    }
    *state = x;
}

static bool send_all(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static bool receive_all(int fd, void *data, size_t len)
{
    return len == 0 || recv(fd, data, len, MSG_WAITALL) == (ssize_t)len;
}

struct direction {
    int fd;
    uint64_t seed, bytes;
    bool ok;
    const char *error;
};

static void *send_pattern(void *arg)
{
    struct direction *d = arg;
    uint64_t *buf = malloc(PIECE), left = d->bytes;

    d->ok = buf != NULL;
    while (d->ok && left > 0) {
        size_t n = left < PIECE ? (size_t)left : PIECE;
        pattern(&d->seed, buf, PIECE / 8);
        d->ok = send_all(d->fd, buf, n);
        left -= n;
    }
    if (!d->ok)
        d->error = "could not send everything";
    (void)shutdown(d->fd, SHUT_WR);
    free(buf);
    return NULL;
}

/* Receives exactly d->bytes, compares them, and expects the end behind them. */
static void *receive_pattern(void *arg)
{
    struct direction *d = arg;
    uint64_t *buf = malloc(PIECE), *expected = malloc(PIECE), left = d->bytes;
    char extra;

    d->ok = buf != NULL && expected != NULL;
    while (d->ok && left > 0) {
        size_t n = left < PIECE ? (size_t)left : PIECE;
        pattern(&d->seed, expected, PIECE / 8);
        d->ok = receive_all(d->fd, buf, n);
        d->error = d->ok ? NULL : "cut short";
        if (d->ok && memcmp(buf, expected, n) != 0) {
            d->ok = false;
            d->error = "A BYTE WAS CHANGED";
        }
        left -= n;
    }
    if (d->ok && recv(d->fd, &extra, 1, 0) != 0) {
        d->ok = false;
        d->error = "no clean end";
    }
    free(buf);
    free(expected);
    return NULL;
}

static bool both_ways(int fd, uint64_t seed_out, uint64_t out, uint64_t seed_in, uint64_t in,
                      const char **error)
{
    struct direction sends = {.fd = fd, .seed = seed_out, .bytes = out};
    struct direction receives = {.fd = fd, .seed = seed_in, .bytes = in};
    pthread_attr_t attr;
    pthread_t thread;

    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK);
    if (pthread_create(&thread, &attr, send_pattern, &sends) != 0)
        die("pthread_create");
    (void)receive_pattern(&receives);
    (void)pthread_join(thread, NULL);
    *error = receives.ok ? sends.error : receives.error;
    return sends.ok && receives.ok;
}

/* ---- the application ---- */

static void *serve_one(void *arg)
{
    int fd = (int)(intptr_t)arg;
    struct request r;
    const char *error;
    char byte;

    if (receive_all(fd, &r, sizeof r) && r.magic == MAGIC) {
        if (r.up == UINT64_MAX) {
            while (recv(fd, &byte, 1, 0) == 1 && send_all(fd, &byte, 1))
                continue;
        } else if (!both_ways(fd, ~r.seed, r.down, r.seed, r.up, &error)) {
            struct linger now = {.l_onoff = 1}; /* so that the user does not take it for a clean end */
            (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
            (void)fprintf(stderr, "application: %s\n", error);
        }
    }
    (void)close(fd);
    return NULL;
}

static void serve(void) __attribute__((noreturn));

static void serve(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    pthread_attr_t attr;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 4096) != 0 || getsockname(listener, (struct sockaddr *)&address, &len) != 0)
        die("listen");
    (void)printf("%u\n", ntohs(address.sin_port));
    (void)fflush(stdout);
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    for (;;) {
        pthread_t thread;
        int fd = accept(listener, NULL, NULL);
        if (fd < 0 || pthread_create(&thread, &attr, serve_one, (void *)(intptr_t)fd) != 0)
            die("accept");
    }
}

/* ---- the user ---- */

static uint16_t to_port;
static uint64_t up, down;
static atomic_uint failed;

static int connect_to_port(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(to_port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        die("connect");
    return fd;
}

static void *call_one(void *arg)
{
    uint64_t seed = ((uint64_t)(intptr_t)arg + 1) * 0x9e3779b97f4a7c15ull;
    struct request r = {.magic = MAGIC, .seed = seed, .up = up, .down = down};
    const char *error = "could not ask";
    int fd = connect_to_port();

    if (!send_all(fd, &r, sizeof r) || !both_ways(fd, seed, up, ~seed, down, &error)) {
        (void)fprintf(stderr, "stream %d: %s\n", (int)(intptr_t)arg, error);
        atomic_fetch_add(&failed, 1);
    }
    (void)close(fd);
    return NULL;
}

static int call(unsigned streams)
{
    pthread_t *threads = calloc(streams, sizeof *threads);
    pthread_attr_t attr;

    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK);
    for (unsigned i = 0; threads != NULL && i < streams; i++) {
        if (pthread_create(&threads[i], &attr, call_one, (void *)(intptr_t)i) != 0)
            die("pthread_create");
    }
    for (unsigned i = 0; threads != NULL && i < streams; i++)
        (void)pthread_join(threads[i], NULL);
    free(threads);
    (void)printf("%u streams, %" PRIu64 " bytes up and %" PRIu64 " down each: %u failed\n", streams, up, down,
                 (unsigned)failed);
    return failed == 0 ? 0 : 1;
}

static int idle(unsigned streams)
{
    struct request r = {.magic = MAGIC, .up = UINT64_MAX};
    int *fds = calloc(streams, sizeof *fds);
    char line[16], byte;

    for (unsigned i = 0; fds != NULL && i < streams; i++) {
        fds[i] = connect_to_port();
        if (!send_all(fds[i], &r, sizeof r) || !send_all(fds[i], "x", 1))
            die("send");
    }
    for (unsigned i = 0; fds != NULL && i < streams; i++) {
        if (!receive_all(fds[i], &byte, 1) || byte != 'x')
            die("a stream did not open");
    }
    (void)printf("open\n");
    (void)fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        for (unsigned i = 0; fds != NULL && i < streams; i++) {
            byte = (char)('a' + i % 26);
            if (!send_all(fds[i], &byte, 1))
                die("send");
        }
        for (unsigned i = 0; fds != NULL && i < streams; i++) {
            if (!receive_all(fds[i], &byte, 1) || byte != (char)('a' + i % 26))
                die("a stream is dead");
        }
        (void)printf("alive\n");
        (void)fflush(stdout);
    }
    free(fds);
    return 0;
}

int main(int argc, char **argv)
{
    struct rlimit limit;

    (void)signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (argc == 2 && strcmp(argv[1], "serve") == 0)
        serve();
    if (argc >= 4)
        to_port = (uint16_t)atoi(argv[2]);
    if (argc == 4 && strcmp(argv[1], "idle") == 0)
        return idle((unsigned)atoi(argv[3]));
    if (argc == 6 && strcmp(argv[1], "call") == 0) {
        up = strtoull(argv[4], NULL, 10);
        down = strtoull(argv[5], NULL, 10);
        return call((unsigned)atoi(argv[3]));
    }
    (void)fprintf(stderr, "usage: flow serve | flow call PORT STREAMS UP DOWN | flow idle PORT STREAMS\n");
    return 64;
}
