/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames that come in: cutting a record into frames, which frame may come from whom and in which phase of its
 * stream (two tables), and what it does to the stream. Everything is validated before anything is allocated
 * or changed.
 */
#include <string.h>

#include "common/wire.h"
#include "worker-net/mux_private.h"

#define BOTH (SIDE_SERVER | SIDE_CLIENT)

enum scope { SCOPE_NONE, SCOPE_CONNECTION, SCOPE_STREAM, SCOPE_EITHER };

/* What a frame must look like, and which side may send it; types that are not here are unknown. */
static const struct frame_rule {
    uint16_t min, max; /* payload, bytes */
    uint8_t scope;
    uint8_t senders;
    uint8_t flags;
} rules[256] = {
    [FRAME_PADDING] = {0, UINT16_MAX, SCOPE_CONNECTION, BOTH, 0},
    [FRAME_DATA] = {0, UINT16_MAX, SCOPE_STREAM, BOTH, FRAME_FLAG_FIN},
    [FRAME_OPEN] = {30, 30, SCOPE_STREAM, SIDE_SERVER, 0},
    [FRAME_OPEN_OK] = {8, 8, SCOPE_STREAM, SIDE_CLIENT, 0},
    [FRAME_OPEN_FAIL] = {2, 130, SCOPE_STREAM, SIDE_CLIENT, 0},
    [FRAME_RESET] = {2, 2, SCOPE_STREAM, BOTH, 0},
    [FRAME_STOP_SENDING] = {2, 2, SCOPE_STREAM, BOTH, 0},
    [FRAME_MAX_DATA] = {8, 8, SCOPE_EITHER, BOTH, 0},
    [FRAME_BLOCKED] = {8, 8, SCOPE_EITHER, BOTH, 0},
    [FRAME_PING] = {8, 8, SCOPE_CONNECTION, BOTH, 0},
    [FRAME_PONG] = {8, 8, SCOPE_CONNECTION, BOTH, 0},
    [FRAME_GOAWAY] = {6, 6, SCOPE_CONNECTION, BOTH, 0},
    [FRAME_SETTINGS] = {0, 640, SCOPE_CONNECTION, BOTH, 0},
    [FRAME_CLOSE_NOTIFY] = {0, 0, SCOPE_CONNECTION, BOTH, 0},
    [FRAME_APP_ADD] = {8, 8 + 255 + 255, SCOPE_CONNECTION, SIDE_CLIENT, 0},
    [FRAME_APP_WITHDRAW] = {4, 4, SCOPE_CONNECTION, SIDE_CLIENT, 0},
    [FRAME_APP_ACK] = {8, 8 + 255 + 255, SCOPE_CONNECTION, SIDE_SERVER, 0},
};

/* What a frame of a stream does in each phase. An empty place is a breach of the protocol. */
enum action { BREACH = 0, TAKE_DATA, OPENED, OPEN_FAILED, RESET, STOP, CREDIT, NOTHING };

static const uint8_t actions[STREAM_PHASES][FRAME_BLOCKED + 1] = {
    [STREAM_OPENING] = {[FRAME_OPEN_OK] = OPENED, [FRAME_OPEN_FAIL] = OPEN_FAILED, [FRAME_RESET] = RESET},
    [STREAM_ASKED] = {[FRAME_DATA] = TAKE_DATA,
                      [FRAME_RESET] = RESET,
                      [FRAME_STOP_SENDING] = STOP,
                      [FRAME_MAX_DATA] = CREDIT,
                      [FRAME_BLOCKED] = NOTHING},
    [STREAM_OPEN] = {[FRAME_DATA] = TAKE_DATA,
                     [FRAME_RESET] = RESET,
                     [FRAME_STOP_SENDING] = STOP,
                     [FRAME_MAX_DATA] = CREDIT,
                     [FRAME_BLOCKED] = NOTHING},
};

enum status mux_fail(struct mux *m, const char *error)
{
    m->error = error;
    return ERR_FORMAT;
}

