/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See startup.h. The order matters: what takes privileges comes first, the cage last, workers after it, so
 * that they inherit it.
 */
#include "supervisor/startup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/names.h"
#include "supervisor/admin_slot.h"
#include "supervisor/approvals.h"
#include "supervisor/client_events.h"
#include "supervisor/control.h"
#include "supervisor/crypto_slot.h"
#include "supervisor/dialer_slot.h"
#include "supervisor/k8s.h"
#include "supervisor/limits.h"
#include "supervisor/listeners.h"
#include "supervisor/lockdown.h"
#include "supervisor/notify.h"
#include "supervisor/requests.h"
#include "supervisor/sessions.h"
#include "supervisor/signals.h"
#include "supervisor/state_dir.h"
#include "supervisor/worker_process.h"

/* Each step: OK, or the text and the exit code (which is EXIT_FAILED unless the step says otherwise). */
typedef enum status step(struct supervisor *s, struct config_error *error, int *exit_code);

static void descriptors_prepare(void)
{
    struct rlimit limit;
    int fd;

    /* 0, 1 and 2 must be somebody's, or a socket would become "standard output". */
    do {
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        (void)close(fd);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static enum status step_basics(struct supervisor *s, struct config_error *error, int *exit_code)
{
    descriptors_prepare();
    s->is_root = geteuid() == 0;
    s->started_mono_ms = clock_mono_ms();
    s->started_wall_s = clock_wall_s();
    (void)snprintf(s->control_path, sizeof s->control_path, "%s", s->config->control_socket);
    if (getrandom(&s->instance, sizeof s->instance, 0) != (ssize_t)sizeof s->instance ||
        getrandom(s->instance_id, sizeof s->instance_id, 0) != (ssize_t)sizeof s->instance_id) {
        (void)snprintf(error->text, sizeof error->text, "no random numbers: %s", strerror(errno));
        return ERR_IO;
    }
    (void)exit_code;
    return OK;
}

static enum status step_workers(struct supervisor *s, struct config_error *error, int *exit_code)
{
    *exit_code = EXIT_UNAVAILABLE;
    return workers_prepare(s, error);
}

static enum status step_store(struct supervisor *s, struct config_error *error, int *exit_code)
{
    struct store_error why = {.text = ""};

    if (s->side == SIDE_CLIENT)
        return OK;
    enum status result = store_open(s->config->database, false, &s->store, &why);
    if (result == OK)
        return OK;
    *exit_code = result == ERR_CONFIG                ? EXIT_BAD_CONFIG
                 : errno == EACCES || errno == EPERM ? EXIT_NOT_PERMITTED
                                                     : EXIT_FAILED;
    memcpy(error->text, why.text, sizeof error->text);
    return result;
}

static enum status step_token(struct supervisor *s, struct config_error *error, int *exit_code)
{
    if (s->side == SIDE_CLIENT)
        return OK;
    *exit_code = EXIT_BAD_CONFIG;
    return admin_token_load(&s->admin_token, s->config->admin_token_file, error);
}

static enum status socket_bind(const char *what, const char *flag, const char *host, int64_t port, int *fd,
                               uint16_t *bound, struct config_error *error, int *exit_code)
{
    char where[300];

    if (*fd >= 0) { /* from the service manager */
        *bound = listener_port(*fd);
        return OK;
    }
    if (listener_open(host, (uint16_t)port, fd, bound) == OK)
        return OK;
    address_join(where, sizeof where, host, (uint16_t)port);
    switch (errno) {
    case EADDRINUSE:
        *exit_code = EXIT_UNAVAILABLE;
        (void)snprintf(
            error->text, sizeof error->text,
            "the %s cannot listen on %s: another program uses the port; end it, or give another port with %s",
            what, where, flag);
        break;
    case EACCES:
    case EPERM:
        *exit_code = EXIT_NOT_PERMITTED;
        (void)snprintf(
            error->text, sizeof error->text,
            "the %s may not listen on %s: ports below 1024 need root or CAP_NET_BIND_SERVICE; give another "
            "with %s",
            what, where, flag);
        break;
    case EADDRNOTAVAIL:
        *exit_code = EXIT_BAD_CONFIG;
        (void)snprintf(error->text, sizeof error->text,
                       "the %s cannot listen on %s: this host has no such address", what, where);
        break;
    default:
        (void)snprintf(error->text, sizeof error->text, "the %s cannot listen on %s: %s", what, where,
                       strerror(errno));
    }
    return ERR_IO;
}

static enum status step_sockets(struct supervisor *s, struct config_error *error, int *exit_code)
{
    const struct config *c = s->config;

    *exit_code = EXIT_BAD_CONFIG;
    enum status result = activation_take(&s->tunnel_fd, &s->admin_fd, &s->metrics_fd, error);
    *exit_code = EXIT_FAILED;
    if (result == OK && s->side == SIDE_SERVER)
        result = socket_bind("tunnel", "--port", c->host, c->port, &s->tunnel_fd, &s->tunnel_port, error,
                             exit_code);
    if (result == OK && s->side == SIDE_SERVER)
        result = socket_bind("admin API", "--admin-port", c->admin_host, c->admin_port, &s->admin_fd,
                             &s->admin_port, error, exit_code);
    if (result == OK && c->metrics)
        result = socket_bind("metrics server", "--metrics-port", c->metrics_host, c->metrics_port,
                             &s->metrics_fd, &s->metrics_port, error, exit_code);
    return result;
}

static enum status step_loop(struct supervisor *s, struct config_error *error, int *exit_code)
{
    struct event_config *config = event_config_new();

    (void)exit_code;
    if (config != NULL) {
        (void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
        (void)event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV);
        s->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    if (s->base == NULL || signals_open(s) != OK) {
        (void)snprintf(error->text, sizeof error->text, "the event loop cannot be made: %s", strerror(errno));
        return ERR_NOMEM;
    }
    s->notify = notify_open();
    return OK;
}

static enum status step_control(struct supervisor *s, struct config_error *error, int *exit_code)
{
    enum status result = control_open(s, error);

    if (result == ERR_CONFIG)
        *exit_code = EXIT_BAD_CONFIG;
    else if (result == ERR_PERMIT || (result == ERR_IO && (errno == EACCES || errno == EPERM)))
        *exit_code = EXIT_NOT_PERMITTED;
    return result;
}

static enum status step_kubernetes(struct supervisor *s, struct config_error *error, int *exit_code)
{
    *exit_code = EXIT_BAD_CONFIG;
    return s->config->kubernetes ? k8s_open(s, error) : OK;
}

static enum status step_side(struct supervisor *s, struct config_error *error, int *exit_code)
{
    if (s->side == SIDE_CLIENT) {
        *exit_code = EXIT_BAD_CONFIG;
        console_open();
        return client_new(s, error) != NULL ? OK : ERR_CONFIG;
    }
    s->limits = limits_new();
    s->approvals = approvals_new(s);
    if (s->limits == NULL || s->approvals == NULL || sessions_open(s) != OK) {
        (void)snprintf(error->text, sizeof error->text, "out of memory");
        return ERR_NOMEM;
    }
    limits_configure(s);
    approvals_preapprove(s);
    return OK;
}

static enum status step_lockdown(struct supervisor *s, struct config_error *error, int *exit_code)
{
    *exit_code = EXIT_NOT_PERMITTED;
    return lockdown_enter(s, error);
}

static enum status step_state(struct supervisor *s, struct config_error *error, int *exit_code)
{
    return state_dir_open(s, error, exit_code);
}

enum status startup_run(struct supervisor *s, struct config_error *error, int *exit_code)
{
    static step *const steps[] = {step_basics,     step_workers, step_state,   step_token,
                                  step_sockets,    step_loop,    step_control, step_store,
                                  step_kubernetes, step_side,    step_lockdown};

    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        *exit_code = EXIT_FAILED;
        enum status result = steps[i](s, error, exit_code);
        if (result != OK)
            return result;
    }
    return OK;
}

enum status startup_workers(struct supervisor *s)
{
    s->crypto = worker_slot_new(s, ROLE_CRYPTO, &crypto_handlers, NULL);
    if (s->crypto == NULL)
        return ERR_NOMEM;
    if (s->side == SIDE_CLIENT &&
        (s->dialer = worker_slot_new(s, ROLE_DIALER, &dialer_handlers, NULL)) == NULL)
        return ERR_NOMEM;
    if (admin_wanted(s) && (s->admin = worker_slot_new(s, ROLE_ADMIN, &admin_handlers, NULL)) == NULL)
        return ERR_NOMEM;
    if (s->config->kubernetes &&
        (s->kubernetes = worker_slot_new(s, ROLE_K8S, &k8s_worker_handlers, NULL)) == NULL)
        return ERR_NOMEM;
    return OK;
}
