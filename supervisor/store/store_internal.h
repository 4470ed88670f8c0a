/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the store share: the handle, its prepared statements, transactions and error texts.
 * Nobody but store*.c and audit*.c includes this.
 */
#ifndef WORMHOLE_SUPERVISOR_STORE_INTERNAL_H
#define WORMHOLE_SUPERVISOR_STORE_INTERNAL_H

#include <sqlite3.h>

#include "supervisor/store/store.h"

#define AUDIT_HASH_BYTES 32

/* Every statement there is. Values are bound, never printed into the text. */
enum store_sql {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_PEER_BY_FINGERPRINT,
    SQL_PEER_BY_NAME,
    SQL_PEER_LIST,
    SQL_PEER_COUNT,
    SQL_PEER_INSERT,
    SQL_PEER_REFRESH,
    SQL_PEER_SEEN,
    SQL_PEER_DECIDE,
    SQL_PEER_DELETE,
    SQL_NAME_HOLDER,
    SQL_AUDIT_LAST,
    SQL_AUDIT_INSERT,
    SQL_AUDIT_LIST,
    SQL_PORT_GET,
    SQL_PORT_TOUCH,
    SQL_PORT_SET,
    SQL_PORT_HOLDER,
    SQL_PORT_RECLAIM,
    SQL_COUNT
};

struct store {
    sqlite3 *db;
    char *path;
    bool read_only;
    int lock_fd; /* flock()ed for the store's life, so that two servers never share a database; -1 when
                    read-only */
    sqlite3_stmt *statements[SQL_COUNT];
    uint64_t commits, failures;
    char last_error[sizeof(((struct store_error *)0)->text)];
};

/*
 * A statement ready to be bound and stepped; NULL with last_error set when it cannot be prepared. Give it
 * back with store_done().
 */
sqlite3_stmt *store_statement(struct store *store, enum store_sql which);
void store_done(sqlite3_stmt **statement);
#define STORE_STATEMENT __attribute__((cleanup(store_done))) sqlite3_stmt *

/* OK for SQLITE_OK/ROW/DONE; else sets last_error (what, where, what to do), counts it, and gives the status.
 */
enum status store_result(struct store *store, int rc, const char *doing);

/* Sets last_error and gives the status back. */
enum status store_refuse(struct store *store, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Steps a statement that gives no rows. */
enum status store_step_done(struct store *store, sqlite3_stmt *statement, const char *doing);

/*
 * A write transaction. Starting one fails when the store is read-only or its file is not the one at the path
 * any more. store_finish commits when `so_far` is OK (and says what came of it), else rolls back and gives
 * so_far.
 */
enum status store_begin(struct store *store);
enum status store_finish(struct store *store, enum status so_far, const char *doing);

/*
 * Must the next commits be on disk before they answer (true, the rule), or may a power cut lose them? Outside
 * of transactions only.
 */
enum status store_sync_commits(struct store *store, bool sync);

void store_bind_text(sqlite3_stmt *statement, int index, const char *text);
void store_bind_u64(sqlite3_stmt *statement, int index, uint64_t value);
void store_column_text(sqlite3_stmt *statement, int column, char *out, size_t cap);
uint64_t store_column_u64(sqlite3_stmt *statement, int column);

/* Reads the row with this fingerprint; ERR_NOT_FOUND sets last_error. */
enum status store_find(struct store *store, const char *fingerprint, struct store_peer *out);
void store_read_peer(sqlite3_stmt *statement, struct store_peer *out);

/* Appends a row inside the caller's transaction. Text is cleaned (utf8_clean) and cut to the row's sizes. */
enum status audit_append(struct store *store, const struct store_actor *actor, const char *action,
                         const char *fingerprint, const char *name, const char *remote, const char *detail);

/* store_schema.c. The file's application_id: "WMHL". */
#define STORE_APPLICATION_ID 0x574d484c
/* Is the file ours, or empty? ERR_CONFIG: foreign or newer. Changes nothing. */
enum status store_schema_identify(struct store *store);
/* Makes an empty file ours, or brings an older one up to date. ERR_CONFIG: changed by hand. */
enum status store_schema_prepare(struct store *store);
/* The version that this program writes. */
int store_schema_version(void);

#endif
