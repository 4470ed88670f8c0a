/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening the database: is it a file, is it ours, does nobody else serve it, is it sound; then the settings
 * that make a commit durable. Nothing of a file is changed before it is known to be ours.
 */
#include "supervisor/store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SQLITE_MAGIC "SQLite format 3" /* and its NUL: the first 16 bytes of every sqlite file */
#define BUSY_MS 2000
/* Above this size checking every page would delay the start for seconds; then only the small tables are. */
#define FULL_CHECK_BYTES (16 << 20)

static enum status fail_errno(struct store *store, const char *doing)
{
    int code = errno;
    const char *advice = "";
    if (code == ENOENT)
        advice = ": create the directory, or choose another file with --acceptor-storage-file-path";
    else if (code == EACCES || code == EPERM)
        advice = ": check the owner and mode of the file and its directory";
    else if (code == EROFS)
        advice = ": remount it, or choose another file with --acceptor-storage-file-path";
    else if (code == ENOSPC || code == EDQUOT)
        advice = ": free some space, then try again";
    return store_refuse(store, ERR_IO, "%s: cannot %s: %s%s", store->path, doing, strerror(code), advice);
}

/* Regular, not open to everybody, and either empty or with sqlite's first bytes. */
static enum status check_file(struct store *store, int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return fail_errno(store, "look at it");
    if (!S_ISREG(st.st_mode))
        return store_refuse(store, ERR_CONFIG, "%s: is not a regular file: choose another one", store->path);
    if (!store->read_only && (st.st_mode & S_IWOTH) != 0)
        return store_refuse(
            store, ERR_CONFIG,
            "%s: everybody may write to it (mode %04o): run chmod 600 on it after checking its "
            "contents with wormhole audit verify --db",
            store->path, st.st_mode & 07777u);
    char magic[sizeof SQLITE_MAGIC] = {0};
    ssize_t n = pread(fd, magic, sizeof magic, 0);
    if (n < 0)
        return fail_errno(store, "read");
    if (n == 0 && store->read_only)
        return store_refuse(store, ERR_CONFIG, "%s: is empty, so it is not a copy of a Wormhole database",
                            store->path);
    if (n > 0 && memcmp(magic, SQLITE_MAGIC, sizeof magic) != 0)
        return store_refuse(
            store, ERR_CONFIG,
            "%s: is not an sqlite database, or its beginning is damaged: choose another file, or "
            "restore a backup",
            store->path);
    return OK;
}

/* Creates the file with its mode (sqlite gives -wal and -shm the same) and claims it for this process. */
static enum status claim_file(struct store *store)
{
    int fd = open(store->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0 && errno == ELOOP)
        return store_refuse(store, ERR_CONFIG, "%s: is a symbolic link: name the file itself", store->path);
    if (fd < 0)
        return fail_errno(store, "open it for writing");
    store->lock_fd = fd;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return store_refuse(
            store, ERR_CONFLICT,
            "%s: another server uses this database: stop that one, or choose another file with "
            "--acceptor-storage-file-path",
            store->path);
    return check_file(store, fd);
}

static enum status check_readable(struct store *store)
{
    int fd = open(store->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return store_refuse(store, ERR_IO, "%s: there is no such file", store->path);
    if (fd < 0)
        return fail_errno(store, "open");
    enum status status = check_file(store, fd);
    (void)close(fd);
    return status;
}

/* "file:" URI of the path; the caller frees it. */
static char *file_uri(const char *path, const char *query)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t len = strlen(path);
    char *uri = malloc(5 + 3 * len + strlen(query) + 1);
    if (uri == NULL)
        return NULL;
    char *p = stpcpy(uri, "file:");
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)path[i];
        if (c <= ' ' || c == '%' || c == '?' || c == '#' || c >= 0x7f) {
            *p++ = '%';
            *p++ = hex[c >> 4];
            *p++ = hex[c & 15];
        } else {
            *p++ = (char)c;
        }
    }
    memcpy(p, query, strlen(query) + 1);
    return uri;
}

/*
 * A copy without a write-ahead log is read as it lies, without leaving files beside it; with one, sqlite has
 * to read the log too.
 */
static const char *read_only_query(const char *path)
{
    char wal[4096];
    struct stat st;
    int n = snprintf(wal, sizeof wal, "%s-wal", path);
    bool has_wal = n > 0 && (size_t)n < sizeof wal && stat(wal, &st) == 0 && st.st_size > 0;
    return has_wal ? "?mode=ro" : "?mode=ro&immutable=1";
}

