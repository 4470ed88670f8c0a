/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shapes in which commands show values. Tables as a whole are compared by the tests of the real commands;
 * here it is single cells, where the edges are.
 */
#include "cli_support.h"

#include <fcntl.h>
#include <unistd.h>

#include "supervisor/cli/cli_output.h"

static void cells(void **state)
{
    static const struct {
        enum output_format format;
        enum column_kind kind;
        const char *text;
        uint64_t number;
        const char *want;
    } cases[] = {
        {OUTPUT_TABLE, COLUMN_TEXT, "", 0, "-"},
        {OUTPUT_TSV, COLUMN_TEXT, "", 0, ""},
        {OUTPUT_TSV, COLUMN_TEXT, NULL, 0, ""},
        {OUTPUT_TSV, COLUMN_TEXT, "a\tb\nc\x1b[31m", 0, "a?b?c?[31m"}, /* cannot forge a column or a colour */
        {OUTPUT_TABLE, COLUMN_TEXT, "\xff", 0, "?"},
        {OUTPUT_TABLE, COLUMN_BYTES, NULL, 0, "0 B"},
        {OUTPUT_TABLE, COLUMN_BYTES, NULL, 1023, "1023 B"},
        {OUTPUT_TABLE, COLUMN_BYTES, NULL, 1024, "1.0 KiB"},
        {OUTPUT_TABLE, COLUMN_BYTES, NULL, 1536, "1.5 KiB"},
        {OUTPUT_TABLE, COLUMN_BYTES, NULL, 1048575, "1023.9 KiB"},
        {OUTPUT_TABLE, COLUMN_BYTES, NULL, 1048576, "1.0 MiB"},
        {OUTPUT_TABLE, COLUMN_BYTES, NULL, UINT64_C(5) << 30, "5.0 GiB"},
        {OUTPUT_TABLE, COLUMN_BYTES, NULL, UINT64_MAX, "15.9 EiB"},
        {OUTPUT_TSV, COLUMN_BYTES, NULL, UINT64_MAX, "18446744073709551615"},
        {OUTPUT_TABLE, COLUMN_AGE_MS, NULL, 59999, "59s"},
        {OUTPUT_TABLE, COLUMN_AGE_MS, NULL, 61000, "1m1s"},
        {OUTPUT_TABLE, COLUMN_AGE_MS, NULL, 7380000, "2h3m"},
        {OUTPUT_TABLE, COLUMN_AGE_MS, NULL, 277200000, "3d5h"},
        {OUTPUT_TSV, COLUMN_AGE_MS, NULL, 61000, "61000"},
        {OUTPUT_TABLE, COLUMN_TIME, NULL, 0, "-"},
        {OUTPUT_TSV, COLUMN_TIME, NULL, 0, "-"},
        {OUTPUT_TSV, COLUMN_TIME, NULL, 1700000000, "2023-11-14T22:13:20Z"},
        {OUTPUT_TABLE, COLUMN_TIME, NULL, 1700000000, "2023-11-14 23:13:20"}, /* TZ is set below */
        {OUTPUT_TSV, COLUMN_TIME_MS, NULL, 1700000000999, "2023-11-14T22:13:20Z"},
        {OUTPUT_TSV, COLUMN_TIME, NULL, UINT64_MAX, "-"}, /* nonsense from the other end is no crash */
        {OUTPUT_TABLE, COLUMN_YES_NO, NULL, 7, "yes"},
        {OUTPUT_TABLE, COLUMN_NUMBER, NULL, 7, "7"},
    };
    (void)state;
    (void)setenv("TZ", "XXX-1", 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct column column = {"key", "TITLE", cases[i].kind};
        const struct cell cell = {.text = cases[i].text, .number = cases[i].number};
        char text[200];
        output_cell_text(cases[i].format, &column, &cell, text, sizeof text);
        assert_string_equal(text, cases[i].want);
    }
}

static void colour_needs_a_terminal(void **state)
{
    int pipe_ends[2];
    (void)state;
    assert_int_equal(pipe(pipe_ends), 0);
    assert_false(output_colour(pipe_ends[1]));
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(terminal >= 0);
    (void)setenv("TERM", "xterm", 1);
    (void)unsetenv("NO_COLOR");
    assert_true(output_colour(terminal));
    (void)setenv("NO_COLOR", "", 1);
    assert_true(output_colour(terminal)); /* no-color.org: only when not empty */
    (void)setenv("NO_COLOR", "1", 1);
    assert_false(output_colour(terminal));
    (void)unsetenv("NO_COLOR");
    (void)setenv("TERM", "dumb", 1);
    assert_false(output_colour(terminal));
    (void)close(terminal);
    (void)close(pipe_ends[0]);
    (void)close(pipe_ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells),
        cmocka_unit_test(colour_needs_a_terminal),
    };
    return cmocka_run_group_tests(tests, clean_environment, NULL);
}
