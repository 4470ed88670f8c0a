/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening the database: which files are taken, which are refused with which words, and that a refused file is
 * left exactly as it was.
 */
#include "tests/unit/store_support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "supervisor/store/store_internal.h"

static void write_file(const char *path, const void *data, size_t len)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static size_t read_file(const char *path, char *out, size_t cap)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t n = fread(out, 1, cap, file);
    assert_int_equal(fclose(file), 0);
    return n;
}

static void assert_refused(const char *path, bool read_only, enum status expected, const char *words)
{
    struct store *store = NULL;
    struct store_error error;
    enum status status = store_open(path, read_only, &store, &error);
    assert_null(store);
    if (status != expected || strstr(error.text, words) == NULL || strstr(error.text, path) == NULL)
        fail_msg("expected %s and \"%s\", got %s: %s", status_text(expected), words, status_text(status),
                 error.text);
}

static void test_new_file(void **state)
{
    struct fixture *f = *state;
    fixture_reopen(f);
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    char wal[128];
    (void)snprintf(wal, sizeof wal, "%s-wal", f->path);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    struct store_audit_row row = audit_newest(f->store);
    assert_int_equal(row.seq, 1);
    assert_string_equal(row.action, "created");
    assert_non_null(strstr(row.detail, "database version 1"));
    store_close(f->store);
    f->store = NULL;

    char value[64];
    assert_int_equal(raw_sql(f->path, "PRAGMA journal_mode", value, sizeof value), SQLITE_OK);
    assert_string_equal(value, "wal");
    assert_int_equal(raw_sql(f->path, "PRAGMA application_id", value, sizeof value), SQLITE_OK);
    assert_int_equal(atoi(value), STORE_APPLICATION_ID);
    assert_int_equal(raw_sql(f->path, "PRAGMA user_version", value, sizeof value), SQLITE_OK);
    assert_int_equal(atoi(value), store_schema_version());
}

/* The id in the first row makes two logs tell-apart-able from their first hash on. */
static void test_two_databases_differ(void **state)
{
    struct fixture *f = *state;
    fixture_reopen(f);
    struct store_audit_row first = audit_newest(f->store);
    store_close(f->store);
    f->store = NULL;
    assert_int_equal(unlink(f->path), 0);
    fixture_reopen(f);
    struct store_audit_row second = audit_newest(f->store);
    assert_memory_not_equal(first.hash, second.hash, 32);
}

static void test_settings(void **state)
{
    struct fixture *f = *state;
    fixture_reopen(f);
    static const struct {
        const char *pragma;
        int value;
    } expected[] = {{"PRAGMA synchronous", 2},
                    {"PRAGMA foreign_keys", 1},
                    {"PRAGMA cell_size_check", 1},
                    {"PRAGMA temp_store", 2}};
    request(f->store, 1, "edge1");
    assert_int_equal(store_accept(f->store, fingerprint_of(1), &alice), OK);
    /* Being seen relaxes synchronous for one commit; the rule must be back afterwards, whatever came of it.
     */
    assert_int_equal(store_peer_seen(f->store, fingerprint_of(1), "192.0.2.1:1", 5), OK);
    assert_int_equal(store_peer_seen(f->store, fingerprint_of(2), "192.0.2.1:1", 5), ERR_NOT_FOUND);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        sqlite3_stmt *statement = NULL;
        assert_int_equal(sqlite3_prepare_v2(f->store->db, expected[i].pragma, -1, &statement, NULL),
                         SQLITE_OK);
        assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
        assert_int_equal(sqlite3_column_int(statement, 0), expected[i].value);
        (void)sqlite3_finalize(statement);
    }
}

static void test_survives_reopen(void **state)
{
    struct fixture *f = *state;
    fixture_reopen(f);
    request(f->store, 1, "edge1");
    assert_int_equal(store_accept(f->store, fingerprint_of(1), &alice), OK);
    fixture_reopen(f);
    struct store_peer peer;
    assert_int_equal(store_peer_by_name(f->store, "edge1", &peer), OK);
    assert_int_equal(peer.status, PEER_APPROVED);
    assert_int_equal(audit_count(f->store, "created"), 1);
    assert_int_equal(audit_count(f->store, "migrated"), 0);
}

