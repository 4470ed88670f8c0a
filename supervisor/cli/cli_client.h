/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command's connection to a running server or client: finds the control socket, asks, waits, tells the
 * operator what is wrong and what to do about it. Blocking, one question at a time. Decides nothing itself.
 */
#ifndef WORMHOLE_SUPERVISOR_CLI_CLIENT_H
#define WORMHOLE_SUPERVISOR_CLI_CLIENT_H

#include "common/ipc.h"
#include "common/ipc_types.h"
#include "supervisor/cli/args.h"

struct cli_client;

/*
 * Connects to the socket that --control-socket, the configuration or the defaults name. Not OK: the reason is
 * on stderr already and *exit_code says how to end. Free with cli_client_close.
 */
enum status cli_client_open(const struct args *args, struct cli_client **out, int *exit_code);
void cli_client_close(struct cli_client *client);

/* One row of an answer; return false to stop listening to further ones. */
typedef bool cli_row(void *arg, enum message_type type, const union message *row);

/*
 * Asks and hands over every row of every page. Returns an exit code; anything but EXIT_DONE has been
 * explained on stderr. filter may be NULL.
 */
int cli_query(struct cli_client *client, enum query what, uint64_t after, const char *filter, cli_row *row,
              void *arg);

/* Has something decided. name may be NULL. text (at least 513 bytes): what the server said. */
int cli_decide(struct cli_client *client, enum decision action, const char *subject, const char *name,
               enum outcome *outcome, char *text);
/* Says on stderr what an outcome other than done means for this subject; returns the exit code. */
int cli_explain(enum outcome outcome, const char *subject, const char *text);

/*
 * Where a socket may be, most wanted first: for the open and for messages. Returns how many (at most
 * CLI_SOCKETS).
 */
#define CLI_SOCKETS 6
struct cli_socket {
    char path[256];
};
size_t cli_sockets(const struct args *args, struct cli_socket sockets[CLI_SOCKETS]);

#endif
