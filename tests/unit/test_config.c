/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_load() as the commands call it: weights of defaults, file and flags, what depends on the
 * environment, files that cannot be read, and what a reload may change.
 */
#include "cli_support.h"

#include <sys/stat.h>
#include <unistd.h>

static char file[64];

static void file_write(const char *text)
{
    (void)snprintf(file, sizeof file, "/tmp/wormhole-config-XXXXXX");
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(close(fd), 0);
}

static struct loaded load_file(enum side side, int argc, char **argv)
{
    struct loaded l = {.exit_code = -1};
    l.status = config_load(side, file, argc, argv, &l.config, &l.error, &l.exit_code);
    return l;
}

static void a_flag_beats_the_file_and_the_file_the_default(void **state)
{
    char *argv[] = {"--port", "443", "--trusted-proxies=10.9.9.9", "--no-port-use-range"};
    (void)state;
    file_write("port: 81\nhost: 127.0.0.1\ntrusted-proxies: [10.0.0.1, 10.0.0.2]\n");
    struct loaded l = load_file(SIDE_SERVER, 4, argv);
    assert_int_equal(l.status, OK);
    assert_int_equal(l.config->port, 443);
    assert_string_equal(l.config->host, "127.0.0.1");
    assert_int_equal(l.config->admin_port, 8081);
    assert_false(l.config->port_use_range);
    assert_int_equal(l.config->trusted_proxies.n_items, 1); /* lists are replaced, not joined */
    assert_string_equal(l.config->trusted_proxies.items[0], "10.9.9.9");
    assert_string_equal(l.config->config_file, file);
    assert_int_equal(config_origin(l.config, option_find("port", 4, WHERE_ANY))->kind, ORIGIN_FLAG);
    assert_int_equal(config_origin(l.config, option_find("host", 4, WHERE_ANY))->line, 2);
    config_free(l.config);
    (void)unlink(file);
}

static void repeated_flags(void **state)
{
    (void)state;
    struct loaded l = load_flags(SIDE_CLIENT, "--name a --name b --expose x:1 --expose name=y,address=y:2");
    assert_int_equal(l.status, OK);
    assert_string_equal(l.config->name, "b"); /* the last one, as everywhere */
    assert_int_equal(l.config->expose.n_items, 2);
    config_free(l.config);
}

static void wrong_flags(void **state)
{
    static const struct {
        enum side side;
        const char *words, *message;
        int exit_code;
    } cases[] = {
        {SIDE_SERVER, "--prot 1", "unknown option --prot; did you mean --port?", EXIT_USAGE_ERROR},
        {SIDE_SERVER, "--name a", "--name is an option of `wormhole join`, not of `wormhole listen`",
         EXIT_USAGE_ERROR},
        {SIDE_CLIENT, "--port 1", "--port is an option of `wormhole listen`, not of `wormhole join`",
         EXIT_USAGE_ERROR},
        {SIDE_SERVER, "--port", "--port: needs a value: --port PORT", EXIT_USAGE_ERROR},
        {SIDE_SERVER, "--port=", "--port: must be a whole number, not \"\"", EXIT_USAGE_ERROR},
        {SIDE_SERVER, "--port 70000", "--port: must be between 0 and 65535, not 70000", EXIT_USAGE_ERROR},
        {SIDE_SERVER, "--metrics=perhaps", "--metrics: must be true or false, not \"perhaps\"",
         EXIT_USAGE_ERROR},
        {SIDE_SERVER, "--no-port", "unknown option --no-port", EXIT_USAGE_ERROR},
        {SIDE_SERVER, "--no-metrics=true", "unknown option --no-metrics; did you mean --metrics?",
         EXIT_USAGE_ERROR},
        {SIDE_SERVER, "stray", "unexpected argument \"stray\"", EXIT_USAGE_ERROR},
        {SIDE_SERVER, "--", "unexpected argument \"--\"", EXIT_USAGE_ERROR},
        {SIDE_SERVER, "--admin-host 0.0.0.0",
         "--admin-host: 0.0.0.0 is not loopback, and there is no token: set admin-token-file to a file with "
         "a long random "
         "text, or keep the admin API on 127.0.0.1",
         EXIT_USAGE_ERROR},
        {SIDE_SERVER, "--max-record 1k --max-record 1", "--max-record: must be between 1k and 64k, not 1",
         EXIT_USAGE_ERROR},
        {SIDE_CLIENT, "--expose name=web", "--expose: has no address; write name=NAME,address=HOST:PORT",
         EXIT_USAGE_ERROR},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct loaded l = load_flags(cases[i].side, cases[i].words);
        assert_int_equal(l.status, ERR_CONFIG);
        assert_string_equal(l.error.text, cases[i].message);
        assert_int_equal(l.exit_code, cases[i].exit_code);
    }
}

