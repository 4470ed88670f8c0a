/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which app owns which port, so that an app keeps its port across reconnects and restarts. Only the
 * bookkeeping: choosing a port and listening on it are apps' and listeners' business.
 */
#include "supervisor/store/store_internal.h"

#include <string.h>

#include "common/clock.h"
#include "common/names.h"

/* How old last_used may become before reading a port refreshes it: use is recorded without a write per read.
 */
#define TOUCH_S 3600u

static void touch(struct store *store, const char *fingerprint, const char *app, uint64_t now)
{
    STORE_STATEMENT statement = store_statement(store, SQL_PORT_TOUCH);
    if (statement == NULL || store->read_only || store_begin(store) != OK)
        return;
    store_bind_text(statement, 1, fingerprint);
    store_bind_text(statement, 2, app);
    store_bind_u64(statement, 3, now);
    /* Best effort: an app must get its port back even when the disk is full. */
    (void)store_finish(store, store_step_done(store, statement, "write"), "write");
}

enum status store_port_get(struct store *store, const char *fingerprint, const char *app, uint16_t *port)
{
    uint64_t used = 0;
    {
        STORE_STATEMENT statement = store_statement(store, SQL_PORT_GET);
        if (statement == NULL)
            return ERR_IO;
        store_bind_text(statement, 1, fingerprint);
        store_bind_text(statement, 2, app);
        int rc = sqlite3_step(statement);
        if (rc == SQLITE_DONE)
            return store_refuse(store, ERR_NOT_FOUND, "app \"%.64s\" has no port yet", app);
        enum status status = store_result(store, rc, "read");
        if (status != OK)
            return status;
        *port = (uint16_t)store_column_u64(statement, 0);
        used = store_column_u64(statement, 1);
    }
    uint64_t now = clock_wall_s();
    if (used + TOUCH_S < now)
        touch(store, fingerprint, app, now);
    return OK;
}

static enum status check_port_free(struct store *store, const char *fingerprint, const char *app,
                                   uint16_t port)
{
    STORE_STATEMENT statement = store_statement(store, SQL_PORT_HOLDER);
    if (statement == NULL)
        return ERR_IO;
    store_bind_u64(statement, 1, port);
    int rc = sqlite3_step(statement);
    if (rc != SQLITE_ROW)
        return store_result(store, rc, "read");
    char peer[FINGERPRINT_TEXT + 1];
    char owner[NAME_MAX_BYTES + 1];
    store_column_text(statement, 0, peer, sizeof peer);
    store_column_text(statement, 1, owner, sizeof owner);
    if (strcmp(peer, fingerprint) == 0 && strcmp(owner, app) == 0)
        return OK;
    return store_refuse(store, ERR_CONFLICT, "port %u belongs to app \"%s\" of %s", port, owner, peer);
}

static enum status port_set(struct store *store, const char *fingerprint, const char *app, uint16_t port)
{
    struct store_peer peer;
    enum status status = store_find(store, fingerprint, &peer);
    if (status == OK)
        status = check_port_free(store, fingerprint, app, port);
    if (status != OK)
        return status;
    STORE_STATEMENT statement = store_statement(store, SQL_PORT_SET);
    if (statement == NULL)
        return ERR_IO;
    store_bind_text(statement, 1, fingerprint);
    store_bind_text(statement, 2, app);
    store_bind_u64(statement, 3, port);
    store_bind_u64(statement, 4, clock_wall_s());
    return store_step_done(store, statement, "write a port");
}

enum status store_port_set(struct store *store, const char *fingerprint, const char *app, uint16_t port)
{
    if (port == 0 || !name_is_valid(app))
        return store_refuse(store, ERR_FORMAT, "port %u of app \"%.64s\": not a port or not a name", port,
                            app);
    enum status status = store_begin(store);
    if (status != OK)
        return status;
    status = port_set(store, fingerprint, app, port);
    return store_finish(store, status, "write a port");
}

bool store_port_taken(struct store *store, uint16_t port)
{
    STORE_STATEMENT statement = store_statement(store, SQL_PORT_HOLDER);
    if (statement == NULL)
        return true;
    store_bind_u64(statement, 1, port);
    int rc = sqlite3_step(statement);
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        (void)store_result(store, rc, "read");
    return rc != SQLITE_DONE;
}

static enum status port_reclaim(struct store *store, uint16_t min, uint16_t max, uint64_t unused_before)
{
    STORE_STATEMENT statement = store_statement(store, SQL_PORT_RECLAIM);
    if (statement == NULL)
        return ERR_IO;
    store_bind_u64(statement, 1, min);
    store_bind_u64(statement, 2, max);
    store_bind_u64(statement, 3, unused_before);
    enum status status = store_step_done(store, statement, "free a port");
    if (status == OK && sqlite3_changes(store->db) == 0)
        return store_refuse(store, ERR_NOT_FOUND, "no port from %u to %u can be freed", min, max);
    return status;
}

enum status store_port_reclaim(struct store *store, uint16_t min, uint16_t max, uint64_t unused_before)
{
    enum status status = store_begin(store);
    if (status != OK)
        return status;
    status = port_reclaim(store, min, max, unused_before);
    return store_finish(store, status, "free a port");
}
