/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the mux_*.c files share: the struct, its queues, and the few functions that one of them has for the
 * others. Nobody else may include this (tests of the state tables excepted).
 */
#ifndef WORMHOLE_NET_MUX_PRIVATE_H
#define WORMHOLE_NET_MUX_PRIVATE_H

#include "worker-net/mux.h"

#define MUX_GATHER_PIECES 1024u /* DATA frames of one batch before it is delivered early */
#define MUX_GATHER_STREAMS 256u
#define MUX_LIMIT_MAX (1ull << 62) /* an absolute limit above this is nonsense */
#define MUX_SMALL 4096u            /* bytes: data that somebody may be waiting for */
#define MUX_ID_MAX 0xfffffff0u     /* ids end here, after two thousand million streams */

enum ready_list { LIST_NONE, LIST_FRESH, LIST_BACKLOG };

TAILQ_HEAD(stream_queue, stream);

/* Frames that wait for a record, encoded, first in first out. */
struct frame_fifo {
    uint8_t *data;
    size_t start, end, cap, max;
};

/* One piece of DATA in the batch's memory; pieces of a stream are chained. */
struct gather_piece {
    const uint8_t *data;
    uint32_t len;
    uint32_t next; /* index + 1; 0: the last */
};

struct gather_stream {
    struct stream *stream; /* NULL: it ended meanwhile */
    uint32_t first, last;  /* index + 1 */
};

struct gather {
    struct gather_piece pieces[MUX_GATHER_PIECES];
    struct gather_stream streams[MUX_GATHER_STREAMS];
    uint32_t n_pieces, n_streams;
};

/* How many useless opens a peer may try before it is taken for hostile: a bucket that fills with time. */
struct budget {
    uint32_t left;
    uint64_t refilled_us;
};

struct mux {
    struct mux_config config;
    const struct mux_ops *ops;
    void *owner;
    const char *error;
    uint64_t now_us;
    uint32_t now_s;

    struct stream_pool pool;
    struct stream_table table;
    uint32_t next_id;      /* of ours */
    uint32_t highest_peer; /* highest id that the peer has opened */
    uint32_t half_closed;

    /* the peer's settings */
    bool settings_received;
    uint32_t peer_max_streams;
    uint64_t peer_stream_window; /* what we may send before its OPEN_OK */

    /* the connection's flow control: bytes of DATA payload, absolute */
    uint64_t sent, send_limit;
    uint64_t received, recv_limit;
    uint32_t window;
    uint64_t tune_mark, tune_us;
    uint64_t buffered; /* bytes in spills */
    uint32_t bulk_id;  /* the stream that a large piece last came for */
    uint64_t small_us; /* when a small piece last came for another one */

    struct stream_queue fresh, backlog; /* streams with something to read and credit to send it */
    struct stream_queue credits;        /* streams whose MAX_DATA waits */
    struct frame_fifo fifo;
    struct gather gather;

    bool credit_waits, ping_waits, pong_waits;
    uint64_t pong_value;
    uint64_t ping_value, ping_us; /* the one that is out; 0: none */
    uint64_t rtt_us, min_rtt_us;
    bool goaway_sent, goaway_received, close_waits, close_sent, close_received;

    bool overrun; /* a frame did not fit into the fifo */
    struct budget waste;
    struct mux_stats stats;
};

/* mux.c */
struct stream *mux_stream_new(struct mux *m, uint32_t id, enum stream_phase phase,
                              struct stream_account *account);
void mux_stream_drop(struct stream *s, enum stream_end how);
/* Frees the stream when both directions have come to their end and everything is delivered. True: it is gone.
 */
bool mux_stream_settle(struct stream *s);
void mux_half_closed_update(struct stream *s, bool was);
/* Ends what we opened above the last id that the peer says it has seen: it will never answer. */
void mux_sweep_unseen(struct mux *m, uint32_t last);
bool mux_is_ours(const struct mux *m, uint32_t id);
/* Takes one from the budget for useless opens. False: it is used up. */
bool mux_waste(struct mux *m);

/* mux_queue.c */
void fifo_init(struct frame_fifo *f, size_t max);
void fifo_clear(struct frame_fifo *f);
/* ERR_FULL, ERR_NOMEM. */
enum status fifo_put(struct frame_fifo *f, enum frame_type type, uint32_t stream, const void *payload,
                     size_t len);
/* The same into the mux's fifo; when it does not fit the mux is overrun. Wakes the owner. */
void mux_queue(struct mux *m, enum frame_type type, uint32_t stream, const void *payload, size_t len);
/* The next frame, header included; NULL: empty. */
const uint8_t *fifo_peek(const struct frame_fifo *f, size_t *len);
void fifo_drop(struct frame_fifo *f, size_t len);
void ready_add(struct stream *s, enum ready_list list);
void ready_remove(struct stream *s);
void credit_add(struct stream *s);
void credit_remove(struct stream *s);
static inline void mux_wake(struct mux *m)
{
    m->ops->wake(m->owner);
}

/* mux_window.c */
uint32_t window_offer(const struct mux *m, uint32_t window);
void window_consumed(struct stream *s, uint64_t bytes);
void window_connection(struct mux *m);

/* mux_deliver.c */
enum status deliver_add(struct stream *s, const uint8_t *data, size_t len);
/* Hands what was gathered for this stream to its application (or spill). */
void deliver_stream(struct stream *s);
/* Writes the spill; false when the stream is gone. */
bool deliver_spill(struct stream *s);
void deliver_forget(struct stream *s);

/* mux_control.c */
enum status control_frame(struct mux *m, enum frame_type type, uint32_t stream, const uint8_t *payload,
                          size_t len);
enum status control_settings(struct mux *m);
enum status mux_fail(struct mux *m, const char *error);

#endif
