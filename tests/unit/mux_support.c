/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See mux_support.h.
 */
#include "mux_support.h"

#include <errno.h>
#include <stdlib.h>

#include "common/wire.h"

static struct rig *rig_of(const struct stream *s)
{
    return s->mux->owner;
}

static struct rig_app *app_of(const struct stream *s)
{
    return &rig_of(s)->apps[s->id % RIG_STREAMS];
}

static ssize_t on_read(struct stream *s, const struct iovec *iov, int n)
{
    struct rig_app *a = app_of(s);
    ssize_t got = 0;

    if (a->broken) {
        errno = ECONNRESET;
        return -1;
    }
    if (a->to_send == 0 && !a->ends) {
        errno = EAGAIN;
        return -1;
    }
    for (int i = 0; i < n; i++) {
        size_t len = iov[i].iov_len < a->to_send ? iov[i].iov_len : (size_t)a->to_send;
        for (size_t k = 0; k < len; k++)
            ((uint8_t *)iov[i].iov_base)[k] = (uint8_t)(a->sent + k);
        a->sent += len;
        a->to_send -= len;
        got += (ssize_t)len;
    }
    return got;
}

static ssize_t on_write(struct stream *s, const struct iovec *iov, int n)
{
    struct rig_app *a = app_of(s);
    ssize_t took = 0;

    assert_false(a->shut);
    if (a->broken) {
        errno = ECONNRESET;
        return -1;
    }
    for (int i = 0; i < n; i++) {
        size_t len = iov[i].iov_len < a->room ? iov[i].iov_len : (size_t)a->room;
        for (size_t k = 0; k < len; k++) {
            uint8_t byte = ((const uint8_t *)iov[i].iov_base)[k];
            assert_int_equal(byte, (uint8_t)(a->taken + k)); /* order, and nothing lost */
            if (a->taken + k < sizeof a->head)
                a->head[a->taken + k] = byte;
        }
        a->taken += len;
        a->room -= len;
        took += (ssize_t)len;
    }
    return took;
}

static void on_shut(struct stream *s)
{
    assert_false(app_of(s)->shut);
    app_of(s)->shut = true;
}

static void on_stop(struct stream *s)
{
    app_of(s)->stopped = true;
}

static void on_detach(struct stream *s, enum stream_end how)
{
    app_of(s)->detached++;
    app_of(s)->how = how;
}

static struct stream_account *on_asked(void *owner, struct stream *s, const struct mux_open *open)
{
    struct rig *r = owner;

    (void)s;
    r->asked++;
    r->last_open = *open;
    return r->unknown_app ? NULL : &r->account;
}

static void on_answered(void *owner, struct stream *s, unsigned code)
{
    (void)owner;
    app_of(s)->answers++;
    app_of(s)->answer_code = code;
}

static void on_app(void *owner, enum frame_type type, const struct mux_app *app)
{
    struct rig *r = owner;

    r->app_frames++;
    r->last_app_type = type;
    r->last_app = *app;
}

static void on_pong(void *owner, uint64_t rtt_us)
{
    assert_true(rtt_us > 0);
    ((struct rig *)owner)->pongs++;
}

static void on_goaway(void *owner, unsigned code)
{
    (void)code;
    ((struct rig *)owner)->goaways++;
}

static void on_wake(void *owner)
{
    ((struct rig *)owner)->wakes++;
}

static const struct mux_ops ops = {
    .read = on_read,
    .write = on_write,
    .shut = on_shut,
    .stop = on_stop,
    .detach = on_detach,
    .asked = on_asked,
    .answered = on_answered,
    .app = on_app,
    .pong = on_pong,
    .goaway = on_goaway,
    .wake = on_wake,
};

struct rig *rig_bare(enum side side, const struct mux_config *config)
{
    struct mux_config defaults = {
        .side = side,
        .max_streams = 1000,
        .stream_window = STREAM_WINDOW_INITIAL,
        .stream_window_max = STREAM_WINDOW_MAX,
        .connection_window = CONNECTION_WINDOW_INITIAL,
        .connection_window_max = CONNECTION_WINDOW_MAX,
    };
    struct rig *r = calloc(1, sizeof *r);

    assert_non_null(r);
    for (size_t i = 0; i < RIG_STREAMS; i++)
        r->apps[i].room = UINT64_MAX;
    r->mux = mux_new(config == NULL ? &defaults : config, &ops, r);
    assert_non_null(r->mux);
    mux_set_now(r->mux, 1000000);
    return r;
}

struct rig *rig_new(enum side side)
{
    struct rig *r = rig_bare(side, NULL);

    assert_int_equal(rig_settings(r, 1000, MUX_EARLY_WINDOW, CONNECTION_WINDOW_INITIAL), OK);
    (void)rig_fill(r, 1);
    assert_true(rig_has(r, FRAME_SETTINGS, 0, NULL, NULL));
    return r;
}

void rig_free(struct rig *r)
{
    mux_free(r->mux);
    free(r);
}