static void files_that_cannot_be_read(void **state)
{
    (void)state;
    (void)snprintf(file, sizeof file, "/nonexistent/server.yaml");
    struct loaded l = load_file(SIDE_SERVER, 0, NULL);
    assert_int_equal(l.status, ERR_CONFIG);
    assert_int_equal(l.exit_code, EXIT_BAD_CONFIG);
    assert_string_equal(l.error.text,
                        "/nonexistent/server.yaml: cannot be opened: No such file or directory");
    (void)snprintf(file, sizeof file, "/tmp");
    l = load_file(SIDE_SERVER, 0, NULL);
    assert_string_equal(l.error.text, "/tmp: is not a file");
    file_write("");
    FILE *big = fopen(file, "we");
    assert_non_null(big);
    for (unsigned i = 0; i <= CONFIG_FILE_MAX; i++)
        (void)fputc('#', big);
    assert_int_equal(fclose(big), 0);
    l = load_file(SIDE_SERVER, 0, NULL);
    assert_non_null(strstr(l.error.text, "is larger than 1 MiB"));
    assert_int_equal(l.exit_code, EXIT_BAD_CONFIG);
    (void)unlink(file);
}

static void places_follow_the_user(void **state)
{
    (void)state;
    struct loaded l = load_yaml(SIDE_SERVER, "");
    assert_int_equal(l.status, OK);
    if (geteuid() == 0) {
        assert_string_equal(l.config->state_dir, "/var/lib/wormhole");
        assert_string_equal(l.config->control_socket, "/run/wormhole/control.sock");
    } else {
        assert_string_equal(l.config->state_dir, "/home/tester/.local/state/wormhole");
        assert_string_equal(l.config->control_socket, "/home/tester/.local/state/wormhole/control.sock");
    }
    config_free(l.config);
    l = load_flags(SIDE_CLIENT, "--state-dir /srv/x");
    assert_string_equal(l.config->keypair_dir, "/srv/x/keys");
    assert_null(strstr(l.config->control_socket, "control.sock"));
    config_free(l.config);
    char cwd[200], want[260];
    assert_non_null(getcwd(cwd, sizeof cwd));
    (void)snprintf(want, sizeof want, "%s/ca.pem", cwd);
    l = load_flags(SIDE_CLIENT, "--ca-file ca.pem");
    assert_string_equal(l.config->ca_file, want);
    config_free(l.config);
}

static void the_rules_without_root(void **state)
{
    (void)state;
    if (geteuid() != 0)
        return; /* places_follow_the_user has seen them */
    uid_t saved = geteuid();
    assert_int_equal(seteuid(65534), 0);
    (void)setenv("XDG_STATE_HOME", "/xs", 1);
    (void)setenv("XDG_RUNTIME_DIR", "/xr", 1);
    struct loaded l = load_yaml(SIDE_CLIENT, "");
    (void)setenv("XDG_STATE_HOME", "relative", 1); /* invalid: ignored */
    (void)unsetenv("XDG_RUNTIME_DIR");
    struct loaded m = load_yaml(SIDE_SERVER, "");
    (void)unsetenv("XDG_STATE_HOME");
    (void)unsetenv("HOME");
    struct loaded n = load_yaml(SIDE_SERVER, "");
    assert_int_equal(seteuid(saved), 0);
    (void)clean_environment(NULL);
    assert_string_equal(l.config->state_dir, "/xs/wormhole");
    assert_string_equal(l.config->control_socket, "/xr/wormhole/client.sock");
    assert_string_equal(m.config->state_dir, "/home/tester/.local/state/wormhole");
    assert_string_equal(m.config->control_socket, "/home/tester/.local/state/wormhole/control.sock");
    assert_int_equal(n.status, ERR_CONFIG);
    assert_string_equal(n.error.text,
                        "neither XDG_STATE_HOME nor HOME is set; say where state is kept with --state-dir");
    config_free(l.config);
    config_free(m.config);
}

static void the_name_comes_from_the_host(void **state)
{
    char host[256] = "";
    (void)state;
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    struct loaded l = load_yaml(SIDE_CLIENT, "");
    assert_int_equal(l.status, OK);
    assert_non_null(l.config->name);
    assert_int_equal(strspn(l.config->name, "abcdefghijklmnopqrstuvwxyz0123456789-"), strlen(l.config->name));
    assert_int_equal(l.config->name[0] | 0x20, host[0] | 0x20);
    config_free(l.config);
}

