/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wormhole-k8s: the one process that holds the API server's token. On a client it tells the supervisor which
 * Services are exposed, on a server it mirrors apps as Services. Here is only the wiring: messages in,
 * modules, messages out. It must never see traffic, traffic keys or an approval.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/names.h"
#include "common/worker.h"
#include "worker-k8s/discovery.h"
#include "worker-k8s/mirror.h"
#include "worker-k8s/names.h"
#include "worker-k8s/timer.h"

#define STATE_MS 100u /* several changes at once make one K8S_STATE */
#define NAME_CHECK_MS 60000u
#define NAME_SILENCE_MS 300000u /* a named API server that is silent that long is looked up again */
#define EXIT_BAD_CONFIGURATION 78
#define CALM_QUEUE 256 /* messages in the channel above which new apps wait */

static const char *const system_authorities[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
};

struct k8s {
    struct worker *worker;
    struct msg_k8s_setup setup;
    struct cluster cluster;
    struct api *api;
    struct events *events;
    struct discovery *discovery;
    struct listwatch *lists[DISCOVERY_SOURCES_MAX];
    unsigned n_lists;
    struct mirror *mirror;
    struct event *state_timer, *name_timer;
    struct msg_k8s_state told;
    uint64_t started_ms;
};

static struct k8s self = {.cluster = {.token_file.dir = -1, .ca_file.dir = -1}};

/* ---- before the sandbox ------------------------------------------------------------------------------- */

static enum status on_setup(struct worker *w, enum message_type type, const union message *m, int fd)
{
    (void)fd;
    if (type != MSG_K8S_SETUP) {
        return ERR_TYPE;
    }
    self.setup = m->k8s_setup;
    w->state = &self;
    return self.setup.watch_s == 0 || self.setup.relist_s == 0 ? ERR_CONFIG : OK;
}

/* The directory of a file that will be read again. */
static enum status allow_directory(struct sandbox_spec *spec, const struct cluster_file *file)
{
    char dir[256];
    if (file->path == NULL) {
        return OK;
    }
    const char *slash = strrchr(file->path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - file->path);
    if (len >= sizeof dir) {
        return ERR_SIZE;
    }
    snprintf(dir, sizeof dir, "%.*s", (int)len, file->path);
    return sandbox_allow_path(spec, slash == NULL ? "." : len == 0 ? "/" : dir, ACCESS_READ);
}

static void load_system_authorities(struct cluster *c)
{
    for (size_t i = 0; i < sizeof system_authorities / sizeof system_authorities[0]; i++) {
        if (cluster_read_file(system_authorities[i], &c->ca) == OK) {
            return;
        }
    }
}

static enum status on_preload(struct worker *w, struct sandbox_spec *spec)
{
    char error[512];
    (void)w;
    enum status status =
        cluster_load(&self.cluster, self.setup.kubeconfig, self.setup.context, error, sizeof error);
    if (status == OK) {
        status = cluster_resolve(&self.cluster, error, sizeof error);
    }
    if (status != OK) {
        log_error("%s", error);
        if (status == ERR_CONFIG) { /* trying again does not help: the supervisor ends with this code, too */
            _exit(EXIT_BAD_CONFIGURATION);
        }
        return status;
    }
    if (self.cluster.system_ca) {
        load_system_authorities(&self.cluster);
    }
    status = api_preload();
    if (status == OK) {
        status = allow_directory(spec, &self.cluster.token_file);
    }
    if (status == OK) {
        status = allow_directory(spec, &self.cluster.ca_file);
    }
    spec->restrict_connect = true;
    return status == OK ? sandbox_allow_connect(spec, self.cluster.port) : status;
}

/* ---- state
 * ------------------------------------------------------------------------------------------------- */

static void collect(struct msg_k8s_state *m)
{
    struct api_counters counters = api_counters(self.api);
    const char *text = "";
    m->api_calls = counters.calls;
    m->api_errors = counters.errors;
    if (self.mirror != NULL) {
        struct listwatch_state state = mirror_state(self.mirror, &m->objects);
        m->synced = state.synced;
        m->ready = state.ready;
        text = state.text;
    } else {
        m->synced = self.n_lists > 0 && discovery_is_settled(self.discovery);
        m->ready = self.n_lists > 0;
        m->objects = (uint32_t)discovery_count(self.discovery);
        for (unsigned i = 0; i < self.n_lists; i++) {
            struct listwatch_state state = listwatch_state(self.lists[i]);
            m->synced = m->synced && state.synced;
            m->ready = m->ready && state.ready;
            text = text[0] == '\0' ? state.text : text;
        }
    }
    snprintf(m->text, sizeof m->text, "%s", text);
}

