/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See connections.h. The list of tunnel connections and what the supervisor knows about each; no decisions.
 */
#include "supervisor/connections.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "supervisor/apps.h"
#include "supervisor/worker_process.h"

const uint32_t rtt_bucket_us[RTT_BUCKETS] = {500,   1000,   2500,   5000,   10000,   25000,
                                             50000, 100000, 250000, 500000, 1000000, 2500000};

const char *connection_state_text(enum connection_state state)
{
    switch (state) {
    case CONNECTION_STARTING: return "starting";
    case CONNECTION_HANDSHAKE: return "handshake";
    case CONNECTION_PENDING: return "waiting for approval";
    case CONNECTION_APPROVED: return "approved";
    case CONNECTION_OPEN: return "open";
    case CONNECTION_DRAINING: return "ending";
    }
    return "?";
}

struct connection *connection_new(struct supervisor *s)
{
    struct connection *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->supervisor = s;
    c->number = ++s->last_connection_number;
    c->state = CONNECTION_STARTING;
    c->started_ms = clock_mono_ms();
    TAILQ_INIT(&c->apps);
    TAILQ_INSERT_TAIL(&s->connections, c, link);
    s->n_connections++;
    return c;
}

/* What it carried stays in the sums. */
static void figures_keep(struct connection *c)
{
    struct counters *sum = &c->supervisor->counters;
    const struct msg_session_stats *m = &c->stats;

    sum->streams_total += m->streams_total;
    sum->streams_refused += m->streams_refused;
    sum->streams_reset += m->streams_reset;
    sum->bytes_in += m->bytes_in;
    sum->bytes_out += m->bytes_out;
    sum->wire_in += m->wire_in;
    sum->wire_out += m->wire_out;
    sum->records_in += m->records_in;
    sum->records_out += m->records_out;
    sum->read_calls += m->read_calls;
    sum->write_calls += m->write_calls;
    unsigned code = c->end_known && c->end_code < END_CODE_COUNT ? c->end_code : END_INTERNAL;
    if (c->opened_ms != 0)
        sum->sessions_ended[code]++;
    else
        sum->handshakes_failed[code]++;
}

void connection_free(struct connection *c)
{
    struct connection_app *ca;
    struct connection_app *next;

    if (c == NULL)
        return;
    figures_keep(c);
    for (ca = TAILQ_FIRST(&c->apps); ca != NULL; ca = next) {
        next = TAILQ_NEXT(ca, link);
        connection_app_free(ca);
    }
    if (c->peer != NULL)
        peer_detach(c);
    TAILQ_REMOVE(&c->supervisor->connections, c, link);
    c->supervisor->n_connections--;
    free(c);
}

struct connection *connection_find(const struct supervisor *s, uint64_t number)
{
    struct connection *c;

    /* What is asked about is mostly young: from the end. */
    TAILQ_FOREACH_REVERSE(c, &s->connections, connection_list, link)
    {
        if (c->number == number)
            return c;
        if (c->number < number)
            return NULL;
    }
    return NULL;
}

void connection_set_state(struct connection *c, enum connection_state state)
{
    c->state = state;
}

const char *connection_text(const struct connection *c)
{
    static char text[256];
    const char *address = connection_source(c);

    if (c->name[0] != '\0')
        (void)snprintf(text, sizeof text, "%s (%s)", c->name, address);
    else
        (void)snprintf(text, sizeof text, "%s", address);
    return text;
}

const char *connection_source(const struct connection *c)
{
    return c->from_trusted_proxy && c->forwarded[0] != '\0' ? c->forwarded : c->remote;
}

void connection_end(struct connection *c, uint32_t drain_ms, enum end_code code, const char *reason)
{
    if (!c->end_known) {
        c->end_known = true;
        c->end_code = (uint16_t)code;
        (void)snprintf(c->end_text, sizeof c->end_text, "%s", reason);
    }
    if (c->state == CONNECTION_DRAINING && drain_ms != 0)
        return;
    c->state = CONNECTION_DRAINING;
    if (c->worker != NULL)
        worker_stop(c->worker, drain_ms, code, reason);
}

struct connection_app *connection_app_find(const struct connection *c, uint32_t id)
{
    struct connection_app *ca;

