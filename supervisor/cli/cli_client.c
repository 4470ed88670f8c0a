/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions and decisions over the control socket. What comes back is judged by the same permit table as
 * between the processes: a command must not believe more of a socket than a worker does.
 */
#include "supervisor/cli/cli_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"

/* Longer than any honest answer takes, shorter than an operator's patience. */
#define ANSWER_MS 15000

struct cli_client {
    int fd;
    char path[256];
    uint64_t request; /* number of the last question */
    struct ipc_permit permit;
};

static int try_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

static int explain_no_socket(const struct args *args, const struct cli_socket *sockets, size_t n, int error,
                             const char *path)
{
    const char *daemon = args_has(args, "client") ? "join" : "listen";
    if (error == EACCES || error == EPERM) {
        cli_error(
            "you may not use the control socket %s: use sudo, or become a member of the group that owns it",
            path);
        return EXIT_NOT_PERMITTED;
    }
    if (error == ECONNREFUSED)
        cli_error("nobody answers at %s: the process that made it is gone; start `wormhole %s` again", path,
                  daemon);
    else if (error != ENOENT)
        cli_error("cannot use the control socket %s: %s", path, strerror(error));
    else if (n == 1)
        cli_error("no `wormhole %s` is running here: there is no control socket %s", daemon, path);
    else
        cli_error("no `wormhole %s` is running here: there is no control socket at", daemon);
    for (size_t i = 0; error == ENOENT && n > 1 && i < n; i++)
        (void)fprintf(stderr, "  %s\n", sockets[i].path);
    (void)fprintf(stderr,
                  "If its socket is somewhere else: wormhole --control-socket PATH %s … (or --config FILE)\n",
                  args->command->name);
    return EXIT_UNAVAILABLE;
}

enum status cli_client_open(const struct args *args, struct cli_client **out, int *exit_code)
{
    struct cli_socket sockets[CLI_SOCKETS];
    size_t n = cli_sockets(args, sockets);
    int fd = -1, error = ENOENT;
    size_t used = 0, worst = 0;
    if (n == 0) {
        *exit_code = args->config_file != NULL ? EXIT_BAD_CONFIG : EXIT_UNAVAILABLE;
        if (args->config_file == NULL)
            cli_error("no place to look for a control socket; use --control-socket PATH");
        return ERR_NOT_FOUND;
    }
    for (used = 0; used < n && (fd = try_connect(sockets[used].path)) < 0; used++)
        if (errno != ENOENT && error == ENOENT) {
            error = errno; /* the first socket that exists is the one to talk about */
            worst = used;
        }
    if (fd < 0) {
        *exit_code = explain_no_socket(args, sockets, n, error, sockets[worst].path);
        return ERR_NOT_FOUND;
    }
    struct cli_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        (void)close(fd);
        cli_error("out of memory");
        *exit_code = EXIT_FAILED;
        return ERR_NOMEM;
    }
    client->fd = fd;
    (void)snprintf(client->path, sizeof client->path, "%s", sockets[used].path);
    client->permit = (struct ipc_permit){.kind = CH_CONTROL, .end = IPC_LOWER, .state = IN_RUN};
    *out = client;
    return OK;
}

void cli_client_close(struct cli_client *client)
{
    if (client == NULL)
        return;
    (void)close(client->fd);
    free(client);
}

static int lost(const struct cli_client *client, const char *why)
{
    cli_error("the answer from %s did not come: %s", client->path, why);
    return EXIT_UNAVAILABLE;
}

static int send_message(struct cli_client *client, enum message_type type, const void *message)
{
    uint8_t packet[IPC_MESSAGE_MAX];
    size_t len = 0;
    if (ipc_encode(type, message, packet, sizeof packet, &len) != OK) {
        cli_error("an argument is too long");
        return EXIT_USAGE_ERROR;
    }
    enum status st = ipc_send_packet(client->fd, packet, len, -1);
    explicit_bzero(packet, sizeof packet);
    return st == OK ? EXIT_DONE : lost(client, status_text(st));
}

static int receive_message(struct cli_client *client, uint64_t deadline_ms, enum message_type *type,
                           union message *message)
{
    uint8_t packet[IPC_MESSAGE_MAX];
    size_t len = 0;
    int passed = -1;
    const char *why = NULL;
    for (;;) {
        uint64_t now = clock_mono_ms();
        struct pollfd ready = {.fd = client->fd, .events = POLLIN};
        int n = now < deadline_ms ? poll(&ready, 1, (int)(deadline_ms - now)) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return lost(client, n == 0 ? "it is taking too long" : strerror(errno));
        enum status st = ipc_recv_packet(client->fd, packet, sizeof packet, &len, &passed);
        if (st == ERR_AGAIN)
            continue;
        if (st != OK)
            return lost(client, status_text(st));
        break;
    }
    if (passed >= 0) {
        (void)close(passed);
        return lost(client, "an unexpected descriptor came");
    }
    enum status st = ipc_decode(packet, len, type, message);
    if (st == OK)
        st = ipc_permit_check(&client->permit, *type, &why);
    if (st != OK)
        return lost(client,
                    why != NULL ? why : "it speaks another version; use the wormhole that is running");
    return EXIT_DONE;
}

