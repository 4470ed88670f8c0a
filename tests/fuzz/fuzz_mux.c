/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes what an authenticated but hostile peer can send: records with any frames in them, sealed with the
 * right key, opened by the record layer and taken by the mux, whose applications behave as the input says.
 * After each record the mux's own account is checked: memory within the pool, limits never overrun, streams
 * counted right.
 *
 * Input: u8 settings, then steps: u8 what (0 .. 0xbf: a record of so many bytes follows; above: something
 * local happens).
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire.h"
#include "worker-net/mux_private.h"
#include "worker-net/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define POOL (256u << 10)

struct world {
    struct mux *mux;
    struct record_key seals, opens;
    struct stream_account account;
    uint32_t last_asked;
    unsigned attached;
    uint8_t mood; /* of the applications: how much they take, what they do when read */
    enum side side;
};

static struct world *world_of(const struct stream *s)
{
    return s->mux->owner;
}

static ssize_t on_read(struct stream *s, const struct iovec *iov, int n)
{
    uint8_t mood = world_of(s)->mood;

    if ((mood & 3) == 0) {
        errno = EAGAIN;
        return -1;
    }
    if ((mood & 3) == 1)
        return 0;
    if ((mood & 3) == 2 && (mood & 64) != 0) {
        errno = ECONNRESET;
        return -1;
    }
    memset(iov[0].iov_base, 'd', iov[0].iov_len);
    return n > 0 ? (ssize_t)(iov[0].iov_len > 100 ? 100 : iov[0].iov_len) : 0;
}

static ssize_t on_write(struct stream *s, const struct iovec *iov, int n)
{
    uint8_t mood = world_of(s)->mood;
    size_t all = 0;

    for (int i = 0; i < n; i++) {
        for (size_t k = 0; k < iov[i].iov_len; k++)
            all += 1u + (((const volatile uint8_t *)iov[i].iov_base)[k] & 0u); /* read each byte */
    }
    switch (mood >> 2 & 3) {
    case 0: return 0;
    case 1: return (ssize_t)(all / 2);
    case 2: return (ssize_t)all;
    default: errno = EPIPE; return -1;
    }
}

static void on_shut(struct stream *s)
{
    if (!s->attached || s->spill != NULL)
        abort();
}

static void on_stop(struct stream *s)
{
    if (!s->attached)
        abort();
}

static void on_detach(struct stream *s, enum stream_end how)
{
    (void)how;
    if (s->attached)
        world_of(s)->attached--;
}

static struct stream_account *on_asked(void *owner, struct stream *s, const struct mux_open *open)
{
    struct world *w = owner;

    w->last_asked = s->id;
    return open->app % 4 == 3 ? NULL : &w->account;
}

static void on_answered(void *owner, struct stream *s, unsigned code)
{
    (void)owner;
    (void)s;
    (void)code;
}

static void on_app(void *owner, enum frame_type type, const struct mux_app *app)
{
    struct world *w = owner;

    if (strlen(app->name) > 255 || strlen(app->text) > 255)
        abort();
    if (type == FRAME_APP_ADD)
        (void)mux_send_app(w->mux, FRAME_APP_ACK, app);
}

static void on_pong(void *owner, uint64_t rtt_us)
{
    (void)owner;
    if (rtt_us == 0)
        abort();
}

static void on_goaway(void *owner, unsigned code)
{
    (void)owner;
    (void)code;
}

static void on_wake(void *owner)
{
    (void)owner;
}

static const struct mux_ops ops = {.read = on_read,
                                   .write = on_write,
                                   .shut = on_shut,
                                   .stop = on_stop,
                                   .detach = on_detach,
                                   .asked = on_asked,
                                   .answered = on_answered,
                                   .app = on_app,
                                   .pong = on_pong,
                                   .goaway = on_goaway,
                                   .wake = on_wake};

static void sum(struct stream *s, void *arg)
{
    uint64_t *buffered = arg;

    *buffered += stream_spill_bytes(s->spill);
    if (s->sent > s->send_limit || s->received > s->recv_limit || s->consumed > s->received)
        abort();
    if (s->phase == STREAM_ASKED && (s->fin_sent || s->sent > 0))
        abort();
}

static void check(const struct world *w)
{
    struct mux *m = w->mux;
    uint64_t buffered = 0;

    mux_each(m, sum, &buffered);
    if (buffered != m->buffered || m->buffered > POOL || m->received > m->recv_limit ||
        m->sent > m->send_limit || mux_streams(m) > m->config.max_streams)
        abort();
    if (m->recv_limit - m->received + m->buffered > POOL + m->config.connection_window)
        abort();
}

static void fill(struct world *w)
{
    static uint8_t memory[4][2048];
    struct mux_body bodies[4];

    for (size_t i = 0; i < 4; i++)
        bodies[i] = (struct mux_body){.data = memory[i], .cap = sizeof memory[i]};
    size_t n = mux_fill(w->mux, bodies, 4);
    for (size_t i = 0; i < n; i++) { /* what goes out is well-formed */
        for (size_t at = 0; at < bodies[i].len;) {
            if (bodies[i].len - at < FRAME_HEADER)
                abort();
            at += FRAME_HEADER + get_be16(memory[i] + at + 2);
            if (at > bodies[i].len)
                abort();
        }
    }
}

