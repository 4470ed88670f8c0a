/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Window games: what may be sent, what is given back and when, that memory stays bounded whatever a peer or a
 * slow reader does, and that streams share a connection fairly.
 */
#include "mux_support.h"

#include <stdlib.h>

#include "common/wire.h"

static uint64_t limit_in(const struct rig *r, uint32_t stream)
{
    const uint8_t *p;

    return rig_has(r, FRAME_MAX_DATA, stream, &p, NULL) ? get_be64(p) : 0;
}

/* ---- sending ---- */

static void test_sender_keeps_the_limits(void **state)
{
    bool fin;
    (void)state;

    struct rig *r = rig_bare(SIDE_SERVER, NULL);
    assert_int_equal(rig_settings(r, 100, 1000, 2500), OK);
    (void)rig_fill(r, 1);
    struct stream *a = rig_opened(r), *b = rig_opened(r);
    r->apps[2].to_send = r->apps[4].to_send = 100000;
    mux_readable(a, false);
    mux_readable(b, false);
    (void)rig_fill(r, 8);
    assert_int_equal(rig_data_out(r, 2, 0, &fin), 1000); /* before OPEN_OK: what SETTINGS allow */
    assert_int_equal(rig_data_out(r, 4, 0, &fin), 1000);
    assert_int_equal(rig_u64(r, FRAME_OPEN_OK, 2, 1200), OK);
    assert_int_equal(rig_u64(r, FRAME_OPEN_OK, 4, 5000), OK);
    (void)rig_fill(r, 8); /* now the connection is the bound: 2500 in all */
    uint64_t more = rig_data_out(r, 2, 1000, &fin) + rig_data_out(r, 4, 1000, &fin);
    assert_int_equal(more, 500);
    assert_int_equal(rig_fill(r, 8), 0);
    assert_int_equal(rig_u64(r, FRAME_MAX_DATA, 0, 2400), OK); /* never back */
    assert_int_equal(rig_fill(r, 8), 0);
    assert_int_equal(rig_u64(r, FRAME_MAX_DATA, 0, 100000), OK);
    (void)rig_fill(r, 8);
    assert_int_equal(a->sent, 1200);
    assert_int_equal(b->sent, 5000);
    assert_int_equal(rig_u64(r, FRAME_MAX_DATA, 2, 1201), OK);
    (void)rig_fill(r, 8);
    assert_int_equal(rig_data_out(r, 2, 1200, &fin), 1);
    rig_free(r);
}

static void test_absurd_limits_are_fatal(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct rig *r = rig_new(SIDE_SERVER);
        (void)rig_opened(r);
        (void)rig_fill(r, 1);
        if (i == 0)
            assert_int_equal(rig_u64(r, FRAME_MAX_DATA, 0, UINT64_MAX), ERR_FORMAT);
        if (i == 1)
            assert_int_equal(rig_u64(r, FRAME_OPEN_OK, 2, UINT64_MAX), ERR_FORMAT);
        if (i == 2) {
            assert_int_equal(rig_u64(r, FRAME_OPEN_OK, 2, 1), OK);
            assert_int_equal(rig_u64(r, FRAME_MAX_DATA, 2, (1ull << 62) + 1), ERR_FORMAT);
        }
        rig_free(r);
    }
}

/* ---- receiving ---- */

