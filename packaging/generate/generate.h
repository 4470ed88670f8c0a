/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes manuals, shell completion and a machine-readable list from the option table and the command tables,
 * at build time. Not installed. It may hold layout and text about the whole, never text about a single option
 * or command: that stands in the tables.
 */
#ifndef WORMHOLE_PACKAGING_GENERATE_H
#define WORMHOLE_PACKAGING_GENERATE_H

#include <stdio.h>

#include "supervisor/cli/cli.h"

/* wormhole(1), wormhole-COMMAND(1|8), wormhole.yaml(5) */
void man_program(FILE *out);
void man_command(FILE *out, const struct cli_command *command);
void man_yaml(FILE *out);

void completion_bash(FILE *out);
void completion_zsh(FILE *out);
void completion_fish(FILE *out);

/* Everything as JSON: for the test that all of it agrees. */
void table_json(FILE *out);

/* Options in the order in which shells and manuals want them: the command's own, then those it shares. */
typedef void each_option(void *arg, const struct cli_option *option);
void each_own_option(const struct cli_command *command, each_option *call, void *arg);
/* What a shell can offer for the value of an option of the table. words: at least 200 bytes, "a|b". */
enum cli_complete table_completion(const struct option *option, char *words, size_t cap);
/* The help without "(a|b)" in front. */
const char *own_help(const struct cli_option *option);

#endif