static void local(struct world *w, uint8_t what, uint8_t value)
{
    uint32_t id = value % 16;
    struct stream *s = mux_find(w->mux, id == 15 ? w->last_asked : id);
    struct mux_open open = {.app = value};

    w->mood = value;
    switch (what % 8) {
    case 0: fill(w); break;
    case 1:
        if (s != NULL && s->phase == STREAM_ASKED) {
            s->attached = true;
            w->attached++;
            mux_accept(s);
        }
        break;
    case 2:
        if (s != NULL && s->phase == STREAM_ASKED)
            mux_refuse(s, DIAL_REFUSED);
        break;
    case 3:
        if (s != NULL && s->attached)
            mux_readable(s, (value & 128) != 0);
        break;
    case 4:
        if (s != NULL && s->attached)
            mux_writable(s);
        break;
    case 5:
        if (s != NULL && s->phase != STREAM_ASKED)
            mux_reset(s, RESET_APPLICATION);
        break;
    case 6:
        if (w->side == SIDE_SERVER && mux_open(w->mux, &open, &w->account, &s) == OK) {
            s->attached = true;
            w->attached++;
        }
        break;
    default:
        if (value == 255)
            mux_send_goaway(w->mux, END_STOPPING);
        else if (value == 254)
            mux_send_ping(w->mux);
        else if (value == 253 && !mux_close_is_sent(w->mux))
            mux_send_close(w->mux);
        else
            mux_set_now(w->mux, w->mux->now_us + (uint64_t)value * 1000);
        break;
    }
}

/* One record through the record layer into the mux. False: the connection ends. */
static bool record(struct world *w, const uint8_t *plain, size_t len)
{
    uint8_t *buf = malloc(len + RECORD_OVERHEAD), *opened;
    size_t opened_len;

    if (buf == NULL)
        return false;
    if (len > 0)
        memcpy(buf + RECORD_HEADER, plain, len);
    if (record_seal(&w->seals, buf, len) != OK ||
        record_open(&w->opens, buf, len + RECORD_OVERHEAD, &opened, &opened_len) != OK || opened_len != len)
        abort();
    enum status st = mux_input(w->mux, opened, opened_len);
    mux_input_end(w->mux);
    free(buf);
    return st == OK;
}

/* The same bytes as a record of somebody who has no key: none is taken, nothing of it is left to be read. */
static void forged(const uint8_t *data, size_t size, const uint8_t *key, const uint8_t *iv)
{
    static const uint8_t header[RECORD_HEADER] = {RECORD_TYPE};
    uint8_t *record = malloc(size + 1), *plain = NULL;
    struct record_key opens = {0};
    size_t len;

    if (record == NULL || record_key_set(&opens, 0, false, 0, 1, key, iv, 3, size / 2) != OK)
        abort();
    memcpy(record, data, size);
    for (int round = 0; round < 2; round++) {
        uint64_t left = record_key_left(&opens, size);
        enum status st = record_open(&opens, record, size, &plain, &len);
        if (st == OK || plain != NULL || record_key_left(&opens, size) != left)
            abort();
        if (st == ERR_AUTH && size > RECORD_OVERHEAD &&
            (record[RECORD_HEADER] | record[size - RECORD_TAG - 1]) != 0)
            abort();
        if (size < RECORD_OVERHEAD)
            break;
        memcpy(record, header, sizeof header);
    }
    if (record_seal(&opens, record, RECORD_PLAIN_MAX + 1) != ERR_SIZE ||
        (size > 0 && size <= RECORD_PLAIN_MAX && record_seal(&opens, record, size) != ERR_LIMIT))
        abort();
    record_key_clear(&opens);
    free(record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[RECORD_KEY] = {1}, iv[RECORD_IV] = {2};
    struct world w = {0};

    if (size < 1)
        return 0;
    forged(data, size, key, iv);
    w.side = (data[0] & 1) != 0 ? SIDE_SERVER : SIDE_CLIENT;
    struct mux_config config = {.side = w.side,
                                .max_streams = 8,
                                .stream_window = 64u << 10,
                                .stream_window_max = 256u << 10,
                                .connection_window = 128u << 10,
                                .connection_window_max = POOL};
    w.mux = mux_new(&config, &ops, &w);
    if (w.mux == NULL || record_key_set(&w.seals, 0, true, 0, 1, key, iv, 0, 0) != OK ||
        record_key_set(&w.opens, 0, false, 0, 1, key, iv, 0, 0) != OK)
        abort();
    mux_set_now(w.mux, 1000000);
    bool open = true;
    for (size_t at = 1; open && at + 1 < size;) {
        uint8_t what = data[at++];
        if (what < 0xc0) {
            size_t n = what < size - at ? what : size - at;
            open = record(&w, data + at, n);
            at += n;
        } else {
            local(&w, what, data[at++]);
        }
        check(&w);
    }
    mux_abandon(w.mux);
    check(&w);
    mux_free(w.mux);
    if (w.attached != 0 || w.account.streams != 0)
        abort();
    record_key_clear(&w.seals);
    record_key_clear(&w.opens);
    return 0;
}