static void on_state_timer(int fd, short what, void *arg)
{
    struct msg_k8s_state m = {0};
    (void)fd;
    (void)what;
    (void)arg;
    collect(&m);
    if (ipc_channel_send(self.worker->supervisor, MSG_K8S_STATE, &m, -1) == ERR_FULL) {
        timer_set(self.state_timer, STATE_MS);
        return;
    }
    if (m.ready != self.told.ready || strcmp(m.text, self.told.text) != 0) {
        if (m.text[0] != '\0') {
            log_warn("Kubernetes: %s", m.text);
        } else if (m.ready) {
            log_info("Kubernetes: in step with https://%s:%u", self.cluster.host, self.cluster.port);
        }
    }
    self.told = m;
}

static void tell_state(void)
{
    if (!event_pending(self.state_timer, EV_TIMEOUT, NULL)) {
        timer_set(self.state_timer, STATE_MS);
    }
}

/* The sandbox has no resolver: a fresh process looks the name up again. */
static void on_name_timer(int fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    uint64_t heard = api_counters(self.api).heard_ms;
    uint64_t since = heard > self.started_ms ? heard : self.started_ms;
    bool trouble = self.told.text[0] != '\0';
    if (trouble && clock_mono_ms() - since > NAME_SILENCE_MS) {
        log_warn("no answer from %s for minutes: starting anew, to look its address up again",
                 self.cluster.host);
        worker_exit(self.worker, 1);
    }
}

/* ---- client: discovery
 * --------------------------------------------------------------------------------------- */

static bool channel_is_calm(void)
{
    return ipc_channel_queued(self.worker->supervisor) < CALM_QUEUE;
}

static enum status on_found(void *arg, const char *key, const struct exposed_app *app)
{
    struct msg_k8s_app_found m = {.port = app->port, .service_port = app->service_port};
    (void)arg;
    if (!channel_is_calm()) {
        return ERR_FULL;
    }
    snprintf(m.key, sizeof m.key, "%s", key);
    snprintf(m.name, sizeof m.name, "%s", app->name);
    snprintf(m.host, sizeof m.host, "%s", app->host);
    snprintf(m.app_protocol, sizeof m.app_protocol, "%s", app->app_protocol);
    enum status status = ipc_channel_send(self.worker->supervisor, MSG_K8S_APP_FOUND, &m, -1);
    if (status == OK) {
        log_debug("app %s is exposed by Service port %s", app->name, key);
    }
    tell_state();
    return status;
}

static enum status on_lost(void *arg, const char *key)
{
    struct msg_k8s_app_lost m = {0};
    (void)arg;
    if (!channel_is_calm()) {
        return ERR_FULL;
    }
    snprintf(m.key, sizeof m.key, "%s", key);
    tell_state();
    return ipc_channel_send(self.worker->supervisor, MSG_K8S_APP_LOST, &m, -1);
}

static void on_list_state(void *arg, unsigned source)
{
    (void)arg;
    (void)source;
    tell_state();
}

static bool add_list(const char *path)
{
    struct listwatch_spec spec = {path, NULL, self.n_lists, self.setup.watch_s, self.setup.relist_s};
    struct listwatch *lw =
        listwatch_new(self.worker->base, self.api, &spec, &discovery_listwatch, self.discovery);
    if (lw != NULL) {
        self.lists[self.n_lists++] = lw;
    }
    return lw != NULL;
}

static enum status start_client(void)
{
    static const struct discovery_handlers handlers = {
        .found = on_found, .lost = on_lost, .state = on_list_state};
    self.discovery = discovery_new(self.worker->base, self.events, &handlers, NULL);
    if (self.discovery == NULL) {
        return ERR_NOMEM;
    }
    if (self.setup.namespaces[0] == '\0') {
        return add_list("/api/v1/services") ? OK : ERR_NOMEM;
    }
    char names[sizeof self.setup.namespaces];
    memcpy(names, self.setup.namespaces, sizeof names);
    char *rest = names;
    for (char *name; (name = strsep(&rest, ",")) != NULL;) {
        char path[128];
        if (!name_is_valid(name) || self.n_lists == DISCOVERY_SOURCES_MAX) {
            log_error("--kubernetes-namespaces: \"%s\" is no namespace, or there are more than %d of them",
                      name, DISCOVERY_SOURCES_MAX);
            return ERR_CONFIG;
        }
        snprintf(path, sizeof path, "/api/v1/namespaces/%s/services", name);
        if (!add_list(path)) {
            return ERR_NOMEM;
        }
    }
    return OK;
}

/* ---- server: mirroring
 * ------------------------------------------------------------------------------------------ */

static enum status on_report(void *arg, const char *peer, const char *app, bool done, const char *endpoint,
                             const char *text)
{
    struct msg_k8s_mirrored m = {.done = done};
    (void)arg;
    if (!channel_is_calm()) {
        return ERR_FULL;
    }
    snprintf(m.peer, sizeof m.peer, "%s", peer);
    snprintf(m.app, sizeof m.app, "%s", app);
    snprintf(m.endpoint, sizeof m.endpoint, "%s", endpoint);
    snprintf(m.text, sizeof m.text, "%s", text);
    return ipc_channel_send(self.worker->supervisor, MSG_K8S_MIRRORED, &m, -1);
}

static void on_mirror_state(void *arg)
{
    (void)arg;
    tell_state();
}

