/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wormhole peers`: the known keys and what was decided about them.
 */
#include <stdio.h>
#include <string.h>

#include "common/fingerprint.h"
#include "common/names.h"
#include "supervisor/cli/cli_client.h"
#include "supervisor/cli/cli_output.h"
#include "supervisor/cli/cli_subject.h"

static const struct column columns[] = {
    {"name", "NAME", COLUMN_TEXT},
    {"status", "STATUS", COLUMN_STATE},
    {"fingerprint", "FINGERPRINT", COLUMN_TEXT},
    {"remote", "ADDRESS", COLUMN_TEXT},
    {"connections", "CONNECTIONS", COLUMN_NUMBER},
    {"apps", "APPS", COLUMN_NUMBER},
    {"last_seen", "LAST SEEN", COLUMN_TIME},
    {"first_seen", NULL, COLUMN_TIME},
    {"decided_at", NULL, COLUMN_TIME},
    {"decided_by", NULL, COLUMN_TEXT},
    {"bits", NULL, COLUMN_NUMBER},
    {"superseded_by", NULL, COLUMN_TEXT},
};
enum { COLUMNS = sizeof columns / sizeof columns[0] };
static const char *const yields[] = {"remote", "fingerprint", "last_seen", NULL};

/* `peers show` has room for everything. */
static const struct column show_columns[COLUMNS] = {
    {"name", "name", COLUMN_TEXT},
    {"status", "status", COLUMN_STATE},
    {"fingerprint", "fingerprint", COLUMN_TEXT},
    {"remote", "last address", COLUMN_TEXT},
    {"connections", "connections", COLUMN_NUMBER},
    {"apps", "apps", COLUMN_NUMBER},
    {"last_seen", "last seen", COLUMN_TIME},
    {"first_seen", "first seen", COLUMN_TIME},
    {"decided_at", "decided at", COLUMN_TIME},
    {"decided_by", "decided by", COLUMN_TEXT},
    {"bits", "bits of its key", COLUMN_NUMBER},
    {"superseded_by", "superseded by", COLUMN_TEXT},
};

static void fill(const struct msg_row_peer *p, struct cell cells[COLUMNS])
{
    const struct cell all[COLUMNS] = {
        CELL_TEXT(p->name),        CELL_TEXT(p->status),        CELL_TEXT(p->fingerprint),
        CELL_TEXT(p->remote),      CELL_NUMBER(p->connections), CELL_NUMBER(p->apps),
        CELL_NUMBER(p->last_seen), CELL_NUMBER(p->first_seen),  CELL_NUMBER(p->decided_at),
        CELL_TEXT(p->decided_by),  CELL_NUMBER(p->bits),        CELL_TEXT(p->superseded_by),
    };
    memcpy(cells, all, sizeof all);
}

static bool list_row(void *arg, enum message_type type, const union message *row)
{
    struct cell cells[COLUMNS];
    if (type != MSG_ROW_PEER)
        return true;
    fill(&row->row_peer, cells);
    output_row(arg, cells);
    return true;
}

static int list_run(const struct args *args)
{
    struct cli_client *client = NULL;
    struct output out;
    int code = EXIT_FAILED;
    if (cli_client_open(args, &client, &code) != OK)
        return code;
    output_begin(&out, output_format_of(args), columns, COLUMNS);
    out.yields = yields;
    code = cli_query(client, QUERY_PEERS, 0, NULL, list_row, &out);
    int written = output_end(&out);
    cli_client_close(client);
    if (code == EXIT_DONE && out.format == OUTPUT_TABLE && out.n_rows == 0)
        (void)fprintf(stderr,
                      "No key is known yet. Clients appear when they connect: wormhole requests list\n");
    return code != EXIT_DONE ? code : written;
}

struct wanted {
    const char *subject;
    unsigned found;
    struct msg_row_peer peer;
};

/* An approved key beats older ones of the same name: it is the one that the name stands for. */
static bool show_row(void *arg, enum message_type type, const union message *row)
{
    struct wanted *wanted = arg;
    const struct msg_row_peer *p = &row->row_peer;
    size_t len = strlen(wanted->subject);
    bool prefix = fingerprint_is_prefix(wanted->subject);
    if (type != MSG_ROW_PEER ||
        (prefix ? strncmp(p->fingerprint, wanted->subject, len) != 0 : strcmp(p->name, wanted->subject) != 0))
        return true;
    if (wanted->found++ == 0 || strcmp(p->status, "approved") == 0)
        wanted->peer = *p;
    return true;
}

static int show_run(const struct args *args)
{
    struct cli_client *client = NULL;
    struct wanted wanted = {.subject = args->positional[0]};
    int code = EXIT_FAILED;
    if (cli_client_open(args, &client, &code) != OK)
        return code;
    code = cli_query(client, QUERY_PEERS, 0, NULL, show_row, &wanted);
    cli_client_close(client);
    if (code != EXIT_DONE)
        return code;
    if (wanted.found == 0) {
        cli_error("no peer is called \"%.80s\"; all of them: wormhole peers list", wanted.subject);
        return EXIT_FAILED;
    }
    if (wanted.found > 1 && fingerprint_is_prefix(wanted.subject)) {
        cli_error("several fingerprints begin with %.80s; give more of it", wanted.subject);
        return EXIT_FAILED;
    }
    if (wanted.found > 1)
        cli_error("note: %u keys carried this name; this is the %s one (all: wormhole peers list)",
                  wanted.found, wanted.peer.status);
    struct cell cells[COLUMNS];
    fill(&wanted.peer, cells);
    return output_record(output_format_of(args), show_columns, cells, COLUMNS);
}

static int decide(const struct args *args, enum decision action, const char *verb, const char *done,
                  const char *name)
{
    struct cli_client *client = NULL;
    char subject[128], text[513];
    enum outcome outcome = OUTCOME_FAILED;
    int code = EXIT_FAILED;
    if (cli_client_open(args, &client, &code) != OK)
        return code;
    if (action == DECISION_REVOKE)
        code = subject_resolve(client, SUBJECT_PEER, verb, args->positional[0], subject, sizeof subject);
    else
        (void)snprintf(subject, sizeof subject, "%s", args->positional[0]);
    if (action != DECISION_REVOKE || code == EXIT_DONE)
        code = cli_decide(client, action, subject, name, &outcome, text);
    cli_client_close(client);
    if (code != EXIT_DONE)
        return code;
    if (outcome != OUTCOME_DONE)
        return cli_explain(outcome, subject, text);
    if (text[0] != '\0')
        (void)fprintf(stderr, "%s\n", text);
    else
        (void)fprintf(stderr, "%s %s\n", done, subject);
    return EXIT_DONE;
}

static int revoke_run(const struct args *args)
{
    return decide(args, DECISION_REVOKE, "Revoke", "Revoked", NULL);
}

static int preapprove_run(const struct args *args)
{
    uint8_t digest[FINGERPRINT_BYTES];
    const char *name = args_value(args, "name");
    if (fingerprint_parse(args->positional[0], digest) != OK) {
        cli_error("\"%.80s\" is not a whole fingerprint (SHA256: and 43 characters); the client shows it: "
                  "wormhole keys "
                  "show",
                  args->positional[0]);
        return EXIT_USAGE_ERROR;
    }
    if (name == NULL) {
        cli_error("say which name this key will carry: wormhole peers preapprove FINGERPRINT --name NAME");
        return EXIT_USAGE_ERROR;
    }
    if (!name_is_valid(name)) {
        cli_error("--name: must be 1 to 63 lower-case letters, digits and inner dashes, not \"%.80s\"", name);
        return EXIT_USAGE_ERROR;
    }
    return decide(args, DECISION_PREAPPROVE, "Approve", "Approved in advance:", name);
}

static const struct cli_verb verbs[] = {
    {"list", NULL, "shows all known keys", COMPLETE_NOTHING, false, list_run},
    {"show", "NAME", "shows everything about one (a name or a fingerprint)", COMPLETE_PEER, false, show_run},
    {"revoke", "NAME", "takes the approval back and ends its connections at once", COMPLETE_PEER, false,
     revoke_run},
    {"preapprove", "FINGERPRINT", "approves a key that has not connected yet; needs --name",
     COMPLETE_FINGERPRINT, false, preapprove_run},
    {NULL, NULL, NULL, COMPLETE_NOTHING, false, NULL},
};

static const struct cli_option options[] = {
    {"name", "NAME", "preapprove: the name that the key will carry", NULL, COMPLETE_NOTHING},
    {NULL, NULL, NULL, NULL, COMPLETE_NOTHING},
};

static const struct cli_example examples[] = {
    {"wormhole peers list", "all keys, approved or not, and whether they are connected"},
    {"wormhole peers show edge1 --output json", "everything about one, for a program"},
    {"wormhole peers revoke edge1", "ends edge1's tunnels now and refuses its key from now on"},
    {"wormhole peers preapprove SHA256:qNk1rCwJ4mYF4P1l2vBgYw7v9L4c7gH0o2t1cZ3s8yA --name edge2",
     "lets edge2 in as soon as it connects, without a question"},
    {NULL, NULL},
};

const struct cli_command cli_peers = {
    .name = "peers",
    .summary = "shows the known keys; revokes one, or approves one in advance",
    .description = "Shows what is known about the clients' keys: which are approved, declined, revoked or "
                   "replaced by a newer "
                   "one, when and by whom that was decided, and which are connected now.\n\n"
                   "Revoking ends the peer's connections at once and closes its listening ports. The key "
                   "stays known as revoked "
                   "and cannot ask again; preapprove lets it in again.\n\n"
                   "Columns of list in a pipe: name, status, fingerprint, last address, connections, apps, "
                   "last seen, first seen, "
                   "decided at, decided by, bits, superseded by.",
    .verbs = verbs,
    .options = options,
    .shows = true,
    .examples = examples,
    .see_also = "wormhole-requests(1), wormhole-apps(1), wormhole-audit(1)",
    .section = 1,
};
