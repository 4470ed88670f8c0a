/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The multiplexer (docs/protocol.md, "Streams" and "Flow control"): many streams over one sequence of
 * records. Frames in, frames out, windows, fair scheduling, and what each frame means in each state. It
 * touches no socket, clock or key: data comes and goes through `struct mux_ops`, the time is told to it,
 * records are filled into memory that it is given.
 */
#ifndef WORMHOLE_NET_MUX_H
#define WORMHOLE_NET_MUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/ipc_types.h"
#include "common/protocol.h"
#include "common/status.h"
#include "worker-net/stream.h"

#define MUX_QUANTUM 65536u      /* bytes that a stream may send in a row while others wait */
#define MUX_EARLY_WINDOW 65536u /* what a peer may send on a new stream before our OPEN_OK */
#define MUX_WINDOW_FLOOR 16384u /* windows offered under memory pressure do not go below this */

struct mux_config {
    enum side side;
    uint32_t max_streams;   /* at once, whoever opened them */
    uint32_t stream_window; /* bytes; first receive window of a stream */
    uint32_t stream_window_max;
    uint32_t connection_window;
    uint32_t connection_window_max; /* also the most that may wait in spills */
};

/* OPEN, as the opened side sees it. */
struct mux_open {
    uint32_t app;
    uint8_t address[16]; /* of the user who connected; IPv4 mapped into IPv6 */
    uint16_t port;
};

/* An app's frame; text is NUL-terminated and free of NULs. */
struct mux_app {
    uint32_t app;
    uint16_t service_port; /* APP_ADD */
    uint16_t code;         /* APP_ACK: enum refusal */
    char name[256];        /* APP_ADD: name; APP_ACK: endpoint */
    char text[256];        /* APP_ADD: application protocol; APP_ACK: why */
};

struct mux_ops {
    /*
     * Reads from a stream's application. > 0: bytes; 0: its end; -1: errno (EAGAIN: nothing now). Must not
     * call the mux.
     */
    ssize_t (*read)(struct stream *s, const struct iovec *iov, int n);
    /* Writes to it. >= 0: bytes taken, fewer than given only when it is full; -1: it is broken. */
    ssize_t (*write)(struct stream *s, const struct iovec *iov, int n);
    /* Passes on the end of the peer's data (half-close). */
    void (*shut)(struct stream *s);
    /* The peer does not want more data of this application. */
    void (*stop)(struct stream *s);
    /* The stream is over and its struct goes away: close or reset the socket, if attached. */
    void (*detach)(struct stream *s, enum stream_end how);

    /*
     * The peer opened a stream: answer later with mux_accept() or mux_refuse(). Returns the account of its
     * app, or NULL: no such app (it is refused at once). Must not call the mux.
     */
    struct stream_account *(*asked)(void *owner, struct stream *s, const struct mux_open *open);
    /* The answer to ours: OPEN_OK (code 0), or OPEN_FAIL with its code (detach follows). */
    void (*answered)(void *owner, struct stream *s, unsigned code);

    /* Server: APP_ADD, APP_WITHDRAW. Client: APP_ACK. `type` says which. */
    void (*app)(void *owner, enum frame_type type, const struct mux_app *app);
    void (*pong)(void *owner, uint64_t rtt_us);
    /* The peer opens and takes no new streams any more. */
    void (*goaway)(void *owner, unsigned code);
    /* Something is to be sent: call mux_fill() soon. Called often; must be cheap. */
    void (*wake)(void *owner);
};

struct mux_stats {
    uint64_t streams_total, streams_refused, streams_reset;
    uint64_t bytes_in, bytes_out;     /* payload of DATA: from the tunnel, into the tunnel */
    uint64_t read_calls, write_calls; /* system calls on application sockets, counted by stream_socket.c */
};

/* Where frames go: the plaintext of one record. */
struct mux_body {
    uint8_t *data;
    size_t cap;
    size_t len;
};

