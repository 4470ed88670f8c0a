/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutting lists and watches into objects: whole, byte by byte, with what does not belong there, and over the
 * limit. Only the shape is tested; what objects mean is not the splitter's business.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker-k8s/splitter.h"

struct seen {
    char text[4096];
    unsigned objects;
    enum status answer;
};

static enum status note(void *arg, enum split_kind kind, const char *text, size_t len)
{
    struct seen *seen = arg;
    size_t at = strlen(seen->text);
    seen->objects++;
    snprintf(seen->text + at, sizeof seen->text - at, "%c:%.*s|", "LIM"[kind], (int)len, text);
    return seen->answer;
}

/* Feeds in pieces of `step` bytes. */
static enum status feed(struct splitter *s, const char *text, size_t len, size_t step)
{
    for (size_t at = 0; at < len; at += step) {
        size_t part = len - at < step ? len - at : step;
        char *copy = malloc(part); /* exactly as long: a sanitizer sees every byte too far */
        memcpy(copy, text + at, part);
        enum status status = splitter_feed(s, copy, part);
        free(copy);
        if (status != OK)
            return status;
    }
    return OK;
}

static void check(bool list, const char *text, enum status fed, enum status ended, const char *expected)
{
    for (size_t step = 1; step <= strlen(text) + 1; step++) {
        struct splitter s;
        struct seen seen = {.answer = OK};
        if (list)
            splitter_init_list(&s, 100, note, &seen);
        else
            splitter_init_lines(&s, 100, note, &seen);
        enum status status = feed(&s, text, strlen(text), step);
        assert_int_equal(status, fed);
        if (status == OK)
            assert_int_equal(splitter_end(&s), ended);
        if (fed == OK)
            assert_string_equal(seen.text, expected);
        splitter_clear(&s);
    }
}

static void test_lines(void **state)
{
    (void)state;
    check(false, "{\"a\":1}\n{\"b\":2}\n", OK, OK, "L:{\"a\":1}|L:{\"b\":2}|");
    check(false, "one\n\n\ntwo\ncut", OK, OK,
          "L:one|L:two|"); /* empty lines and a cut last one are nothing */
    check(false, "", OK, OK, "");
}

static void test_list(void **state)
{
    (void)state;
    check(true,
          "{\"kind\":\"ServiceList\",\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[{\"a\":[{}]} , "
          "{\"b\":\"}]\\\"\"}]}",
          OK, OK, "M:{\"resourceVersion\":\"7\"}|I:{\"a\":[{}]}|I:{\"b\":\"}]\\\"\"}|");
    check(true, "{\"items\":[],\"metadata\":{}}", OK, OK, "M:{}|");
    check(true, "{\"metadata\":{},\"items\":null}\n", OK, OK, "M:{}|");
    check(true, "{\"x\":[[1,2],{\"items\":[{}]}],\"metadata\":{\"items\":[{}]},\"items\":[{}]}", OK, OK,
          "M:{\"items\":[{}]}|I:{}|");
    check(true, "{\"a\":-1.5e3,\"b\":true,\"c\":\"metadata\",\"metadata\":{},\"items\":[]}", OK, OK, "M:{}|");
}

static void test_no_list(void **state)
{
    (void)state;
    check(true, "", OK, ERR_FORMAT, "");
    check(true, "{}", OK, ERR_FORMAT, "");
    check(true, "{\"metadata\":{}}", OK, ERR_FORMAT, "M:{}|");
    check(true, "{\"items\":[]}", OK, ERR_FORMAT, "");
    check(true, "{\"metadata\":{},\"items\":[{\"a\":1", OK, ERR_FORMAT,
          "M:{}|"); /* cut: the object never comes out */
    check(true, "{\"metadata\":{},\"items\":[{}]", OK, ERR_FORMAT, "M:{}|I:{}|");
    check(true, "[]", ERR_FORMAT, OK, NULL);
    check(true, "<html></html>", ERR_FORMAT, OK, NULL);
    check(true, "{\"items\":[1]}", ERR_FORMAT, OK, NULL);
    check(true, "{\"metadata\":{]}", ERR_FORMAT, OK, NULL);
    check(true, "{\"metadata\":{},\"items\":[{]]}", ERR_FORMAT, OK, NULL);
    check(true, "{\"items\":[]} {", ERR_FORMAT, OK, NULL);
    check(true, "{\"items\" []}", ERR_FORMAT, OK, NULL);
    check(true, "{\"a\":}", ERR_FORMAT, OK, NULL);
}

static void test_too_long(void **state)
{
    char text[600], long_text[400];
    (void)state;
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    for (size_t step = 1; step < 600; step += 7) {
        struct splitter s;
        struct seen seen = {.answer = OK};
        splitter_init_lines(&s, 100, note, &seen);
        snprintf(text, sizeof text, "before\n%s\nafter\n", long_text);
        assert_int_equal(feed(&s, text, strlen(text), step), OK);
        assert_string_equal(seen.text, "L:before|L:after|");
        assert_int_equal(s.skipped, 1);
        splitter_clear(&s);

        seen = (struct seen){.answer = OK};
        splitter_init_list(&s, 100, note, &seen);
        snprintf(text, sizeof text, "{\"metadata\":{},\"items\":[{\"a\":1},{\"b\":\"%s\"},{\"c\":3}]}",
                 long_text);
        assert_int_equal(feed(&s, text, strlen(text), step), OK);
        assert_int_equal(splitter_end(&s), OK);
        assert_string_equal(seen.text, "M:{}|I:{\"a\":1}|I:{\"c\":3}|");
        assert_int_equal(s.skipped, 1);
        splitter_clear(&s);

        seen = (struct seen){.answer = OK};
        splitter_init_list(&s, 100, note, &seen);
        snprintf(text, sizeof text, "{\"metadata\":{\"b\":\"%s\"},\"items\":[]}", long_text);
        assert_int_equal(feed(&s, text, strlen(text), step), ERR_SIZE);
        splitter_clear(&s);
    }
}

static void test_depth(void **state)
{
    char text[1200];
    struct splitter s;
    struct seen seen = {.answer = OK};
    (void)state;
    memset(text, '[', sizeof text);
    memcpy(text, "{\"a\":", 5);
    splitter_init_list(&s, 100, note, &seen);
    assert_int_equal(splitter_feed(&s, text, sizeof text), ERR_SIZE);
    splitter_clear(&s);
}

static void test_consumer_stops(void **state)
{
    struct splitter s;
    struct seen seen = {.answer = ERR_REFUSED};
    (void)state;
    splitter_init_lines(&s, 100, note, &seen);
    assert_int_equal(splitter_feed(&s, "a\nb\n", 4), ERR_REFUSED);
    assert_int_equal(seen.objects, 1);
    splitter_clear(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),    cmocka_unit_test(test_list),  cmocka_unit_test(test_no_list),
        cmocka_unit_test(test_too_long), cmocka_unit_test(test_depth), cmocka_unit_test(test_consumer_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
