/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load for the "handshakes per second" row: processes that make one whole handshake after the other against
 * a real server (upgrade, SERVER_HELLO … CLIENT_FINISHED) with Wormhole's own client machine, and hang up. It
 * prints how many were completed; what they cost the server is read from outside. It must not shortcut any
 * step that a client makes.
 *
 *   bench-handshakes PORT PATH PROCESSES SECONDS
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <openssl/rsa.h>

#include "worker-crypto/handshake.h"
#include "worker-crypto/kem.h"
#include "worker-crypto/rsa_key.h"
#include "worker-net/http_upgrade.h"
#include "worker-net/websocket.h"

struct totals {
    _Atomic uint64_t completed;
    _Atomic uint32_t warm;
    _Atomic int go, stop;
};

struct client {
    int fd;
    bool opened;
    struct websocket_masks masks;
    struct client_config config;
    struct expected_server expected;
    uint8_t spki[RSA_SPKI_MAX];
    uint8_t fingerprint[HASH_BYTES];
    char name[32];
    uint8_t in[65536];
    size_t have;
};

static struct totals *totals;

static void fail(const char *what)
{
    fprintf(stderr, "bench-handshakes: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(2);
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void write_all(int fd, const void *data, size_t len)
{
    const uint8_t *at = data;

    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n < 0)
            fail("send");
        at += n;
        len -= (size_t)n;
    }
}

/* ---- what the machine says ---- */

static void on_send(void *arg, const uint8_t *message, size_t len)
{
    struct client *c = arg;
    uint8_t frame[WEBSOCKET_HEADER_MAX + HS_MESSAGE_MAX], *payload = frame + WEBSOCKET_HEADER_MAX, mask[4];

    if (websocket_masks_next(&c->masks, mask) != OK)
        fail("no mask");
    memcpy(payload, message, len);
    uint8_t *begin = websocket_header_before(payload, WEBSOCKET_BINARY, len, mask);
    websocket_mask(payload, len, mask);
    write_all(c->fd, begin, (size_t)(payload + len - begin));
}

static void on_wait(void *arg, uint32_t ttl_s)
{
    (void)arg, (void)ttl_s;
    fail("the server waits for an operator; it must run with --acceptor dummy");
}

static void on_ask(void *arg, const struct handshake_peer *peer)
{
    (void)arg, (void)peer;
}

static void on_pairing(void *arg, const struct handshake_pairing *news)
{
    (void)arg, (void)news;
}

static enum status on_remember(void *arg, const uint8_t fingerprint[HASH_BYTES], uint8_t suite)
{
    (void)arg, (void)fingerprint, (void)suite;
    return OK;
}

static void on_opened(void *arg, const struct handshake_result *result)
{
    struct client *c = arg;

    (void)result;
    c->opened = true;
}

static void on_failed(void *arg, const struct handshake_failure *failure)
{
    (void)arg;
    errno = 0;
    fail(failure->detail != NULL ? failure->detail : failure->reason);
}

/* ---- one handshake ---- */

static void read_more(struct client *c)
{
    ssize_t n = recv(c->fd, c->in + c->have, sizeof c->in - c->have, 0);

    if (n <= 0)
        fail(n == 0 ? "the server hung up" : "recv");
    c->have += (size_t)n;
}

static void connect_upgraded(struct client *c, uint16_t port, const char *path)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct upgrade_client upgrade;
    char request[UPGRADE_MESSAGE_MAX], why[160] = "";
    size_t len = sizeof request, used = 0;
    int on = 1;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0)
        fail("connect");
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (upgrade_request_write(&upgrade, "127.0.0.1", port, 80, path, request, &len) != OK)
        fail("upgrade");
    write_all(c->fd, request, len);
    c->have = 0;
    for (;;) {
        read_more(c);
        enum status s = upgrade_response_check(&upgrade, (char *)c->in, c->have, &used, why, sizeof why);
        if (s == OK)
            break;
        if (s != ERR_AGAIN) {
            errno = 0;
            fail(why);
        }
    }
    c->have -= used;
    memmove(c->in, c->in + used, c->have);
}

