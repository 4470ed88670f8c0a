/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See dialer_apps.h. A hash table that grows, because every stream that opens asks it once.
 */
#include "worker-net/dialer_apps.h"

#include <stdio.h>
#include <stdlib.h>

#include "worker-net/dialer_resolve.h"

struct app_table {
    struct app **buckets; /* n_buckets, a power of two */
    uint32_t n_buckets, n_apps;
};

struct app_table *app_table_new(void)
{
    struct app_table *table = calloc(1, sizeof *table);
    if (table == NULL)
        return NULL;
    table->n_buckets = 64;
    table->buckets = calloc(table->n_buckets, sizeof(struct app *));
    if (table->buckets == NULL) {
        free(table);
        return NULL;
    }
    return table;
}

/* Ids are given out in rising order, so their low bits spread them well enough. */
static struct app **bucket_of(const struct app_table *table, uint32_t id)
{
    return &table->buckets[id & (table->n_buckets - 1)];
}

struct app *app_find(struct app_table *table, uint32_t id)
{
    struct app *app = *bucket_of(table, id);
    while (app != NULL && app->id != id)
        app = app->next;
    return app;
}

/* Without memory the old size goes on working, only slower. */
static void table_grow(struct app_table *table)
{
    struct app_table grown = {.n_buckets = table->n_buckets * 2, .n_apps = table->n_apps};
    grown.buckets = calloc(grown.n_buckets, sizeof(struct app *));
    if (grown.buckets == NULL)
        return;
    for (uint32_t i = 0; i < table->n_buckets; i++) {
        for (struct app *app = table->buckets[i], *next; app != NULL; app = next) {
            next = app->next;
            struct app **bucket = bucket_of(&grown, app->id);
            app->next = *bucket;
            *bucket = app;
        }
    }
    free(table->buckets);
    *table = grown;
}

struct app *app_set(struct app_table *table, uint32_t id, const char *host, uint16_t port)
{
    struct app *app = app_find(table, id);
    if (app == NULL) {
        if (table->n_apps >= table->n_buckets && table->n_buckets < 1u << 20)
            table_grow(table);
        app = calloc(1, sizeof *app);
        if (app == NULL)
            return NULL;
        TAILQ_INIT(&app->waiting);
        app->id = id;
        struct app **bucket = bucket_of(table, id);
        app->next = *bucket;
        *bucket = app;
        table->n_apps++;
    }
    (void)snprintf(app->host, sizeof app->host, "%s", host);
    app->port = port;
    app->numeric = resolver_numeric(host, port, &app->addresses);
    app->fresh_until = 0;
    return app;
}

void app_remove(struct app_table *table, uint32_t id)
{
    for (struct app **at = bucket_of(table, id); *at != NULL; at = &(*at)->next) {
        if ((*at)->id != id)
            continue;
        struct app *gone = *at;
        *at = gone->next;
        table->n_apps--;
        free(gone);
        return;
    }
}