static void raise_limit(struct stream *s, uint64_t limit)
{
    if (limit <= s->send_limit)
        return;
    s->send_limit = limit;
    if (s->readable)
        mux_readable(s, s->hangup);
}

static enum status take_data(struct stream *s, const uint8_t *data, size_t len, bool fin)
{
    struct mux *m = s->mux;

    if (s->fin_received)
        return mux_fail(m, "data after the end of a stream");
    if (len > s->recv_limit - s->received)
        return mux_fail(m, "more data than the stream's window allows");
    s->received += len;
    s->active_s = m->now_s;
    if (len >= MUX_SMALL)
        m->bulk_id = s->id;
    else if (s->id != m->bulk_id)
        m->small_us = m->now_us;
    m->stats.bytes_in += len;
    s->account->bytes_in += len;
    s->account->changes++;
    if (fin) {
        bool was = s->fin_sent != s->fin_received;
        s->fin_received = true;
        mux_half_closed_update(s, was);
    }
    if (len > 0)
        return deliver_add(s, data, len);
    if (fin)
        (void)mux_stream_settle(s);
    return OK;
}

static enum status open_failed(struct stream *s, const uint8_t *payload)
{
    struct mux *m = s->mux;
    unsigned code = get_be16(payload);

    m->stats.streams_refused++;
    s->account->refused++;
    m->ops->answered(m->owner, s, code == 0 ? DIAL_INTERNAL : code);
    mux_stream_drop(s, STREAM_BROKEN);
    return OK;
}

static enum status was_reset(struct stream *s)
{
    s->mux->stats.streams_reset++;
    mux_stream_drop(s, STREAM_BROKEN);
    return OK;
}

static enum status stop_sending(struct stream *s)
{
    struct mux *m = s->mux;

    if (s->fin_sent || s->stopped)
        return OK;
    s->stopped = true;
    if (s->attached)
        m->ops->stop(s);
    mux_readable(s, true); /* so that the next fill ends our direction */
    return OK;
}

static enum status stream_frame(struct stream *s, enum frame_type type, unsigned flags,
                                const uint8_t *payload, size_t len)
{
    struct mux *m = s->mux;

    if (type != FRAME_DATA && s->gather != 0) {
        uint32_t id = s->id;
        deliver_stream(s); /* what came before it counts first; may end the stream */
        if (mux_find(m, id) == NULL)
            return OK;
    }
    switch ((enum action)actions[s->phase][type]) {
    case TAKE_DATA: return take_data(s, payload, len, (flags & FRAME_FLAG_FIN) != 0);
    case OPENED:
        if (get_be64(payload) > MUX_LIMIT_MAX)
            return mux_fail(m, "a window beyond all bounds");
        s->phase = STREAM_OPEN;
        raise_limit(s, get_be64(payload));
        m->ops->answered(m->owner, s, 0);
        return OK;
    case OPEN_FAILED: return open_failed(s, payload);
    case RESET: return was_reset(s);
    case STOP: return stop_sending(s);
    case CREDIT:
        if (get_be64(payload) > MUX_LIMIT_MAX)
            return mux_fail(m, "a limit beyond all bounds");
        raise_limit(s, get_be64(payload));
        return OK;
    case NOTHING: return OK;
    case BREACH: break;
    }
    return mux_fail(m, "a frame that does not fit the state of its stream");
}

static enum status refuse_unborn(struct mux *m, uint32_t id, enum dial_code code)
{
    uint8_t payload[2];

    put_be16(payload, (uint16_t)code);
    mux_queue(m, FRAME_OPEN_FAIL, id, payload, sizeof payload);
    m->stats.streams_refused++;
    return OK;
}

static enum status peer_opens(struct mux *m, uint32_t id, const uint8_t *payload)
{
    struct mux_open open = {.app = get_be32(payload), .port = get_be16(payload + 28)};
    uint64_t window = get_be64(payload + 4);