static enum status open_database(struct store *store)
{
    char *uri = file_uri(store->path, store->read_only ? read_only_query(store->path) : "?mode=rw");
    if (uri == NULL)
        return ERR_NOMEM;
    int flags = SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                (store->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE);
    int rc = sqlite3_open_v2(uri, &store->db, flags, NULL);
    free(uri);
    enum status status = store_result(store, rc, "open");
    if (status != OK)
        return status;
    (void)sqlite3_busy_timeout(store->db, BUSY_MS);
    (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    (void)sqlite3_limit(store->db, SQLITE_LIMIT_LENGTH, 1 << 20);
    (void)sqlite3_limit(store->db, SQLITE_LIMIT_ATTACHED, 0);
    if (!store->read_only && sqlite3_db_readonly(store->db, "main") == 1)
        return store_refuse(store, ERR_IO, "%s: cannot be written: check its owner and mode", store->path);
    return OK;
}

/* Runs a statement that may give one row; its first column, as text, goes to out when out is given. */
static enum status pragma(struct store *store, const char *text, char *out, size_t cap)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(store->db, text, -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    enum status status = store_result(store, rc, "open");
    if (status == OK && out != NULL)
        store_column_text(statement, 0, out, cap);
    (void)sqlite3_finalize(statement);
    return status;
}

static enum status check_sound(struct store *store)
{
    struct stat st;
    bool whole = stat(store->path, &st) == 0 && st.st_size <= FULL_CHECK_BYTES;
    const char *const parts[] = {"PRAGMA quick_check(peers)", "PRAGMA quick_check(apps)"};
    const char *const all[] = {"PRAGMA quick_check(1)"};
    const char *const *checks = whole ? all : parts;
    for (unsigned i = 0; i < (whole ? 1u : 2u); i++) {
        char answer[200] = "";
        enum status status = pragma(store, checks[i], answer, sizeof answer);
        if (status == ERR_NOMEM)
            return status;
        if (status != OK)
            return ERR_CONFIG;
        if (strcmp(answer, "ok") != 0)
            return store_refuse(
                store, ERR_CONFIG,
                "%s: is damaged (%s): keep the file for analysis, and restore the newest backup", store->path,
                answer);
    }
    return OK;
}

static enum status configure(struct store *store)
{
    static const char *const settings[] = {
        "PRAGMA synchronous=FULL",           "PRAGMA foreign_keys=ON", "PRAGMA cell_size_check=ON",
        "PRAGMA temp_store=MEMORY",          "PRAGMA cache_size=-512", "PRAGMA mmap_size=0",
        "PRAGMA journal_size_limit=4194304",
    };
    char mode[16] = "";
    enum status status = pragma(store, "PRAGMA journal_mode=WAL", mode, sizeof mode);
    if (status != OK)
        return status;
    if (strcmp(mode, "wal") != 0)
        return store_refuse(
            store, ERR_IO,
            "%s: this file system cannot hold it (no write-ahead log, mode \"%s\"): choose a file "
            "on a local disk with --acceptor-storage-file-path",
            store->path, mode);
    for (unsigned i = 0; status == OK && i < sizeof settings / sizeof *settings; i++)
        status = pragma(store, settings[i], NULL, 0);
    return status;
}

/* A damaged file may fail anywhere on the way; the operator needs to hear "damaged", not "input/output
 * error". */
static enum status refine(const struct store *store, enum status status)
{
    int rc = store->db == NULL ? SQLITE_OK : sqlite3_errcode(store->db) & 0xff;
    return status == ERR_IO && (rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB) ? ERR_CONFIG : status;
}

static enum status open_steps(struct store *store)
{
    enum status status = store->read_only ? check_readable(store) : claim_file(store);
    if (status == OK)
        status = open_database(store);
    if (status == OK)
        status = store_schema_identify(store);
    if (status == OK && !store->read_only)
        status = configure(store);
    if (status == OK)
        status = store_schema_prepare(store);
    if (status == OK)
        status = check_sound(store);
    return refine(store, status);
}

enum status store_open(const char *path, bool read_only, struct store **out, struct store_error *error)
{
    error->text[0] = '\0';
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL || (store->path = strdup(path)) == NULL) {
        free(store);
        (void)snprintf(error->text, sizeof error->text, "%.400s: out of memory", path);
        return ERR_NOMEM;
    }
    store->read_only = read_only;
    store->lock_fd = -1;
    enum status status = open_steps(store);
    if (status != OK) {
        (void)snprintf(error->text, sizeof error->text, "%s",
                       store->last_error[0] == '\0' ? status_text(status) : store->last_error);
        store_close(store);
        return status;
    }
    *out = store;
    return OK;
}
