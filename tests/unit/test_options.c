/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option table itself, and values on their way from text into the configuration and back. Every option of
 * the table goes through the same checks: a new one is tested by being there.
 */
#include "cli_support.h"

#include "supervisor/config/expose.h"
#include "supervisor/config/netmask.h"
#include "supervisor/config/url.h"

static const struct option *named(const char *flag)
{
    const struct option *option = option_find(flag, strlen(flag), WHERE_ANY);
    assert_non_null(option);
    return option;
}

static void the_table_is_sound(void **state)
{
    (void)state;
    assert_true(option_count > 50);
    for (size_t i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        assert_int_equal(option_index(o), i);
        assert_ptr_equal(option_find(o->flag, strlen(o->flag), WHERE_ANY), o); /* no name twice */
        assert_int_equal(strspn(o->flag, "abcdefghijklmnopqrstuvwxyz-"), strlen(o->flag));
        assert_true(strlen(o->help) > 10);
        if (o->type == OPTION_BOOL)
            assert_null(o->argument);
        else
            assert_non_null(o->argument);
        if (o->type == OPTION_ENUM) {
            bool found = false;
            for (size_t n = 0; option_choice(o, n) != NULL; n++)
                found |= strcmp(option_choice(o, n), o->text) == 0;
            assert_true(found); /* the default is one of the choices */
            assert_non_null(option_choice(o, 1));
        }
        if (o->type == OPTION_INT || o->type == OPTION_MS || o->type == OPTION_SIZE) {
            assert_true(o->min <= o->number && o->number <= o->max);
            assert_true(o->min < o->max);
        }
        if (o->type == OPTION_STR || o->type == OPTION_LIST)
            assert_in_range(o->max, 1, 1100); /* the reader's buffer */
    }
}

/* What is printed can be read again and is the same. */
static void defaults_survive_being_printed(void **state)
{
    (void)state;
    for (int side = SIDE_SERVER; side <= SIDE_CLIENT; side++) {
        struct loaded a = load_yaml((enum side)side, ""), b = load_yaml((enum side)side, "");
        assert_int_equal(a.status, OK);
        assert_int_equal(b.status, OK);
        for (size_t i = 0; i < option_count; i++) {
            const struct option *o = &option_table[i];
            char text[1200], why[OPTION_WHY];
            if (!option_applies(o, (enum side)side) || o->type == OPTION_LIST || o->type == OPTION_APPS)
                continue;
            option_format(o, a.config, text, sizeof text);
            if (o->type == OPTION_STR && text[0] == '\0')
                continue;
            assert_int_equal(option_set(o, b.config, text, why), OK);
            assert_true(option_equal(o, a.config, b.config));
        }
        config_free(a.config);
        config_free(b.config);
    }
}

/* The ends of each range are in, what lies beyond is out, and a refusal leaves the value alone. */
static void ranges_end_where_the_table_says(void **state)
{
    (void)state;
    struct loaded l = load_yaml(SIDE_SERVER, "");
    assert_int_equal(l.status, OK);
    for (size_t i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        if (o->type != OPTION_INT && o->type != OPTION_MS && o->type != OPTION_SIZE)
            continue;
        const int64_t values[] = {o->min - 1, o->min, o->max, o->max + 1};
        for (int n = 0; n < 4; n++) {
            char text[40], why[OPTION_WHY] = "", before[64], after[64];
            bool inside = n == 1 || n == 2;
            (void)snprintf(text, sizeof text, "%lld%s", (long long)values[n],
                           o->type == OPTION_MS ? "ms" : "");
            option_format(o, l.config, before, sizeof before);
            enum status st = option_set(o, l.config, text, why);
            option_format(o, l.config, after, sizeof after);
            assert_int_equal(st, inside ? OK : ERR_CONFIG);
            if (!inside) {
                assert_string_equal(before, after);
                assert_true(strlen(why) > 5);
            }
        }
    }
    config_free(l.config);
}

