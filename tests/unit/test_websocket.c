/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Websocket framing: the examples of RFC 6455 and cases in the groups of the Autobahn test suite (1 framing,
 * 2 pings, 3 reserved bits, 4 opcodes, 5 fragments, 6 UTF-8, 7 closing, 9 limits, 10 odd cuts) as far as they
 * concern an end that speaks binary messages only. Must not know what is in a message.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker-net/websocket.h"

#define LIMIT 65556u

/* A frame as a peer would write it, with any first byte and any length form. */
struct wire {
    uint8_t data[4 * LIMIT];
    size_t len;
};

static void put_frame(struct wire *w, unsigned first, const void *payload, size_t len, bool masked)
{
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint8_t *p = w->data + w->len;
    size_t head = 2;

    p[0] = (uint8_t)first;
    if (len < 126) {
        p[1] = (uint8_t)len;
    } else if (len < 65536) {
        p[1] = 126;
        p[2] = (uint8_t)(len >> 8);
        p[3] = (uint8_t)len;
        head = 4;
    } else {
        p[1] = 127;
        for (unsigned i = 0; i < 8; i++)
            p[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
        head = 10;
    }
    if (masked) {
        p[1] |= 0x80;
        memcpy(p + head, mask, 4);
        head += 4;
    }
    for (size_t i = 0; i < len; i++)
        p[head + i] = (uint8_t)(((const uint8_t *)payload)[i] ^ (masked ? mask[i % 4] : 0));
    w->len += head + len;
}

static struct wire *wire_new(void)
{
    struct wire *w = calloc(1, sizeof *w);

    assert_non_null(w);
    return w;
}

/* Feeds the wire `step` bytes at a time, as a socket would, until the first message, error or the end. */
static enum status feed(struct websocket_reader *r, struct wire *w, size_t step, struct websocket_message *m)
{
    static uint8_t buf[4 * LIMIT];
    size_t have = 0, at = 0, used = 0;
    enum status st = ERR_AGAIN;

    while (at < w->len && st == ERR_AGAIN) {
        size_t n = w->len - at < step ? w->len - at : step;
        memcpy(buf + have, w->data + at, n);
        have += n;
        at += n;
        st = websocket_reader_next(r, buf, have, &used, m);
        if (st == ERR_AGAIN) {
            memmove(buf, buf + used, have - used);
            have -= used;
        }
    }
    /* What was read too much goes back, for the next call. */
    if (st == OK) {
        size_t rest = have - used;
        memmove(w->data, w->data + at - rest, w->len - (at - rest));
        w->len -= at - rest;
    }
    return st;
}

static void expect_message(bool from_client, const void *payload, size_t len, size_t step)
{
    struct wire *w = wire_new();
    struct websocket_reader r;
    struct websocket_message m;

    websocket_reader_init(&r, from_client, LIMIT);
    put_frame(w, 0x82, payload, len, from_client);
    assert_int_equal(feed(&r, w, step, &m), OK);
    assert_int_equal(m.opcode, WEBSOCKET_BINARY);
    assert_int_equal(m.len, len);
    assert_memory_equal(m.data, payload, len);
    assert_false(m.assembled);
    websocket_reader_clear(&r);
    free(w);
}

static void test_rfc6455_examples(void **state)
{
    static const uint8_t unmasked_ping[] = {0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f};
    static const uint8_t masked_pong[] = {0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58};
    struct websocket_reader r;
    struct websocket_message m;
    uint8_t buf[16], payload[32] = {0};
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    size_t used;
    (void)state;

    memcpy(buf, unmasked_ping, sizeof unmasked_ping);
    websocket_reader_init(&r, false, LIMIT);
    assert_int_equal(websocket_reader_next(&r, buf, sizeof unmasked_ping, &used, &m), OK);
    assert_int_equal(m.opcode, WEBSOCKET_PING);
    assert_memory_equal(m.data, "Hello", 5);
    assert_int_equal(used, sizeof unmasked_ping);

    memcpy(buf, masked_pong, sizeof masked_pong);
    websocket_reader_init(&r, true, LIMIT);
    assert_int_equal(websocket_reader_next(&r, buf, sizeof masked_pong, &used, &m), OK);
    assert_int_equal(m.opcode, WEBSOCKET_PONG);
    assert_memory_equal(m.data, "Hello", 5);

    /* The same masked pong, written by us. */
    memcpy(payload + WEBSOCKET_HEADER_MAX, "Hello", 5);
    websocket_mask(payload + WEBSOCKET_HEADER_MAX, 5, mask);
    const uint8_t *start = websocket_header_before(payload + WEBSOCKET_HEADER_MAX, WEBSOCKET_PONG, 5, mask);
    assert_memory_equal(start, masked_pong, sizeof masked_pong);

    /* 256 and 65536 bytes of binary: 0x82 0x7E 0x0100 and 0x82 0x7F 0x0000000000010000. */
    start = websocket_header_before(payload + WEBSOCKET_HEADER_MAX, WEBSOCKET_BINARY, 256, NULL);
    assert_memory_equal(start, "\x82\x7e\x01\x00", 4);
    start = websocket_header_before(payload + WEBSOCKET_HEADER_MAX, WEBSOCKET_BINARY, 65536, NULL);
    assert_memory_equal(start, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10);
}

/* Group 1: sizes around every edge of the length field, both sides, whole and in small pieces. */
static void test_group1_framing(void **state)
{
    static const size_t sizes[] = {0, 1, 125, 126, 127, 128, 255, 256, 65535, 65536, LIMIT};
    static const size_t steps[] = {1u << 30, 997, 1};
    uint8_t *payload = malloc(LIMIT);
    (void)state;

    assert_non_null(payload);
    for (size_t i = 0; i < LIMIT; i++)
        payload[i] = (uint8_t)(i * 31 + i / 253);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t k = 0; k < sizeof steps / sizeof steps[0]; k++) {
            if (sizes[i] > 300 && steps[k] == 1)
                continue;
            expect_message(true, payload, sizes[i], steps[k]);
            expect_message(false, payload, sizes[i], steps[k]);
        }
    }
    free(payload);
}

