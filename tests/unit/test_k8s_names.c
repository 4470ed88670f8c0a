/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Name rules of mirrored Services and apps, and the table and back-off that the Kubernetes worker keeps. It
 * must not repeat how a hash is computed: known values were computed by another program.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker-k8s/backoff.h"
#include "worker-k8s/names.h"
#include "worker-k8s/table.h"

static void test_service_names(void **state)
{
    char longest[65];
    (void)state;
    memset(longest, 'a', 63);
    longest[63] = '\0';
    assert_true(name_is_service("a"));
    assert_true(name_is_service("edge1-default-web"));
    assert_true(name_is_service(longest));
    longest[63] = 'a';
    longest[64] = '\0';
    assert_false(name_is_service(longest));
    assert_false(name_is_service(""));
    assert_false(name_is_service("1edge"));
    assert_false(name_is_service("-a"));
    assert_false(name_is_service("a-"));
    assert_false(name_is_service("a.b"));
    assert_false(name_is_service("A"));
    assert_true(name_is_label_value(""));
    assert_true(name_is_label_value("A_b.c-9"));
    assert_false(name_is_label_value("-a"));
    assert_false(name_is_label_value("a/b"));
    assert_false(name_is_label_value("a b"));
}

static void test_hash(void **state)
{
    char out[65];
    (void)state;
    /* printf 'edge1\0web' | sha256sum */
    name_hash("edge1", "web", 64, out);
    assert_string_equal(out, "0b0104a794439c55f692c1fdcd3cba4d4fe42bcdb01660bb7cd758d40a08eede");
}

static void test_mirror_names(void **state)
{
    char one[64], two[64], again[64];
    char peer[64], app[64];
    (void)state;
    name_mirror("edge1", "default-web", false, one);
    assert_string_equal(one, "edge1-default-web");
    name_mirror("a-b", "c", false, one);
    name_mirror("a", "b-c", false, two);
    assert_string_equal(one, two); /* plain names may collide … */
    name_mirror("a-b", "c", true, one);
    name_mirror("a", "b-c", true, two);
    assert_string_not_equal(one, two); /* … hashed ones do not */
    assert_memory_equal(one, "a-b-c-", 6);
    assert_int_equal(strlen(one), 6 + 8);

    memset(peer, 'p', 63);
    peer[63] = '\0';
    memset(app, 'q', 63);
    app[63] = '\0';
    name_mirror(peer, app, false, one);
    assert_int_equal(strlen(one), 63);
    assert_true(name_is_service(one));
    name_mirror(peer, app, false, again);
    assert_string_equal(one, again);
    app[62] = 'r'; /* differs only in what is cut off */
    name_mirror(peer, app, false, two);
    assert_string_not_equal(one, two);

    name_mirror("1edge", "web", false, one);
    assert_true(name_is_service(one));
    assert_memory_equal(one, "w-1edge-web-", 12);
    name_mirror("Edge_1", "W", false, one);
    assert_true(name_is_service(one));
    assert_memory_equal(one, "edge-1-w-", 9);
    name_mirror("e", "-----------------------------------------------------------------", true, one);
    assert_true(name_is_service(one));
}

static void test_app_names(void **state)
{
    char out[64], other[64], base[128];
    (void)state;
    name_app("default-web", NULL, out);
    assert_string_equal(out, "default-web");
    name_app("default-web", "http", out);
    assert_string_equal(out, "default-web-http");
    memset(base, 'n', 127);
    base[127] = '\0';
    name_app(base, "http", out);
    name_app(base, "https", other);
    assert_int_equal(strlen(out), 63);
    assert_true(name_is_service(out));
    assert_string_not_equal(out, other);
}

#define MANY 5000

static void test_table(void **state)
{
    static char keys[MANY][16];
    static int values[MANY];
    struct table table = {0};
    size_t cursor = 0, seen = 0;
    (void)state;
    assert_null(table_get(&table, "x"));
    assert_null(table_remove(&table, "x"));
    for (int i = 0; i < MANY; i++) {
        snprintf(keys[i], sizeof keys[i], "key-%d", i);
        assert_int_equal(table_put(&table, keys[i], &values[i]), OK);
    }
    assert_int_equal(table.count, MANY);
    for (int i = 0; i < MANY; i += 2)
        assert_ptr_equal(table_remove(&table, keys[i]), &values[i]);
    for (int i = 0; i < MANY; i++)
        assert_ptr_equal(table_get(&table, keys[i]), i % 2 == 0 ? NULL : &values[i]);
    assert_int_equal(table_put(&table, keys[1], &values[0]), OK); /* replaces */
    assert_ptr_equal(table_get(&table, keys[1]), &values[0]);
    while (table_next(&table, &cursor) != NULL)
        seen++;
    assert_int_equal(seen, MANY / 2);
    assert_int_equal(table.count, MANY / 2);
    table_clear(&table);
    assert_int_equal(table.count, 0);
}

static void test_backoff(void **state)
{
    struct backoff b = {0};
    static const uint32_t steps[] = {800, 1600, 3200, 6400, 12800, 25600, 30000, 30000};
    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        assert_int_equal(backoff_bad(&b, 1000, 0), steps[i]);
    assert_in_range(backoff_bad(&b, 1000, 0xffffffff), 30000, 45000);
    backoff_good(&b, 2000);
    assert_int_equal(backoff_bad(&b, 2000 + BACKOFF_GOOD_MS - 1, 0), 30000); /* not good for long enough */
    backoff_good(&b, 500000);
    backoff_good(&b, 600000); /* still the same good time */
    assert_int_equal(backoff_bad(&b, 500000 + BACKOFF_GOOD_MS, 0), 800);
    for (uint32_t r = 0; r < 1000; r++) {
        struct backoff fresh = {0};
        assert_in_range(backoff_bad(&fresh, 1, r * 7919), 800, 1200);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_service_names), cmocka_unit_test(test_hash),
        cmocka_unit_test(test_mirror_names),  cmocka_unit_test(test_app_names),
        cmocka_unit_test(test_table),         cmocka_unit_test(test_backoff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
