/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See lockdown.h. Only what is allowed is decided here; common/sandbox.c enforces it.
 */
#include "supervisor/lockdown.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <unistd.h>

#include "common/log.h"
#include "common/sandbox.h"
#include "supervisor/worker_process.h"

/* Starting a worker in a cage of its own uid, and ending it: nothing else takes a privilege from here on. */
#define CAPABILITIES                                                                                         \
    (1ull << CAP_SETUID | 1ull << CAP_SETGID | 1ull << CAP_SETPCAP | 1ull << CAP_SYS_CHROOT |                \
     1ull << CAP_KILL)

static enum status allow(struct sandbox_spec *spec, const char *path, unsigned access)
{
    char real[PATH_MAX];

    /* Landlock rules belong to what is there now; what is not there needs none. */
    if (path == NULL || path[0] == '\0' || realpath(path, real) == NULL)
        return OK;
    return sandbox_allow_path(spec, real, access);
}

/* The directory of a file that may be replaced by renaming a new one over it (editors, mounted secrets). */
static enum status allow_directory_of(struct sandbox_spec *spec, const char *file, unsigned access)
{
    char path[PATH_MAX];

    if (file == NULL || file[0] != '/')
        return OK;
    (void)snprintf(path, sizeof path, "%s", file);
    char *slash = strrchr(path, '/');
    slash[slash == path ? 1 : 0] = '\0';
    return allow(spec, path, access);
}

static enum status allow_all(const struct supervisor *s, struct sandbox_spec *spec)
{
    const struct config *c = s->config;
    bool server = s->side == SIDE_SERVER;
    char kube[PATH_MAX];
    const char *home = getenv("HOME");

    (void)snprintf(kube, sizeof kube, "%s/.kube", home != NULL && home[0] == '/' ? home : "");
    const struct {
        const char *path;
        unsigned access;
    } paths[] = {
        {s->state_dir, ACCESS_READ | ACCESS_WRITE},
        {s->key_dir, ACCESS_READ | ACCESS_WRITE},
        {s->empty_dir, ACCESS_READ},
        {workers_directory(), ACCESS_READ | ACCESS_EXECUTE},
        {"/proc", ACCESS_READ},
        {"/etc/passwd", ACCESS_READ},
        {"/etc/group", ACCESS_READ},
        {getenv("SSL_CERT_FILE"), ACCESS_READ},
        {getenv("SSL_CERT_DIR"), ACCESS_READ},
        {c->kubernetes ? "/var/run/secrets" : NULL, ACCESS_READ},
        {c->kubernetes ? kube : NULL, ACCESS_READ},
    };
    const struct {
        const char *file;
        unsigned access;
    } files[] = {
        {server ? c->database : NULL, ACCESS_READ | ACCESS_WRITE},
        {s->control_path, ACCESS_READ | ACCESS_WRITE},
        {c->config_file, ACCESS_READ},
        {server ? c->admin_token_file : NULL, ACCESS_READ},
        {server ? NULL : c->ca_file, ACCESS_READ},
        {server ? NULL : c->proxy_credentials_file, ACCESS_READ},
        {c->kubernetes ? c->kubeconfig : NULL, ACCESS_READ},
    };

    enum status result = sandbox_allow_runtime(spec);
    if (result == OK && (!server || c->kubernetes)) /* the dialer and the Kubernetes worker look up names */
        result = sandbox_allow_resolver(spec);
    for (size_t i = 0; result == OK && i < sizeof paths / sizeof paths[0]; i++)
        result = allow(spec, paths[i].path, paths[i].access);
    for (size_t i = 0; result == OK && i < sizeof files / sizeof files[0]; i++)
        result = allow_directory_of(spec, files[i].file, files[i].access);
    return result;
}

enum status lockdown_enter(struct supervisor *s, struct config_error *error)
{
    struct sandbox_report report = {0};
    struct sandbox_spec *spec = calloc(1, sizeof *spec); /* large */
    char layers[256];

    if (spec == NULL)
        return ERR_NOMEM;
    sandbox_spec_for_role(spec, ROLE_SUPERVISOR, s->side);
    if (!spec->sanitizer)
        spec->mode = strcmp(s->config->sandbox, "required") == 0 ? SANDBOX_REQUIRED : SANDBOX_BEST_EFFORT;
    spec->landlock_max = (uint8_t)s->config->landlock_max;
    spec->keep_capabilities = s->is_root ? CAPABILITIES : 0;
    enum status result = allow_all(s, spec);
    if (result == OK)
        result = sandbox_enter(spec, &report);
    free(spec);
    s->own_layers = report.layers;
    s->own_landlock_abi = report.landlock_abi;
    memcpy(s->own_missing, report.missing, sizeof s->own_missing);
    if (result != OK) {
        (void)snprintf(
            error->text, sizeof error->text,
            "the sandbox cannot be closed (%s); --sandbox best-effort goes on with what the system can do",
            report.missing[0] != '\0' ? report.missing : status_text(result));
        return result;
    }
    sandbox_layers_text(report.layers, layers, sizeof layers);
    sup_info("sandbox of the supervisor: %s%s%s", layers, report.missing[0] != '\0' ? "; missing: " : "",
             report.missing);
    return OK;
}