static void the_proxy_comes_from_the_environment(void **state)
{
    static const struct {
        const char *https_proxy, *no_proxy, *flags, *proxy; /* proxy NULL: none */
    } cases[] = {
        {"http://p:3128", NULL, "--server wss://hub.example/t", "http://p:3128"},
        {"http://p:3128", NULL, "--server ws://hub.example/t", "http://p:3128"},
        {"p:3128", NULL, "--server wss://hub.example/t", "http://p:3128"},
        {"http://p:3128", "example", "--server wss://hub.example/t", NULL},
        {"http://p:3128", NULL, "--server ws://127.0.0.1/t", NULL},
        {"http://p:3128", NULL, "--server ws://localhost:80/t", NULL},
        {"http://p:3128", NULL, "--server ws://[::1]:80/t", NULL},
        {"http://p:3128", NULL, "--server wss://hub.example/t --proxy none", NULL},
        {"http://p:3128", NULL, "--server wss://hub.example/t --proxy http://q:1", "http://q:1"},
        {"", NULL, "--server wss://hub.example/t", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        (void)setenv("HTTPS_PROXY", cases[i].https_proxy, 1);
        if (cases[i].no_proxy != NULL)
            (void)setenv("no_proxy", cases[i].no_proxy, 1);
        struct loaded l = load_flags(SIDE_CLIENT, cases[i].flags);
        assert_int_equal(l.status, OK);
        if (cases[i].proxy == NULL)
            assert_null(l.config->proxy);
        else
            assert_string_equal(l.config->proxy, cases[i].proxy);
        config_free(l.config);
        (void)clean_environment(NULL);
    }
    (void)setenv("HTTPS_PROXY", "https://p:3128", 1);
    struct loaded l = load_flags(SIDE_CLIENT, "--server wss://hub.example/t");
    assert_int_equal(l.status, ERR_CONFIG);
    assert_int_equal(l.exit_code, EXIT_BAD_CONFIG);
    assert_string_equal(l.error.text,
                        "proxy (from the environment): must begin with http://, not \"https://\"");
    (void)clean_environment(NULL);
}

static void a_password_is_not_printed(void **state)
{
    char text[200];
    (void)state;
    struct loaded l = load_flags(SIDE_CLIENT, "--proxy http://user:secret@p:3128");
    assert_int_equal(l.status, OK);
    assert_string_equal(l.config->proxy, "http://user:secret@p:3128");
    option_format(option_find("proxy", 5, WHERE_ANY), l.config, text, sizeof text);
    assert_string_equal(text, "http://user:…@p:3128");
    config_free(l.config);
}

static void debug_and_trace_are_levels(void **state)
{
    static const struct {
        const char *flags, *level;
    } cases[] = {{"", "info"},
                 {"--debug", "debug"},
                 {"--trace", "trace"},
                 {"--debug --trace", "trace"},
                 {"--log-level warn", "warn"},
                 {"--debug=false --log-level error", "error"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct loaded l = load_flags(SIDE_SERVER, cases[i].flags);
        assert_int_equal(l.status, OK);
        assert_string_equal(l.config->log_level, cases[i].level);
        config_free(l.config);
    }
}

/* For every option: a change of a LIVE one passes, of a FIXED one is refused by name. */
static void reload_follows_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        enum side side = (o->where & WHERE_CLIENT) != 0 ? SIDE_CLIENT : SIDE_SERVER;
        struct loaded a = load_yaml(side, ""), b = load_yaml(side, "");
        assert_int_equal(a.status, OK);
        assert_int_equal(b.status, OK);
        char why[OPTION_WHY], text[64];
        const char *value = NULL;
        switch (o->type) {
        case OPTION_BOOL: value = o->number != 0 ? "false" : "true"; break;
        case OPTION_ENUM:
            value = strcmp(option_choice(o, 0), o->text) == 0 ? option_choice(o, 1) : option_choice(o, 0);
            break;
        case OPTION_APPS: value = "x:1"; break;
        default: break;
        }
        if (o->type == OPTION_INT || o->type == OPTION_MS || o->type == OPTION_SIZE) {
            (void)snprintf(text, sizeof text, "%lld%s", (long long)(o->number == o->max ? o->min : o->max),
                           o->type == OPTION_MS ? "ms" : "");
            value = text;
        }
        if (value == NULL) { /* texts: one that passes the option's own check */
            static const char *const tries[] = {
                "10.1.1.1", "/other", "ws://other/", "http://o:1",
                "other",    "5:5:5",  "k=v",         "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
            for (size_t t = 0; t < sizeof tries / sizeof tries[0] && value == NULL; t++)
                if (option_set(o, b.config, tries[t], why) == OK)
                    value = tries[t];
            if (value == NULL)
                fail_msg("no value known for %s", o->flag);
        } else {
            assert_int_equal(option_set(o, b.config, value, why), OK);
        }
        struct config_error error = {.text = ""};
        bool word = strcmp(o->flag, "debug") == 0 || strcmp(o->flag, "trace") == 0;
        enum status st = config_check_reload(a.config, b.config, &error);
        if (o->live || word) {
            assert_int_equal(st, OK);
        } else {
            assert_int_equal(st, ERR_CONFIG);
            assert_memory_equal(error.text, o->flag, strlen(o->flag));
            assert_non_null(strstr(error.text, "restart"));
        }
        config_free(a.config);
        config_free(b.config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flag_beats_the_file_and_the_file_the_default),
        cmocka_unit_test(repeated_flags),
        cmocka_unit_test(wrong_flags),
        cmocka_unit_test(files_that_cannot_be_read),
        cmocka_unit_test(places_follow_the_user),
        cmocka_unit_test(the_rules_without_root),
        cmocka_unit_test(the_name_comes_from_the_host),
        cmocka_unit_test(the_proxy_comes_from_the_environment),
        cmocka_unit_test(a_password_is_not_printed),
        cmocka_unit_test(debug_and_trace_are_levels),
        cmocka_unit_test(reload_follows_the_table),
    };
    return cmocka_run_group_tests(tests, clean_environment, NULL);
}