enum status rig_frame(struct rig *r, unsigned type, unsigned flags, uint32_t stream, const void *payload,
                      size_t len)
{
    uint8_t *frame = malloc(FRAME_HEADER + len); /* exact: a sanitizer sees a byte too far */

    assert_non_null(frame);
    frame[0] = (uint8_t)type;
    frame[1] = (uint8_t)flags;
    put_be16(frame + 2, (uint16_t)len);
    put_be32(frame + 4, stream);
    if (len > 0)
        memcpy(frame + FRAME_HEADER, payload, len);
    enum status st = mux_input(r->mux, frame, FRAME_HEADER + len);
    mux_input_end(r->mux);
    free(frame);
    return st;
}

enum status rig_u64(struct rig *r, unsigned type, uint32_t stream, uint64_t value)
{
    uint8_t payload[8];

    put_be64(payload, value);
    return rig_frame(r, type, 0, stream, payload, sizeof payload);
}

enum status rig_u16(struct rig *r, unsigned type, uint32_t stream, unsigned value)
{
    uint8_t payload[2];

    put_be16(payload, (uint16_t)value);
    return rig_frame(r, type, 0, stream, payload, sizeof payload);
}

enum status rig_data(struct rig *r, uint32_t stream, uint64_t offset, size_t n, bool fin)
{
    uint8_t *payload = malloc(n + 1);

    assert_non_null(payload);
    for (size_t i = 0; i < n; i++)
        payload[i] = (uint8_t)(offset + i);
    enum status st = rig_frame(r, FRAME_DATA, fin ? FRAME_FLAG_FIN : 0, stream, payload, n);
    free(payload);
    return st;
}

enum status rig_settings(struct rig *r, uint64_t max_streams, uint64_t stream_window,
                         uint64_t connection_window)
{
    uint8_t payload[30];

    put_be16(payload, SETTING_MAX_STREAMS);
    put_be64(payload + 2, max_streams);
    put_be16(payload + 10, SETTING_STREAM_WINDOW);
    put_be64(payload + 12, stream_window);
    put_be16(payload + 20, SETTING_CONNECTION_WINDOW);
    put_be64(payload + 22, connection_window);
    return rig_frame(r, FRAME_SETTINGS, 0, 0, payload, sizeof payload);
}

enum status rig_open(struct rig *r, uint32_t stream, uint32_t app, uint64_t window)
{
    uint8_t payload[30] = {0};

    put_be32(payload, app);
    put_be64(payload + 4, window);
    payload[12 + 15] = 1; /* ::1 */
    put_be16(payload + 28, 4711);
    return rig_frame(r, FRAME_OPEN, 0, stream, payload, sizeof payload);
}

struct stream *rig_opened(struct rig *r)
{
    struct mux_open open = {.app = 7, .port = 4711};
    struct stream *s = NULL;

    assert_int_equal(mux_open(r->mux, &open, &r->account, &s), OK);
    s->attached = true;
    return s;
}

struct stream *rig_accepted(struct rig *r, uint32_t id, uint64_t window)
{
    assert_int_equal(rig_open(r, id, 7, window), OK);
    struct stream *s = mux_find(r->mux, id);
    assert_non_null(s);
    s->attached = true;
    mux_accept(s);
    return s;
}

size_t rig_fill(struct rig *r, size_t bodies)
{
    static uint8_t memory[RIG_BODIES][RIG_PLAIN];
    struct mux_body list[RIG_BODIES];

    assert_in_range(bodies, 1, RIG_BODIES);
    for (size_t i = 0; i < bodies; i++)
        list[i] = (struct mux_body){.data = memory[i], .cap = RIG_PLAIN};
    r->records = mux_fill(r->mux, list, bodies);
    r->out_len = 0;
    for (size_t i = 0; i < r->records; i++) {
        assert_in_range(list[i].len, 1, RIG_PLAIN);
        memcpy(r->out + r->out_len, list[i].data, list[i].len);
        r->out_len += list[i].len;
    }
    return r->records;
}

bool rig_has(const struct rig *r, unsigned type, uint32_t stream, const uint8_t **payload, size_t *len)
{
    for (size_t at = 0; at < r->out_len;) {
        const uint8_t *frame = r->out + at;
        size_t n = get_be16(frame + 2);
        if (frame[0] == type && get_be32(frame + 4) == stream) {
            if (payload != NULL)
                *payload = frame + FRAME_HEADER;
            if (len != NULL)
                *len = n;
            return true;
        }
        at += FRAME_HEADER + n;
        assert_true(at <= r->out_len);
    }
    return false;
}

uint64_t rig_data_out(const struct rig *r, uint32_t stream, uint64_t offset, bool *fin)
{
    uint64_t total = 0;

    *fin = false;
    for (size_t at = 0; at < r->out_len;) {
        const uint8_t *frame = r->out + at;
        size_t n = get_be16(frame + 2);
        if (frame[0] == FRAME_DATA && get_be32(frame + 4) == stream) {
            assert_false(*fin); /* nothing may follow it */
            for (size_t i = 0; i < n; i++)
                assert_int_equal(frame[FRAME_HEADER + i], (uint8_t)(offset + total + i));
            total += n;
            *fin = (frame[1] & FRAME_FLAG_FIN) != 0;
        }
        at += FRAME_HEADER + n;
    }
    return total;
}
