/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists as tab-separated lines and JSON on stdout, and single things; the table for people is in cli_table.c.
 * No command's knowledge is here.
 */
#include "supervisor/cli/cli_output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/utf8.h"

#define CELL_MAX 1200

enum output_format output_format_of(const struct args *args)
{
    const char *value = args_value(args, "output");
    if (value != NULL)
        return strcmp(value, "json") == 0  ? OUTPUT_JSON
               : strcmp(value, "tsv") == 0 ? OUTPUT_TSV
                                           : OUTPUT_TABLE;
    return isatty(STDOUT_FILENO) == 1 ? OUTPUT_TABLE : OUTPUT_TSV;
}

bool output_colour(int fd)
{
    const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return isatty(fd) == 1 && (no_colour == NULL || no_colour[0] == '\0') &&
           (terminal == NULL || strcmp(terminal, "dumb") != 0);
}

bool output_can_ask(void)
{
    return isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1;
}

/* 0 is never; what lies past the year 9999 is nonsense. */
static bool time_is_real(uint64_t unix_seconds)
{
    return unix_seconds != 0 && unix_seconds < UINT64_C(253402300800);
}

void output_time(uint64_t unix_seconds, char *buf, size_t cap)
{
    time_t when = (time_t)unix_seconds;
    struct tm local;
    if (!time_is_real(unix_seconds) || localtime_r(&when, &local) == NULL ||
        strftime(buf, cap, "%Y-%m-%d %H:%M:%S", &local) == 0)
        (void)snprintf(buf, cap, "-");
}

static void time_utc(uint64_t unix_seconds, char *buf, size_t cap)
{
    time_t when = (time_t)unix_seconds;
    struct tm utc;
    if (!time_is_real(unix_seconds) || gmtime_r(&when, &utc) == NULL ||
        strftime(buf, cap, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        (void)snprintf(buf, cap, "-");
}

void output_age(uint64_t milliseconds, char *buf, size_t cap)
{
    uint64_t s = milliseconds / 1000;
    if (s < 60)
        (void)snprintf(buf, cap, "%" PRIu64 "s", s);
    else if (s < 3600)
        (void)snprintf(buf, cap, "%" PRIu64 "m%" PRIu64 "s", s / 60, s % 60);
    else if (s < 86400)
        (void)snprintf(buf, cap, "%" PRIu64 "h%" PRIu64 "m", s / 3600, s / 60 % 60);
    else
        (void)snprintf(buf, cap, "%" PRIu64 "d%" PRIu64 "h", s / 86400, s / 3600 % 24);
}

void output_bytes(uint64_t bytes, char *buf, size_t cap)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        (void)snprintf(buf, cap, "%" PRIu64 " B", bytes);
        return;
    }
    size_t unit = 0;
    uint64_t tenths = bytes < UINT64_MAX / 10 ? bytes * 10 / 1024 : bytes / 1024 * 10;
    while (tenths >= 10240 && unit + 1 < sizeof units / sizeof units[0]) {
        tenths /= 1024;
        unit++;
    }
    (void)snprintf(buf, cap, "%" PRIu64 ".%" PRIu64 " %s", tenths / 10, tenths % 10, units[unit]);
}

void output_cell_text(enum output_format format, const struct column *column, const struct cell *cell,
                      char *buf, size_t cap)
{
    bool people = format == OUTPUT_TABLE;
    switch (column->kind) {
    case COLUMN_TEXT:
    case COLUMN_STATE:
        utf8_clean(buf, cap, cell->text != NULL ? cell->text : "");
        if (buf[0] == '\0')
            (void)snprintf(buf, cap, "%s", people ? "-" : "");
        return;
    case COLUMN_BYTES:
        if (people) {
            output_bytes(cell->number, buf, cap);
            return;
        }
        break;
    case COLUMN_AGE_MS:
        if (people) {
            output_age(cell->number, buf, cap);
            return;
        }
        break;
    case COLUMN_TIME:
    case COLUMN_TIME_MS: {
        uint64_t seconds = column->kind == COLUMN_TIME ? cell->number : cell->number / 1000;
        if (people)
            output_time(seconds, buf, cap);
        else
            time_utc(seconds, buf, cap);
        return;
    }
    case COLUMN_YES_NO: (void)snprintf(buf, cap, "%s", cell->number != 0 ? "yes" : "no"); return;
    case COLUMN_NUMBER: break;
    }
    (void)snprintf(buf, cap, "%" PRIu64, cell->number);
}

