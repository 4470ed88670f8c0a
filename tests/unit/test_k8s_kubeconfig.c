/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kubeconfig subset: what is understood, and one clear line (file, line, column, what to do) for
 * everything else. Also server URLs, and files that are read again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker-k8s/cluster.h"

static char directory[] = "/tmp/wormhole-kubeconfig-XXXXXX";

static char *path_of(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* A kubeconfig with these members of cluster and user. */
static void put_config(const char *cluster, const char *user)
{
    char text[4096];
    snprintf(text, sizeof text,
             "apiVersion: v1\nkind: Config\ncurrent-context: here\n"
             "contexts:\n- name: here\n  context: {cluster: c, user: u, namespace: hub}\n"
             "- name: there\n  context: {cluster: nowhere, user: u}\n"
             "clusters:\n- name: c\n  cluster:\n%s\nusers:\n- name: u\n  user:\n%s\n",
             cluster, user);
    put("config", text);
}

static struct cluster loaded;
static char error[512];

static enum status load(const char *context)
{
    cluster_clear(&loaded);
    error[0] = '\0';
    return cluster_load(&loaded, path_of("config"), context, error, sizeof error);
}

#define SERVER "    server: https://api.example.test:6443/base/"
#define TOKEN "    token: secret"

static void expect_error(const char *cluster, const char *user, const char *text)
{
    put_config(cluster, user);
    assert_int_equal(load(""), ERR_CONFIG);
    if (strstr(error, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, error);
    assert_non_null(strstr(error, "/config")); /* names the file */
}

static void test_good(void **state)
{
    (void)state;
    put("ca.crt", "CA\n");
    put("token", "  from-file\n\n");
    put_config(SERVER "\n    tls-server-name: other.test\n    certificate-authority: ca.crt", TOKEN);
    assert_int_equal(load(""), OK);
    assert_string_equal(loaded.host, "api.example.test");
    assert_int_equal(loaded.port, 6443);
    assert_string_equal(loaded.base_path, "/base");
    assert_string_equal(loaded.tls_server_name, "other.test");
    assert_string_equal(loaded.ca.data, "CA");
    assert_string_equal(loaded.token.data, "secret");
    assert_string_equal(loaded.namespace, "hub");

    put_config(SERVER "\n    certificate-authority-data: Q0E=", "    tokenFile: token\n    token: ignored");
    assert_int_equal(load("here"), OK);
    assert_string_equal(loaded.ca.data, "CA");
    assert_int_equal(loaded.ca.len, 2);
    assert_string_equal(loaded.token.data, "from-file");

    put_config("    server: https://[fd00::1]",
               "    client-certificate-data: Q0E=\n    client-key-data: Q0E=");
    assert_int_equal(load(""), OK);
    assert_string_equal(loaded.host, "fd00::1");
    assert_int_equal(loaded.port, 443);
    assert_true(loaded.system_ca);
    assert_string_equal(loaded.key.data, "CA");

    put_config(SERVER "\n    insecure-skip-tls-verify: false",
               TOKEN "\n    exec: null"); /* said, but not meant */
    assert_int_equal(load(""), OK);
}

static void test_refused(void **state)
{
    (void)state;
    expect_error(SERVER, "    exec:\n      command: x", "/config:17:7: exec is not supported");
    expect_error(SERVER, "    auth-provider: {name: gcp}", "auth-provider is not supported");
    expect_error(SERVER, "    username: me\n    password: it", "username is not supported");
    expect_error(SERVER, TOKEN "\n    as: admin", "as is not supported");
    expect_error(SERVER "\n    insecure-skip-tls-verify: true", TOKEN,
                 "insecure-skip-tls-verify is not supported");
    expect_error(SERVER "\n    proxy-url: http://p", TOKEN, "proxy-url is not supported");
    expect_error("    server: http://api.example.test", TOKEN, "server has to be https://");
    expect_error("    other: x", TOKEN, "server has to be https://");
    expect_error(SERVER, "    {}", "no credentials");
    expect_error(SERVER, "    client-certificate-data: Q0E=", "have to be given together");
    expect_error(SERVER "\n    certificate-authority-data: '*'", TOKEN,
                 "certificate-authority-data is not base64");
    expect_error(SERVER "\n    certificate-authority: missing.crt", TOKEN, "missing.crt: No such file");
    expect_error(SERVER, "    tokenFile: missing", "missing: No such file");
}

static void test_structure(void **state)
{
    (void)state;
    put_config(SERVER, TOKEN);
    assert_int_equal(load("nobody"), ERR_CONFIG);
    assert_non_null(strstr(error, "contexts has no entry \"nobody\""));
    assert_int_equal(load("there"), ERR_CONFIG);
    assert_non_null(strstr(error, "clusters has no entry \"nowhere\""));
    put("config", "");
    assert_int_equal(load(""), ERR_CONFIG);
    put("config", "just text");
    assert_int_equal(load(""), ERR_CONFIG);
    assert_non_null(strstr(error, "no kubeconfig"));
    put("config", "a: [");
    assert_int_equal(load(""), ERR_CONFIG);
    assert_non_null(strstr(error, "/config:"));
    put("config", "contexts: []");
    assert_int_equal(load(""), ERR_CONFIG);
    assert_non_null(strstr(error, "current-context"));
    assert_int_equal(cluster_load(&loaded, "/nonexistent/config", "", error, sizeof error), ERR_CONFIG);
    assert_non_null(strstr(error, "--kubeconfig has to name a readable file"));
}

static void test_urls(void **state)
{
    static const char *const bad[] = {"",
                                      "https://",
                                      "https://host:",
                                      "https://host:0",
                                      "https://host:65536",
                                      "https://host:12x",
                                      "https://user@host",
                                      "https://host?x",
                                      "https://[::1",
                                      "https://host:-1",
                                      "ftp://host",
                                      "https://host/a b",
                                      "https://ho st"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct cluster c = {.token_file.dir = -1, .ca_file.dir = -1};
        assert_false(cluster_set_server(&c, bad[i]));
        cluster_clear(&c);
    }
}

static void test_in_cluster(void **state)
{
    (void)state;
    unsetenv("KUBERNETES_SERVICE_HOST");
    assert_int_equal(cluster_load(&loaded, "", "", error, sizeof error), ERR_CONFIG);
    assert_non_null(strstr(error, "give --kubeconfig FILE"));
}

static void test_token_again(void **state)
{
    const char *problem = NULL;
    (void)state;
    put("token", "one\n");
    put_config(SERVER, "    tokenFile: token");
    assert_int_equal(load(""), OK);
    assert_false(cluster_reload_token(&loaded, &problem));
    assert_null(problem);
    put("token", "two\n");
    assert_true(cluster_reload_token(&loaded, &problem));
    assert_string_equal(loaded.token.data, "two");
    put("token", "\n"); /* half written */
    assert_false(cluster_reload_token(&loaded, &problem));
    assert_non_null(problem);
    assert_string_equal(loaded.token.data, "two");
    unlink(path_of("token"));
    assert_false(cluster_reload_token(&loaded, &problem));
    assert_string_equal(problem, "ENOENT");
    assert_string_equal(loaded.token.data, "two");
}

static int open_directory(void **state)
{
    (void)state;
    loaded.token_file.dir = loaded.ca_file.dir = -1;
    return mkdtemp(directory) == NULL;
}

static int remove_directory(void **state)
{
    static const char *const files[] = {"config", "ca.crt", "token"};
    (void)state;
    cluster_clear(&loaded);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        unlink(path_of(files[i]));
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good), cmocka_unit_test(test_refused),    cmocka_unit_test(test_structure),
        cmocka_unit_test(test_urls), cmocka_unit_test(test_in_cluster), cmocka_unit_test(test_token_again),
    };
    return cmocka_run_group_tests(tests, open_directory, remove_directory);
}
