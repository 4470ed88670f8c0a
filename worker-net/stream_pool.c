/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where stream structs live (slabs: no allocator overhead per idle stream) and how one is found by its id
 * (open addressing, removal by shifting back, so that the table never fills with tombstones however many
 * streams come and go).
 */
#include <stdlib.h>
#include <string.h>

#include "worker-net/stream.h"

#define SLAB_STREAMS 32u
#define TABLE_MIN 64u

struct stream_slab {
    struct stream_slab *next;
    struct stream streams[SLAB_STREAMS];
};

struct stream *stream_pool_take(struct stream_pool *pool)
{
    if (pool->free == NULL) {
        struct stream_slab *slab = malloc(sizeof *slab);
        if (slab == NULL)
            return NULL;
        slab->next = pool->slabs;
        pool->slabs = slab;
        for (size_t i = 0; i < SLAB_STREAMS; i++)
            stream_pool_give(pool, &slab->streams[i]);
    }
    struct stream *s = pool->free;
    pool->free = s->ready_link.tqe_next;
    memset(s, 0, sizeof *s);
    return s;
}

void stream_pool_give(struct stream_pool *pool, struct stream *s)
{
    s->ready_link.tqe_next = pool->free;
    pool->free = s;
}

void stream_pool_clear(struct stream_pool *pool)
{
    while (pool->slabs != NULL) {
        struct stream_slab *next = pool->slabs->next;
        free(pool->slabs);
        pool->slabs = next;
    }
    pool->free = NULL;
}

/* Ids of one opener differ by two, so a plain multiplication spreads them. */
static uint32_t home(const struct stream_table *t, uint32_t id)
{
    return (id * 2654435769u) >> 7 & (t->size - 1);
}

struct stream *stream_table_find(const struct stream_table *t, uint32_t id)
{
    if (t->size == 0)
        return NULL;
    for (uint32_t i = home(t, id);; i = (i + 1) & (t->size - 1)) {
        struct stream *s = t->slots[i];
        if (s == NULL || s->id == id)
            return s;
    }
}

static void place(struct stream_table *t, struct stream *s)
{
    uint32_t i = home(t, s->id);

    while (t->slots[i] != NULL)
        i = (i + 1) & (t->size - 1);
    t->slots[i] = s;
}

static enum status grow(struct stream_table *t)
{
    struct stream_table bigger = {.size = t->size == 0 ? TABLE_MIN : t->size * 2, .count = t->count};

    bigger.slots = calloc(bigger.size, sizeof(struct stream *));
    if (bigger.slots == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < t->size; i++) {
        if (t->slots[i] != NULL)
            place(&bigger, t->slots[i]);
    }
    free(t->slots);
    *t = bigger;
    return OK;
}

enum status stream_table_add(struct stream_table *t, struct stream *s)
{
    if (t->count >= t->size / 2) {
        enum status st = grow(t);
        if (st != OK)
            return st;
    }
    place(t, s);
    t->count++;
    return OK;
}

void stream_table_remove(struct stream_table *t, const struct stream *s)
{
    uint32_t mask = t->size - 1;
    uint32_t hole = home(t, s->id);

    if (t->size == 0)
        return;
    while (t->slots[hole] != s) {
        if (t->slots[hole] == NULL)
            return;
        hole = (hole + 1) & mask;
    }
    /* Shift back whatever probed past the hole. */
    for (uint32_t i = (hole + 1) & mask; t->slots[i] != NULL; i = (i + 1) & mask) {
        uint32_t distance = (i - home(t, t->slots[i]->id)) & mask;
        if (distance >= ((i - hole) & mask)) {
            t->slots[hole] = t->slots[i];
            hole = i;
        }
    }
    t->slots[hole] = NULL;
    t->count--;
}

void stream_table_clear(struct stream_table *t)
{
    free(t->slots);
    *t = (struct stream_table){0};
}
