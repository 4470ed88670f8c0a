/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wormhole keys`: this host's own identity. The key itself is never shown: only the crypto worker can read
 * it.
 */
#include <stdio.h>

#include "common/clock.h"
#include "supervisor/cli/cli_client.h"
#include "supervisor/cli/cli_keys_copy.h"
#include "supervisor/cli/cli_output.h"

static const struct column columns[] = {
    {"kind", "side", COLUMN_TEXT},
    {"fingerprint", "fingerprint", COLUMN_TEXT},
    {"bits", "bits", COLUMN_NUMBER},
    {"created", "made at", COLUMN_TIME},
    {"age_ms", "age", COLUMN_AGE_MS},
    {"path", "file", COLUMN_TEXT},
    {"known_server", "server it trusts", COLUMN_TEXT},
};

struct found {
    bool any;
    struct msg_row_key key;
};

static bool key_row(void *arg, enum message_type type, const union message *row)
{
    struct found *found = arg;
    if (type == MSG_ROW_KEY) {
        found->any = true;
        found->key = row->row_key;
    }
    return true;
}

static int show_run(const struct args *args)
{
    struct cli_client *client = NULL;
    struct found found = {.any = false};
    int code = EXIT_FAILED;
    if (cli_client_open(args, &client, &code) != OK)
        return code;
    code = cli_query(client, QUERY_KEYS, 0, NULL, key_row, &found);
    cli_client_close(client);
    if (code != EXIT_DONE)
        return code;
    if (!found.any) {
        cli_error("the key is not loaded yet; see wormhole status");
        return EXIT_FAILED;
    }
    uint64_t now = clock_wall_s(), age = now > found.key.created ? now - found.key.created : 0;
    const struct cell cells[] = {
        CELL_TEXT(found.key.kind),         CELL_TEXT(found.key.fingerprint), CELL_NUMBER(found.key.bits),
        CELL_NUMBER(found.key.created),    CELL_NUMBER(age * 1000),          CELL_TEXT(found.key.path),
        CELL_TEXT(found.key.known_server),
    };
    return output_record(output_format_of(args), columns, cells, sizeof columns / sizeof columns[0]);
}

static int rotate_run(const struct args *args)
{
    struct cli_client *client = NULL;
    char text[513];
    enum outcome outcome = OUTCOME_FAILED;
    int code = EXIT_FAILED;
    if (cli_client_open(args, &client, &code) != OK)
        return code;
    code = cli_decide(client, DECISION_ROTATE_KEY, "", NULL, &outcome, text);
    cli_client_close(client);
    if (code != EXIT_DONE)
        return code;
    if (outcome == OUTCOME_UNSUPPORTED) {
        cli_error("this version cannot rotate keys yet%s%s", text[0] != '\0' ? ": " : "", text);
        return EXIT_FAILED;
    }
    if (outcome == OUTCOME_DONE)
        (void)fprintf(stderr, "Rotated%s%s\n", text[0] != '\0' ? ": " : "", text);
    return cli_explain(outcome, NULL, text);
}

static const struct cli_verb verbs[] = {
    {"show", NULL, "shows the fingerprint, age and place of this host's key", COMPLETE_NOTHING, false,
     show_run},
    {"rotate", NULL,
     "replaces the key by a new one that the other side accepts because the old one signed it (not in "
     "this version yet)",
     COMPLETE_NOTHING, false, rotate_run},
    {"copy", "FROM TO",
     "copies a key directory's files from a mounted Secret to a directory that only this user may enter; for "
     "the init container of a pod",
     COMPLETE_DIR, true, keys_copy_run},
    {NULL, NULL, NULL, COMPLETE_NOTHING, false, NULL},
};

static const struct cli_example examples[] = {
    {"wormhole keys show", "the server's identity: what a client's server-fingerprint has to be"},
    {"wormhole keys show --client", "this host's client key: what an operator of the server compares"},
    {NULL, NULL},
};

const struct cli_command cli_keys = {
    .name = "keys",
    .summary = "shows this host's own identity",
    .description =
        "Shows the identity of the server (or, with --client, of the client) that runs on this host. A "
        "fingerprint is "
        "SHA256: and the unpadded base64url of SHA-256 over the key's whole DER SubjectPublicKeyInfo; with "
        "openssl: openssl pkey -in FILE -pubout -outform DER | openssl dgst -sha256 -binary | basenc "
        "--base64url.",
    .verbs = verbs,
    .shows = true,
    .asks_client = true,
    .examples = examples,
    .see_also = "wormhole-requests(1), wormhole-join(8)",
    .section = 1,
};
