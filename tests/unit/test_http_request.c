/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin API's request parser: what is taken apart how, and everything that has to be refused because two
 * parsers could read it differently.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "worker-net/http_request.h"
#include "worker-net/http_upgrade_head.h"

static struct http_request request;

static int parse(const char *text)
{
    const char *why = NULL;
    memset(&request, 0xa5, sizeof request);
    int code = http_request_parse(text, strlen(text), &request, &why);
    assert_true(code == 0 || why != NULL);
    return code;
}

#define HOST "Host: localhost\r\n"
#define GET(target) "GET " target " HTTP/1.1\r\n" HOST "\r\n"

static void test_plain(void **state)
{
    (void)state;
    assert_int_equal(parse(GET("/v1/apps")), 0);
    assert_int_equal(request.method, HTTP_GET);
    assert_false(request.http_1_0);
    assert_true(request.keep_alive);
    assert_int_equal(request.n_segments, 2);
    assert_string_equal(request.segments[0], "v1");
    assert_string_equal(request.segments[1], "apps");
    assert_string_equal(request.query, "");
    assert_string_equal(request.host, "localhost");
    assert_int_equal(request.body, 0);
    assert_false(request.has_token);
    assert_false(request.from_page);
}

static void test_methods(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum http_method method;
    } cases[] = {{"HEAD", HTTP_HEAD},     {"POST", HTTP_POST}, {"PUT", HTTP_PUT},    {"DELETE", HTTP_DELETE},
                 {"OPTIONS", HTTP_OTHER}, {"get", HTTP_OTHER}, {"PATCH", HTTP_OTHER}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[100];
        (void)snprintf(text, sizeof text, "%s / HTTP/1.1\r\n" HOST "\r\n", cases[i].text);
        assert_int_equal(parse(text), 0);
        assert_int_equal(request.method, cases[i].method);
    }
}

static void test_paths(void **state)
{
    (void)state;
    assert_int_equal(parse(GET("/")), 0);
    assert_int_equal(request.n_segments, 1);
    assert_string_equal(request.segments[0], "");
    assert_int_equal(parse(GET("/v1/apps/")), 0);
    assert_int_equal(request.n_segments, 3);
    assert_string_equal(request.segments[2], "");
    assert_int_equal(parse(GET("/v1/requests/SHA256%3aAb_-9")), 0);
    assert_string_equal(request.segments[2], "SHA256:Ab_-9");
    assert_int_equal(parse(GET("/a%2Fb/c")), 0); /* an encoded slash separates nothing */
    assert_int_equal(request.n_segments, 2);
    assert_string_equal(request.segments[0], "a/b");
    assert_int_equal(parse(GET("/%00")), 400);
    assert_int_equal(parse(GET("/a%0d%0ab")), 400);
    assert_int_equal(parse(GET("/%")), 400);
    assert_int_equal(parse(GET("/%4")), 400);
    assert_int_equal(parse(GET("/%zz")), 400);
    assert_int_equal(parse(GET("/1/2/3/4/5/6/7/8")), 0);
    assert_int_equal(request.n_segments, HTTP_SEGMENTS_MAX);
    assert_int_equal(parse(GET("/1/2/3/4/5/6/7/8/9")), 404);
    assert_int_equal(parse(GET("v1")), 400);
    assert_int_equal(parse(GET("*")), 400);
    assert_int_equal(parse(GET("/#x")), 400);
}

static void test_longest_target(void **state)
{
    (void)state;
    char text[HTTP_TARGET_MAX + 100];
    for (size_t extra = 0; extra < 2; extra++) {
        size_t used = (size_t)snprintf(text, sizeof text, "GET /");
        memset(text + used, 'a', HTTP_TARGET_MAX - 1 + extra);
        used += HTTP_TARGET_MAX - 1 + extra;
        (void)snprintf(text + used, sizeof text - used, " HTTP/1.1\r\n" HOST "\r\n");
        assert_int_equal(parse(text), extra == 0 ? 0 : 414);
    }
}

