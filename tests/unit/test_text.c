/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, addresses, fingerprints and the escaping of log text: the small rules that everything else relies
 * on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/fingerprint.h"
#include "common/log.h"
#include "common/names.h"

static void test_names(void **state)
{
    (void)state;
    static const char *const good[] = {
        "a", "0", "web", "edge-1", "a--b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    static const char *const bad[] = {"",
                                      "-a",
                                      "a-",
                                      "Web",
                                      "a.b",
                                      "a_b",
                                      "a b",
                                      "ä",
                                      "a\n",
                                      "../x",
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(name_is_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(name_is_valid(bad[i]));
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        uint16_t preset, port;
    } good[] = {
        {"127.0.0.1:8000", "127.0.0.1", 0, 8000},       {"[::1]:80", "::1", 0, 80},
        {"web.example:65535", "web.example", 0, 65535}, {"host", "host", 80, 80},
        {"[fe80::1%eth0]", "fe80::1%eth0", 443, 443},   {"::1", "::1", 80, 80},
    };
    static const char *const bad[] = {"",          ":80",     "host:",   "host:0", "host:65536",
                                      "host:080",  "host:+1", "host:8x", "[::1",   "[::1]80",
                                      "[host]:80", "::1",     "a b:80",  "h/x:80", "host"};
    char host[256], joined[300];
    uint16_t port;

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(address_split(good[i].text, good[i].preset, host, sizeof host, &port), OK);
        assert_string_equal(host, good[i].host);
        assert_int_equal(port, good[i].port);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_not_equal(address_split(bad[i], 0, host, sizeof host, &port), OK);
    assert_int_equal(address_split("longer:1", 0, host, 4, &port), ERR_SIZE);
    address_join(joined, sizeof joined, "::1", 80);
    assert_string_equal(joined, "[::1]:80");
}

static void test_fingerprints(void **state)
{
    (void)state;
    uint8_t digest[32], again[32];
    char text[FINGERPRINT_TEXT + 1];

    for (unsigned i = 0; i < 32; i++)
        digest[i] = (uint8_t)(i * 7 + 200);
    fingerprint_format(digest, text);
    assert_int_equal(strlen(text), FINGERPRINT_TEXT);
    assert_int_equal(fingerprint_parse(text, again), OK);
    assert_memory_equal(digest, again, 32);
    memset(digest, 0xff, 32); /* 42 times 63, then 1111 and two zero bits */
    fingerprint_format(digest, text);
    assert_string_equal(text, "SHA256:__________________________________________8");
    text[FINGERPRINT_TEXT - 1] = '9'; /* the same bytes, were the spare bits ignored: must not be accepted */
    assert_int_equal(fingerprint_parse(text, again), ERR_FORMAT);
    assert_int_equal(fingerprint_parse("SHA256:abc", again), ERR_FORMAT);
    assert_int_equal(fingerprint_parse("sha256:__________________________________________8", again),
                     ERR_FORMAT);
    assert_int_equal(fingerprint_parse("SHA256:+_________________________________________8", again),
                     ERR_FORMAT);
    assert_true(fingerprint_is_prefix("SHA256:abcdefghijkl"));
    assert_false(fingerprint_is_prefix("SHA256:abcdefghijk"));
    assert_false(fingerprint_is_prefix("SHA256:abcdefghij l"));
}

static void test_escaping(void **state)
{
    (void)state;
    char out[64];

    (void)log_escape(out, sizeof out, "a\nb\033[31m\"\\", 10);
    assert_string_equal(out, "a\\x0ab\\x1b[31m\\x22\\x5c");
    (void)log_escape(out, sizeof out, "gr\xc3\xbc\xc3\x9f", 6);
    assert_string_equal(out, "gr\xc3\xbc\xc3\x9f");
    (void)log_escape(out, sizeof out, "\xc3", 1); /* cut in the middle */
    assert_string_equal(out, "\\xc3");
    (void)log_escape(out, sizeof out, "\xe2\x80\xae", 3); /* right-to-left override */
    assert_string_equal(out, "\\xe2\\x80\\xae");
    (void)log_escape(out, sizeof out, "\xc2\x9b", 2); /* C1 control sequence introducer */
    assert_string_equal(out, "\\xc2\\x9b");
    assert_int_equal(log_escape(out, 5, "abcdefgh", 8), 4);
    assert_string_equal(out, "abcd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_addresses),
                                       cmocka_unit_test(test_fingerprints), cmocka_unit_test(test_escaping)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
