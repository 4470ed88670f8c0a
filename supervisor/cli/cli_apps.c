/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wormhole apps`: what is exposed and where it listens.
 */
#include <stdio.h>
#include <string.h>

#include "supervisor/cli/cli_client.h"
#include "supervisor/cli/cli_output.h"

static const struct column columns[] = {
    {"peer", "PEER", COLUMN_TEXT},
    {"app", "APP", COLUMN_TEXT},
    {"endpoint", "ENDPOINT", COLUMN_TEXT},
    {"state", "STATE", COLUMN_STATE},
    {"connected", NULL, COLUMN_YES_NO},
    {"streams", "STREAMS", COLUMN_NUMBER},
    {"streams_total", "TOTAL", COLUMN_NUMBER},
    {"refused", "REFUSED", COLUMN_NUMBER},
    {"bytes_in", "IN", COLUMN_BYTES},
    {"bytes_out", "OUT", COLUMN_BYTES},
    {"address", NULL, COLUMN_TEXT},
    {"port", NULL, COLUMN_NUMBER},
};
static const char *const yields[] = {"refused", "streams_total", "bytes_in", "bytes_out", "streams", NULL};

struct listing {
    struct output out;
    const char *peer; /* NULL: all */
};

static bool app_row(void *arg, enum message_type type, const union message *row)
{
    struct listing *listing = arg;
    const struct msg_row_app *a = &row->row_app;
    if (type != MSG_ROW_APP || (listing->peer != NULL && strcmp(a->peer, listing->peer) != 0))
        return true;
    const struct cell cells[] = {
        CELL_TEXT(a->peer),
        CELL_TEXT(a->app),
        CELL_TEXT(a->endpoint),
        CELL_TEXT(a->state),
        CELL_NUMBER(a->connected),
        CELL_NUMBER(a->streams),
        CELL_NUMBER(a->streams_total),
        CELL_NUMBER(a->refused),
        CELL_NUMBER(a->bytes_in),
        CELL_NUMBER(a->bytes_out),
        CELL_TEXT(a->address),
        CELL_NUMBER(a->port),
    };
    output_row(&listing->out, cells);
    return true;
}

static int apps_run(const struct args *args)
{
    struct cli_client *client = NULL;
    struct listing listing = {.peer = args_value(args, "peer")};
    int code = EXIT_FAILED;
    if (cli_client_open(args, &client, &code) != OK)
        return code;
    output_begin(&listing.out, output_format_of(args), columns, sizeof columns / sizeof columns[0]);
    listing.out.yields = yields;
    code = cli_query(client, QUERY_APPS, 0, listing.peer, app_row, &listing);
    int written = output_end(&listing.out);
    cli_client_close(client);
    if (code == EXIT_DONE && listing.out.format == OUTPUT_TABLE && listing.out.n_rows == 0)
        (void)fprintf(stderr, listing.peer != NULL
                                  ? "This peer exposes nothing now; see wormhole peers list\n"
                                  : "Nothing is exposed now; see wormhole peers list\n");
    return code != EXIT_DONE ? code : written;
}

static const struct cli_option options[] = {
    {"peer", "NAME", "only the apps of this peer", NULL, COMPLETE_PEER},
    {NULL, NULL, NULL, NULL, COMPLETE_NOTHING},
};

static const struct cli_example examples[] = {
    {"wormhole apps", "all apps, where they listen, what flows"},
    {"wormhole apps --peer edge1 --output json", "those of one peer, for a program"},
    {"wormhole apps | awk -F'\\t' '$2 == \"web\" {print $3}'", "where the apps called web listen"},
    {NULL, NULL},
};

const struct cli_command cli_apps = {
    .name = "apps",
    .summary = "shows what is exposed, where it listens and what flows",
    .description =
        "On a server: the apps of all connected clients (and of those within the grace period after a lost "
        "connection), the address and port where each listens, live streams and bytes. IN is what came from "
        "the app, "
        "OUT what went to it.\n\n"
        "On a client (--client): what it offers, and what the server says about each app.\n\n"
        "Columns in a pipe: peer, app, endpoint, state, connected, streams, streams in all, refused, bytes "
        "in, bytes "
        "out, address, port.",
    .options = options,
    .shows = true,
    .asks_client = true,
    .examples = examples,
    .see_also = "wormhole-peers(1), wormhole-status(1)",
    .section = 1,
    .run = apps_run,
};
