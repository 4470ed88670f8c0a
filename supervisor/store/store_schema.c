/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables and how they came to be: a list of migrations, each one transaction. Also the judgement whether
 * a file is ours and whether its tables are still what we made. Migrations that were released are never
 * edited.
 */
#include "supervisor/store/store_internal.h"

#include <stdio.h>
#include <string.h>

/* What every row of peers may be is said here once; peer_status_text() gives the same words. */
static const char version_1[] =
    "CREATE TABLE peers(\n"
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
    "  fingerprint TEXT NOT NULL UNIQUE CHECK(length(fingerprint)=50 AND fingerprint GLOB 'SHA256:*'),\n"
    "  name TEXT NOT NULL CHECK(length(name) BETWEEN 1 AND 63),\n"
    "  public_key BLOB NOT NULL DEFAULT x'',\n"
    "  bits INTEGER NOT NULL DEFAULT 0,\n"
    "  status TEXT NOT NULL CHECK(status IN ('pending','approved','declined','revoked','superseded')),\n"
    "  first_seen INTEGER NOT NULL DEFAULT 0,\n"
    "  last_seen INTEGER NOT NULL DEFAULT 0,\n"
    "  decided_at INTEGER NOT NULL DEFAULT 0,\n"
    "  decided_by TEXT NOT NULL DEFAULT '',\n"
    "  remote TEXT NOT NULL DEFAULT '',\n"
    "  pairing_code TEXT NOT NULL DEFAULT '',\n"
    "  superseded_by TEXT REFERENCES peers(fingerprint)\n"
    ") STRICT;\n"
    /* One approved key per name: two that claim the same name can never both hold it. */
    "CREATE UNIQUE INDEX peers_approved_name ON peers(name) WHERE status='approved';\n"
    "CREATE INDEX peers_name ON peers(name);\n"
    "CREATE INDEX peers_status ON peers(status);\n"
    "CREATE TABLE apps(\n"
    "  peer TEXT NOT NULL REFERENCES peers(fingerprint) ON DELETE CASCADE,\n"
    "  app TEXT NOT NULL CHECK(length(app) BETWEEN 1 AND 63),\n"
    "  port INTEGER NOT NULL UNIQUE CHECK(port BETWEEN 1 AND 65535),\n"
    "  last_used INTEGER NOT NULL,\n"
    "  UNIQUE(peer, app)\n"
    ") STRICT;\n"
    "CREATE TABLE audit(\n"
    "  seq INTEGER PRIMARY KEY CHECK(seq>0),\n"
    "  time_ms INTEGER NOT NULL,\n"
    "  actor_kind TEXT NOT NULL,\n"
    "  actor TEXT NOT NULL,\n"
    "  action TEXT NOT NULL,\n"
    "  fingerprint TEXT NOT NULL,\n"
    "  name TEXT NOT NULL,\n"
    "  remote TEXT NOT NULL,\n"
    "  detail TEXT NOT NULL,\n"
    "  previous BLOB NOT NULL CHECK(length(previous)=32),\n"
    "  hash BLOB NOT NULL UNIQUE CHECK(length(hash)=32)\n"
    ") STRICT;\n"
    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit\n"
    "BEGIN SELECT RAISE(ABORT, 'audit rows cannot be changed'); END;\n"
    "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit\n"
    "BEGIN SELECT RAISE(ABORT, 'audit rows cannot be removed'); END;\n"
    /* Also what keeps INSERT OR REPLACE from being a hidden UPDATE. */
    "CREATE TRIGGER audit_append_only BEFORE INSERT ON audit\n"
    "WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0)+1 FROM audit)\n"
    "  OR NEW.previous IS NOT coalesce((SELECT hash FROM audit ORDER BY seq DESC LIMIT 1), zeroblob(32))\n"
    "BEGIN SELECT RAISE(ABORT, 'audit rows can only be appended'); END;\n";

static const char *const migrations[] = {version_1};
#define NEWEST ((int)(sizeof migrations / sizeof *migrations))

int store_schema_version(void)
{
    return NEWEST;
}

static enum status run_script(struct store *store, const char *script)
{
    return store_result(store, sqlite3_exec(store->db, script, NULL, NULL, NULL), "set up its tables");
}

static enum status read_int(struct store *store, const char *text, int *out)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(store->db, text, -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    enum status status = store_result(store, rc, "read");
    if (status == OK)
        *out = sqlite3_column_int(statement, 0);
    (void)sqlite3_finalize(statement);
    return status;
}

/* Ours, not from the future; a file without any table counts as ours to be made (a start cut short leaves
 * one). */
