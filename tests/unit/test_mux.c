/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mux as a state machine: which frame may come from whom and when (whole tables, not samples), how
 * streams are opened, and the connection's own frames. The life of a stream is in test_mux_life.c, windows
 * and scheduling are in test_mux_flow.c.
 */
#include "mux_support.h"

#include "common/wire.h"

static void test_settings_come_first(void **state)
{
    const uint8_t *p;
    size_t len;
    (void)state;

    struct rig *r = rig_bare(SIDE_CLIENT, NULL);
    assert_int_equal(rig_fill(r, 1), 1);
    assert_true(rig_has(r, FRAME_SETTINGS, 0, &p, &len));
    assert_int_equal(len, 30);
    assert_int_equal(get_be16(p + 10), SETTING_STREAM_WINDOW);
    assert_int_equal(get_be64(p + 12), MUX_EARLY_WINDOW);
    assert_int_equal(rig_fill(r, 1), 0); /* once */
    assert_int_equal(rig_u64(r, FRAME_PING, 0, 1), ERR_FORMAT);
    rig_free(r);

    r = rig_bare(SIDE_CLIENT, NULL);
    assert_int_equal(rig_frame(r, FRAME_PADDING, 0, 0, "xyz", 3), OK); /* the one exception */
    assert_int_equal(rig_settings(r, 10, 65536, 1 << 20), OK);
    assert_int_equal(rig_u64(r, FRAME_PING, 0, 1), OK);
    assert_int_equal(rig_settings(r, 10, 65536, 1 << 20), ERR_FORMAT); /* twice */
    rig_free(r);
}

