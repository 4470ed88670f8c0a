/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Birth and death of the mux and of its streams, and the questions that its owner may ask: see mux.h. What
 * frames do is in mux_input.c and mux_control.c, what is sent in mux_output.c.
 */
#include <stdlib.h>
#include <string.h>

#include "common/wire.h"
#include "worker-net/mux_private.h"

/*
 * Opens of apps that do not exist, which a server only does by mistake: a burst (users of an app that was
 * just withdrawn), then a rate. What users cause from outside has no such budget: they must not be able to
 * end a tunnel.
 */
#define WASTE_BURST 20000u
#define WASTE_PER_SECOND 2000u

/* Encoded frames per stream that may wait: OPEN or its answer, and RESET. */
#define FIFO_BASE (256u << 10)
#define FIFO_PER_STREAM 96u

struct mux *mux_new(const struct mux_config *config, const struct mux_ops *ops, void *owner)
{
    struct mux *m = calloc(1, sizeof *m);

    if (m == NULL)
        return NULL;
    m->config = *config;
    m->ops = ops;
    m->owner = owner;
    m->next_id = config->side == SIDE_SERVER ? 2 : 1;
    m->window = config->connection_window;
    m->recv_limit = config->connection_window;
    m->waste.left = WASTE_BURST;
    TAILQ_INIT(&m->fresh);
    TAILQ_INIT(&m->backlog);
    TAILQ_INIT(&m->credits);
    fifo_init(&m->fifo, FIFO_BASE + (size_t)config->max_streams * FIFO_PER_STREAM);
    if (control_settings(m) != OK) {
        mux_free(m);
        return NULL;
    }
    return m;
}

void mux_free(struct mux *m)
{
    if (m == NULL)
        return;
    m->close_sent = true; /* no more words to the peer */
    for (uint32_t i = 0; i < m->table.size; i++) {
        while (m->table.slots[i] != NULL) /* dropping shifts others back into this place */
            mux_stream_drop(m->table.slots[i], STREAM_BROKEN);
    }
    stream_table_clear(&m->table);
    stream_pool_clear(&m->pool);
    fifo_clear(&m->fifo);
    free(m);
}

void mux_set_now(struct mux *m, uint64_t now_us)
{
    m->now_us = now_us;
    m->now_s = (uint32_t)(now_us / 1000000u);
}

bool mux_is_ours(const struct mux *m, uint32_t id)
{
    return (id & 1) == (m->config.side == SIDE_SERVER ? 0u : 1u);
}

bool mux_waste(struct mux *m)
{
    struct budget *b = &m->waste;
    uint64_t earned = (m->now_us - b->refilled_us) * WASTE_PER_SECOND / 1000000u;

    if (earned > 0) {
        b->left = earned >= WASTE_BURST - b->left ? WASTE_BURST : b->left + (uint32_t)earned;
        b->refilled_us = m->now_us;
    }
    if (b->left == 0)
        return false;
    b->left--;
    return true;
}

struct stream *mux_stream_new(struct mux *m, uint32_t id, enum stream_phase phase,
                              struct stream_account *account)
{
    struct stream *s = stream_pool_take(&m->pool);

    if (s == NULL)
        return NULL;
    s->mux = m;
    s->id = id;
    s->phase = (uint8_t)phase;
    s->account = account;
    s->active_s = m->now_s;
    s->tune_us = (uint32_t)m->now_us;
    if (stream_table_add(&m->table, s) != OK) {
        stream_pool_give(&m->pool, s);
        return NULL;
    }
    return s;
}

/* Keeps count of half-closed streams; `was` is what is_half_closed() said before the change. */
void mux_half_closed_update(struct stream *s, bool was)
{
    bool is = s->fin_sent != s->fin_received;

    if (is && !was)
        s->mux->half_closed++;
    else if (was && !is)
        s->mux->half_closed--;
}

void mux_stream_drop(struct stream *s, enum stream_end how)
{
    struct mux *m = s->mux;

    if (s->fin_sent != s->fin_received)
        m->half_closed--;
    ready_remove(s);
    credit_remove(s);
    deliver_forget(s);
    m->buffered -= stream_spill_bytes(s->spill);
    stream_spill_free(&s->spill);
    stream_table_remove(&m->table, s);
    if (s->account != NULL) {
        s->account->streams--;
        s->account->changes++;
    }
    m->ops->detach(s, how);
    stream_pool_give(&m->pool, s);
    window_connection(m); /* what its spill held may be lent again */
}

bool mux_stream_settle(struct stream *s)
{
    if (s->fin_received && !s->shut && s->spill == NULL && s->gather == 0 && s->attached) {
        s->shut = true;
        s->mux->ops->shut(s);
    }
    if (!s->fin_sent || !s->shut)
        return false;
    mux_stream_drop(s, STREAM_FINISHED);
    return true;
}

bool mux_is_exhausted(const struct mux *m)
{
    return m->next_id > MUX_ID_MAX;
}

enum status mux_can_open(const struct mux *m)
{
    if (m->goaway_received || m->goaway_sent || m->close_waits || m->close_sent || mux_is_exhausted(m))
        return ERR_LIMIT;
    if (!m->settings_received || m->table.count >= m->peer_max_streams ||
        m->table.count >= m->config.max_streams)
        return ERR_AGAIN;
    return OK;
}

enum status mux_open(struct mux *m, const struct mux_open *open, struct stream_account *account,
                     struct stream **out)
{
    uint8_t payload[30];

