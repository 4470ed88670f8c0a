/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completion for bash, zsh and fish. All three know the same: commands, verbs, options, allowed words; and
 * ask the running server for fingerprints and names of peers (with the socket that was given on the line).
 */
#include <string.h>

#include "packaging/generate/generate.h"

static const char head[] =
    "# SPDX-License-Identifier: Apache-2.0\n"
    "# Made from the option and command tables; do not edit. Names and fingerprints come from "
    "the running server.\n";

/* ---- shared: walking over what a command takes ---- */

struct walk {
    FILE *out;
    const char *separator, *form; /* how one flag is written */
    bool only_values;             /* those that need a value */
    bool begun;
};

static void walk_flag(struct walk *w, const char *flag, bool has_value)
{
    if (w->only_values && !has_value)
        return;
    (void)fprintf(w->out, "%s--%s", w->begun ? w->separator : "", flag);
    w->begun = true;
}

static void walk_own(void *arg, const struct cli_option *option)
{
    walk_flag(arg, option->flag, option->argument != NULL);
}

static void flags_of(FILE *out, const struct cli_command *command, const char *separator, bool only_values)
{
    struct walk w = {.out = out, .separator = separator, .only_values = only_values};
    unsigned where = WHERE_GLOBAL | (command != NULL ? command->takes : 0);
    walk_flag(&w, "config", true);
    walk_flag(&w, "help", false);
    if (command != NULL)
        each_own_option(command, walk_own, &w);
    for (size_t i = 0; i < option_count; i++)
        if ((option_table[i].where & where) != 0)
            walk_flag(&w, option_table[i].flag, option_table[i].type != OPTION_BOOL);
}

/* Every flag of any command that needs a value, each once. */
static void all_value_flags(FILE *out, const char *separator)
{
    char seen[8192] = " ";
    (void)fputs("--config", out);
    for (size_t i = 0; i < option_count; i++) {
        if (option_table[i].type != OPTION_BOOL)
            (void)fprintf(out, "%s--%s", separator, option_table[i].flag);
        size_t used = strlen(seen);
        (void)snprintf(seen + used, sizeof seen - used, "%s ", option_table[i].flag);
    }
    for (size_t c = 0; cli_commands[c] != NULL; c++)
        for (int list = 0; list < 3; list++) {
            const struct cli_option *o = list == 0   ? cli_commands[c]->options
                                         : list == 1 ? cli_output_options
                                                     : cli_client_options;
            for (; o != NULL && o->flag != NULL; o++) {
                char padded[80];
                (void)snprintf(padded, sizeof padded, " %s ", o->flag);
                if (o->argument == NULL || strstr(seen, padded) != NULL)
                    continue;
                (void)fprintf(out, "%s--%s", separator, o->flag);
                size_t used = strlen(seen);
                (void)snprintf(seen + used, sizeof seen - used, "%s ", o->flag);
            }
        }
}

/* "a|b" -> "a b" */
static void words_spaced(FILE *out, const char *words)
{
    for (; *words != '\0'; words++)
        (void)fputc(*words == '|' ? ' ' : *words, out);
}

static void command_names(FILE *out)
{
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        (void)fprintf(out, "%s%s", i > 0 ? " " : "", cli_commands[i]->name);
}

/* ---- bash ---- */

static void bash_value(FILE *out, const char *flag, enum cli_complete complete, const char *words)
{
    if (complete == COMPLETE_NOTHING)
        return;
    (void)fprintf(out, "    --%s) ", flag);
    if (complete == COMPLETE_WORDS) {
        (void)fputs("COMPREPLY=($(compgen -W \"", out);
        words_spaced(out, words);
        (void)fputs("\" -- \"$cur\"))", out);
    } else if (complete == COMPLETE_FILE || complete == COMPLETE_DIR) {
        (void)fputs(complete == COMPLETE_FILE ? "_filedir" : "_filedir -d", out);
    } else if (complete == COMPLETE_PEER) {
        (void)fputs("__wormhole_live peers list", out);
    }
    (void)fputs("; return ;;\n", out);
}

static void bash_own_value(void *arg, const struct cli_option *option)
{
    if (option->argument != NULL)
        bash_value(arg, option->flag, option->complete, option->words);
}

