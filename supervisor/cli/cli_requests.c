/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wormhole requests`: who waits for approval, and the operator's answer. The server decides whether the
 * operator may.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/utf8.h"
#include "supervisor/cli/cli_client.h"
#include "supervisor/cli/cli_output.h"
#include "supervisor/cli/cli_subject.h"

static const struct column columns[] = {
    {"fingerprint", "FINGERPRINT", COLUMN_TEXT},
    {"name", "NAME", COLUMN_TEXT},
    {"remote", "ADDRESS", COLUMN_TEXT},
    {"first_seen", "FIRST SEEN", COLUMN_TIME},
    {"last_seen", NULL, COLUMN_TIME},
    {"waiting", "WAITING", COLUMN_YES_NO},
    {"pairing_code", "PAIRING CODE", COLUMN_TEXT},
    {"bits", NULL, COLUMN_NUMBER},
    {"warning", NULL, COLUMN_TEXT},
};
/* Never what is to be compared: rather a block of lines for each. */
static const char *const yields[] = {"first_seen", "waiting", NULL};

static bool list_row(void *arg, enum message_type type, const union message *row)
{
    const struct msg_row_request *r = &row->row_request;
    struct output *out = arg;
    if (type != MSG_ROW_REQUEST)
        return true;
    const struct cell cells[] = {
        CELL_TEXT(r->fingerprint),  CELL_TEXT(r->name),        CELL_TEXT(r->remote),
        CELL_NUMBER(r->first_seen), CELL_NUMBER(r->last_seen), CELL_NUMBER(r->waiting),
        CELL_TEXT(r->pairing_code), CELL_NUMBER(r->bits),      CELL_TEXT(r->warning),
    };
    output_row(out, cells);
    if (r->warning[0] != '\0' && out->format == OUTPUT_TABLE) {
        char clean[300];
        utf8_clean(clean, sizeof clean, r->warning);
        (void)fprintf(stderr, "wormhole: beware, %s: %s\n", r->name, clean);
    }
    return true;
}

static int list_run(const struct args *args)
{
    struct cli_client *client = NULL;
    struct output out;
    int code = EXIT_FAILED;
    if (cli_client_open(args, &client, &code) != OK)
        return code;
    output_begin(&out, output_format_of(args), columns, sizeof columns / sizeof columns[0]);
    out.yields = yields;
    code = cli_query(client, QUERY_REQUESTS, 0, NULL, list_row, &out);
    int written = output_end(&out);
    cli_client_close(client);
    if (code != EXIT_DONE)
        return code;
    if (out.format == OUTPUT_TABLE && out.n_rows == 0)
        (void)fprintf(stderr, "Nobody waits for approval.\n");
    else if (out.format == OUTPUT_TABLE)
        (void)fprintf(
            stderr,
            "\nCompare the fingerprint or the pairing code with what the client shows, then: wormhole "
            "requests accept FINGERPRINT\n");
    return written;
}

static int decide_one(struct cli_client *client, enum decision action, const char *typed)
{
    bool accept = action == DECISION_ACCEPT;
    char subject[128], text[513];
    enum outcome outcome = OUTCOME_FAILED;
    int code = subject_resolve(client, SUBJECT_REQUEST, accept ? "Accept" : "Decline", typed, subject,
                               sizeof subject);
    if (code == EXIT_DONE)
        code = cli_decide(client, action, subject, NULL, &outcome, text);
    if (code != EXIT_DONE)
        return code;
    if (outcome != OUTCOME_DONE)
        return cli_explain(outcome, subject, text);
    if (text[0] != '\0')
        (void)fprintf(stderr, "%s\n", text);
    else
        (void)fprintf(stderr, "%s %s\n", accept ? "Accepted" : "Declined", subject);
    return EXIT_DONE;
}

static int decide_all(const struct args *args, enum decision action)
{
    struct cli_client *client = NULL;
    int code = EXIT_FAILED;
    if (cli_client_open(args, &client, &code) != OK)
        return code;
    code = EXIT_DONE;
    for (int i = 0; i < args->n_positional; i++) {
        int one = decide_one(client, action, args->positional[i]);
        if (one != EXIT_DONE && code == EXIT_DONE)
            code = one; /* the others are still decided: each stands for itself */
    }
    cli_client_close(client);
    if (code == EXIT_DONE && action == DECISION_ACCEPT)
        (void)fprintf(stderr, "What it exposes: wormhole apps\n");
    return code;
}

static int accept_run(const struct args *args)
{
    return decide_all(args, DECISION_ACCEPT);
}

static int decline_run(const struct args *args)
{
    return decide_all(args, DECISION_DECLINE);
}

static const struct cli_verb verbs[] = {
    {"list", NULL, "shows who waits for approval", COMPLETE_NOTHING, false, list_run},
    {"accept", "FINGERPRINT", "approves a key for good; the waiting client is let in at once",
     COMPLETE_REQUEST, true, accept_run},
    {"decline", "FINGERPRINT", "refuses a key; it may ask again after declined-time (24 hours)",
     COMPLETE_REQUEST, true, decline_run},
    {NULL, NULL, NULL, COMPLETE_NOTHING, false, NULL},
};

static const struct cli_example examples[] = {
    {"wormhole requests list", "who waits, from where, and which pairing code they show"},
    {"wormhole requests accept SHA256:qNk1rCwJ4mYF4P1l2vBgYw7v9L4c7gH0o2t1cZ3s8yA", "lets this client in"},
    {"wormhole requests list | cut -f1 | xargs -r wormhole requests decline", "refuses all who wait"},
    {NULL, NULL},
};

const struct cli_command cli_requests = {
    .name = "requests",
    .summary = "shows, accepts or declines the clients that wait for approval",
    .description =
        "A client whose key the server does not know yet waits until an operator decides. Compare the "
        "fingerprint (or "
        "the shorter pairing code) with what the client shows on its own console or log, over a channel that "
        "you trust, before you accept: this is the one moment that everything later rests on.\n\n"
        "On a terminal a fingerprint may be shortened to at least 12 characters after SHA256:; the whole one "
        "is shown "
        "and has to be confirmed. Scripts give whole fingerprints.\n\n"
        "Every decision is recorded with who took it (the user at the other end of the control socket) and "
        "cannot be "
        "taken out of the record: see wormhole audit.\n\n"
        "Columns of list in a pipe: fingerprint, name, address, first seen, last seen, waiting (is the "
        "client "
        "connected right now?), pairing code, bits of the key, warning.",
    .verbs = verbs,
    .shows = true,
    .examples = examples,
    .see_also = "wormhole-peers(1), wormhole-audit(1), wormhole-join(8)",
    .section = 1,
};