/* Every row message begins with the number of the question. */
static uint64_t row_request(const union message *m)
{
    return m->result.request;
}

/* Waits for the RESULT of the last question; rows go to `row`. */
static int await_result(struct cli_client *client, cli_row *row, void *arg, struct msg_result *result)
{
    uint64_t deadline = clock_mono_ms() + ANSWER_MS;
    union message *message = malloc(sizeof *message);
    enum message_type type = MSG_RESULT;
    bool listening = true;
    int code = message != NULL ? EXIT_DONE : EXIT_FAILED;
    while (code == EXIT_DONE) {
        code = receive_message(client, deadline, &type, message);
        if (code != EXIT_DONE)
            break;
        if (row_request(message) != client->request) {
            code = lost(client, "it answers another question");
        } else if (type == MSG_RESULT) {
            *result = message->result;
            break;
        } else if (row != NULL && listening) {
            listening = row(arg, type, message);
            deadline = clock_mono_ms() + ANSWER_MS;
        }
    }
    free(message);
    return code;
}

int cli_query(struct cli_client *client, enum query what, uint64_t after, const char *filter, cli_row *row,
              void *arg)
{
    struct msg_result result = {.outcome = OUTCOME_FAILED};
    do {
        struct msg_query query = {.request = ++client->request, .what = (uint8_t)what, .after = after};
        if (filter != NULL && strlen(filter) >= sizeof query.filter) {
            cli_error("\"%.60s…\" is too long", filter);
            return EXIT_USAGE_ERROR;
        }
        (void)snprintf(query.filter, sizeof query.filter, "%s", filter != NULL ? filter : "");
        int code = send_message(client, MSG_QUERY, &query);
        if (code == EXIT_DONE)
            code = await_result(client, row, arg, &result);
        if (code != EXIT_DONE)
            return code;
        if (result.outcome != OUTCOME_DONE)
            return cli_explain((enum outcome)result.outcome, NULL, result.text);
        if (result.more != 0 && result.cursor <= after)
            return lost(client, "it repeats itself");
        after = result.cursor;
    } while (result.more != 0);
    return EXIT_DONE;
}

int cli_decide(struct cli_client *client, enum decision action, const char *subject, const char *name,
               enum outcome *outcome, char *text)
{
    struct msg_result result = {.outcome = OUTCOME_FAILED};
    struct msg_decide decide = {.request = ++client->request, .action = (uint8_t)action};
    if (strlen(subject) >= sizeof decide.subject || (name != NULL && strlen(name) >= sizeof decide.name)) {
        cli_error("\"%.60s…\" is too long",
                  name != NULL && strlen(name) >= sizeof decide.name ? name : subject);
        return EXIT_USAGE_ERROR;
    }
    (void)snprintf(decide.subject, sizeof decide.subject, "%s", subject);
    (void)snprintf(decide.name, sizeof decide.name, "%s", name != NULL ? name : "");
    int code = send_message(client, MSG_DECIDE, &decide);
    if (code == EXIT_DONE)
        code = await_result(client, NULL, NULL, &result);
    if (code != EXIT_DONE)
        return code;
    *outcome = (enum outcome)result.outcome;
    (void)snprintf(text, sizeof result.text, "%s", result.text);
    return EXIT_DONE;
}

int cli_explain(enum outcome outcome, const char *subject, const char *text)
{
    bool named =
        subject != NULL && strstr(text, subject) == NULL; /* the server's text often names it itself */
    const char *on = named ? subject : "", *colon = named ? ": " : "";
    switch (outcome) {
    case OUTCOME_DONE: return EXIT_DONE;
    case OUTCOME_NOT_FOUND:
        cli_error("%s%s%s", on, colon, text[0] != '\0' ? text : "there is none of that name or fingerprint");
        return EXIT_FAILED;
    case OUTCOME_DENIED:
        cli_error("%s%s%s", on, colon, text[0] != '\0' ? text : "not permitted");
        return EXIT_NOT_PERMITTED;
    case OUTCOME_CONFLICT:
        cli_error("%s%s%s", on, colon, text[0] != '\0' ? text : "in conflict with what is decided already");
        return EXIT_FAILED;
    case OUTCOME_BAD:
        cli_error("%s%s%s", on, colon, text[0] != '\0' ? text : "not understood");
        return EXIT_USAGE_ERROR;
    case OUTCOME_UNSUPPORTED:
        cli_error("%s%s%s", on, colon, text[0] != '\0' ? text : "this side cannot do that");
        return EXIT_FAILED;
    case OUTCOME_FAILED: break;
    }
    cli_error("%s%s%s", on, colon, text[0] != '\0' ? text : "it failed; the log of the server says why");
    return EXIT_FAILED;
}
