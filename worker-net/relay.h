/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tunnel's connection on the event loop: bytes ↔ websocket messages ↔ records ↔ the mux, with one large
 * input buffer, a ring of output records and one flush at the end of a loop turn. It runs through modes, from
 * HTTP text to records; what is said in each, and when the mode changes, is the session's business.
 */
#ifndef WORMHOLE_NET_RELAY_H
#define WORMHOLE_NET_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ipc_types.h"
#include "common/status.h"
#include "worker-net/record.h"
#include "worker-net/relay_link.h"

struct event_base;
struct mux;
struct relay;
struct tls;

enum relay_mode {
    RELAY_TEXT,     /* an HTTP head is awaited */
    RELAY_TLS,      /* TLS shakes hands */
    RELAY_MESSAGES, /* websocket messages of the handshake */
    RELAY_HELD,     /* nothing is read: the peer's first record was handed on, keys are awaited */
    RELAY_RECORDS,
    RELAY_FINISHING, /* last words go out; what comes in is thrown away */
    RELAY_ENDED,
};

/* How the connection ended, or why it must. */
struct relay_end {
    enum end_code code;
    uint16_t close_code; /* what a websocket close should carry; 0: none is due */
    const char *text;    /* English; lives during the call */
};

/* None of them may free the relay. */
struct relay_handlers {
    /* TEXT: what has come so far. Returns how many bytes are done with; the rest comes again, with more. May
     * change mode. */
    size_t (*text)(void *arg, const uint8_t *data, size_t len);
    /* TLS is up: the mode is TEXT again. */
    void (*secured)(void *arg);
    /* MESSAGES: one whole message. */
    void (*message)(void *arg, const uint8_t *data, size_t len);
    /* Something was heard from the peer: a message, or an authentic record. */
    void (*heard)(void *arg);
    /* The connection cannot go on. Called once, unless relay_finish() came first; nothing more is read. */
    void (*ended)(void *arg, const struct relay_end *end);
    /* After relay_finish(): all is sent and the peer has closed too, or will not. */
    void (*finished)(void *arg);
};

struct relay_stats {
    uint64_t wire_in, wire_out, records_in, records_out, read_calls, write_calls;
};

/* Takes fd (connected, non-blocking) on success. Starts in mode TEXT, reading. NULL: out of memory. */
struct relay *relay_new(struct event_base *base, int fd, enum side side,
                        const struct relay_handlers *handlers, void *arg);
void relay_free(struct relay *r);
enum relay_mode relay_mode(const struct relay *r);

/* Queues bytes before (TEXT) or beside the records. ERR_FULL: the peer does not read. */
enum status relay_send_text(struct relay *r, const void *data, size_t len);
/* Queues one binary websocket message of the handshake. */
enum status relay_send_message(struct relay *r, const void *data, size_t len);

/* TEXT → TLS; takes the TLS session. Bytes that were read before it are an error (END_TLS). */
void relay_start_tls(struct relay *r, struct tls *tls);
/* TEXT → MESSAGES, each at most max_message bytes. */
void relay_start_messages(struct relay *r, size_t max_message);

struct relay_keys {
    struct record_key *in, *out; /* moved into the relay; the caller's are zeroed */
    size_t max_plain;            /* largest plaintext of a record, either way */
};
/* MESSAGES or HELD → RECORDS. The mux must outlive the relay. ERR_NOMEM. */
enum status relay_start_records(struct relay *r, struct mux *mux, struct relay_keys *keys);

/* Something is to be sent: flushes at the end of this turn of the loop. Cheap; the mux's ops->wake. */
void relay_wake(struct relay *r);

/*
 * Ends the connection: with `orderly` what the mux still says (CLOSE_NOTIFY), then a websocket close with
 * this code (0: none), then the end of our direction; then waits for the peer's end, at most timeout_ms in
 * all. finished() follows, from the loop.
 */
void relay_finish(struct relay *r, bool orderly, uint16_t close_code, const char *reason,
                  uint32_t timeout_ms);

/* Gives the pages of idle buffers back to the system. */
void relay_trim(struct relay *r);
void relay_get_stats(const struct relay *r, struct relay_stats *out);

#endif
