/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's engine: opening the file safely, prepared statements, transactions, and error texts that tell
 * an operator what is wrong, where, and what to do. No table is named here but in the list of statements;
 * what rows mean is in store_peers.c, store_decide.c, store_ports.c and audit.c.
 */
#include "supervisor/store/store_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/utf8.h"

#define PEER_COLUMNS                                                                                         \
    "fingerprint, name, status, bits, public_key, first_seen, last_seen, decided_at, decided_by, remote, "   \
    "pairing_code, superseded_by"

static const char *const sql[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_PEER_BY_FINGERPRINT] = "SELECT " PEER_COLUMNS ", id FROM peers WHERE fingerprint=?1",
    [SQL_PEER_BY_NAME] = "SELECT " PEER_COLUMNS ", id FROM peers WHERE name=?1 "
                         "ORDER BY status='approved' DESC, id DESC LIMIT 1",
    [SQL_PEER_LIST] = "SELECT " PEER_COLUMNS ", id FROM peers WHERE id>?1 "
                      "AND instr(?2, ',' || status || ',')>0 ORDER BY id LIMIT ?3",
    [SQL_PEER_COUNT] = "SELECT status, count(*) FROM peers GROUP BY status",
    [SQL_PEER_INSERT] =
        "INSERT INTO peers(fingerprint, name, status, bits, public_key, first_seen, last_seen, "
        "decided_at, decided_by, remote, pairing_code) "
        "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    [SQL_PEER_REFRESH] = "UPDATE peers SET name=?2, status='pending', bits=?3, public_key=?4, last_seen=?5, "
                         "remote=?6, pairing_code=?7 WHERE fingerprint=?1",
    [SQL_PEER_SEEN] =
        "UPDATE peers SET last_seen=?2, remote=?3, first_seen=iif(first_seen=0, ?2, first_seen) "
        "WHERE fingerprint=?1",
    [SQL_PEER_DECIDE] =
        "UPDATE peers SET status=?2, name=?3, decided_at=?4, decided_by=?5 WHERE fingerprint=?1",
    [SQL_PEER_DELETE] = "DELETE FROM peers WHERE fingerprint=?1",
    [SQL_NAME_HOLDER] =
        "SELECT fingerprint FROM peers WHERE name=?1 AND status='approved' AND fingerprint<>?2",
    [SQL_AUDIT_LAST] = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1",
    [SQL_AUDIT_INSERT] =
        "INSERT INTO audit(seq, time_ms, actor_kind, actor, action, fingerprint, name, remote, "
        "detail, previous, hash) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    [SQL_AUDIT_LIST] = "SELECT seq, time_ms, actor_kind, actor, action, fingerprint, name, remote, detail, "
                       "previous, hash FROM audit WHERE seq>?1 ORDER BY seq LIMIT ?2",
    [SQL_PORT_GET] = "SELECT port, last_used FROM apps WHERE peer=?1 AND app=?2",
    [SQL_PORT_TOUCH] = "UPDATE apps SET last_used=?3 WHERE peer=?1 AND app=?2",
    [SQL_PORT_SET] = "INSERT INTO apps(peer, app, port, last_used) VALUES(?1, ?2, ?3, ?4) "
                     "ON CONFLICT(peer, app) DO UPDATE SET port=excluded.port, last_used=excluded.last_used",
    [SQL_PORT_HOLDER] = "SELECT peer, app FROM apps WHERE port=?1",
    [SQL_PORT_RECLAIM] =
        "DELETE FROM apps WHERE rowid=(SELECT apps.rowid FROM apps JOIN peers ON peers.fingerprint=apps.peer "
        "WHERE port BETWEEN ?1 AND ?2 AND (peers.status<>'approved' OR last_used<?3) "
        "ORDER BY peers.status='approved', last_used LIMIT 1)",
};

const char *store_path(const struct store *store)
{
    return store->path;
}

const char *store_last_error(const struct store *store)
{
    return store->last_error[0] == '\0' ? "no error" : store->last_error;
}

enum status store_refuse(struct store *store, enum status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(store->last_error, sizeof store->last_error, format, args);
    va_end(args);
    return status;
}

sqlite3_stmt *store_statement(struct store *store, enum store_sql which)
{
    sqlite3_stmt **cached = &store->statements[which];
    if (*cached == NULL) {
        int rc = sqlite3_prepare_v3(store->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT, cached, NULL);
        if (rc != SQLITE_OK) {
            (void)store_result(store, rc, "read");
            return NULL;
        }
    }
    return *cached;
}

void store_done(sqlite3_stmt **statement)
{
    if (*statement == NULL)
        return;
    (void)sqlite3_reset(*statement);
    (void)sqlite3_clear_bindings(*statement);
}

