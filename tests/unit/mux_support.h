/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Help for the mux's unit tests: a mux whose applications are bytes in memory, frames written by hand, and
 * frames read back out of what it fills. Asserts; must not contain a test.
 */
#ifndef WORMHOLE_TESTS_MUX_SUPPORT_H
#define WORMHOLE_TESTS_MUX_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "worker-net/mux_private.h"

#define RIG_STREAMS 4096u
#define RIG_BODIES 16u
#define RIG_PLAIN 4096u /* of a record in these tests */

/* The application behind one stream. */
struct rig_app {
    uint64_t to_send; /* bytes that it still has for us; their value is the offset's low byte */
    uint64_t sent;
    bool ends;     /* and then its end */
    bool broken;   /* reading or writing it fails */
    uint64_t room; /* bytes that it takes */
    uint64_t taken;
    uint8_t head[64]; /* the first ones that it took */
    bool shut, stopped;
    unsigned detached; /* times */
    enum stream_end how;
    unsigned answers, answer_code;
};

struct rig {
    struct mux *mux;
    struct rig_app apps[RIG_STREAMS]; /* by stream id, modulo */
    struct stream_account account;
    bool unknown_app; /* asked() says that there is no such app */
    unsigned asked, wakes, pongs, goaways, app_frames;
    struct mux_open last_open;
    struct mux_app last_app;
    enum frame_type last_app_type;
    /* frames of the last rig_fill(), one after the other */
    uint8_t out[RIG_BODIES * RIG_PLAIN];
    size_t out_len;
    size_t records;
};

/* A mux of this side with defaults, which has heard the peer's SETTINGS and whose own were thrown away. */
struct rig *rig_new(enum side side);
/* The same, before anything was said. config NULL: defaults. */
struct rig *rig_bare(enum side side, const struct mux_config *config);
void rig_free(struct rig *r);

/* One frame, as the peer would send it, alone in a record; the batch is ended. */
enum status rig_frame(struct rig *r, unsigned type, unsigned flags, uint32_t stream, const void *payload,
                      size_t len);
/* Frames with one integer. */
enum status rig_u64(struct rig *r, unsigned type, uint32_t stream, uint64_t value);
enum status rig_u16(struct rig *r, unsigned type, uint32_t stream, unsigned value);
/* n bytes of DATA whose value is their offset's low byte, from `offset` on. */
enum status rig_data(struct rig *r, uint32_t stream, uint64_t offset, size_t n, bool fin);
enum status rig_settings(struct rig *r, uint64_t max_streams, uint64_t stream_window,
                         uint64_t connection_window);
enum status rig_open(struct rig *r, uint32_t stream, uint32_t app, uint64_t window);

/* Opens one of ours (server) and attaches its app. */
struct stream *rig_opened(struct rig *r);
/* The client's mux takes a stream of the peer and accepts it. */
struct stream *rig_accepted(struct rig *r, uint32_t id, uint64_t window);

/* Lets the mux fill `bodies` records; what was in them is in r->out. */
size_t rig_fill(struct rig *r, size_t bodies);
/* Is there a frame of this type and stream in r->out? payload (may be NULL) then points at it. */
bool rig_has(const struct rig *r, unsigned type, uint32_t stream, const uint8_t **payload, size_t *len);
/* Bytes of DATA of this stream in r->out, checked to be a sequence of offsets from `offset`; *fin: was FIN
 * there? */
uint64_t rig_data_out(const struct rig *r, uint32_t stream, uint64_t offset, bool *fin);

#endif