static void numbers_with_units(void **state)
{
    static const struct {
        const char *flag, *text, *printed; /* printed NULL: refused */
    } cases[] = {
        {"grace", "0", "0"},
        {"grace", "90s", "90s"},
        {"grace", "60s", "1m"},
        {"grace", "1500ms", "1500ms"},
        {"grace", "1", NULL},
        {"grace", "s", NULL},
        {"grace", "1.5s", NULL},
        {"grace", "+1s", NULL},
        {"grace", "1S", NULL},
        {"grace", " 1s", NULL},
        {"max-record", "2048", "2k"},
        {"max-record", "2k", "2k"},
        {"max-record", "2K", NULL},
        {"max-record", "1025", "1025"},
        {"stream-window", "1M", "1M"},
        {"stream-window", "1MB", NULL},
        {"connection-window-max", "1G", "1G"},
        {"port", "", NULL},
        {"port", "08080", "8080"},
    };
    (void)state;
    struct loaded l = load_yaml(SIDE_SERVER, "");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char why[OPTION_WHY], text[64];
        enum status st = option_set(named(cases[i].flag), l.config, cases[i].text, why);
        assert_int_equal(st, cases[i].printed != NULL ? OK : ERR_CONFIG);
        if (st == OK) {
            option_format(named(cases[i].flag), l.config, text, sizeof text);
            assert_string_equal(text, cases[i].printed);
        }
    }
    config_free(l.config);
}

