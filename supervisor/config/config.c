/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading, freeing and comparing configurations: defaults, then the file, then the flags. Starts nothing and
 * prints nothing; whoever asked shows the error.
 */
#include "supervisor/config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/config/config_loader.h"
#include "supervisor/exit_codes.h"

/* What config_load really hands out: the public part, and after it where each value came from. */
struct config_whole {
    struct config config; /* first, so that the pointers are the same */
    struct origin origins[];
};

const struct origin *config_origin(const struct config *config, const struct option *option)
{
    return &((const struct config_whole *)config)->origins[option_index(option)];
}

enum status loader_fail(struct config_loader *loader, const struct origin *origin,
                        const struct option *option, const char *format, ...)
{
    char text[OPTION_WHY + 64], place[320] = "";
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    loader->exit_code = EXIT_BAD_CONFIG;
    const char *flag = option != NULL ? option->flag : NULL;
    switch (origin->kind) {
    case ORIGIN_FILE:
        (void)snprintf(place, sizeof place, "%.200s:%u:%u: %s%s", loader->file, origin->line, origin->column,
                       flag != NULL ? flag : "", flag != NULL ? ": " : "");
        break;
    case ORIGIN_FLAG:
        loader->exit_code = EXIT_USAGE_ERROR;
        (void)snprintf(place, sizeof place, "%s%s%s", flag != NULL ? "--" : "", flag != NULL ? flag : "",
                       flag != NULL ? ": " : "");
        break;
    case ORIGIN_ENVIRONMENT:
        (void)snprintf(place, sizeof place, "%s (from the environment): ", flag != NULL ? flag : "");
        break;
    case ORIGIN_DEFAULT:
        (void)snprintf(place, sizeof place, "%s%s", flag != NULL ? flag : "", flag != NULL ? ": " : "");
        break;
    }
    (void)snprintf(loader->error->text, sizeof loader->error->text, "%s%.*s", place,
                   (int)(sizeof loader->error->text - strlen(place) - 1), text);
    return ERR_CONFIG;
}

void loader_begin_list(struct config_loader *loader, const struct option *option, const struct origin *origin)
{
    struct origin *held = &loader->origins[option_index(option)];
    if (held->kind != origin->kind)
        option_clear_value(option, loader->config);
    *held = *origin;
}

enum status loader_set(struct config_loader *loader, const struct option *option, const char *text,
                       const struct origin *origin)
{
    char why[OPTION_WHY];
    if (option->type == OPTION_LIST || option->type == OPTION_APPS)
        loader_begin_list(loader, option, origin);
    if (option_set(option, loader->config, text, why) != OK)
        return loader_fail(loader, origin, option, "%s", why);
    loader->origins[option_index(option)] = *origin;
    return OK;
}