    memcpy(open.address, payload + 12, sizeof open.address);
    if (mux_is_ours(m, id) || id <= m->highest_peer || id > MUX_ID_MAX)
        return mux_fail(m, "a stream is opened with an id that is used or not the peer's");
    if (window > MUX_LIMIT_MAX)
        return mux_fail(m, "a window beyond all bounds");
    m->highest_peer = id;
    if (m->goaway_sent || m->table.count >= m->config.max_streams)
        return refuse_unborn(m, id, DIAL_LIMIT); /* not its fault: ends cross */
    struct stream *s = mux_stream_new(m, id, STREAM_ASKED, NULL);
    if (s == NULL)
        return ERR_NOMEM;
    s->send_limit = window;
    s->window = m->config.stream_window;
    s->recv_limit = s->window < MUX_EARLY_WINDOW ? s->window : MUX_EARLY_WINDOW;
    struct stream_account *account = m->ops->asked(m->owner, s, &open);
    if (account == NULL) {
        mux_refuse(s, DIAL_UNKNOWN_APP);
        if (mux_waste(m))
            return OK;
        m->error = "too many streams opened for unknown apps";
        return ERR_LIMIT;
    }
    s->account = account;
    account->streams++;
    account->streams_total++;
    account->changes++;
    m->stats.streams_total++;
    return OK;
}

/* A frame of a stream that is not in the table: long gone (ignore), or never there (a breach). */
static enum status stranger(struct mux *m, uint32_t id)
{
    bool once = mux_is_ours(m, id) ? id < m->next_id : id <= m->highest_peer;

    return once ? OK : mux_fail(m, "a frame for a stream that was never opened");
}

static enum status one_frame(struct mux *m, enum frame_type type, unsigned flags, uint32_t id,
                             const uint8_t *payload, size_t len)
{
    const struct frame_rule *rule = &rules[type];
    unsigned peer = m->config.side == SIDE_SERVER ? SIDE_CLIENT : SIDE_SERVER;

    if (rule->scope == SCOPE_NONE || (rule->senders & peer) == 0)
        return mux_fail(m, "a frame of a type that the peer may not send");
    if (len < rule->min || len > rule->max || (flags & ~(unsigned)rule->flags) != 0)
        return mux_fail(m, "a frame of wrong size or with unknown flags");
    if ((id == 0 && rule->scope == SCOPE_STREAM) || (id != 0 && rule->scope == SCOPE_CONNECTION))
        return mux_fail(m, "a frame for the wrong stream");
    if (!m->settings_received && type != FRAME_SETTINGS && type != FRAME_PADDING)
        return mux_fail(m, "the first frame is not SETTINGS");
    if (type == FRAME_DATA) { /* counts for the connection whatever becomes of it */
        if (len > m->recv_limit - m->received)
            return mux_fail(m, "more data than the connection's window allows");
        m->received += len;
    }
    if (id == 0)
        return control_frame(m, type, id, payload, len);
    if (type == FRAME_OPEN)
        return peer_opens(m, id, payload);
    struct stream *s = stream_table_find(&m->table, id);
    if (s == NULL)
        return stranger(m, id);
    return stream_frame(s, type, flags, payload, len);
}

enum status mux_input(struct mux *m, const uint8_t *plain, size_t len)
{
    while (len > 0) {
        if (m->close_received)
            return mux_fail(m, "a frame after CLOSE_NOTIFY");
        if (len < FRAME_HEADER)
            return mux_fail(m, "a frame is cut off");
        size_t size = get_be16(plain + 2);
        if (size > len - FRAME_HEADER)
            return mux_fail(m, "a frame is longer than its record");
        enum status st = one_frame(m, (enum frame_type)plain[0], plain[1], get_be32(plain + 4),
                                   plain + FRAME_HEADER, size);
        if (st != OK)
            return st;
        plain += FRAME_HEADER + size;
        len -= FRAME_HEADER + size;
    }
    if (m->overrun) {
        m->error = "the peer does not read its answers";
        return ERR_LIMIT;
    }
    return m->close_received ? ERR_EOF : OK;
}
