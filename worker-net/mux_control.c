/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of the connection itself, both ways: SETTINGS, PING, GOAWAY, CLOSE_NOTIFY, the connection's credit
 * and the apps. Sizes and senders were already checked by the table in mux_input.c.
 */
#include <string.h>

#include "common/wire.h"
#include "worker-net/mux_private.h"

#define SETTING_SIZE 10u /* u16 id, u64 value */

enum status control_settings(struct mux *m)
{
    uint32_t early = m->config.stream_window < MUX_EARLY_WINDOW ? m->config.stream_window : MUX_EARLY_WINDOW;
    uint8_t payload[3 * SETTING_SIZE];

    put_be16(payload, SETTING_MAX_STREAMS);
    put_be64(payload + 2, m->config.max_streams);
    put_be16(payload + 10, SETTING_STREAM_WINDOW);
    put_be64(payload + 12, early);
    put_be16(payload + 20, SETTING_CONNECTION_WINDOW);
    put_be64(payload + 22, m->config.connection_window);
    return fifo_put(&m->fifo, FRAME_SETTINGS, 0, payload, sizeof payload);
}

static void connection_credit(struct mux *m, uint64_t limit)
{
    if (limit <= m->send_limit)
        return;
    m->send_limit = limit;
    if (!TAILQ_EMPTY(&m->fresh) || !TAILQ_EMPTY(&m->backlog))
        mux_wake(m);
}

static enum status take_settings(struct mux *m, const uint8_t *p, size_t len)
{
    uint64_t values[3] = {0, 0, 0};
    unsigned seen = 0;

    if (m->settings_received || len % SETTING_SIZE != 0)
        return mux_fail(m, "SETTINGS twice or of odd size");
    for (; len > 0; p += SETTING_SIZE, len -= SETTING_SIZE) {
        unsigned id = get_be16(p);
        uint64_t value = get_be64(p + 2);
        if (id < SETTING_MAX_STREAMS || id > SETTING_CONNECTION_WINDOW)
            continue; /* from a newer peer */
        if ((seen & 1u << id) != 0 || value > MUX_LIMIT_MAX)
            return mux_fail(m, "a setting twice or beyond all bounds");
        seen |= 1u << id;
        values[id - SETTING_MAX_STREAMS] = value;
    }
    m->settings_received = true;
    m->peer_max_streams = values[0] > UINT32_MAX ? UINT32_MAX : (uint32_t)values[0];
    m->peer_stream_window = values[1];
    connection_credit(m, values[2]);
    mux_wake(m);
    return OK;
}

static enum status take_goaway(struct mux *m, const uint8_t *payload)
{
    m->goaway_received = true;
    mux_sweep_unseen(m, get_be32(payload));
    m->ops->goaway(m->owner, get_be16(payload + 4));
    return OK;
}

static void take_pong(struct mux *m, uint64_t value)
{
    if (m->ping_us == 0 || value != m->ping_value)
        return; /* not asked for, or an old one: harmless, but no measurement */
    m->rtt_us = m->now_us - m->ping_us;
    if (m->rtt_us == 0)
        m->rtt_us = 1;
    if (m->min_rtt_us == 0 || m->rtt_us < m->min_rtt_us)
        m->min_rtt_us = m->rtt_us;
    m->ping_us = 0;
    m->ops->pong(m->owner, m->rtt_us);
}

/* A length-prefixed text into a buffer of 256 bytes. False: it does not fit the frame or holds a NUL. */
static bool take_text(const uint8_t **p, size_t *len, char out[256])
{
    if (*len < 1 || *len - 1 < (*p)[0] || memchr(*p + 1, 0, (*p)[0]) != NULL)
        return false;
    size_t n = (*p)[0];
    memcpy(out, *p + 1, n);
    out[n] = '\0';
    *p += 1 + n;
    *len -= 1 + n;
    return true;
}

static enum status take_app(struct mux *m, enum frame_type type, const uint8_t *p, size_t len)
{
    struct mux_app app = {.app = get_be32(p)};

    p += 4;
    len -= 4;
    if (type != FRAME_APP_WITHDRAW) {
        if (type == FRAME_APP_ADD)
            app.service_port = get_be16(p);
        else
            app.code = get_be16(p);
        p += 2;
        len -= 2;
        if (!take_text(&p, &len, app.name) || !take_text(&p, &len, app.text) || len != 0)
            return mux_fail(m, "an app's frame with malformed text");
    }
    m->ops->app(m->owner, type, &app);
    return OK;
}

enum status control_frame(struct mux *m, enum frame_type type, uint32_t stream, const uint8_t *payload,
                          size_t len)
{
    (void)stream;
    switch (type) {
    case FRAME_SETTINGS: return take_settings(m, payload, len);
    case FRAME_MAX_DATA:
        if (get_be64(payload) > MUX_LIMIT_MAX)
            return mux_fail(m, "a limit beyond all bounds");
        connection_credit(m, get_be64(payload));
        return OK;
    case FRAME_PING:
        m->pong_waits = true; /* one answer at a time: the newest */
        m->pong_value = get_be64(payload);
        mux_wake(m);
        return OK;
    case FRAME_PONG: take_pong(m, get_be64(payload)); return OK;
    case FRAME_GOAWAY: return take_goaway(m, payload);
    case FRAME_CLOSE_NOTIFY: m->close_received = true; return OK;
    case FRAME_APP_ADD:
    case FRAME_APP_WITHDRAW:
    case FRAME_APP_ACK: return take_app(m, type, payload, len);
    default: return OK; /* PADDING, BLOCKED of the connection */
    }
}

enum status mux_send_app(struct mux *m, enum frame_type type, const struct mux_app *app)
{
    uint8_t payload[8 + 255 + 255];
    size_t n = 4;

    put_be32(payload, app->app);
    if (type != FRAME_APP_WITHDRAW) {
        size_t name = strnlen(app->name, 255), text = strnlen(app->text, 255);
        put_be16(payload + 4, type == FRAME_APP_ADD ? app->service_port : app->code);
        payload[6] = (uint8_t)name;
        memcpy(payload + 7, app->name, name);
        payload[7 + name] = (uint8_t)text;
        memcpy(payload + 8 + name, app->text, text);
        n = 8 + name + text;
    }
    enum status st = fifo_put(&m->fifo, type, 0, payload, n);
    if (st == OK)
        mux_wake(m);
    return st;
}

void mux_send_ping(struct mux *m)
{
    m->ping_waits = true;
    mux_wake(m);
}

void mux_send_goaway(struct mux *m, unsigned code)
{
    uint8_t payload[6];

    if (m->goaway_sent || m->close_waits)
        return;
    m->goaway_sent = true;
    put_be32(payload, m->highest_peer);
    put_be16(payload + 4, (uint16_t)code);
    mux_queue(m, FRAME_GOAWAY, 0, payload, sizeof payload);
}

void mux_send_close(struct mux *m)
{
    m->close_waits = true;
    mux_wake(m);
}

bool mux_close_is_sent(const struct mux *m)
{
    return m->close_sent;
}
