/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way in: bytes are read into one large buffer, cut into websocket messages, opened and handed to the
 * mux, all in place. It never waits for a write, and it stops reading only while keys are awaited.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <event2/event.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/protocol.h"
#include "worker-net/relay_private.h"

static void on_end_of_input(struct relay *r, enum status st)
{
    char text[128];

    r->heard_end = true; /* so that last words are not waited for */
    if (r->mode == RELAY_FINISHING) {
        (void)event_del(r->readable);
        relay_check_finished(r);
        return;
    }
    if (st == ERR_EOF)
        (void)snprintf(text, sizeof text, "the peer closed the connection without a word");
    else if (st == ERR_IO)
        (void)snprintf(text, sizeof text, "the connection broke: %s", strerror(errno));
    else
        (void)snprintf(text, sizeof text, "the TLS connection broke");
    relay_fail(r, END_TRUNCATED, 0, text);
}

/* A websocket close: said to the session with the peer's code, which often explains more than ours would. */
static void on_close(struct relay *r, const struct websocket_message *m)
{
    enum end_code code = END_TRUNCATED;
    char reason[160], text[256];

    switch (m->close_code) {
    case CLOSE_PROTOCOL: code = END_PROTOCOL; break;
    case CLOSE_DECLINED: code = END_DECLINED; break;
    case CLOSE_TIMEOUT: code = END_TIMEOUT; break;
    case CLOSE_BUSY: code = END_LIMIT; break;
    default: break;
    }
    (void)log_escape(reason, sizeof reason, (const char *)m->data, m->len);
    (void)snprintf(text, sizeof text, "the peer closed the websocket (%u%s%s)", m->close_code,
                   reason[0] != '\0' ? ": " : "", reason);
    relay_fail(r, code, m->close_code == WEBSOCKET_CLOSE_NO_STATUS ? WEBSOCKET_CLOSE_NORMAL : m->close_code,
               text);
}

static void on_record_error(struct relay *r, enum status st)
{
    switch (st) {
    case ERR_AUTH: relay_fail(r, END_BAD_TAG, CLOSE_PROTOCOL, "a record is not authentic"); break;
    case ERR_LIMIT:
        relay_fail(r, END_LIMIT, WEBSOCKET_CLOSE_GOING_AWAY, "the key's hard limit is reached");
        break;
    case ERR_FORMAT: relay_fail(r, END_PROTOCOL, CLOSE_PROTOCOL, "a message that is no record"); break;
    default: relay_fail(r, END_INTERNAL, CLOSE_INTERNAL, "a record could not be opened"); break;
    }
}

static void on_mux_error(struct relay *r, enum status st)
{
    mux_input_end(r->mux); /* what was authentic and in order is delivered */
    switch (st) {
    case ERR_EOF:
        relay_fail(r, END_PEER_CLOSED, WEBSOCKET_CLOSE_NORMAL, "the peer ended the connection");
        break;
    case ERR_LIMIT: relay_fail(r, END_LIMIT, CLOSE_BUSY, mux_error(r->mux)); break;
    case ERR_NOMEM: relay_fail(r, END_INTERNAL, CLOSE_INTERNAL, "out of memory"); break;
    default: relay_fail(r, END_PROTOCOL, CLOSE_PROTOCOL, mux_error(r->mux)); break;
    }
}

/* False: the connection ends. */
static bool take_record(struct relay *r, const struct websocket_message *m)
{
    uint8_t *plain = NULL;
    size_t len = 0;

    enum status st = record_open(&r->in, m->data, m->len, &plain, &len);
    if (st != OK) {
        on_record_error(r, st);
        return false;
    }
    r->records_in++;
    st = mux_input(r->mux, plain, len);
    if (st != OK) {
        on_mux_error(r, st);
        return false;
    }
    if (m->assembled)
        mux_input_end(r->mux); /* the reader's buffer is used again for the next one */
    return true;
}