static void test_settings_are_checked(void **state)
{
    static const struct {
        uint8_t payload[20];
        size_t len;
        enum status status;
    } cases[] = {
        {{0}, 0, OK},
        {{0, 1, 0, 0, 0, 0, 0, 0, 0, 5}, 10, OK},
        {{0, 99, 0xff, 0, 0, 0, 0, 0, 0, 5}, 10, OK}, /* unknown: from a newer peer */
        {{0, 1, 0, 0, 0, 0, 0, 0, 0}, 9, ERR_FORMAT},
        {{0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5}, 20, ERR_FORMAT},
        {{0, 3, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 10, ERR_FORMAT},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig *r = rig_bare(SIDE_SERVER, NULL);
        assert_int_equal(rig_frame(r, FRAME_SETTINGS, 0, 0, cases[i].payload, cases[i].len), cases[i].status);
        rig_free(r);
    }
}

/*
 * Every type of frame, for every kind of stream, on both sides: what must be taken, what must end the
 * connection. The streams: 0, one of ours that is opening, one that is open, one that is over, one of the
 * peer's, one that never was.
 */
enum kind { CONNECTION, OPENING, OPENED, OVER, ASKED, ACCEPTED, NEVER, KINDS };

static const struct {
    unsigned type;
    size_t len;
    const char *to_server,
        *to_client; /* a letter per kind: y taken, n ends the connection, - does not exist */
} matrix[] = {
    {FRAME_PADDING, 5, "ynnn--n", "yn-nnnn"},
    {FRAME_DATA, 5, "nnyy--n", "nn-yyyn"},
    {FRAME_OPEN, 30, "nnnn--n", "nn-nnny"},
    {FRAME_OPEN_OK, 8, "nyny--n", "nn-nnnn"},
    {FRAME_OPEN_FAIL, 2, "nyny--n", "nn-nnnn"},
    {FRAME_RESET, 2, "nyyy--n", "nn-yyyn"},
    {FRAME_STOP_SENDING, 2, "nnyy--n", "nn-yyyn"},
    {FRAME_MAX_DATA, 8, "ynyy--n", "yn-yyyn"},
    {FRAME_BLOCKED, 8, "ynyy--n", "yn-yyyn"},
    {FRAME_PING, 8, "ynnn--n", "yn-nnnn"},
    {FRAME_PONG, 8, "ynnn--n", "yn-nnnn"},
    {FRAME_GOAWAY, 6, "ynnn--n", "yn-nnnn"},
    {FRAME_APP_ADD, 8, "ynnn--n", "nn-nnnn"},
    {FRAME_APP_WITHDRAW, 4, "ynnn--n", "nn-nnnn"},
    {FRAME_APP_ACK, 8, "nnnn--n", "yn-nnnn"},
    {FRAME_REKEY_REQUEST, 0, "nnnn--n", "nn-nnnn"},
    {FRAME_KEY_SWITCH, 0, "nnnn--n", "nn-nnnn"},
    {FRAME_ROTATE, 0, "nnnn--n", "nn-nnnn"},
    {0x7f, 0, "nnnn--n", "nn-nnnn"},
    {0xff, 8, "nnnn--n", "nn-nnnn"},
};

/* A fresh mux with a stream of this kind; its id. */
static struct rig *stage(enum side side, enum kind kind, uint32_t *id)
{
    struct rig *r = rig_new(side);
    struct stream *s;

    *id = 0;
    switch (kind) {
    case OPENING:
    case OPENED:
        if (side == SIDE_CLIENT) { /* a client opens none: an id of its own never was */
            *id = 1;
            break;
        }
        s = rig_opened(r);
        *id = s->id;
        (void)rig_fill(r, 1);
        if (kind == OPENED)
            assert_int_equal(rig_u64(r, FRAME_OPEN_OK, *id, 1 << 20), OK);
        break;
    case OVER:
        *id = 2;
        if (side == SIDE_SERVER)
            s = rig_opened(r);
        else
            s = rig_accepted(r, 2, 1 << 20);
        mux_reset(s, RESET_APPLICATION);
        (void)rig_fill(r, 1);
        break;
    case ASKED:
        *id = 2;
        assert_int_equal(rig_open(r, 2, 7, 1 << 20), OK);
        break;
    case ACCEPTED:
        *id = 2;
        (void)rig_accepted(r, 2, 1 << 20);
        break;
    case NEVER: *id = 2000; break;
    default: break;
    }
    return r;
}

static void test_frame_matrix(void **state)
{
    uint8_t payload[64] = {0};
    (void)state;

    for (size_t i = 0; i < sizeof matrix / sizeof matrix[0]; i++) {
        for (unsigned side = SIDE_SERVER; side <= SIDE_CLIENT; side++) {
            const char *expected = side == SIDE_SERVER ? matrix[i].to_server : matrix[i].to_client;
            for (enum kind kind = 0; kind < KINDS; kind++) {
                uint32_t id;
                if (expected[kind] == '-')
                    continue;
                struct rig *r = stage((enum side)side, kind, &id);
                for (uint8_t k = 0; k < 8; k++) /* what the rig's applications expect */
                    payload[k] = matrix[i].type == FRAME_DATA ? k : 0;
                enum status st = rig_frame(r, matrix[i].type, 0, id, payload, matrix[i].len);
                if ((st == OK) != (expected[kind] == 'y'))
                    fail_msg("type %#x to side %u, kind %d: %d (%s)", matrix[i].type, side, (int)kind,
                             (int)st, mux_error(r->mux));
                rig_free(r);
            }
        }
    }
}

/* Each type with every size around what it may have, and with unknown flags. */
static void test_sizes_and_flags(void **state)
{
    static const struct {
        unsigned type;
        size_t sizes[8]; /* that are wrong; ends with SIZE_MAX */
        bool stream;
    } cases[] = {
        {FRAME_OPEN_OK, {0, 7, 9, SIZE_MAX}, true},  {FRAME_OPEN_FAIL, {0, 1, 131, SIZE_MAX}, true},
        {FRAME_RESET, {0, 1, 3, SIZE_MAX}, true},    {FRAME_STOP_SENDING, {0, 1, 3, SIZE_MAX}, true},
        {FRAME_MAX_DATA, {0, 7, 9, SIZE_MAX}, true}, {FRAME_BLOCKED, {0, 7, 9, SIZE_MAX}, true},
        {FRAME_PING, {0, 7, 9, SIZE_MAX}, false},    {FRAME_PONG, {0, 7, 9, SIZE_MAX}, false},
        {FRAME_GOAWAY, {0, 5, 7, SIZE_MAX}, false},  {FRAME_CLOSE_NOTIFY, {1, SIZE_MAX}, false},
        {FRAME_APP_ADD, {0, 7, 9, SIZE_MAX}, false}, {FRAME_APP_WITHDRAW, {0, 3, 5, SIZE_MAX}, false},
        {FRAME_SETTINGS, {1, 641, SIZE_MAX}, false},
    };
    uint8_t payload[700] = {0};
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t k = 0; cases[i].sizes[k] != SIZE_MAX; k++) {
            uint32_t id;
            struct rig *r = stage(SIDE_SERVER, cases[i].stream ? OPENED : CONNECTION, &id);
            assert_int_equal(rig_frame(r, cases[i].type, 0, id, payload, cases[i].sizes[k]), ERR_FORMAT);
            rig_free(r);
        }
    }
    for (unsigned flag = 1; flag < 256; flag <<= 1) {
        uint32_t id;
        struct rig *r = stage(SIDE_SERVER, OPENED, &id);
        assert_int_equal(rig_frame(r, FRAME_DATA, flag, id, payload, 1),
                         flag == FRAME_FLAG_FIN ? OK : ERR_FORMAT);
        rig_free(r);
        r = stage(SIDE_SERVER, CONNECTION, &id);
        assert_int_equal(rig_frame(r, FRAME_PING, flag, id, payload, 8), ERR_FORMAT);
        rig_free(r);
    }
}

