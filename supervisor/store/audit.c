/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log: appending rows to a hash chain, listing them, and checking the chain. There is no way here
 * to change or remove a row, and none is to be added.
 *
 * A row's hash is SHA-256 over: "wormhole audit 1" and a zero byte; the previous row's hash (32 zero bytes
 * for the first); seq and time_ms as 64-bit big-endian; then actor kind, actor, action, fingerprint, name,
 * remote and detail, each as its length in bytes (32-bit big-endian) and its bytes. docs/audit.md tells the
 * same to auditors.
 */
#include "supervisor/store/store_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>

#include "common/clock.h"
#include "common/utf8.h"
#include "common/wire.h"

#define AUDIT_LABEL "wormhole audit 1"
#define AUDIT_ROW_MAX 2048 /* no row's encoding is longer: the sum of its fields' sizes */

static uint8_t *put_text(uint8_t *p, const char *text)
{
    size_t len = strlen(text);
    put_be32(p, (uint32_t)len);
    memcpy(p + 4, text, len); /* NOLINT(bugprone-not-null-terminated-result): its length stands before it */
    return p + 4 + len;
}

void audit_hash(const struct store_audit_row *row, uint8_t hash[32])
{
    uint8_t buf[AUDIT_ROW_MAX];
    _Static_assert(sizeof AUDIT_LABEL + AUDIT_HASH_BYTES + 16 + 7ul * 4 + sizeof(struct store_audit_row) <
                       sizeof buf,
                   "a row's encoding must fit");
    uint8_t *p = buf;
    memcpy(p, AUDIT_LABEL, sizeof AUDIT_LABEL);
    p += sizeof AUDIT_LABEL;
    memcpy(p, row->previous, AUDIT_HASH_BYTES);
    p += AUDIT_HASH_BYTES;
    put_be64(p, row->seq);
    put_be64(p + 8, row->time_ms);
    p += 16;
    const char *const fields[] = {row->actor_kind, row->actor,  row->action, row->fingerprint,
                                  row->name,       row->remote, row->detail};
    for (unsigned i = 0; i < sizeof fields / sizeof *fields; i++)
        p = put_text(p, fields[i]);
    (void)SHA256(buf, (size_t)(p - buf), hash);
}

/* The newest row's number and hash; 0 and zeroes when there is none. */
static enum status audit_last(struct store *store, uint64_t *seq, uint8_t hash[AUDIT_HASH_BYTES])
{
    STORE_STATEMENT statement = store_statement(store, SQL_AUDIT_LAST);
    if (statement == NULL)
        return ERR_IO;
    int rc = sqlite3_step(statement);
    enum status status = store_result(store, rc, "read the audit log");
    if (status != OK)
        return status;
    *seq = 0;
    memset(hash, 0, AUDIT_HASH_BYTES);
    if (rc == SQLITE_ROW && sqlite3_column_bytes(statement, 1) == AUDIT_HASH_BYTES) {
        *seq = store_column_u64(statement, 0);
        memcpy(hash, sqlite3_column_blob(statement, 1), AUDIT_HASH_BYTES);
    }
    return OK;
}

static enum status audit_insert(struct store *store, const struct store_audit_row *row)
{
    STORE_STATEMENT statement = store_statement(store, SQL_AUDIT_INSERT);
    if (statement == NULL)
        return ERR_IO;
    store_bind_u64(statement, 1, row->seq);
    store_bind_u64(statement, 2, row->time_ms);
    store_bind_text(statement, 3, row->actor_kind);
    store_bind_text(statement, 4, row->actor);
    store_bind_text(statement, 5, row->action);
    store_bind_text(statement, 6, row->fingerprint);
    store_bind_text(statement, 7, row->name);
    store_bind_text(statement, 8, row->remote);
    store_bind_text(statement, 9, row->detail);
    (void)sqlite3_bind_blob(statement, 10, row->previous, AUDIT_HASH_BYTES, SQLITE_TRANSIENT);
    (void)sqlite3_bind_blob(statement, 11, row->hash, AUDIT_HASH_BYTES, SQLITE_TRANSIENT);
    return store_step_done(store, statement, "write to the audit log");
}