void output_json_cell(struct json_writer *json, const struct column *column, const struct cell *cell)
{
    if (column->kind == COLUMN_TEXT || column->kind == COLUMN_STATE)
        json_put_string(json, column->key, cell->text);
    else if (column->kind == COLUMN_YES_NO)
        json_put_bool(json, column->key, cell->number != 0);
    else
        json_put_uint(json, column->key, cell->number);
}

void output_begin(struct output *out, enum output_format format, const struct column *columns,
                  size_t n_columns)
{
    *out = (struct output){.format = format, .columns = columns, .n_columns = n_columns};
    out->colour = output_colour(STDOUT_FILENO);
    if (format == OUTPUT_JSON) {
        json_to_file(&out->json, stdout, true);
        json_begin_array(&out->json);
    }
}

static void row_keep(struct output *out, const struct cell *cells)
{
    size_t needed = (out->n_rows + 1) * out->n_columns;
    if (needed > out->room) {
        size_t room = needed * 2;
        char **more = reallocarray(out->cells, room, sizeof *more);
        if (more == NULL) {
            out->failed = true;
            return;
        }
        out->cells = more;
        out->room = room;
    }
    char **row = out->cells + out->n_rows * out->n_columns;
    for (size_t i = 0; i < out->n_columns; i++) {
        char text[CELL_MAX];
        output_cell_text(out->format, &out->columns[i], &cells[i], text, sizeof text);
        row[i] = strdup(text);
        if (row[i] == NULL)
            out->failed = true;
    }
    out->n_rows++;
}

void output_row(struct output *out, const struct cell *cells)
{
    if (out->format == OUTPUT_JSON) {
        json_begin_object(&out->json);
        for (size_t i = 0; i < out->n_columns; i++)
            output_json_cell(&out->json, &out->columns[i], &cells[i]);
        json_end_object(&out->json);
        out->n_rows++;
    } else if (out->format == OUTPUT_TSV) {
        for (size_t i = 0; i < out->n_columns; i++) {
            char text[CELL_MAX];
            output_cell_text(out->format, &out->columns[i], &cells[i], text, sizeof text);
            (void)printf("%s%s", i == 0 ? "" : "\t", text);
        }
        (void)putchar('\n');
        out->n_rows++;
    } else {
        row_keep(out, cells);
    }
}

int output_end(struct output *out)
{
    if (out->format == OUTPUT_JSON) {
        json_end_array(&out->json);
        out->failed |= json_finish(&out->json) != OK;
    } else if (out->format == OUTPUT_TABLE && out->n_rows > 0 && !out->failed) {
        output_table(out);
    }
    for (size_t i = 0; out->cells != NULL && i < out->n_rows * out->n_columns; i++)
        free(out->cells[i]);
    free(out->cells);
    out->cells = NULL;
    if (out->failed)
        cli_error("out of memory");
    return out->failed ? EXIT_FAILED : EXIT_DONE;
}

int output_record(enum output_format format, const struct column *columns, const struct cell *cells, size_t n)
{
    size_t width = 0;
    char text[CELL_MAX];
    if (format == OUTPUT_JSON) {
        struct json_writer json;
        json_to_file(&json, stdout, true);
        json_begin_object(&json);
        for (size_t i = 0; i < n; i++)
            output_json_cell(&json, &columns[i], &cells[i]);
        json_end_object(&json);
        return json_finish(&json) == OK ? EXIT_DONE : EXIT_FAILED;
    }
    for (size_t i = 0; i < n; i++)
        if (columns[i].title != NULL && output_width(columns[i].title) > width)
            width = output_width(columns[i].title);
    for (size_t i = 0; i < n; i++) {
        output_cell_text(format, &columns[i], &cells[i], text, sizeof text);
        if (format == OUTPUT_TSV)
            (void)printf("%s\t%s\n", columns[i].key, text);
        else if (columns[i].title != NULL)
            (void)printf("%-*s  %s\n", (int)width, columns[i].title, text);
    }
    return EXIT_DONE;
}
