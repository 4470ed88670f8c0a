/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables as JSON, for tests that compare what was made of them.
 */
#include "common/json_write.h"
#include "packaging/generate/generate.h"

static void put_words(struct json_writer *json, const char *words)
{
    json_key(json, "words");
    json_string(json, words != NULL && words[0] != '\0' ? words : NULL);
}

static void own_option(void *arg, const struct cli_option *option)
{
    struct json_writer *json = arg;
    json_begin_object(json);
    json_put_string(json, "flag", option->flag);
    json_put_string(json, "argument", option->argument);
    put_words(json, option->words);
    json_end_object(json);
}

static void table_option(struct json_writer *json, const struct option *option)
{
    static const char *const types[] = {"bool", "int", "ms", "size", "str", "enum", "list", "apps"};
    char words[200], value[320];
    (void)table_completion(option, words, sizeof words);
    option_format_default(option, value, sizeof value);
    json_begin_object(json);
    json_put_string(json, "flag", option->flag);
    json_put_string(json, "type", types[option->type]);
    json_put_string(json, "argument", option->argument);
    json_put_string(json, "default", value);
    put_words(json, option->type == OPTION_ENUM ? words : NULL);
    json_put_bool(json, "live", option->live);
    json_key(json, "where");
    json_begin_array(json);
    if ((option->where & WHERE_GLOBAL) != 0)
        json_string(json, "global");
    if ((option->where & WHERE_SERVER) != 0)
        json_string(json, "server");
    if ((option->where & WHERE_CLIENT) != 0)
        json_string(json, "client");
    json_end_array(json);
    json_end_object(json);
}

static void command(struct json_writer *json, const struct cli_command *c)
{
    json_begin_object(json);
    json_put_string(json, "name", c->name);
    json_put_uint(json, "section", c->section);
    json_key(json, "takes");
    json_string(json, c->takes == WHERE_BOTH     ? "both"
                      : c->takes == WHERE_SERVER ? "server"
                      : c->takes == WHERE_CLIENT ? "client"
                                                 : NULL);
    json_key(json, "verbs");
    json_begin_array(json);
    for (const struct cli_verb *v = c->verbs; v != NULL && v->name != NULL; v++)
        json_string(json, v->name);
    json_end_array(json);
    json_key(json, "options");
    json_begin_array(json);
    each_own_option(c, own_option, json);
    json_end_array(json);
    json_end_object(json);
}

void table_json(FILE *out)
{
    struct json_writer json;
    json_to_file(&json, out, true);
    json_begin_object(&json);
    json_put_string(&json, "version", WORMHOLE_VERSION);
    json_key(&json, "options");
    json_begin_array(&json);
    for (size_t i = 0; i < option_count; i++)
        table_option(&json, &option_table[i]);
    json_end_array(&json);
    json_key(&json, "commands");
    json_begin_array(&json);
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        command(&json, cli_commands[i]);
    json_end_array(&json);
    json_end_object(&json);
    (void)json_finish(&json);
}
