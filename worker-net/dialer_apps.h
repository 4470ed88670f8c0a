/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dialer's table of what may be connected to: apps by id, as the supervisor gave them. The only place
 * where an id becomes an address. Nothing that a session says can add to it.
 */
#ifndef WORMHOLE_WORKER_NET_DIALER_APPS_H
#define WORMHOLE_WORKER_NET_DIALER_APPS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "worker-net/dialer_connect.h"

struct lookup;
struct dial;

/* How long an app's looked-up addresses serve further dials: a burst asks once, a change is seen soon. */
#define APP_ADDRESSES_MS 5000

struct app {
    uint32_t id;
    uint16_t port;
    bool numeric; /* host is an address: never looked up */
    char host[256];
    struct dial_addresses addresses; /* valid when numeric or before fresh_until */
    uint64_t fresh_until;            /* monotonic milliseconds */
    struct lookup *lookup;           /* under way for `waiting`, or NULL */
    TAILQ_HEAD(dial_list, dial) waiting;
    struct app *next; /* same bucket */
};

struct app_table;
struct app_table *app_table_new(void);

/* NULL: not there. */
struct app *app_find(struct app_table *table, uint32_t id);
/* Adds, or changes where an app is. NULL: no memory. The caller must have emptied `waiting` of a known one.
 */
struct app *app_set(struct app_table *table, uint32_t id, const char *host, uint16_t port);
/* The caller must have emptied `waiting` and cancelled the look-up. */
void app_remove(struct app_table *table, uint32_t id);

#endif
