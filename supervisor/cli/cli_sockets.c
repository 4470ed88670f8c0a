/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the control socket of the server (or client) that an operator means may be. Only makes the list: the
 * configuration may name it, and an operator without root has other defaults than the daemon has.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/cli/cli_client.h"
#include "supervisor/config/config_defaults.h"

static void add(struct cli_socket *sockets, size_t *n, const char *path)
{
    for (size_t i = 0; i < *n; i++)
        if (strcmp(sockets[i].path, path) == 0)
            return;
    if (*n < CLI_SOCKETS)
        (void)snprintf(sockets[(*n)++].path, sizeof sockets[0].path, "%s", path);
}

/* The socket that a configuration file names; a file that cannot be read has none. */
static bool add_configured(struct cli_socket *sockets, size_t *n, enum side side, const char *file,
                           bool complain)
{
    struct config *config = NULL;
    struct config_error error;
    int exit_code = 0;
    if (access(file, R_OK) != 0 && !complain)
        return true;
    if (config_load(side, file, 0, NULL, &config, &error, &exit_code) != OK) {
        if (complain)
            cli_error("%s", error.text);
        else
            cli_error("note: not looking for the socket where the configuration says: %s", error.text);
        return false;
    }
    add(sockets, n, config->control_socket);
    config_free(config);
    return true;
}

static void add_defaults(struct cli_socket *sockets, size_t *n, enum side side, const char *state_dir)
{
    char path[256], fallback[256];
    if (state_dir == NULL && default_state_dir(fallback, sizeof fallback))
        state_dir = fallback;
    if (default_control_socket(side, state_dir, path, sizeof path))
        add(sockets, n, path);
    /* A server that runs as root or as a service, asked by somebody of its operators' group. */
    add(sockets, n, side == SIDE_SERVER ? "/run/wormhole/control.sock" : "/run/wormhole/client.sock");
}

static void add_side(const struct args *args, struct cli_socket *sockets, size_t *n, enum side side)
{
    const char *usual =
        side == SIDE_SERVER ? WORMHOLE_SYSCONF_DIR "/server.yaml" : WORMHOLE_SYSCONF_DIR "/client.yaml";
    (void)add_configured(sockets, n, side, usual, false);
    add_defaults(sockets, n, side, args->globals->state_dir);
}

size_t cli_sockets(const struct args *args, struct cli_socket sockets[CLI_SOCKETS])
{
    size_t n = 0;
    bool client_only = args_has(args, "client");
    if (args->globals->control_socket != NULL) {
        add(sockets, &n, args->globals->control_socket);
        return n;
    }
    if (args->config_file != NULL) {
        /* The file says which side it is for by loading as that side. */
        struct config *config = NULL;
        struct config_error error;
        int exit_code = 0;
        bool server = !client_only &&
                      config_load(SIDE_SERVER, args->config_file, 0, NULL, &config, &error, &exit_code) == OK;
        config_free(config);
        (void)add_configured(sockets, &n, server ? SIDE_SERVER : SIDE_CLIENT, args->config_file, true);
        return n;
    }
    if (!client_only)
        add_side(args, sockets, &n, SIDE_SERVER);
    if (client_only || args->command->asks_client)
        add_side(args, sockets, &n, SIDE_CLIENT);
    return n;
}
