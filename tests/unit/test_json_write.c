/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON writer: punctuation, escaping, overflow. Compares bytes; parsing is not its business.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_write.h"

static void write_sample(struct json_writer *w)
{
    json_begin_array(w);
    json_begin_object(w);
    json_put_string(w, "name", "edge1");
    json_put_uint(w, "bytes", UINT64_MAX);
    json_key(w, "list");
    json_begin_array(w);
    json_end_array(w);
    json_key(w, "hash");
    json_hex(w, (const uint8_t[]){0x00, 0xaf}, 2);
    json_end_object(w);
    json_bool(w, false);
    json_null(w);
    json_int(w, -5);
    json_end_array(w);
}

static const char sample[] =
    "[{\"name\":\"edge1\",\"bytes\":18446744073709551615,\"list\":[],\"hash\":\"00af\"},false,null,-5]";

static void buffer_holds_compact_text(void **state)
{
    char buf[256];
    struct json_writer w;
    (void)state;
    json_to_buffer(&w, buf, sizeof buf);
    write_sample(&w);
    assert_int_equal(json_finish(&w), OK);
    assert_string_equal(buf, sample);
    assert_int_equal(w.used, strlen(sample));
}

static void every_short_buffer_fails_and_is_a_prefix(void **state)
{
    (void)state;
    for (size_t cap = 0; cap <= strlen(sample); cap++) {
        char *buf = malloc(cap + 1); /* + 1: malloc(0) may be NULL; the sanitizer sees the rest */
        assert_non_null(buf);
        struct json_writer w;
        json_to_buffer(&w, buf, cap);
        write_sample(&w);
        assert_int_equal(json_finish(&w), ERR_SIZE);
        if (cap > 0)
            assert_memory_equal(buf, sample, strlen(buf));
        free(buf);
    }
    char exact[sizeof sample];
    struct json_writer w;
    json_to_buffer(&w, exact, sizeof exact);
    write_sample(&w);
    assert_int_equal(json_finish(&w), OK);
}

static void text_is_escaped(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", "\"\""},
        {"a\"b\\c/", "\"a\\\"b\\\\c/\""},
        {"\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\""},
        {"\x01\x1f\x7f", "\"\\u0001\\u001f\\u007f\""},
        {"Gr\xc3\xbc\xc3\x9f", "\"Gr\xc3\xbc\xc3\x9f\""},
        {"\xff\xc3", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char buf[64];
        struct json_writer w;
        json_to_buffer(&w, buf, sizeof buf);
        json_string(&w, cases[i].in);
        assert_int_equal(json_finish(&w), OK);
        assert_string_equal(buf, cases[i].out);
    }
}

static void pretty_file_has_lines(void **state)
{
    char *text = NULL;
    size_t len = 0;
    struct json_writer w;
    (void)state;
    FILE *file = open_memstream(&text, &len);
    assert_non_null(file);
    json_to_file(&w, file, true);
    json_begin_object(&w);
    json_put_bool(&w, "up", true);
    json_key(&w, "apps");
    json_begin_array(&w);
    json_string(&w, NULL);
    json_end_array(&w);
    json_key(&w, "none");
    json_begin_object(&w);
    json_end_object(&w);
    json_end_object(&w);
    assert_int_equal(json_finish(&w), OK);
    assert_int_equal(fclose(file), 0);
    assert_string_equal(text, "{\n  \"up\": true,\n  \"apps\": [\n    null\n  ],\n  \"none\": {}\n}\n");
    free(text);
}

static void misuse_is_noticed(void **state)
{
    char buf[256];
    struct json_writer w;
    (void)state;
    json_to_buffer(&w, buf, sizeof buf);
    json_begin_object(&w);
    assert_int_equal(json_finish(&w), ERR_SIZE); /* not closed */
    json_to_buffer(&w, buf, sizeof buf);
    json_end_array(&w);
    assert_int_equal(json_finish(&w), ERR_SIZE); /* never begun */
    json_to_buffer(&w, buf, sizeof buf);
    for (int i = 0; i < JSON_DEPTH + 40; i++)
        json_begin_array(&w);
    for (int i = 0; i < JSON_DEPTH + 40; i++)
        json_end_array(&w);
    assert_int_equal(json_finish(&w), ERR_SIZE); /* too deep */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer_holds_compact_text),
        cmocka_unit_test(every_short_buffer_fails_and_is_a_prefix),
        cmocka_unit_test(text_is_escaped),
        cmocka_unit_test(pretty_file_has_lines),
        cmocka_unit_test(misuse_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
