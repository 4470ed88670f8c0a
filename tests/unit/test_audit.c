/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log: that rows can only be appended, that each change to the file by another hand is found, and
 * that the encoding under the hash is the documented one.
 */
#include "tests/unit/store_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "common/wire.h"

static void some_history(struct fixture *f)
{
    for (unsigned i = 1; i <= 5; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "edge%u", i);
        request(f->store, i, name);
        assert_int_equal(store_accept(f->store, fingerprint_of(i), &alice), OK);
    }
}

static void test_triggers(void **state)
{
    struct fixture *f = *state;
    some_history(f);
    static const char *const attempts[] = {
        "UPDATE audit SET actor='mallory' WHERE seq=3",
        "UPDATE audit SET detail=detail",
        "DELETE FROM audit WHERE seq=11",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit SELECT seq, time_ms, actor_kind, 'mallory', action, fingerprint, name, "
        "remote, detail, previous, hash FROM audit WHERE seq=3",
        "INSERT INTO audit SELECT 99, time_ms, actor_kind, actor, action, fingerprint, name, remote, detail, "
        "previous, randomblob(32) FROM audit WHERE seq=11",
        /* the right number, but not chained to the row before */
        "INSERT INTO audit SELECT 12, time_ms, actor_kind, actor, action, fingerprint, name, remote, detail, "
        "previous, randomblob(32) FROM audit WHERE seq=11",
    };
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
        int rc = raw_sql(f->path, attempts[i], NULL, 0);
        if ((rc & 0xff) != SQLITE_CONSTRAINT)
            fail_msg("\"%s\" gave %d", attempts[i], rc);
    }
    assert_int_equal(audit_count(f->store, ""), 11);
    uint64_t rows = 0;
    uint64_t bad = 0;
    struct store_error error;
    assert_int_equal(store_verify_audit(f->store, &rows, &bad, &error), OK);
    assert_int_equal(rows, 11);
}

/* What a hand that removes the triggers does is found by the chain: each field, a removed and a swapped row.
 */
static void test_verify_finds_changes(void **state)
{
    static const struct {
        const char *sql;
        uint64_t bad, fits;
    } changes[] = {
        {"UPDATE audit SET time_ms=time_ms+1 WHERE seq=3", 3, 2},
        {"UPDATE audit SET actor_kind='admin' WHERE seq=3", 3, 2},
        {"UPDATE audit SET actor='mallory' WHERE seq=3", 3, 2},
        {"UPDATE audit SET action='decline' WHERE seq=3", 3, 2},
        {"UPDATE audit SET fingerprint='' WHERE seq=3", 3, 2},
        {"UPDATE audit SET name=name||'x' WHERE seq=3", 3, 2},
        {"UPDATE audit SET remote='x' WHERE seq=3", 3, 2},
        {"UPDATE audit SET detail=detail||' ' WHERE seq=3", 3, 2},
        {"UPDATE audit SET hash=randomblob(32) WHERE seq=3", 3, 2},
        {"UPDATE audit SET previous=randomblob(32) WHERE seq=3", 3, 2},
        {"UPDATE audit SET seq=100 WHERE seq=11", 100, 10},
        {"DELETE FROM audit WHERE seq=5", 6, 4},
        {"DELETE FROM audit WHERE seq=1", 2, 0},
        /* moving a byte from one field to the next must not give the same encoding */
        {"UPDATE audit SET actor_kind='contro', actor='l'||actor WHERE seq=3", 3, 2},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        (void)fixture_open(state);
        struct fixture *f = *state;
        some_history(f);
        assert_int_equal(
            raw_sql(f->path, "DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete", NULL, 0), 0);
        assert_int_equal(raw_sql(f->path, changes[i].sql, NULL, 0), 0);
        uint64_t rows = 0;
        uint64_t bad = 0;
        struct store_error error;
        enum status status = store_verify_audit(f->store, &rows, &bad, &error);
        if (status != ERR_AUTH || bad != changes[i].bad)
            fail_msg("\"%s\": %s, row %llu", changes[i].sql, status_text(status), (unsigned long long)bad);
        assert_int_equal(rows, changes[i].fits);
        assert_non_null(strstr(error.text, "does not fit the chain"));
        (void)fixture_free(state);
    }
}

/* SHA-256 over the documented encoding, computed by hand with another tool (Python's hashlib). */
static void test_known_hash(void **state)
{
    (void)state;
    struct store_audit_row row = {.seq = 2, .time_ms = 1700000000123};
    memset(row.previous, 0x11, sizeof row.previous);
    (void)snprintf(row.actor_kind, sizeof row.actor_kind, "control");
    (void)snprintf(row.actor, sizeof row.actor, "uid=0(root) pid=4711");
    (void)snprintf(row.action, sizeof row.action, "accept");
    (void)snprintf(row.fingerprint, sizeof row.fingerprint, "SHA256:AAAA");
    (void)snprintf(row.name, sizeof row.name, "edge1");
    (void)snprintf(row.remote, sizeof row.remote, "local");
    (void)snprintf(row.detail, sizeof row.detail,
                   "gr\xc3\xbc\xc3\x9f"
                   "e");
    uint8_t hash[32];
    char hex[65];
    audit_hash(&row, hash);
    for (unsigned i = 0; i < sizeof hash; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    assert_string_equal(hex, "668f01695954dc350a10e2a7d7de90a89746a251ff5d326a58ca34a7be98f260");
}

/* The longest row there can be still fits the encoder. */
static void test_longest_row(void **state)
{
    struct fixture *f = *state;
    char text[1200];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    const struct store_actor actor = {.kind = text, .id = text};
    assert_int_equal(store_audit(f->store, &actor, text, text, text, text, text), OK);
    struct store_audit_row row = audit_newest(f->store);
    assert_int_equal(strlen(row.detail), 512);
    assert_int_equal(strlen(row.actor), 128);
    assert_int_equal(strlen(row.action), 32);
    uint64_t rows = 0;
    uint64_t bad = 0;
    struct store_error error;
    assert_int_equal(store_verify_audit(f->store, &rows, &bad, &error), OK);
}

static void test_hostile_text(void **state)
{
    struct fixture *f = *state;
    const struct store_actor actor = {.kind = "system", .id = NULL};
    assert_int_equal(
        store_audit(f->store, &actor, "alarm", NULL, NULL, NULL, "a\x1b[2J\xff\xc3 '; DROP TABLE audit"), OK);
    struct store_audit_row row = audit_newest(f->store);
    assert_string_equal(row.detail, "a?[2J?? '; DROP TABLE audit");
    assert_string_equal(row.actor, "");
    assert_string_equal(row.remote, "local");
}

/* Rows that were sent elsewhere are checked by the same rule, in pages. */
static void test_check_rows(void **state)
{
    struct fixture *f = *state;
    some_history(f);
    struct audit_check check;
    struct store_audit_row rows[4];
    const char *why = NULL;
    size_t n = 0;
    audit_check_init(&check);
    do {
        assert_int_equal(store_list_audit(f->store, check.rows, rows, 4, &n), OK);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(audit_check_row(&check, &rows[i], &why), OK);
    } while (n == 4);
    assert_int_equal(check.rows, 11);
    assert_int_equal(audit_check_row(&check, &rows[0], &why), ERR_AUTH);
    assert_string_equal(why, "a row before it is missing");
    assert_int_equal(check.rows, 11);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_free)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_triggers),
        cmocka_unit_test(test_verify_finds_changes),
        cmocka_unit_test(test_known_hash),
        TEST(test_longest_row),
        TEST(test_hostile_text),
        TEST(test_check_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
