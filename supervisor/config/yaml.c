/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file: one YAML mapping whose keys are the options' names. Reads libyaml's events and
 * refuses what a configuration never needs (anchors, aliases, tags, several documents). Every error names
 * file, line and column, both from 1. Values are judged in options_value.c.
 */
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "supervisor/config/config_loader.h"
#include "supervisor/config/expose.h"

struct reader {
    struct config_loader *loader;
    yaml_parser_t parser;
    yaml_event_t event; /* the current one; valid while has_event */
    bool has_event;
};

static struct origin at(const yaml_mark_t *mark)
{
    return (struct origin){
        .kind = ORIGIN_FILE, .line = (unsigned)mark->line + 1, .column = (unsigned)mark->column + 1};
}

static struct origin here(const struct reader *r)
{
    return at(&r->event.start_mark);
}

static enum status next(struct reader *r)
{
    if (r->has_event)
        yaml_event_delete(&r->event);
    r->has_event = yaml_parser_parse(&r->parser, &r->event) == 1;
    if (r->has_event)
        return OK;
    struct origin origin = at(&r->parser.problem_mark);
    const char *problem = r->parser.problem != NULL ? r->parser.problem : "cannot be read";
    if (r->parser.error == YAML_MEMORY_ERROR)
        problem = "out of memory";
    if (r->parser.error == YAML_READER_ERROR)
        return loader_fail(r->loader, &origin, NULL, "not valid YAML text: %s (byte %zu)", problem,
                           r->parser.problem_offset);
    return loader_fail(r->loader, &origin, NULL, "not valid YAML: %s", problem);
}

static const char *kind_name(yaml_event_type_t type)
{
    switch (type) {
    case YAML_SCALAR_EVENT: return "a single value";
    case YAML_SEQUENCE_START_EVENT: return "a list";
    case YAML_MAPPING_START_EVENT: return "a mapping";
    default: return "something else";
    }
}

/* The things of YAML that make files surprising. */
static enum status refuse_magic(struct reader *r, const struct option *option)
{
    struct origin origin = here(r);
    const yaml_event_t *e = &r->event;
    bool anchor = (e->type == YAML_SCALAR_EVENT && e->data.scalar.anchor != NULL) ||
                  (e->type == YAML_SEQUENCE_START_EVENT && e->data.sequence_start.anchor != NULL) ||
                  (e->type == YAML_MAPPING_START_EVENT && e->data.mapping_start.anchor != NULL);
    bool tag = (e->type == YAML_SCALAR_EVENT && e->data.scalar.tag != NULL) ||
               (e->type == YAML_SEQUENCE_START_EVENT && e->data.sequence_start.tag != NULL) ||
               (e->type == YAML_MAPPING_START_EVENT && e->data.mapping_start.tag != NULL);
    if (e->type == YAML_ALIAS_EVENT || anchor)
        return loader_fail(r->loader, &origin, option, "anchors and aliases are not used in this file");
    if (tag)
        return loader_fail(r->loader, &origin, option, "tags are not used in this file");
    return OK;
}

/* The scalar's text; ERR_CONFIG when it has a NUL inside. */
static enum status scalar_text(struct reader *r, const struct option *option, const char **text)
{
    struct origin origin = here(r);
    const char *value = (const char *)r->event.data.scalar.value;
    if (strlen(value) != r->event.data.scalar.length)
        return loader_fail(r->loader, &origin, option, "contains a NUL character");
    *text = value;
    return OK;
}