    enum status st = mux_can_open(m);
    if (st != OK)
        return st;
    struct stream *s = mux_stream_new(m, m->next_id, STREAM_OPENING, account);
    if (s == NULL)
        return ERR_NOMEM;
    s->window = window_offer(m, m->config.stream_window);
    s->recv_limit = s->window;
    s->send_limit = m->peer_stream_window;
    put_be32(payload, open->app);
    put_be64(payload + 4, s->recv_limit);
    memcpy(payload + 12, open->address, 16);
    put_be16(payload + 28, open->port);
    account->streams++;
    account->streams_total++;
    account->changes++;
    st = fifo_put(&m->fifo, FRAME_OPEN, s->id, payload, sizeof payload);
    if (st != OK) {
        mux_stream_drop(s, STREAM_BROKEN);
        return st == ERR_FULL ? ERR_AGAIN : st;
    }
    m->next_id += 2;
    m->stats.streams_total++;
    *out = s;
    mux_wake(m);
    return OK;
}

void mux_accept(struct stream *s)
{
    struct mux *m = s->mux;
    uint8_t payload[8];

    s->phase = STREAM_OPEN;
    s->window = window_offer(m, m->config.stream_window);
    if (s->recv_limit < s->consumed + s->window)
        s->recv_limit = s->consumed + s->window;
    put_be64(payload, s->recv_limit);
    mux_queue(m, FRAME_OPEN_OK, s->id, payload, sizeof payload);
    if (deliver_spill(s) && s->readable)
        mux_readable(s, s->hangup);
}

void mux_refuse(struct stream *s, enum dial_code code)
{
    static const char *const texts[] = {"",         "no such app",    "connection refused", "time-out",
                                        "no route", "name not found", "too many at once",   "internal error"};
    struct mux *m = s->mux;
    uint8_t payload[2 + 128];
    unsigned known = code < sizeof texts / sizeof texts[0] ? code : DIAL_INTERNAL;
    size_t n = strlen(texts[known]);

    put_be16(payload, (uint16_t)code);
    memcpy(payload + 2, texts[known], n);
    mux_queue(m, FRAME_OPEN_FAIL, s->id, payload, n + 2);
    m->stats.streams_refused++;
    if (s->account != NULL)
        s->account->refused++;
    mux_stream_drop(s, STREAM_FINISHED);
}

void mux_reset(struct stream *s, enum reset_code code)
{
    struct mux *m = s->mux;
    uint8_t payload[2];

    put_be16(payload, (uint16_t)code);
    mux_queue(m, FRAME_RESET, s->id, payload, sizeof payload);
    m->stats.streams_reset++;
    mux_stream_drop(s, STREAM_BROKEN);
}

struct stream *mux_find(struct mux *m, uint32_t id)
{
    return stream_table_find(&m->table, id);
}

uint32_t mux_streams(const struct mux *m)
{
    return m->table.count;
}

void mux_each(struct mux *m, void (*call)(struct stream *s, void *arg), void *arg)
{
    for (uint32_t i = 0; i < m->table.size; i++) {
        if (m->table.slots[i] != NULL)
            call(m->table.slots[i], arg);
    }
}

bool mux_is_overrun(const struct mux *m)
{
    return m->overrun;
}

bool mux_has_half_closed(const struct mux *m)
{
    return m->half_closed > 0;
}

/*
 * Visits every stream although `remove` may remove the visited one: what a removal shifts comes into the same
 * place or a later one, and is visited there (twice, when it came over the table's end).
 */
static void each_removing(struct mux *m, bool (*remove)(struct stream *s, uint32_t arg), uint32_t arg)
{
    for (uint32_t i = 0; i < m->table.size; i++) {
        struct stream *s = m->table.slots[i];
        while (s != NULL && remove(s, arg))
            s = m->table.slots[i];
    }
}

static bool reap_one(struct stream *s, uint32_t before_s)
{
    if (s->fin_sent == s->fin_received || (int32_t)(s->active_s - before_s) >= 0)
        return false;
    mux_reset(s, RESET_IDLE);
    return true;
}

void mux_reap(struct mux *m, uint32_t before_s)
{
    each_removing(m, reap_one, before_s);
}

static bool sweep_one(struct stream *s, uint32_t last)
{
    struct mux *m = s->mux;

    if (s->phase != STREAM_OPENING || s->id <= last)
        return false;
    m->ops->answered(m->owner, s, DIAL_LIMIT);
    mux_stream_drop(s, STREAM_BROKEN);
    return true;
}

void mux_sweep_unseen(struct mux *m, uint32_t last)
{
    each_removing(m, sweep_one, last);
}

static bool abandon_one(struct stream *s, uint32_t unused)
{
    (void)unused;
    if (s->fin_sent && s->fin_received && s->attached)
        return false; /* all of it is here and authentic; only the application is slow */
    mux_stream_drop(s, STREAM_BROKEN);
    return true;
}

void mux_abandon(struct mux *m)
{
    each_removing(m, abandon_one, 0);
}

const char *mux_error(const struct mux *m)
{
    return m->error == NULL ? "no error" : m->error;
}

const struct mux_stats *mux_statistics(const struct mux *m)
{
    return &m->stats;
}

uint64_t mux_buffered(const struct mux *m)
{
    return m->buffered;
}

uint64_t mux_rtt_us(const struct mux *m)
{
    return m->rtt_us;
}

uint64_t mux_min_rtt_us(const struct mux *m)
{
    return m->min_rtt_us;
}
