/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What relay.c, relay_in.c and relay_out.c share. Nobody else may include this.
 */
#ifndef WORMHOLE_NET_RELAY_PRIVATE_H
#define WORMHOLE_NET_RELAY_PRIVATE_H

#include "worker-net/mux.h"
#include "worker-net/relay.h"
#include "worker-net/tls.h"
#include "worker-net/websocket.h"

#define RELAY_INPUT_BYTES (1u << 20)  /* of the input buffer */
#define RELAY_READ_BYTES (512u << 10) /* read at most so much at once */
#define RELAY_SLOTS 16u               /* records in the output ring */
#define RELAY_HEADROOM 16u            /* before a record: the websocket header */
#define RELAY_RAW_MAX (64u << 10)     /* bytes that wait outside the ring */
#define RELAY_ROUNDS 2u               /* batches per turn of the loop */

struct relay_input {
    uint8_t *data; /* mapped */
    size_t start, end;
};

/* Sealed records on their way out. It is filled only when it is empty, so that nothing is sealed too early.
 */
struct relay_ring {
    uint8_t *memory; /* mapped; slot i begins at i * stride */
    size_t stride, max_plain;
    struct {
        uint8_t *at;
        size_t len;
    } slots[RELAY_SLOTS];
    unsigned first, count;
    unsigned batch; /* how many to fill next: follows what the socket takes */
};

struct relay {
    struct event_base *base;
    struct event *readable, *writable, *flush, *again, *timeout;
    const struct relay_handlers *handlers;
    void *arg;
    enum side side;
    enum relay_mode mode;
    struct relay_link link;
    struct relay_input input;
    struct websocket_reader reader;
    struct websocket_masks masks;
    struct relay_ring ring;
    uint8_t *raw; /* text, handshake messages, websocket control frames */
    size_t raw_start, raw_end;
    struct mux *mux;
    struct record_key in, out;
    uint64_t records_in, records_out;
    uint16_t close_code; /* FINISHING: the websocket close that is still due */
    char close_reason[124];
    bool websocket; /* the upgrade is done: a close frame can be sent */
    bool speaks;    /* FINISHING: the mux still has something to say */
    bool flushing;
    bool awaiting_writable; /* the event is registered */
    bool useful;            /* the last flush had something to write */
    bool wrote_end;         /* our direction is shut */
    bool heard_end;         /* the peer's is */
    bool told;              /* ended() or finished() was called for good */
};

/* relay.c */
void relay_fail(struct relay *r, enum end_code code, uint16_t close_code, const char *text);
void relay_again(struct relay *r);
void relay_await_writable(struct relay *r, bool on);
void relay_check_finished(struct relay *r);

/* relay_in.c */
void relay_input_ready(struct relay *r);
void relay_input_process(struct relay *r);

/* relay_out.c */
enum status relay_raw_put(struct relay *r, const void *data, size_t len);
enum status relay_frame_put(struct relay *r, enum websocket_opcode opcode, const void *data, size_t len);
enum status relay_ring_init(struct relay *r, size_t max_plain);
void relay_output(struct relay *r);

#endif
