/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing with linear probing and backward-shift deletion (table.h). No knowledge of what is stored.
 */
#include "worker-k8s/table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static uint64_t hash_text(const char *text)
{
    static uint64_t seed;
    while (seed == 0) {
        if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
            seed = (uint64_t)(uintptr_t)&seed;
        }
    }
    uint64_t h = seed ^ 0xcbf29ce484222325u;
    for (const unsigned char *p = (const unsigned char *)text; *p != 0; p++) {
        h = (h ^ *p) * 0x100000001b3u;
    }
    h ^= h >> 32;
    return h * 0x9e3779b97f4a7c15u;
}

static size_t home_of(const struct table *table, const char *key)
{
    return (size_t)(hash_text(key) >> 20) & (table->capacity - 1);
}

/* The slot that holds key, or the free one where it belongs. Needs a free slot, which grow() guarantees. */
static struct table_slot *slot_for(const struct table *table, const char *key)
{
    size_t i = home_of(table, key);
    while (table->slots[i].key != NULL && strcmp(table->slots[i].key, key) != 0) {
        i = (i + 1) & (table->capacity - 1);
    }
    return &table->slots[i];
}

static enum status grow(struct table *table)
{
    size_t capacity = table->capacity == 0 ? 16 : table->capacity * 2;
    struct table bigger = {calloc(capacity, sizeof *bigger.slots), capacity, table->count};
    if (bigger.slots == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < table->capacity; i++) {
        if (table->slots[i].key != NULL) {
            *slot_for(&bigger, table->slots[i].key) = table->slots[i];
        }
    }
    free(table->slots);
    *table = bigger;
    return OK;
}

void table_clear(struct table *table)
{
    free(table->slots);
    *table = (struct table){0};
}

void *table_get(const struct table *table, const char *key)
{
    return table->capacity == 0 ? NULL : slot_for(table, key)->value;
}

enum status table_put(struct table *table, const char *key, void *value)
{
    if (table->count * 4 >= table->capacity * 3 && grow(table) != OK) {
        return ERR_NOMEM;
    }
    struct table_slot *slot = slot_for(table, key);
    if (slot->key == NULL) {
        table->count++;
    }
    slot->key = key;
    slot->value = value;
    return OK;
}

void *table_remove(struct table *table, const char *key)
{
    if (table->capacity == 0) {
        return NULL;
    }
    struct table_slot *slot = slot_for(table, key);
    void *value = slot->value;
    if (slot->key == NULL) {
        return NULL;
    }
    table->count--;
    size_t mask = table->capacity - 1;
    size_t hole = (size_t)(slot - table->slots);
    for (size_t i = (hole + 1) & mask; table->slots[i].key != NULL; i = (i + 1) & mask) {
        size_t home = home_of(table, table->slots[i].key);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            table->slots[hole] = table->slots[i];
            hole = i;
        }
    }
    table->slots[hole] = (struct table_slot){0};
    return value;
}

void *table_next(const struct table *table, size_t *cursor)
{
    while (*cursor < table->capacity) {
        const struct table_slot *slot = &table->slots[(*cursor)++];
        if (slot->key != NULL) {
            return slot->value;
        }
    }
    return NULL;
}