/* Group 2: pings and pongs, of any allowed size, alone and many. */
static void test_group2_pings(void **state)
{
    static const size_t sizes[] = {0, 1, 125};
    uint8_t payload[126];
    struct websocket_reader r;
    struct websocket_message m;
    struct wire *w = wire_new();
    (void)state;

    memset(payload, 0xfe, sizeof payload);
    websocket_reader_init(&r, true, LIMIT);
    for (size_t i = 0; i < 3; i++) {
        put_frame(w, 0x89, payload, sizes[i], true);
        put_frame(w, 0x8a, payload, sizes[i], true);
    }
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(feed(&r, w, 3, &m), OK);
        assert_int_equal(m.opcode, i % 2 == 0 ? WEBSOCKET_PING : WEBSOCKET_PONG);
        assert_int_equal(m.len, sizes[i / 2]);
        assert_memory_equal(m.data, payload, m.len);
    }
    put_frame(w, 0x89, payload, 126, true); /* one byte too long */
    assert_int_equal(feed(&r, w, 1, &m), ERR_FORMAT);
    assert_int_equal(r.error_code, 1002);
    free(w);
}

static void expect_error(unsigned first, size_t len, bool from_client, bool masked, unsigned code)
{
    struct wire *w = wire_new();
    uint8_t payload[200] = {0};
    struct websocket_reader r;
    struct websocket_message m;

    websocket_reader_init(&r, from_client, LIMIT);
    put_frame(w, first, payload, len, masked);
    assert_int_equal(feed(&r, w, 1, &m), ERR_FORMAT);
    assert_int_equal(r.error_code, code);
    assert_non_null(r.error);
    free(w);
}

/* Group 3: each reserved bit, alone and together, with each opcode. */
static void test_group3_reserved_bits(void **state)
{
    (void)state;
    for (unsigned bits = 0x10; bits <= 0x70; bits += 0x10) {
        expect_error(0x82 | bits, 4, true, true, 1002);
        expect_error(0x89 | bits, 4, false, false, 1002);
        expect_error(0x88 | bits, 0, true, true, 1002);
    }
}

/* Group 4: opcodes that do not exist; and text, which nobody speaks here. */
static void test_group4_opcodes(void **state)
{
    (void)state;
    for (unsigned opcode = 3; opcode <= 7; opcode++)
        expect_error(0x80 | opcode, 3, true, true, 1002);
    for (unsigned opcode = 11; opcode <= 15; opcode++)
        expect_error(0x80 | opcode, 0, false, false, 1002);
    expect_error(0x81, 5, true, true, 1003);
    expect_error(0x01, 5, false, false, 1003);
}

/* Section 5.1: masks are a client's duty and a server's fault. */
static void test_masking_is_checked(void **state)
{
    (void)state;
    expect_error(0x82, 5, true, false, 1002);
    expect_error(0x82, 5, false, true, 1002);
    expect_error(0x89, 0, true, false, 1002);
}