    TAILQ_FOREACH(ca, &c->apps, link)
    {
        if (ca->id == id)
            return ca;
    }
    return NULL;
}

struct connection_app *connection_app_new(struct connection *c, uint32_t id)
{
    struct connection_app *ca = calloc(1, sizeof *ca);

    if (ca == NULL)
        return NULL;
    ca->connection = c;
    ca->id = id;
    TAILQ_INSERT_TAIL(&c->apps, ca, link);
    c->n_apps++;
    return ca;
}

void connection_app_free(struct connection_app *ca)
{
    if (ca->app != NULL)
        app_offer_gone(ca);
    TAILQ_REMOVE(&ca->connection->apps, ca, link);
    ca->connection->n_apps--;
    free(ca);
}

/* Each figure only ever rises: what a session says otherwise is not believed. */
static uint64_t risen(uint64_t before, uint64_t now)
{
    return now > before ? now : before;
}

void connection_stats(struct connection *c, const struct msg_session_stats *m)
{
    struct msg_session_stats *have = &c->stats;
    struct counters *sum = &c->supervisor->counters;

    have->rtt_us = m->rtt_us;
    have->streams = m->streams;
    have->buffered = m->buffered;
    have->streams_total = risen(have->streams_total, m->streams_total);
    have->streams_refused = risen(have->streams_refused, m->streams_refused);
    have->streams_reset = risen(have->streams_reset, m->streams_reset);
    have->bytes_in = risen(have->bytes_in, m->bytes_in);
    have->bytes_out = risen(have->bytes_out, m->bytes_out);
    have->wire_in = risen(have->wire_in, m->wire_in);
    have->wire_out = risen(have->wire_out, m->wire_out);
    have->records_in = risen(have->records_in, m->records_in);
    have->records_out = risen(have->records_out, m->records_out);
    have->read_calls = risen(have->read_calls, m->read_calls);
    have->write_calls = risen(have->write_calls, m->write_calls);
    if (m->rtt_us != 0) {
        unsigned bucket = 0;
        while (bucket < RTT_BUCKETS && m->rtt_us > rtt_bucket_us[bucket])
            bucket++;
        sum->rtt_histogram[bucket]++;
        sum->rtt_count++;
        sum->rtt_sum_us += m->rtt_us;
    }
}

void connection_app_stats(struct connection_app *ca, const struct msg_app_stats *m)
{
    ca->stats.streams = m->streams;
    ca->stats.streams_total = risen(ca->stats.streams_total, m->streams_total);
    ca->stats.refused = risen(ca->stats.refused, m->refused);
    ca->stats.bytes_in = risen(ca->stats.bytes_in, m->bytes_in);
    ca->stats.bytes_out = risen(ca->stats.bytes_out, m->bytes_out);
}

void connections_totals(const struct supervisor *s, struct connection_totals *out)
{
    const struct connection *c;
    const struct counters *sum = &s->counters;

    *out = (struct connection_totals){.streams_total = sum->streams_total,
                                      .streams_refused = sum->streams_refused,
                                      .streams_reset = sum->streams_reset,
                                      .bytes_in = sum->bytes_in,
                                      .bytes_out = sum->bytes_out,
                                      .wire_in = sum->wire_in,
                                      .wire_out = sum->wire_out,
                                      .records_in = sum->records_in,
                                      .records_out = sum->records_out,
                                      .read_calls = sum->read_calls,
                                      .write_calls = sum->write_calls};
    TAILQ_FOREACH(c, &s->connections, link)
    {
        if (c->opened_ms != 0)
            out->open++;
        else if (c->state == CONNECTION_PENDING)
            out->pending++;
        else
            out->half_open++;
        out->streams += c->stats.streams;
        out->streams_total += c->stats.streams_total;
        out->streams_refused += c->stats.streams_refused;
        out->streams_reset += c->stats.streams_reset;
        out->bytes_in += c->stats.bytes_in;
        out->bytes_out += c->stats.bytes_out;
        out->wire_in += c->stats.wire_in;
        out->wire_out += c->stats.wire_out;
        out->records_in += c->stats.records_in;
        out->records_out += c->stats.records_out;
        out->read_calls += c->stats.read_calls;
        out->write_calls += c->stats.write_calls;
        out->buffered += c->stats.buffered;
    }
}