static void test_receiver_enforces_the_limits(void **state)
{
    static uint8_t frame[FRAME_HEADER + 65535];
    (void)state;

    /* one byte over the early window of a stream that is not accepted yet */
    struct rig *r = rig_new(SIDE_CLIENT);
    assert_int_equal(rig_open(r, 2, 7, 1000), OK);
    assert_int_equal(rig_data(r, 2, 0, 65535, false), OK);
    assert_int_equal(rig_data(r, 2, 65535, 1, false), OK);
    assert_int_equal(rig_data(r, 2, 65536, 1, false), ERR_FORMAT);
    rig_free(r);

    /* one byte over the window of a stream whose reader does not read */
    r = rig_new(SIDE_CLIENT);
    struct stream *s = rig_accepted(r, 2, 1000);
    r->apps[2].room = 0;
    for (uint64_t at = 0; at < STREAM_WINDOW_INITIAL; at += 32768)
        assert_int_equal(rig_data(r, 2, at, 32768, false), OK);
    assert_int_equal(s->received, STREAM_WINDOW_INITIAL);
    assert_int_equal(rig_data(r, 2, STREAM_WINDOW_INITIAL, 1, false), ERR_FORMAT);
    rig_free(r);

    /* over the connection's window, even for streams that are gone */
    r = rig_new(SIDE_CLIENT);
    s = rig_accepted(r, 2, 1000);
    mux_reset(s, RESET_APPLICATION);
    enum status st = OK;
    frame[0] = FRAME_DATA;
    put_be16(frame + 2, 65535);
    put_be32(frame + 4, 2);
    uint64_t sent = 0;
    while (st == OK && sent < 4u << 20) { /* without ending the batch nothing is given back */
        st = mux_input(r->mux, frame, sizeof frame);
        sent += st == OK ? 65535 : 0;
    }
    assert_int_equal(st, ERR_FORMAT);
    assert_in_range(sent, CONNECTION_WINDOW_INITIAL - 65535, CONNECTION_WINDOW_INITIAL);
    rig_free(r);
}

static void test_credit_comes_at_every_quarter(void **state)
{
    (void)state;
    struct rig *r = rig_new(SIDE_CLIENT);
    struct stream *s = rig_accepted(r, 2, 1000);
    (void)rig_fill(r, 1);
    mux_set_now(r->mux, 60 * 1000000ull); /* slowly: no growth */
    assert_int_equal(rig_data(r, 2, 0, 65535, false), OK);
    (void)rig_fill(r, 1);
    assert_int_equal(limit_in(r, 2), 0); /* one byte less than a quarter */
    assert_int_equal(rig_data(r, 2, 65535, 1, false), OK);
    (void)rig_fill(r, 1);
    assert_int_equal(limit_in(r, 2), 65536 + STREAM_WINDOW_INITIAL);
    assert_int_equal(s->window, STREAM_WINDOW_INITIAL);

    /* What a slow reader leaves is no credit for the stream, but it is for the connection. */
    r->apps[2].room = 0;
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(rig_data(r, 2, 65536 + i * 65535u, 65535, false), OK);
    (void)rig_fill(r, 1);
    assert_int_equal(limit_in(r, 2), 0);
    assert_true(limit_in(r, 0) > CONNECTION_WINDOW_INITIAL);
    rig_free(r);
}

/* Many small amounts between two fills make one frame, with the newest limit. */
static void test_credit_is_coalesced(void **state)
{
    (void)state;
    struct rig *r = rig_new(SIDE_CLIENT);
    (void)rig_accepted(r, 2, 1000);
    (void)rig_fill(r, 1);
    mux_set_now(r->mux, 60 * 1000000ull);
    for (uint64_t at = 0; at < 200000; at += 1000)
        assert_int_equal(rig_data(r, 2, at, 1000, false), OK);
    (void)rig_fill(r, 1);
    assert_true(limit_in(r, 2) > 190000);
    assert_in_range(r->out_len, 16, 2 * 16);
    rig_free(r);
}

/* Credit comes back for data that is thrown away, too: a connection never runs dry on dead streams. */
static void test_discarded_data_gives_credit(void **state)
{
    (void)state;
    struct rig *r = rig_new(SIDE_CLIENT);
    struct stream *s = rig_accepted(r, 2, 1000);
    mux_reset(s, RESET_APPLICATION);
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(rig_data(r, 2, 0, 60000, false), OK);
        (void)rig_fill(r, 1);
    }
    rig_free(r);
}

static void test_window_grows_with_use(void **state)
{
    uint64_t now = 2000000, at = 0;
    (void)state;

    struct rig *r = rig_new(SIDE_CLIENT);
    struct stream *s = rig_accepted(r, 2, 1000);
    (void)rig_fill(r, 1);
    r->mux->min_rtt_us = 10000;
    for (unsigned i = 0; i < 400; i++) { /* 64 KiB a millisecond: far more than a window per round trip */
        mux_set_now(r->mux, now += 1000);
        assert_int_equal(rig_data(r, 2, at, 65535, false), OK);
        at += 65535;
        (void)rig_fill(r, 1);
    }
    assert_true(s->window >= 1u << 20);
    assert_true(s->window <= STREAM_WINDOW_MAX);
    assert_true(r->mux->window > CONNECTION_WINDOW_INITIAL);
    assert_true(r->mux->window <= CONNECTION_WINDOW_MAX);

    struct stream *slow = rig_accepted(r, 4, 1000); /* the same amount, at leisure */
    (void)rig_fill(r, 1);
    for (unsigned i = 0; i < 400; i++) {
        mux_set_now(r->mux, now += 20000);
        assert_int_equal(rig_data(r, 4, (uint64_t)i * 65535, 65535, false), OK);
        (void)rig_fill(r, 1);
    }
    assert_int_equal(slow->window, STREAM_WINDOW_INITIAL);
    rig_free(r);
}