static void handshake_once(struct client *c, uint16_t port, const char *path)
{
    const struct handshake_sink sink = {.send = on_send,
                                        .wait = on_wait,
                                        .ask = on_ask,
                                        .pairing = on_pairing,
                                        .remember = on_remember,
                                        .opened = on_opened,
                                        .failed = on_failed,
                                        .arg = c};
    struct websocket_reader reader;
    struct client_handshake *machine = client_handshake_new(&c->config, &sink);

    if (machine == NULL)
        fail("out of memory");
    connect_upgraded(c, port, path);
    websocket_reader_init(&reader, false, HS_MESSAGE_MAX);
    c->opened = false;
    client_handshake_start(machine, now_ms());
    while (!c->opened) {
        struct websocket_message message;
        size_t used = 0;
        enum status s = websocket_reader_next(&reader, c->in, c->have, &used, &message);
        if (s == OK && message.opcode == WEBSOCKET_BINARY)
            client_handshake_receive(machine, message.data, message.len, now_ms());
        else if (s == OK && message.opcode == WEBSOCKET_CLOSE)
            fail("the server closed the websocket");
        else if (s != OK && s != ERR_AGAIN)
            fail("not a websocket");
        c->have -= used;
        memmove(c->in, c->in + used, c->have);
        if (s == ERR_AGAIN)
            read_more(c);
    }
    client_handshake_free(machine);
    websocket_reader_clear(&reader);
    close(c->fd);
}

static void client_init(struct client *c, int number)
{
    EVP_PKEY *key = EVP_RSA_gen(2048);
    size_t len = sizeof c->spki;

    if (key == NULL || primitives_open() != OK || rsa_spki_write(key, c->spki, &len) != OK ||
        spki_fingerprint(c->spki, len, c->fingerprint) != OK)
        fail("no key");
    snprintf(c->name, sizeof c->name, "bench-%d", number);
    c->config = (struct client_config){
        .common = {.suites = SUITES_KNOWN & ~(kem_available() ? 0u : SUITE_BIT(SUITE_X25519_MLKEM768)),
                   .max_record = RECORD_PLAIN_DEFAULT,
                   .step_ms = HANDSHAKE_MS_DEFAULT,
                   .heartbeat_ms = HEARTBEAT_MS_DEFAULT,
                   .random = random_draw},
        .key = key,
        .spki = {c->spki, len},
        .fingerprint = c->fingerprint,
        .name = c->name,
        .expected = &c->expected};
    if (random_draw(NULL, c->config.instance, sizeof c->config.instance) != OK)
        fail("no random bytes");
}

static void client_main(int number, uint16_t port, const char *path)
{
    static struct client c;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    client_init(&c, number);
    handshake_once(&c, port, path); /* the first stores the key; what follows is everyday */
    totals->warm++;
    while (!totals->go)
        usleep(1000);
    while (!totals->stop) {
        handshake_once(&c, port, path);
        totals->completed++;
    }
    exit(0);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 64;
    uint16_t port = (uint16_t)atoi(argv[1]);
    uint32_t processes = (uint32_t)atoi(argv[3]);
    double seconds = atof(argv[4]);
    char line[16];

    totals = mmap(NULL, sizeof *totals, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (totals == MAP_FAILED)
        fail("mmap");
    for (uint32_t i = 0; i < processes; i++) {
        pid_t pid = fork();
        if (pid < 0)
            fail("fork");
        if (pid == 0)
            client_main((int)i, port, argv[2]);
    }
    while (totals->warm < processes) {
        int state;
        if (waitpid(-1, &state, WNOHANG) > 0)
            return 2; /* it said why */
        usleep(1000);
    }
    puts("ready"); /* the runner notes the server's CPU time, then says go */
    fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL)
        return 1;
    totals->go = 1;
    usleep((useconds_t)(seconds * 1e6));
    totals->stop = 1;
    int failed = 0, state;
    while (wait(&state) > 0)
        failed |= !WIFEXITED(state) || WEXITSTATUS(state) != 0;
    printf("%llu\n", (unsigned long long)totals->completed);
    return failed ? 2 : 0;
}
