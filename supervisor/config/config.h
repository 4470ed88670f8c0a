/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of a server or client: one struct, generated from common/options.def, filled from
 * defaults, the YAML file and the flags, in that order of weight. Nothing here starts anything; values are
 * checked when they are read, and the rest of the supervisor may rely on that.
 */
#ifndef WORMHOLE_SUPERVISOR_CONFIG_H
#define WORMHOLE_SUPERVISOR_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ipc_types.h"
#include "common/status.h"

struct config_list {
    char **items; /* n_items texts, owned */
    size_t n_items;
};

/* One --expose: where it came from does not matter any more. */
struct config_app {
    char name[64]; /* a valid label; derived from the address when not given */
    char host[256];
    uint16_t port;
};

struct config_apps {
    struct config_app *items; /* owned */
    size_t n_items;
};

#define CONFIG_TYPE_BOOL bool
#define CONFIG_TYPE_INT int64_t
#define CONFIG_TYPE_MS uint64_t
#define CONFIG_TYPE_SIZE uint64_t
#define CONFIG_TYPE_STR char *        /* owned; NULL when not set and no default */
#define CONFIG_TYPE_ENUM const char * /* one of the choices, static */
#define CONFIG_TYPE_LIST struct config_list
#define CONFIG_TYPE_APPS struct config_apps

struct config {
    enum side side;
    char *config_file; /* the YAML file that was read, or NULL */
#define OPTION(field, flag, type, preset, min, max, where, live, argument, help) CONFIG_TYPE_##type field;
#include "common/options.def"
#undef OPTION
};

/*
 * Where a value came from and what is wrong with it, for people: "server.yaml:12:3: port-range-min: …".
 * Always terminated.
 */
struct config_error {
    char text[512];
};

/*
 * Defaults, then the file (config_file NULL: /etc/wormhole/server.yaml or client.yaml when it exists), then
 * the flags in argv (options only; the command word is already gone). ERR_CONFIG with error->text; exit code
 * 78 for the file, 64 for a flag: *exit_code is set. Free with config_free.
 */
enum status config_load(enum side side, const char *config_file, int argc, char **argv, struct config **out,
                        struct config_error *error, int *exit_code);
void config_free(struct config *config);

/*
 * What differs between running and fresh: ERR_CONFIG and the first option that cannot change live in
 * error->text, or OK when every difference is LIVE.
 */
enum status config_check_reload(const struct config *running, const struct config *fresh,
                                struct config_error *error);

#endif
