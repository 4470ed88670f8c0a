/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sorting of the command line's words. Options may stand before or after the command as long as they are
 * global;
 * `--` ends them. Must not print: the caller does.
 */
#include "supervisor/cli/args.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum status wrong(struct args_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static enum status wrong(struct args_error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return ERR_CONFIG;
}

/* One `--name` or `--name=value` word and what may follow it. */
struct word {
    const char *name;
    size_t len;
    const char *value; /* after "="; NULL */
};

static bool word_is(const struct word *word, const char *flag)
{
    return strlen(flag) == word->len && memcmp(flag, word->name, word->len) == 0;
}

static const struct cli_option *own_find(const struct cli_option *options, const struct word *word)
{
    for (const struct cli_option *o = options; o != NULL && o->flag != NULL; o++)
        if (word_is(word, o->flag))
            return o;
    return NULL;
}

static const struct cli_option *command_option(const struct cli_command *command, const struct word *word)
{
    const struct cli_option *option = own_find(command->options, word);
    if (option == NULL && command->shows)
        option = own_find(cli_output_options, word);
    if (option == NULL && command->asks_client)
        option = own_find(cli_client_options, word);
    return option;
}

static void suggest(const struct cli_option *options, const struct word *word, const char **best,
                    unsigned *distance)
{
    for (const struct cli_option *o = options; o != NULL && o->flag != NULL; o++) {
        unsigned d = text_distance(word->name, word->len, o->flag, strlen(o->flag));
        if (d < *distance) {
            *distance = d;
            *best = o->flag;
        }
    }
}

static enum status unknown_option(const struct args *args, const struct word *word, struct args_error *error)
{
    int len = (int)(word->len > 60 ? 60 : word->len);
    const struct cli_command *command = args->command;
    const struct option *elsewhere = option_find(word->name, word->len, WHERE_ANY);
    if (command == NULL && elsewhere != NULL)
        return wrong(error, "--%s belongs after the command: wormhole %s --%s …", elsewhere->flag,
                     (elsewhere->where & WHERE_SERVER) != 0 ? "listen" : "join", elsewhere->flag);
    if (elsewhere != NULL)
        return wrong(error, "--%s is an option of `wormhole %s`, not of `wormhole %s`", elsewhere->flag,
                     (elsewhere->where & WHERE_SERVER) != 0 ? "listen" : "join", command->name);
    const struct option *near =
        option_suggest(word->name, word->len, WHERE_GLOBAL | (command != NULL ? command->takes : 0));
    const char *best = near != NULL ? near->flag : NULL;
    unsigned distance =
        near != NULL ? text_distance(word->name, word->len, near->flag, strlen(near->flag)) : 99;
    if (command != NULL) {
        suggest(command->options, word, &best, &distance);
        if (command->shows)
            suggest(cli_output_options, word, &best, &distance);
        if (command->asks_client)
            suggest(cli_client_options, word, &best, &distance);
    }
    bool say = best != NULL && text_is_near(distance, word->len);
    return wrong(error, "unknown option --%.*s%s%s%s", len, word->name, say ? "; did you mean --" : "",
                 say ? best : "", say ? "?" : "");
}

static bool words_have(const char *words, const char *value)
{
    size_t len = strlen(value);
    for (const char *p = words; *p != '\0';) {
        size_t word = strcspn(p, "|");
        if (word == len && memcmp(p, value, len) == 0)
            return true;
        p += word;
        p += *p == '|' ? 1 : 0;
    }
    return false;
}

static enum status take_own(struct args *args, const struct cli_option *option, const char *value,
                            struct args_error *error)
{
    if (option->words != NULL && !words_have(option->words, value))
        return wrong(error, "--%s: must be one of %s, not \"%.60s\"", option->flag, option->words, value);
    if (option->argument != NULL && value[0] == '\0')
        return wrong(error, "--%s: must not be empty", option->flag);
    if (args->n_own == ARGS_OWN_MAX)
        return wrong(error, "too many options");
    args->own[args->n_own].option = option;
    args->own[args->n_own++].value = value;
    return OK;
}

