/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wormhole listen` and `wormhole join`: load the configuration, open the log, become the supervisor. What a
 * supervisor does is supervisor.h's affair.
 */
#include "common/log.h"
#include "supervisor/cli/args.h"
#include "supervisor/supervisor.h"

static void open_log(const struct config *config)
{
    enum log_level level = LEVEL_INFO;
    (void)log_level_parse(config->log_level, &level);
    enum log_format format = LOG_AUTO;
    if (config->log_format[0] == 't')
        format = LOG_TEXT;
    else if (config->log_format[0] == 'j')
        format = LOG_JSON;
    log_open(format, level);
}

static int start(const struct args *args, enum side side)
{
    struct config *config = NULL;
    struct config_error error;
    int exit_code = EXIT_FAILED;
    if (config_load(side, args->config_file, args->n_options, args->options, &config, &error, &exit_code) !=
        OK) {
        cli_error("%s", error.text);
        return exit_code;
    }
    open_log(config);
    return supervisor_run(config, args->n_options, args->options);
}

static int listen_run(const struct args *args)
{
    return start(args, SIDE_SERVER);
}

static int join_run(const struct args *args)
{
    return start(args, SIDE_CLIENT);
}

static const struct cli_example listen_examples[] = {
    {"wormhole listen", "a server on port 8080 with its state under /var/lib/wormhole (as root)"},
    {"wormhole --metrics listen --port 443 --app-host 127.0.0.1",
     "tunnels on port 443, apps on loopback only, Prometheus metrics on port 8090"},
    {"wormhole listen --config /etc/wormhole/server.yaml --grace 2m",
     "the file, with one value of it replaced"},
    {NULL, NULL},
};

const struct cli_command cli_listen = {
    .name = "listen",
    .summary = "runs a server: clients connect to it, their apps listen next to it",
    .description =
        "Runs a server until it is told to end (SIGTERM, SIGINT). Clients connect to --host and --port; a "
        "client "
        "whose key is not known yet waits until an operator decides (wormhole requests). Each app that an "
        "approved "
        "client exposes gets its own listening port on --app-host, which it keeps across reconnects and "
        "restarts.\n\n"
        "Values come from the defaults, then the configuration file, then the options given here. SIGHUP "
        "reads the "
        "file again: what can change while running changes, anything else is refused with a message and the "
        "old "
        "configuration stays in force.\n\n"
        "Started as root, it gives its workers a user each and keeps for itself only what starting and "
        "ending them "
        "takes. It runs without root too; then all processes have one user.",
    .takes = WHERE_SERVER,
    .examples = listen_examples,
    .see_also = "wormhole(1), wormhole.yaml(5), wormhole-join(8), wormhole-requests(1), wormhole-status(1)",
    .section = 8,
    .run = listen_run,
};

static const struct cli_example join_examples[] = {
    {"wormhole join --name edge1 --server wss://hub.example.org/wh/tunnel --expose "
     "name=web,address=127.0.0.1:8000",
     "exposes one local web server as \"web\""},
    {"wormhole join --server ws://hub.example.org:8080/wh/tunnel --expose 10.0.0.7:5432 --expose "
     "10.0.0.8:6379",
     "two apps whose names are made from their addresses"},
    {"wormhole --config /etc/wormhole/client.yaml join --proxy http://proxy.example.org:3128",
     "everything from a file, but through a proxy"},
    {NULL, NULL},
};

const struct cli_command cli_join = {
    .name = "join",
    .summary = "runs a client: exposes local apps on a server",
    .description =
        "Runs a client until it is told to end (SIGTERM, SIGINT). It opens one outbound connection to "
        "--server and "
        "offers the apps given with --expose; nothing listens on this host for it. When it meets a server "
        "for the "
        "first time it shows its key's fingerprint and a pairing code and waits until an operator of the "
        "server has "
        "accepted the key.\n\n"
        "It comes back by itself after a lost connection, always, with growing pauses between "
        "--reconnect-min and "
        "--reconnect-max.\n\n"
        "Without --server-fingerprint the first server that accepts this client is remembered and no other "
        "is "
        "believed afterwards. An unattended installation should give the fingerprint (shown on the server by "
        "wormhole keys show).\n\n"
        "HTTPS_PROXY and NO_PROXY are used when --proxy is not given, for ws:// as well as wss://.",
    .takes = WHERE_CLIENT,
    .examples = join_examples,
    .see_also = "wormhole(1), wormhole.yaml(5), wormhole-listen(8), wormhole-probe(1), wormhole-status(1)",
    .section = 8,
    .run = join_run,
};