/* Group 5: fragments with control frames in between; wrong orders. */
static void test_group5_fragments(void **state)
{
    static const size_t steps[] = {1, 7, 1u << 30};
    struct websocket_message m;
    (void)state;

    for (size_t k = 0; k < 3; k++) {
        struct websocket_reader r;
        struct wire *w = wire_new();
        websocket_reader_init(&r, true, LIMIT);
        put_frame(w, 0x02, "frag", 4, true);
        put_frame(w, 0x89, "ping", 4, true);
        put_frame(w, 0x00, "", 0, true);
        put_frame(w, 0x00, "ment", 4, true);
        put_frame(w, 0x8a, "", 0, true);
        put_frame(w, 0x80, "ed", 2, true);
        put_frame(w, 0x82, "whole", 5, true);
        assert_int_equal(feed(&r, w, steps[k], &m), OK);
        assert_int_equal(m.opcode, WEBSOCKET_PING);
        assert_int_equal(feed(&r, w, steps[k], &m), OK);
        assert_int_equal(m.opcode, WEBSOCKET_PONG);
        assert_int_equal(feed(&r, w, steps[k], &m), OK);
        assert_int_equal(m.opcode, WEBSOCKET_BINARY);
        assert_true(m.assembled);
        assert_int_equal(m.len, 10);
        assert_memory_equal(m.data, "fragmented", 10);
        assert_int_equal(feed(&r, w, steps[k], &m), OK);
        assert_false(m.assembled);
        assert_memory_equal(m.data, "whole", 5);
        websocket_reader_clear(&r);
        free(w);
    }
    expect_error(0x80, 3, true, true, 1002); /* a continuation of nothing */
    expect_error(0x00, 3, false, false, 1002);
    expect_error(0x09, 3, true, true, 1002); /* a fragmented ping */
    expect_error(0x08, 0, false, false, 1002);

    struct websocket_reader r;
    struct wire *w = wire_new();
    websocket_reader_init(&r, true, LIMIT);
    put_frame(w, 0x02, "begun", 5, true);
    put_frame(w, 0x82, "new", 3, true); /* before the old one has ended */
    assert_int_equal(feed(&r, w, 5, &m), ERR_FORMAT);
    assert_int_equal(r.error_code, 1002);
    assert_int_equal(websocket_reader_limit(&r, 10), ERR_WRONG_STATE);
    websocket_reader_clear(&r);
    free(w);
}

static void expect_close(const void *payload, size_t len, enum status status, unsigned code)
{
    struct wire *w = wire_new();
    struct websocket_reader r;
    struct websocket_message m;

    websocket_reader_init(&r, false, LIMIT);
    put_frame(w, 0x88, payload, len, false);
    assert_int_equal(feed(&r, w, 2, &m), status);
    if (status == OK) {
        assert_int_equal(m.opcode, WEBSOCKET_CLOSE);
        assert_int_equal(m.close_code, code);
    } else {
        assert_int_equal(r.error_code, code);
    }
    free(w);
}

