/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of config_load(): a configuration while it is being filled, with where each value came from. For
 * config*.c and yaml.c only; the rest of the supervisor sees supervisor/config/config.h.
 */
#ifndef WORMHOLE_SUPERVISOR_CONFIG_LOADER_H
#define WORMHOLE_SUPERVISOR_CONFIG_LOADER_H

#include <stdbool.h>
#include <stddef.h>

#include "supervisor/config/config.h"
#include "supervisor/config/options.h"

enum origin_kind { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_FLAG, ORIGIN_ENVIRONMENT };

struct origin {
    enum origin_kind kind;
    unsigned line, column; /* from 1; of ORIGIN_FILE */
};

struct config_loader {
    struct config *config;
    struct origin *origins; /* one per option of the table */
    const char *file;       /* for messages; NULL without one */
    struct config_error *error;
    int exit_code; /* EXIT_USAGE_ERROR or EXIT_BAD_CONFIG once something failed */
};

/* "FILE:LINE:COLUMN: text" or "--flag: text"; returns ERR_CONFIG and sets the exit code. */
enum status loader_fail(struct config_loader *loader, const struct origin *origin,
                        const struct option *option, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* One value (one item of a list) from somewhere that outweighs what is there. */
enum status loader_set(struct config_loader *loader, const struct option *option, const char *text,
                       const struct origin *origin);
/* Makes room for a list from this origin: drops what a lighter origin had put there. */
void loader_begin_list(struct config_loader *loader, const struct option *option,
                       const struct origin *origin);

/* The YAML text of `file` (yaml.c). data need not be terminated. */
enum status yaml_read(struct config_loader *loader, const unsigned char *data, size_t len);
/* The flags (config_flags.c). */
enum status flags_read(struct config_loader *loader, int argc, char **argv);
/* State directory, socket, name, proxy: what depends on who and where we are (config_defaults.c). */
enum status defaults_fill(struct config_loader *loader);
/* What two options must be to each other (config_check.c). */
enum status config_check(struct config_loader *loader);

#define CONFIG_FILE_MAX (1u << 20)

/* Where the value came from; of a configuration that config_load made. */
const struct origin *config_origin(const struct config *config, const struct option *option);

/*
 * Defaults and YAML only, from memory: for the fuzzer and the tests. The same as config_load otherwise.
 */
enum status config_load_text(enum side side, const char *name, const unsigned char *data, size_t len,
                             struct config **out, struct config_error *error, int *exit_code);

#endif
