/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table from text to pointers, for what this worker remembers about the cluster. It owns neither keys
 * nor values: a key must live as long as its entry, usually inside the value. Keys come from the cluster, so
 * the hash is seeded per process.
 */
#ifndef WORMHOLE_K8S_TABLE_H
#define WORMHOLE_K8S_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

struct table_slot {
    const char *key; /* NULL: free */
    void *value;
};

struct table {
    struct table_slot *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
};

/* A zeroed struct table is a valid empty one; clear frees the slots only. */
void table_clear(struct table *table);

/* NULL when there is none. */
void *table_get(const struct table *table, const char *key);

/* Adds or replaces (the key pointer too). ERR_NOMEM leaves the table as it was. */
enum status table_put(struct table *table, const char *key, void *value);

/* Removes and returns the value, or NULL. */
void *table_remove(struct table *table, const char *key);

/* Walks in no order: start with *cursor = 0, ends with NULL. Removing or adding meanwhile is not allowed. */
void *table_next(const struct table *table, size_t *cursor);

#endif
