/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a stream in the mux: data both ways, ends and resets in every order, slow and early, and what
 * the application gets to see of it. Which frame is allowed when is in test_mux.c, windows are in
 * test_mux_flow.c.
 */
#include "mux_support.h"

#include "common/wire.h"

static void test_data_both_ways(void **state)
{
    bool fin;
    (void)state;

    struct rig *r = rig_new(SIDE_SERVER);
    struct stream *s = rig_opened(r);
    r->apps[2].to_send = 5000;
    mux_readable(s, false);
    (void)rig_fill(r, 4);
    assert_true(rig_has(r, FRAME_OPEN, 2, NULL, NULL)); /* first data go with OPEN */
    assert_int_equal(rig_data_out(r, 2, 0, &fin), 5000);
    assert_false(fin);
    assert_int_equal(rig_u64(r, FRAME_OPEN_OK, 2, 1 << 20), OK);
    assert_int_equal(rig_data(r, 2, 0, 3000, false), OK);
    assert_int_equal(rig_data(r, 2, 3000, 1, false), OK);
    assert_int_equal(rig_data(r, 2, 3001, 0, false), OK); /* nothing is allowed, too */
    assert_int_equal(r->apps[2].taken, 3001);
    assert_int_equal(r->account.bytes_in, 3001);
    assert_int_equal(r->account.bytes_out, 5000);
    rig_free(r);
}

/* Both ends in every order: ours first, theirs first, with and without data in the last frame. */
static void test_half_close(void **state)
{
    bool fin;
    (void)state;

    for (unsigned ours_first = 0; ours_first < 2; ours_first++) {
        struct rig *r = rig_new(SIDE_CLIENT);
        struct stream *s = rig_accepted(r, 2, 1 << 20);
        for (unsigned step = 0; step < 2; step++) {
            if ((step == 0) == (ours_first == 1)) {
                r->apps[2].to_send = 10;
                r->apps[2].ends = true;
                mux_readable(s, true);
                (void)rig_fill(r, 1);
                assert_int_equal(rig_data_out(r, 2, 0, &fin), 10);
                assert_true(fin); /* on the frame with the last bytes */
            } else {
                assert_int_equal(rig_data(r, 2, 0, 7, false), OK);
                assert_false(r->apps[2].shut);
                assert_int_equal(rig_data(r, 2, 7, 5, true), OK);
                assert_true(r->apps[2].shut);
                assert_int_equal(r->apps[2].taken, 12);
            }
            assert_int_equal(mux_has_half_closed(r->mux), step == 0);
            assert_int_equal(r->apps[2].detached, step);
        }
        assert_int_equal(r->apps[2].how, STREAM_FINISHED);
        assert_int_equal(mux_streams(r->mux), 0);
        assert_int_equal(mux_statistics(r->mux)->streams_reset, 0);
        rig_free(r);
    }
}

static void test_end_without_data(void **state)
{
    bool fin;
    (void)state;

    struct rig *r = rig_new(SIDE_CLIENT);
    struct stream *s = rig_accepted(r, 2, 0); /* no credit at all: an end needs none */
    (void)rig_fill(r, 1);
    r->apps[2].ends = true;
    mux_readable(s, true);
    assert_int_equal(rig_fill(r, 1), 0); /* without credit nobody reads, so nobody knows of the end */
    assert_int_equal(rig_u64(r, FRAME_MAX_DATA, 2, 1), OK);
    (void)rig_fill(r, 1);
    assert_int_equal(rig_data_out(r, 2, 0, &fin), 0);
    assert_true(fin);
    assert_int_equal(rig_data(r, 2, 0, 0, true), OK);
    assert_int_equal(r->apps[2].detached, 1);
    rig_free(r);
}

static void test_nothing_after_the_end(void **state)
{
    (void)state;
    struct rig *r = rig_new(SIDE_CLIENT);
    (void)rig_accepted(r, 2, 1000);
    assert_int_equal(rig_data(r, 2, 0, 5, true), OK);
    assert_int_equal(rig_data(r, 2, 5, 0, false), ERR_FORMAT);
    rig_free(r);
}

