/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The IPC codec and channel: every message of messages.def survives a round trip, no damaged packet is
 * accepted, and a sender that breaks a rule is reported. Must not test what any message means.
 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/ipc.h"
#include "common/ipc_channel.h"

static const unsigned numbers[] = {
#define MESSAGE(NAME, name, number, channels, direction, states, times, descriptors, fields) number,
#include "common/messages.def"
#undef MESSAGE
};
#define N_MESSAGES (sizeof numbers / sizeof numbers[0])

static void test_numbers_are_unique(void **state)
{
    (void)state;
    bool seen[256] = {false};
    for (size_t i = 0; i < N_MESSAGES; i++) {
        assert_false(seen[numbers[i]]);
        seen[numbers[i]] = true;
        assert_string_not_equal(ipc_message_name(numbers[i]), "?");
    }
}

/* A packet that decodes is found by growing zeros: zero-length texts and zero integers are valid for each
 * type. */
static void test_round_trip_and_exact_size(void **state)
{
    (void)state;
    union message *m = malloc(sizeof *m), *again = malloc(sizeof *again);
    uint8_t buf[IPC_MESSAGE_MAX], copy[IPC_MESSAGE_MAX];

    for (size_t i = 0; i < N_MESSAGES; i++) {
        enum message_type type;
        size_t len, len2;
        memset(m, 0, sizeof *m);
        assert_int_equal(ipc_encode((enum message_type)numbers[i], m, buf, sizeof buf, &len), OK);
        assert_int_equal(ipc_decode(buf, len, &type, again), OK);
        assert_int_equal(type, numbers[i]);
        assert_int_equal(ipc_encode(type, again, copy, sizeof copy, &len2), OK);
        assert_int_equal(len, len2);
        assert_memory_equal(buf, copy, len);
        for (size_t cut = 0; cut < len; cut++)
            assert_int_not_equal(ipc_decode(buf, cut, &type, again), OK);
        buf[len] = 0;
        assert_int_equal(ipc_decode(buf, len + 1, &type, again), ERR_SIZE);
        assert_int_equal(ipc_encode((enum message_type)numbers[i], m, buf, len - 1, &len2), ERR_SIZE);
    }
    free(m);
    free(again);
}

static void test_values_are_kept(void **state)
{
    (void)state;
    struct msg_hs_keys keys = {
        .direction = 1, .epoch = 0x01020304, .sequence = 0x1122334455667788, .max_record = 32768};
    memset(keys.key, 0xab, sizeof keys.key);
    uint8_t buf[IPC_MESSAGE_MAX];
    union message out;
    enum message_type type;
    size_t len;

    assert_int_equal(ipc_encode(MSG_HS_KEYS, &keys, buf, sizeof buf, &len), OK);
    assert_int_equal(len, 2 + 1 + 4 + 8 + 32 + 12 + 4);
    static const uint8_t start[] = {68, 0, 1, 4, 3, 2, 1, 0x88, 0x77}; /* little-endian on the wire */
    assert_memory_equal(buf, start, sizeof start);
    assert_int_equal(ipc_decode(buf, len, &type, &out), OK);
    assert_memory_equal(out.hs_keys.key, keys.key, sizeof keys.key);
    assert_int_equal(out.hs_keys.sequence, keys.sequence);
}

static void test_text_limits(void **state)
{
    (void)state;
    struct msg_app_expose m = {.app = 1};
    uint8_t buf[IPC_MESSAGE_MAX];
    union message out;
    enum message_type type;
    size_t len;

    memset(m.name, 'a', 63);
    assert_int_equal(ipc_encode(MSG_APP_EXPOSE, &m, buf, sizeof buf, &len), OK);
    assert_int_equal(ipc_decode(buf, len, &type, &out), OK);
    assert_string_equal(out.app_expose.name, m.name);
    buf[6] = 64; /* length of the name: one more than it may have */
    assert_int_equal(ipc_decode(buf, len, &type, &out), ERR_SIZE);
    buf[6] = 63;
    buf[10] = 0; /* a NUL inside would hide the rest from whoever reads it as a string */
    assert_int_equal(ipc_decode(buf, len, &type, &out), ERR_FORMAT);
    m.name[63] = 'a'; /* not terminated: the encoder must not run on */
    assert_int_equal(ipc_encode(MSG_APP_EXPOSE, &m, buf, sizeof buf, &len), ERR_SIZE);
}

