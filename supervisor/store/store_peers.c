/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of peers: reading them, and what clients themselves cause (asking, being seen, not coming back). What
 * operators decide is in store_decide.c.
 */
#include "supervisor/store/store_internal.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/names.h"
#include "common/utf8.h"

static const char *const status_words[] = {
    [PEER_PENDING] = "pending", [PEER_APPROVED] = "approved",     [PEER_DECLINED] = "declined",
    [PEER_REVOKED] = "revoked", [PEER_SUPERSEDED] = "superseded",
};
#define STATUS_END (sizeof status_words / sizeof *status_words)

const char *peer_status_text(enum peer_status status)
{
    return (unsigned)status >= PEER_PENDING && (unsigned)status < STATUS_END ? status_words[status]
                                                                             : "unknown";
}

static enum peer_status status_parse(const char *word)
{
    for (unsigned i = PEER_PENDING; i < STATUS_END; i++) {
        if (strcmp(word, status_words[i]) == 0)
            return (enum peer_status)i;
    }
    /* The table's CHECK makes this impossible; a damaged row must not count as approved. */
    return PEER_DECLINED;
}

void store_read_peer(sqlite3_stmt *statement, struct store_peer *out)
{
    char word[16];
    memset(out, 0, sizeof *out);
    store_column_text(statement, 0, out->fingerprint, sizeof out->fingerprint);
    store_column_text(statement, 1, out->name, sizeof out->name);
    store_column_text(statement, 2, word, sizeof word);
    out->status = status_parse(word);
    out->bits = (uint16_t)store_column_u64(statement, 3);
    const void *key = sqlite3_column_blob(statement, 4);
    int key_len = sqlite3_column_bytes(statement, 4);
    if (key != NULL && key_len > 0 && (size_t)key_len <= sizeof out->public_key) {
        memcpy(out->public_key, key, (size_t)key_len);
        out->public_key_len = (size_t)key_len;
    }
    out->first_seen = store_column_u64(statement, 5);
    out->last_seen = store_column_u64(statement, 6);
    out->decided_at = store_column_u64(statement, 7);
    store_column_text(statement, 8, out->decided_by, sizeof out->decided_by);
    store_column_text(statement, 9, out->remote, sizeof out->remote);
    store_column_text(statement, 10, out->pairing_code, sizeof out->pairing_code);
    store_column_text(statement, 11, out->superseded_by, sizeof out->superseded_by);
}

static enum status find_by(struct store *store, enum store_sql which, const char *value,
                           struct store_peer *out)
{
    STORE_STATEMENT statement = store_statement(store, which);
    if (statement == NULL)
        return ERR_IO;
    store_bind_text(statement, 1, value);
    int rc = sqlite3_step(statement);
    if (rc == SQLITE_DONE)
        return store_refuse(store, ERR_NOT_FOUND, "%.64s: there is no such key or peer", value);
    enum status status = store_result(store, rc, "read");
    if (status == OK)
        store_read_peer(statement, out);
    return status;
}

enum status store_find(struct store *store, const char *fingerprint, struct store_peer *out)
{
    return find_by(store, SQL_PEER_BY_FINGERPRINT, fingerprint, out);
}

enum status store_peer_by_fingerprint(struct store *store, const char *fingerprint, struct store_peer *out)
{
    return store_find(store, fingerprint, out);
}

enum status store_peer_by_name(struct store *store, const char *name, struct store_peer *out)
{
    return find_by(store, SQL_PEER_BY_NAME, name, out);
}

bool store_name_taken(struct store *store, const char *name, const char *fingerprint)
{
    STORE_STATEMENT statement = store_statement(store, SQL_NAME_HOLDER);
    if (statement == NULL)
        return true;
    store_bind_text(statement, 1, name);
    store_bind_text(statement, 2, fingerprint);
    /* What cannot be read counts as taken: nobody gets a name by breaking the disk. */
    int rc = sqlite3_step(statement);
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        (void)store_result(store, rc, "read");
    return rc != SQLITE_DONE;
}

static void bind_request(sqlite3_stmt *statement, int first, const struct store_peer *peer)
{
    (void)sqlite3_bind_int(statement, first, peer->bits);
    (void)sqlite3_bind_blob(statement, first + 1, peer->public_key, (int)peer->public_key_len,
                            SQLITE_TRANSIENT);
}