static void bash_verb_value(FILE *out, const struct cli_command *c, const struct cli_verb *v)
{
    if (v->complete == COMPLETE_REQUEST)
        (void)fprintf(out, "    \"%s %s\") __wormhole_live requests list; return ;;\n", c->name, v->name);
    if (v->complete == COMPLETE_PEER)
        (void)fprintf(out, "    \"%s %s\") __wormhole_live peers list; return ;;\n", c->name, v->name);
    if (v->complete == COMPLETE_FINGERPRINT)
        (void)fprintf(
            out,
            "    \"%s %s\") COMPREPLY=($(compgen -W SHA256: -- \"$cur\")); __ltrim_colon_completions "
            "\"$cur\"; return ;;\n",
            c->name, v->name);
}

void completion_bash(FILE *out)
{
    char words[200];
    (void)fputs(head, out);
    (void)fputs(
        "\n# First column of a list from the running server; whoever may not ask it gets nothing.\n"
        "__wormhole_live() {\n"
        "  COMPREPLY=($(compgen -W \"$(\"${words[0]}\" \"${sockets[@]}\" \"$@\" --output tsv 2>/dev/null | "
        "cut "
        "-f1)\" -- \"$cur\"))\n"
        "  __ltrim_colon_completions \"$cur\"\n}\n\n"
        "_wormhole() {\n"
        "  local cur prev words cword i command= verb= sockets=()\n"
        "  _init_completion -n : || return\n"
        "  for ((i = 1; i < cword; i++)); do\n"
        "    case ${words[i]} in\n"
        "    --control-socket | --config | --state-dir) sockets+=(\"${words[i]}\" \"${words[i + 1]}\"); "
        "((i++)) ;;\n"
        "    --control-socket=* | --config=* | --state-dir=*) sockets+=(\"${words[i]}\") ;;\n"
        "    ",
        out);
    all_value_flags(out, " | ");
    (void)fputs(") ((i++)) ;;\n"
                "    -*) ;;\n"
                "    *) if [ -z \"$command\" ]; then command=${words[i]}; elif [ -z \"$verb\" ]; then "
                "verb=${words[i]}; fi ;;\n"
                "    esac\n  done\n"
                "  case $prev in\n    --config) _filedir; return ;;\n",
                out);
    for (size_t i = 0; i < option_count; i++)
        if (option_table[i].type != OPTION_BOOL)
            bash_value(out, option_table[i].flag, table_completion(&option_table[i], words, sizeof words),
                       words);
    (void)fputs("  esac\n  case $command in\n", out);
    for (size_t c = 0; cli_commands[c] != NULL; c++) {
        (void)fprintf(out, "  %s)\n    case $prev in\n", cli_commands[c]->name);
        each_own_option(cli_commands[c], bash_own_value, out);
        (void)fputs("    esac\n    ;;\n", out);
    }
    (void)fputs("  esac\n  case $prev in ", out);
    all_value_flags(out, " | ");
    (void)fputs(") return ;; esac\n"
                "  if [[ $cur == -* ]]; then\n    case $command in\n",
                out);
    for (size_t c = 0; cli_commands[c] != NULL; c++) {
        (void)fprintf(out, "    %s) COMPREPLY=($(compgen -W \"", cli_commands[c]->name);
        flags_of(out, cli_commands[c], " ", false);
        (void)fputs("\" -- \"$cur\")) ;;\n", out);
    }
    (void)fputs("    *) COMPREPLY=($(compgen -W \"--version ", out);
    flags_of(out, NULL, " ", false);
    (void)fputs("\" -- \"$cur\")) ;;\n    esac\n    return\n  fi\n"
                "  if [ -z \"$command\" ]; then\n    COMPREPLY=($(compgen -W \"",
                out);
    command_names(out);
    (void)fputs("\" -- \"$cur\"))\n    return\n  fi\n  case \"$command${verb:+ $verb}\" in\n", out);
    for (size_t c = 0; cli_commands[c] != NULL; c++) {
        const struct cli_command *command = cli_commands[c];
        if (command->verbs != NULL) {
            (void)fprintf(out, "    %s) COMPREPLY=($(compgen -W \"", command->name);
            for (const struct cli_verb *v = command->verbs; v->name != NULL; v++)
                (void)fprintf(out, "%s%s", v == command->verbs ? "" : " ", v->name);
            (void)fputs("\" -- \"$cur\")); return ;;\n", out);
            for (const struct cli_verb *v = command->verbs; v->name != NULL; v++)
                bash_verb_value(out, command, v);
        } else if (command->complete == COMPLETE_COMMAND || command->complete == COMPLETE_WORDS) {
            (void)fprintf(out, "    %s) COMPREPLY=($(compgen -W \"", command->name);
            if (command->complete == COMPLETE_COMMAND)
                command_names(out);
            else
                words_spaced(out, command->argument);
            (void)fputs("\" -- \"$cur\")); return ;;\n", out);
        }
    }
    (void)fputs("  esac\n} &&\n  complete -F _wormhole wormhole\n", out);
}

