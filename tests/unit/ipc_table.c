/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints the table of IPC messages for docs/ipc.md, or (--check FILE) fails when that file's table is not
 * today's. Must not hold any knowledge of its own: everything comes from common/messages.def.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ipc.h"

int main(int argc, char **argv)
{
    if (argc == 1) {
        ipc_print_table(stdout);
        return 0;
    }
    char *want = NULL, *have = NULL;
    size_t want_len = 0, have_len = 0;
    FILE *memory = open_memstream(&want, &want_len);
    FILE *file = argc == 3 && strcmp(argv[1], "--check") == 0 ? fopen(argv[2], "re") : NULL;
    if (memory == NULL || file == NULL) {
        (void)fputs("usage: ipc_table [--check FILE]\n", stderr);
        return 64;
    }
    ipc_print_table(memory);
    (void)fclose(memory);
    ssize_t n = getdelim(&have, &have_len, '\0', file);
    (void)fclose(file);
    if (n < 0 || strstr(have, want) == NULL) {
        (void)fprintf(stderr, "%s does not hold today's table; write it anew with ipc_table\n", argv[2]);
        return 1;
    }
    free(want);
    free(have);
    return 0;
}