enum status store_schema_identify(struct store *store)
{
    int application = 0;
    int version = 0;
    int objects = 0;
    enum status status = read_int(store, "PRAGMA application_id", &application);
    if (status == OK)
        status = read_int(store, "PRAGMA user_version", &version);
    if (status == OK)
        status = read_int(store, "SELECT count(*) FROM sqlite_schema", &objects);
    if (status != OK)
        return status;
    bool empty = application == 0 && version == 0 && objects == 0;
    if (application != STORE_APPLICATION_ID && (!empty || store->read_only))
        return store_refuse(
            store, ERR_CONFIG,
            "%s: is an sqlite database of another program (application_id 0x%08x): choose another "
            "file with --acceptor-storage-file-path",
            store->path, (unsigned)application);
    if (version > NEWEST)
        return store_refuse(
            store, ERR_CONFIG,
            "%s: was written by a newer Wormhole (database version %d; this program, %s, knows up to "
            "%d): install that version again, or restore a backup from before the upgrade",
            store->path, version, WORMHOLE_VERSION, NEWEST);
    if (store->read_only && version < 1)
        return store_refuse(store, ERR_CONFIG, "%s: has no tables yet", store->path);
    return OK;
}

static enum status migrate_step(struct store *store, int version)
{
    char script[96];
    (void)snprintf(script, sizeof script, "PRAGMA application_id=%d; PRAGMA user_version=%d",
                   STORE_APPLICATION_ID, version + 1);
    enum status status = run_script(store, migrations[version]);
    if (status == OK)
        status = run_script(store, script);
    if (status != OK)
        return status;
    char detail[128];
    unsigned char id[16];
    sqlite3_randomness(sizeof id, id);
    int used =
        snprintf(detail, sizeof detail, "database version %d by wormhole %s", version + 1, WORMHOLE_VERSION);
    /* A log that starts with a random number cannot be passed off as the start of another one. */
    if (version == 0 && used > 0) {
        used += snprintf(detail + used, sizeof detail - (size_t)used, ", id ");
        for (unsigned i = 0; i < sizeof id; i++)
            used += snprintf(detail + used, sizeof detail - (size_t)used, "%02x", id[i]);
    }
    const struct store_actor actor = {.kind = "system", .id = "store"};
    return audit_append(store, &actor, version == 0 ? "created" : "migrated", NULL, NULL, NULL, detail);
}

static enum status migrate(struct store *store)
{
    enum status status = store_begin(store);
    if (status != OK)
        return status;
    /* Read inside the transaction, so that what is decided here is still so when it is written. */
    int version = 0;
    status = read_int(store, "PRAGMA user_version", &version);
    while (status == OK && version < NEWEST)
        status = migrate_step(store, version++);
    return store_finish(store, status, "set up its tables");
}

/* Every table, index and trigger of ours as text, in one string; sqlite's own are left out. */
static enum status schema_text(sqlite3 *db, sqlite3_str *out)
{
    static const char query[] =
        "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
        "ORDER BY type, name";
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, query, -1, &statement, NULL);
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(statement);
        if (rc == SQLITE_ROW)
            sqlite3_str_appendf(out, "%s: %s;\n", sqlite3_column_text(statement, 0),
                                sqlite3_column_text(statement, 1));
    }
    (void)sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? OK : ERR_IO;
}

/* What the migrations up to `version` make, in an empty database in memory. */
static enum status expected_text(int version, sqlite3_str *out)
{
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    for (int i = 0; rc == SQLITE_OK && i < version && i < NEWEST; i++)
        rc = sqlite3_exec(db, migrations[i], NULL, NULL, NULL);
    enum status status = rc == SQLITE_OK ? schema_text(db, out) : ERR_NOMEM;
    (void)sqlite3_close(db);
    return status;
}

/* A missing trigger would silently turn the append-only log into an ordinary table. */
static enum status check_unchanged(struct store *store)
{
    int version = 0;
    enum status status = read_int(store, "PRAGMA user_version", &version);
    if (status != OK)
        return status;
    sqlite3_str *found = sqlite3_str_new(store->db);
    sqlite3_str *wanted = sqlite3_str_new(store->db);
    status = schema_text(store->db, found);
    if (status == OK)
        status = expected_text(version, wanted);
    char *found_text = sqlite3_str_finish(found);
    char *wanted_text = sqlite3_str_finish(wanted);
    if (status == OK && (found_text == NULL || wanted_text == NULL))
        status = ERR_NOMEM;
    else if (status == OK && strcmp(found_text, wanted_text) != 0)
        status = store_refuse(
            store, ERR_CONFIG,
            "%s: its tables or triggers were changed by another program, so its audit log cannot be "
            "trusted: keep the file for analysis, and restore the newest backup",
            store->path);
    else if (status == ERR_IO)
        (void)store_result(store, sqlite3_extended_errcode(store->db), "read");
    sqlite3_free(found_text);
    sqlite3_free(wanted_text);
    return status;
}

enum status store_schema_prepare(struct store *store)
{
    int version = 0;
    enum status status = read_int(store, "PRAGMA user_version", &version);
    if (status == OK && version < NEWEST && !store->read_only)
        status = migrate(store);
    return status == OK ? check_unchanged(store) : status;
}
