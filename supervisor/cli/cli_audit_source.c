/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See cli_audit_source.h. Reads only: a file is opened read-only, and the server is only asked.
 */
#include "supervisor/cli/cli_audit_source.h"

#include <stdlib.h>
#include <string.h>

#include "supervisor/cli/cli_client.h"

#define PAGE 256

struct forward {
    audit_row_fn *row;
    void *arg;
};

/* What does not fit is cut, and then does not verify: a server that is honest never sends such text. */
static void copy_text(char *to, size_t cap, const char *from)
{
    size_t len = strnlen(from, cap - 1);
    memcpy(to, from, len);
    to[len] = '\0';
}

#define COPY_TEXT(to, from) copy_text(to, sizeof(to), from)

static bool live_row(void *arg, enum message_type type, const union message *message)
{
    struct forward *forward = arg;
    const struct msg_row_audit *from = &message->row_audit;
    struct store_audit_row row = {.seq = from->seq, .time_ms = from->time_ms};
    if (type != MSG_ROW_AUDIT)
        return true;
    COPY_TEXT(row.actor_kind, from->actor_kind);
    COPY_TEXT(row.actor, from->actor);
    COPY_TEXT(row.action, from->action);
    COPY_TEXT(row.fingerprint, from->fingerprint);
    COPY_TEXT(row.name, from->name);
    COPY_TEXT(row.remote, from->remote);
    COPY_TEXT(row.detail, from->detail);
    memcpy(row.previous, from->previous, sizeof row.previous);
    memcpy(row.hash, from->hash, sizeof row.hash);
    return forward->row(forward->arg, &row);
}

static int each_of_server(const struct args *args, uint64_t after, struct forward *forward)
{
    struct cli_client *client = NULL;
    int code = EXIT_FAILED;
    if (cli_client_open(args, &client, &code) != OK)
        return code;
    code = cli_query(client, QUERY_AUDIT, after, NULL, live_row, forward);
    cli_client_close(client);
    return code;
}

static int each_of_file(const char *path, uint64_t after, struct forward *forward)
{
    struct store *store = NULL;
    struct store_error error;
    if (store_open(path, true, &store, &error) != OK) {
        cli_error("%s", error.text);
        return EXIT_FAILED;
    }
    struct store_audit_row *rows = calloc(PAGE, sizeof *rows);
    size_t n = rows != NULL ? PAGE : 0;
    int code = rows != NULL ? EXIT_DONE : EXIT_FAILED;
    bool going_on = true;
    while (n == PAGE && going_on) {
        if (store_list_audit(store, after, rows, PAGE, &n) != OK) {
            cli_error("%s: %s", path, store_last_error(store));
            code = EXIT_FAILED;
            break;
        }
        for (size_t i = 0; i < n && going_on; i++) {
            going_on = forward->row(forward->arg, &rows[i]);
            after = rows[i].seq;
        }
    }
    free(rows);
    store_close(store);
    return code;
}

int audit_each(const struct args *args, uint64_t after, audit_row_fn *row, void *arg)
{
    struct forward forward = {.row = row, .arg = arg};
    const char *path = args_value(args, "db");
    return path != NULL ? each_of_file(path, after, &forward) : each_of_server(args, after, &forward);
}
