/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option table (common/options.def) at run time: what each option is called, takes and allows, and how
 * its value is read from and written as text. One table for flags, YAML, --help, manuals and completion. It
 * knows single options only: what two options must be to each other is judged in config_check.c.
 */
#ifndef WORMHOLE_SUPERVISOR_OPTIONS_H
#define WORMHOLE_SUPERVISOR_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"
#include "supervisor/config/config.h"

enum option_type {
    OPTION_BOOL,
    OPTION_INT,
    OPTION_MS,
    OPTION_SIZE,
    OPTION_STR,
    OPTION_ENUM,
    OPTION_LIST,
    OPTION_APPS,
};

/* Which commands take it: bits, so that a search can name several. */
enum option_where { WHERE_GLOBAL = 1 << 0, WHERE_SERVER = 1 << 1, WHERE_CLIENT = 1 << 2, WHERE_BOTH = 6 };
#define WHERE_ANY 7u

struct option {
    const char *flag; /* without the dashes; the YAML key too */
    enum option_type type;
    size_t offset;        /* of its field in struct config */
    const char *text;     /* default of STR and ENUM; NULL = none */
    int64_t number;       /* default of the others */
    int64_t min, max;     /* INT, MS (milliseconds), SIZE (bytes); max bytes of STR and of a LIST's items */
    unsigned where;       /* enum option_where */
    bool live;            /* may change on SIGHUP */
    const char *argument; /* its name in --help; NULL for a BOOL */
    const char *help;
};

extern const struct option option_table[];
extern const size_t option_count;

/* Room for the text of what is wrong with one value. */
#define OPTION_WHY 256

unsigned option_index(const struct option *option);
/* Does `wormhole listen` (or join) take it? */
bool option_applies(const struct option *option, enum side side);
/* By flag name, among those whose `where` meets the mask; NULL. `len` bytes of name. */
const struct option *option_find(const char *name, size_t len, unsigned where);
/* The most similar flag when one is near enough, else NULL. */
const struct option *option_suggest(const char *name, size_t len, unsigned where);

/* The n-th allowed word of an ENUM, static; NULL past the end. */
const char *option_choice(const struct option *option, size_t n);
/* The help text without the choices in front. */
const char *option_help_text(const struct option *option);

/*
 * Reads `text` as the option's type, checks it and stores it (a LIST and APPS: appends). ERR_CONFIG with the
 * reason in why (OPTION_WHY bytes), a phrase that follows "port: ", and the field as it was.
 */
enum status option_set(const struct option *option, struct config *config, const char *text, char *why);
/* The checks that depend on what the text means; option_set calls it. NULL: fine. *fixed may be replaced. */
enum status option_check_text(const struct option *option, const char *text, char *fixed, size_t cap,
                              char *why);

/* Back to the default (frees what is owned). option_clear_value only frees: for lists before a fresh start.
 */
enum status option_reset(const struct option *option, struct config *config);
void option_clear_value(const struct option *option, struct config *config);

bool option_equal(const struct option *option, const struct config *a, const struct config *b);

/* Writes a scalar's value as it may be given again: "25s", "256k", "true". STR that is NULL: "". Secrets
 * hidden. */
void option_format(const struct option *option, const struct config *config, char *out, size_t cap);
/* The same for the default; what is decided at start says so. */
void option_format_default(const struct option *option, char *out, size_t cap);

/* Distance by insertions, deletions, replacements and swaps of neighbours; for did-you-mean. */
unsigned text_distance(const char *a, size_t a_len, const char *b, size_t b_len);
/* Near enough to be offered as a correction of something of this length? */
bool text_is_near(unsigned distance, size_t len);

#endif