static void test_random_packets_never_crash(void **state)
{
    (void)state;
    uint8_t buf[600];
    union message *out = malloc(sizeof *out);
    enum message_type type;
    unsigned accepted = 0;

    srand(7);
    for (unsigned i = 0; i < 200000; i++) {
        size_t len = (size_t)rand() % sizeof buf;
        for (size_t j = 0; j < len; j++)
            buf[j] = (uint8_t)rand();
        if (len >= 2) {
            buf[0] = (uint8_t)numbers[(size_t)rand() % N_MESSAGES];
            buf[1] = 0;
        }
        if (ipc_decode(buf, len, &type, out) == OK)
            accepted++;
    }
    assert_true(accepted < 200000 / 10);
    free(out);
}

static void test_permits(void **state)
{
    (void)state;
    const char *why = NULL;
    struct ipc_permit p = {.kind = CH_SESSION, .end = IPC_UPPER, .state = IN_BOOT};

    assert_int_equal(ipc_permit_check(&p, MSG_WORKER_READY, &why), OK);
    assert_int_equal(ipc_permit_check(&p, MSG_WORKER_READY, &why), ERR_PERMIT);  /* once */
    assert_int_equal(ipc_permit_check(&p, MSG_APP_ANNOUNCED, &why), ERR_PERMIT); /* not before OPEN */
    p.state = IN_OPEN;
    assert_int_equal(ipc_permit_check(&p, MSG_APP_ANNOUNCED, &why), OK);
    assert_int_equal(ipc_permit_check(&p, MSG_APP_ANNOUNCED, &why), OK);
    assert_int_equal(ipc_permit_check(&p, MSG_SESSION_PEER, &why), ERR_PERMIT); /* goes the other way */
    assert_int_equal(ipc_permit_check(&p, MSG_DECIDE, &why), ERR_PERMIT);       /* no session may decide */
    assert_int_equal(ipc_permit_check(&p, 255, &why), ERR_TYPE);
    assert_int_equal(ipc_permit_check(&p, 0, &why), ERR_TYPE);
}

/* No kind of channel that a hostile worker holds may carry a decision, and only crypto may ask for approval.
 */
static void test_who_may_decide(void **state)
{
    (void)state;
    static const unsigned states[] = {IN_BOOT, IN_RUN, IN_HELLO, IN_OPEN, IN_DRAIN};
    const char *why;

    for (unsigned kind = 1; kind <= CH_CONTROL; kind <<= 1) {
        for (size_t s = 0; s < 5; s++) {
            struct ipc_permit p = {.kind = (enum ipc_kind)kind, .end = IPC_UPPER, .state = states[s]};
            bool decides = ipc_permit_check(&p, MSG_DECIDE, &why) == OK;
            bool asks = ipc_permit_check(&p, MSG_APPROVAL_ASK, &why) == OK;
            bool opens = ipc_permit_check(&p, MSG_CONNECTION_OPEN, &why) == OK;
            assert_int_equal(decides, (kind == CH_ADMIN || kind == CH_CONTROL) && states[s] == IN_RUN);
            assert_int_equal(asks, kind == CH_CRYPTO && states[s] == IN_RUN);
            assert_int_equal(opens, kind == CH_CRYPTO && states[s] == IN_RUN);
        }
    }
}

struct ear {
    unsigned messages;
    uint64_t last;
    int fd;
    bool closed;
    char reason[160];
    struct event_base *base;
};