/* The end waits behind data that the application has not taken yet. */
static void test_end_waits_for_slow_reader(void **state)
{
    (void)state;
    struct rig *r = rig_new(SIDE_CLIENT);
    struct stream *s = rig_accepted(r, 2, 1000);
    r->apps[2].room = 100;
    assert_int_equal(rig_data(r, 2, 0, 1000, true), OK);
    assert_int_equal(r->apps[2].taken, 100);
    assert_int_equal(mux_buffered(r->mux), 900);
    assert_false(r->apps[2].shut);
    r->apps[2].room = 899;
    mux_writable(s);
    assert_false(r->apps[2].shut);
    assert_int_equal(mux_buffered(r->mux), 1);
    r->apps[2].room = 1;
    mux_writable(s);
    assert_true(r->apps[2].shut);
    assert_int_equal(mux_buffered(r->mux), 0);
    rig_free(r);
}

static void test_resets(void **state)
{
    const uint8_t *p;
    (void)state;

    /* the peer's: whatever waits for the application is thrown away, and it sees a reset */
    struct rig *r = rig_new(SIDE_CLIENT);
    (void)rig_accepted(r, 2, 1000);
    r->apps[2].room = 0;
    assert_int_equal(rig_data(r, 2, 0, 500, false), OK);
    assert_int_equal(rig_u16(r, FRAME_RESET, 2, RESET_APPLICATION), OK);
    assert_int_equal(r->apps[2].how, STREAM_BROKEN);
    assert_int_equal(mux_buffered(r->mux), 0);
    assert_int_equal(mux_streams(r->mux), 0);
    (void)rig_fill(r, 1);
    assert_false(rig_has(r, FRAME_RESET, 2, NULL, NULL)); /* no echo */

    /* the application's, seen when reading */
    struct stream *s = rig_accepted(r, 4, 1000);
    r->apps[4].broken = true;
    mux_readable(s, true);
    (void)rig_fill(r, 1); /* found while filling, and told in the same records */
    assert_int_equal(r->apps[4].how, STREAM_BROKEN);
    assert_true(rig_has(r, FRAME_RESET, 4, &p, NULL));
    assert_int_equal(get_be16(p), RESET_APPLICATION);

    /* the application's, seen when writing */
    (void)rig_accepted(r, 6, 1000);
    r->apps[6].broken = true;
    assert_int_equal(rig_data(r, 6, 0, 5, false), OK);
    assert_int_equal(r->apps[6].detached, 1);
    (void)rig_fill(r, 1);
    assert_true(rig_has(r, FRAME_RESET, 6, NULL, NULL));
    assert_int_equal(rig_data(r, 6, 5, 5, true), OK); /* crossing data is ignored */
    assert_int_equal(mux_statistics(r->mux)->streams_reset, 3);
    rig_free(r);
}

/* Data, then RESET, in one batch of records: the data counts first. */
static void test_order_within_a_batch(void **state)
{
    uint8_t record[FRAME_HEADER + 4 + FRAME_HEADER + 2] = {FRAME_DATA,  0, 0, 4, 0, 0, 0, 2, 0, 1, 2, 3,
                                                           FRAME_RESET, 0, 0, 2, 0, 0, 0, 2, 0, 1};
    (void)state;

    struct rig *r = rig_new(SIDE_CLIENT);
    (void)rig_accepted(r, 2, 1000);
    assert_int_equal(mux_input(r->mux, record, sizeof record), OK);
    assert_int_equal(r->apps[2].taken, 4);
    assert_int_equal(r->apps[2].how, STREAM_BROKEN);
    mux_input_end(r->mux);
    rig_free(r);
}