/* ops and owner must outlive it. NULL when out of memory. SETTINGS is queued at once. */
struct mux *mux_new(const struct mux_config *config, const struct mux_ops *ops, void *owner);
/* Breaks every stream that is left. NULL is fine. */
void mux_free(struct mux *m);

/* Tells the time of this turn (monotonic microseconds). */
void mux_set_now(struct mux *m, uint64_t now_us);

/* ---- the tunnel's side ---- */

/*
 * Takes the plaintext of one record, which must stay in place until mux_input_end(). ERR_FORMAT: the peer
 * broke the protocol, mux_error() says how. ERR_LIMIT: it exhausted a budget. ERR_NOMEM. ERR_EOF:
 * CLOSE_NOTIFY, nothing follows. After anything but OK the connection must end.
 */
enum status mux_input(struct mux *m, const uint8_t *plain, size_t len);
/* Ends a batch of records: data goes to the applications now. */
void mux_input_end(struct mux *m);
/* Static English for the last failure of mux_input(). */
const char *mux_error(const struct mux *m);

/* Has more piled up for a peer that does not read than can be its due? Then the connection must end
 * (END_LIMIT). */
bool mux_is_overrun(const struct mux *m);

/*
 * Fills up to n records, in order, control frames first, reading applications straight into them; sets len of
 * each. Returns how many have something in them; 0: nothing to send.
 */
size_t mux_fill(struct mux *m, struct mux_body *bodies, size_t n);

/* ---- the applications' side ---- */

/*
 * Opens a stream to an app of the peer; it is attached or not as the caller says. ERR_AGAIN: the peer takes
 * no more streams now (or has not said yet how many); ERR_LIMIT: never again on this connection (GOAWAY, ids
 * used up); ERR_NOMEM.
 */
enum status mux_open(struct mux *m, const struct mux_open *open, struct stream_account *account,
                     struct stream **out);
/* Could mux_open() succeed now? */
enum status mux_can_open(const struct mux *m);
/* All our ids are used up: the connection must be replaced. */
bool mux_is_exhausted(const struct mux *m);
/* The answers to ops->asked(). mux_accept: the stream is attached now and what came early is written to it.
 */
void mux_accept(struct stream *s);
void mux_refuse(struct stream *s, enum dial_code code);
/* Breaks a stream: RESET to the peer, detach(STREAM_BROKEN). */
void mux_reset(struct stream *s, enum reset_code code);

/* The socket may have data (hangup: and its end or an error is among it). */
void mux_readable(struct stream *s, bool hangup);
/* The socket takes data again. */
void mux_writable(struct stream *s);
struct stream *mux_find(struct mux *m, uint32_t id);
void mux_each(struct mux *m, void (*call)(struct stream *s, void *arg), void *arg);
uint32_t mux_streams(const struct mux *m);
/* Breaks streams that have been half-closed without any data since `before_s` (coarse clock of mux_set_now).
 */
void mux_reap(struct mux *m, uint32_t before_s);
/* Is any stream half-closed? Then mux_reap() has something to watch. */
bool mux_has_half_closed(const struct mux *m);
/*
 * The connection is over: breaks what is not whole. Streams that have had both ends and only wait for a slow
 * reader stay; mux_streams() says how many.
 */
void mux_abandon(struct mux *m);

/* ---- the connection ---- */

/* One frame of an app. ERR_FULL: too much waits already. */
enum status mux_send_app(struct mux *m, enum frame_type type, const struct mux_app *app);
void mux_send_ping(struct mux *m);
/* No new streams from either side. */
void mux_send_goaway(struct mux *m, unsigned code);
/* The last frame: sent when everything queued before it has been. mux_closing_sent: it is in a record. */
void mux_send_close(struct mux *m);
bool mux_close_is_sent(const struct mux *m);

const struct mux_stats *mux_statistics(const struct mux *m);
uint64_t mux_buffered(const struct mux *m); /* bytes in spills */
uint64_t mux_rtt_us(const struct mux *m);   /* the last; 0: not measured yet */
uint64_t mux_min_rtt_us(const struct mux *m);

#endif