static enum status start_server(void)
{
    static const struct mirror_handlers handlers = {.report = on_report, .state = on_mirror_state};
    struct mirror_spec spec = {.policies = self.setup.network_policies != 0,
                               .watch_s = self.setup.watch_s,
                               .relist_s = self.setup.relist_s};
    struct render_context *c = &spec.context;
    const char *why = NULL;
    const char *ns = self.setup.namespace[0] != '\0' ? self.setup.namespace : self.cluster.namespace;
    if (!name_is_valid(ns)) {
        log_error("--kubernetes-namespace: \"%s\" is no namespace", ns);
        return ERR_CONFIG;
    }
    if (render_selector_parse(self.setup.labels, &c->selector, &why) != OK) {
        log_error("--kubernetes-labels \"%s\": %s", self.setup.labels, why);
        return ERR_CONFIG;
    }
    snprintf(c->namespace, sizeof c->namespace, "%s", ns);
    snprintf(c->owner_name, sizeof c->owner_name, "%s", self.setup.owner_name);
    snprintf(c->owner_uid, sizeof c->owner_uid, "%s", self.setup.owner_uid);
    snprintf(c->instance, sizeof c->instance, "%s", self.setup.instance);
    if (c->instance[0] == '\0') { /* two servers in a namespace differ in the labels of their pods */
        name_hash(ns, self.setup.labels, 16, c->instance);
    }
    self.mirror = mirror_new(self.worker->base, self.api, self.events, &spec, &handlers, NULL);
    return self.mirror != NULL ? OK : ERR_NOMEM;
}

static void mirror_one(const struct msg_k8s_mirror *m)
{
    struct render_app app = {.port = m->port, .target_port = m->target_port};
    snprintf(app.peer, sizeof app.peer, "%s", m->peer);
    snprintf(app.app, sizeof app.app, "%s", m->app);
    snprintf(app.app_protocol, sizeof app.app_protocol, "%s", m->app_protocol);
    if (mirror_add(self.mirror, &app) != OK) {
        (void)on_report(NULL, m->peer, m->app, false, "", "this name or port cannot be mirrored");
    }
}

/* ---- the role
 * -------------------------------------------------------------------------------------------------------- */

static enum status on_start(struct worker *w)
{
    self.worker = w;
    self.started_ms = clock_mono_ms();
    self.state_timer = evtimer_new(w->base, on_state_timer, NULL);
    self.name_timer = event_new(w->base, -1, EV_PERSIST, on_name_timer, NULL);
    self.api = api_new(w->base, &self.cluster);
    self.events =
        self.api != NULL ? events_new(w->base, self.api, w->side == SIDE_SERVER ? "server" : "client") : NULL;
    if (self.state_timer == NULL || self.name_timer == NULL || self.events == NULL) {
        return ERR_NOMEM;
    }
    if (api_host_is_name(self.api)) {
        timer_set(self.name_timer, NAME_CHECK_MS);
    }
    enum status status = w->side == SIDE_SERVER ? start_server() : start_client();
    if (status == ERR_CONFIG) {
        worker_exit(w, EXIT_BAD_CONFIGURATION);
    }
    if (status == OK) {
        tell_state();
    }
    return status;
}

static void on_message(struct worker *w, enum message_type type, const union message *m, int fd)
{
    (void)fd;
    switch (type) {
    case MSG_K8S_MIRROR:
        if (self.mirror != NULL) {
            mirror_one(&m->k8s_mirror);
        }
        break;
    case MSG_K8S_UNMIRROR:
        if (self.mirror != NULL) {
            mirror_remove(self.mirror, m->k8s_unmirror.peer, m->k8s_unmirror.app);
        }
        break;
    case MSG_K8S_SWEEP:
        if (self.mirror != NULL) {
            mirror_sweep(self.mirror);
        }
        break;
    case MSG_K8S_COMPLAIN:
        if (self.discovery != NULL) {
            const struct msg_k8s_complain *c = &m->k8s_complain;
            discovery_complain(self.discovery, c->key, c->reason, c->text);
        }
        break;
    default: log_error("message %s is none of ours", ipc_message_name(type)); worker_exit(w, 1);
    }
}

static void on_finish(struct worker *w)
{
    (void)w;
    for (unsigned i = 0; i < self.n_lists; i++) {
        listwatch_free(self.lists[i]);
    }
    mirror_free(self.mirror);
    discovery_free(self.discovery);
    events_free(self.events);
    api_free(self.api);
    cluster_clear(&self.cluster);
    if (self.state_timer != NULL) {
        event_free(self.state_timer);
    }
    if (self.name_timer != NULL) {
        event_free(self.name_timer);
    }
}

int main(int argc, char **argv)
{
    static const struct worker_role role = {
        .role = ROLE_K8S,
        .kind = CH_K8S,
        .run_state = IN_RUN,
        .name = "k8s",
        .setup = on_setup,
        .preload = on_preload,
        .start = on_start,
        .message = on_message,
        .finish = on_finish,
    };
    return worker_main(argc, argv, &role);
}
