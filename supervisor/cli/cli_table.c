/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list as an aligned table for people, made to fit the terminal: columns that the command can spare give
 * way first, and what still is too wide is shown as one block of lines for each row. No command's knowledge
 * is here.
 */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "supervisor/cli/cli_output.h"

enum { COLUMNS_MAX = 32, GAP = 2 };

/* What is shown, how wide. */
struct layout {
    bool shown[COLUMNS_MAX];
    size_t width[COLUMNS_MAX], last;
};

size_t output_width(const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static bool is_right(enum column_kind kind)
{
    return kind == COLUMN_NUMBER || kind == COLUMN_BYTES || kind == COLUMN_AGE_MS;
}

static const char *state_colour(const char *text)
{
    static const struct {
        const char *word, *colour;
    } colours[] = {
        {"approved", "\033[32m"}, {"connected", "\033[32m"}, {"listening", "\033[32m"},
        {"ok", "\033[32m"},       {"pending", "\033[33m"},   {"waiting", "\033[33m"},
        {"grace", "\033[33m"},    {"declined", "\033[31m"},  {"revoked", "\033[31m"},
        {"refused", "\033[31m"},  {"failed", "\033[31m"},
    };
    for (size_t i = 0; i < sizeof colours / sizeof colours[0]; i++)
        if (strncmp(text, colours[i].word, strlen(colours[i].word)) == 0)
            return colours[i].colour;
    return "";
}

/* One cell; the last visible one is not padded, so that lines have no blanks at their end. */
static void print_cell(const struct output *out, size_t column, const char *text, size_t width, bool last,
                       const char *colour)
{
    int pad = (int)(width - output_width(text));
    bool right = is_right(out->columns[column].kind);
    if (!out->colour)
        colour = "";
    (void)printf("%*s%s%s%s%*s%s", right ? pad : 0, "", colour, text, colour[0] != '\0' ? "\033[0m" : "",
                 right || last ? 0 : pad, "", last ? "\n" : "  ");
}

size_t output_terminal_width(int fd)
{
    struct winsize size = {0};
    return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static const char *cell_at(const struct output *out, size_t row, size_t column)
{
    return out->cells[row * out->n_columns + column];
}

static void layout_measure(const struct output *out, struct layout *layout)
{
    for (size_t c = 0; c < out->n_columns && c < COLUMNS_MAX; c++) {
        if (out->columns[c].title == NULL)
            continue;
        layout->shown[c] = true;
        layout->width[c] = output_width(out->columns[c].title);
        for (size_t r = 0; r < out->n_rows; r++) {
            size_t n = output_width(cell_at(out, r, c));
            layout->width[c] = n > layout->width[c] ? n : layout->width[c];
        }
    }
}

static size_t layout_width(const struct output *out, struct layout *layout)
{
    size_t sum = 0;
    for (size_t c = 0; c < out->n_columns && c < COLUMNS_MAX; c++)
        if (layout->shown[c]) {
            sum += layout->width[c] + (sum > 0 ? GAP : 0);
            layout->last = c;
        }
    return sum;
}

/* Hides the column; `left_out` collects the titles, at least 200 bytes. */
static void layout_hide(const struct output *out, struct layout *layout, const char *key, char *left_out,
                        size_t cap)
{
    for (size_t c = 0; c < out->n_columns && c < COLUMNS_MAX; c++)
        if (layout->shown[c] && strcmp(out->columns[c].key, key) == 0) {
            size_t used = strlen(left_out);
            layout->shown[c] = false;
            (void)snprintf(left_out + used, cap - used, "%s%s", used > 0 ? ", " : "", out->columns[c].title);
        }
}

static void print_rows(const struct output *out, const struct layout *layout)
{
    for (size_t c = 0; c <= layout->last; c++)
        if (layout->shown[c])
            print_cell(out, c, out->columns[c].title, layout->width[c], c == layout->last, "\033[1m");
    for (size_t r = 0; r < out->n_rows; r++)
        for (size_t c = 0; c <= layout->last; c++) {
            const char *text = cell_at(out, r, c);
            const char *colour = out->columns[c].kind == COLUMN_STATE ? state_colour(text) : "";
            if (layout->shown[c])
                print_cell(out, c, text, layout->width[c], c == layout->last, colour);
        }
}

static void print_blocks(const struct output *out)
{
    size_t width = 0;
    for (size_t c = 0; c < out->n_columns; c++)
        if (out->columns[c].title != NULL && output_width(out->columns[c].title) > width)
            width = output_width(out->columns[c].title);
    for (size_t r = 0; r < out->n_rows; r++) {
        if (r > 0)
            (void)putchar('\n');
        for (size_t c = 0; c < out->n_columns; c++)
            if (out->columns[c].title != NULL)
                (void)printf("%-*s  %s\n", (int)width, out->columns[c].title, cell_at(out, r, c));
    }
}

void output_table(const struct output *out)
{
    struct layout layout = {0};
    char left_out[256] = "";
    size_t room = output_terminal_width(STDOUT_FILENO);
    layout_measure(out, &layout);
    size_t width = layout_width(out, &layout);
    for (size_t i = 0; room > 0 && width > room && out->yields != NULL && out->yields[i] != NULL; i++) {
        layout_hide(out, &layout, out->yields[i], left_out, sizeof left_out);
        width = layout_width(out, &layout);
    }
    if (room > 0 && width > room && out->yields != NULL) {
        print_blocks(out);
        return;
    }
    print_rows(out, &layout);
    if (left_out[0] != '\0') {
        (void)fflush(stdout);
        (void)fprintf(stderr, "(No room for %s; --output json has everything.)\n", left_out);
    }
}

void output_wrapped(const char *text, size_t indent, size_t room)
{
    size_t at = 0;
    room = room > 0 ? room : 80;
    while (*text != '\0') {
        size_t bytes = strcspn(text, " ");
        char word[200];
        (void)snprintf(word, sizeof word, "%.*s", (int)bytes, text);
        size_t wide = output_width(word);
        bool first = at == 0;
        if (!first && at + 1 + wide > room) {
            (void)putchar('\n');
            first = true;
        }
        (void)printf("%*s%s", first ? (int)indent : 1, "", word);
        at = first ? indent + wide : at + 1 + wide;
        text += bytes;
        text += strspn(text, " ");
    }
    (void)putchar('\n');
}
