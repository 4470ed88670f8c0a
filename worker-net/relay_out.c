/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way out: when the socket has taken everything, the mux fills a batch of records in the ring, which are
 * sealed and masked where they lie and written with one call. Text, handshake messages and websocket control
 * frames go between batches.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <event2/event.h>

#include "common/clock.h"
#include "common/protocol.h"
#include "worker-net/relay_private.h"

/* Records that stay in reserve under a key's hard limit, for the last words. */
#define LIMIT_RESERVE ((size_t)2u * RELAY_SLOTS)

enum status relay_raw_put(struct relay *r, const void *data, size_t len)
{
    if (RELAY_RAW_MAX - r->raw_end < len) {
        memmove(r->raw, r->raw + r->raw_start, r->raw_end - r->raw_start);
        r->raw_end -= r->raw_start;
        r->raw_start = 0;
    }
    if (RELAY_RAW_MAX - r->raw_end < len)
        return ERR_FULL;
    memcpy(r->raw + r->raw_end, data, len);
    r->raw_end += len;
    return OK;
}

enum status relay_frame_put(struct relay *r, enum websocket_opcode opcode, const void *data, size_t len)
{
    uint8_t head[WEBSOCKET_HEADER_MAX], mask[4];
    bool client = r->side == SIDE_CLIENT;

    if (client) {
        enum status st = websocket_masks_next(&r->masks, mask);
        if (st != OK)
            return st;
    }
    if (len > RELAY_RAW_MAX / 2)
        return ERR_SIZE;
    const uint8_t *start = websocket_header_before(head + sizeof head, opcode, len, client ? mask : NULL);
    size_t head_len = (size_t)(head + sizeof head - start);
    if (r->raw_end - r->raw_start + head_len + len > RELAY_RAW_MAX)
        return ERR_FULL;
    (void)relay_raw_put(r, start, head_len);
    (void)relay_raw_put(r, data, len);
    if (client)
        websocket_mask(r->raw + r->raw_end - len, len, mask);
    return OK;
}

enum status relay_ring_init(struct relay *r, size_t max_plain)
{
    struct relay_ring *ring = &r->ring;

    ring->max_plain = max_plain;
    ring->stride = (RELAY_HEADROOM + RECORD_OVERHEAD + max_plain + 63) / 64 * 64;
    ring->memory =
        mmap(NULL, ring->stride * RELAY_SLOTS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ring->memory == MAP_FAILED) {
        ring->memory = NULL;
        return ERR_NOMEM;
    }
    ring->batch = RELAY_SLOTS;
    return OK;
}

/* Drops what was written. */
static void ring_advance(struct relay_ring *ring, size_t written)
{
    while (written > 0) {
        size_t len = ring->slots[ring->first].len;
        if (written < len) {
            ring->slots[ring->first].at += written;
            ring->slots[ring->first].len -= written;
            return;
        }
        written -= len;
        ring->first++;
        ring->count--;
    }
}

/* Writes what waits: first the ring, then the rest. OK: nothing waits any more; ERR_AGAIN: the socket is
 * full. */
static enum status write_waiting(struct relay *r)
{
    struct relay_ring *ring = &r->ring;

    while (ring->count > 0) {
        struct iovec iov[RELAY_SLOTS];
        size_t written = 0;
        for (unsigned i = 0; i < ring->count; i++)
            iov[i] = (struct iovec){ring->slots[ring->first + i].at, ring->slots[ring->first + i].len};
        enum status st = relay_link_write(&r->link, iov, (int)ring->count, &written);
        if (st != OK)
            return st;
        ring_advance(ring, written);
        if (ring->count > 0) { /* full: prepare less at a time, it would only wait */
            ring->batch = ring->batch > 4 ? ring->batch / 2 : ring->batch;
            return ERR_AGAIN;
        }
    }
    while (r->raw_start < r->raw_end) {
        struct iovec iov = {r->raw + r->raw_start, r->raw_end - r->raw_start};
        size_t written = 0;
        enum status st = relay_link_write(&r->link, &iov, 1, &written);
        if (st != OK)
            return st;
        r->raw_start += written;
    }
    r->raw_start = r->raw_end = 0;
    return relay_link_flush(&r->link);
}

/* Seals and masks one filled record and makes it a slot of the ring. */
static enum status seal_slot(struct relay *r, unsigned index, size_t plain)
{
    struct relay_ring *ring = &r->ring;
    uint8_t *record = ring->memory + index * ring->stride + RELAY_HEADROOM;
    size_t len = plain + RECORD_OVERHEAD;
    uint8_t mask[4];
    const uint8_t *use = NULL;

