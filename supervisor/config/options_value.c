/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of options: from text into a field of struct config and back. Knows the types, not the meanings:
 * meanings are options_check.c. A failed read leaves the field as it was.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/config/expose.h"
#include "supervisor/config/options.h"
#include "supervisor/config/url.h"

#define FIELD(type, option, config) ((type *)(void *)((char *)(config) + (option)->offset))
#define FIELD_CONST(type, option, config)                                                                    \
    ((const type *)(const void *)((const char *)(config) + (option)->offset))

struct unit {
    const char *name;
    int64_t factor;
};
/* Largest first: writing takes the first that divides. */
static const struct unit time_units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0}};
static const struct unit size_units[] = {{"G", 1 << 30}, {"M", 1 << 20}, {"k", 1 << 10}, {NULL, 0}};

static enum status wrong(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
static enum status wrong(char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, OPTION_WHY, format, args);
    va_end(args);
    return ERR_CONFIG;
}

/* Decimal digits only, no sign, no blanks. False: none, or more than 63 bits. */
static bool digits_parse(const char *text, size_t *used, int64_t *value)
{
    int64_t v = 0;
    size_t i = 0;
    for (; text[i] >= '0' && text[i] <= '9'; i++) {
        int digit = text[i] - '0';
        if (v > (INT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *used = i;
    *value = v;
    return i > 0;
}

static void unit_format(int64_t value, const struct unit *units, char *out, size_t cap)
{
    for (const struct unit *u = units; u->name != NULL && value != 0; u++)
        if (value % u->factor == 0) {
            (void)snprintf(out, cap, "%" PRId64 "%s", value / u->factor, u->name);
            return;
        }
    (void)snprintf(out, cap, "%" PRId64, value);
}

static void number_format(const struct option *option, int64_t value, char *out, size_t cap)
{
    if (option->type == OPTION_MS)
        unit_format(value, time_units, out, cap);
    else if (option->type == OPTION_SIZE)
        unit_format(value, size_units, out, cap);
    else
        (void)snprintf(out, cap, "%" PRId64, value);
}

static const struct unit *unit_find(const struct unit *units, const char *name)
{
    for (; units->name != NULL; units++)
        if (strcmp(units->name, name) == 0)
            return units;
    return NULL;
}

static enum status number_parse(const struct option *option, const char *text, int64_t *out, char *why)
{
    size_t used = 0;
    int64_t value = 0;
    bool number = digits_parse(text, &used, &value);
    const char *rest = text + used;
    const struct unit *unit = NULL;
    switch (option->type) {
    case OPTION_MS:
        unit = unit_find(time_units, rest);
        if (!number || (unit == NULL && !(value == 0 && *rest == '\0')))
            return wrong(why, "must be a time with its unit such as 500ms, 25s, 10m or 24h, not \"%.60s\"",
                         text);
        break;
    case OPTION_SIZE:
        unit = unit_find(size_units, rest);
        if (!number || (unit == NULL && *rest != '\0'))
            return wrong(why, "must be a number of bytes such as 32768, 32k or 8M, not \"%.60s\"", text);
        break;
    default:
        if (!number || *rest != '\0')
            return wrong(why, "must be a whole number, not \"%.60s\"", text);
    }
    char low[32], high[32];
    number_format(option, option->min, low, sizeof low);
    number_format(option, option->max, high, sizeof high);
    if ((unit != NULL && value > INT64_MAX / unit->factor) ||
        (unit != NULL ? value * unit->factor : value) < option->min ||
        (unit != NULL ? value * unit->factor : value) > option->max)
        return wrong(why, "must be between %s and %s, not %.60s", low, high, text);
    *out = unit != NULL ? value * unit->factor : value;
    return OK;
}

static enum status bool_parse(const char *text, bool *out, char *why)
{
    static const char *const words[][2] = {{"true", "false"}, {"yes", "no"}, {"on", "off"}, {"1", "0"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        for (int no = 0; no < 2; no++)
            if (strcmp(text, words[i][no]) == 0) {
                *out = no == 0;
                return OK;
            }
    return wrong(why, "must be true or false, not \"%.60s\"", text);
}

static enum status choice_parse(const struct option *option, const char *text, const char **out, char *why)
{
    char list[128] = "";
    const char *word;
    for (size_t i = 0; (word = option_choice(option, i)) != NULL; i++) {
        if (strcmp(word, text) == 0) {
            *out = word;
            return OK;
        }
        size_t used = strlen(list);
        (void)snprintf(list + used, sizeof list - used, "%s%s", i == 0 ? "" : ", ", word);
    }
    return wrong(why, "must be one of %s, not \"%.60s\"", list, text);
}

/* Length, characters and meaning of a text. fixed: at least cap bytes, gets the text to store. */
static enum status text_check(const struct option *option, const char *text, char *fixed, size_t cap,
                              char *why)
{
    size_t len = strlen(text);
    if ((int64_t)len > option->max)
        return wrong(why, "is longer than %" PRId64 " bytes", option->max);
    if (len == 0)
        return wrong(why, "must not be empty");
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return wrong(why, "must not contain control characters");
    (void)snprintf(fixed, cap, "%s", text);
    enum status st = option_check_text(option, text, fixed, cap, why);
    if (st == OK && (int64_t)strlen(fixed) > option->max)
        return wrong(why, "becomes longer than %" PRId64 " bytes as a full path: %.60s…", option->max, fixed);
    return st;
}

static enum status list_append(struct config_list *list, const char *text, char *why)
{
    for (size_t i = 0; i < list->n_items; i++)
        if (strcmp(list->items[i], text) == 0)
            return wrong(why, "\"%.100s\" is given twice", text);
    char **items = reallocarray(list->items, list->n_items + 1, sizeof *items);
    if (items == NULL)
        return wrong(why, "out of memory");
    list->items = items;
    items[list->n_items] = strdup(text);
    if (items[list->n_items] == NULL)
        return wrong(why, "out of memory");
    list->n_items++;
    return OK;
}

static enum status apps_append(struct config_apps *apps, const char *text, char *why)
{
    struct config_app app;
    if (expose_parse(text, &app, why, OPTION_WHY) != OK)
        return ERR_CONFIG;
    return expose_append(apps, &app, why, OPTION_WHY);
}

enum status option_set(const struct option *option, struct config *config, const char *text, char *why)
{
    char fixed[1200]; /* more than any option's max */
    int64_t number = 0;
    enum status st = OK;
    switch (option->type) {
    case OPTION_BOOL: return bool_parse(text, FIELD(bool, option, config), why);
    case OPTION_INT:
        if ((st = number_parse(option, text, &number, why)) != OK ||
            (st = option_check_text(option, text, fixed, sizeof fixed, why)) != OK)
            return st;
        *FIELD(int64_t, option, config) = number;
        return OK;
    case OPTION_MS:
    case OPTION_SIZE:
        if ((st = number_parse(option, text, &number, why)) == OK)
            *FIELD(uint64_t, option, config) = (uint64_t)number;
        return st;
    case OPTION_ENUM: return choice_parse(option, text, FIELD(const char *, option, config), why);
    case OPTION_LIST:
        if ((st = text_check(option, text, fixed, sizeof fixed, why)) != OK)
            return st;
        return list_append(FIELD(struct config_list, option, config), fixed, why);
    case OPTION_APPS: return apps_append(FIELD(struct config_apps, option, config), text, why);
    case OPTION_STR: break;
    }
    if ((st = text_check(option, text, fixed, sizeof fixed, why)) != OK)
        return st;
    char *copy = strdup(fixed);
    if (copy == NULL)
        return wrong(why, "out of memory");
    free(*FIELD(char *, option, config));
    *FIELD(char *, option, config) = copy;
    return OK;
}

void option_clear_value(const struct option *option, struct config *config)
{
    if (option->type == OPTION_STR) {
        char **text = FIELD(char *, option, config);
        if (*text != NULL)
            explicit_bzero(*text, strlen(*text)); /* a proxy's password may be in it */
        free(*text);
        *text = NULL;
    } else if (option->type == OPTION_LIST) {
        struct config_list *list = FIELD(struct config_list, option, config);
        for (size_t i = 0; i < list->n_items; i++)
            free(list->items[i]);
        free(list->items);
        *list = (struct config_list){NULL, 0};
    } else if (option->type == OPTION_APPS) {
        struct config_apps *apps = FIELD(struct config_apps, option, config);
        free(apps->items);
        *apps = (struct config_apps){NULL, 0};
    }
}

enum status option_reset(const struct option *option, struct config *config)
{
    option_clear_value(option, config);
    switch (option->type) {
    case OPTION_BOOL: *FIELD(bool, option, config) = option->number != 0; break;
    case OPTION_INT: *FIELD(int64_t, option, config) = option->number; break;
    case OPTION_MS:
    case OPTION_SIZE: *FIELD(uint64_t, option, config) = (uint64_t)option->number; break;
    case OPTION_ENUM: {
        char why[OPTION_WHY];
        return choice_parse(option, option->text, FIELD(const char *, option, config), why);
    }
    case OPTION_STR:
        if (option->text != NULL && (*FIELD(char *, option, config) = strdup(option->text)) == NULL)
            return ERR_NOMEM;
        break;
    case OPTION_LIST:
    case OPTION_APPS: break;
    }
    return OK;
}

static bool text_equal(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool option_equal(const struct option *option, const struct config *a, const struct config *b)
{
    switch (option->type) {
    case OPTION_BOOL: return *FIELD_CONST(bool, option, a) == *FIELD_CONST(bool, option, b);
    case OPTION_INT: return *FIELD_CONST(int64_t, option, a) == *FIELD_CONST(int64_t, option, b);
    case OPTION_MS:
    case OPTION_SIZE: return *FIELD_CONST(uint64_t, option, a) == *FIELD_CONST(uint64_t, option, b);
    case OPTION_ENUM:
    case OPTION_STR: return text_equal(*FIELD_CONST(char *, option, a), *FIELD_CONST(char *, option, b));
    case OPTION_LIST: {
        const struct config_list *x = FIELD_CONST(struct config_list, option, a);
        const struct config_list *y = FIELD_CONST(struct config_list, option, b);
        bool same = x->n_items == y->n_items;
        for (size_t i = 0; same && i < x->n_items; i++)
            same = strcmp(x->items[i], y->items[i]) == 0;
        return same;
    }
    case OPTION_APPS: {
        const struct config_apps *x = FIELD_CONST(struct config_apps, option, a);
        const struct config_apps *y = FIELD_CONST(struct config_apps, option, b);
        bool same = x->n_items == y->n_items;
        for (size_t i = 0; same && i < x->n_items; i++)
            same = strcmp(x->items[i].name, y->items[i].name) == 0 && x->items[i].port == y->items[i].port &&
                   strcmp(x->items[i].host, y->items[i].host) == 0;
        return same;
    }
    }
    return false;
}

void option_format(const struct option *option, const struct config *config, char *out, size_t cap)
{
    const char *text = NULL;
    switch (option->type) {
    case OPTION_BOOL: text = *FIELD_CONST(bool, option, config) ? "true" : "false"; break;
    case OPTION_INT: number_format(option, *FIELD_CONST(int64_t, option, config), out, cap); return;
    case OPTION_MS:
    case OPTION_SIZE:
        number_format(option, (int64_t)*FIELD_CONST(uint64_t, option, config), out, cap);
        return;
    case OPTION_ENUM:
    case OPTION_STR: text = *FIELD_CONST(char *, option, config); break;
    case OPTION_LIST:
    case OPTION_APPS: break;
    }
    if (text != NULL && strcmp(option->flag, "proxy") == 0)
        url_hide_password(text, out, cap);
    else
        (void)snprintf(out, cap, "%s", text != NULL ? text : "");
}

void option_format_default(const struct option *option, char *out, size_t cap)
{
    if (option->type == OPTION_BOOL)
        (void)snprintf(out, cap, "%s", option->number != 0 ? "true" : "false");
    else if (option->type == OPTION_INT || option->type == OPTION_MS || option->type == OPTION_SIZE)
        number_format(option, option->number, out, cap);
    else
        (void)snprintf(out, cap, "%s", option->text != NULL ? option->text : "");
}