/* A start that was cut short leaves an empty file, or one with a header and no tables. */
static void test_interrupted_creation(void **state)
{
    struct fixture *f = *state;
    write_file(f->path, "", 0);
    fixture_reopen(f);
    store_close(f->store);
    f->store = NULL;
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(raw_sql(f->path, "PRAGMA journal_mode=WAL; CREATE TABLE t(a); DROP TABLE t", NULL, 0),
                     SQLITE_OK);
    fixture_reopen(f);
    assert_int_equal(audit_count(f->store, ""), 1);
}

static void test_not_sqlite(void **state)
{
    struct fixture *f = *state;
    static const char text[] = "port: 8080\nhost: 0.0.0.0\n# a configuration file, not a database\n";
    write_file(f->path, text, sizeof text);
    assert_refused(f->path, false, ERR_CONFIG, "is not an sqlite database");
    char back[256];
    assert_int_equal(read_file(f->path, back, sizeof back), sizeof text);
    assert_memory_equal(back, text, sizeof text);
    write_file(f->path, "SQ", 2);
    assert_refused(f->path, false, ERR_CONFIG, "is not an sqlite database");
    assert_refused(f->path, true, ERR_CONFIG, "is not an sqlite database");
}

static void test_foreign(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(raw_sql(f->path, "CREATE TABLE songs(title); INSERT INTO songs VALUES('x')", NULL, 0),
                     SQLITE_OK);
    char before[65536];
    char after[65536];
    size_t n = read_file(f->path, before, sizeof before);
    assert_refused(f->path, false, ERR_CONFIG, "of another program");
    assert_refused(f->path, true, ERR_CONFIG, "of another program");
    assert_int_equal(read_file(f->path, after, sizeof after), n);
    assert_memory_equal(before, after, n);
    assert_int_equal(raw_sql(f->path, "PRAGMA application_id=42", NULL, 0), SQLITE_OK);
    assert_refused(f->path, false, ERR_CONFIG, "0x0000002a");
}

static void test_newer(void **state)
{
    struct fixture *f = *state;
    fixture_reopen(f);
    store_close(f->store);
    f->store = NULL;
    assert_int_equal(raw_sql(f->path, "PRAGMA user_version=99", NULL, 0), SQLITE_OK);
    assert_refused(f->path, false, ERR_CONFIG, "newer Wormhole (database version 99");
    assert_refused(f->path, true, ERR_CONFIG, "newer Wormhole");
}

static void test_missing_trigger(void **state)
{
    static const char *const changes[] = {
        "DROP TRIGGER audit_no_delete",
        "DROP INDEX peers_approved_name",
        "CREATE TRIGGER evil AFTER INSERT ON peers BEGIN UPDATE peers SET status='approved'; END",
        "ALTER TABLE apps ADD COLUMN note TEXT",
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct fixture *f = *state;
        fixture_reopen(f);
        store_close(f->store);
        f->store = NULL;
        assert_int_equal(raw_sql(f->path, changes[i], NULL, 0), SQLITE_OK);
        assert_refused(f->path, false, ERR_CONFIG, "changed by another program");
        assert_refused(f->path, true, ERR_CONFIG, "changed by another program");
        assert_int_equal(unlink(f->path), 0);
    }
}

static void fill(struct fixture *f)
{
    char name[16];
    for (unsigned i = 1; i <= 200; i++) {
        (void)snprintf(name, sizeof name, "edge%u", i);
        request(f->store, i, name);
        assert_int_equal(store_accept(f->store, fingerprint_of(i), &alice), OK);
    }
}

static void overwrite(const char *path, off_t at, size_t len)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    char junk[512];
    memset(junk, 0xa5, sizeof junk);
    for (size_t done = 0; done < len; done += sizeof junk)
        assert_int_equal(pwrite(fd, junk, sizeof junk, at + (off_t)done), sizeof junk);
    assert_int_equal(close(fd), 0);
}