    enum status st = record_seal(&r->out, record, plain);
    if (st == OK && r->side == SIDE_CLIENT) {
        st = websocket_masks_next(&r->masks, mask);
        websocket_mask(record, len, mask);
        use = mask;
    }
    if (st != OK)
        return st;
    uint8_t *at = websocket_header_before(record, WEBSOCKET_BINARY, len, use);
    ring->slots[index].at = at;
    ring->slots[index].len = len + (size_t)(record - at);
    return OK;
}

/* Fills and seals one batch. OK with ring->count 0: nothing to send. */
static enum status fill_ring(struct relay *r)
{
    struct relay_ring *ring = &r->ring;
    struct mux_body bodies[RELAY_SLOTS];
    unsigned n = ring->batch;

    for (unsigned i = 0; i < n; i++)
        bodies[i] = (struct mux_body){
            .data = ring->memory + i * ring->stride + RELAY_HEADROOM + RECORD_HEADER, .cap = ring->max_plain};
    size_t filled = mux_fill(r->mux, bodies, n);
    for (unsigned i = 0; i < filled; i++) {
        enum status st = seal_slot(r, i, bodies[i].len);
        if (st != OK)
            return st;
    }
    ring->first = 0;
    ring->count = (unsigned)filled;
    r->records_out += filled;
    if (filled == n && ring->batch < RELAY_SLOTS)
        ring->batch = ring->batch * 2 < RELAY_SLOTS ? ring->batch * 2 : RELAY_SLOTS;
    return OK;
}

/* FINISHING, everything of the mux is out: the websocket close, then the end of our direction. */
static void finish_output(struct relay *r)
{
    if (r->close_code != 0) {
        uint8_t payload[WEBSOCKET_CONTROL_MAX];
        size_t n = websocket_close_payload(payload, r->close_code, r->close_reason);
        r->close_code = 0;
        if (relay_frame_put(r, WEBSOCKET_CLOSE, payload, n) == OK)
            relay_again(r);
        return;
    }
    if (r->wrote_end)
        return;
    relay_link_shut(&r->link);
    r->wrote_end = true;
    relay_check_finished(r);
}

enum batch { BATCH_FILLED, BATCH_NONE, BATCH_FAILED };

/* A batch of the mux, if this mode has one. */
static enum batch next_batch(struct relay *r)
{
    if (r->mux == NULL || (r->mode != RELAY_RECORDS && (r->mode != RELAY_FINISHING || !r->speaks)))
        return BATCH_NONE;
    if (mux_is_overrun(r->mux) && r->mode == RELAY_RECORDS) {
        relay_fail(r, END_LIMIT, CLOSE_BUSY, "the peer does not read its answers");
        return BATCH_FAILED;
    }
    if (r->mode == RELAY_RECORDS && !r->told &&
        record_key_left(&r->out, r->ring.max_plain) <= LIMIT_RESERVE) {
        relay_fail(r, END_LIMIT, WEBSOCKET_CLOSE_GOING_AWAY, "the key's hard limit is reached");
        return BATCH_FAILED;
    }
    enum status st = fill_ring(r);
    if (st != OK) {
        relay_fail(r, END_INTERNAL, 0, "a record could not be sealed");
        return BATCH_FAILED;
    }
    return r->ring.count > 0 ? BATCH_FILLED : BATCH_NONE;
}

static void output_rounds(struct relay *r)
{
    if (r->mux != NULL)
        mux_set_now(r->mux, clock_mono_us());
    for (unsigned round = 0; r->mode != RELAY_ENDED; round++) {
        r->useful = r->useful || r->ring.count > 0 || r->raw_start < r->raw_end;
        enum status st = write_waiting(r);
        if (st == ERR_AGAIN) {
            relay_await_writable(r, true);
            return;
        }
        if (st != OK) {
            relay_fail(r, END_TRUNCATED, 0, st == ERR_IO ? strerror(errno) : "the connection broke");
            return;
        }
        if (round == RELAY_ROUNDS) { /* let the others have a turn */
            relay_again(r);
            return;
        }
        enum batch batch = next_batch(r);
        if (batch == BATCH_FAILED)
            return;
        if (batch == BATCH_NONE) {
            if (r->mode == RELAY_FINISHING)
                finish_output(r);
            return;
        }
        r->useful = true;
    }
}

void relay_output(struct relay *r)
{
    if (r->mode == RELAY_TLS || r->mode == RELAY_ENDED || r->flushing || r->wrote_end)
        return;
    r->flushing = true;
    output_rounds(r);
    r->flushing = false;
}