/* The value of an option that needs one: after "=", or the next word. */
static const char *value_take(const struct word *word, int argc, char **argv, int *i)
{
    if (word->value != NULL)
        return word->value;
    return *i + 1 < argc ? argv[++*i] : NULL;
}

/* An option of the table: its words go to config_load; global ones are judged at once as well. */
static enum status take_table(struct args *args, const struct option *option, const struct word *word,
                              bool no, int argc, char **argv, int *i, struct args_error *error)
{
    char why[OPTION_WHY];
    args->options[args->n_options++] = argv[*i];
    const char *value = word->value;
    if (option->type == OPTION_BOOL)
        value = value != NULL ? value : no ? "false" : "true";
    else if ((value = value_take(word, argc, argv, i)) == NULL)
        return wrong(error, "--%s: needs a value: --%s %s", option->flag, option->flag, option->argument);
    else if (word->value == NULL)
        args->options[args->n_options++] = argv[*i];
    if (option->where == WHERE_GLOBAL && option_set(option, args->globals, value, why) != OK)
        return wrong(error, "--%s: %s", option->flag, why);
    return OK;
}

static enum status take_option(struct args *args, int argc, char **argv, int *i, struct args_error *error)
{
    struct word word = {.name = argv[*i] + 2};
    word.len = strcspn(word.name, "=");
    word.value = word.name[word.len] == '=' ? word.name + word.len + 1 : NULL;
    const struct cli_command *command = args->command;
    if (word_is(&word, "help")) {
        args->help = true;
        return OK;
    }
    if (word_is(&word, "version") && command == NULL) {
        args->version = true;
        return OK;
    }
    if (word_is(&word, "config")) {
        args->config_file = value_take(&word, argc, argv, i);
        return args->config_file != NULL && args->config_file[0] != '\0'
                   ? OK
                   : wrong(error, "--config: needs a value: --config FILE");
    }
    const struct cli_option *own = command != NULL ? command_option(command, &word) : NULL;
    if (own != NULL && own->argument == NULL)
        return word.value == NULL ? take_own(args, own, "", error)
                                  : wrong(error, "--%s: takes no value", own->flag);
    if (own != NULL) {
        const char *value = value_take(&word, argc, argv, i);
        return value != NULL
                   ? take_own(args, own, value, error)
                   : wrong(error, "--%s: needs a value: --%s %s", own->flag, own->flag, own->argument);
    }
    unsigned where = WHERE_GLOBAL | (command != NULL ? command->takes : 0);
    const struct option *option = option_find(word.name, word.len, where);
    bool no = false;
    if (option == NULL && word.len > 3 && memcmp(word.name, "no-", 3) == 0 && word.value == NULL) {
        option = option_find(word.name + 3, word.len - 3, where);
        no = option != NULL && option->type == OPTION_BOOL;
        option = no ? option : NULL;
    }
    if (option != NULL)
        return take_table(args, option, &word, no, argc, argv, i, error);
    return unknown_option(args, &word, error);
}

static enum status take_command(struct args *args, const char *word, struct args_error *error)
{
    args->command = cli_command_find(word);
    if (args->command != NULL)
        return OK;
    const char *best = NULL;
    unsigned distance = 99;
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        unsigned d = text_distance(word, strlen(word), cli_commands[i]->name, strlen(cli_commands[i]->name));
        if (d < distance) {
            distance = d;
            best = cli_commands[i]->name;
        }
    }
    bool say = best != NULL && text_is_near(distance, strlen(word));
    return wrong(error, "unknown command \"%.60s\"%s%s%s", word, say ? "; did you mean \"" : "",
                 say ? best : "", say ? "\"?" : "");
}

/* "list, accept, decline". */
static void verbs_text(const struct cli_command *command, char *list, size_t cap)
{
    size_t used = 0;
    list[0] = '\0';
    for (const struct cli_verb *v = command->verbs; v->name != NULL && used < cap; v++)
        used += (size_t)snprintf(list + used, cap - used, "%s%s", used > 0 ? ", " : "", v->name);
}