static void ear_message(void *arg, enum message_type type, const union message *m, int fd)
{
    struct ear *ear = arg;
    ear->messages++;
    ear->last = type == MSG_WORKER_PONG ? m->worker_pong.nonce : 0;
    if (fd >= 0)
        ear->fd = fd;
}

static void ear_closed(void *arg, const char *reason)
{
    struct ear *ear = arg;
    ear->closed = true;
    (void)snprintf(ear->reason, sizeof ear->reason, "%s", reason != NULL ? reason : "");
}

static const struct ipc_handlers ear_handlers = {.message = ear_message, .closed = ear_closed};

static void run(struct event_base *base)
{
    for (int i = 0; i < 50; i++)
        (void)event_base_loop(base, EVLOOP_NONBLOCK);
}

static void test_channel_delivers_in_order_and_bounded(void **state)
{
    (void)state;
    struct event_base *base = event_base_new();
    struct ear up = {.fd = -1}, down = {.fd = -1};
    int pair[2];
    assert_int_equal(ipc_pair(pair, true), OK);
    struct ipc_channel *a =
        ipc_channel_new(base, pair[0], CH_CRYPTO, IPC_UPPER, IN_RUN, "a", &ear_handlers, &up);
    struct ipc_channel *b =
        ipc_channel_new(base, pair[1], CH_CRYPTO, IPC_LOWER, IN_RUN, "b", &ear_handlers, &down);
    enum status s = OK;
    uint64_t sent = 0;

    while (s == OK && sent < 1000000) { /* nobody reads: the queue must refuse at some point */
        s = IPC_SEND(b, WORKER_PONG, worker_pong, .nonce = sent + 1);
        sent += s == OK;
    }
    assert_int_equal(s, ERR_FULL);
    assert_true(ipc_channel_queued(b) <= IPC_QUEUE_MESSAGES);
    for (int i = 0; i < 100; i++)
        run(base);
    assert_int_equal(up.messages, sent);
    assert_int_equal(up.last, sent);
    assert_false(up.closed);
    ipc_channel_free(a);
    run(base);
    assert_true(down.closed);
    assert_string_equal(down.reason, "");
    ipc_channel_free(b);
    event_base_free(base);
}

