/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wormhole check-config`: judges a configuration without starting anything and prints what would be in
 * force, as YAML that can be used again. Never prints a password.
 */
#include <stdio.h>
#include <string.h>

#include "common/json_write.h"
#include "supervisor/cli/args.h"
#include "supervisor/config/config_loader.h"

static const void *field(const struct option *option, const struct config *config)
{
    return (const char *)config + option->offset;
}

static void print_quoted(const char *text)
{
    struct json_writer json;
    json_to_file(&json, stdout, false);
    json_string(&json, text); /* a JSON string is a YAML double-quoted one */
}

/* Where the value is from, as a comment. */
static void print_origin(const struct config *config, const struct option *option)
{
    const struct origin *origin = config_origin(config, option);
    if (origin->kind == ORIGIN_FILE)
        (void)printf("  # line %u\n", origin->line);
    else
        (void)printf("%s\n", origin->kind == ORIGIN_FLAG          ? "  # given here"
                             : origin->kind == ORIGIN_ENVIRONMENT ? "  # from the environment"
                                                                  : "");
}

static void print_yaml_list(const struct config *config, const struct option *option)
{
    const struct config_list *list = field(option, config);
    const struct config_apps *apps = field(option, config);
    bool is_apps = option->type == OPTION_APPS;
    size_t n = is_apps ? apps->n_items : list->n_items;
    (void)printf("%s:%s", option->flag, n == 0 ? " []" : "");
    print_origin(config, option);
    for (size_t i = 0; i < n; i++) {
        (void)printf("  - ");
        if (!is_apps) {
            print_quoted(list->items[i]);
            (void)putchar('\n');
            continue;
        }
        bool v6 = strchr(apps->items[i].host, ':') != NULL;
        (void)printf("name: \"%s\"\n    address: \"%s%s%s:%u\"\n", apps->items[i].name, v6 ? "[" : "",
                     apps->items[i].host, v6 ? "]" : "", apps->items[i].port);
    }
}

static void print_yaml(const struct config *config)
{
    char text[1200];
    (void)printf("# Effective configuration of `wormhole %s`",
                 config->side == SIDE_SERVER ? "listen" : "join");
    (void)printf("%s%s\n", config->config_file != NULL ? ", from " : "; no file was read",
                 config->config_file != NULL ? config->config_file : "");
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (!option_applies(option, config->side))
            continue;
        if (option->type == OPTION_LIST || option->type == OPTION_APPS) {
            print_yaml_list(config, option);
            continue;
        }
        option_format(option, config, text, sizeof text);
        if (option->type == OPTION_STR && text[0] == '\0') {
            (void)printf(strcmp(option->flag, "proxy") == 0 ? "proxy: \"none\"\n" : "# %s: not set\n",
                         option->flag);
            continue;
        }
        (void)printf("%s: ", option->flag);
        if (option->type == OPTION_STR)
            print_quoted(text);
        else
            (void)fputs(text, stdout);
        print_origin(config, option);
    }
}

static void json_apps(struct json_writer *json, const struct config_apps *apps)
{
    json_begin_array(json);
    for (size_t i = 0; i < apps->n_items; i++) {
        char address[300];
        bool v6 = strchr(apps->items[i].host, ':') != NULL;
        (void)snprintf(address, sizeof address, "%s%s%s:%u", v6 ? "[" : "", apps->items[i].host,
                       v6 ? "]" : "", apps->items[i].port);
        json_begin_object(json);
        json_put_string(json, "name", apps->items[i].name);
        json_put_string(json, "address", address);
        json_end_object(json);
    }
    json_end_array(json);
}

static void json_list(struct json_writer *json, const struct config_list *list)
{
    json_begin_array(json);
    for (size_t i = 0; i < list->n_items; i++)
        json_string(json, list->items[i]);
    json_end_array(json);
}

static void print_json(const struct config *config)
{
    struct json_writer json;
    char text[1200];
    json_to_file(&json, stdout, true);
    json_begin_object(&json);
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (!option_applies(option, config->side))
            continue;
        option_format(option, config, text, sizeof text);
        json_key(&json, option->flag);
        switch (option->type) {
        case OPTION_BOOL: json_bool(&json, *(const bool *)field(option, config)); break;
        case OPTION_INT: json_int(&json, *(const int64_t *)field(option, config)); break;
        case OPTION_SIZE: json_uint(&json, *(const uint64_t *)field(option, config)); break;
        case OPTION_MS:
        case OPTION_ENUM: json_string(&json, text); break;
        case OPTION_STR: json_string(&json, text[0] != '\0' ? text : NULL); break;
        case OPTION_LIST: json_list(&json, field(option, config)); break;
        case OPTION_APPS: json_apps(&json, field(option, config)); break;
        }
    }
    json_end_object(&json);
    (void)json_finish(&json);
}

/* Which side a file is for when nobody says: the one as which it loads, the server first. */
static enum status load_either(const struct args *args, struct config **config, struct config_error *error,
                               int *exit_code)
{
    struct config_error client_error;
    int client_code = EXIT_FAILED;
    if (config_load(SIDE_SERVER, args->config_file, args->n_options, args->options, config, error,
                    exit_code) == OK)
        return OK;
    if (config_load(SIDE_CLIENT, args->config_file, args->n_options, args->options, config, &client_error,
                    &client_code) == OK)
        return OK;
    const char *slash = args->config_file != NULL ? strrchr(args->config_file, '/') : NULL;
    const char *base = slash != NULL ? slash + 1 : args->config_file;
    if (base != NULL && strncmp(base, "client", 6) == 0) {
        *error = client_error;
        *exit_code = client_code;
    }
    return ERR_CONFIG;
}

static int check_run(const struct args *args)
{
    struct config *config = NULL;
    struct config_error error;
    int exit_code = EXIT_FAILED;
    const char *side = args->n_positional > 0 ? args->positional[0] : NULL;
    const char *output = args_value(args, "output");
    enum status st = OK;
    if (side != NULL && strcmp(side, "listen") != 0 && strcmp(side, "join") != 0) {
        cli_error("say `wormhole check-config listen` or `wormhole check-config join`, not \"%.60s\"", side);
        return EXIT_USAGE_ERROR;
    }
    if (side == NULL)
        st = load_either(args, &config, &error, &exit_code);
    else
        st = config_load(strcmp(side, "listen") == 0 ? SIDE_SERVER : SIDE_CLIENT, args->config_file,
                         args->n_options, args->options, &config, &error, &exit_code);
    if (st != OK) {
        cli_error("%s", error.text);
        return exit_code;
    }
    if (args_has(args, "quiet"))
        ;
    else if (output != NULL && strcmp(output, "json") == 0)
        print_json(config);
    else
        print_yaml(config);
    config_free(config);
    return EXIT_DONE;
}

static const struct cli_option options[] = {
    {"output", "FORMAT", "(yaml|json) yaml, the default, can be used as a configuration file again",
     "yaml|json", COMPLETE_WORDS},
    {"quiet", NULL, "print nothing when all is well", NULL, COMPLETE_NOTHING},
    {NULL, NULL, NULL, NULL, COMPLETE_NOTHING},
};

static const struct cli_example examples[] = {
    {"wormhole check-config listen", "what `wormhole listen` would run with"},
    {"wormhole check-config join --config ./client.yaml --quiet && echo fine", "for scripts"},
    {"wormhole check-config listen --port 443 --output json",
     "the same options as listen and join, checked together"},
    {NULL, NULL},
};

const struct cli_command cli_check_config = {
    .name = "check-config",
    .summary = "checks a configuration and prints what would be in force",
    .description = "Reads the configuration as listen or join would, with the same options, and prints the "
                   "effective one: every "
                   "option, its value, and where it comes from. Exits with 0, or with 78 (64 for an option "
                   "given here) and one "
                   "line that says file, line, column and what is wrong.\n\n"
                   "Without listen or join the file is tried as a server's and then as a client's. A proxy's "
                   "password is not "
                   "printed.",
    .usage = "[listen|join] [OPTION…]",
    .argument = "listen|join",
    .max_arguments = 1,
    .complete = COMPLETE_WORDS,
    .options = options,
    .takes = WHERE_BOTH,
    .examples = examples,
    .see_also = "wormhole.yaml(5), wormhole-listen(8), wormhole-join(8)",
    .section = 1,
    .run = check_run,
};