static void test_records_are_cut_exactly(void **state)
{
    uint8_t record[64] = {0};
    (void)state;

    for (size_t len = 1; len < FRAME_HEADER; len++) { /* less than a header behind a whole frame */
        struct rig *r = rig_new(SIDE_SERVER);
        assert_int_equal(mux_input(r->mux, record, FRAME_HEADER + len), ERR_FORMAT);
        rig_free(r);
    }
    struct rig *r = rig_new(SIDE_SERVER);
    put_be16(record + 2, 10); /* longer than the record */
    assert_int_equal(mux_input(r->mux, record, FRAME_HEADER + 9), ERR_FORMAT);
    rig_free(r);

    r = rig_new(SIDE_SERVER);
    assert_int_equal(mux_input(r->mux, record, 0), OK); /* an empty record says nothing */
    put_be16(record + 2, 3);
    record[FRAME_HEADER + 3] = FRAME_PING;
    put_be16(record + FRAME_HEADER + 3 + 2, 8);
    assert_int_equal(mux_input(r->mux, record, FRAME_HEADER + 3 + FRAME_HEADER + 8), OK);
    (void)rig_fill(r, 1);
    assert_true(rig_has(r, FRAME_PONG, 0, NULL, NULL));
    rig_free(r);
}

/* ---- opening ---- */

static void test_open_carries_everything(void **state)
{
    struct mux_open open = {.app = 0x01020304, .port = 0xabcd};
    struct stream *s = NULL;
    const uint8_t *p;
    size_t len;
    (void)state;

    struct rig *r = rig_new(SIDE_SERVER);
    for (uint8_t i = 0; i < 16; i++)
        open.address[i] = (uint8_t)(0xf0 + i);
    assert_int_equal(mux_open(r->mux, &open, &r->account, &s), OK);
    assert_int_equal(s->id, 2);
    (void)rig_fill(r, 1);
    assert_true(rig_has(r, FRAME_OPEN, 2, &p, &len));
    assert_int_equal(len, 30);
    assert_int_equal(get_be32(p), 0x01020304);
    assert_int_equal(get_be64(p + 4), STREAM_WINDOW_INITIAL);
    assert_memory_equal(p + 12, open.address, 16);
    assert_int_equal(get_be16(p + 28), 0xabcd);

    struct rig *c = rig_new(SIDE_CLIENT); /* and the other side reads the same */
    assert_int_equal(rig_frame(c, FRAME_OPEN, 0, 2, p, len), OK);
    assert_int_equal(c->last_open.app, 0x01020304);
    assert_memory_equal(c->last_open.address, open.address, 16);
    assert_int_equal(c->last_open.port, 0xabcd);
    rig_free(c);
    rig_free(r);
}