static void test_channel_reports_violations(void **state)
{
    (void)state;
    static const struct {
        const uint8_t bytes[12];
        size_t len;
        bool with_fd;
    } bad[] = {
        {{5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, 11, false}, /* WORKER_PONG one byte too long */
        {{5, 0, 1, 0, 0, 0, 0, 0, 0}, 9, false},        /* one too short */
        {{5}, 1, false},                                /* no whole type */
        {{4, 0, 1, 0, 0, 0, 0, 0, 0, 0}, 10, false},    /* WORKER_PING goes the other way */
        {{99, 0, 1, 0}, 4, false},                      /* DECIDE from crypto */
        {{250, 0}, 2, false},                           /* no such message */
        {{5, 0, 1, 0, 0, 0, 0, 0, 0, 0}, 10, true},     /* a descriptor that nobody asked for */
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct event_base *base = event_base_new();
        struct ear up = {.fd = -1};
        int pair[2];
        assert_int_equal(ipc_pair(pair, true), OK);
        struct ipc_channel *a =
            ipc_channel_new(base, pair[0], CH_CRYPTO, IPC_UPPER, IN_RUN, "a", &ear_handlers, &up);
        assert_int_equal(ipc_send_packet(pair[1], bad[i].bytes, bad[i].len, bad[i].with_fd ? 0 : -1), OK);
        assert_int_equal(ipc_send_packet(pair[1], (const uint8_t[]){5, 0, 1, 0, 0, 0, 0, 0, 0, 0}, 10, -1),
                         OK);
        run(base);
        assert_true(up.closed);
        assert_string_not_equal(up.reason, "");
        assert_int_equal(up.messages, 0); /* nothing after a violation is handed over */
        ipc_channel_free(a);
        (void)close(pair[1]);
        event_base_free(base);
    }
}

static void test_two_descriptors_are_refused_and_closed(void **state)
{
    (void)state;
    int pair[2], fds[2], got = -1;
    uint8_t byte = 5, buf[16];
    size_t len;
    struct iovec part = {&byte, 1};
    union {
        char space[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control = {.space = {0}};
    struct msghdr h = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.space,
                       .msg_controllen = sizeof control.space};

    assert_int_equal(ipc_pair(pair, true), OK);
    assert_int_equal(pipe(fds), 0);
    struct cmsghdr *c = CMSG_FIRSTHDR(&h);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(c), fds, sizeof fds);
    assert_int_equal(sendmsg(pair[0], &h, 0), 1);
    (void)close(fds[0]);
    (void)close(fds[1]);
    int next = dup(0); /* the lowest free number: the received copies must not stay open */
    (void)close(next);
    assert_int_equal(ipc_recv_packet(pair[1], buf, sizeof buf, &len, &got), ERR_DESCRIPTOR);
    assert_int_equal(got, -1);
    int after = dup(0);
    assert_int_equal(after, next);
    (void)close(after);
    (void)close(pair[0]);
    (void)close(pair[1]);
}

/* A message waits with a descriptor for which this process has no room. */
static void test_a_lost_descriptor_is_told_apart(void **state)
{
    (void)state;
    int pair[2], fds[2], got = -1;
    uint8_t buf[16];
    size_t len = 0;
    struct rlimit before, none;

    assert_int_equal(ipc_pair(pair, true), OK);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(ipc_send_packet(pair[0], (const uint8_t *)"abc", 3, fds[0]), OK);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(ipc_recv_packet(pair[1], buf, sizeof buf, &len, &got), ERR_LIMIT);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(len, 3); /* the words have come, and are usable */
    assert_memory_equal(buf, "abc", 3);
    (void)close(fds[0]);
    struct pollfd other = {.fd = fds[1], .events = POLLOUT};
    assert_int_equal(poll(&other, 1, 0), 1);
    assert_true((other.revents & POLLERR) != 0); /* nobody holds the other end any more */
    (void)close(fds[1]);
    (void)close(pair[0]);
    (void)close(pair[1]);
}

/* Regression: an end that went away with something unread used to take its own last packet with it. */
static void test_last_words_are_heard(void **state)
{
    const struct msg_session_end said = {.code = 7, .text = "goodbye"};
    uint8_t buf[IPC_MESSAGE_MAX];
    size_t len;
    int pair[2];
    int fd;
    (void)state;
    assert_int_equal(ipc_pair(pair, true), OK);
    assert_int_equal(ipc_send_packet(pair[0], (const uint8_t *)"unread", 6, -1), OK);
    assert_int_equal(ipc_encode(MSG_SESSION_END, &said, buf, sizeof buf, &len), OK);
    assert_int_equal(ipc_send_packet(pair[1], buf, len, -1), OK);
    assert_int_equal(close(pair[1]), 0);
    size_t got = 0;
    assert_int_equal(ipc_recv_packet(pair[0], buf, sizeof buf, &got, &fd), OK);
    assert_int_equal(got, len);
    assert_int_equal(ipc_recv_packet(pair[0], buf, sizeof buf, &got, &fd), ERR_EOF);
    assert_int_equal(close(pair[0]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_unique),
        cmocka_unit_test(test_round_trip_and_exact_size),
        cmocka_unit_test(test_values_are_kept),
        cmocka_unit_test(test_text_limits),
        cmocka_unit_test(test_random_packets_never_crash),
        cmocka_unit_test(test_permits),
        cmocka_unit_test(test_who_may_decide),
        cmocka_unit_test(test_channel_delivers_in_order_and_bounded),
        cmocka_unit_test(test_channel_reports_violations),
        cmocka_unit_test(test_two_descriptors_are_refused_and_closed),
        cmocka_unit_test(test_a_lost_descriptor_is_told_apart),
        cmocka_unit_test(test_last_words_are_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
