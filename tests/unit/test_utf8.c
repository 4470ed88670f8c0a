/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/utf8: which byte sequences count as text, where text may be cut, and what cleaning leaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/utf8.h"

static void test_sequence(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len, expected;
    } cases[] = {
        {"a", 1, 1},
        {"\xc3\xa9", 2, 2},
        {"\xe2\x82\xac", 3, 3},
        {"\xf0\x9f\x98\x80", 4, 4},
        {"\xed\x9f\xbf", 3, 3},     /* U+D7FF */
        {"\xf4\x8f\xbf\xbf", 4, 4}, /* U+10FFFF */
        {"", 0, 0},
        {"\x80", 1, 0},             /* lone continuation */
        {"\xc3", 1, 0},             /* cut */
        {"\xe2\x82", 2, 0},         /* cut */
        {"\xc0\x80", 2, 0},         /* overlong NUL */
        {"\xc1\xbf", 2, 0},         /* overlong */
        {"\xe0\x9f\xbf", 3, 0},     /* overlong */
        {"\xf0\x8f\xbf\xbf", 4, 0}, /* overlong */
        {"\xed\xa0\x80", 3, 0},     /* surrogate */
        {"\xf4\x90\x80\x80", 4, 0}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", 4, 0},
        {"\xff", 1, 0},
        {"\xe2\x28\xa1", 3, 0}, /* bad second */
        {"\xe2\x82\x28", 3, 0}, /* bad third */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(utf8_sequence(cases[i].text, cases[i].len), cases[i].expected);
}

static void test_clip(void **state)
{
    (void)state;
    assert_int_equal(utf8_clip("abc", 5), 3);
    assert_int_equal(utf8_clip("abc", 3), 3);
    assert_int_equal(utf8_clip("abc", 2), 2);
    assert_int_equal(utf8_clip("a\xe2\x82\xac", 4), 4);
    assert_int_equal(utf8_clip("a\xe2\x82\xac", 3), 1);
    assert_int_equal(utf8_clip("a\xe2\x82\xac", 2), 1);
    assert_int_equal(utf8_clip("", 0), 0);
}

static void test_clean(void **state)
{
    (void)state;
    char out[8];
    utf8_clean(out, sizeof out, "ok");
    assert_string_equal(out, "ok");
    utf8_clean(out, sizeof out, NULL);
    assert_string_equal(out, "");
    utf8_clean(out, sizeof out, "a\x1b[1m\xff");
    assert_string_equal(out, "a?[1m?");
    utf8_clean(out, sizeof out,
               "\xc2\x9b"
               "1"); /* a C1 control: CSI */
    assert_string_equal(out, "?1");
    utf8_clean(out, sizeof out, "abcde\xe2\x82\xac"); /* 8 bytes: the last character does not fit */
    assert_string_equal(out, "abcde");
    utf8_clean(out, sizeof out, "abcdefghij");
    assert_string_equal(out, "abcdefg");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequence),
        cmocka_unit_test(test_clip),
        cmocka_unit_test(test_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
