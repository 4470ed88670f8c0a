/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a configuration file. The first byte chooses the side. What loads must survive being printed
 * option by option; what does not must have a message that begins with the file's name or an option's.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/config/config_loader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t nothing[1];
    if (size == 0)
        return 0;
    enum side side = (data[0] & 1) != 0 ? SIDE_CLIENT : SIDE_SERVER;
    struct config *config = NULL;
    struct config_error error = {.text = ""};
    int exit_code = 0;
    enum status st = config_load_text(side, "f.yaml", size > 1 ? data + 1 : nothing, size - 1, &config,
                                      &error, &exit_code);
    if (st != OK) {
        if (strlen(error.text) < 5 || (exit_code != 78 && exit_code != 1) || config != NULL)
            abort();
        return 0;
    }
    for (size_t i = 0; i < option_count; i++) {
        char text[1200], why[OPTION_WHY];
        const struct option *option = &option_table[i];
        if (!option_applies(option, side) || option->type == OPTION_LIST || option->type == OPTION_APPS)
            continue;
        option_format(option, config, text, sizeof text);
        if (text[0] != '\0' && strcmp(option->flag, "proxy") != 0 &&
            option_set(option, config, text, why) != OK)
            abort();
    }
    config_free(config);
    return 0;
}
