/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file: what it may hold, and that each mistake is reported with its exact line and column.
 * Drives the real reader from text in memory.
 */
#include "cli_support.h"

struct mistake {
    enum side side;
    const char *text, *message;
};

#define S SIDE_SERVER
#define C SIDE_CLIENT

/* The messages are compared whole: a wrong column is a defect. */
static const struct mistake mistakes[] = {
    /* names */
    {S, "prot: 1\n", "x.yaml:1:1: unknown key \"prot\"; did you mean \"port\"?"},
    {S, "port: 1\n  \nport-rang-min: 2\n",
     "x.yaml:3:1: unknown key \"port-rang-min\"; did you mean \"port-range-min\"?"},
    {S, "zzzzzzzzzzz: 1\n", "x.yaml:1:1: unknown key \"zzzzzzzzzzz\""},
    {S, "expose: []\n", "x.yaml:1:1: \"expose\" is an option of the client, not of the server"},
    {C, "port: 1\n", "x.yaml:1:1: \"port\" is an option of the server, not of the client"},
    {S, "config: a\n", "x.yaml:1:1: unknown key \"config\""},
    {S, "port: 1\nhost: 127.0.0.1\nport: 2\n", "x.yaml:3:1: port: is given twice; the first is on line 1"},
    /* types */
    {S, "port: abc\n", "x.yaml:1:7: port: must be a whole number, not \"abc\""},
    {S, "port: \"80\"\n", "x.yaml:1:7: port: must be a whole number, not text in quotes: \"80\""},
    {S, "port: 8.5\n", "x.yaml:1:7: port: must be a whole number, not \"8.5\""},
    {S, "port: -1\n", "x.yaml:1:7: port: must be a whole number, not \"-1\""},
    {S, "port: 0x50\n", "x.yaml:1:7: port: must be a whole number, not \"0x50\""},
    {S, "port:\n  - 80\n", "x.yaml:2:3: port: must be a single value, not a list"},
    {S, "port: {a: 1}\n", "x.yaml:1:7: port: must be a single value, not a mapping"},
    {S, "port:\n", "x.yaml:1:6: port: has no value; remove the line to have the default"},
    {S, "host: ~\n", "x.yaml:1:7: host: has no value; remove the line to have the default"},
    {S, "metrics: maybe\n", "x.yaml:1:10: metrics: must be true or false, not \"maybe\""},
    {S, "metrics: 'true'\n", "x.yaml:1:10: metrics: must be true or false, not text in quotes: \"true\""},
    {S, "grace: 30\n",
     "x.yaml:1:8: grace: must be a time with its unit such as 500ms, 25s, 10m or 24h, not \"30\""},
    {S, "grace: 30 s\n",
     "x.yaml:1:8: grace: must be a time with its unit such as 500ms, 25s, 10m or 24h, not \"30 s\""},
    {S, "max-record: big\n",
     "x.yaml:1:13: max-record: must be a number of bytes such as 32768, 32k or 8M, not \"big\""},
    {S, "log-level: loud\n",
     "x.yaml:1:12: log-level: must be one of error, warn, info, debug, trace, not \"loud\""},
    {S, "trusted-proxies: 10.0.0.0/8\n", "x.yaml:1:18: trusted-proxies: must be a list, not a single value"},
    {S, "trusted-proxies:\n  - [a]\n", "x.yaml:2:5: trusted-proxies: an item must be text, not a list"},
    /* ranges */
    {S, "port: 65536\n", "x.yaml:1:7: port: must be between 0 and 65535, not 65536"},
    {S, "port: 99999999999999999999\n",
     "x.yaml:1:7: port: must be a whole number, not \"99999999999999999999\""},
    {S, "grace: 2h\n", "x.yaml:1:8: grace: must be between 0 and 1h, not 2h"},
    {S, "grace: 9223372036854775807h\n",
     "x.yaml:1:8: grace: must be between 0 and 1h, not 9223372036854775807h"},
    {S, "max-record: 512\n", "x.yaml:1:13: max-record: must be between 1k and 64k, not 512"},
    {S, "port-range-min: 40000\n",
     "x.yaml:1:1: port-range-min: 40000 is above port-range-max, which is 30499"},
    {S, "port-range-max: 20000\n",
     "x.yaml:1:1: port-range-max: 20000 is below port-range-min, which is 30000"},
    {C, "\nreconnect-min: 1m\n", "x.yaml:2:1: reconnect-min: 1m is above reconnect-max, which is 30s"},
    {C, "dead-after: 20s\n", "x.yaml:1:1: dead-after: 20s is not above ping-interval, which is 22500ms"},
    {C, "rsa-bits: 2049\n", "x.yaml:1:11: rsa-bits: must be 2048, 3072 or 4096, not 2049"},
    /* meanings */
    {S, "host: example.org\n",
     "x.yaml:1:7: host: must be a numeric IPv4 or IPv6 address to listen on, not \"example.org\""},
    {S, "path: wh\n", "x.yaml:1:7: path: must begin with \"/\", not \"wh\""},
    {S, "path: /a?b\n",
     "x.yaml:1:7: path: must be a plain URL path without query, spaces or quotes: \"/a?b\""},
    {S, "max-startups: 10:200:100\n",
     "x.yaml:1:15: max-startups: needs START at least 1, RATE at most 100 and FULL not below START: "
     "\"10:200:100\""},
    {S, "max-startups: 10\n",
     "x.yaml:1:15: max-startups: must be START:RATE:FULL such as 10:30:100, not \"10\""},
    {S, "trusted-proxies:\n- 10.0.0.0/8\n- 10.0.0.0/33\n",
     "x.yaml:3:3: trusted-proxies: must be an address or a network such as 192.0.2.0/24, not "
     "\"10.0.0.0/33\""},
    {S, "trusted-proxies: [10.0.0.1, 10.0.0.1]\n",
     "x.yaml:1:29: trusted-proxies: \"10.0.0.1\" is given twice"},
    {S, "preapproved: [SHA256:short]\n",
     "x.yaml:1:15: preapproved: must be a whole fingerprint, SHA256: and 43 characters, not "
     "\"SHA256:short\""},
    {S, "admin-host: 0.0.0.0\n",
     "x.yaml:1:1: admin-host: 0.0.0.0 is not loopback, and there is no token: set admin-token-file to a file "
     "with a long "
     "random text, or keep the admin API on 127.0.0.1"},
    {S, "kubernetes-labels: a\n",
     "x.yaml:1:20: kubernetes-labels: must be KEY=VALUE[,KEY=VALUE…], not \"a\""},
    {C, "name: Edge_1\n",
     "x.yaml:1:7: name: must be 1 to 63 lower-case letters, digits and inner dashes, not \"Edge_1\""},
    {C, "server: http://a/\n", "x.yaml:1:9: server: must begin with ws|wss://, not \"http://\""},
    {C, "server: nothing\n", "x.yaml:1:9: server: is not a URL (ws|wss://host…): \"nothing\""},
    {C, "server: ws://u:p@h/\n",
     "x.yaml:1:9: server: must not contain a user name; a proxy's belongs into --proxy"},
    {C, "server: ws://h:99999/\n", "x.yaml:1:9: server: has no usable host and port: \"h:99999\""},
    {C, "proxy: http://h:1/p\n",
     "x.yaml:1:8: proxy: must be http://[user:password@]host:port without a path"},
    {C, "server-fingerprint: abc\n",
     "x.yaml:1:21: server-fingerprint: must be a whole fingerprint, SHA256: and 43 characters, not \"abc\""},
    /* apps */
    {C, "expose:\n  - name: web\n", "x.yaml:2:5: expose: an app needs an address"},
    {C, "expose:\n  - name: web\n    adress: a:1\n",
     "x.yaml:3:5: expose: unknown key \"adress\"; an app has name and address"},
    {C, "expose:\n  - name: web\n    name: b\n", "x.yaml:3:5: expose: name is given twice"},
    {C, "expose:\n  - address: [a]\n", "x.yaml:2:14: expose: address must be text, not a list"},
    {C, "expose:\n  - address: \"\"\n", "x.yaml:2:14: expose: address is empty"},
    {C, "expose:\n  - address: h\n",
     "x.yaml:2:5: expose: the address must be host:port or [IPv6]:port, not \"h\""},
    {C, "expose:\n  - [a]\n",
     "x.yaml:2:5: expose: an item must be text or {name: …, address: …}, not a list"},
    {C, "expose:\n  - 127.0.0.1\n",
     "x.yaml:2:5: expose: the address must be host:port or [IPv6]:port, not \"127.0.0.1\""},
    {C, "expose:\n  - a:1\n  - name=a-1,address=b:2\n",
     "x.yaml:3:5: expose: there are two apps named \"a-1\"; give each its own name="},
    {C, "expose:\n  - name: web\n    address: 10.0.0.1:80\n  - {name: web, address: 10.0.0.2:80}\n",
     "x.yaml:4:5: expose: there are two apps named \"web\"; give each its own name="},
    {C, "expose:\n  - {[a]: b}\n", "x.yaml:2:6: expose: a key must be name or address"},
    /* what YAML could do and this file must not */
    {S, "port: &x 80\n", "x.yaml:1:7: port: anchors and aliases are not used in this file"},
    {S, "port: *x\n", "x.yaml:1:7: port: anchors and aliases are not used in this file"},
    {S, "port: !!int 80\n", "x.yaml:1:7: port: tags are not used in this file"},
    {S, "<<: *x\n", "x.yaml:1:1: unknown key \"<<\""},
    {S, "[a]: 1\n", "x.yaml:1:1: a key must be the name of an option"},
    {S, "- a\n", "x.yaml:1:1: must be \"key: value\" lines, not a list"},
    {S, "just text\n", "x.yaml:1:1: must be \"key: value\" lines, not a single value"},
    {S, "port: 1\n---\nport: 2\n", "x.yaml:2:1: only one YAML document may be in this file"},
    {S, "port: 1\n\thost: x\n",
     "x.yaml:2:1: not valid YAML: found a tab character that violates indentation"},
    {S, "trusted-proxies: [10.0.0.1\n", "x.yaml:2:1: not valid YAML: did not find expected ',' or ']'"},
    {S, "host: \"a\n", "x.yaml:2:1: not valid YAML: found unexpected end of stream"},
    {S, "host: \"a\\0b\"\n", "x.yaml:1:7: host: contains a NUL character"},
    {S, "host: \"a\\eb\"\n", "x.yaml:1:7: host: must not contain control characters"},
    {S, "host: \xff\n", "x.yaml:1:1: not valid YAML text: invalid leading UTF-8 octet (byte 6)"},
};

