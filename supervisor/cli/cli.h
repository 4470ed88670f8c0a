/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line's shape: what a command is called, takes and does, in tables that feed the parser, --help,
 * the manual pages and shell completion alike. One file per command (cli_*.c) holds its table entry and its
 * code. Commands talk to a running server or client over the control socket only; they never open the
 * database of a running server and never link the network.
 */
#ifndef WORMHOLE_SUPERVISOR_CLI_H
#define WORMHOLE_SUPERVISOR_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "supervisor/config/config.h"
#include "supervisor/config/options.h"
#include "supervisor/exit_codes.h"

struct args;

/* What a shell can offer where a value is due. */
enum cli_complete {
    COMPLETE_NOTHING,
    COMPLETE_FILE,
    COMPLETE_DIR,
    COMPLETE_WORDS,       /* the words of cli_option.words */
    COMPLETE_REQUEST,     /* fingerprints that wait, from the live server */
    COMPLETE_PEER,        /* names of peers, from the live server */
    COMPLETE_FINGERPRINT, /* nothing to offer but the prefix */
    COMPLETE_COMMAND,
};

/* An option that only this command has. */
struct cli_option {
    const char *flag, *argument, *help; /* argument NULL: a switch */
    const char *words;                  /* "a|b": the allowed values; NULL: any */
    enum cli_complete complete;
};

/* `wormhole requests accept FINGERPRINT`: accept is a verb of requests. */
struct cli_verb {
    const char *name, *argument, *help; /* argument NULL: takes none */
    enum cli_complete complete;
    bool many; /* may the argument be repeated? */
    int (*run)(const struct args *args);
};

struct cli_example {
    const char *command, *meaning;
};

struct cli_command {
    const char *name, *summary;
    const char *description;      /* paragraphs, an empty line between them */
    const char *usage;            /* what follows the name in "wormhole NAME …", when it is not plain */
    const struct cli_verb *verbs; /* ended by a NULL name; NULL: none */
    const char *argument;         /* positional arguments of a command without verbs */
    unsigned min_arguments, max_arguments;
    enum cli_complete complete;
    const struct cli_option *options; /* ended by a NULL flag; NULL: none */
    unsigned takes;   /* WHERE_SERVER, WHERE_CLIENT: those of the option table besides the global ones */
    bool shows;       /* has --output */
    bool asks_client; /* makes sense towards a client too */
    const struct cli_example *examples; /* ended by a NULL command */
    const char *see_also;               /* for the manual: "wormhole-join(8), wormhole.yaml(5)" */
    unsigned section;                   /* of the manual: 1 or 8 */
    int (*run)(const struct args *args);
};

/* All of them, in the order of --help; ended by NULL. */
extern const struct cli_command *const cli_commands[];
const struct cli_command *cli_command_find(const char *name);
/* Options that every command with `shows` has, and that every command which asks the daemon has. */
extern const struct cli_option cli_output_options[], cli_client_options[];

/* The whole program behind main(). */
int cli_main(int argc, char **argv);

/* A line on stderr: "wormhole: text". */
void cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