/*
 * Stalled readers: whatever they are sent, what waits in memory stays under the pool, and other streams still
 * get through as long as there is any room.
 */
static void test_memory_is_bounded(void **state)
{
    struct mux_config config = {.side = SIDE_CLIENT,
                                .max_streams = 1000,
                                .stream_window = 256 << 10,
                                .stream_window_max = 8 << 20,
                                .connection_window = 1 << 20,
                                .connection_window_max = 2 << 20};
    uint64_t sent[41] = {0};
    (void)state;

    struct rig *r = rig_bare(SIDE_CLIENT, &config);
    assert_int_equal(rig_settings(r, 1000, 65536, 1 << 20), OK);
    (void)rig_fill(r, 1);
    for (uint32_t i = 1; i <= 40; i++) {
        (void)rig_accepted(r, 2 * i, 1000);
        r->apps[2 * i].room = 0;
    }
    /* A peer that uses every bit of credit that it is given, stream after stream. */
    for (unsigned round = 0; round < 20; round++) {
        for (uint32_t i = 1; i <= 40; i++) {
            struct stream *s = mux_find(r->mux, 2 * i);
            uint64_t room = s->recv_limit - s->received, all = r->mux->recv_limit - r->mux->received;
            size_t n = (size_t)(room < all ? room : all);
            if (n > 60000)
                n = 60000;
            assert_int_equal(rig_data(r, 2 * i, sent[i], n, false), OK);
            sent[i] += n;
            (void)rig_fill(r, RIG_BODIES);
            assert_true(mux_buffered(r->mux) <= 2u << 20);
        }
    }
    assert_true(mux_buffered(r->mux) > (2u << 20) - 65536); /* it was really used */
    assert_true(window_offer(r->mux, 256 << 10) == MUX_WINDOW_FLOOR);
    struct stream *fresh = rig_accepted(r, 100, 1000); /* a new stream is offered little now */
    assert_true(fresh->window <= MUX_WINDOW_FLOOR);

    for (uint32_t i = 1; i <= 40; i++) { /* the readers wake up: everything arrives, credit comes back */
        r->apps[2 * i].room = UINT64_MAX;
        mux_writable(mux_find(r->mux, 2 * i));
        assert_int_equal(r->apps[2 * i].taken, sent[i]);
    }
    assert_int_equal(mux_buffered(r->mux), 0);
    (void)rig_fill(r, RIG_BODIES);
    assert_true(r->mux->recv_limit - r->mux->received >= (1u << 20) * 3 / 4);
    rig_free(r);
}

/*
 * Regression: a stream whose window had grown large was offered less than a quarter of it while memory was
 * short, and waited for a quarter for ever, also when memory was free again.
 */
static void test_cut_window_keeps_flowing(void **state)
{
    struct mux_config config = {.side = SIDE_CLIENT,
                                .max_streams = 10,
                                .stream_window = 256 << 10,
                                .stream_window_max = 8 << 20,
                                .connection_window = 1 << 20,
                                .connection_window_max = 1 << 20};
    uint64_t at = 0;
    (void)state;

    struct rig *r = rig_bare(SIDE_CLIENT, &config);
    assert_int_equal(rig_settings(r, 10, 65536, 1 << 20), OK);
    (void)rig_fill(r, 1);
    struct stream *s = rig_accepted(r, 2, 1000);
    (void)rig_fill(r, 1);
    s->window = 8 << 20;
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t room = s->recv_limit - s->received, all = r->mux->recv_limit - r->mux->received;
        size_t n = (size_t)(room < all ? room : all);
        assert_int_not_equal(n, 0);
        if (n > 60000)
            n = 60000;
        assert_int_equal(rig_data(r, 2, at, n, false), OK);
        at += n;
        (void)rig_fill(r, RIG_BODIES);
    }
    rig_free(r);
}

