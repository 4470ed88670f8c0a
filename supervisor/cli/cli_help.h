/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --help, made from the tables. Prints only.
 */
#ifndef WORMHOLE_SUPERVISOR_CLI_HELP_H
#define WORMHOLE_SUPERVISOR_CLI_HELP_H

#include <stdio.h>

#include "supervisor/cli/cli.h"

/* `wormhole --help`. */
void help_program(FILE *out);
/* `wormhole COMMAND --help`. */
void help_command(FILE *out, const struct cli_command *command);
/* The few lines for somebody who gave no command at all. */
void help_hint(FILE *out);

/* "requests list" and so on, one call per line of usage; used by the manual too. */
void help_usage_lines(const struct cli_command *command, void (*line)(void *arg, const char *text),
                      void *arg);

#endif