static void test_stop_sending(void **state)
{
    bool fin;
    (void)state;

    struct rig *r = rig_new(SIDE_CLIENT);
    struct stream *s = rig_accepted(r, 2, 1000);
    (void)rig_fill(r, 1);
    r->apps[2].to_send = 5000;
    assert_int_equal(rig_u16(r, FRAME_STOP_SENDING, 2, 0), OK);
    assert_true(r->apps[2].stopped);
    mux_readable(s, false);
    (void)rig_fill(r, 4);
    assert_int_equal(rig_data_out(r, 2, 0, &fin), 0);
    assert_true(fin); /* our direction ends, the other lives on */
    assert_int_equal(rig_data(r, 2, 0, 9, true), OK);
    assert_int_equal(r->apps[2].taken, 9);
    assert_int_equal(r->apps[2].detached, 1);

    assert_int_equal(rig_open(r, 4, 7, 1000), OK); /* before it is even connected */
    assert_int_equal(rig_u16(r, FRAME_STOP_SENDING, 4, 0), OK);
    (void)rig_fill(r, 1);
    assert_int_equal(r->out_len, 0);
    s = mux_find(r->mux, 4);
    s->attached = true;
    mux_accept(s);
    (void)rig_fill(r, 1);
    assert_true(rig_has(r, FRAME_OPEN_OK, 4, NULL, NULL));
    (void)rig_data_out(r, 4, 0, &fin);
    assert_true(fin);
    rig_free(r);
}

/* Data and the end may come before the application is connected. */
static void test_early_data(void **state)
{
    (void)state;
    struct rig *r = rig_new(SIDE_CLIENT);
    assert_int_equal(rig_open(r, 2, 7, 1000), OK);
    assert_int_equal(rig_data(r, 2, 0, 1000, false), OK);
    assert_int_equal(rig_data(r, 2, 1000, 24, true), OK);
    assert_int_equal(mux_buffered(r->mux), 1024);
    struct stream *s = mux_find(r->mux, 2);
    s->attached = true;
    mux_accept(s);
    assert_int_equal(r->apps[2].taken, 1024);
    assert_true(r->apps[2].shut);
    assert_int_equal(mux_buffered(r->mux), 0);
    rig_free(r);

    r = rig_new(SIDE_CLIENT); /* the caller goes away meanwhile */
    assert_int_equal(rig_open(r, 2, 7, 1000), OK);
    assert_int_equal(rig_data(r, 2, 0, 1000, false), OK);
    assert_int_equal(rig_u16(r, FRAME_RESET, 2, RESET_APPLICATION), OK);
    assert_int_equal(mux_streams(r->mux), 0);
    assert_int_equal(mux_buffered(r->mux), 0);
    rig_free(r);
}

static void test_reap_half_closed(void **state)
{
    (void)state;
    struct rig *r = rig_new(SIDE_CLIENT);
    (void)rig_accepted(r, 2, 1000); /* open: never reaped */
    (void)rig_accepted(r, 4, 1000);
    (void)rig_accepted(r, 6, 1000);
    assert_int_equal(rig_data(r, 4, 0, 1, true), OK);
    mux_set_now(r->mux, 500 * 1000000ull);
    assert_int_equal(rig_data(r, 6, 0, 1, true), OK);
    mux_reap(r->mux, 400);
    assert_int_equal(mux_streams(r->mux), 2);
    assert_int_equal(r->apps[4].how, STREAM_BROKEN);
    mux_reap(r->mux, 501);
    assert_int_equal(mux_streams(r->mux), 1);
    assert_false(mux_has_half_closed(r->mux));
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_both_ways),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_end_without_data),
        cmocka_unit_test(test_nothing_after_the_end),
        cmocka_unit_test(test_end_waits_for_slow_reader),
        cmocka_unit_test(test_resets),
        cmocka_unit_test(test_order_within_a_batch),
        cmocka_unit_test(test_stop_sending),
        cmocka_unit_test(test_early_data),
        cmocka_unit_test(test_reap_half_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