static bool scalar_is_plain(const struct reader *r)
{
    return r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool scalar_is_null(const struct reader *r, const char *text)
{
    return scalar_is_plain(r) && (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

/* One scalar of the current event into the option (or as one more item of its list). */
static enum status take_scalar(struct reader *r, const struct option *option)
{
    struct origin origin = here(r);
    const char *text = NULL;
    if (scalar_text(r, option, &text) != OK)
        return ERR_CONFIG;
    if (scalar_is_null(r, text))
        return loader_fail(r->loader, &origin, option, "has no value; remove the line to have the default");
    bool text_wanted = option->type == OPTION_STR || option->type == OPTION_LIST ||
                       option->type == OPTION_APPS || option->type == OPTION_ENUM;
    if (!text_wanted && !scalar_is_plain(r))
        return loader_fail(r->loader, &origin, option, "must be %s, not text in quotes: \"%.60s\"",
                           option->type == OPTION_BOOL  ? "true or false"
                           : option->type == OPTION_INT ? "a whole number"
                           : option->type == OPTION_MS  ? "a time such as 25s"
                                                        : "a size such as 32k",
                           text);
    return loader_set(r->loader, option, text, &origin);
}

/* {name: N, address: A} within `expose`; the current event is the start of the mapping. */
static enum status take_app(struct reader *r, const struct option *option)
{
    struct origin start = here(r);
    char name[128] = "", address[300] = "", why[OPTION_WHY];
    struct config_app app;
    while (next(r) == OK && r->event.type != YAML_MAPPING_END_EVENT) {
        struct origin origin = here(r);
        const char *text = NULL;
        if (refuse_magic(r, option) != OK || r->event.type != YAML_SCALAR_EVENT)
            return r->event.type == YAML_SCALAR_EVENT || r->event.type == YAML_ALIAS_EVENT
                       ? ERR_CONFIG
                       : loader_fail(r->loader, &origin, option, "a key must be name or address");
        if (scalar_text(r, option, &text) != OK)
            return ERR_CONFIG;
        bool is_name = strcmp(text, "name") == 0;
        char *into = is_name ? name : address;
        size_t cap = is_name ? sizeof name : sizeof address;
        if (!is_name && strcmp(text, "address") != 0)
            return loader_fail(r->loader, &origin, option,
                               "unknown key \"%.60s\"; an app has name and address", text);
        if (into[0] != '\0')
            return loader_fail(r->loader, &origin, option, "%s is given twice", is_name ? "name" : "address");
        if (next(r) != OK)
            return ERR_CONFIG;
        origin = here(r);
        if (refuse_magic(r, option) != OK)
            return ERR_CONFIG;
        if (r->event.type != YAML_SCALAR_EVENT)
            return loader_fail(r->loader, &origin, option, "%s must be text, not %s",
                               is_name ? "name" : "address", kind_name(r->event.type));
        if (scalar_text(r, option, &text) != OK)
            return ERR_CONFIG;
        if (scalar_is_null(r, text) || text[0] == '\0' || strlen(text) >= cap)
            return loader_fail(r->loader, &origin, option, "%s is %s", is_name ? "name" : "address",
                               strlen(text) >= cap ? "too long" : "empty");
        (void)snprintf(into, cap, "%s", text);
    }
    if (!r->has_event)
        return ERR_CONFIG;
    if (address[0] == '\0')
        return loader_fail(r->loader, &start, option, "an app needs an address");
    if (expose_make(name[0] != '\0' ? name : NULL, address, &app, why, sizeof why) != OK ||
        expose_append(&r->loader->config->expose, &app, why, sizeof why) != OK)
        return loader_fail(r->loader, &start, option, "%s", why);
    return OK;
}

static enum status take_list(struct reader *r, const struct option *option)
{
    struct origin origin = here(r);
    loader_begin_list(r->loader, option, &origin);
    while (next(r) == OK && r->event.type != YAML_SEQUENCE_END_EVENT) {
        origin = here(r);
        enum status st = refuse_magic(r, option);
        if (st == OK && r->event.type == YAML_MAPPING_START_EVENT && option->type == OPTION_APPS)
            st = take_app(r, option);
        else if (st == OK && r->event.type == YAML_SCALAR_EVENT)
            st = take_scalar(r, option);
        else if (st == OK)
            st = loader_fail(r->loader, &origin, option, "an item must be text%s, not %s",
                             option->type == OPTION_APPS ? " or {name: …, address: …}" : "",
                             kind_name(r->event.type));
        if (st != OK)
            return st;
    }
    return r->has_event ? OK : ERR_CONFIG;
}

static enum status take_value(struct reader *r, const struct option *option)
{
    struct origin origin = here(r);
    bool list = option->type == OPTION_LIST || option->type == OPTION_APPS;
    if (refuse_magic(r, option) != OK)
        return ERR_CONFIG;
    if (list && r->event.type == YAML_SEQUENCE_START_EVENT)
        return take_list(r, option);
    if (!list && r->event.type == YAML_SCALAR_EVENT)
        return take_scalar(r, option);
    return loader_fail(r->loader, &origin, option, "must be %s, not %s", list ? "a list" : "a single value",
                       kind_name(r->event.type));
}

static enum status unknown_key(struct reader *r, const struct origin *origin, const char *key)
{
    enum side side = r->loader->config->side;
    unsigned where = WHERE_GLOBAL | (side == SIDE_SERVER ? (unsigned)WHERE_SERVER : (unsigned)WHERE_CLIENT);
    const struct option *other = option_find(key, strlen(key), WHERE_ANY);
    if (other != NULL)
        return loader_fail(r->loader, origin, NULL, "\"%s\" is an option of the %s, not of the %s",
                           other->flag, side == SIDE_SERVER ? "client" : "server",
                           side == SIDE_SERVER ? "server" : "client");
    const struct option *near = option_suggest(key, strlen(key), where);
    return loader_fail(r->loader, origin, NULL, "unknown key \"%.80s\"%s%s%s", key,
                       near != NULL ? "; did you mean \"" : "", near != NULL ? near->flag : "",
                       near != NULL ? "\"?" : "");
}

/* The whole mapping; the current event is its start. */
static enum status take_mapping(struct reader *r)
{
    while (next(r) == OK && r->event.type != YAML_MAPPING_END_EVENT) {
        struct origin origin = here(r);
        const char *key = "";
        if (refuse_magic(r, NULL) != OK)
            return ERR_CONFIG;
        if (r->event.type != YAML_SCALAR_EVENT)
            return loader_fail(r->loader, &origin, NULL, "a key must be the name of an option");
        if (scalar_text(r, NULL, &key) != OK)
            return ERR_CONFIG;
        const struct option *option = option_find(key, strlen(key), WHERE_ANY);
        if (option == NULL || !option_applies(option, r->loader->config->side))
            return unknown_key(r, &origin, key);
        const struct origin *held = &r->loader->origins[option_index(option)];
        if (held->kind == ORIGIN_FILE)
            return loader_fail(r->loader, &origin, option, "is given twice; the first is on line %u",
                               held->line);
        if (next(r) != OK || take_value(r, option) != OK)
            return ERR_CONFIG;
        /* For messages about two options: the key is the better place to point at than the value. */
        r->loader->origins[option_index(option)] = origin;
    }
    return r->has_event ? OK : ERR_CONFIG;
}

static enum status take_stream(struct reader *r)
{
    /* NOLINTNEXTLINE(misc-redundant-expression): start of the stream, then of the first document */
    if (next(r) != OK || next(r) != OK)
        return ERR_CONFIG;
    if (r->event.type == YAML_STREAM_END_EVENT)
        return OK; /* an empty file, or only comments */
    if (next(r) != OK)
        return ERR_CONFIG;
    struct origin origin = here(r);
    const char *text = NULL;
    if (refuse_magic(r, NULL) != OK)
        return ERR_CONFIG;
    if (r->event.type == YAML_MAPPING_START_EVENT) {
        if (take_mapping(r) != OK)
            return ERR_CONFIG;
    } else if (r->event.type != YAML_SCALAR_EVENT || scalar_text(r, NULL, &text) != OK ||
               !scalar_is_null(r, text)) {
        return loader_fail(r->loader, &origin, NULL, "must be \"key: value\" lines, not %s",
                           kind_name(r->event.type));
    }
    /* NOLINTNEXTLINE(misc-redundant-expression): end of the document, then of the stream */
    if (next(r) != OK || next(r) != OK)
        return ERR_CONFIG;
    if (r->event.type != YAML_STREAM_END_EVENT) {
        origin = here(r);
        return loader_fail(r->loader, &origin, NULL, "only one YAML document may be in this file");
    }
    return OK;
}

enum status yaml_read(struct config_loader *loader, const unsigned char *data, size_t len)
{
    static const struct origin nowhere = {.kind = ORIGIN_DEFAULT};
    struct reader r = {.loader = loader};
    if (yaml_parser_initialize(&r.parser) != 1)
        return loader_fail(loader, &nowhere, NULL, "out of memory");
    yaml_parser_set_input_string(&r.parser, data, len);
    enum status st = take_stream(&r);
    if (r.has_event)
        yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return st;
}