/* One reader that never reads does not stop another: their bytes pass the same connection. */
static void test_stalled_stream_starves_nobody(void **state)
{
    uint64_t at = 0;
    (void)state;

    struct rig *r = rig_new(SIDE_CLIENT);
    (void)rig_accepted(r, 2, 1000);
    (void)rig_accepted(r, 4, 1000);
    (void)rig_fill(r, 1);
    r->apps[2].room = 0;
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(rig_data(r, 2, i * 65536u, 65535, false), OK);
    for (unsigned i = 0; i < 1000; i++) { /* 60 MiB, far more than the connection's window */
        (void)rig_fill(r, 1);
        assert_int_equal(rig_data(r, 4, at, 60000, false), OK);
        at += 60000;
    }
    assert_int_equal(r->apps[4].taken, at);
    rig_free(r);
}

/* ---- scheduling ---- */

static void test_round_robin(void **state)
{
    uint64_t total[11] = {0}, least = UINT64_MAX, most = 0;
    bool fin;
    (void)state;

    struct rig *r = rig_bare(SIDE_SERVER, NULL);
    assert_int_equal(rig_settings(r, 100, 1ull << 40, 1ull << 40), OK);
    for (uint32_t i = 1; i <= 10; i++) {
        struct stream *s = rig_opened(r);
        r->apps[s->id].to_send = 1ull << 30;
        mux_readable(s, false);
    }
    for (unsigned round = 0; round < 500; round++) {
        assert_int_equal(rig_fill(r, RIG_BODIES), RIG_BODIES);
        for (uint32_t i = 1; i <= 10; i++)
            total[i] += rig_data_out(r, 2 * i, total[i], &fin);
    }
    for (uint32_t i = 1; i <= 10; i++) {
        least = total[i] < least ? total[i] : least;
        most = total[i] > most ? total[i] : most;
    }
    assert_true(most - least <= 2 * MUX_QUANTUM);
    rig_free(r);
}

/* One that has just become active does not wait behind those that send without end; control waits for nobody.
 */
static void test_newcomers_and_control_first(void **state)
{
    bool fin;
    (void)state;

    struct rig *r = rig_bare(SIDE_SERVER, NULL);
    assert_int_equal(rig_settings(r, 100, 1ull << 40, 1ull << 40), OK);
    for (uint32_t i = 1; i <= 5; i++) {
        struct stream *s = rig_opened(r);
        r->apps[s->id].to_send = 1ull << 30;
        mux_readable(s, false);
    }
    for (unsigned i = 0; i < 50; i++)
        (void)rig_fill(r, RIG_BODIES);
    struct stream *late = rig_opened(r);
    r->apps[late->id].to_send = 100;
    mux_readable(late, false);
    assert_int_equal(rig_u64(r, FRAME_PING, 0, 5), OK);
    (void)rig_fill(r, 1); /* the very next record */
    assert_int_equal(rig_data_out(r, late->id, 0, &fin), 100);
    assert_true(rig_has(r, FRAME_PONG, 0, NULL, NULL));
    const uint8_t *first = r->out;
    assert_int_not_equal(first[0], FRAME_DATA);
    rig_free(r);
}

/* A lone stream gets the whole batch with one read. */
static void test_alone_gets_everything(void **state)
{
    bool fin;
    (void)state;

    struct rig *r = rig_bare(SIDE_SERVER, NULL);
    assert_int_equal(rig_settings(r, 100, 1ull << 40, 1ull << 40), OK);
    struct stream *s = rig_opened(r);
    (void)rig_fill(r, 1);
    r->apps[2].to_send = 1 << 20;
    mux_readable(s, false);
    assert_int_equal(rig_fill(r, RIG_BODIES), RIG_BODIES);
    assert_int_equal(rig_data_out(r, 2, 0, &fin), RIG_BODIES * (RIG_PLAIN - FRAME_HEADER));
    rig_free(r);
}

