/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Defaults that depend on the user, the environment and the machine: state directory, control socket, key
 * directories, the client's name, the proxy. Reads the environment and the host name; touches no file.
 */
#include "supervisor/config/config_defaults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/config/config_loader.h"
#include "supervisor/config/expose.h"
#include "supervisor/config/url.h"

static const char *absolute_environment(const char *name)
{
    const char *value = getenv(name);
    /* The XDG specification: a relative path there is invalid and to be ignored. */
    return value != NULL && value[0] == '/' ? value : NULL;
}

bool default_state_dir(char *out, size_t cap)
{
    const char *xdg = absolute_environment("XDG_STATE_HOME"), *home = absolute_environment("HOME");
    int n = -1;
    if (geteuid() == 0)
        n = snprintf(out, cap, "/var/lib/wormhole");
    else if (xdg != NULL)
        n = snprintf(out, cap, "%s/wormhole", xdg);
    else if (home != NULL)
        n = snprintf(out, cap, "%s/.local/state/wormhole", home);
    return n > 0 && (size_t)n < cap;
}

bool default_control_socket(enum side side, const char *state_dir, char *out, size_t cap)
{
    const char *file = side == SIDE_SERVER ? "control.sock" : "client.sock";
    const char *runtime = absolute_environment("XDG_RUNTIME_DIR");
    int n = -1;
    if (geteuid() == 0)
        n = snprintf(out, cap, "/run/wormhole/%s", file);
    else if (runtime != NULL)
        n = snprintf(out, cap, "%s/wormhole/%s", runtime, file);
    else if (state_dir != NULL)
        n = snprintf(out, cap, "%s/%s", state_dir, file);
    return n > 0 && (size_t)n < cap;
}

static enum status set_default(struct config_loader *loader, const char *flag, const char *text,
                               enum origin_kind kind)
{
    const struct option *option = option_find(flag, strlen(flag), WHERE_ANY);
    struct origin origin = {.kind = kind};
    return loader_set(loader, option, text, &origin);
}

static enum status fill_below(struct config_loader *loader, const char *flag, char *held, const char *below)
{
    char path[512];
    if (held != NULL)
        return OK;
    (void)snprintf(path, sizeof path, "%s/%s", loader->config->state_dir, below);
    return set_default(loader, flag, path, ORIGIN_DEFAULT);
}

static enum status fill_name(struct config_loader *loader)
{
    static const struct origin nowhere = {.kind = ORIGIN_DEFAULT};
    char host[256] = "", label[64];
    if (loader->config->name != NULL)
        return OK;
    (void)gethostname(host, sizeof host - 1);
    host[strcspn(host, ".")] = '\0'; /* the machine's own name, not its domain */
    if (!label_from_text(host, label))
        return loader_fail(loader, &nowhere, NULL,
                           "no name can be made of the host name \"%.64s\"; give one with --name", host);
    return set_default(loader, "name", label, ORIGIN_DEFAULT);
}

static enum status fill_proxy(struct config_loader *loader)
{
    struct config *config = loader->config;
    const struct option *option = option_find("proxy", 5, WHERE_ANY);
    if (config->proxy != NULL) {
        if (strcmp(config->proxy, "none") == 0)
            option_clear_value(option, config); /* NULL is "no proxy" for everybody else */
        return OK;
    }
    struct url url;
    char why[OPTION_WHY];
    if (url_parse(config->server, "ws|wss", &url, why, sizeof why) != OK)
        return OK; /* cannot be: it was checked when it was read */
    const char *proxy = proxy_from_environment(url.host, url.port);
    url_clear(&url);
    if (proxy == NULL)
        return OK;
    char text[1100];
    /* curl and Go accept "host:port" there. */
    (void)snprintf(text, sizeof text, "%s%s", strstr(proxy, "://") != NULL ? "" : "http://", proxy);
    enum status st = set_default(loader, "proxy", text, ORIGIN_ENVIRONMENT);
    explicit_bzero(text, sizeof text);
    return st;
}

enum status defaults_fill(struct config_loader *loader)
{
    static const struct origin nowhere = {.kind = ORIGIN_DEFAULT};
    struct config *config = loader->config;
    char text[512];
    enum status st = OK;
    if (config->state_dir == NULL) {
        if (!default_state_dir(text, sizeof text))
            return loader_fail(
                loader, &nowhere, NULL,
                "neither XDG_STATE_HOME nor HOME is set; say where state is kept with --state-dir");
        if ((st = set_default(loader, "state-dir", text, ORIGIN_DEFAULT)) != OK)
            return st;
    }
    if (config->control_socket == NULL) {
        if (!default_control_socket(config->side, config->state_dir, text, sizeof text))
            return loader_fail(loader, &nowhere, NULL,
                               "no place for the control socket; use --control-socket");
        if ((st = set_default(loader, "control-socket", text, ORIGIN_DEFAULT)) != OK)
            return st;
    }
    if (config->side == SIDE_SERVER) {
        if ((st = fill_below(loader, "acceptor-storage-file-path", config->database, "wormhole.db")) == OK)
            st = fill_below(loader, "key-dir", config->key_dir, "identity");
        return st;
    }
    if ((st = fill_below(loader, "keypair-storage-path", config->keypair_dir, "keys")) == OK &&
        (st = fill_name(loader)) == OK)
        st = fill_proxy(loader);
    return st;
}
