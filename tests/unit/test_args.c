/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sorting of command lines: where options may stand, what is refused and how it is said, and the command
 * tables themselves (each has help, examples that parse, and a manual's section). Runs no command.
 */
#include "cli_support.h"

#include "common/fingerprint.h"
#include "supervisor/cli/args.h"
#include "supervisor/cli/cli_help.h"

struct parsed {
    enum status status;
    struct args args;
    struct args_error error;
    char *argv[40];
    char *copy;
};

/* Words cut at blanks; 'single' quotes keep blanks together. */
static struct parsed *parse(const char *words)
{
    struct parsed *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->copy = strdup(words);
    int argc = 0;
    static char program[] = "wormhole";
    p->argv[argc++] = program;
    for (char *at = p->copy; *at != '\0' && argc < 39;) {
        at += strspn(at, " ");
        if (*at == '\0')
            break;
        char end = ' ';
        if (*at == '\'' || *at == '"')
            end = *at++;
        p->argv[argc++] = at;
        at += strcspn(at, (char[]){end, '\0'});
        if (*at != '\0')
            *at++ = '\0';
    }
    p->status = args_parse(&p->args, argc, p->argv, &p->error);
    return p;
}

static void parsed_free(struct parsed *p)
{
    args_clear(&p->args);
    free(p->copy);
    free(p);
}

static void options_stand_anywhere(void **state)
{
    static const char *const forms[] = {
        "--metrics-port 9 --config f listen --port 443",
        "listen --metrics-port 9 --port=443 --config=f",
        "--config f --metrics-port=9 listen --port 443",
    };
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct parsed *p = parse(forms[i]);
        assert_int_equal(p->status, OK);
        assert_string_equal(p->args.command->name, "listen");
        assert_string_equal(p->args.config_file, "f");
        assert_int_equal(p->args.globals->metrics_port, 9);
        struct config *config = NULL;
        struct config_error error;
        int exit_code = 0;
        assert_int_equal(config_load(SIDE_SERVER, "/dev/null", p->args.n_options, p->args.options, &config,
                                     &error, &exit_code),
                         OK);
        assert_int_equal(config->port, 443);
        assert_int_equal(config->metrics_port, 9);
        config_free(config);
        parsed_free(p);
    }
}

static void verbs_and_arguments(void **state)
{
    (void)state;
    struct parsed *p = parse("requests accept A B --output json C");
    assert_int_equal(p->status, OK);
    assert_string_equal(p->args.verb->name, "accept");
    assert_int_equal(p->args.n_positional, 3);
    assert_string_equal(p->args.positional[2], "C");
    assert_string_equal(args_value(&p->args, "output"), "json");
    parsed_free(p);
    p = parse("audit export --after 3 --after 4 --db x");
    assert_string_equal(args_value(&p->args, "after"), "4");
    assert_true(args_has(&p->args, "db"));
    assert_false(args_has(&p->args, "format"));
    parsed_free(p);
    p = parse("testserver --response=--odd");
    assert_int_equal(p->status, OK);
    assert_string_equal(args_value(&p->args, "response"), "--odd");
    parsed_free(p);
    p = parse("help -- --listen");
    assert_int_equal(p->status, OK);
    assert_string_equal(p->args.positional[0], "--listen");
    parsed_free(p);
}

static void help_wins(void **state)
{
    static const char *const forms[] = {"--help", "listen --help", "requests accept --help", "-h",
                                        "peers -h"};
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct parsed *p = parse(forms[i]);
        assert_int_equal(p->status, OK);
        assert_true(p->args.help);
        parsed_free(p);
    }
    struct parsed *p = parse("--version");
    assert_true(p->args.version);
    parsed_free(p);
}

