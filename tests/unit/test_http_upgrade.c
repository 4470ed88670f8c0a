/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The websocket upgrade and HTTP CONNECT as text: what is let in, what is refused and with which status, and
 * what a person is told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "worker-net/http_upgrade.h"
#include "worker-net/http_upgrade_head.h"
#include "worker-net/proxy_connect.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define FIRST "GET /wh/tunnel HTTP/1.1\r\nHost: server:8080\r\n"
#define UP "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define WS "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n"
#define SUB "Sec-WebSocket-Protocol: wormhole.v1\r\n"
#define GOOD FIRST UP WS SUB "\r\n"

static void test_accept_value(void **state)
{
    char out[UPGRADE_ACCEPT_TEXT + 1];
    (void)state;

    assert_int_equal(upgrade_accept_value(KEY, strlen(KEY), out), OK); /* RFC 6455 section 1.3 */
    assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_int_equal(upgrade_accept_value(KEY, 23, out), ERR_SIZE);
}

static unsigned status_of(const char *request)
{
    struct upgrade_request r;
    char answer[UPGRADE_MESSAGE_MAX];
    size_t len = 0;

    enum status st = upgrade_answer(request, strlen(request), "/wh/tunnel", &r, answer, &len);
    if (st == ERR_AGAIN)
        return 0;
    assert_int_equal(st == OK, r.http_status == 101);
    unsigned told = 0;
    assert_int_equal(sscanf(answer, "HTTP/1.1 %u ", &told), 1);
    assert_int_equal(told, r.http_status);
    assert_non_null(memmem(answer, len, "\r\n\r\n", 4));
    assert_int_equal(r.why == NULL, st == OK);
    return told;
}

