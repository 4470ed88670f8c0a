/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What --server and --proxy come to: host, port, path, TLS, and the proxy's Authorization.
 */
#include "supervisor_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/client_events.h"

static enum status fill(const char *yaml, struct client_target *t, struct config_error *error)
{
    struct supervisor *s;
    char whole[700];

    (void)unsetenv("HTTPS_PROXY");
    (void)unsetenv("https_proxy");
    (void)snprintf(whole, sizeof whole, "name: edge1\n%s", yaml);
    s = supervisor_make(SIDE_CLIENT, whole);
    enum status result = client_target_fill(t, s->config, error);
    supervisor_unmake(s);
    return result;
}

static void urls(void **state)
{
    static const struct {
        const char *yaml, *host, *path;
        uint16_t port;
        bool tls;
    } cases[] = {
        {"server: ws://hub:8080/wh/tunnel\n", "hub", "/wh/tunnel", 8080, false},
        {"server: wss://hub.example.org\n", "hub.example.org", "/wh/tunnel", 443, true},
        {"server: ws://hub/\n", "hub", "/", 80, false},
        {"server: \"wss://[2001:db8::1]:8443/a/b\"\n", "2001:db8::1", "/a/b", 8443, true},
    };
    struct config_error error = {.text = ""};
    struct client_target t;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(fill(cases[i].yaml, &t, &error), OK);
        assert_string_equal(t.host, cases[i].host);
        assert_string_equal(t.path, cases[i].path);
        assert_int_equal(t.port, cases[i].port);
        assert_int_equal(t.tls, cases[i].tls);
        assert_false(t.via_proxy);
    }
}

static void a_proxy_with_credentials_in_its_url(void **state)
{
    struct config_error error = {.text = ""};
    struct client_target t;

    (void)state;
    /* RFC 7617 section 2: the example. */
    assert_int_equal(fill("server: wss://hub/\nproxy: http://Aladdin:open%20sesame@proxy:3128\n", &t, &error),
                     OK);
    assert_true(t.via_proxy);
    assert_string_equal(t.proxy_host, "proxy");
    assert_int_equal(t.proxy_port, 3128);
    assert_string_equal(t.proxy_authorization, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_int_equal(fill("server: wss://hub/\nproxy: http://proxy\n", &t, &error), OK);
    assert_int_equal(t.proxy_port, 80);
    assert_string_equal(t.proxy_authorization, "");
    assert_int_equal(fill("server: wss://hub/\nproxy: http://a:b@proxy\n", &t, &error), OK);
    assert_string_equal(t.proxy_authorization, "Basic YTpi");
}

static void credentials_from_a_file(void **state)
{
    struct config_error error = {.text = ""};
    struct client_target t;
    char file[] = "/tmp/wormhole-proxy-XXXXXX";
    char yaml[300];

    (void)state;
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    (void)snprintf(yaml, sizeof yaml, "server: wss://hub/\nproxy: http://proxy\nproxy-credentials-file: %s\n",
                   file);
    assert_int_equal(fill(yaml, &t, &error), ERR_CONFIG); /* empty */
    assert_non_null(strstr(error.text, file));
    assert_int_equal(write(fd, "user:pass:word\n", 15), 15);
    assert_int_equal(fill(yaml, &t, &error), OK);
    assert_string_equal(t.proxy_authorization, "Basic dXNlcjpwYXNzOndvcmQ=");
    (void)close(fd);
    (void)unlink(file);
    assert_int_equal(fill(yaml, &t, &error), ERR_CONFIG); /* gone */
    assert_non_null(strstr(error.text, "No such file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),
        cmocka_unit_test(a_proxy_with_credentials_in_its_url),
        cmocka_unit_test(credentials_from_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