static void test_ids_rise_and_are_never_reused(void **state)
{
    (void)state;
    struct rig *r = rig_new(SIDE_CLIENT);
    assert_int_equal(rig_open(r, 4, 7, 1000), OK); /* gaps are allowed */
    assert_int_equal(rig_open(r, 6, 7, 1000), OK);
    assert_int_equal(rig_open(r, 6, 7, 1000), ERR_FORMAT);
    rig_free(r);
    r = rig_new(SIDE_CLIENT);
    assert_int_equal(rig_open(r, 4, 7, 1000), OK);
    assert_int_equal(rig_open(r, 2, 7, 1000), ERR_FORMAT); /* backwards */
    rig_free(r);
    r = rig_new(SIDE_CLIENT);
    assert_int_equal(rig_open(r, 3, 7, 1000), ERR_FORMAT); /* one of ours */
    rig_free(r);
    r = rig_new(SIDE_CLIENT);
    assert_int_equal(rig_open(r, 0xfffffffe, 7, 1000), ERR_FORMAT);
    rig_free(r);
    r = rig_new(SIDE_CLIENT);
    assert_int_equal(rig_open(r, 2, 7, 1ull << 63), ERR_FORMAT);
    rig_free(r);

    r = rig_new(SIDE_SERVER);
    for (uint32_t id = 2; id <= 20; id += 2) {
        struct stream *s = rig_opened(r);
        assert_int_equal(s->id, id);
        mux_reset(s, RESET_APPLICATION);
    }
    rig_free(r);
}

static void test_unknown_app_is_refused(void **state)
{
    const uint8_t *p;
    size_t len;
    (void)state;

    struct rig *r = rig_new(SIDE_CLIENT);
    r->unknown_app = true;
    assert_int_equal(rig_open(r, 2, 99, 1000), OK);
    assert_int_equal(mux_streams(r->mux), 0);
    (void)rig_fill(r, 1);
    assert_true(rig_has(r, FRAME_OPEN_FAIL, 2, &p, &len));
    assert_int_equal(get_be16(p), DIAL_UNKNOWN_APP);
    assert_true(len > 2);
    assert_int_equal(rig_data(r, 2, 0, 10, true), OK); /* what was under way is thrown away */
    assert_int_equal(mux_statistics(r->mux)->streams_refused, 1);
    rig_free(r);
}

static void test_refusal_reaches_the_caller(void **state)
{
    (void)state;
    struct rig *r = rig_new(SIDE_SERVER);
    struct stream *s = rig_opened(r);
    (void)rig_fill(r, 1);
    assert_int_equal(rig_u16(r, FRAME_OPEN_FAIL, s->id, DIAL_REFUSED), OK);
    assert_int_equal(r->apps[2].answer_code, DIAL_REFUSED);
    assert_int_equal(r->apps[2].detached, 1);
    assert_int_equal(r->apps[2].how, STREAM_BROKEN); /* a reset, not an end */
    assert_int_equal(r->account.streams, 0);
    assert_int_equal(r->account.refused, 1);
    rig_free(r);
}

static void test_stream_limit(void **state)
{
    struct mux_config config = {.side = SIDE_CLIENT,
                                .max_streams = 3,
                                .stream_window = 65536,
                                .stream_window_max = 65536,
                                .connection_window = 1 << 20,
                                .connection_window_max = 1 << 20};
    struct stream *s;
    (void)state;

    struct rig *r = rig_bare(SIDE_CLIENT, &config);
    assert_int_equal(rig_settings(r, 3, 65536, 1 << 20), OK);
    for (uint32_t id = 2; id <= 6; id += 2)
        assert_int_equal(rig_open(r, id, 7, 1000), OK);
    assert_int_equal(rig_open(r, 8, 7, 1000), OK); /* one too many is refused, not fatal: ends cross */
    assert_int_equal(mux_streams(r->mux), 3);
    (void)rig_fill(r, 2);
    assert_true(rig_has(r, FRAME_OPEN_FAIL, 8, NULL, NULL));
    rig_free(r);

    r = rig_bare(SIDE_SERVER, NULL);
    struct mux_open open = {.app = 1};
    assert_int_equal(mux_open(r->mux, &open, &r->account, &s), ERR_AGAIN); /* the peer has not said yet */
    assert_int_equal(rig_settings(r, 2, 65536, 1 << 20), OK);
    assert_int_equal(mux_open(r->mux, &open, &r->account, &s), OK);
    assert_int_equal(mux_open(r->mux, &open, &r->account, &s), OK);
    assert_int_equal(mux_open(r->mux, &open, &r->account, &s), ERR_AGAIN);
    rig_free(r);
}

