/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers of the store's tests; see the header.
 */
#include "tests/unit/store_support.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

const struct store_actor alice = {.kind = "control", .id = "uid=1000(alice) pid=4711"};

int fixture_new(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/wormhole-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof f->path, "%s/wormhole.db", f->dir);
    *state = f;
    return 0;
}

void fixture_reopen(struct fixture *f)
{
    struct store_error error;
    store_close(f->store);
    f->store = NULL;
    enum status status = store_open(f->path, false, &f->store, &error);
    if (status != OK)
        fail_msg("cannot open %s: %s", f->path, error.text);
}

int fixture_open(void **state)
{
    (void)fixture_new(state);
    fixture_reopen(*state);
    return 0;
}

int fixture_free(void **state)
{
    struct fixture *f = *state;
    store_close(f->store);
    DIR *dir = opendir(f->dir);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    (void)closedir(dir);
    (void)rmdir(f->dir);
    free(f);
    return 0;
}

const char *fingerprint_of(unsigned n)
{
    static char texts[4][FINGERPRINT_TEXT + 1];
    static unsigned turn;
    uint8_t digest[FINGERPRINT_BYTES];
    for (unsigned i = 0; i < sizeof digest; i++)
        digest[i] = (uint8_t)(n >> 8 * (i % 4));
    char *text = texts[turn++ % 4];
    fingerprint_format(digest, text);
    return text;
}

struct store_peer request_of(unsigned n, const char *name)
{
    struct store_peer peer = {.bits = 2048, .public_key = {0x30, 0x82}, .public_key_len = 2};
    (void)snprintf(peer.fingerprint, sizeof peer.fingerprint, "%s", fingerprint_of(n));
    (void)snprintf(peer.name, sizeof peer.name, "%s", name);
    (void)snprintf(peer.remote, sizeof peer.remote, "192.0.2.%u:4000", n % 250);
    (void)snprintf(peer.pairing_code, sizeof peer.pairing_code, "ABCD-EFGH-IJKL-MNOP");
    return peer;
}

void request(struct store *store, unsigned n, const char *name)
{
    struct store_peer peer = request_of(n, name);
    enum status status = store_request_seen(store, &peer, false);
    if (status != OK)
        fail_msg("request not stored: %s", store_last_error(store));
}

int raw_sql(const char *path, const char *sql, char *out, size_t cap)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (rc == SQLITE_OK)
        (void)sqlite3_busy_timeout(db, 5000);
    while (rc == SQLITE_OK && *sql != '\0') {
        (void)sqlite3_finalize(statement);
        statement = NULL;
        rc = sqlite3_prepare_v2(db, sql, -1, &statement, &sql);
        if (rc == SQLITE_OK && statement != NULL)
            rc = sqlite3_step(statement);
        if (rc == SQLITE_ROW && out != NULL)
            (void)snprintf(out, cap, "%s", (const char *)sqlite3_column_text(statement, 0));
        if (rc == SQLITE_ROW || rc == SQLITE_DONE)
            rc = SQLITE_OK;
    }
    (void)sqlite3_finalize(statement);
    (void)sqlite3_close(db);
    return rc;
}

size_t audit_count(struct store *store, const char *action)
{
    struct store_audit_row rows[16];
    size_t n = 0;
    size_t count = 0;
    uint64_t after = 0;
    do {
        assert_int_equal(store_list_audit(store, after, rows, 16, &n), OK);
        for (size_t i = 0; i < n; i++) {
            count += action[0] == '\0' || strcmp(rows[i].action, action) == 0;
            after = rows[i].seq;
        }
    } while (n == 16);
    return count;
}

struct store_audit_row audit_newest(struct store *store)
{
    struct store_stats stats;
    struct store_audit_row row;
    size_t n = 0;
    assert_int_equal(store_stats(store, &stats), OK);
    assert_int_equal(store_list_audit(store, stats.audit_seq - 1, &row, 1, &n), OK);
    assert_int_equal(n, 1);
    return row;
}
