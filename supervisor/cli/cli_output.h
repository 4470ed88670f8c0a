/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a command shows, in one of three shapes: an aligned table with a header for people, tab-separated
 * lines without one for scripts, JSON for programs. The command says once which columns there are and then
 * hands in rows. Only stdout is written; text that came from outside cannot move the cursor.
 */
#ifndef WORMHOLE_SUPERVISOR_CLI_OUTPUT_H
#define WORMHOLE_SUPERVISOR_CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/json_write.h"
#include "supervisor/cli/args.h"

enum output_format { OUTPUT_TABLE, OUTPUT_TSV, OUTPUT_JSON };

enum column_kind {
    COLUMN_TEXT,
    COLUMN_NUMBER,
    COLUMN_BYTES, /* 1.2 MiB in the table, a number elsewhere */
    COLUMN_TIME, /* Unix seconds; 0 = never. Local time in the table, RFC 3339 UTC in TSV, a number in JSON */
    COLUMN_TIME_MS, /* the same from milliseconds */
    COLUMN_AGE_MS,  /* a duration: "3d4h" in the table, milliseconds elsewhere */
    COLUMN_YES_NO,
    COLUMN_STATE, /* text, coloured by what it says */
};

struct column {
    const char *key;   /* in JSON */
    const char *title; /* in the table; NULL: not shown there */
    enum column_kind kind;
};

struct cell {
    const char *text;
    uint64_t number;
};

#define CELL_TEXT(value) ((struct cell){.text = (value)})
#define CELL_NUMBER(value) ((struct cell){.number = (value)})

struct output {
    enum output_format format;
    bool colour;
    const struct column *columns;
    size_t n_columns, n_rows;
    char **cells; /* of the table: n_rows × n_columns texts */
    size_t room;
    struct json_writer json;
    /* Set after output_begin(), or NULL: keys of the columns that a table spares, the first one first, where
     * the terminal is too narrow; ended by NULL. */
    const char *const *yields;
    bool failed; /* out of memory */
};

/* --output, or what fits stdout. */
enum output_format output_format_of(const struct args *args);
/* May colours be used on this stream? */
bool output_colour(int fd);
/* May we ask a question: are stdin and stderr terminals? */
bool output_can_ask(void);

/* A list: JSON becomes an array of objects. */
void output_begin(struct output *out, enum output_format format, const struct column *columns,
                  size_t n_columns);
/* The same within an object that the caller has begun in `out->json` (JSON) or after a line of its own. */
void output_row(struct output *out, const struct cell *cells);
/* Prints what is still held. Returns EXIT_DONE, or EXIT_FAILED when something did not work. */
int output_end(struct output *out);

/* The rows held, as a table that fits stdout's terminal (any width when it is none). */
void output_table(const struct output *out);

/* One thing: "key: value" lines, or "key<TAB>value", or a JSON object. */
int output_record(enum output_format format, const struct column *columns, const struct cell *cells,
                  size_t n);

/* The shapes of single values, for messages. buf at least 40 bytes. */
void output_time(uint64_t unix_seconds, char *buf, size_t cap);
void output_age(uint64_t milliseconds, char *buf, size_t cap);
void output_bytes(uint64_t bytes, char *buf, size_t cap);
/* Columns that a UTF-8 text takes on a terminal; those that this terminal has, 0 when it is none. */
size_t output_width(const char *text);
size_t output_terminal_width(int fd);
/* A paragraph in lines of at most `room` columns (0: 80), each after `indent` blanks. */
void output_wrapped(const char *text, size_t indent, size_t room);
/* Adds one value of this kind to JSON. */
void output_json_cell(struct json_writer *json, const struct column *column, const struct cell *cell);
/* The text of a cell in the table or in TSV. */
void output_cell_text(enum output_format format, const struct column *column, const struct cell *cell,
                      char *buf, size_t cap);

#endif