/* A peer that asks without end for apps that do not exist is let go at some point. */
static void test_unknown_apps_have_a_budget(void **state)
{
    struct rig *r = rig_new(SIDE_CLIENT);
    enum status st = OK;
    unsigned n = 0;
    (void)state;

    r->unknown_app = true;
    for (uint32_t id = 2; st == OK && n < 100000; id += 2, n++) {
        st = rig_open(r, id, 7, 1000);
        (void)rig_fill(r, 1);
    }
    assert_int_equal(st, ERR_LIMIT);
    assert_in_range(n, 1000, 50000);
    assert_int_equal(mux_streams(r->mux), 0);
    rig_free(r);

    r = rig_new(SIDE_CLIENT); /* spread over time the same is nobody's fault */
    r->unknown_app = true;
    for (uint32_t id = 2; id < 200000; id += 2) {
        mux_set_now(r->mux, 1000000 + (uint64_t)id * 500);
        assert_int_equal(rig_open(r, id, 7, 1000), OK);
        (void)rig_fill(r, 1);
    }
    rig_free(r);
}

/* Users who connect and go away again, however many: that must not end the tunnel, and leaves nothing behind.
 */
static void test_opened_and_reset_at_once(void **state)
{
    struct rig *r = rig_new(SIDE_CLIENT);
    (void)state;

    for (uint32_t id = 2; id < 200000; id += 2) {
        assert_int_equal(rig_open(r, id, 7, 1000), OK);
        assert_int_equal(rig_data(r, id, 0, 10, false), OK);
        assert_int_equal(rig_u16(r, FRAME_RESET, id, RESET_APPLICATION), OK);
        (void)rig_fill(r, 1);
    }
    assert_int_equal(mux_streams(r->mux), 0);
    assert_int_equal(mux_buffered(r->mux), 0);
    rig_free(r);
}

/* Answers that nobody reads pile up only so far. */
static void test_unread_answers_end_it(void **state)
{
    (void)state;
    struct rig *r = rig_new(SIDE_CLIENT);
    enum status st = OK;
    r->unknown_app = true;
    for (uint32_t id = 2; st == OK && id < 200000; id += 2) {
        mux_set_now(r->mux, 1000000 + (uint64_t)id * 1000); /* slowly enough for the other budget */
        st = rig_open(r, id, 7, 1000);
    }
    assert_int_equal(st, ERR_LIMIT);
    assert_true(mux_is_overrun(r->mux));
    rig_free(r);
}

/* ---- the connection ---- */

static void test_ping_and_pong(void **state)
{
    const uint8_t *p;
    (void)state;

    struct rig *r = rig_new(SIDE_SERVER);
    assert_int_equal(rig_u64(r, FRAME_PING, 0, 111), OK);
    assert_int_equal(rig_u64(r, FRAME_PING, 0, 222), OK); /* a flood gets one answer at a time */
    (void)rig_fill(r, 1);
    assert_true(rig_has(r, FRAME_PONG, 0, &p, NULL));
    assert_int_equal(get_be64(p), 222);
    assert_int_equal(r->out_len, FRAME_HEADER + 8);

    mux_send_ping(r->mux);
    (void)rig_fill(r, 1);
    assert_true(rig_has(r, FRAME_PING, 0, &p, NULL));
    uint64_t value = get_be64(p);
    mux_set_now(r->mux, 1000000 + 1234);
    assert_int_equal(rig_u64(r, FRAME_PONG, 0, value + 1), OK); /* not the one: ignored */
    assert_int_equal(r->pongs, 0);
    assert_int_equal(rig_u64(r, FRAME_PONG, 0, value), OK);
    assert_int_equal(r->pongs, 1);
    assert_int_equal(mux_rtt_us(r->mux), 1234);
    assert_int_equal(rig_u64(r, FRAME_PONG, 0, value), OK); /* again: ignored */
    assert_int_equal(r->pongs, 1);
    rig_free(r);
}

