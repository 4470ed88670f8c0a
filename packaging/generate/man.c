/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manual pages in man(7) macros. Every backslash, dash and leading dot of the tables' texts is escaped here.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "packaging/generate/generate.h"
#include "supervisor/cli/cli_help.h"

/* Text of a line: "-" would become a typographic hyphen, which nobody can paste; "." and "'" are requests in
 * front. */
static void put_text(FILE *out, const char *text, size_t len)
{
    if (len > 0 && (text[0] == '.' || text[0] == '\''))
        (void)fputs("\\&", out);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\\')
            (void)fputs("\\e", out);
        else if (text[i] == '-')
            (void)fputs("\\-", out);
        else if (text[i] == '\n')
            (void)fputc(' ', out);
        else
            (void)fputc(text[i], out);
    }
}

static void put(FILE *out, const char *text)
{
    put_text(out, text, strlen(text));
}

/* Right after a heading: only between two of them is there a request. */
static void paragraphs(FILE *out, const char *text)
{
    const char *begin = text;
    while (*text != '\0') {
        const char *end = strstr(text, "\n\n");
        size_t len = end != NULL ? (size_t)(end - text) : strlen(text);
        if (text != begin)
            (void)fputs(".PP\n", out);
        put_text(out, text, len);
        (void)fputc('\n', out);
        text += len + (end != NULL ? 2 : 0);
    }
}

static void header(FILE *out, const char *name, unsigned section, const char *summary)
{
    char upper[64];
    size_t i = 0;
    for (; name[i] != '\0' && i < sizeof upper - 1; i++)
        upper[i] = (char)toupper((unsigned char)name[i]);
    upper[i] = '\0';
    /* No date: the page is as old as the version, and two builds must give the same bytes. */
    (void)fprintf(out,
                  ".\\\" SPDX-License-Identifier: Apache-2.0\n.\\\" Made from the option and command tables; "
                  "do not edit.\n"
                  ".TH \"%s\" %u \"\" \"wormhole " WORMHOLE_VERSION "\" \"Wormhole\"\n.SH NAME\n",
                  upper, section);
    put(out, name);
    (void)fputs(" \\- ", out);
    put(out, summary);
    (void)fputc('\n', out);
}

static void item(FILE *out, const char *flag, const char *argument)
{
    (void)fputs(".TP\n", out);
    (void)fprintf(out, "\\fB");
    put(out, flag);
    (void)fprintf(out, "\\fR");
    if (argument != NULL) {
        (void)fprintf(out, " \\fI");
        put(out, argument);
        (void)fprintf(out, "\\fR");
    }
    (void)fputc('\n', out);
}

static void option_text(FILE *out, const struct option *option)
{
    char value[320];
    put(out, option_help_text(option));
    if (option->type == OPTION_ENUM) {
        (void)fputs(". One of", out);
        for (size_t i = 0; option_choice(option, i) != NULL; i++) {
            (void)fputs(i > 0 ? ", \\fB" : " \\fB", out);
            put(out, option_choice(option, i));
            (void)fputs("\\fR", out);
        }
    }
    option_format_default(option, value, sizeof value);
    if (value[0] != '\0') {
        (void)fputs(". Default: \\fB", out);
        put(out, value);
        (void)fputs("\\fR", out);
    }
    (void)fputs(".\n", out);
}

static void table_options(FILE *out, unsigned where)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        char flag[80];
        if ((option->where & where) == 0)
            continue;
        (void)snprintf(flag, sizeof flag, "--%s", option->flag);
        item(out, flag, option->argument);
        option_text(out, option);
    }
}

static void own_option(void *arg, const struct cli_option *option)
{
    FILE *out = arg;
    char flag[80];
    (void)snprintf(flag, sizeof flag, "--%s", option->flag);
    item(out, flag, option->argument);
    put(out, own_help(option));
    if (option->words != NULL) {
        (void)fputs(" (", out);
        put(out, option->words);
        (void)fputc(')', out);
    }
    (void)fputs(".\n", out);
}

struct usage {
    FILE *out;
    bool begun;
};

static void usage_line(void *arg, const char *text)
{
    struct usage *usage = arg;
    (void)fprintf(usage->out, "%s\\fBwormhole\\fR ", usage->begun ? ".br\n" : "");
    put(usage->out, text);
    (void)fputc('\n', usage->out);
    usage->begun = true;
}

static void examples(FILE *out, const struct cli_example *list)
{
    (void)fputs(".SH EXAMPLES\n", out);
    for (const struct cli_example *e = list; e->command != NULL; e++) {
        (void)fputs(".TP\n\\fB", out);
        put(out, e->command);
        (void)fputs("\\fR\n", out);
        put(out, e->meaning);
        (void)fputs(".\n", out);
    }
}

