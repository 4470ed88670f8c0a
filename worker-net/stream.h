/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stream: the state that the mux keeps of it and, in the same small struct, its application socket's
 * event. An idle stream is this struct and nothing else; data that its socket refused is lent a spill. Users
 * outside the mux and stream_socket.c read fields but never write them.
 */
#ifndef WORMHOLE_NET_STREAM_H
#define WORMHOLE_NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>

#include <event2/event_struct.h>

#include "common/status.h"

struct mux;
struct stream_spill;

/* How far opening has come. What each frame means in each phase is one table in mux_input.c. */
enum stream_phase {
    STREAM_OPENING, /* ours: OPEN is queued or sent, no answer yet; early data may flow out */
    STREAM_ASKED,   /* the peer's: it waits for our connection; its early data is kept */
    STREAM_OPEN,
    STREAM_PHASES
};

/* How a stream ended, for whoever holds its socket. */
enum stream_end {
    STREAM_FINISHED, /* both directions came to their end: close */
    STREAM_BROKEN,   /* reset: the application must see a reset, never an end */
};

/* Figures of all streams of one app; kept by the session, updated by the mux. */
struct stream_account {
    uint32_t streams; /* now */
    uint64_t streams_total;
    uint64_t refused;
    uint64_t bytes_in;  /* from the tunnel to the application */
    uint64_t bytes_out; /* from the application into the tunnel */
    uint64_t changes;   /* counts events, so that unchanged figures are not sent again */
};

struct stream {
    struct event event;     /* stream_socket.c: the socket can be read */
    struct event *writable; /* the same for writing; NULL until it first refused data */
    struct mux *mux;
    struct stream_account *account;
    struct stream_spill *spill;      /* NULL: nothing waits for the socket */
    TAILQ_ENTRY(stream) ready_link;  /* in mux->fresh or mux->backlog */
    TAILQ_ENTRY(stream) credit_link; /* in mux->credits */
    uint64_t sent, send_limit;       /* absolute; what the peer allows */
    uint64_t consumed;               /* taken by the application or thrown away */
    uint64_t received, recv_limit;   /* absolute; what the peer was allowed */
    uint32_t id;
    uint32_t window;    /* the current size of our receive window */
    uint32_t tune_mark; /* consumed (low bits) when the current measurement began */
    uint32_t tune_us;   /* and the time (low bits) */
    uint32_t deficit;   /* bytes left of this round's share */
    uint32_t active_s;  /* when data last moved, coarse */
    uint16_t gather;    /* 1 + place in the mux's gather table while a batch is read */
    uint8_t phase;      /* enum stream_phase */
    uint8_t list;       /* enum ready_list in mux_private.h */
    bool readable : 1;  /* the socket may have data */
    bool hangup : 1;    /* the socket's end or error is known to be in its queue */
    bool attached : 1;  /* has a socket */
    bool armed : 1;     /* event is registered */
    bool fin_sent : 1;
    bool fin_received : 1;
    bool shut : 1;         /* the end was passed on to the application */
    bool wants_credit : 1; /* in mux->credits */
    bool stopped : 1;      /* the peer does not want our data any more */
};

/* ---- stream_spill.c: bytes that wait for a slow reader ---- */

/* Appends a copy; makes the spill when *spill is NULL. ERR_NOMEM: nothing was appended. */
enum status stream_spill_append(struct stream_spill **spill, const void *data, size_t len);
/* Bytes in it; 0 for NULL. */
size_t stream_spill_bytes(const struct stream_spill *spill);
/* Describes the first bytes, at most max pieces. Returns the number of pieces. */
int stream_spill_peek(const struct stream_spill *spill, struct iovec *iov, int max);
/* Drops the first len bytes; frees the spill and sets *spill NULL when it is empty. */
void stream_spill_consume(struct stream_spill **spill, size_t len);
void stream_spill_free(struct stream_spill **spill);

/* ---- stream_pool.c: stream structs in slabs, and the table that finds them by id ---- */

struct stream_pool {
    struct stream_slab *slabs;
    struct stream *free; /* linked through ready_link.tqe_next */
};
/* Zeroed; NULL when out of memory. */
struct stream *stream_pool_take(struct stream_pool *pool);
void stream_pool_give(struct stream_pool *pool, struct stream *s);
void stream_pool_clear(struct stream_pool *pool);

struct stream_table {
    struct stream **slots;
    uint32_t size; /* a power of two, or 0 */
    uint32_t count;
};
struct stream *stream_table_find(const struct stream_table *table, uint32_t id);
/* ERR_NOMEM. The id must not be in it. */
enum status stream_table_add(struct stream_table *table, struct stream *s);
void stream_table_remove(struct stream_table *table, const struct stream *s);
void stream_table_clear(struct stream_table *table);

#endif