static void take_message(struct relay *r, const struct websocket_message *m)
{
    if (m->len == 0) {
        relay_fail(r, END_PROTOCOL, CLOSE_PROTOCOL, "an empty message");
        return;
    }
    if (m->data[0] == RECORD_TYPE) {
        r->mode = RELAY_HELD; /* what follows needs keys; see docs/protocol.md, "Handshake" */
        (void)event_del(r->readable);
    }
    r->handlers->heard(r->arg);
    r->handlers->message(r->arg, m->data, m->len);
}

/* One websocket message. False: no more now. */
static bool take_next(struct relay *r)
{
    struct relay_input *in = &r->input;
    struct websocket_message m;
    size_t used = 0;

    enum status st = websocket_reader_next(&r->reader, in->data + in->start, in->end - in->start, &used, &m);
    in->start += used;
    if (st == ERR_AGAIN)
        return false;
    if (st != OK) {
        if (r->mux != NULL)
            mux_input_end(r->mux);
        relay_fail(r, st == ERR_NOMEM ? END_INTERNAL : END_WEBSOCKET, r->reader.error_code,
                   st == ERR_NOMEM ? "out of memory" : r->reader.error);
        return false;
    }
    switch (m.opcode) {
    case WEBSOCKET_PING:
        /* Answered, but never trusted. A peer that pings and does not read gets only some of its answers. */
        if (r->raw_end - r->raw_start < RELAY_RAW_MAX / 4)
            (void)relay_frame_put(r, WEBSOCKET_PONG, m.data, m.len);
        relay_wake(r);
        return true;
    case WEBSOCKET_PONG: return true;
    case WEBSOCKET_CLOSE:
        if (r->mux != NULL)
            mux_input_end(r->mux);
        on_close(r, &m);
        return false;
    default: break;
    }
    if (r->mode == RELAY_RECORDS)
        return take_record(r, &m);
    take_message(r, &m);
    return true;
}

static void take_records(struct relay *r)
{
    uint64_t before = r->records_in;

    mux_set_now(r->mux, clock_mono_us());
    while (r->mode == RELAY_RECORDS && !r->told && take_next(r))
        continue;
    mux_input_end(r->mux);
    if (r->records_in != before)
        r->handlers->heard(r->arg);
}

void relay_input_process(struct relay *r)
{
    struct relay_input *in = &r->input;

    if (r->mode == RELAY_TEXT && in->start < in->end && !r->told)
        in->start += r->handlers->text(r->arg, in->data + in->start, in->end - in->start);
    while (r->mode == RELAY_MESSAGES && !r->told && take_next(r))
        continue;
    if (r->mode == RELAY_RECORDS && !r->told)
        take_records(r);
    if (r->mode == RELAY_FINISHING)
        in->start = in->end;
    if (in->start == in->end) {
        in->start = in->end = 0;
    } else if (in->start > 0) {
        memmove(in->data, in->data + in->start, in->end - in->start);
        in->end -= in->start;
        in->start = 0;
    }
}

void relay_input_ready(struct relay *r)
{
    struct relay_input *in = &r->input;
    size_t room = RELAY_INPUT_BYTES - in->end, n = 0;

    if (r->mode == RELAY_HELD || r->mode == RELAY_ENDED)
        return;
    if (room > RELAY_READ_BYTES)
        room = RELAY_READ_BYTES;
    if (room == 0) { /* a head, or a frame, that never ends: their own limits are far below */
        relay_fail(r, END_PROTOCOL, CLOSE_PROTOCOL, "more input than any message may have");
        return;
    }
    enum status st = relay_link_read(&r->link, in->data + in->end, room, &n);
    if (st == OK)
        in->end += n;
    if (st == OK || (st == ERR_AGAIN && in->start < in->end))
        relay_input_process(r);
    else if (st != ERR_AGAIN)
        on_end_of_input(r, st);
    if (r->link.tls != NULL && n == room)
        relay_again(r); /* TLS may hold more, and no event tells */
}