/* Groups 6 and 7: closing, its codes, and the only text that there is, the close reason. */
static void test_group6_7_closing(void **state)
{
    static const unsigned good[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009,
                                    1010, 1011, 3000, 3999, 4000, 4403, 4999};
    static const unsigned bad[] = {0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535};
    uint8_t payload[126];
    (void)state;

    expect_close("", 0, OK, WEBSOCKET_CLOSE_NO_STATUS);
    expect_close("\x03", 1, ERR_FORMAT, 1002);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        payload[0] = (uint8_t)(good[i] >> 8);
        payload[1] = (uint8_t)good[i];
        expect_close(payload, 2, OK, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        payload[0] = (uint8_t)(bad[i] >> 8);
        payload[1] = (uint8_t)bad[i];
        expect_close(payload, 2, ERR_FORMAT, 1002);
    }
    expect_close("\x03\xe8Good \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 2 + 5 + 9, OK, 1000);
    expect_close("\x03\xe8\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80", 2 + 14, ERR_FORMAT,
                 1007);
    expect_close("\x03\xe8\xc0\xaf", 4, ERR_FORMAT, 1007);         /* overlong */
    expect_close("\x03\xe8\xf4\x90\x80\x80", 6, ERR_FORMAT, 1007); /* above U+10FFFF */
    expect_close("\x03\xe8\xe2\x82", 4, ERR_FORMAT, 1007);         /* cut */
    memset(payload, 'x', sizeof payload);
    payload[0] = 0x0f;
    payload[1] = 0xa0;
    expect_close(payload, 125, OK, 4000);
    expect_close(payload, 126, ERR_FORMAT, 1002);
}

/* What we send ourselves fits and is not cut inside a character. */
static void test_close_payload(void **state)
{
    uint8_t out[WEBSOCKET_CONTROL_MAX];
    char reason[200];
    (void)state;

    assert_int_equal(websocket_close_payload(out, 4403, "no"), 4);
    assert_memory_equal(out, "\x11\x33no", 4);
    memset(reason, 'a', sizeof reason);
    memcpy(reason + 121, "\xe2\x82\xac", 4);
    assert_int_equal(websocket_close_payload(out, 1000, reason), 2 + 121);
    assert_true(websocket_close_code_is_valid(1001));
    assert_false(websocket_close_code_is_valid(1005));
}

/* Group 9: the limit is judged from the header, before anything is buffered; fragments count together. */
static void test_group9_limits(void **state)
{
    static const uint8_t huge[] = {0x82, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3, 4};
    static const uint8_t negative[] = {0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4};
    struct websocket_reader r;
    struct websocket_message m;
    uint8_t buf[16];
    size_t used;
    (void)state;

    websocket_reader_init(&r, true, LIMIT);
    memcpy(buf, huge, sizeof huge);
    assert_int_equal(websocket_reader_next(&r, buf, sizeof huge, &used, &m), ERR_FORMAT);
    assert_int_equal(r.error_code, 1009);
    memcpy(buf, negative, sizeof negative);
    assert_int_equal(websocket_reader_next(&r, buf, sizeof negative, &used, &m), ERR_FORMAT);
    assert_int_equal(r.error_code, 1002);

    struct wire *w = wire_new();
    uint8_t *big = calloc(1, LIMIT + 1);
    assert_non_null(big);
    websocket_reader_init(&r, false, LIMIT);
    put_frame(w, 0x82, big, LIMIT + 1, false);
    assert_int_equal(feed(&r, w, 14, &m), ERR_FORMAT);
    assert_int_equal(r.error_code, 1009);

    w->len = 0;
    websocket_reader_init(&r, false, 100);
    put_frame(w, 0x02, big, 60, false);
    put_frame(w, 0x00, big, 40, false);
    put_frame(w, 0x80, big, 1, false);
    assert_int_equal(feed(&r, w, 1, &m), ERR_FORMAT);
    assert_int_equal(r.error_code, 1009);
    websocket_reader_clear(&r);
    free(big);
    free(w);
}

/* Group 10, and section 5.2: lengths must be in their shortest form. */
static void test_group10_odd_lengths(void **state)
{
    static const struct {
        uint8_t data[14];
        size_t len;
    } cases[] = {
        {{0x82, 126, 0, 125}, 4},
        {{0x82, 126, 0, 0}, 4},
        {{0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 10},
        {{0x82, 127, 0, 0, 0, 0, 0, 0, 0, 1}, 10},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct websocket_header h;
        const char *why = NULL;
        for (size_t len = 0; len < cases[i].len; len++)
            assert_int_equal(websocket_header_parse(cases[i].data, len, false, &h, &why), ERR_AGAIN);
        assert_int_equal(websocket_header_parse(cases[i].data, cases[i].len, false, &h, &why), ERR_FORMAT);
        assert_non_null(why);
    }
}

/* The wide implementation against the plain one, at every alignment and length around its steps. */
static void test_mask_is_exact(void **state)
{
    static const uint8_t mask[4] = {0x01, 0x80, 0x55, 0xfe};
    uint8_t data[300], expected[300];
    (void)state;

    for (size_t offset = 0; offset < 5; offset++) {
        for (size_t len = 0; len < 200; len++) {
            for (size_t i = 0; i < sizeof data; i++)
                expected[i] = data[i] = (uint8_t)(i * 7 + len);
            for (size_t i = 0; i < len; i++)
                expected[offset + i] ^= mask[i % 4];
            websocket_mask(data + offset, len, mask);
            assert_memory_equal(data, expected, sizeof data);
        }
    }
}

static void test_masks_are_fresh(void **state)
{
    struct websocket_masks masks = {.left = 0};
    uint8_t all[600][4];
    size_t zero = 0, repeated = 0;
    (void)state;

    for (size_t i = 0; i < 600; i++) {
        assert_int_equal(websocket_masks_next(&masks, all[i]), OK);
        zero += memcmp(all[i], "\0\0\0", 4) == 0;
        repeated += i > 0 && memcmp(all[i], all[i - 1], 4) == 0;
    }
    assert_in_range(zero, 0, 2); /* more would be one chance in 10^20 */
    assert_in_range(repeated, 0, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc6455_examples),    cmocka_unit_test(test_group1_framing),
        cmocka_unit_test(test_group2_pings),        cmocka_unit_test(test_group3_reserved_bits),
        cmocka_unit_test(test_group4_opcodes),      cmocka_unit_test(test_masking_is_checked),
        cmocka_unit_test(test_group5_fragments),    cmocka_unit_test(test_group6_7_closing),
        cmocka_unit_test(test_close_payload),       cmocka_unit_test(test_group9_limits),
        cmocka_unit_test(test_group10_odd_lengths), cmocka_unit_test(test_mask_is_exact),
        cmocka_unit_test(test_masks_are_fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
