/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wormhole status`: every process as the kernel sees it, and what the supervisor says about its connections.
 * Shows what it is told; judges nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/sandbox.h"
#include "common/utf8.h"
#include "supervisor/cli/cli_client.h"
#include "supervisor/cli/cli_output.h"

static const struct column columns[] = {
    {"role", "ROLE", COLUMN_TEXT},
    {"peer", "PEER", COLUMN_TEXT},
    {"pid", "PID", COLUMN_NUMBER},
    {"uid", "UID", COLUMN_NUMBER},
    {"gid", NULL, COLUMN_NUMBER},
    {"capabilities", NULL, COLUMN_TEXT}, /* in the table: with the layers, below it */
    {"capabilities_bounding", NULL, COLUMN_TEXT},
    {"no_new_privs", NULL, COLUMN_YES_NO},
    {"seccomp", "SECCOMP", COLUMN_TEXT},
    {"landlock_abi", NULL, COLUMN_NUMBER},
    {"uptime_ms", "UPTIME", COLUMN_AGE_MS},
    {"restarts", "RESTARTS", COLUMN_NUMBER},
    {"rss_kib", "KIB", COLUMN_NUMBER},
    {"threads", NULL, COLUMN_NUMBER},
    {"descriptors", NULL, COLUMN_NUMBER},
    {"connection", NULL, COLUMN_NUMBER},
    {"layers", NULL, COLUMN_TEXT},
    {"missing", NULL, COLUMN_TEXT},
};

enum { COLUMNS = sizeof columns / sizeof columns[0], CONFINED_MAX = 24 };
static const char *const yields[] = {"rss_kib", "restarts", "seccomp", "uptime_ms", NULL};

/* Processes that are locked up alike: one paragraph below the table. */
struct confined {
    char roles[120];
    char how[600];
};

struct listing {
    enum output_format format;
    struct output out;
    struct json_writer json;
    bool processes;     /* the first process row came */
    char missing[2048]; /* lines about layers that could not be had */
    struct confined confined[CONFINED_MAX];
    size_t n_confined;
};

static const char *seccomp_text(const struct msg_row_process *p, char *buf, size_t cap)
{
    static const char *const modes[] = {"none", "strict", "filter"};
    (void)snprintf(buf, cap, "%s", p->seccomp_mode < 3 ? modes[p->seccomp_mode] : "?");
    if (p->seccomp_filters > 1) {
        size_t used = strlen(buf);
        (void)snprintf(buf + used, cap - used, "×%" PRIu32, p->seccomp_filters);
    }
    return buf;
}

/* Is the role one of the words of a list? */
static bool role_is_listed(const char *roles, const char *role)
{
    size_t length = strlen(role);
    for (const char *at = strstr(roles, role); at != NULL; at = strstr(at + 1, role))
        if ((at == roles || at[-1] == ' ') && (at[length] == '\0' || at[length] == ','))
            return true;
    return false;
}

/* Remembers how this process is confined, for the paragraphs below the table. */
static void confined_add(struct listing *listing, const struct msg_row_process *p, const char *layers,
                         const char *capabilities)
{
    char how[sizeof listing->confined[0].how], landlock[40] = "";
    if (p->landlock_abi > 0)
        (void)snprintf(landlock, sizeof landlock, "; Landlock ABI %u", (unsigned)p->landlock_abi);
    (void)snprintf(how, sizeof how, "%s%s; capabilities: %s", layers[0] != '\0' ? layers : "no layer",
                   landlock, capabilities);
    for (size_t i = 0; i < listing->n_confined; i++) {
        struct confined *known = &listing->confined[i];
        if (strcmp(known->how, how) != 0)
            continue;
        size_t used = strlen(known->roles);
        if (!role_is_listed(known->roles, p->role))
            (void)snprintf(known->roles + used, sizeof known->roles - used, ", %s", p->role);
        return;
    }
    if (listing->n_confined == CONFINED_MAX)
        return;
    struct confined *fresh = &listing->confined[listing->n_confined++];
    (void)snprintf(fresh->roles, sizeof fresh->roles, "%s", p->role);
    (void)snprintf(fresh->how, sizeof fresh->how, "%s", how);
}

static void show_process(struct listing *listing, const struct msg_row_process *p)
{
    char effective[256], bounding[1024], seccomp[32], layers[200];
    sandbox_capabilities_text(p->cap_effective | p->cap_permitted, effective, sizeof effective);
    sandbox_capabilities_text(p->cap_bounding, bounding, sizeof bounding);
    sandbox_layers_text(p->layers, layers, sizeof layers);
    const struct cell cells[COLUMNS] = {
        CELL_TEXT(p->role),
        CELL_TEXT(p->peer),
        CELL_NUMBER(p->pid),
        CELL_NUMBER(p->uid),
        CELL_NUMBER(p->gid),
        CELL_TEXT(effective),
        CELL_TEXT(bounding),
        CELL_NUMBER(p->no_new_privs),
        CELL_TEXT(seccomp_text(p, seccomp, sizeof seccomp)),
        CELL_NUMBER(p->landlock_abi),
        CELL_NUMBER(p->uptime_ms),
        CELL_NUMBER(p->restarts),
        CELL_NUMBER(p->rss_kib),
        CELL_NUMBER(p->threads),
        CELL_NUMBER(p->descriptors),
        CELL_NUMBER(p->connection),
        CELL_TEXT(layers),
        CELL_TEXT(p->missing),
    };
    if (listing->format == OUTPUT_TSV)
        (void)printf("process\t");
    output_row(&listing->out, cells);
    if (listing->format == OUTPUT_TABLE)
        confined_add(listing, p, layers, effective);
    size_t used = strlen(listing->missing);
    if (p->missing[0] != '\0' && used + 300 < sizeof listing->missing) {
        char clean[256];
        utf8_clean(clean, sizeof clean, p->missing);
        (void)snprintf(listing->missing + used, sizeof listing->missing - used, "%s (pid %" PRIu32 "): %s\n",
                       p->role, p->pid, clean);
    }
}

static void show_fact(struct listing *listing, const struct msg_row_fact *fact)
{
    char value[520];
    if (listing->format == OUTPUT_JSON) {
        json_put_string(&listing->json, fact->name, fact->value);
        return;
    }
    utf8_clean(value, sizeof value, fact->value);
    if (listing->format == OUTPUT_TSV)
        (void)printf("fact\t%s\t%s\n", fact->name, value);
    else
        (void)printf("%-22s  %s\n", fact->name, value);
}

/* Facts are over. JSON rows go straight into the object that holds both. */
static void begin_processes(struct listing *listing)
{
    if (listing->processes)
        return;
    listing->processes = true;
    if (listing->format == OUTPUT_TABLE)
        (void)putchar('\n');
    output_begin(&listing->out, listing->format == OUTPUT_JSON ? OUTPUT_TABLE : listing->format, columns,
                 COLUMNS);
    listing->out.yields = yields;
    if (listing->format == OUTPUT_JSON) {
        listing->out.format = OUTPUT_JSON;
        json_end_object(&listing->json);
        json_key(&listing->json, "processes");
        json_begin_array(&listing->json);
        listing->out.json = listing->json;
    }
}

static bool status_row(void *arg, enum message_type type, const union message *row)
{
    struct listing *listing = arg;
    if (type == MSG_ROW_FACT && !listing->processes) {
        show_fact(listing, &row->row_fact);
    } else if (type == MSG_ROW_PROCESS) {
        begin_processes(listing);
        show_process(listing, &row->row_process);
    }
    return true;
}

static int end_listing(struct listing *listing)
{
    begin_processes(listing);
    if (listing->format == OUTPUT_JSON) {
        json_end_array(&listing->out.json);
        json_end_object(&listing->out.json);
        return json_finish(&listing->out.json) == OK ? EXIT_DONE : EXIT_FAILED;
    }
    int written = output_end(&listing->out);
    for (size_t i = 0; i < listing->n_confined; i++) {
        (void)printf("\nLayers of %s\n", listing->confined[i].roles);
        output_wrapped(listing->confined[i].how, 2, output_terminal_width(STDOUT_FILENO));
    }
    if (listing->format == OUTPUT_TABLE && listing->missing[0] != '\0') {
        (void)fflush(stdout);
        (void)fprintf(stderr, "\nNot in force, or not known:\n%s", listing->missing);
    }
    return written;
}

static int status_run(const struct args *args)
{
    struct cli_client *client = NULL;
    int code = EXIT_FAILED;
    if (cli_client_open(args, &client, &code) != OK)
        return code;
    struct listing *listing = calloc(1, sizeof *listing);
    if (listing == NULL) {
        cli_client_close(client);
        return EXIT_FAILED;
    }
    listing->format = output_format_of(args);
    if (listing->format == OUTPUT_JSON) {
        json_to_file(&listing->json, stdout, true);
        json_begin_object(&listing->json);
        json_key(&listing->json, "facts");
        json_begin_object(&listing->json);
    }
    code = cli_query(client, QUERY_STATUS, 0, NULL, status_row, listing);
    int written = end_listing(listing);
    free(listing);
    cli_client_close(client);
    return code != EXIT_DONE ? code : written;
}

static const struct cli_example examples[] = {
    {"wormhole status", "the server on this host"},
    {"wormhole status --client", "the client on this host: is it connected, and if not, why"},
    {"wormhole status --output json | jq '.processes[] | select(.seccomp == \"none\")'",
     "processes without a seccomp filter (there should be none)"},
    {NULL, NULL},
};

const struct cli_command cli_status = {
    .name = "status",
    .summary = "shows every process, its sandbox, and the state of connections",
    .description =
        "Shows what the running server (or client) knows about itself, and each of its processes: role, "
        "peer, user, "
        "seccomp, uptime and restarts; below, the layers of the sandbox and the capabilities that are in "
        "force, "
        "once for all processes that are confined alike. A layer that this kernel or container could not "
        "give "
        "is listed with the reason.\n\n"
        "In a pipe: lines that begin with \"fact\" (name, value) and with \"process\" (role, peer, pid, uid, "
        "gid, "
        "capabilities, bounding set, no_new_privs, seccomp, Landlock ABI, uptime in ms, restarts, resident "
        "KiB, "
        "threads, descriptors, connection, layers, missing layers).",
    .shows = true,
    .asks_client = true,
    .examples = examples,
    .see_also = "wormhole-listen(8), wormhole-join(8), wormhole-probe(1)",
    .section = 1,
    .run = status_run,
};
