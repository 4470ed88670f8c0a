/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of a command line, sorted: the command, its verb and arguments, its own options, and those of the
 * option table (which config_load judges). Nothing is done here but sorting and saying what is wrong.
 */
#ifndef WORMHOLE_SUPERVISOR_ARGS_H
#define WORMHOLE_SUPERVISOR_ARGS_H

#include "supervisor/cli/cli.h"

#define ARGS_OWN_MAX 16

struct args {
    const struct cli_command *command; /* NULL: none was given */
    const struct cli_verb *verb;
    bool help, version;
    const char *config_file; /* --config; NULL: not given */
    char **options;          /* words for config_load, flags with their values; the words are argv's */
    int n_options;
    char **positional; /* without the verb */
    int n_positional;
    struct {
        const struct cli_option *option;
        const char *value; /* "" for a switch */
    } own[ARGS_OWN_MAX];
    size_t n_own;
    struct config *globals; /* the global options alone, checked, for commands that load no file */
};

struct args_error {
    char text[400];
};

/* argv as main() got it. ERR_CONFIG with the message. Free with args_clear in any case. */
enum status args_parse(struct args *args, int argc, char **argv, struct args_error *error);
void args_clear(struct args *args);

/* The last value that was given for one of the command's own options; NULL: none. */
const char *args_value(const struct args *args, const char *flag);
bool args_has(const struct args *args, const char *flag);

#endif
