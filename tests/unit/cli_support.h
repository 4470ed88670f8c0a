/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the configuration share: a clean environment, and loading from text or flags in one call.
 * Asserts nothing by itself.
 */
#ifndef WORMHOLE_TESTS_CLI_SUPPORT_H
#define WORMHOLE_TESTS_CLI_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/config/config_loader.h"
#include "supervisor/exit_codes.h"

struct loaded {
    enum status status;
    struct config *config; /* NULL on failure; config_free it */
    struct config_error error;
    int exit_code;
};

/* The test must not depend on who runs it and where. */
static inline int clean_environment(void **state)
{
    (void)state;
    static const char *const names[] = {"HTTPS_PROXY", "https_proxy",    "NO_PROXY",
                                        "no_proxy",    "XDG_STATE_HOME", "XDG_RUNTIME_DIR"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        (void)unsetenv(names[i]);
    (void)setenv("HOME", "/home/tester", 1);
    return 0;
}

static inline struct loaded load_yaml(enum side side, const char *text)
{
    struct loaded l = {.exit_code = -1};
    l.status = config_load_text(side, "x.yaml", (const unsigned char *)text, strlen(text), &l.config,
                                &l.error, &l.exit_code);
    return l;
}

/* Flags as one string, cut at blanks; /dev/null stands for the file, so that none of this machine is read. */
static inline struct loaded load_flags(enum side side, const char *words)
{
    struct loaded l = {.exit_code = -1};
    char *copy = strdup(words), *argv[32], *rest = NULL;
    int argc = 0;
    for (char *word = strtok_r(copy, " ", &rest); word != NULL && argc < 32;
         word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    l.status = config_load(side, "/dev/null", argc, argv, &l.config, &l.error, &l.exit_code);
    free(copy);
    return l;
}

#endif