static void test_goaway(void **state)
{
    struct mux_open open = {.app = 1};
    uint8_t payload[6] = {0};
    struct stream *s;
    (void)state;

    /* received: ours that it has seen live on, the later one is over, new ones are not opened */
    struct rig *r = rig_new(SIDE_SERVER);
    (void)rig_opened(r);
    (void)rig_opened(r);
    (void)rig_fill(r, 1);
    assert_int_equal(rig_u64(r, FRAME_OPEN_OK, 2, 1000), OK);
    put_be32(payload, 2);
    assert_int_equal(rig_frame(r, FRAME_GOAWAY, 0, 0, payload, 6), OK);
    assert_int_equal(r->goaways, 1);
    assert_int_equal(mux_streams(r->mux), 1);
    assert_int_equal(r->apps[4].how, STREAM_BROKEN);
    assert_int_equal(mux_open(r->mux, &open, &r->account, &s), ERR_LIMIT);
    assert_int_equal(rig_data(r, 2, 0, 10, true), OK);
    rig_free(r);

    /* sent: says what it has seen; what comes later is refused */
    r = rig_new(SIDE_CLIENT);
    (void)rig_accepted(r, 8, 1000);
    mux_send_goaway(r->mux, END_STOPPING);
    mux_send_goaway(r->mux, END_STOPPING);
    (void)rig_fill(r, 1);
    const uint8_t *p;
    assert_true(rig_has(r, FRAME_GOAWAY, 0, &p, NULL));
    assert_int_equal(get_be32(p), 8);
    assert_int_equal(get_be16(p + 4), END_STOPPING);
    assert_int_equal(rig_open(r, 10, 7, 1000), OK);
    assert_int_equal(r->asked, 1);
    (void)rig_fill(r, 1);
    assert_true(rig_has(r, FRAME_OPEN_FAIL, 10, NULL, NULL));
    assert_false(rig_has(r, FRAME_GOAWAY, 0, NULL, NULL));
    rig_free(r);
}

static void test_close_notify(void **state)
{
    uint8_t record[2 * FRAME_HEADER] = {FRAME_CLOSE_NOTIFY};
    (void)state;

    struct rig *r = rig_new(SIDE_CLIENT);
    assert_int_equal(mux_input(r->mux, record, FRAME_HEADER), ERR_EOF);
    assert_int_equal(mux_input(r->mux, record, FRAME_HEADER), ERR_FORMAT); /* nothing follows it */
    rig_free(r);
    r = rig_new(SIDE_CLIENT);
    assert_int_equal(mux_input(r->mux, record, 2 * FRAME_HEADER), ERR_FORMAT);
    rig_free(r);

    r = rig_new(SIDE_CLIENT); /* sent: behind everything that was queued, and then nothing any more */
    struct stream *s = rig_accepted(r, 2, 1000);
    r->apps[2].to_send = 100;
    mux_readable(s, false);
    mux_send_close(r->mux);
    assert_false(mux_close_is_sent(r->mux));
    (void)rig_fill(r, 1);
    assert_true(rig_has(r, FRAME_OPEN_OK, 2, NULL, NULL));
    assert_false(rig_has(r, FRAME_DATA, 2, NULL, NULL));
    assert_int_equal(r->out[r->out_len - FRAME_HEADER], FRAME_CLOSE_NOTIFY);
    assert_true(mux_close_is_sent(r->mux));
    mux_send_ping(r->mux);
    mux_reset(s, RESET_APPLICATION);
    assert_int_equal(rig_fill(r, 1), 0);
    rig_free(r);
}

/* The end of the connection: broken streams are reset, whole ones are given time. */
static void test_abandon(void **state)
{
    (void)state;
    struct rig *r = rig_new(SIDE_CLIENT);
    for (uint32_t id = 2; id <= 8; id += 2)
        (void)rig_accepted(r, id, 1 << 20);
    r->apps[2].room = 0; /* whole, but its reader is slow */
    assert_int_equal(rig_data(r, 2, 0, 100, true), OK);
    r->apps[2].ends = true;
    mux_readable(mux_find(r->mux, 2), true);
    assert_int_equal(rig_data(r, 4, 0, 100, true), OK); /* only half is here */
    assert_int_equal(rig_open(r, 10, 7, 1000), OK);     /* not even connected */
    (void)rig_fill(r, 1);
    mux_abandon(r->mux);
    assert_int_equal(mux_streams(r->mux), 1);
    assert_int_equal(r->apps[2].detached, 0);
    for (uint32_t id = 4; id <= 10; id += 2) {
        assert_int_equal(r->apps[id].detached, 1);
        assert_int_equal(r->apps[id].how, STREAM_BROKEN);
    }
    r->apps[2].room = 100;
    mux_writable(mux_find(r->mux, 2));
    assert_int_equal(r->apps[2].how, STREAM_FINISHED);
    assert_int_equal(mux_streams(r->mux), 0);
    rig_free(r);
}