/* ---- zsh ---- */

/* Text inside of '…' in a form that _arguments takes: no quote, no bracket, no colon. */
static void zsh_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '[' || *text == ']' || *text == ':' || *text == '\\')
            (void)fputc('\\', out);
        (void)fputs(*text == '\'' ? "'\\''" : (const char[]){*text, '\0'}, out);
    }
}

static void zsh_action(FILE *out, enum cli_complete complete, const char *words)
{
    switch (complete) {
    case COMPLETE_WORDS:
        (void)fputc('(', out);
        words_spaced(out, words);
        (void)fputc(')', out);
        break;
    case COMPLETE_FILE: (void)fputs("_files", out); break;
    case COMPLETE_DIR: (void)fputs("_files -/", out); break;
    /* The blank keeps _arguments from putting words of its own before ours. */
    case COMPLETE_PEER: (void)fputs(" __wormhole_live peers list", out); break;
    case COMPLETE_REQUEST: (void)fputs(" __wormhole_live requests list", out); break;
    case COMPLETE_FINGERPRINT: (void)fputs("(SHA256\\:)", out); break;
    case COMPLETE_COMMAND:
        (void)fputc('(', out);
        command_names(out);
        (void)fputc(')', out);
        break;
    case COMPLETE_NOTHING: (void)fputc(' ', out); break;
    }
}

static void zsh_option(FILE *out, const char *flag, const char *argument, const char *help,
                       enum cli_complete complete, const char *words, bool repeat)
{
    (void)fprintf(out, "      '%s--%s%s[", repeat ? "*" : "", flag, argument != NULL ? "=" : "");
    zsh_text(out, help);
    (void)fputc(']', out);
    if (argument != NULL) {
        (void)fputc(':', out);
        zsh_text(out, argument);
        (void)fputc(':', out);
        zsh_action(out, complete, words);
    }
    (void)fputs("' \\\n", out);
}

static void zsh_own(void *arg, const struct cli_option *option)
{
    zsh_option(arg, option->flag, option->argument, own_help(option), option->complete, option->words, false);
}

static void zsh_table(FILE *out, unsigned where)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        char words[200];
        if ((o->where & where) == 0)
            continue;
        enum cli_complete complete =
            OPTION_BOOL == o->type ? COMPLETE_NOTHING : table_completion(o, words, sizeof words);
        zsh_option(out, o->flag, o->type == OPTION_BOOL ? NULL : o->argument, option_help_text(o), complete,
                   words, o->type == OPTION_LIST || o->type == OPTION_APPS);
    }
    zsh_option(out, "config", "FILE", "the configuration file", COMPLETE_FILE, NULL, false);
    zsh_option(out, "help", NULL, "what it does", COMPLETE_NOTHING, NULL, false);
}

