/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wormhole probe URL`: why does it not connect? The steps are taken by `wormhole-net probe`, a process of
 * its own in a sandbox; here its lines are shown, with what to do about the step that failed. This process
 * links no TLS and connects to nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/cli/cli_output.h"
#include "supervisor/client_events.h"

static const struct column columns[] = {
    {"step", "STEP", COLUMN_TEXT},
    {"result", "RESULT", COLUMN_STATE},
    {"ms", "MS", COLUMN_NUMBER},
    {"text", "FOUND", COLUMN_TEXT},
};

/* What usually helps, by the step that failed. */
static const struct {
    const char *step, *advice;
} advices[] = {
    {"dns",
     "Is the name right, and does this host's resolver know it (getent ahosts NAME)? Behind a proxy that "
     "resolves for you, give --proxy."},
    {"tcp", "Is the server running and its port open in every firewall on the way? \"Connection refused\" "
            "comes from "
            "the host itself: nothing listens there. Silence is a firewall: ask for outbound TCP to this "
            "port, or use a "
            "proxy (--proxy)."},
    {"proxy",
     "The proxy must allow CONNECT to this host and port (some allow port 443 only); credentials go into "
     "--proxy-credentials-file."},
    {"tls",
     "The certificate must be signed by an authority that this host trusts (--ca-file for a private one), be "
     "valid now, and carry the server's name. A proxy that opens TLS presents its own."},
    {"upgrade",
     "Something answers HTTP, but not as a wormhole: check the path (--path of the server, /wh/tunnel) and "
     "that the reverse proxy in front forwards Upgrade and Connection headers."},
    {"hello",
     "Something answers, but it is not (this) wormhole server: check host, port and --server-fingerprint "
     "(wormhole keys show, on the server)."},
    {"answer",
     "Something answers, but not with 200: a metrics port says 503 on /readyz as long as it is not ready."},
    {"sandbox",
     "The kernel or container does not allow the sandbox; see wormhole status on a running instance."},
};

static bool executable_find(char *out, size_t cap)
{
    char own[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
    if (n <= 0)
        return false;
    own[n] = '\0';
    char *slash = strrchr(own, '/');
    if (slash == NULL)
        return false;
    *slash = '\0';
    for (size_t i = 0; i < 3; i++) {
        static const char *const below[] = {"", "", "/../libexec/wormhole"};
        int len = snprintf(out, cap, "%s%s/wormhole-net", i == 1 ? WORMHOLE_LIBEXEC_DIR : own, below[i]);
        if (len > 0 && (size_t)len < cap && access(out, X_OK) == 0)
            return true;
    }
    return false;
}

/* As root the steps are taken by a user who owns nothing: the dialer's, or its number. */
static void write_user(FILE *to, const struct config *config)
{
    if (geteuid() != 0)
        return;
    const struct passwd *user = getpwnam("wormhole-dialer");
    unsigned uid = user != NULL ? user->pw_uid : (unsigned)config->user_base + ROLE_DIALER;
    unsigned gid = user != NULL ? user->pw_gid : (unsigned)config->user_base + ROLE_DIALER;
    (void)fprintf(to, "uid %u\ngid %u\n", uid, gid);
}

static void write_target(FILE *to, const struct config *config, const struct client_target *target, bool http)
{
    (void)fprintf(to, "http %d\n", http);
    (void)fprintf(to, "host %s\nport %u\npath %s\ntls %d\ntimeout_ms %llu\n", target->host, target->port,
                  target->path, target->tls, (unsigned long long)config->connect_ms);
    if (config->ca_file != NULL)
        (void)fprintf(to, "ca_file %s\n", config->ca_file);
    if (config->server_fingerprint != NULL)
        (void)fprintf(to, "fingerprint %s\n", config->server_fingerprint);
    if (target->via_proxy)
        (void)fprintf(to, "proxy_host %s\nproxy_port %u\n", target->proxy_host, target->proxy_port);
    if (target->via_proxy && target->proxy_authorization[0] != '\0')
        (void)fprintf(to, "proxy_authorization %s\n", target->proxy_authorization);
    write_user(to, config);
}

/* Starts the helper with its standard input and output as pipes to us. -1: did not work. */
static pid_t helper_start(const char *path, FILE **to, FILE **from)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
        return -1; /* the process ends soon: nothing to tidy up */
    pid_t pid = fork();
    if (pid == 0) {
        static char name[] = "wormhole-net", role[] = "probe";
        char *const argv[] = {name, role, NULL};
        if (dup2(in[0], STDIN_FILENO) < 0 || dup2(out[1], STDOUT_FILENO) < 0)
            _exit(EXIT_FAILED);
        (void)execv(path, argv);
        _exit(127);
    }
    (void)close(in[0]);
    (void)close(out[1]);
    *to = fdopen(in[1], "we");
    *from = fdopen(out[0], "re");
    return *to != NULL && *from != NULL ? pid : -1;
}

struct walk {
    struct output out;
    char failed[16]; /* the step that failed; "": none */
    unsigned steps;
};

/* "step TAB result TAB ms TAB text". False: not a line of ours. */
static bool show_line(struct walk *walk, char *line)
{
    char *rest = NULL, *end = NULL;
    const char *step = strtok_r(line, "\t", &rest), *result = strtok_r(NULL, "\t", &rest);
    const char *ms = strtok_r(NULL, "\t", &rest), *text = strtok_r(NULL, "\n", &rest);
    unsigned long number = ms != NULL ? strtoul(ms, &end, 10) : 0;
    if (step == NULL || result == NULL || ms == NULL || *end != '\0' || strlen(step) >= sizeof walk->failed)
        return false;
    const struct cell cells[] = {CELL_TEXT(step), CELL_TEXT(result), CELL_NUMBER(number),
                                 CELL_TEXT(text != NULL ? text : "")};
    output_row(&walk->out, cells);
    walk->steps++;
    if (strcmp(result, "ok") != 0)
        (void)snprintf(walk->failed, sizeof walk->failed, "%s", step);
    return true;
}

static int explain(const struct walk *walk, bool clean, const struct client_target *target, bool http)
{
    if (walk->failed[0] == '\0' && clean && walk->steps > 0 && http)
        return EXIT_DONE;
    if (walk->failed[0] == '\0' && clean && walk->steps > 0) {
        (void)fprintf(
            stderr,
            "All steps worked: a client can reach this server. If it still does not connect: wormhole "
            "status --client\n");
        return EXIT_DONE;
    }
    if (walk->failed[0] == '\0') {
        cli_error("the probe ended before it had an answer");
        return EXIT_FAILED;
    }
    cli_error("%s://%s port %u is not reachable: the step \"%s\" failed",
              http          ? (target->tls ? "https" : "http")
              : target->tls ? "wss"
                            : "ws",
              target->host, target->port, walk->failed);
    for (size_t i = 0; i < sizeof advices / sizeof advices[0]; i++)
        if (strcmp(advices[i].step, walk->failed) == 0)
            (void)fprintf(stderr, "%s\n", advices[i].advice);
    return EXIT_UNAVAILABLE;
}

static int take_steps(const struct args *args, const struct config *config,
                      const struct client_target *target, bool http)
{
    char path[PATH_MAX], line[1024];
    FILE *to = NULL, *from = NULL;
    struct walk walk = {.steps = 0};
    int status = 0;
    if (!executable_find(path, sizeof path)) {
        cli_error("wormhole-net is neither next to this program nor in " WORMHOLE_LIBEXEC_DIR);
        return EXIT_FAILED;
    }
    pid_t pid = helper_start(path, &to, &from);
    if (pid < 0) {
        cli_error("cannot start %s: %s", path, strerror(errno));
        return EXIT_FAILED;
    }
    write_target(to, config, target, http);
    (void)fclose(to);
    output_begin(&walk.out, output_format_of(args), columns, sizeof columns / sizeof columns[0]);
    bool ours = true;
    while (ours && fgets(line, sizeof line, from) != NULL)
        ours = show_line(&walk, line);
    (void)fclose(from);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    int written = output_end(&walk.out);
    (void)fflush(stdout);
    int code = explain(&walk, ours && WIFEXITED(status) && WEXITSTATUS(status) == 0, target, http);
    return code != EXIT_DONE ? code : written;
}

static int probe_run(const struct args *args)
{
    struct config *config = NULL;
    struct config_error error;
    struct client_target target;
    int exit_code = EXIT_FAILED;
    static char server[] = "--server", proxy[] = "--proxy", none[] = "none", url[1200];
    bool http = false;
    int n_options = args->n_options;
    if (args->n_positional > 0) { /* there is room: see args_parse */
        const char *given = args->positional[0];
        http = strncmp(given, "http://", 7) == 0 || strncmp(given, "https://", 8) == 0;
        /* The same way up to the last step: "https://x" is walked as "wss://x" is. */
        (void)snprintf(url, sizeof url, "%s%s", http ? "ws" : "", http ? given + 4 : given);
        args->options[n_options++] = server;
        args->options[n_options++] = url;
    }
    if (http) { /* a host of ours that is asked directly */
        args->options[n_options++] = proxy;
        args->options[n_options++] = none;
    }
    /* Who probes a URL need not be able to read the service's configuration. */
    const char *file = args->config_file;
    if (file == NULL && args->n_positional > 0 && access(WORMHOLE_SYSCONF_DIR "/client.yaml", R_OK) != 0)
        file = "/dev/null";
    if (config_load(SIDE_CLIENT, file, n_options, args->options, &config, &error, &exit_code) != OK) {
        cli_error("%s", error.text);
        return exit_code;
    }
    memset(&target, 0, sizeof target);
    if (client_target_fill(&target, config, &error) != OK) {
        cli_error("%s", error.text);
        config_free(config);
        return EXIT_BAD_CONFIG;
    }
    int code = take_steps(args, config, &target, http);
    explicit_bzero(&target, sizeof target);
    config_free(config);
    return code;
}

static const struct cli_example examples[] = {
    {"wormhole probe wss://hub.example.org/wh/tunnel", "the way from this host to that server"},
    {"wormhole probe ws://hub.example.org:8080/wh/tunnel --proxy http://proxy.example.org:3128",
     "through a proxy"},
    {"wormhole probe http://127.0.0.1:8090/readyz",
     "is this server or client ready? For health checks without a shell"},
    {"wormhole probe", "the way that /etc/wormhole/client.yaml describes"},
    {NULL, NULL},
};

const struct cli_command cli_probe = {
    .name = "probe",
    .summary = "finds out why a client does not reach a server",
    .description =
        "Walks the way that a client takes to its server, once and step by step: name look-up (dns), "
        "connection (tcp), "
        "HTTP proxy (proxy), TLS and certificate (tls), websocket upgrade (upgrade), and the server's signed "
        "greeting "
        "(hello). Shows what each step found, and for the one that failed what usually helps. It sends no "
        "key and "
        "asks for no approval.\n\n"
        "Takes the options of join that matter for the way: --proxy, --ca-file, --server-fingerprint, "
        "--connect-timeout (for each step) and so on; the others change nothing. Without a URL the client's "
        "configuration says where to. With an http:// or https:// URL it asks for that page instead (answer) "
        "and "
        "wants a status of 2xx.\n\n"
        "Exit code 0 when all steps worked, 69 when one failed. Columns in a pipe: step, ok or failed, "
        "milliseconds, "
        "what was found.",
    .usage = "[URL] [OPTION…]",
    .argument = "URL",
    .max_arguments = 1,
    .takes = WHERE_CLIENT,
    .shows = true,
    .examples = examples,
    .see_also = "wormhole-join(8), wormhole-status(1)",
    .section = 1,
    .run = probe_run,
};