/* What an operator can do about a failure; NULL when there is nothing better than sqlite's own words. */
static const char *store_advice(int rc, int system_errno)
{
    if (rc == SQLITE_FULL || system_errno == ENOSPC || system_errno == EDQUOT)
        return "no space left on the disk: free some, then try again";
    if (system_errno == EROFS)
        return "the file system is read-only: remount it, or choose another file with "
               "--acceptor-storage-file-path";
    switch (rc & 0xff) {
    case SQLITE_READONLY:
        return "the file or its directory is read-only for this process: check owner and mode";
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_CANTOPEN: return "check that the directory exists and this process may write in it";
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return "another program holds it locked: close that program, then try again";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return "it is damaged: stop the server, keep the file for analysis, and restore the newest backup";
    default: return NULL;
    }
}

enum status store_result(struct store *store, int rc, const char *doing)
{
    if (rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE)
        return OK;
    store->failures++;
    int system_errno = store->db == NULL ? 0 : sqlite3_system_errno(store->db);
    const char *words = store->db == NULL ? sqlite3_errstr(rc) : sqlite3_errmsg(store->db);
    /* errno is only meaningful for the errors that come from a system call. */
    int primary = rc & 0xff;
    if (primary != SQLITE_IOERR && primary != SQLITE_CANTOPEN && primary != SQLITE_FULL)
        system_errno = 0;
    const char *advice = store_advice(rc, system_errno);
    (void)store_refuse(store, ERR_IO, "%s: cannot %s: %s%s%s%s%s", store->path, doing, words,
                       system_errno == 0 ? "" : ": ", system_errno == 0 ? "" : strerror(system_errno),
                       advice == NULL ? "" : "; ", advice == NULL ? "" : advice);
    return primary == SQLITE_NOMEM ? ERR_NOMEM : ERR_IO;
}

enum status store_step_done(struct store *store, sqlite3_stmt *statement, const char *doing)
{
    int rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        return store_refuse(store, ERR_WRONG_STATE, "%s: cannot %s: unexpected row", store->path, doing);
    enum status status = store_result(store, rc, doing);
    (void)sqlite3_reset(statement);
    return status;
}

static enum status run(struct store *store, enum store_sql which, const char *doing)
{
    STORE_STATEMENT statement = store_statement(store, which);
    return statement == NULL ? ERR_IO : store_step_done(store, statement, doing);
}

/* Rows written to a file that nobody can find any more would be lost: refuse instead. */
static enum status check_still_there(struct store *store)
{
    int moved = 0;
    int rc = sqlite3_file_control(store->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    if (rc != SQLITE_OK || moved == 0)
        return OK;
    store->failures++;
    return store_refuse(
        store, ERR_IO,
        "%s: was removed or replaced while in use: put the file back, or restart the server to "
        "use the one that is there now",
        store->path);
}

enum status store_begin(struct store *store)
{
    if (store->read_only)
        return store_refuse(store, ERR_PERMIT, "%s: was opened for reading only", store->path);
    enum status status = check_still_there(store);
    return status == OK ? run(store, SQL_BEGIN, "write") : status;
}

enum status store_finish(struct store *store, enum status so_far, const char *doing)
{
    enum status status = so_far == OK ? run(store, SQL_COMMIT, doing) : so_far;
    if (status == OK) {
        store->commits++;
        store->last_error[0] = '\0';
        return OK;
    }
    /* Some failures end the transaction by themselves; a second ROLLBACK must not hide what went wrong. */
    if (sqlite3_get_autocommit(store->db) == 0) {
        char kept[sizeof store->last_error];
        memcpy(kept, store->last_error, sizeof kept);
        (void)run(store, SQL_ROLLBACK, "undo");
        memcpy(store->last_error, kept, sizeof kept);
    }
    return status;
}

enum status store_sync_commits(struct store *store, bool sync)
{
    /* Not a prepared statement: sqlite obeys this pragma while it compiles it, not when it is stepped. */
    const char *text = sync ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL";
    return store_result(store, sqlite3_exec(store->db, text, NULL, NULL, NULL), "write");
}

void store_bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    (void)sqlite3_bind_text(statement, index, text == NULL ? "" : text, -1, SQLITE_TRANSIENT);
}

void store_bind_u64(sqlite3_stmt *statement, int index, uint64_t value)
{
    (void)sqlite3_bind_int64(statement, index, value > INT64_MAX ? INT64_MAX : (int64_t)value);
}

void store_column_text(sqlite3_stmt *statement, int column, char *out, size_t cap)
{
    /* Cut to fit: rows that a foreign hand made longer must not overflow, nor stop everything else. */
    const char *text = (const char *)sqlite3_column_text(statement, column);
    size_t len = text == NULL ? 0 : utf8_clip(text, cap - 1);
    if (len > 0)
        memcpy(out, text, len);
    out[len] = '\0';
}

uint64_t store_column_u64(sqlite3_stmt *statement, int column)
{
    sqlite3_int64 value = sqlite3_column_int64(statement, column);
    return value < 0 ? 0 : (uint64_t)value;
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    for (unsigned i = 0; i < SQL_COUNT; i++)
        (void)sqlite3_finalize(store->statements[i]);
    (void)sqlite3_close(store->db);
    /* Only now: closing any descriptor of the file drops this process's POSIX locks on it. */
    if (store->lock_fd >= 0)
        (void)close(store->lock_fd);
    free(store->path);
    free(store);
}