static enum status request_insert(struct store *store, const struct store_peer *peer, uint64_t now)
{
    STORE_STATEMENT statement = store_statement(store, SQL_PEER_INSERT);
    if (statement == NULL)
        return ERR_IO;
    store_bind_text(statement, 1, peer->fingerprint);
    store_bind_text(statement, 2, peer->name);
    store_bind_text(statement, 3, "pending");
    bind_request(statement, 4, peer);
    store_bind_u64(statement, 6, now);
    store_bind_u64(statement, 7, now);
    store_bind_u64(statement, 8, 0);
    store_bind_text(statement, 9, "");
    store_bind_text(statement, 10, peer->remote);
    store_bind_text(statement, 11, peer->pairing_code);
    return store_step_done(store, statement, "write a request");
}

static enum status request_refresh(struct store *store, const struct store_peer *peer, uint64_t now)
{
    STORE_STATEMENT statement = store_statement(store, SQL_PEER_REFRESH);
    if (statement == NULL)
        return ERR_IO;
    store_bind_text(statement, 1, peer->fingerprint);
    store_bind_text(statement, 2, peer->name);
    bind_request(statement, 3, peer);
    store_bind_u64(statement, 5, now);
    store_bind_text(statement, 6, peer->remote);
    store_bind_text(statement, 7, peer->pairing_code);
    return store_step_done(store, statement, "write a request");
}

static enum status request_audit(struct store *store, const struct store_peer *peer, const char *why)
{
    char detail[160];
    (void)snprintf(detail, sizeof detail, "%sRSA %u, pairing code %s", why, peer->bits,
                   peer->pairing_code[0] == '\0' ? "none" : peer->pairing_code);
    const struct store_actor actor = {.kind = "peer", .id = peer->remote};
    return audit_append(store, &actor, "request", peer->fingerprint, peer->name, peer->remote, detail);
}

/* A fingerprint and name that would be refused by the tables are a defect of the caller, not of the disk. */
static enum status check_identity(struct store *store, const char *fingerprint, const char *name)
{
    uint8_t digest[FINGERPRINT_BYTES];
    if (fingerprint_parse(fingerprint, digest) != OK)
        return store_refuse(store, ERR_FORMAT, "%.64s: is not a whole fingerprint (SHA256:…)", fingerprint);
    if (!name_is_valid(name))
        return store_refuse(
            store, ERR_FORMAT,
            "\"%.64s\": is not a name: use 1 to 63 of a-z, 0-9 and dashes, no dash at the ends", name);
    return OK;
}

static enum status request_seen(struct store *store, const struct store_peer *peer, bool again)
{
    struct store_peer old = {.status = PEER_PENDING};
    uint64_t now = clock_wall_s();
    enum status status = store_find(store, peer->fingerprint, &old);
    if (status == ERR_NOT_FOUND) {
        status = request_insert(store, peer, now);
        return status == OK ? request_audit(store, peer, "") : status;
    }
    if (status != OK)
        return status;
    if (old.status != PEER_PENDING && !(old.status == PEER_DECLINED && again))
        return store_refuse(store, ERR_WRONG_STATE, "%s: is %s", peer->fingerprint,
                            peer_status_text(old.status));
    status = request_refresh(store, peer, now);
    if (status != OK)
        return status;
    if (old.status == PEER_DECLINED)
        return request_audit(store, peer, "asks again after it was declined, ");
    char why[96] = "";
    (void)snprintf(why, sizeof why, "was \"%s\", ", old.name);
    return strcmp(old.name, peer->name) == 0 ? OK : request_audit(store, peer, why);
}

enum status store_request_seen(struct store *store, const struct store_peer *peer, bool again)
{
    enum status status = check_identity(store, peer->fingerprint, peer->name);
    if (status == OK)
        status = store_begin(store);
    if (status != OK)
        return status;
    status = request_seen(store, peer, again);
    return store_finish(store, status, "write a request");
}

