/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option table itself and searching in it, with suggestions for mistyped names. Reading and writing of
 * values is options_value.c.
 */
#include "supervisor/config/options.h"

#include <stdlib.h>
#include <string.h>

#define PRESET_BOOL(value) .number = (value)
#define PRESET_INT(value) .number = (value)
#define PRESET_MS(value) .number = (value)
#define PRESET_SIZE(value) .number = (value)
#define PRESET_STR(value) .text = (value)
#define PRESET_ENUM(value) .text = (value)
#define PRESET_LIST(value) .text = (value)
#define PRESET_APPS(value) .text = (value)
#define LIVE_LIVE true
#define LIVE_FIXED false

const struct option option_table[] = {
#define OPTION(field, flag_name, kind, preset, low, high, place, change, argument_name, help_text)           \
    {.flag = flag_name,                                                                                      \
     .type = OPTION_##kind,                                                                                  \
     .offset = offsetof(struct config, field),                                                               \
     PRESET_##kind(preset),                                                                                  \
     .min = low,                                                                                             \
     .max = high,                                                                                            \
     .where = WHERE_##place,                                                                                 \
     .live = LIVE_##change,                                                                                  \
     .argument = argument_name,                                                                              \
     .help = help_text},
#include "common/options.def"
#undef OPTION
};

const size_t option_count = sizeof option_table / sizeof option_table[0];

unsigned option_index(const struct option *option)
{
    return (unsigned)(option - option_table);
}

bool option_applies(const struct option *option, enum side side)
{
    return (option->where & (WHERE_GLOBAL | (side == SIDE_SERVER ? WHERE_SERVER : WHERE_CLIENT))) != 0;
}

const struct option *option_find(const char *name, size_t len, unsigned where)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if ((option->where & where) != 0 && strlen(option->flag) == len &&
            memcmp(option->flag, name, len) == 0)
            return option;
    }
    return NULL;
}

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned text_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    enum { LONGEST = 64 };
    unsigned rows[3][LONGEST + 1];
    if (a_len > LONGEST || b_len > LONGEST)
        return LONGEST;
    for (unsigned j = 0; j <= b_len; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= a_len; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (unsigned j = 1; j <= b_len; j++) {
            unsigned cost = a[i - 1] == b[j - 1] ? 0 : 1;
            row[j] = smaller(smaller(above[j] + 1, row[j - 1] + 1), above[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = smaller(row[j], above2[j - 2] + 1);
        }
    }
    return rows[a_len % 3][b_len];
}

bool text_is_near(unsigned distance, size_t len)
{
    return distance <= (len < 4 ? 1u : len < 9 ? 2u : 3u) && distance < len;
}

const struct option *option_suggest(const char *name, size_t len, unsigned where)
{
    const struct option *best = NULL;
    unsigned best_distance = ~0u;
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if ((option->where & where) == 0)
            continue;
        size_t flag_len = strlen(option->flag);
        unsigned distance = text_distance(name, len, option->flag, flag_len);
        /* "port-max" is far from "port-range-max" by letters, but plainly the beginning of a longer name is
         * not. */
        if (len >= 4 && flag_len > len && memcmp(option->flag, name, len) == 0)
            distance = 1;
        if (distance < best_distance) {
            best = option;
            best_distance = distance;
        }
    }
    return best != NULL && text_is_near(best_distance, len) ? best : NULL;
}

/* The words of "(a|b) help", cut out of the table once and kept for the life of the process. */
enum { CHOICE_POOL = 1024, CHOICES_MAX = 64 };
static char choice_pool[CHOICE_POOL];
static struct {
    const struct option *option;
    const char *word;
} choices[CHOICES_MAX];
static size_t choice_count;

static void choices_fill(void)
{
    size_t used = 0;
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (option->type != OPTION_ENUM || option->help[0] != '(')
            continue;
        for (const char *p = option->help; *p == '(' || *p == '|';) {
            p++;
            size_t len = strcspn(p, "|)");
            if (choice_count == CHOICES_MAX || used + len + 1 > CHOICE_POOL)
                abort(); /* the table outgrew the pool: found by the first unit test */
            memcpy(choice_pool + used, p, len);
            choices[choice_count].option = option;
            choices[choice_count++].word = choice_pool + used;
            used += len + 1;
            p += len;
        }
    }
}

const char *option_choice(const struct option *option, size_t n)
{
    if (choice_count == 0)
        choices_fill();
    for (size_t i = 0; i < choice_count; i++)
        if (choices[i].option == option && n-- == 0)
            return choices[i].word;
    return NULL;
}

const char *option_help_text(const struct option *option)
{
    const char *text = option->help;
    if (option->type == OPTION_ENUM && text[0] == '(') {
        text += strcspn(text, ")");
        text += strspn(text, ") ");
    }
    return text;
}