static void zsh_command(FILE *out, const struct cli_command *c)
{
    (void)fprintf(out, "  %s)\n", c->name);
    if (c->verbs != NULL) {
        (void)fputs("    case $words[2] in\n", out);
        for (const struct cli_verb *v = c->verbs; v->name != NULL; v++) {
            if (v->complete == COMPLETE_NOTHING)
                continue;
            (void)fprintf(out, "    %s) argument='%s:%s:", v->name, v->many ? "*" : "2", v->argument);
            zsh_action(out, v->complete, NULL);
            (void)fputs("' ;;\n", out);
        }
        (void)fputs("    esac\n", out);
    }
    (void)fputs("    _arguments \\\n", out);
    each_own_option(c, zsh_own, out);
    zsh_table(out, WHERE_GLOBAL | c->takes);
    if (c->verbs != NULL) {
        (void)fputs("      '1:command:((", out);
        for (const struct cli_verb *v = c->verbs; v->name != NULL; v++) {
            (void)fprintf(out, "%s%s\\:\"", v == c->verbs ? "" : " ", v->name);
            zsh_text(out, v->help);
            (void)fputc('"', out);
        }
        (void)fputs("))' \\\n      ${argument:+$argument}\n", out);
    } else if (c->complete != COMPLETE_NOTHING) {
        (void)fputs("      '1:argument:", out);
        zsh_action(out, c->complete, c->argument);
        (void)fputs("'\n", out);
    } else {
        /* Nothing to offer; a message instead ("argument") would keep a unique option from being written out.
         */
        (void)fputs("      '*:argument:{:}'\n", out);
    }
    (void)fputs("    ;;\n", out);
}

void completion_zsh(FILE *out)
{
    (void)fputs("#compdef wormhole\n", out);
    (void)fputs(head, out);
    (void)fputs("\n# First column of a list from the running server; whoever may not ask it gets nothing.\n"
                "__wormhole_live() {\n"
                "  local -a found sockets\n"
                "  local i\n"
                "  for ((i = 1; i <= $#wormhole_words; i++)); do\n"
                "    case $wormhole_words[i] in\n"
                "    --control-socket | --config | --state-dir) sockets+=($wormhole_words[i] "
                "$wormhole_words[i+1]) ;;\n"
                "    --control-socket=* | --config=* | --state-dir=*) sockets+=($wormhole_words[i]) ;;\n"
                "    esac\n  done\n"
                "  found=(${(f)\"$(wormhole $sockets $argv --output tsv 2>/dev/null | cut -f1)\"})\n"
                "  compadd -a found\n}\n\n"
                "_wormhole() {\n"
                "  local curcontext=$curcontext state line argument\n"
                "  local -a wormhole_words=($words)\n"
                "  _arguments -C \\\n",
                out);
    zsh_table(out, WHERE_GLOBAL);
    (void)fputs("      '--version[the version and nothing else]' \\\n"
                "      '1:command:->command' \\\n      '*::argument:->argument'\n"
                "  case $state in\n  command)\n    local -a commands=(\n",
                out);
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        (void)fprintf(out, "      '%s:", cli_commands[i]->name);
        zsh_text(out, cli_commands[i]->summary);
        (void)fputs("'\n", out);
    }
    (void)fputs("    )\n    _describe command commands\n    return\n    ;;\n  esac\n"
                "  case $words[1] in\n",
                out);
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        zsh_command(out, cli_commands[i]);
    (void)fputs("  esac\n}\n\n_wormhole \"$@\"\n", out);
}

/* ---- fish ---- */

static void fish_text(FILE *out, const char *text)
{
    (void)fputc('\'', out);
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\')
            (void)fputc('\\', out);
        (void)fputc(*text, out);
    }
    (void)fputc('\'', out);
}

static void fish_value(FILE *out, enum cli_complete complete, const char *words)
{
    switch (complete) {
    case COMPLETE_WORDS:
        (void)fputs(" -x -a '", out);
        words_spaced(out, words);
        (void)fputc('\'', out);
        break;
    case COMPLETE_FILE: (void)fputs(" -r -F", out); break;
    case COMPLETE_DIR: (void)fputs(" -x -a '(__fish_complete_directories)'", out); break;
    case COMPLETE_PEER: (void)fputs(" -x -a '(__wormhole_live peers list)'", out); break;
    case COMPLETE_REQUEST: (void)fputs(" -x -a '(__wormhole_live requests list)'", out); break;
    default: (void)fputs(" -x", out);
    }
}

struct fish {
    FILE *out;
    const char *command; /* NULL: everywhere */
};