static void every_mistake_names_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        struct loaded l = load_yaml(mistakes[i].side, mistakes[i].text);
        if (l.status != ERR_CONFIG)
            print_error("accepted: %s\n", mistakes[i].text);
        assert_int_equal(l.status, ERR_CONFIG);
        assert_null(l.config);
        assert_string_equal(l.error.text, mistakes[i].message);
        assert_int_equal(l.exit_code, EXIT_BAD_CONFIG);
    }
}

static void all_types_are_read(void **state)
{
    (void)state;
    struct loaded l = load_yaml(SIDE_SERVER, "# a comment\n"
                                             "port: 443\n"
                                             "metrics: on\n"
                                             "port-use-range: no\n"
                                             "grace: 2m\n"
                                             "ping-interval: 500ms\n"
                                             "dead-after: 3s\n"
                                             "stream-window: 512k\n"
                                             "connection-window-max: 64M\n"
                                             "log-level: debug\n"
                                             "host: \"::1\"\n"
                                             "app-host: localhost\n"
                                             "state-dir: /srv/wh\n"
                                             "trusted-proxies: [10.0.0.0/8, 'fd00::/8']\n");
    assert_int_equal(l.status, OK);
    const struct config *c = l.config;
    assert_int_equal(c->port, 443);
    assert_true(c->metrics);
    assert_false(c->port_use_range);
    assert_int_equal(c->grace_ms, 120000);
    assert_int_equal(c->ping_ms, 500);
    assert_int_equal(c->stream_window, 512 << 10);
    assert_int_equal(c->connection_window_max, 64 << 20);
    assert_string_equal(c->log_level, "debug");
    assert_string_equal(c->host, "::1");
    assert_string_equal(c->app_host, "127.0.0.1");
    assert_string_equal(c->database, "/srv/wh/wormhole.db");
    assert_string_equal(c->key_dir, "/srv/wh/identity");
    assert_int_equal(c->trusted_proxies.n_items, 2);
    assert_string_equal(c->trusted_proxies.items[1], "fd00::/8");
    config_free(l.config);
}