static void test_absolute_target(void **state)
{
    (void)state;
    assert_int_equal(parse("GET http://Evil.Example:99/v1/apps?x=1 HTTP/1.1\r\n" HOST "\r\n"), 0);
    assert_string_equal(request.host, "evil.example"); /* the target's host is the one that counts */
    assert_string_equal(request.segments[1], "apps");
    assert_string_equal(request.query, "x=1");
    assert_int_equal(parse(GET("http://host")), 400);
    assert_int_equal(parse(GET("http://us\\er/")), 400);
    assert_int_equal(parse(GET("http://user@host/")), 400);
    assert_int_equal(parse(GET("ftp://host/")), 400);
}

static void test_hosts(void **state)
{
    (void)state;
    static const struct {
        const char *field, *host;
        int code;
    } cases[] = {
        {"Host: LocalHost:8081\r\n", "localhost", 0},
        {"Host: 127.0.0.1\r\n", "127.0.0.1", 0},
        {"Host: [::1]:80\r\n", "::1", 0},
        {"Host: [::1]\r\n", "::1", 0},
        {"Host: [::1]x\r\n", "", 400},
        {"Host: [::1\r\n", "", 400},
        {"Host: a b\r\n", "", 400},
        {"Host: u@h\r\n", "", 400},
        {"Host: h/x\r\n", "", 400},
        {"", "", 400},
        {"Host: a\r\nHost: a\r\n", "", 400},
        {"Host : a\r\n", "", 400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[200];
        (void)snprintf(text, sizeof text, "GET / HTTP/1.1\r\n%s\r\n", cases[i].field);
        if (parse(text) != cases[i].code)
            fail_msg("%s", cases[i].field);
        if (cases[i].code == 0)
            assert_string_equal(request.host, cases[i].host);
    }
}

static void test_versions(void **state)
{
    (void)state;
    assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n"), 0);
    assert_true(request.http_1_0);
    assert_false(request.keep_alive);
    assert_int_equal(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), 0);
    assert_true(request.keep_alive);
    assert_int_equal(parse("GET / HTTP/1.1\r\n" HOST "Connection: foo, Close\r\n\r\n"), 0);
    assert_false(request.keep_alive);
    assert_int_equal(parse("GET / HTTP/2.0\r\n" HOST "\r\n"), 505);
    assert_int_equal(parse("GET / HTTP/1.10\r\n" HOST "\r\n"), 505);
    assert_int_equal(parse("GET /\r\n\r\n"), 400);
}

static void test_bodies(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        int code;
        size_t body;
    } cases[] = {
        {"Content-Length: 0\r\n", 0, 0},
        {"Content-Length: 16384\r\n", 0, 16384},
        {"Content-Length: 16385\r\n", 413, 0},
        {"Content-Length: 99999999999999999999999999\r\n", 413, 0},
        {"Content-Length: -1\r\n", 400, 0},
        {"Content-Length: +1\r\n", 400, 0},
        {"Content-Length: 1, 1\r\n", 400, 0},
        {"Content-Length: 0x10\r\n", 400, 0},
        {"Content-Length:\r\n", 400, 0},
        {"Content-Length: 1\r\nContent-Length: 1\r\n", 400, 0},
        {"Transfer-Encoding: chunked\r\n", 411, 0},
        {"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[300];
        (void)snprintf(text, sizeof text, "POST /x HTTP/1.1\r\n" HOST "%s\r\n", cases[i].fields);
        if (parse(text) != cases[i].code)
            fail_msg("%s", cases[i].fields);
        if (cases[i].code == 0)
            assert_int_equal(request.body, cases[i].body);
    }
    assert_int_equal(parse("POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"),
                     0);
    assert_true(request.expect_continue);
}

static void test_tokens(void **state)
{
    (void)state;
    assert_int_equal(parse("GET / HTTP/1.1\r\n" HOST "Authorization: bearer  abc.def\r\n\r\n"), 0);
    assert_true(request.has_token);
    assert_string_equal(request.token, "abc.def");
    http_request_clear(&request);
    assert_false(request.has_token);
    assert_string_equal(request.token, "");
    assert_int_equal(parse("GET / HTTP/1.1\r\n" HOST "Authorization: Basic YTpi\r\n\r\n"), 401);
    assert_int_equal(parse("GET / HTTP/1.1\r\n" HOST "Authorization: Bearer\r\n\r\n"), 401);
    assert_int_equal(
        parse("GET / HTTP/1.1\r\n" HOST "Authorization: Bearer a\r\nAuthorization: Bearer a\r\n\r\n"), 400);
    char text[600];
    for (size_t len = HTTP_TOKEN_MAX; len <= HTTP_TOKEN_MAX + 1; len++) {
        size_t used = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" HOST "Authorization: Bearer ");
        memset(text + used, 't', len);
        (void)snprintf(text + used + len, sizeof text - used - len, "\r\n\r\n");
        assert_int_equal(parse(text), len == HTTP_TOKEN_MAX ? 0 : 401);
    }
}