/* "wormhole-join(8), wormhole.yaml(5)" with the names in bold. */
static void see_also(FILE *out, const char *list)
{
    (void)fputs(".SH SEE ALSO\n", out);
    while (*list != '\0') {
        size_t name = strcspn(list, "("), rest = strcspn(list, ",");
        (void)fputs("\\fB", out);
        put_text(out, list, name);
        (void)fputs("\\fR", out);
        (void)fwrite(list + name, 1, rest - name, out);
        list += rest;
        (void)fputs(*list == ',' ? ",\n" : "\n", out);
        list += strspn(list, ", ");
    }
}

static void exit_status(FILE *out)
{
    static const struct {
        const char *code, *meaning;
    } codes[] = {
        {"0", "Done."},
        {"1", "It failed; the reason is on standard error."},
        {"64", "A wrong option, command or argument."},
        {"69", "The server (or client) is not reachable; for listen: a port is in use."},
        {"77", "Not permitted."},
        {"78", "Bad configuration; the message names file, line and column."},
    };
    (void)fputs(".SH EXIT STATUS\n", out);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        (void)fprintf(out, ".TP\n\\fB%s\\fR\n%s\n", codes[i].code, codes[i].meaning);
}

static void files(FILE *out)
{
    (void)fputs(
        ".SH FILES\n"
        ".TP\n\\fI/etc/wormhole/server.yaml\\fR, \\fI/etc/wormhole/client.yaml\\fR\nThe configuration, see "
        "\\fBwormhole.yaml\\fR(5).\n"
        ".TP\n\\fI/var/lib/wormhole\\fR\nState: approvals and audit log (wormhole.db), identities, as root.\n"
        ".TP\n\\fI$XDG_STATE_HOME/wormhole\\fR, \\fI~/.local/state/wormhole\\fR\nThe same for other users.\n"
        ".TP\n\\fI/run/wormhole/control.sock\\fR, \\fI/run/wormhole/client.sock\\fR\nThe control sockets; "
        "under "
        "\\fI$XDG_RUNTIME_DIR/wormhole\\fR for other users.\n",
        out);
}

void man_command(FILE *out, const struct cli_command *command)
{
    char name[64];
    (void)snprintf(name, sizeof name, "wormhole-%s", command->name);
    header(out, name, command->section, command->summary);
    (void)fputs(".SH SYNOPSIS\n", out);
    struct usage usage = {.out = out};
    help_usage_lines(command, usage_line, &usage);
    (void)fputs(".SH DESCRIPTION\n", out);
    paragraphs(out, command->description);
    if (command->verbs != NULL) {
        (void)fputs(".SH COMMANDS\n", out);
        for (const struct cli_verb *v = command->verbs; v->name != NULL; v++) {
            item(out, v->name, v->argument);
            put(out, v->help);
            (void)fputs(".\n", out);
        }
    }
    (void)fputs(".SH OPTIONS\n", out);
    each_own_option(command, own_option, out);
    if (command->takes == WHERE_BOTH)
        (void)fputs(".PP\nEvery option of \\fBwormhole\\-listen\\fR(8) or \\fBwormhole\\-join\\fR(8).\n",
                    out);
    else if (command->takes != 0)
        table_options(out, command->takes);
    (void)fputs(".PP\nThe options that every command takes are in \\fBwormhole\\fR(1).\n", out);
    if (command->section == 8)
        files(out);
    exit_status(out);
    examples(out, command->examples);
    see_also(out, command->see_also);
}