/* Reads a whole file of at most CONFIG_FILE_MAX bytes. *data is the caller's. */
static enum status file_read(struct config_loader *loader, unsigned char **data, size_t *len)
{
    static const struct origin nowhere = {.kind = ORIGIN_DEFAULT};
    int fd = open(loader->file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat info;
    if (fd < 0)
        return loader_fail(loader, &nowhere, NULL, "%.200s: cannot be opened: %s", loader->file,
                           strerror(errno));
    if (fstat(fd, &info) != 0 ||
        !(S_ISREG(info.st_mode) || S_ISFIFO(info.st_mode) || S_ISCHR(info.st_mode))) {
        (void)close(fd);
        return loader_fail(loader, &nowhere, NULL, "%.200s: is not a file", loader->file);
    }
    (void)fcntl(fd, F_SETFL, 0); /* --config /dev/stdin may wait for its data; opening must not */
    unsigned char *buf = malloc(CONFIG_FILE_MAX + 1);
    size_t used = 0;
    ssize_t n = buf == NULL ? -1 : 1;
    while (n > 0 && used <= CONFIG_FILE_MAX) {
        n = read(fd, buf + used, CONFIG_FILE_MAX + 1 - used);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            used += (size_t)n;
    }
    int error = errno;
    (void)close(fd);
    if (n < 0 || used > CONFIG_FILE_MAX) {
        free(buf);
        return loader_fail(loader, &nowhere, NULL, "%.200s: %s", loader->file,
                           n < 0 ? strerror(error) : "is larger than 1 MiB: not a configuration");
    }
    *data = buf;
    *len = used;
    return OK;
}

/* debug and trace are words for log levels; everything later reads only log_level. */
static void apply_level_words(struct config *config)
{
    const struct option *option = option_find("log-level", 9, WHERE_GLOBAL);
    char why[OPTION_WHY];
    if (config->trace)
        (void)option_set(option, config, "trace", why);
    else if (config->debug)
        (void)option_set(option, config, "debug", why);
}

static struct config_whole *whole_new(enum side side)
{
    struct config_whole *whole = calloc(1, sizeof *whole + option_count * sizeof whole->origins[0]);
    if (whole == NULL)
        return NULL;
    whole->config.side = side;
    for (size_t i = 0; i < option_count; i++)
        if (option_reset(&option_table[i], &whole->config) != OK) {
            config_free(&whole->config);
            return NULL;
        }
    return whole;
}

struct source {
    const char *file;          /* NULL: none */
    const unsigned char *data; /* text in memory instead of reading the file; NULL: read */
    size_t len;
    int argc;
    char **argv;
};

static enum status load_parts(struct config_loader *loader, const struct source *source)
{
    enum status st = OK;
    if (source->data != NULL) {
        st = yaml_read(loader, source->data, source->len);
    } else if (source->file != NULL) {
        unsigned char *data = NULL;
        size_t len = 0;
        if ((st = file_read(loader, &data, &len)) == OK)
            st = yaml_read(loader, data, len);
        if (data != NULL)
            explicit_bzero(data, len);
        free(data);
    }
    if (st == OK)
        st = flags_read(loader, source->argc, source->argv);
    if (st == OK)
        apply_level_words(loader->config);
    if (st == OK)
        st = defaults_fill(loader);
    return st == OK ? config_check(loader) : st;
}

static enum status load(enum side side, const struct source *source, struct config **out,
                        struct config_error *error, int *exit_code)
{
    struct config_whole *whole = whole_new(side);
    struct config_loader loader = {.file = source->file, .error = error, .exit_code = EXIT_BAD_CONFIG};
    if (whole == NULL) {
        (void)snprintf(error->text, sizeof error->text, "out of memory");
        *exit_code = EXIT_FAILED;
        return ERR_CONFIG;
    }
    loader.config = &whole->config;
    loader.origins = whole->origins;
    enum status st = OK;
    if (source->file != NULL && (whole->config.config_file = strdup(source->file)) == NULL) {
        (void)snprintf(error->text, sizeof error->text, "out of memory");
        st = ERR_CONFIG;
    }
    if (st == OK)
        st = load_parts(&loader, source);
    if (st != OK) {
        *exit_code = loader.exit_code;
        config_free(&whole->config);
        return ERR_CONFIG;
    }
    *out = &whole->config;
    return OK;
}

enum status config_load(enum side side, const char *config_file, int argc, char **argv, struct config **out,
                        struct config_error *error, int *exit_code)
{
    struct source source = {.file = config_file, .argc = argc, .argv = argv};
    if (config_file == NULL) {
        const char *usual =
            side == SIDE_SERVER ? WORMHOLE_SYSCONF_DIR "/server.yaml" : WORMHOLE_SYSCONF_DIR "/client.yaml";
        /* Anything but "it is not there" is an error that file_read reports: a file that is meant is not
         * skipped. */
        if (access(usual, F_OK) == 0)
            source.file = usual;
    }
    return load(side, &source, out, error, exit_code);
}

enum status config_load_text(enum side side, const char *name, const unsigned char *data, size_t len,
                             struct config **out, struct config_error *error, int *exit_code)
{
    struct source source = {.file = name, .data = data, .len = len};
    return load(side, &source, out, error, exit_code);
}

void config_free(struct config *config)
{
    if (config == NULL)
        return;
    for (size_t i = 0; i < option_count; i++)
        option_clear_value(&option_table[i], config);
    free(config->config_file);
    free(config);
}

enum status config_check_reload(const struct config *running, const struct config *fresh,
                                struct config_error *error)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (!option_applies(option, running->side) || option->live || option_equal(option, running, fresh))
            continue;
        /* These two are read through log_level, which may change. */
        if (strcmp(option->flag, "debug") == 0 || strcmp(option->flag, "trace") == 0)
            continue;
        char now[300], then[300];
        if (option->type == OPTION_LIST || option->type == OPTION_APPS) {
            (void)snprintf(error->text, sizeof error->text,
                           "%s cannot change while running; restart to use the new value", option->flag);
            return ERR_CONFIG;
        }
        option_format(option, running, now, sizeof now);
        option_format(option, fresh, then, sizeof then);
        (void)snprintf(
            error->text, sizeof error->text,
            "%s cannot change while running (from \"%.120s\" to \"%.120s\"); restart to use the new value",
            option->flag, now, then);
        return ERR_CONFIG;
    }
    return OK;
}