enum status audit_append(struct store *store, const struct store_actor *actor, const char *action,
                         const char *fingerprint, const char *name, const char *remote, const char *detail)
{
    struct store_audit_row row;
    memset(&row, 0, sizeof row);
    uint64_t last = 0;
    enum status status = audit_last(store, &last, row.previous);
    if (status != OK)
        return status;
    row.seq = last + 1;
    row.time_ms = clock_wall_ms();
    utf8_clean(row.actor_kind, sizeof row.actor_kind, actor->kind);
    utf8_clean(row.actor, sizeof row.actor, actor->id);
    utf8_clean(row.action, sizeof row.action, action);
    utf8_clean(row.fingerprint, sizeof row.fingerprint, fingerprint);
    utf8_clean(row.name, sizeof row.name, name);
    utf8_clean(row.remote, sizeof row.remote, remote == NULL ? "local" : remote);
    utf8_clean(row.detail, sizeof row.detail, detail);
    audit_hash(&row, row.hash);
    return audit_insert(store, &row);
}

enum status store_audit(struct store *store, const struct store_actor *actor, const char *action,
                        const char *fingerprint, const char *name, const char *remote, const char *detail)
{
    enum status status = store_begin(store);
    if (status != OK)
        return status;
    status = audit_append(store, actor, action, fingerprint, name, remote, detail);
    return store_finish(store, status, "write to the audit log");
}

static void read_row(sqlite3_stmt *statement, struct store_audit_row *row)
{
    memset(row, 0, sizeof *row);
    row->seq = store_column_u64(statement, 0);
    row->time_ms = store_column_u64(statement, 1);
    store_column_text(statement, 2, row->actor_kind, sizeof row->actor_kind);
    store_column_text(statement, 3, row->actor, sizeof row->actor);
    store_column_text(statement, 4, row->action, sizeof row->action);
    store_column_text(statement, 5, row->fingerprint, sizeof row->fingerprint);
    store_column_text(statement, 6, row->name, sizeof row->name);
    store_column_text(statement, 7, row->remote, sizeof row->remote);
    store_column_text(statement, 8, row->detail, sizeof row->detail);
    if (sqlite3_column_bytes(statement, 9) == AUDIT_HASH_BYTES)
        memcpy(row->previous, sqlite3_column_blob(statement, 9), AUDIT_HASH_BYTES);
    if (sqlite3_column_bytes(statement, 10) == AUDIT_HASH_BYTES)
        memcpy(row->hash, sqlite3_column_blob(statement, 10), AUDIT_HASH_BYTES);
}

enum status store_list_audit(struct store *store, uint64_t after, struct store_audit_row *rows, size_t cap,
                             size_t *n)
{
    STORE_STATEMENT statement = store_statement(store, SQL_AUDIT_LIST);
    if (statement == NULL)
        return ERR_IO;
    store_bind_u64(statement, 1, after);
    store_bind_u64(statement, 2, cap);
    size_t count = 0;
    int rc = SQLITE_DONE;
    while (count < cap && (rc = sqlite3_step(statement)) == SQLITE_ROW)
        read_row(statement, &rows[count++]);
    enum status status = store_result(store, rc, "read the audit log");
    if (status == OK)
        *n = count;
    return status;
}

void audit_check_init(struct audit_check *check)
{
    memset(check, 0, sizeof *check);
}

enum status audit_check_row(struct audit_check *check, const struct store_audit_row *row, const char **why)
{
    uint8_t hash[AUDIT_HASH_BYTES];
    audit_hash(row, hash);
    if (row->seq != check->rows + 1)
        *why = "a row before it is missing";
    else if (memcmp(row->previous, check->last, sizeof hash) != 0)
        *why = "it does not follow the row before it";
    else if (memcmp(row->hash, hash, sizeof hash) != 0)
        *why = "its contents were changed";
    else {
        check->rows++;
        memcpy(check->last, hash, sizeof hash);
        return OK;
    }
    return ERR_AUTH;
}

enum status store_verify_audit(struct store *store, uint64_t *rows, uint64_t *bad_seq,
                               struct store_error *error)
{
    STORE_STATEMENT statement = store_statement(store, SQL_AUDIT_LIST);
    enum status status = statement == NULL ? ERR_IO : OK;
    struct audit_check check;
    audit_check_init(&check);
    *bad_seq = 0;
    int rc = SQLITE_DONE;
    if (status == OK) {
        store_bind_u64(statement, 1, 0);
        (void)sqlite3_bind_int64(statement, 2, -1);
    }
    while (status == OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        struct store_audit_row row;
        const char *why = NULL;
        read_row(statement, &row);
        status = audit_check_row(&check, &row, &why);
        if (status != OK) {
            *bad_seq = row.seq;
            (void)store_refuse(store, status, "%s: audit row %llu does not fit the chain: %s", store->path,
                               (unsigned long long)row.seq, why);
        }
    }
    if (status == OK)
        status = store_result(store, rc, "read the audit log");
    if (status != OK)
        (void)snprintf(error->text, sizeof error->text, "%s", store->last_error);
    *rows = check.rows;
    return status;
}