static enum status peer_seen(struct store *store, const char *fingerprint, const char *remote, uint64_t now)
{
    STORE_STATEMENT statement = store_statement(store, SQL_PEER_SEEN);
    if (statement == NULL)
        return ERR_IO;
    char clean[sizeof((struct store_peer *)0)->remote];
    utf8_clean(clean, sizeof clean, remote);
    store_bind_text(statement, 1, fingerprint);
    store_bind_u64(statement, 2, now);
    store_bind_text(statement, 3, clean);
    enum status status = store_step_done(store, statement, "write");
    if (status == OK && sqlite3_changes(store->db) == 0)
        return store_refuse(store, ERR_NOT_FOUND, "%.64s: there is no such key", fingerprint);
    return status;
}

enum status store_peer_seen(struct store *store, const char *fingerprint, const char *remote, uint64_t now)
{
    /*
     * Every connection ends here, so it does not wait for the disk: without fsync the row is appended to the
     * write-ahead log, and the next decision's fsync covers it.
     */
    enum status status = store_sync_commits(store, false);
    if (status == OK)
        status = store_begin(store);
    if (status == OK) {
        status = peer_seen(store, fingerprint, remote, now);
        status = store_finish(store, status, "write");
    }
    enum status restored = store_sync_commits(store, true);
    return status == OK ? restored : status;
}

static enum status request_expired(struct store *store, const char *fingerprint)
{
    struct store_peer peer = {.status = PEER_APPROVED};
    enum status status = store_find(store, fingerprint, &peer);
    if (status != OK)
        return status;
    if (peer.status != PEER_PENDING)
        return store_refuse(store, ERR_WRONG_STATE, "%s: is %s, not pending", fingerprint,
                            peer_status_text(peer.status));
    STORE_STATEMENT statement = store_statement(store, SQL_PEER_DELETE);
    if (statement == NULL)
        return ERR_IO;
    store_bind_text(statement, 1, fingerprint);
    status = store_step_done(store, statement, "remove a request");
    const struct store_actor actor = {.kind = "system", .id = "store"};
    return status != OK ? status
                        : audit_append(store, &actor, "expire", fingerprint, peer.name, peer.remote,
                                       "nobody decided in time");
}

enum status store_request_expired(struct store *store, const char *fingerprint)
{
    enum status status = store_begin(store);
    if (status != OK)
        return status;
    status = request_expired(store, fingerprint);
    return store_finish(store, status, "remove a request");
}

/* ",pending,approved," for the list statement. */
static void mask_words(unsigned mask, char *out, size_t cap)
{
    size_t used = (size_t)snprintf(out, cap, ",");
    for (unsigned i = PEER_PENDING; i < STATUS_END; i++) {
        if ((mask & 1u << i) != 0)
            used += (size_t)snprintf(out + used, cap - used, "%s,", status_words[i]);
    }
}

enum status store_list_peers(struct store *store, uint64_t after, unsigned status_mask,
                             struct store_peer *rows, uint64_t *row_ids, size_t cap, size_t *n)
{
    STORE_STATEMENT statement = store_statement(store, SQL_PEER_LIST);
    if (statement == NULL)
        return ERR_IO;
    char words[80];
    mask_words(status_mask, words, sizeof words);
    store_bind_u64(statement, 1, after);
    store_bind_text(statement, 2, words);
    store_bind_u64(statement, 3, cap);
    size_t count = 0;
    int rc = SQLITE_DONE;
    while (count < cap && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        store_read_peer(statement, &rows[count]);
        row_ids[count++] = store_column_u64(statement, 12);
    }
    enum status status = store_result(store, rc, "list peers");
    if (status == OK)
        *n = count;
    return status;
}

enum status store_stats(struct store *store, struct store_stats *out)
{
    memset(out, 0, sizeof *out);
    STORE_STATEMENT count = store_statement(store, SQL_PEER_COUNT);
    STORE_STATEMENT last = store_statement(store, SQL_AUDIT_LAST);
    int rc = SQLITE_ERROR;
    while (count != NULL && (rc = sqlite3_step(count)) == SQLITE_ROW) {
        char word[16];
        store_column_text(count, 0, word, sizeof word);
        out->peers[status_parse(word)] += store_column_u64(count, 1);
    }
    if (rc == SQLITE_DONE && last != NULL) {
        rc = sqlite3_step(last);
        out->audit_seq = rc == SQLITE_ROW ? store_column_u64(last, 0) : 0;
    }
    enum status status = store_result(store, rc, "count");
    out->commits = store->commits;
    out->failures = store->failures;
    return status;
}
