/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line's front: finds the command, shows help or runs it. What a command does is in its own file.
 */
#include "supervisor/cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/cli/args.h"
#include "supervisor/cli/cli_help.h"

extern const struct cli_command cli_listen, cli_join, cli_requests, cli_peers, cli_apps, cli_audit, cli_keys,
    cli_status, cli_check_config, cli_probe, cli_testserver, cli_version, cli_help;

const struct cli_command *const cli_commands[] = {
    &cli_listen, &cli_join,         &cli_requests, &cli_peers,      &cli_apps,    &cli_audit, &cli_keys,
    &cli_status, &cli_check_config, &cli_probe,    &cli_testserver, &cli_version, &cli_help,  NULL,
};

const struct cli_option cli_output_options[] = {
    {"output", "FORMAT",
     "(table|tsv|json) table: aligned, with a header; tsv: tab-separated without a header, for scripts; "
     "json. "
     "Default: table on a terminal, tsv in a pipe",
     "table|tsv|json", COMPLETE_WORDS},
    {NULL, NULL, NULL, NULL, COMPLETE_NOTHING},
};

const struct cli_option cli_client_options[] = {
    {"client", NULL, "ask the client on this host, not the server", NULL, COMPLETE_NOTHING},
    {NULL, NULL, NULL, NULL, COMPLETE_NOTHING},
};

const struct cli_command *cli_command_find(const char *name)
{
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        if (strcmp(cli_commands[i]->name, name) == 0)
            return cli_commands[i];
    return NULL;
}

void cli_error(const char *format, ...)
{
    char text[1200];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)fprintf(stderr, "wormhole: %s\n", text);
}

/* Data that did not get out is a failure: a full disk must not look like an empty list. */
static int close_stdout(int code)
{
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        if (errno != EPIPE)
            cli_error("cannot write the output: %s", strerror(errno));
        return code == EXIT_DONE ? EXIT_FAILED : code;
    }
    return code;
}

static int run(const struct args *args)
{
    if (args->help) {
        if (args->command == NULL)
            help_program(stdout);
        else
            help_command(stdout, args->command);
        return EXIT_DONE;
    }
    if (args->version) {
        (void)puts("wormhole " WORMHOLE_VERSION);
        return EXIT_DONE;
    }
    if (args->command == NULL) {
        help_hint(stderr);
        return EXIT_USAGE_ERROR;
    }
    return args->verb != NULL ? args->verb->run(args) : args->command->run(args);
}

int cli_main(int argc, char **argv)
{
    struct args args;
    struct args_error error;
    if (args_parse(&args, argc, argv, &error) != OK) {
        cli_error("%s", error.text);
        if (args.command != NULL)
            (void)fprintf(stderr, "See wormhole %s --help\n", args.command->name);
        else
            (void)fprintf(stderr, "See wormhole --help\n");
        args_clear(&args);
        return EXIT_USAGE_ERROR;
    }
    /* A reader that goes away (| head) is an error from write, not a death without a word. */
    (void)signal(SIGPIPE, SIG_IGN);
    int code = close_stdout(run(&args));
    args_clear(&args);
    return code;
}