static void mistakes_are_explained(void **state)
{
    static const struct {
        const char *words, *message;
    } cases[] = {
        {"lisen", "unknown command \"lisen\"; did you mean \"listen\"?"},
        {"frobnicate", "unknown command \"frobnicate\""},
        {"--port 80 listen", "--port belongs after the command: wormhole listen --port …"},
        {"--metrics-prot 80 listen", "unknown option --metrics-prot; did you mean --metrics-port?"},
        {"--metrics-port", "--metrics-port: needs a value: --metrics-port PORT"},
        {"--metrics-port x listen", "--metrics-port: must be a whole number, not \"x\""},
        {"--config", "--config: needs a value: --config FILE"},
        {"listen --config=", "--config: needs a value: --config FILE"},
        {"listen --hots 1", "unknown option --hots; did you mean --host?"},
        {"listen --expose a:1", "--expose is an option of `wormhole join`, not of `wormhole listen`"},
        {"apps --port 1", "--port is an option of `wormhole listen`, not of `wormhole apps`"},
        {"apps --pere x", "unknown option --pere; did you mean --peer?"},
        {"apps --output", "--output: needs a value: --output FORMAT"},
        {"apps --output xml", "--output: must be one of table|tsv|json, not \"xml\""},
        {"apps --peer=", "--peer: must not be empty"},
        {"apps --client=yes", "--client: takes no value"},
        {"apps edge1", "unexpected argument \"edge1\""},
        {"requests", "`wormhole requests` needs to be told what to do: list, accept, decline"},
        {"requests acept x", "unknown command \"requests acept\"; did you mean \"accept\"?"},
        {"requests frob", "unknown command \"requests frob\"; requests has: list, accept, decline"},
        {"requests accept",
         "`wormhole requests accept` needs an argument: wormhole requests accept FINGERPRINT"},
        {"requests list x", "unexpected argument \"x\""},
        {"peers show a b", "unexpected argument \"b\""},
        {"-x", "unknown option -x; options are written with two dashes"},
        {"listen -p 80", "unknown option -p; options are written with two dashes"},
        {"check-config a b", "unexpected argument \"b\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct parsed *p = parse(cases[i].words);
        assert_int_equal(p->status, ERR_CONFIG);
        assert_string_equal(p->error.text, cases[i].message);
        parsed_free(p);
    }
}

/* Every example of every command must be a command line that this program takes. */
static void examples_parse(void **state)
{
    unsigned seen = 0;
    (void)state;
    for (size_t c = 0; cli_commands[c] != NULL; c++) {
        for (const struct cli_example *e = cli_commands[c]->examples; e->command != NULL; e++, seen++) {
            char line[300];
            assert_memory_equal(e->command, "wormhole ", 9);
            (void)snprintf(line, sizeof line, "%s", e->command + 9);
            line[strcspn(line, "|&")] = '\0'; /* the part before a pipe is ours */
            struct parsed *p = parse(line);
            if (p->status != OK)
                fail_msg("%s: %s", e->command, p->error.text);
            const char *fingerprint = strstr(e->command, "SHA256:");
            if (fingerprint != NULL) {
                char text[FINGERPRINT_TEXT + 1];
                uint8_t digest[FINGERPRINT_BYTES];
                (void)snprintf(text, sizeof text, "%s", fingerprint);
                if (fingerprint_parse(text, digest) != OK)
                    fail_msg("not a fingerprint: %s", text);
            }
            parsed_free(p);
        }
    }
    assert_true(seen > 20);
}

static void tables_are_whole(void **state)
{
    (void)state;
    for (size_t c = 0; cli_commands[c] != NULL; c++) {
        const struct cli_command *command = cli_commands[c];
        assert_ptr_equal(cli_command_find(command->name), command);
        assert_true(strlen(command->summary) > 10 && strlen(command->summary) < 80);
        assert_true(strlen(command->description) > 40);
        assert_non_null(command->examples[0].command);
        assert_non_null(command->see_also);
        assert_true(command->section == 1 || command->section == 8);
        assert_true((command->verbs != NULL) != (command->run != NULL));
        for (const struct cli_option *o = command->options; o != NULL && o->flag != NULL; o++)
            assert_null(option_find(o->flag, strlen(o->flag), WHERE_GLOBAL)); /* would hide the global one */
    }
}

/* The names that scripts of earlier versions use, with their defaults: they must never change. */
static void old_flags_are_kept(void **state)
{
    static const struct {
        const char *flag, *preset;
        unsigned where;
    } old[] = {
        {"debug", "false", WHERE_GLOBAL},
        {"trace", "false", WHERE_GLOBAL},
        {"metrics", "false", WHERE_GLOBAL},
        {"metrics-host", "0.0.0.0", WHERE_GLOBAL},
        {"metrics-port", "8090", WHERE_GLOBAL},
        {"host", "0.0.0.0", WHERE_SERVER},
        {"port", "8080", WHERE_SERVER},
        {"path", "/wh/tunnel", WHERE_SERVER},
        {"admin-host", "127.0.0.1", WHERE_SERVER},
        {"admin-port", "8081", WHERE_SERVER},
        {"acceptor", "server", WHERE_SERVER},
        {"acceptor-storage-file-path", "", WHERE_SERVER},
        {"port-use-range", "true", WHERE_SERVER},
        {"port-range-min", "30000", WHERE_SERVER},
        {"port-range-max", "30499", WHERE_SERVER},
        {"kubernetes", "false", WHERE_BOTH},
        {"kubernetes-namespace", "wormhole", WHERE_SERVER},
        {"kubernetes-labels", "application=wormhole-server", WHERE_SERVER},
        {"server", "ws://127.0.0.1:8080/wh/tunnel", WHERE_CLIENT},
        {"name", "", WHERE_CLIENT},
        {"expose", "", WHERE_CLIENT},
        {"keypair-storage-path", "", WHERE_CLIENT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof old / sizeof old[0]; i++) {
        char text[300];
        const struct option *o = option_find(old[i].flag, strlen(old[i].flag), WHERE_ANY);
        if (o == NULL)
            fail_msg("--%s is gone", old[i].flag);
        assert_int_equal(o->where, old[i].where);
        option_format_default(o, text, sizeof text);
        assert_string_equal(text, old[i].preset);
    }
}

/* Help names every option of the table that the command takes, within the page's width. */
static void help_is_whole(void **state)
{
    (void)state;
    for (size_t c = 0; cli_commands[c] != NULL; c++) {
        char *text = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&text, &len);
        assert_non_null(out);
        help_command(out, cli_commands[c]);
        assert_int_equal(fclose(out), 0);
        for (size_t i = 0; i < option_count; i++) {
            char flag[80];
            (void)snprintf(flag, sizeof flag, "  --%s", option_table[i].flag);
            bool listed =
                (option_table[i].where & cli_commands[c]->takes) != 0 && cli_commands[c]->takes != WHERE_BOTH;
            if (listed && strstr(text, flag) == NULL)
                fail_msg("%s --help lacks %s", cli_commands[c]->name, flag);
        }
        for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
            assert_true(strlen(line) < 150); /* bytes; an example may be longer than the page */
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_anywhere),
        cmocka_unit_test(verbs_and_arguments),
        cmocka_unit_test(help_wins),
        cmocka_unit_test(mistakes_are_explained),
        cmocka_unit_test(examples_parse),
        cmocka_unit_test(tables_are_whole),
        cmocka_unit_test(old_flags_are_kept),
        cmocka_unit_test(help_is_whole),
    };
    return cmocka_run_group_tests(tests, clean_environment, NULL);
}