static void test_app_frames(void **state)
{
    struct mux_app app = {.app = 0x0a0b0c0d, .service_port = 8080, .code = 9};
    const uint8_t *p;
    size_t len;
    (void)state;

    struct rig *c = rig_new(SIDE_CLIENT), *s = rig_new(SIDE_SERVER);
    strcpy(app.name, "web");
    memset(app.text, 'h', 255);
    assert_int_equal(mux_send_app(c->mux, FRAME_APP_ADD, &app), OK);
    (void)rig_fill(c, 1);
    assert_true(rig_has(c, FRAME_APP_ADD, 0, &p, &len));
    assert_int_equal(rig_frame(s, FRAME_APP_ADD, 0, 0, p, len), OK);
    assert_int_equal(s->last_app.app, app.app);
    assert_int_equal(s->last_app.service_port, 8080);
    assert_string_equal(s->last_app.name, "web");
    assert_int_equal(strlen(s->last_app.text), 255);

    assert_int_equal(mux_send_app(s->mux, FRAME_APP_ACK, &app), OK);
    (void)rig_fill(s, 1);
    assert_true(rig_has(s, FRAME_APP_ACK, 0, &p, &len));
    assert_int_equal(rig_frame(c, FRAME_APP_ACK, 0, 0, p, len), OK);
    assert_int_equal(c->last_app.code, 9);
    assert_int_equal(c->last_app_type, FRAME_APP_ACK);

    assert_int_equal(mux_send_app(c->mux, FRAME_APP_WITHDRAW, &app), OK);
    (void)rig_fill(c, 1);
    assert_true(rig_has(c, FRAME_APP_WITHDRAW, 0, &p, &len));
    assert_int_equal(len, 4);
    assert_int_equal(rig_frame(s, FRAME_APP_WITHDRAW, 0, 0, p, len), OK);
    assert_int_equal(s->last_app_type, FRAME_APP_WITHDRAW);
    rig_free(c);
    rig_free(s);

    static const struct {
        uint8_t payload[12];
        size_t len;
    } bad[] = {
        {{0, 0, 0, 1, 0, 0, 3, 'w', 'e', 'b'}, 10},         /* no second text */
        {{0, 0, 0, 1, 0, 0, 9, 'w', 'e', 'b', 0}, 11},      /* longer than the frame */
        {{0, 0, 0, 1, 0, 0, 3, 'w', 0, 'b', 0}, 11},        /* a NUL inside */
        {{0, 0, 0, 1, 0, 0, 3, 'w', 'e', 'b', 0, 'x'}, 12}, /* something behind it */
        {{0, 0, 0, 1, 0, 0, 0, 1}, 8},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        s = rig_new(SIDE_SERVER);
        assert_int_equal(rig_frame(s, FRAME_APP_ADD, 0, 0, bad[i].payload, bad[i].len), ERR_FORMAT);
        rig_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_come_first),
        cmocka_unit_test(test_settings_are_checked),
        cmocka_unit_test(test_frame_matrix),
        cmocka_unit_test(test_sizes_and_flags),
        cmocka_unit_test(test_records_are_cut_exactly),
        cmocka_unit_test(test_open_carries_everything),
        cmocka_unit_test(test_ids_rise_and_are_never_reused),
        cmocka_unit_test(test_unknown_app_is_refused),
        cmocka_unit_test(test_refusal_reaches_the_caller),
        cmocka_unit_test(test_stream_limit),
        cmocka_unit_test(test_unknown_apps_have_a_budget),
        cmocka_unit_test(test_opened_and_reset_at_once),
        cmocka_unit_test(test_unread_answers_end_it),
        cmocka_unit_test(test_ping_and_pong),
        cmocka_unit_test(test_goaway),
        cmocka_unit_test(test_close_notify),
        cmocka_unit_test(test_abandon),
        cmocka_unit_test(test_app_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
