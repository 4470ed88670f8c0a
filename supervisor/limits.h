/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may open a tunnel connection right now: the start limit with random early drop, the limit per source
 * and penalties for sources whose sessions crash. Judges addresses and counts only; accepts and closes
 * nothing.
 */
#ifndef WORMHOLE_SUPERVISOR_LIMITS_H
#define WORMHOLE_SUPERVISOR_LIMITS_H

#include <sys/socket.h>

#include "supervisor/supervisor.h"

/* A source: an IPv4 address (/32), or the first 56 bits of an IPv6 one; IPv4-mapped counts as IPv4. */
struct source {
    uint8_t family; /* 4 or 6; 0: none */
    uint8_t bytes[7];
};
struct source source_of_address(const struct sockaddr *address);
/* From numeric text, with or without a port; family 0 when it is not an address. */
struct source source_of_text(const char *text);
bool source_equal(const struct source *a, const struct source *b);

/* NULL: out of memory. */
struct limits *limits_new(void);
void limits_free(struct limits *limits);
/* Reads max-startups and trusted-proxies of s->config: at start and after a reload. */
void limits_configure(struct supervisor *s);

/* Is the address one of trusted-proxies? */
bool limits_is_trusted(const struct supervisor *s, const struct sockaddr *address);

/* May a connection from here be started? *why is set when not. */
bool limits_admit(struct supervisor *s, const struct sockaddr *address, enum turned_away *why);
/* START:RATE:FULL applied to a count of half-open connections; `dice` is in 0..99. */
bool startups_admit(unsigned start, unsigned rate, unsigned full, size_t half_open, unsigned dice);

/* A session of this source crashed or broke the rules: it waits 10 s, twice as long each time, at most an
 * hour. */
void limits_punish(struct supervisor *s, const struct source *source, const char *text);
/* Milliseconds that the source still has to wait; 0: none. */
uint64_t limits_penalty_ms(const struct supervisor *s, const struct source *source);
/* How many sources are waiting, for metrics. */
size_t limits_penalties(const struct supervisor *s);

#endif