static void apps_are_read_in_every_form(void **state)
{
    (void)state;
    struct loaded l = load_yaml(SIDE_CLIENT, "name: edge1\n"
                                             "expose:\n"
                                             "  - name: web\n"
                                             "    address: 127.0.0.1:8000\n"
                                             "  - address: \"[fd00::1]:5432\"\n"
                                             "  - name=db,address=db.internal:5432\n"
                                             "  - 10.0.0.7:6379\n");
    assert_int_equal(l.status, OK);
    const struct config_apps *apps = &l.config->expose;
    assert_int_equal(apps->n_items, 4);
    assert_string_equal(apps->items[0].name, "web");
    assert_string_equal(apps->items[0].host, "127.0.0.1");
    assert_int_equal(apps->items[0].port, 8000);
    assert_string_equal(apps->items[1].name, "fd00-1-5432");
    assert_string_equal(apps->items[1].host, "fd00::1");
    assert_string_equal(apps->items[2].host, "db.internal");
    assert_string_equal(apps->items[3].name, "10-0-0-7-6379");
    config_free(l.config);
}

static void nothing_is_a_configuration_too(void **state)
{
    static const char *const texts[] = {"", "# only a comment\n", "---\n", "---\n...\n", "{}\n", "~\n"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct loaded l = load_yaml(SIDE_SERVER, texts[i]);
        assert_int_equal(l.status, OK);
        assert_int_equal(l.config->port, 8080);
        config_free(l.config);
    }
}

/* A text cut anywhere either loads or names a place; nothing leaks (the sanitizer build says so). */
static void every_prefix_is_judged(void **state)
{
    static const char text[] = "port: 443\nhost: \"::1\"\ntrusted-proxies:\n  - 10.0.0.0/8\n  - {a: b}\n";
    (void)state;
    for (size_t len = 0; len < sizeof text; len++) {
        struct config *config = NULL;
        struct config_error error = {.text = ""};
        int exit_code = 0;
        enum status st = config_load_text(SIDE_SERVER, "x.yaml", (const unsigned char *)text, len, &config,
                                          &error, &exit_code);
        if (st == OK)
            config_free(config);
        else
            assert_memory_equal(error.text, "x.yaml:", 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mistake_names_its_place), cmocka_unit_test(all_types_are_read),
        cmocka_unit_test(apps_are_read_in_every_form),   cmocka_unit_test(nothing_is_a_configuration_too),
        cmocka_unit_test(every_prefix_is_judged),
    };
    return cmocka_run_group_tests(tests, clean_environment, NULL);
}
