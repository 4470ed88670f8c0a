/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wormhole help [COMMAND]`: the same as --help, for those who try this first.
 */
#include <stdio.h>

#include "supervisor/cli/args.h"
#include "supervisor/cli/cli_help.h"

static int help_run(const struct args *args)
{
    if (args->n_positional == 0) {
        help_program(stdout);
        return EXIT_DONE;
    }
    const struct cli_command *command = cli_command_find(args->positional[0]);
    if (command == NULL) {
        cli_error("unknown command \"%.60s\"; all of them: wormhole --help", args->positional[0]);
        return EXIT_USAGE_ERROR;
    }
    help_command(stdout, command);
    return EXIT_DONE;
}

static const struct cli_example examples[] = {
    {"wormhole help", "what there is"},
    {"wormhole help requests", "about one command; the same as wormhole requests --help"},
    {NULL, NULL},
};

const struct cli_command cli_help = {
    .name = "help",
    .summary = "shows what a command does",
    .description = "Shows the commands, or one command's options and examples.",
    .usage = "[COMMAND]",
    .argument = "COMMAND",
    .max_arguments = 1,
    .complete = COMPLETE_COMMAND,
    .examples = examples,
    .see_also = "wormhole(1)",
    .section = 1,
    .run = help_run,
};