static void fish_option(struct fish *f, const char *flag, const char *argument, const char *help,
                        enum cli_complete complete, const char *words)
{
    (void)fputs("complete -c wormhole", f->out);
    if (f->command != NULL)
        (void)fprintf(f->out, " -n '__fish_seen_subcommand_from %s'", f->command);
    (void)fprintf(f->out, " -l %s", flag);
    if (argument != NULL)
        fish_value(f->out, complete, words);
    (void)fputs(" -d ", f->out);
    fish_text(f->out, help);
    (void)fputc('\n', f->out);
}

static void fish_own(void *arg, const struct cli_option *option)
{
    fish_option(arg, option->flag, option->argument, own_help(option), option->complete, option->words);
}

static void fish_table(struct fish *f, unsigned where)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        char words[200];
        if ((o->where & where) == 0)
            continue;
        enum cli_complete complete = table_completion(o, words, sizeof words);
        fish_option(f, o->flag, o->type == OPTION_BOOL ? NULL : o->argument, option_help_text(o), complete,
                    words);
    }
}

void completion_fish(FILE *out)
{
    struct fish f = {.out = out};
    (void)fputs(head, out);
    (void)fputs("\n# First column of a list from the running server; whoever may not ask it gets nothing.\n"
                "function __wormhole_live\n"
                "    set -l sockets\n"
                "    set -l words (commandline -opc)\n"
                "    for i in (seq (count $words))\n"
                "        switch $words[$i]\n"
                "            case --control-socket --config --state-dir\n"
                "                set -a sockets $words[$i] $words[(math $i + 1)]\n"
                "            case '--control-socket=*' '--config=*' '--state-dir=*'\n"
                "                set -a sockets $words[$i]\n"
                "        end\n    end\n"
                "    wormhole $sockets $argv --output tsv 2>/dev/null | cut -f1\n"
                "end\n\n"
                "function __wormhole_at --argument-names command verb\n"
                "    set -l words (commandline -opc)\n"
                "    contains -- $command $words; and contains -- $verb $words\n"
                "end\n\n"
                "complete -c wormhole -f\n",
                out);
    fish_option(&f, "config", "FILE", "the configuration file", COMPLETE_FILE, NULL);
    fish_option(&f, "help", NULL, "what it does", COMPLETE_NOTHING, NULL);
    fish_option(&f, "version", NULL, "the version and nothing else", COMPLETE_NOTHING, NULL);
    fish_table(&f, WHERE_GLOBAL);
    for (size_t c = 0; cli_commands[c] != NULL; c++) {
        const struct cli_command *command = cli_commands[c];
        (void)fprintf(out, "complete -c wormhole -n __fish_use_subcommand -a %s -d ", command->name);
        fish_text(out, command->summary);
        (void)fputc('\n', out);
        f.command = command->name;
        each_own_option(command, fish_own, &f);
        if (command->takes != 0)
            fish_table(&f, command->takes);
        for (const struct cli_verb *v = command->verbs; v != NULL && v->name != NULL; v++) {
            (void)fprintf(out,
                          "complete -c wormhole -n '__fish_seen_subcommand_from %s; and not "
                          "__fish_seen_subcommand_from",
                          command->name);
            for (const struct cli_verb *w = command->verbs; w->name != NULL; w++)
                (void)fprintf(out, " %s", w->name);
            (void)fprintf(out, "' -a %s -d ", v->name);
            fish_text(out, v->help);
            (void)fputc('\n', out);
            if (v->complete == COMPLETE_REQUEST || v->complete == COMPLETE_PEER)
                (void)fprintf(
                    out, "complete -c wormhole -n '__wormhole_at %s %s' -a '(__wormhole_live %s list)'\n",
                    command->name, v->name, v->complete == COMPLETE_PEER ? "peers" : "requests");
        }
        if (command->complete == COMPLETE_WORDS || command->complete == COMPLETE_COMMAND) {
            (void)fprintf(out, "complete -c wormhole -n '__fish_seen_subcommand_from %s' -a '",
                          command->name);
            if (command->complete == COMPLETE_WORDS)
                words_spaced(out, command->argument);
            else
                command_names(out);
            (void)fputs("'\n", out);
        }
    }
}
