/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wormhole-docs DIR: writes the folders man and completion and the file table.json below DIR. Fails when a
 * file cannot be written.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "packaging/generate/generate.h"

static FILE *file_open(const char *dir, const char *name)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "we");
    if (file == NULL) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    return file;
}

static void file_close(FILE *file)
{
    if (fclose(file) != 0) {
        perror("wormhole-docs");
        exit(1);
    }
}

static void write_with(const char *dir, const char *name, void (*write)(FILE *out))
{
    FILE *file = file_open(dir, name);
    write(file);
    file_close(file);
}

int main(int argc, char **argv)
{
    char dir[4000];
    static const char *const folders[] = {"", "/man", "/completion"};
    for (size_t i = 0; argc == 2 && i < 3; i++) {
        (void)snprintf(dir, sizeof dir, "%s%s", argv[1], folders[i]);
        if (mkdir(dir, 0755) != 0 && errno != EEXIST)
            return 1;
    }
    if (argc != 2) {
        (void)fputs("usage: wormhole-docs DIR\n", stderr);
        return 64;
    }
    write_with(argv[1], "man/wormhole.1", man_program);
    write_with(argv[1], "man/wormhole.yaml.5", man_yaml);
    write_with(argv[1], "completion/wormhole.bash", completion_bash);
    write_with(argv[1], "completion/_wormhole", completion_zsh);
    write_with(argv[1], "completion/wormhole.fish", completion_fish);
    write_with(argv[1], "table.json", table_json);
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        char name[64];
        if (strcmp(cli_commands[i]->name, "help") == 0)
            continue; /* wormhole(1) says it */
        (void)snprintf(name, sizeof name, "man/wormhole-%s.%u", cli_commands[i]->name,
                       cli_commands[i]->section);
        FILE *file = file_open(argv[1], name);
        man_command(file, cli_commands[i]);
        file_close(file);
    }
    return 0;
}
