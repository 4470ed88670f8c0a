/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flags of `listen` and `join`: `--opt value`, `--opt=value`, `--switch`, `--no-switch`. Where the
 * command word is, and --config and --help, are main's affair (args.c); what comes here is options only.
 */
#include <string.h>

#include "supervisor/config/config_loader.h"

static const struct origin flag_origin = {.kind = ORIGIN_FLAG};

static unsigned where_of(enum side side)
{
    return WHERE_GLOBAL | (side == SIDE_SERVER ? (unsigned)WHERE_SERVER : (unsigned)WHERE_CLIENT);
}

static enum status unknown_flag(struct config_loader *loader, const char *name, size_t len)
{
    enum side side = loader->config->side;
    const struct option *other = option_find(name, len, WHERE_ANY);
    if (other != NULL)
        return loader_fail(loader, &flag_origin, NULL,
                           "--%s is an option of `wormhole %s`, not of `wormhole %s`", other->flag,
                           side == SIDE_SERVER ? "join" : "listen", side == SIDE_SERVER ? "listen" : "join");
    const struct option *near = option_suggest(name, len, where_of(side));
    return loader_fail(loader, &flag_origin, NULL, "unknown option --%.*s%s%s%s", (int)(len > 80 ? 80 : len),
                       name, near != NULL ? "; did you mean --" : "", near != NULL ? near->flag : "",
                       near != NULL ? "?" : "");
}

enum status flags_read(struct config_loader *loader, int argc, char **argv)
{
    unsigned where = where_of(loader->config->side);
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (strncmp(word, "--", 2) != 0 || word[2] == '\0')
            return loader_fail(loader, &flag_origin, NULL, "unexpected argument \"%.100s\"", word);
        const char *name = word + 2;
        size_t len = strcspn(name, "=");
        const char *value = name[len] == '=' ? name + len + 1 : NULL;
        const struct option *option = option_find(name, len, where);
        if (option == NULL && len > 3 && memcmp(name, "no-", 3) == 0 && value == NULL) {
            option = option_find(name + 3, len - 3, where);
            if (option != NULL && option->type == OPTION_BOOL)
                value = "false";
            else
                option = NULL;
        }
        if (option == NULL)
            return unknown_flag(loader, name, len);
        if (value == NULL && option->type == OPTION_BOOL)
            value = "true";
        if (value == NULL && ++i < argc)
            value = argv[i];
        if (value == NULL)
            return loader_fail(loader, &flag_origin, option, "needs a value: --%s %s", option->flag,
                               option->argument);
        enum status st = loader_set(loader, option, value, &flag_origin);
        if (st != OK)
            return st;
    }
    return OK;
}