static void test_good_requests(void **state)
{
    struct upgrade_request r;
    char answer[UPGRADE_MESSAGE_MAX];
    size_t len;
    (void)state;

    assert_int_equal(upgrade_answer(GOOD "rest", strlen(GOOD) + 4, "/wh/tunnel", &r, answer, &len), OK);
    assert_int_equal(r.used, strlen(GOOD)); /* what follows is the websocket's */
    answer[len] = '\0';
    assert_non_null(strstr(answer, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_non_null(strstr(answer, "Sec-WebSocket-Protocol: wormhole.v1\r\n"));
    assert_null(strstr(answer, "Extensions"));

    /* As proxies write it. */
    assert_int_equal(
        status_of("GET http://server:8080/wh/tunnel HTTP/1.1\r\nHOST: server\r\nconnection: keep-alive , "
                  "upgrade\r\nupgrade: WebSocket\r\n" WS "sec-websocket-protocol: chat,wormhole.v1\r\n"
                  "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
        101);
    assert_int_equal(status_of(FIRST UP WS "Sec-WebSocket-Protocol: chat\r\n" SUB "\r\n"), 101);
    assert_int_equal(status_of(FIRST UP WS SUB "Content-Length: 0\r\n\r\n"), 101);
    assert_int_equal(status_of(FIRST UP WS SUB "X-Note: caf\xc3\xa9\r\n\r\n"), 101);
}

static void test_exact_errors(void **state)
{
    static const struct {
        const char *request;
        unsigned status;
    } cases[] = {
        {"GET /other HTTP/1.1\r\nHost: s\r\n\r\n", 404},
        {"GET /wh/tunnel/ HTTP/1.1\r\nHost: s\r\n" UP WS SUB "\r\n", 404},
        {"GET /wh/tunnel?x=1 HTTP/1.1\r\nHost: s\r\n" UP WS SUB "\r\n", 404},
        {"GET http://s HTTP/1.1\r\nHost: s\r\n" UP WS SUB "\r\n", 404},
        {"POST / HTTP/1.1\r\nHost: s\r\n\r\n", 404},
        {FIRST "\r\n", 426},
        {FIRST WS SUB "\r\n", 426},
        {FIRST "Upgrade: websocket\r\n" WS SUB "\r\n", 426},
        {FIRST "Connection: upgrade\r\n" WS SUB "\r\n", 426},
        {FIRST "Upgrade: h2c\r\nConnection: Upgrade\r\n" WS SUB "\r\n", 426},
        {FIRST UP SUB "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 8\r\n\r\n", 426},
        {FIRST UP SUB "Sec-WebSocket-Key: " KEY "\r\n\r\n", 426},
        {FIRST UP WS SUB "Origin: http://evil.example\r\n\r\n", 403},
        {"POST /wh/tunnel HTTP/1.1\r\nHost: s\r\n" UP WS SUB "\r\n", 400},
        {FIRST UP WS "\r\n", 400},
        {FIRST UP WS "Sec-WebSocket-Protocol: wormhole.v2\r\n\r\n", 400},
        {FIRST UP SUB "Sec-WebSocket-Version: 13\r\n\r\n", 400},
        {FIRST UP SUB "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: tooshort==\r\n\r\n", 400},
        {FIRST UP SUB "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!Q==\r\n\r\n",
         400},
        {FIRST UP WS WS SUB "\r\n", 400},
        {"GET /wh/tunnel HTTP/1.1\r\n" UP WS SUB "\r\n", 400},
        {FIRST "Host: other\r\n" UP WS SUB "\r\n", 400},
        {FIRST UP WS SUB "Content-Length: 5\r\n\r\nhello", 400},
        {FIRST UP WS SUB "Transfer-Encoding: chunked\r\n\r\n", 400},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (status_of(cases[i].request) != cases[i].status)
            fail_msg("%u instead of %u for:\n%s", status_of(cases[i].request), cases[i].status,
                     cases[i].request);
    }
}

/* What a strict parser must not let through, because somebody in between may have read it otherwise. */
static void test_malformed(void **state)
{
    static const char *const cases[] = {
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET /wh/tunnel\r\n\r\n",
        "GET  /wh/tunnel HTTP/1.1\r\n\r\n",
        "GET /wh/tunnel HTTP/1.0\r\nHost: s\r\n" UP WS SUB "\r\n",
        "GET /wh/tunnel HTTP/2\r\nHost: s\r\n\r\n",
        "GET /wh/tunnel HTTP/1.1 \r\nHost: s\r\n\r\n",
        "G\x01T /wh/tunnel HTTP/1.1\r\nHost: s\r\n\r\n",
        "GET /wh/tun\x7fnel HTTP/1.1\r\nHost: s\r\n\r\n",
        "GET /wh/tunnel HTTP/1.1\nHost: s\r\n\r\n",
        "GET /wh/tunnel HTTP/1.1\r\nHost: s\nUpgrade: websocket\r\n\r\n",
        FIRST "Upgrade : websocket\r\n\r\n",
        FIRST " folded: yes\r\n\r\n",
        FIRST "A: b\r\n folded\r\n\r\n",
        FIRST "no colon\r\n\r\n",
        FIRST ": no name\r\n\r\n",
        FIRST "N\xc3\xa4me: x\r\n\r\n",
        FIRST "A: b\x0b\r\n\r\n",
        FIRST "A: b\rc\r\n\r\n",
    };
    char nul[] = FIRST "A: bXc\r\n\r\n";
    struct upgrade_request r;
    char answer[UPGRADE_MESSAGE_MAX];
    size_t len;
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (status_of(cases[i]) != 400)
            fail_msg("%u for:\n%s", status_of(cases[i]), cases[i]);
    }
    *strchr(nul, 'X') = '\0';
    assert_int_equal(upgrade_answer(nul, sizeof nul - 1, "/wh/tunnel", &r, answer, &len), ERR_REFUSED);
    assert_int_equal(r.http_status, 400);
}

static void test_bounds(void **state)
{
    static char big[HTTP_HEAD_MAX + 100];
    struct upgrade_request r;
    char answer[UPGRADE_MESSAGE_MAX];
    size_t len, n;
    (void)state;

    /* Every prefix waits for more, and nothing is answered too early. */
    for (n = 0; n < strlen(GOOD); n++)
        assert_int_equal(upgrade_answer(GOOD, n, "/wh/tunnel", &r, answer, &len), ERR_AGAIN);
    memset(big, 'a', sizeof big);
    memcpy(big, FIRST "X: ", strlen(FIRST "X: "));
    assert_int_equal(upgrade_answer(big, HTTP_HEAD_MAX - 1, "/wh/tunnel", &r, answer, &len), ERR_AGAIN);
    assert_int_equal(upgrade_answer(big, HTTP_HEAD_MAX, "/wh/tunnel", &r, answer, &len), ERR_REFUSED);
    assert_int_equal(r.http_status, 431);

    n = (size_t)sprintf(big, FIRST UP WS SUB);
    for (unsigned i = 0; i < HTTP_FIELDS_MAX; i++)
        n += (size_t)sprintf(big + n, "F%u: x\r\n", i);
    n += (size_t)sprintf(big + n, "\r\n");
    assert_int_equal(upgrade_answer(big, n, "/wh/tunnel", &r, answer, &len), ERR_REFUSED);
    assert_int_equal(r.http_status, 431);
}

static void expect_forwarded(const char *fields, const char *expected)
{
    char request[1024], answer[UPGRADE_MESSAGE_MAX];
    struct upgrade_request r;
    size_t len;

    (void)snprintf(request, sizeof request, FIRST UP WS SUB "%s\r\n", fields);
    assert_int_equal(upgrade_answer(request, strlen(request), "/wh/tunnel", &r, answer, &len), OK);
    assert_string_equal(r.forwarded, expected);
}

static void test_forwarded(void **state)
{
    (void)state;
    expect_forwarded("", "");
    expect_forwarded("X-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7");
    expect_forwarded("X-Forwarded-For: 10.0.0.1, 192.0.2.7 \r\n",
                     "192.0.2.7"); /* what the nearest proxy added */
    expect_forwarded("X-Forwarded-For: 10.0.0.1\r\nx-forwarded-for: 192.0.2.8\r\n", "192.0.2.8");
    expect_forwarded("X-Forwarded-For: 2001:DB8:0:0::1\r\n", "2001:db8::1");
    expect_forwarded("X-Forwarded-For: 192.0.2.7, unknown\r\n", "");
    expect_forwarded("X-Forwarded-For: <script>\r\n", "");
    expect_forwarded("X-Forwarded-For: \r\n", "");
    expect_forwarded("X-Forwarded-For: 192.0.2.7,\r\n", "");
}

/* ---- the client's half ---- */

static void make_request(struct upgrade_client *c, const char *host, uint16_t port, char *out)
{
    size_t len = 0;

    assert_int_equal(upgrade_request_write(c, host, port, 80, "/wh/tunnel", out, &len), OK);
    out[len] = '\0';
}

static void test_client_request(void **state)
{
    struct upgrade_client c, d;
    char first[UPGRADE_MESSAGE_MAX + 1], second[UPGRADE_MESSAGE_MAX + 1];
    (void)state;

    make_request(&c, "server", 8080, first);
    assert_int_equal(status_of(first), 101); /* our own server takes it */
    assert_non_null(strstr(first, "\r\nHost: server:8080\r\n"));
    make_request(&d, "server", 80, second);
    assert_non_null(strstr(second, "\r\nHost: server\r\n"));
    assert_string_not_equal(c.accept, d.accept); /* a fresh key each time */
    make_request(&c, "2001:db8::1", 80, first);
    assert_non_null(strstr(first, "\r\nHost: [2001:db8::1]\r\n"));
    make_request(&c, "2001:db8::1", 81, first);
    assert_non_null(strstr(first, "\r\nHost: [2001:db8::1]:81\r\n"));
}

#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define SWITCH "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

static enum status check(const char *text, size_t *used, char *why)
{
    struct upgrade_client c = {.accept = ACCEPT};

    return upgrade_response_check(&c, text, strlen(text), used, why, 200);
}

static void test_client_response(void **state)
{
    static const struct {
        const char *text;
        enum status status;
        const char *why;
    } cases[] = {
        {SWITCH "Sec-WebSocket-Protocol: wormhole.v1\r\nSec-WebSocket-Accept: AAAA\r\n\r\n", ERR_FORMAT,
         "Accept"},
        {SWITCH "Sec-WebSocket-Accept: " ACCEPT "\r\n\r\n", ERR_FORMAT, "subprotocol"},
        {SWITCH "Sec-WebSocket-Accept: " ACCEPT "\r\nSec-WebSocket-Protocol: chat\r\n\r\n", ERR_FORMAT,
         "subprotocol"},
        {SWITCH "Sec-WebSocket-Accept: " ACCEPT
                "\r\nSec-WebSocket-Protocol: wormhole.v1\r\nSec-WebSocket-Extensions: "
                "permessage-deflate\r\n\r\n",
         ERR_FORMAT, "extension"},
        {"HTTP/1.1 101 X\r\nSec-WebSocket-Accept: " ACCEPT "\r\nSec-WebSocket-Protocol: wormhole.v1\r\n\r\n",
         ERR_FORMAT, "Upgrade"},
        {"HTTP/1.1 404 Not Found\r\n\r\n", ERR_REFUSED, "404 Not Found"},
        {"HTTP/1.1 200 OK\r\n\r\n", ERR_REFUSED, "proxy"},
        {"HTTP/1.1 301 Moved\r\nLocation: /x\r\n\r\n", ERR_REFUSED, "redirects"},
        {"HTTP/1.1 502\r\n\r\n", ERR_REFUSED, "502"},
        {"HTTP/1.1 400 \x1b[31mred\r\n\r\n", ERR_FORMAT, "HTTP"},
        {"SSH-2.0-OpenSSH_9.2\r\n", ERR_FORMAT, "tunnel port"},
        {"\x15\x03\x01\x02\x03", ERR_FORMAT, "tunnel port"},
        {"HTTP/1.1 101 Swi", ERR_AGAIN, ""},
        {"HT", ERR_AGAIN, ""},
    };
    char why[200];
    size_t used = 0;
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        why[0] = '\0';
        assert_int_equal(check(cases[i].text, &used, why), cases[i].status);
        if (strstr(why, cases[i].why) == NULL)
            fail_msg("case %zu says: %s", i, why);
    }
    assert_int_equal(check(SWITCH "Sec-WebSocket-Accept: " ACCEPT
                                  "\r\nSec-WebSocket-Protocol: wormhole.v1\r\n\r\nAB",
                           &used, why),
                     OK);
    assert_int_equal(used, strlen(SWITCH) + strlen("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                                                   "Sec-WebSocket-Protocol: wormhole.v1\r\n\r\n"));
}

/* ---- CONNECT ---- */

static void test_proxy_connect(void **state)
{
    static const struct {
        const char *text;
        enum status status;
        const char *why;
    } cases[] = {
        {"HTTP/1.1 200 Connection established\r\n\r\n", OK, ""},
        {"HTTP/1.0 200 OK\r\nVia: x\r\n\r\n", OK, ""},
        {"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n", ERR_REFUSED,
         "--proxy-credentials-file"},
        {"HTTP/1.1 403 Forbidden\r\n\r\n", ERR_REFUSED, "403 Forbidden to CONNECT; its rules"},
        {"HTTP/1.1 503 No\r\n\r\n", ERR_REFUSED, "does not reach"},
        {"220 smtp ready\r\n", ERR_FORMAT, "--proxy"},
        {"HTTP/1.1 200", ERR_AGAIN, ""},
    };
    char out[PROXY_CONNECT_MAX], why[200];
    size_t len = 0, used = 0;
    (void)state;

    assert_int_equal(proxy_connect_write("server", 443, "Basic dTpw", out, &len), OK);
    assert_memory_equal(
        out, "CONNECT server:443 HTTP/1.1\r\nHost: server:443\r\nProxy-Authorization: Basic dTpw\r\n", 80);
    assert_memory_equal(out + len - 4, "\r\n\r\n", 4);
    assert_int_equal(proxy_connect_write("2001:db8::1", 80, "", out, &len), OK);
    assert_memory_equal(out, "CONNECT [2001:db8::1]:80 HTTP/1.1\r\n", 35);
    assert_null(memmem(out, len, "Authorization", 13));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        why[0] = '\0';
        assert_int_equal(proxy_connect_check(cases[i].text, strlen(cases[i].text), &used, why, sizeof why),
                         cases[i].status);
        if (strstr(why, cases[i].why) == NULL)
            fail_msg("case %zu says: %s", i, why);
        if (cases[i].status == OK)
            assert_int_equal(used, strlen(cases[i].text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accept_value),   cmocka_unit_test(test_good_requests),
        cmocka_unit_test(test_exact_errors),   cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_bounds),         cmocka_unit_test(test_forwarded),
        cmocka_unit_test(test_client_request), cmocka_unit_test(test_client_response),
        cmocka_unit_test(test_proxy_connect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
