/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See limits.h. Counts are taken from the list of connections itself, so that they cannot drift from the
 * truth; half-open ones are few by their own limit.
 */
#include "supervisor/limits.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/names.h"
#include "supervisor/config/netmask.h"
#include "supervisor/connections.h"

#define PENALTIES 1024u
#define PENALTY_FIRST_MS 2000u
#define PENALTY_MAX_MS 3600000u
#define PENALTY_FORGET_MS 3600000u /* of good behaviour after the last one */

struct penalty {
    struct source source;
    uint64_t until_ms, length_ms; /* monotonic */
};

struct limits {
    unsigned start, rate, full;
    struct netmask *trusted;
    size_t n_trusted;
    struct penalty penalties[PENALTIES];
};

static struct source source_v4(const void *address)
{
    struct source out = {.family = 4};
    memcpy(out.bytes, address, 4);
    return out;
}

static struct source source_v6(const struct in6_addr *address)
{
    struct source out = {.family = 6};

    if (IN6_IS_ADDR_V4MAPPED(address))
        return source_v4(address->s6_addr + 12);
    memcpy(out.bytes, address->s6_addr, 7); /* /56: what one customer usually has */
    return out;
}

struct source source_of_address(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return source_v4(&((const struct sockaddr_in *)(const void *)address)->sin_addr);
    if (address->sa_family == AF_INET6)
        return source_v6(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
    return (struct source){0};
}

struct source source_of_text(const char *text)
{
    char host[256];
    uint16_t port = 0;
    struct in_addr v4;
    struct in6_addr v6;

    if (inet_pton(AF_INET, text, &v4) == 1)
        return source_v4(&v4);
    if (inet_pton(AF_INET6, text, &v6) == 1)
        return source_v6(&v6);
    if (address_split(text, 1, host, sizeof host, &port) != OK)
        return (struct source){0};
    if (inet_pton(AF_INET, host, &v4) == 1)
        return source_v4(&v4);
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return source_v6(&v6);
    return (struct source){0};
}

bool source_equal(const struct source *a, const struct source *b)
{
    return a->family != 0 && a->family == b->family && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

struct limits *limits_new(void)
{
    return calloc(1, sizeof(struct limits));
}

void limits_free(struct limits *limits)
{
    if (limits == NULL)
        return;
    free(limits->trusted);
    free(limits);
}

void limits_configure(struct supervisor *s)
{
    struct limits *l = s->limits;
    const struct config_list *list = &s->config->trusted_proxies;

    /* The option table has judged the text already. */
    if (sscanf(s->config->max_startups, "%5u:%3u:%5u", &l->start, &l->rate, &l->full) != 3) {
        l->start = 10;
        l->rate = 30;
        l->full = 100;
    }
    free(l->trusted);
    l->n_trusted = 0;
    l->trusted = calloc(list->n_items + 1, sizeof *l->trusted);
    for (size_t i = 0; l->trusted != NULL && i < list->n_items; i++) {
        if (netmask_parse(list->items[i], &l->trusted[l->n_trusted]) == OK)
            l->n_trusted++;
    }
}

bool limits_is_trusted(const struct supervisor *s, const struct sockaddr *address)
{
    for (size_t i = 0; i < s->limits->n_trusted; i++) {
        if (netmask_has_sockaddr(&s->limits->trusted[i], address))
            return true;
    }
    return false;
}

static bool is_half_open(const struct connection *c)
{
    return c->state == CONNECTION_STARTING || c->state == CONNECTION_HANDSHAKE ||
           c->state == CONNECTION_APPROVED || (c->state == CONNECTION_DRAINING && c->opened_ms == 0);
}

bool startups_admit(unsigned start, unsigned rate, unsigned full, size_t half_open, unsigned dice)
{
    if (half_open < start)
        return true;
    if (half_open >= full)
        return false;
    /* From `rate` percent at `start` in a straight line to all at `full`. */
    size_t percent = rate + (100u - rate) * (half_open - start) / (full - start);
    return dice >= percent;
}

static unsigned dice_roll(void)
{
    uint32_t value = 0;

    if (getrandom(&value, sizeof value, GRND_NONBLOCK) != (ssize_t)sizeof value)
        return 0; /* the strictest outcome */
    return value % 100u;
}

bool limits_admit(struct supervisor *s, const struct sockaddr *address, enum turned_away *why)
{
    const struct limits *l = s->limits;
    struct source source = source_of_address(address);
    bool trusted = limits_is_trusted(s, address);
    const struct connection *c;
    size_t half_open = 0;
    size_t same = 0;

    if (s->n_connections >= (size_t)s->config->max_sessions) {
        *why = AWAY_SESSIONS;
        return false;
    }
    if (!trusted && limits_penalty_ms(s, &source) > 0) {
        *why = AWAY_PENALTY;
        return false;
    }
    TAILQ_FOREACH(c, &s->connections, link)
    {
        if (!is_half_open(c))
            continue;
        struct source other = source_of_address((const struct sockaddr *)&c->address);
        half_open++;
        if (source_equal(&source, &other))
            same++;
    }
    if (!trusted && same >= (size_t)s->config->max_half_open_per_source) {
        *why = AWAY_SOURCE;
        return false;
    }
    if (!startups_admit(l->start, l->rate, l->full, half_open, dice_roll())) {
        *why = AWAY_STARTUPS;
        return false;
    }
    return true;
}

/* The source's entry, else a free or forgotten one, else the one that ends first. */
static struct penalty *penalty_place(struct limits *l, const struct source *source, uint64_t now)
{
    struct penalty *best = &l->penalties[0];

    for (size_t i = 0; i < PENALTIES; i++) {
        struct penalty *p = &l->penalties[i];
        if (source_equal(&p->source, source))
            return p;
        if (p->source.family != 0 && p->until_ms + PENALTY_FORGET_MS < now)
            *p = (struct penalty){0};
        if (p->until_ms < best->until_ms)
            best = p;
    }
    *best = (struct penalty){.source = *source};
    return best;
}

void limits_punish(struct supervisor *s, const struct source *source, const char *text)
{
    uint64_t now = clock_mono_ms();

    if (source->family == 0)
        return;
    struct penalty *p = penalty_place(s->limits, source, now);
    if (p->until_ms + PENALTY_FORGET_MS < now)
        p->length_ms = 0;
    p->length_ms = p->length_ms == 0 ? PENALTY_FIRST_MS : p->length_ms * 2;
    if (p->length_ms > PENALTY_MAX_MS)
        p->length_ms = PENALTY_MAX_MS;
    p->until_ms = now + p->length_ms;
    sup_warn("connections from %s are turned away for %llu s, because its session crashed", text,
             (unsigned long long)(p->length_ms / 1000));
}

uint64_t limits_penalty_ms(const struct supervisor *s, const struct source *source)
{
    uint64_t now = clock_mono_ms();

    for (size_t i = 0; i < PENALTIES; i++) {
        const struct penalty *p = &s->limits->penalties[i];
        if (source_equal(&p->source, source))
            return p->until_ms > now ? p->until_ms - now : 0;
    }
    return 0;
}

size_t limits_penalties(const struct supervisor *s)
{
    uint64_t now = clock_mono_ms();
    size_t n = 0;

    for (size_t i = 0; i < PENALTIES; i++)
        n += s->limits->penalties[i].until_ms > now;
    return n;
}
