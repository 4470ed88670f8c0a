/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What several outputs need of the tables.
 */
#include <string.h>

#include "packaging/generate/generate.h"

static void each_of(const struct cli_option *options, each_option *call, void *arg)
{
    for (const struct cli_option *o = options; o != NULL && o->flag != NULL; o++)
        call(arg, o);
}

void each_own_option(const struct cli_command *command, each_option *call, void *arg)
{
    each_of(command->options, call, arg);
    if (command->shows)
        each_of(cli_output_options, call, arg);
    if (command->asks_client)
        each_of(cli_client_options, call, arg);
}

enum cli_complete table_completion(const struct option *option, char *words, size_t cap)
{
    size_t used = 0;
    words[0] = '\0';
    if (option->type == OPTION_BOOL) {
        (void)snprintf(words, cap, "true|false");
        return COMPLETE_NOTHING;
    }
    if (option->type == OPTION_ENUM) {
        for (size_t i = 0; option_choice(option, i) != NULL && used < cap; i++)
            used += (size_t)snprintf(words + used, cap - used, "%s%s", i > 0 ? "|" : "",
                                     option_choice(option, i));
        return COMPLETE_WORDS;
    }
    if (strcmp(option->argument, "FILE") == 0 || strcmp(option->flag, "control-socket") == 0)
        return COMPLETE_FILE;
    return strcmp(option->argument, "DIR") == 0 ? COMPLETE_DIR : COMPLETE_NOTHING;
}

const char *own_help(const struct cli_option *option)
{
    const char *text = option->help;
    if (option->words != NULL && text[0] == '(') {
        text += strcspn(text, ")");
        text += strspn(text, ") ");
    }
    return text;
}
