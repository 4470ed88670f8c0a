/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the store share: a directory of their own, fingerprints, requests, and a second way to
 * the file (plain sqlite, as an operator's or an attacker's hand would use). No assertions about the store's
 * behaviour.
 */
#ifndef WORMHOLE_TESTS_STORE_SUPPORT_H
#define WORMHOLE_TESTS_STORE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "supervisor/store/store.h"

struct fixture {
    char dir[64];
    char path[96];
    struct store *store; /* opened on path by fixture_open */
};

/* cmocka setup and teardown: a new directory with (fixture_open) or without (fixture_new) a fresh database.
 */
int fixture_new(void **state);
int fixture_open(void **state);
int fixture_free(void **state);
void fixture_reopen(struct fixture *f);

/* The fingerprint of 32 bytes, all n. Static buffers, four of them in turn. */
const char *fingerprint_of(unsigned n);
/* A pending request of that key; asserts that it was stored. */
void request(struct store *store, unsigned n, const char *name);
struct store_peer request_of(unsigned n, const char *name);

extern const struct store_actor alice;

/* Runs SQL on the file through a connection of its own; gives sqlite's result code, and the first value as
 * text. */
int raw_sql(const char *path, const char *sql, char *out, size_t cap);

/* Counts audit rows with this action ("" = all). */
size_t audit_count(struct store *store, const char *action);
struct store_audit_row audit_newest(struct store *store);

#endif