static void test_web_pages(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        bool from_page;
    } cases[] = {
        {"Origin: http://evil.example\r\n", true},   {"Origin: null\r\n", true},
        {"Sec-Fetch-Site: cross-site\r\n", true},    {"Sec-Fetch-Site: same-site\r\n", true},
        {"Sec-Fetch-Site: same-origin\r\n", false},  {"Sec-Fetch-Site: none\r\n", false},
        {"Referer: http://evil.example\r\n", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[200];
        (void)snprintf(text, sizeof text, "POST / HTTP/1.1\r\n" HOST "%s\r\n", cases[i].field);
        assert_int_equal(parse(text), 0);
        assert_int_equal(request.from_page, cases[i].from_page);
    }
}

static void test_smuggling(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "GET / HTTP/1.1\n" HOST "\r\n",
        "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST " folded\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "X\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST ": x\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "A b: x\r\n\r\n",
        "GET  / HTTP/1.1\r\n" HOST "\r\n",
        "GET / a HTTP/1.1\r\n" HOST "\r\n",
        " GET / HTTP/1.1\r\n" HOST "\r\n",
        "GET / HTTP/1.1 \r\n" HOST "\r\n",
        "GET\t/ HTTP/1.1\r\n" HOST "\r\n",
        "GET / HTTP/1.1\r\n" HOST "X: a\x01"
        "b\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int code = parse(texts[i]);
        if (code != 400 && code != 505)
            fail_msg("%zu: %d", i, code);
    }
    const char *why = NULL;
    static const char nul[] = "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n";
    assert_int_equal(http_request_parse(nul, sizeof nul - 1, &request, &why), 400);
}

static void test_many_fields(void **state)
{
    (void)state;
    char text[HTTP_HEAD_MAX];
    for (unsigned n = HTTP_FIELDS_MAX - 1; n <= HTTP_FIELDS_MAX; n++) {
        size_t used = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" HOST);
        for (unsigned i = 0; i < n; i++)
            used += (size_t)snprintf(text + used, sizeof text - used, "X-%u: y\r\n", i);
        (void)snprintf(text + used, sizeof text - used, "\r\n");
        assert_int_equal(parse(text), n == HTTP_FIELDS_MAX ? 431 : 0);
    }
}

static void test_parameters(void **state)
{
    (void)state;
    char value[8];
    bool malformed = true;
    assert_int_equal(parse(GET("/?after=12&b=%41%20c&after2=9&=x&empty=&b2")), 0);
    assert_true(http_request_parameter(&request, "after", value, sizeof value, &malformed));
    assert_string_equal(value, "12");
    assert_true(http_request_parameter(&request, "b", value, sizeof value, &malformed));
    assert_string_equal(value, "A c");
    assert_true(http_request_parameter(&request, "empty", value, sizeof value, &malformed));
    assert_string_equal(value, "");
    assert_false(http_request_parameter(&request, "nothing", value, sizeof value, &malformed));
    assert_false(malformed);
    assert_int_equal(parse(GET("/?a=1&a=2&long=12345678&bad=%zz")), 0);
    assert_false(http_request_parameter(&request, "a", value, sizeof value, &malformed));
    assert_true(malformed);
    assert_false(http_request_parameter(&request, "long", value, sizeof value, &malformed));
    assert_true(malformed);
    assert_false(http_request_parameter(&request, "bad", value, sizeof value, &malformed));
    assert_true(malformed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),           cmocka_unit_test(test_methods),
        cmocka_unit_test(test_paths),           cmocka_unit_test(test_longest_target),
        cmocka_unit_test(test_absolute_target), cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_versions),        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_tokens),          cmocka_unit_test(test_web_pages),
        cmocka_unit_test(test_smuggling),       cmocka_unit_test(test_many_fields),
        cmocka_unit_test(test_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