/* Small pieces of many streams share a record. */
static void test_small_frames_share_a_record(void **state)
{
    (void)state;
    struct rig *r = rig_bare(SIDE_SERVER, NULL);
    assert_int_equal(rig_settings(r, 100, 1ull << 40, 1ull << 40), OK);
    (void)rig_fill(r, 1);
    for (uint32_t i = 1; i <= 50; i++) {
        struct stream *s = rig_opened(r);
        r->apps[s->id].to_send = 20;
        mux_readable(s, false);
    }
    assert_int_equal(rig_fill(r, RIG_BODIES), 1);
    rig_free(r);
}

/* ---- spills ---- */

static void test_spill_keeps_order(void **state)
{
    struct stream_spill *spill = NULL;
    uint64_t put = 0, got = 0;
    unsigned seed = 7;
    (void)state;

    for (unsigned i = 0; i < 3000; i++) {
        uint8_t data[5000];
        struct iovec iov[8];
        seed = seed * 1103515245 + 12345;
        size_t n = seed >> 8 & 0xfff;
        for (size_t k = 0; k < n; k++)
            data[k] = (uint8_t)((put + k) * 7);
        assert_int_equal(stream_spill_append(&spill, data, n), OK);
        put += n;
        assert_int_equal(stream_spill_bytes(spill), put - got);
        int pieces = stream_spill_peek(spill, iov, 8);
        size_t want = seed >> 20 & 0xfff, seen = 0;
        for (int p = 0; p < pieces; p++) {
            for (size_t k = 0; k < iov[p].iov_len && seen < want; k++, seen++)
                assert_int_equal(((uint8_t *)iov[p].iov_base)[k], (uint8_t)((got + seen) * 7));
        }
        stream_spill_consume(&spill, seen);
        got += seen;
    }
    stream_spill_consume(&spill, stream_spill_bytes(spill));
    assert_null(spill); /* empty: nothing is held */
    stream_spill_free(&spill);
}

static void test_table_finds_everything(void **state)
{
    struct stream_table table = {0};
    struct stream_pool pool = {0};
    static struct stream *all[20001];
    (void)state;

    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 1; i <= 20000; i++) {
            all[i] = stream_pool_take(&pool);
            assert_non_null(all[i]);
            all[i]->id = 2 * (i + round * 15000);
            if (stream_table_find(&table, all[i]->id) == NULL)
                assert_int_equal(stream_table_add(&table, all[i]), OK);
        }
        for (uint32_t i = 1; i <= 20000; i += 1 + i % 3)
            assert_ptr_equal(stream_table_find(&table, all[i]->id), all[i]);
        for (uint32_t i = 20000; i >= 1; i--) {
            if (i % 5 != 0)
                stream_table_remove(&table, all[i]);
        }
        for (uint32_t i = 1; i <= 20000; i++)
            assert_ptr_equal(stream_table_find(&table, all[i]->id), i % 5 == 0 ? all[i] : NULL);
        for (uint32_t i = 1; i <= 20000; i++) {
            stream_table_remove(&table, all[i]);
            stream_pool_give(&pool, all[i]);
        }
        assert_int_equal(table.count, 0);
    }
    stream_table_clear(&table);
    stream_pool_clear(&pool);
}

/* The promise of the design: an idle stream is one small struct. */
static void test_idle_stream_is_small(void **state)
{
    (void)state;
    assert_true(sizeof(struct stream) <= 264);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sender_keeps_the_limits),
        cmocka_unit_test(test_absurd_limits_are_fatal),
        cmocka_unit_test(test_receiver_enforces_the_limits),
        cmocka_unit_test(test_credit_comes_at_every_quarter),
        cmocka_unit_test(test_credit_is_coalesced),
        cmocka_unit_test(test_discarded_data_gives_credit),
        cmocka_unit_test(test_window_grows_with_use),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_cut_window_keeps_flowing),
        cmocka_unit_test(test_stalled_stream_starves_nobody),
        cmocka_unit_test(test_round_robin),
        cmocka_unit_test(test_newcomers_and_control_first),
        cmocka_unit_test(test_alone_gets_everything),
        cmocka_unit_test(test_small_frames_share_a_record),
        cmocka_unit_test(test_spill_keeps_order),
        cmocka_unit_test(test_table_finds_everything),
        cmocka_unit_test(test_idle_stream_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