void man_program(FILE *out)
{
    header(out, "wormhole", 1, "exposes services that live behind firewalls on a central host or cluster");
    (void)fputs(
        ".SH SYNOPSIS\n\\fBwormhole\\fR [\\fIOPTION\\fR\\&...] \\fICOMMAND\\fR [\\fIOPTION\\fR\\&...]\n"
        ".SH DESCRIPTION\n",
        out);
    paragraphs(
        out,
        "An edge client (wormhole join) opens one outbound websocket to a central server (wormhole listen). "
        "Every "
        "app that the client exposes is mirrored next to the server as a local listening port, and in "
        "Kubernetes as a Service. An operator approves a client once, by the fingerprint of its RSA key. "
        "There are "
        "no invite tokens, no certificates to sign, and nothing has to listen on the edge.\n\n"
        "The tunnel is encrypted and authenticated by itself: ws:// without TLS is as safe as wss://. Each "
        "connection is a process of its own, in a sandbox; wormhole status shows what is in force.");
    (void)fputs(".SH COMMANDS\n", out);
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        item(out, cli_commands[i]->name, NULL);
        put(out, cli_commands[i]->summary);
        if (strcmp(cli_commands[i]->name, "help") == 0) {
            (void)fputs(".\n", out);
            continue;
        }
        (void)fputs("; see \\fBwormhole\\-", out);
        put(out, cli_commands[i]->name);
        (void)fprintf(out, "\\fR(%u).\n", cli_commands[i]->section);
    }
    (void)fputs(
        ".SH OPTIONS\nThey may stand before or after the command, as \\fB\\-\\-option\\fR \\fIVALUE\\fR or "
        "\\fB\\-\\-option=\\fIVALUE\\fR; a switch as \\fB\\-\\-switch\\fR, \\fB\\-\\-no\\-switch\\fR or "
        "\\fB\\-\\-switch=false\\fR. Times have a unit (500ms, 25s, 10m, 24h), sizes may have one (32k, "
        "8M).\n",
        out);
    item(out, "--config", "FILE");
    (void)fputs("The configuration file. Default: \\fI/etc/wormhole/server.yaml\\fR for listen, "
                "\\fI/etc/wormhole/client.yaml\\fR for join.\n",
                out);
    table_options(out, WHERE_GLOBAL);
    item(out, "--help", NULL);
    (void)fputs("What there is; after a command, what it does.\n", out);
    item(out, "--version", NULL);
    (void)fputs("The version and nothing else.\n", out);
    (void)fputs(".SH OUTPUT\n", out);
    paragraphs(
        out,
        "Commands that show something print an aligned table with a header on a terminal, and tab-separated "
        "lines without a header in a pipe; --output json gives JSON. Columns are only ever added at the end. "
        "Data "
        "goes to standard output, everything else to standard error. Colour appears on a terminal only.");
    (void)fputs(".SH ENVIRONMENT\n", out);
    item(out, "HTTPS_PROXY", NULL);
    (void)fputs(
        "The HTTP proxy of a client without \\fB\\-\\-proxy\\fR, for ws:// and wss:// alike; never for "
        "loopback.\n",
        out);
    item(out, "NO_PROXY", NULL);
    (void)fputs("Hosts, domains and networks that are reached without it, separated by commas.\n", out);
    item(out, "NO_COLOR", NULL);
    (void)fputs("No colour, when set to anything.\n", out);
    item(out, "XDG_STATE_HOME, XDG_RUNTIME_DIR", NULL);
    (void)fputs("Where state and control sockets of users other than root are.\n", out);
    files(out);
    exit_status(out);
    see_also(out, "wormhole-listen(8), wormhole-join(8), wormhole-requests(1), wormhole.yaml(5)");
}

static void yaml_options(FILE *out, unsigned where)
{
    static const char *const kinds[] = {
        [OPTION_BOOL] = "true or false", [OPTION_INT] = "number",        [OPTION_MS] = "time",
        [OPTION_SIZE] = "size",          [OPTION_STR] = "text",          [OPTION_ENUM] = "word",
        [OPTION_LIST] = "list",          [OPTION_APPS] = "list of apps",
    };
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        char key[80];
        if ((option->where & where) == 0)
            continue;
        (void)snprintf(key, sizeof key, "%s:", option->flag);
        item(out, key, kinds[option->type]);
        option_text(out, option);
        if (option->live)
            (void)fputs("A reload changes it.\n", out);
    }
}

void man_yaml(FILE *out)
{
    header(out, "wormhole.yaml", 5, "configuration of wormhole listen and wormhole join");
    (void)fputs(".SH SYNOPSIS\n\\fI/etc/wormhole/server.yaml\\fR\n.br\n\\fI/etc/wormhole/client.yaml\\fR\n"
                ".SH DESCRIPTION\n",
                out);
    paragraphs(
        out,
        "One YAML mapping whose keys are the options of wormhole listen (server.yaml) or wormhole join "
        "(client.yaml), without their dashes in front. An option on the command line beats the file.\n\n"
        "Unknown keys, wrong types, duplicates and values out of range are errors that name file, line and "
        "column; wormhole check-config looks for them without starting anything. Anchors, aliases and tags "
        "are "
        "refused.\n\n"
        "SIGHUP (systemctl reload) reads the file again. Keys that a reload changes say so below; when any "
        "other "
        "differs, the whole reload is refused with a message and the old configuration stays in force.\n\n"
        "Times have a unit: 500ms, 25s, 10m, 24h. Sizes may have one: 32k, 8M, 1G. A list is a YAML "
        "sequence.");
    (void)fputs(".SH KEYS OF BOTH FILES\n", out);
    yaml_options(out, WHERE_GLOBAL);
    (void)fputs(".SH KEYS OF SERVER.YAML\n", out);
    yaml_options(out, WHERE_SERVER);
    (void)fputs(".SH KEYS OF CLIENT.YAML\n", out);
    yaml_options(out, WHERE_CLIENT);
    (void)fputs(
        ".SH EXAMPLES\nA server:\n.PP\n.nf\n.RS\nport: 8080\napp\\-host: 127.0.0.1\nmetrics: true\n"
        "metrics\\-host: 127.0.0.1\ntrusted\\-proxies:\n  \\- 127.0.0.1\n.RE\n.fi\n"
        ".PP\nA client:\n.PP\n.nf\n.RS\nname: edge1\nserver: wss://hub.example.org/wh/tunnel\nexpose:\n"
        "  \\- name: web\n    address: 127.0.0.1:8000\n  \\- name: db\n    address: "
        "10.0.0.7:5432\n.RE\n.fi\n",
        out);
    see_also(out, "wormhole(1), wormhole-listen(8), wormhole-join(8), wormhole-check-config(1)");
}