static enum status take_verb(struct args *args, const char *word, struct args_error *error)
{
    char list[200];
    const char *best = NULL;
    unsigned distance = 99;
    for (const struct cli_verb *v = args->command->verbs; v->name != NULL; v++) {
        if (strcmp(v->name, word) == 0) {
            args->verb = v;
            return OK;
        }
        unsigned d = text_distance(word, strlen(word), v->name, strlen(v->name));
        if (d < distance) {
            distance = d;
            best = v->name;
        }
    }
    verbs_text(args->command, list, sizeof list);
    if (best != NULL && text_is_near(distance, strlen(word)))
        return wrong(error, "unknown command \"%s %.60s\"; did you mean \"%s\"?", args->command->name, word,
                     best);
    return wrong(error, "unknown command \"%s %.60s\"; %s has: %s", args->command->name, word,
                 args->command->name, list);
}

static enum status take_word(struct args *args, char *word, struct args_error *error)
{
    if (args->command == NULL)
        return take_command(args, word, error);
    if (args->command->verbs != NULL && args->verb == NULL)
        return take_verb(args, word, error);
    args->positional[args->n_positional++] = word;
    return OK;
}

/* Were as many arguments given as the command or verb takes? */
static enum status check_count(const struct args *args, struct args_error *error)
{
    const struct cli_command *command = args->command;
    const char *what = args->verb != NULL ? args->verb->argument : command->argument;
    int most = args->verb == NULL ? (int)command->max_arguments
               : what == NULL     ? 0
               : args->verb->many ? 1000
                                  : 1;
    int least = args->verb == NULL ? (int)command->min_arguments : what == NULL ? 0 : 1;
    char name[100], list[200];
    (void)snprintf(name, sizeof name, "%s%s%s", command->name, args->verb != NULL ? " " : "",
                   args->verb != NULL ? args->verb->name : "");
    if (command->verbs != NULL && args->verb == NULL) {
        verbs_text(command, list, sizeof list);
        return wrong(error, "`wormhole %s` needs to be told what to do: %s", name, list);
    }
    if (args->n_positional < least)
        return wrong(error, "`wormhole %s` needs an argument: wormhole %s %s", name, name, what);
    if (args->n_positional > most)
        return wrong(error, "unexpected argument \"%.80s\"", args->positional[most]);
    return OK;
}

static struct config *globals_new(void)
{
    struct config *config = calloc(1, sizeof *config);
    for (size_t i = 0; config != NULL && i < option_count; i++)
        if (option_table[i].where == WHERE_GLOBAL && option_reset(&option_table[i], config) != OK) {
            config_free(config);
            config = NULL;
        }
    return config;
}

enum status args_parse(struct args *args, int argc, char **argv, struct args_error *error)
{
    memset(args, 0, sizeof *args);
    args->options = calloc((size_t)argc + 5, sizeof *args->options); /* probe adds four */
    args->positional = calloc((size_t)argc + 1, sizeof *args->positional);
    args->globals = globals_new();
    if (args->options == NULL || args->positional == NULL || args->globals == NULL)
        return wrong(error, "out of memory");
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        enum status st = OK;
        if (!only_words && strcmp(argv[i], "--") == 0)
            only_words = true;
        else if (!only_words && strcmp(argv[i], "-h") == 0)
            args->help = true;
        else if (!only_words && strncmp(argv[i], "--", 2) == 0)
            st = take_option(args, argc, argv, &i, error);
        else if (!only_words && argv[i][0] == '-' && argv[i][1] != '\0')
            st = wrong(error, "unknown option %.60s; options are written with two dashes", argv[i]);
        else
            st = take_word(args, argv[i], error);
        if (st != OK)
            return st;
    }
    return args->command == NULL || args->help ? OK : check_count(args, error);
}

void args_clear(struct args *args)
{
    free(args->options);
    free(args->positional);
    config_free(args->globals);
    memset(args, 0, sizeof *args);
}

const char *args_value(const struct args *args, const char *flag)
{
    for (size_t i = args->n_own; i > 0; i--)
        if (strcmp(args->own[i - 1].option->flag, flag) == 0)
            return args->own[i - 1].value;
    return NULL;
}

bool args_has(const struct args *args, const char *flag)
{
    return args_value(args, flag) != NULL;
}
