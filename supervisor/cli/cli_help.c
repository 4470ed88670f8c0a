/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layout of --help from the command tables and the option table. No text about a single option or command may
 * be written here: it belongs into its table, so that manuals and completion have it too.
 */
#include "supervisor/cli/cli_help.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { COLUMN = 32 };

static size_t page_width(FILE *out)
{
    struct winsize size;
    int fd = fileno(out);
    if (fd >= 0 && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col >= 60)
        return size.ws_col < 110 ? size.ws_col : 110;
    return 100;
}

/* Columns that a text takes: UTF-8 continuation bytes take none. */
static size_t text_columns(const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

/* Prints words from `column` on, breaking lines before the edge; `at` is where the cursor stands. */
static void print_wrapped(FILE *out, const char *text, size_t column, size_t at)
{
    size_t width = page_width(out);
    for (const char *p = text; *p != '\0';) {
        p += strspn(p, " \n");
        size_t len = strcspn(p, " \n");
        if (len == 0)
            break;
        size_t columns = text_columns(p, len);
        if (at > column && at + 1 + columns > width) {
            (void)fprintf(out, "\n");
            at = 0;
        }
        if (at < column) {
            (void)fprintf(out, "%*s", (int)(column - at), "");
            at = column;
        } else if (at > column) {
            (void)fputc(' ', out);
            at++;
        }
        (void)fwrite(p, 1, len, out);
        at += columns;
        p += len;
    }
    (void)fputc('\n', out);
}

/* "  left      right, wrapped". */
static void print_entry(FILE *out, const char *left, const char *right)
{
    size_t at = 2 + text_columns(left, strlen(left));
    (void)fprintf(out, "  %s", left);
    if (at + 2 > COLUMN) {
        (void)fputc('\n', out);
        at = 0;
    }
    print_wrapped(out, right, COLUMN, at);
}

static void print_paragraphs(FILE *out, const char *text)
{
    for (const char *p = text; *p != '\0';) {
        const char *end = strstr(p, "\n\n");
        size_t len = end != NULL ? (size_t)(end - p) : strlen(p);
        char *paragraph = strndup(p, len);
        if (paragraph == NULL)
            return;
        print_wrapped(out, paragraph, 0, 0);
        free(paragraph);
        p += len + (end != NULL ? 2 : 0);
        (void)fputc('\n', out);
    }
}

static void print_table_option(FILE *out, const struct option *option)
{
    char left[128], value[320], words[160] = "", right[1024];
    (void)snprintf(left, sizeof left, "--%s%s%s", option->flag, option->argument != NULL ? " " : "",
                   option->argument != NULL ? option->argument : "");
    for (size_t i = 0; option->type == OPTION_ENUM && option_choice(option, i) != NULL; i++) {
        size_t used = strlen(words);
        (void)snprintf(words + used, sizeof words - used, "%s%s", i == 0 ? " (" : ", ",
                       option_choice(option, i));
    }
    option_format_default(option, value, sizeof value);
    bool show = value[0] != '\0' && !(option->type == OPTION_BOOL && option->number == 0);
    (void)snprintf(right, sizeof right, "%s%s%s%s%s%s", option_help_text(option), words,
                   words[0] != '\0' ? ")" : "", show ? " [" : "", show ? value : "", show ? "]" : "");
    print_entry(out, left, right);
}

static void print_table_options(FILE *out, unsigned where, const char *title)
{
    (void)fprintf(out, "%s\n", title);
    for (size_t i = 0; i < option_count; i++)
        if ((option_table[i].where & where) != 0)
            print_table_option(out, &option_table[i]);
    (void)fputc('\n', out);
}

static void print_own_options(FILE *out, const struct cli_option *options)
{
    for (const struct cli_option *o = options; o != NULL && o->flag != NULL; o++) {
        char left[128];
        (void)snprintf(left, sizeof left, "--%s%s%s", o->flag, o->argument != NULL ? " " : "",
                       o->argument != NULL ? o->argument : "");
        print_entry(out, left, o->help);
    }
}

void help_usage_lines(const struct cli_command *command, void (*line)(void *arg, const char *text), void *arg)
{
    char text[300];
    for (const struct cli_verb *v = command->verbs; v != NULL && v->name != NULL; v++) {
        (void)snprintf(text, sizeof text, "%s %s%s%s%s%s", command->name, v->name,
                       v->argument != NULL ? " " : "", v->argument != NULL ? v->argument : "",
                       v->many ? "…" : "", command->options != NULL ? " [OPTION…]" : "");
        line(arg, text);
    }
    if (command->verbs != NULL)
        return;
    bool options = command->options != NULL || command->takes != 0 || command->shows || command->asks_client;
    if (command->usage != NULL)
        (void)snprintf(text, sizeof text, "%s %s", command->name, command->usage);
    else
        (void)snprintf(text, sizeof text, "%s%s%s%s", command->name, options ? " [OPTION…]" : "",
                       command->argument != NULL ? " " : "",
                       command->argument != NULL ? command->argument : "");
    line(arg, text);
}

struct usage_printer {
    FILE *out;
    bool begun;
};

static void print_usage_line(void *arg, const char *text)
{
    struct usage_printer *printer = arg;
    (void)fprintf(printer->out, "%s wormhole %s\n", printer->begun ? "      " : "Usage:", text);
    printer->begun = true;
}

void help_command(FILE *out, const struct cli_command *command)
{
    struct usage_printer printer = {.out = out};
    help_usage_lines(command, print_usage_line, &printer);
    (void)fprintf(out, "\n");
    print_paragraphs(out, command->description);
    if (command->verbs != NULL) {
        (void)fprintf(out, "What it can do:\n");
        for (const struct cli_verb *v = command->verbs; v->name != NULL; v++) {
            char left[128];
            (void)snprintf(left, sizeof left, "%s%s%s%s", v->name, v->argument != NULL ? " " : "",
                           v->argument != NULL ? v->argument : "", v->many ? "…" : "");
            print_entry(out, left, v->help);
        }
        (void)fputc('\n', out);
    }
    if (command->takes == WHERE_BOTH) {
        print_wrapped(out,
                      "It takes every option of `wormhole listen` or of `wormhole join`, and those that all "
                      "commands take (wormhole --help).",
                      0, 0);
        (void)fputc('\n', out);
    } else if (command->takes != 0) {
        print_table_options(out, command->takes, "Options (each is a key of the configuration file too):");
    }
    if (command->options != NULL || command->shows || command->asks_client) {
        (void)fprintf(out, "Options:\n");
        print_own_options(out, command->options);
        if (command->shows)
            print_own_options(out, cli_output_options);
        if (command->asks_client)
            print_own_options(out, cli_client_options);
        (void)fputc('\n', out);
    }
    (void)fprintf(out, "Examples:\n");
    for (const struct cli_example *e = command->examples; e->command != NULL; e++) {
        (void)fprintf(out, "  %s\n", e->command);
        print_wrapped(out, e->meaning, 6, 0);
    }
    (void)fprintf(out, "\nOptions that every command takes: wormhole --help. The manual: man wormhole-%s\n",
                  command->name);
}

void help_program(FILE *out)
{
    (void)fprintf(out, "Usage: wormhole [OPTION…] COMMAND [OPTION…]\n\n");
    print_paragraphs(
        out, "Exposes services that live behind firewalls on a central host or cluster: clients (join) open "
             "one outbound connection to a server (listen), and an operator approves each client once, "
             "by the fingerprint of its key.");
    (void)fprintf(out, "Commands:\n");
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        print_entry(out, cli_commands[i]->name, cli_commands[i]->summary);
    (void)fprintf(out, "\nOptions, before or after the command:\n");
    print_entry(out, "--config FILE",
                "the configuration file; default " WORMHOLE_SYSCONF_DIR
                "/server.yaml for listen, " WORMHOLE_SYSCONF_DIR "/client.yaml for join");
    for (size_t i = 0; i < option_count; i++)
        if (option_table[i].where == WHERE_GLOBAL)
            print_table_option(out, &option_table[i]);
    print_entry(out, "--help", "this text; after a command: about that command");
    print_entry(out, "--version", "the version and nothing else");
    (void)fprintf(out, "\n");
    print_paragraphs(
        out, "An option is written --option VALUE or --option=VALUE; a switch --switch, --no-switch or "
             "--switch=false. Times have a unit (500ms, 25s, 10m, 24h), sizes may have one (32k, 8M).");
    print_paragraphs(
        out, "Exit codes: 0 done, 1 failed, 64 wrong usage, 69 server not reachable, 77 not permitted, 78 "
             "bad configuration.");
    (void)fprintf(out, "More: wormhole COMMAND --help, man wormhole, man wormhole.yaml\n");
}

void help_hint(FILE *out)
{
    (void)fprintf(out, "Usage: wormhole [OPTION…] COMMAND [OPTION…]\n\n"
                       "  wormhole listen                                     run a server\n"
                       "  wormhole join --server URL --expose HOST:PORT       run a client\n"
                       "  wormhole requests list                              see who waits for approval\n\n"
                       "All commands: wormhole --help\n");
}