static void suggestions_are_near(void **state)
{
    static const struct {
        const char *typed, *meant;
    } cases[] = {
        {"prot", "port"},
        {"hots", "host"},
        {"metrics-prot", "metrics-port"},
        {"logg-level", "log-level"},
        {"kuberntes", "kubernetes"},
        {"acceptor-storage", "acceptor-storage-file-path"},
        {"xyzzy", NULL},
        {"p", NULL},
        {"", NULL},
        {"state_dir", "state-dir"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct option *o =
            option_suggest(cases[i].typed, strlen(cases[i].typed), WHERE_GLOBAL | WHERE_SERVER);
        if (cases[i].meant == NULL) {
            assert_null(o);
            continue;
        }
        assert_non_null(o);
        assert_string_equal(o->flag, cases[i].meant);
    }
    assert_int_equal(text_distance("abcd", 4, "abdc", 4), 1);
    assert_int_equal(text_distance("", 0, "abc", 3), 3);
    assert_int_equal(text_distance("kitten", 6, "sitting", 7), 3);
}

static void expose_is_read(void **state)
{
    static const struct {
        const char *text, *name, *host;
        uint16_t port;
    } good[] = {
        {"127.0.0.1:80", "127-0-0-1-80", "127.0.0.1", 80},
        {"[::1]:80", "1-80", "::1", 80},
        {"Host.Example:65535", "host-example-65535", "Host.Example", 65535},
        {"name=a,address=b:1", "a", "b", 1},
        {"address=b:1,name=a", "a", "b", 1},
        {"address=b:1", "b-1", "b", 1},
    };
    static const char *const bad[] = {
        "",
        "a",
        "a:",
        ":1",
        "a:0",
        "a:65536",
        "a:1x",
        "name=a",
        "name=,address=b:1,name=c",
        "name=a,addres=b:1",
        "name=a,address=b:1,name=c",
        "name=A,address=b:1",
        "name=-a,address=b:1",
        "a b:1",
        "user@a:1",
        "a/b:1",
        "[::1:80",
        "::1:80",
        "name=a,address=b",
        "=,=",
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct config_app app;
        char why[OPTION_WHY];
        assert_int_equal(expose_parse(good[i].text, &app, why, sizeof why), OK);
        assert_string_equal(app.name, good[i].name);
        assert_string_equal(app.host, good[i].host);
        assert_int_equal(app.port, good[i].port);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct config_app app;
        char why[OPTION_WHY] = "";
        if (expose_parse(bad[i], &app, why, sizeof why) != ERR_CONFIG)
            fail_msg("accepted: %s", bad[i]);
        assert_true(strlen(why) > 5);
    }
}

static void labels_are_made(void **state)
{
    static const struct {
        const char *text, *label; /* NULL: none possible */
    } cases[] = {
        {"edge1", "edge1"},
        {"Edge_1", "edge-1"},
        {"--a--b--", "a-b"},
        {"", NULL},
        {"...", NULL},
        {"\xc3\xbc", NULL},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b",
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char label[64];
        assert_int_equal(label_from_text(cases[i].text, label), cases[i].label != NULL);
        if (cases[i].label != NULL)
            assert_string_equal(label, cases[i].label);
    }
}

static void urls_are_read(void **state)
{
    struct url url;
    char why[OPTION_WHY];
    (void)state;
    assert_int_equal(url_parse("WSS://Hub.example:8443/wh/tunnel?x=1", "ws|wss", &url, why, sizeof why), OK);
    assert_string_equal(url.scheme, "wss");
    assert_string_equal(url.host, "Hub.example");
    assert_int_equal(url.port, 8443);
    assert_string_equal(url.path, "/wh/tunnel?x=1");
    assert_int_equal(url_parse("ws://h", "ws|wss", &url, why, sizeof why), OK);
    assert_int_equal(url.port, 80);
    assert_string_equal(url.path, "/");
    assert_false(url.has_path);
    assert_int_equal(url_parse("wss://[::1]?q", "ws|wss", &url, why, sizeof why), OK);
    assert_int_equal(url.port, 443);
    assert_string_equal(url.host, "::1");
    assert_string_equal(url.path, "/?q");
    assert_int_equal(url_parse("http://us%40er:p%3Ass@h:3128", "http", &url, why, sizeof why), OK);
    assert_string_equal(url.user, "us@er");
    assert_string_equal(url.password, "p:ss");
    static const char *const bad[] = {
        "",          "ws",          "ws:/h",        "ws://",       "ws://h:0",
        "ws://h:x",  "http://h",    "ws://h h/",    "ws://h/#f",   "ws://h\\/",
        "ws://%41/", "ws://a_b!c/", "ws://u%zz@h/", "ws://u%0@h/", "ws://u%00@h/",
        "ws:///p",   "ws://h/\x7f",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (url_parse(bad[i], "ws|wss", &url, why, sizeof why) == OK && strcmp(bad[i], "ws://%41/") != 0)
            fail_msg("accepted: %s", bad[i]);
    char text[100];
    url_hide_password("http://user:secret@h:1", text, sizeof text);
    assert_string_equal(text, "http://user:…@h:1");
    url_hide_password("http://h:1", text, sizeof text);
    assert_string_equal(text, "http://h:1");
    url_hide_password("http://user@h:1/a:b@c", text, sizeof text);
    assert_string_equal(text, "http://user@h:1/a:b@c");
}

static void exceptions_from_the_proxy(void **state)
{
    static const struct {
        const char *list, *host;
        bool matches;
    } cases[] = {
        {"*", "a.example", true},
        {"a.example", "a.example", true},
        {"A.Example", "a.eXample", true},
        {"example", "a.example", true},
        {".example", "a.example", true},
        {".example", "example", false},
        {"*.example", "a.example", true},
        {"ample", "a.example", false},
        {"x, a.example ,y", "a.example", true},
        {"a.example:443", "a.example", true},
        {"a.example:80", "a.example", false},
        {"10.0.0.0/8", "10.1.2.3", true},
        {"10.0.0.0/8", "11.1.2.3", false},
        {"10.1.2.3", "10.1.2.3", true},
        {"10.1.2.3:443", "10.1.2.3", true},
        {"fd00::/8", "fd12::1", true},
        {"", "a.example", false},
        {",,", "a.example", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (no_proxy_matches(cases[i].list, cases[i].host, 443) != cases[i].matches)
            fail_msg("NO_PROXY=%s with %s", cases[i].list, cases[i].host);
}

static void networks(void **state)
{
    static const char *const bad[] = {
        "",         "/8",     "10.0.0.0/", "10.0.0.0/33",  "10.0.0.0/-1", "10.0.0.0/8x",
        "10.0.0/8", "::/129", "example",   "10.0.0.0/0008"};
    struct netmask mask;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(netmask_parse(bad[i], &mask), ERR_FORMAT);
    assert_int_equal(netmask_parse("10.64.0.0/10", &mask), OK);
    assert_true(netmask_has_text(&mask, "10.127.255.255"));
    assert_false(netmask_has_text(&mask, "10.128.0.0"));
    assert_true(netmask_has_text(&mask, "::ffff:10.64.0.1"));
    assert_false(netmask_has_text(&mask, "fd00::1"));
    assert_int_equal(netmask_parse("0.0.0.0/0", &mask), OK);
    assert_true(netmask_has_text(&mask, "255.255.255.255"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_sound),
        cmocka_unit_test(defaults_survive_being_printed),
        cmocka_unit_test(ranges_end_where_the_table_says),
        cmocka_unit_test(numbers_with_units),
        cmocka_unit_test(suggestions_are_near),
        cmocka_unit_test(expose_is_read),
        cmocka_unit_test(labels_are_made),
        cmocka_unit_test(urls_are_read),
        cmocka_unit_test(exceptions_from_the_proxy),
        cmocka_unit_test(networks),
    };
    return cmocka_run_group_tests(tests, clean_environment, NULL);
}
