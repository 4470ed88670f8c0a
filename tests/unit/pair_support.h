/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two whole ends of a tunnel in one process, over real sockets and one event loop: relay, websocket, records,
 * mux and streams, with fixed keys instead of a handshake. Around them users and applications that send known
 * bytes, check every one that they get, and misbehave as told. Asserts; must not contain a test.
 */
#ifndef WORMHOLE_TESTS_PAIR_SUPPORT_H
#define WORMHOLE_TESTS_PAIR_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>

#include "worker-net/mux.h"
#include "worker-net/relay.h"

#define PAIR_CALLS 1024u

/* What one end of a call (the user or the application) does. */
struct party {
    /* the script */
    uint64_t to_send;   /* bytes, then its end */
    uint64_t reset_at;  /* resets the connection after so many bytes sent; UINT64_MAX: never */
    bool waits_for_end; /* sends nothing before it has seen the other's end */
    unsigned slow_ms;   /* reads a little, then pauses */
    /* what happened */
    uint64_t sent, got;
    bool ended, got_end, got_reset, was_reset;

    struct pair *pair;
    struct party *other;
    uint64_t seed;
    int fd;
    struct event *readable, *writable, *pause;
};

struct call {
    struct party user, app;
    bool refused; /* the application is not there */
    struct stream_account account[2];
};

/* One end of the tunnel. */
struct tunnel_end {
    struct pair *pair;
    enum side side;
    struct relay *relay;
    struct mux *mux;
    bool ended, finished;
    struct relay_end end;
    char end_text[256];
};

struct pair {
    struct event_base *base;
    struct event *accept_soon, *deadline;
    struct tunnel_end server, client;
    struct call *calls;
    uint32_t asked[PAIR_CALLS]; /* streams that wait for their application */
    unsigned n_asked, n_calls, n_busy;
    uint64_t most_buffered;
};

struct pair_options {
    uint64_t max_records, max_bytes; /* 0: as many as there may be */
    size_t max_plain;                /* 0: the default */
    uint32_t connection_window_max;  /* 0: the default */
    int link[2];                     /* {0, 0}: made here */
};

struct pair *pair_new(const struct pair_options *options);
void pair_free(struct pair *p);
/* A connected pair of TCP sockets on loopback, non-blocking. */
void tcp_pair(int fd[2]);

/* Begins call `index` (its script filled in): a user connects to the server's side. */
void call_start(struct pair *p, unsigned index);
/* Runs the loop until nobody and no stream is busy, or until *until. Fails the test after a minute. */
void pair_run(struct pair *p, const bool *until);
/* Every byte of a call arrived, both ends were seen, nothing was reset. */
void call_check_whole(const struct call *c);

/* Byte `offset` of the bytes that a party with this seed sends. */
void fill_pattern(uint64_t seed, uint64_t offset, uint8_t *out, size_t len);

#endif