static void test_damaged(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    /* Each part of the file in turn: the schema's page, and pages further on. */
    for (unsigned i = 0; i < 6; i++) {
        fixture_reopen(f);
        fill(f);
        store_close(f->store);
        f->store = NULL;
        assert_int_equal(stat(f->path, &st), 0);
        off_t page = i == 0 ? 100 : (st.st_size / 4096) * (off_t)i / 6 * 4096;
        overwrite(f->path, page, i == 0 ? 512 : 4096);
        assert_refused(f->path, false, ERR_CONFIG, "damaged");
        assert_int_equal(unlink(f->path), 0);
    }
    fixture_reopen(f);
    fill(f);
    store_close(f->store);
    f->store = NULL;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(truncate(f->path, st.st_size / 2), 0);
    assert_refused(f->path, false, ERR_CONFIG, "damaged");
}

static void test_not_a_file(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mkfifo(f->path, 0600), 0);
    assert_refused(f->path, false, ERR_CONFIG, "not a regular file");
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(symlink("/etc/passwd", f->path), 0);
    assert_refused(f->path, false, ERR_CONFIG, "symbolic link");
    assert_int_equal(unlink(f->path), 0);
    assert_refused(f->dir, false, ERR_IO, "open it for writing");
    char missing[128];
    (void)snprintf(missing, sizeof missing, "%s/no/such/dir.db", f->dir);
    assert_refused(missing, false, ERR_IO, "create the directory");
    assert_refused(f->path, true, ERR_IO, "no such file");
    assert_int_not_equal(access(f->path, F_OK), 0);
}

static void test_writable_by_everybody(void **state)
{
    struct fixture *f = *state;
    fixture_reopen(f);
    store_close(f->store);
    f->store = NULL;
    assert_int_equal(chmod(f->path, 0666), 0);
    assert_refused(f->path, false, ERR_CONFIG, "chmod 600");
    assert_int_equal(chmod(f->path, 0660), 0); /* what a Kubernetes volume's fsGroup makes of it */
    fixture_reopen(f);
}

static void test_second_server(void **state)
{
    struct fixture *f = *state;
    fixture_reopen(f);
    assert_refused(f->path, false, ERR_CONFLICT, "another server uses this database");
    /* Readers are welcome: backups and audits happen while the server runs. */
    struct store *reader = NULL;
    struct store_error error;
    request(f->store, 1, "edge1");
    assert_int_equal(store_open(f->path, true, &reader, &error), OK);
    struct store_peer peer;
    assert_int_equal(store_peer_by_name(reader, "edge1", &peer), OK);
    assert_int_equal(store_accept(reader, fingerprint_of(1), &alice), ERR_PERMIT);
    store_close(reader);
    assert_int_equal(store_accept(f->store, fingerprint_of(1), &alice), OK);
}

static void test_copy_is_left_alone(void **state)
{
    struct fixture *f = *state;
    fixture_reopen(f);
    fill(f);
    store_close(f->store);
    f->store = NULL;
    assert_int_equal(chmod(f->path, 0400), 0);
    struct store_error error;
    assert_int_equal(store_open(f->path, true, &f->store, &error), OK);
    uint64_t rows = 0;
    uint64_t bad = 0;
    assert_int_equal(store_verify_audit(f->store, &rows, &bad, &error), OK);
    assert_int_equal(rows, 401);
    char beside[128];
    (void)snprintf(beside, sizeof beside, "%s-wal", f->path);
    assert_int_not_equal(access(beside, F_OK), 0);
    (void)snprintf(beside, sizeof beside, "%s-shm", f->path);
    assert_int_not_equal(access(beside, F_OK), 0);
}

/* A file name is data: what means something in a URI must not. */
static void test_odd_file_name(void **state)
{
    struct fixture *f = *state;
    (void)snprintf(f->path, sizeof f->path, "%s/a%%41?b=c#d e.db", f->dir);
    fixture_reopen(f);
    assert_int_equal(access(f->path, F_OK), 0);
    store_close(f->store);
    f->store = NULL;
    struct store_error error;
    assert_int_equal(store_open(f->path, true, &f->store, &error), OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_new, fixture_free)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_new_file),
        TEST(test_two_databases_differ),
        TEST(test_settings),
        TEST(test_survives_reopen),
        TEST(test_interrupted_creation),
        TEST(test_not_sqlite),
        TEST(test_foreign),
        TEST(test_newer),
        TEST(test_missing_trigger),
        TEST(test_damaged),
        TEST(test_not_a_file),
        TEST(test_writable_by_everybody),
        TEST(test_second_server),
        TEST(test_copy_is_left_alone),
        TEST(test_odd_file_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
