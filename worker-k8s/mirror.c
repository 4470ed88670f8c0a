/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wanted and what exists (mirror.h): the apps that the supervisor named, the objects that lists and
 * watches showed, and which name belongs to whom. It decides nothing about requests; mirror_apply.c does.
 */
#include "worker-k8s/mirror.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/names.h"
#include "common/worker.h"
#include "worker-k8s/mirror_private.h"
#include "worker-k8s/timer.h"

#define REPORT_RETRY_MS 20

const char *mirror_kind_name(enum object_kind kind)
{
    return kind == OBJECT_SERVICE ? "Service" : "NetworkPolicy";
}

void mirror_collection(const struct mirror *m, enum object_kind kind, char *path, size_t cap)
{
    bool service = kind == OBJECT_SERVICE;
    snprintf(path, cap, "%s/namespaces/%s/%s", service ? "/api/v1" : "/apis/networking.k8s.io/v1",
             m->spec.context.namespace, service ? "services" : "networkpolicies");
}

/* ---- objects ------------------------------------------------------------------------------------ */

struct object *object_get(struct mirror *m, enum object_kind kind, const char *name, bool make)
{
    struct object *o = table_get(&m->objects[kind], name);
    if (o != NULL || !make || strlen(name) >= sizeof o->name) {
        return o;
    }
    o = calloc(1, sizeof *o);
    if (o == NULL) {
        return NULL;
    }
    memcpy(o->name, name, strlen(name) + 1);
    o->kind = kind;
    o->mirror = m;
    if (table_put(&m->objects[kind], o->name, o) != OK) {
        free(o);
        return NULL;
    }
    return o;
}

void object_drop(struct object *o)
{
    struct mirror *m = o->mirror;
    if (o->dirty) {
        TAILQ_REMOVE(&m->dirty, o, link);
    }
    if (o->call != NULL) {
        api_cancel(o->call);
        m->in_flight--;
    }
    table_remove(&m->objects[o->kind], o->name);
    free(o);
}

void object_mark(struct object *o)
{
    if (!o->dirty) {
        o->dirty = true;
        TAILQ_INSERT_TAIL(&o->mirror->dirty, o, link);
    }
    mirror_later(o->mirror, 0);
}

void object_mark_first(struct object *o)
{
    if (o->dirty) {
        TAILQ_REMOVE(&o->mirror->dirty, o, link);
    }
    o->dirty = true;
    TAILQ_INSERT_HEAD(&o->mirror->dirty, o, link);
    mirror_later(o->mirror, 0);
}

void object_learn(struct object *o, const json_t *json)
{
    const json_t *meta = json_object_get(json, "metadata");
    const json_t *annotations = json_object_get(meta, "annotations");
    o->exists = true;
    o->peer[0] = o->app[0] = '\0';
    (void)text_copy(meta, "uid", o->uid, sizeof o->uid);
    (void)text_copy(meta, "resourceVersion", o->version, sizeof o->version);
    (void)text_copy(annotations, ANNOTATION_PEER_NAME, o->peer, sizeof o->peer);
    (void)text_copy(annotations, ANNOTATION_APP_NAME, o->app, sizeof o->app);
    render_digest(json, o->digest);
}

static void object_vanished(struct object *o)
{
    o->exists = false;
    o->doomed = false;
    if (o->want != NULL) {
        object_mark(o);
    } else if (o->call == NULL) {
        object_drop(o);
    }
}

/* ---- names -------------------------------------------------------------------------------------- */

bool mirror_is_synced(const struct mirror *m)
{
    return m->listed[OBJECT_SERVICE] && (!m->spec.policies || m->listed[OBJECT_POLICY]);
}

/* The name under which this app's Service exists already, from an earlier life; the plain one is preferred.
 */
static const char *adopted_name(struct mirror *m, const struct want *w, const char *plain)
{
    const char *found = NULL;
    size_t cursor = 0;
    for (struct object *o; (o = table_next(&m->objects[OBJECT_SERVICE], &cursor)) != NULL;) {
        bool its = o->exists && strcmp(o->peer, w->app.peer) == 0 && strcmp(o->app, w->app.app) == 0;
        if (its && strlen(o->name) <= K8S_NAME_MAX && table_get(&m->names, o->name) == NULL &&
            (found == NULL || strcmp(o->name, plain) == 0)) {
            found = o->name;
        }
    }
    return found;
}

/* May this app have this name? Not when another one settled on it or still has its Service there. */
static bool name_is_free(struct mirror *m, const struct want *w, const char *name)
{
    const struct object *o = object_get(m, OBJECT_SERVICE, name, false);
    bool others =
        o != NULL && o->exists && (strcmp(o->peer, w->app.peer) != 0 || strcmp(o->app, w->app.app) != 0);
    return table_get(&m->names, name) == NULL && !others;
}

static void settle_name(struct mirror *m, struct want *w)
{
    char plain[K8S_NAME_MAX + 1];
    name_mirror(w->app.peer, w->app.app, false, plain);
    const char *adopted = w->hashed_name ? NULL : adopted_name(m, w, plain);
    if (adopted != NULL) {
        snprintf(w->name, sizeof w->name, "%.63s", adopted);
    } else if (!w->hashed_name && name_is_free(m, w, plain)) {
        memcpy(w->name, plain, sizeof w->name);
    } else {
        name_mirror(w->app.peer, w->app.app, true, w->name);
    }
    if (table_put(&m->names, w->name, w) != OK) {
        w->name[0] = '\0';
        return;
    }
    for (int kind = 0; kind < (m->spec.policies ? OBJECT_KINDS : OBJECT_POLICY); kind++) {
        struct object *o = object_get(m, (enum object_kind)kind, w->name, true);
        if (o != NULL) {
            o->want = w;
            o->doomed = false;
        }
    }
}

/* Takes the app off its objects. doomed: they go now, not only with a sweep. */
static void unsettle_name(struct mirror *m, struct want *w, bool doomed)
{
    if (w->name[0] == '\0') {
        return;
    }
    if (table_get(&m->names, w->name) == w) {
        table_remove(&m->names, w->name);
    }
    for (int kind = 0; kind < OBJECT_KINDS; kind++) {
        struct object *o = object_get(m, (enum object_kind)kind, w->name, false);
        if (o != NULL && o->want == w) {
            o->want = NULL;
            o->doomed = doomed;
            object_mark(o);
        }
    }
    w->name[0] = '\0';
}

void want_mark(struct mirror *m, struct want *w)
{
    if (!mirror_is_synced(m)) {
        return;
    }
    if (w->name[0] == '\0') {
        settle_name(m, w);
    }
    for (int kind = 0; kind < OBJECT_KINDS; kind++) {
        struct object *o = object_get(m, (enum object_kind)kind, w->name, false);
        if (o != NULL && o->want == w) {
            object_mark(o);
        }
    }
}

void want_rename(struct mirror *m, struct want *w)
{
    unsettle_name(m, w, true);
    w->hashed_name = true;
    want_mark(m, w);
}

static void flush_reports(struct mirror *m)
{
    struct want *w;
    while ((w = TAILQ_FIRST(&m->reports)) != NULL) {
        const char *endpoint = w->done ? w->text : "";
        const char *problem = w->done ? "" : w->text;
        if (m->handlers.report(m->arg, w->app.peer, w->app.app, w->done, endpoint, problem) == ERR_FULL) {
            timer_set(m->report_timer, REPORT_RETRY_MS);
            return;
        }
        TAILQ_REMOVE(&m->reports, w, report_link);
        w->report_due = false;
    }
}

static void on_report_timer(int fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    flush_reports(arg);
}

void want_report(struct mirror *m, struct want *w, const char *problem)
{
    char text[sizeof w->text];
    bool done = problem == NULL;
    if (done) {
        snprintf(text, sizeof text, "%s.%s:%u", w->name, m->spec.context.namespace, w->app.port);
    } else {
        snprintf(text, sizeof text, "%s", problem);
    }
    if (w->done == done && strcmp(w->text, text) == 0) {
        return;
    }
    m->done += (uint32_t)done - (uint32_t)w->done;
    w->done = done;
    memcpy(w->text, text, sizeof text);
    if (!w->report_due) {
        w->report_due = true;
        TAILQ_INSERT_TAIL(&m->reports, w, report_link);
    }
    if (!event_pending(m->report_timer, EV_TIMEOUT, NULL)) {
        flush_reports(m);
    }
    m->handlers.state(m->arg);
}

/* ---- what the supervisor wants --------------------------------------------------------------------- */

static void make_key(char key[130], const char *peer, const char *app)
{
    snprintf(key, 130, "%.63s/%.63s", peer, app);
}

enum status mirror_add(struct mirror *m, const struct render_app *app)
{
    char key[130];
    if (!name_is_valid(app->peer) || !name_is_valid(app->app) || app->port == 0 || app->target_port == 0) {
        return ERR_FORMAT;
    }
    make_key(key, app->peer, app->app);
    struct want *w = table_get(&m->wants, key);
    if (w == NULL) {
        w = calloc(1, sizeof *w);
        if (w == NULL) {
            return ERR_NOMEM;
        }
        memcpy(w->key, key, sizeof key);
        if (table_put(&m->wants, w->key, w) != OK) {
            free(w);
            return ERR_NOMEM;
        }
    }
    w->app = *app;
    m->done -= w->done;
    w->done = false;
    w->text[0] = '\0';
    if (w->report_due) { /* about values that are past */
        w->report_due = false;
        TAILQ_REMOVE(&m->reports, w, report_link);
    }
    want_mark(m, w);
    return OK;
}

void mirror_remove(struct mirror *m, const char *peer, const char *app)
{
    char key[130];
    make_key(key, peer, app);
    struct want *w = table_remove(&m->wants, key);
    if (w == NULL) {
        return;
    }
    m->done -= w->done;
    if (w->report_due) {
        TAILQ_REMOVE(&m->reports, w, report_link);
    }
    if (w->name[0] == '\0') { /* before the first list: what it left there in an earlier life goes too */
        for (int kind = 0; kind < OBJECT_KINDS; kind++) {
            size_t cursor = 0;
            for (struct object *o; (o = table_next(&m->objects[kind], &cursor)) != NULL;) {
                o->doomed = o->doomed || (strcmp(o->peer, peer) == 0 && strcmp(o->app, app) == 0);
            }
        }
    }
    unsettle_name(m, w, true);
    free(w);
    m->handlers.state(m->arg);
}

/* Objects of ours without an app: those that may go are looked at. */
static void mark_orphans(struct mirror *m)
{
    for (int kind = 0; kind < OBJECT_KINDS; kind++) {
        size_t cursor = 0;
        for (struct object *o; (o = table_next(&m->objects[kind], &cursor)) != NULL;) {
            if (o->want == NULL && (m->swept || o->doomed)) {
                object_mark(o);
            }
        }
    }
}

void mirror_sweep(struct mirror *m)
{
    m->swept = true;
    mark_orphans(m);
}

/* ---- what the API server shows ------------------------------------------------------------------------ */

static void on_begin(void *arg, unsigned source)
{
    struct mirror *m = arg;
    m->list_number[source]++;
    table_clear(&m->seen[source]);
}

static struct object *learn(struct mirror *m, unsigned source, const json_t *json)
{
    const char *name = text_member(json_object_get(json, "metadata"), "name", 253);
    if (name == NULL || !render_is_ours(&m->spec.context, json)) {
        return NULL;
    }
    struct object *o = object_get(m, (enum object_kind)source, name, true);
    if (o != NULL) {
        object_learn(o, json);
    }
    return o;
}

static enum status on_item(void *arg, unsigned source, const json_t *json)
{
    struct mirror *m = arg;
    struct object *o = learn(m, source, json);
    if (o == NULL) {
        return ERR_FORMAT;
    }
    if (o->want != NULL || m->swept || o->doomed) {
        object_mark(o);
    }
    return table_put(&m->seen[source], o->name, o);
}

/* Objects that the list did not have, and that were not made since it began, are gone. */
static void forget_absent(struct mirror *m, unsigned source)
{
    struct object **gone = calloc(m->objects[source].count + 1, sizeof(struct object *));
    size_t cursor = 0, n = 0;
    for (struct object *o; gone != NULL && (o = table_next(&m->objects[source], &cursor)) != NULL;) {
        if (o->exists && o->call == NULL && o->touched < m->list_number[source] &&
            table_get(&m->seen[source], o->name) == NULL) {
            gone[n++] = o;
        }
    }
    for (size_t i = 0; i < n; i++) {
        object_vanished(gone[i]);
    }
    free(gone);
}

static void on_commit(void *arg, unsigned source, bool complete)
{
    struct mirror *m = arg;
    bool was_synced = mirror_is_synced(m);
    if (complete) {
        forget_absent(m, source);
    }
    table_clear(&m->seen[source]);
    m->listed[source] = true;
    if (!was_synced && mirror_is_synced(m)) {
        size_t cursor = 0;
        for (struct want *w; (w = table_next(&m->wants, &cursor)) != NULL;) {
            want_mark(m, w);
        }
        mark_orphans(m);
    }
    mirror_later(m, 0);
}

static void on_abort(void *arg, unsigned source)
{
    struct mirror *m = arg;
    table_clear(&m->seen[source]);
}

static void on_event(void *arg, unsigned source, enum watch_event event, const json_t *json)
{
    struct mirror *m = arg;
    const json_t *meta = json_object_get(json, "metadata");
    const char *name = text_member(meta, "name", 253);
    const char *uid = text_member(meta, "uid", 63);
    struct object *o = name != NULL ? object_get(m, (enum object_kind)source, name, false) : NULL;
    if (event == WATCH_DELETED) {
        if (o != NULL && o->exists && uid != NULL && strcmp(o->uid, uid) == 0) {
            object_vanished(o);
        }
        return;
    }
    o = learn(m, source, json);
    if (o != NULL) {
        object_mark(o);
    }
}

static void on_state(void *arg, unsigned source)
{
    struct mirror *m = arg;
    (void)source;
    m->handlers.state(m->arg);
}

static const struct listwatch_handlers handlers_of_lists = {
    .begin = on_begin,
    .item = on_item,
    .commit = on_commit,
    .abort = on_abort,
    .event = on_event,
    .state = on_state,
};

/* ---- the owner: what takes our objects along when it is removed
 * --------------------------------------------- */

static bool start_lists(struct mirror *m)
{
    char selector[160];
    snprintf(selector, sizeof selector, "%s=%s,%s=%s", LABEL_MANAGED_BY, MANAGED_BY, LABEL_INSTANCE,
             m->spec.context.instance);
    for (unsigned kind = 0; kind < (m->spec.policies ? OBJECT_KINDS : OBJECT_POLICY); kind++) {
        char path[160];
        mirror_collection(m, (enum object_kind)kind, path, sizeof path);
        struct listwatch_spec spec = {path, selector, kind, m->spec.watch_s, m->spec.relist_s};
        m->lists[kind] = listwatch_new(m->base, m->api, &spec, &handlers_of_lists, m);
        if (m->lists[kind] == NULL) {
            return false;
        }
    }
    return true;
}

static void ask_owner(struct mirror *m);

static void on_owner(void *arg, const struct api_result *result, const char *body, size_t len)
{
    struct mirror *m = arg;
    m->owner_call = NULL;
    bool final =
        result->end == API_DONE && result->status != 429 && result->status < 500 && result->status != 401;
    if (!final) {
        mirror_later(m, backoff_bad(&m->backoff, clock_mono_ms(), (uint32_t)clock_mono_us()));
        return;
    }
    json_t *json = result->status == 200 ? json_loadb(body, len, 0, NULL) : NULL;
    if (!text_copy(json_object_get(json, "metadata"), "uid", m->spec.context.owner_uid,
                   sizeof m->spec.context.owner_uid)) {
        log_warn("Service %s is not there (%s): mirrored Services will not go away with it",
                 m->spec.context.owner_name, result->text[0] != '\0' ? result->text : "no uid");
    }
    json_decref(json);
    m->owner_settled = true;
    if (!start_lists(m)) {
        log_error("out of memory");
    }
}

static void ask_owner(struct mirror *m)
{
    char path[512];
    snprintf(path, sizeof path, "/api/v1/namespaces/%s/services/%s", m->spec.context.namespace,
             m->spec.context.owner_name);
    struct api_request request = {
        .method = "GET", .path = path, .timeout_ms = 15000, .done = on_owner, .arg = m};
    m->owner_call = api_send(m->api, &request);
}

/* ---- life
 * ------------------------------------------------------------------------------------------------------- */

static void on_timer(int fd, short what, void *arg)
{
    struct mirror *m = arg;
    (void)fd;
    (void)what;
    if (!m->owner_settled) {
        if (m->owner_call == NULL) {
            ask_owner(m);
        }
        return;
    }
    mirror_pump(m);
}

void mirror_later(struct mirror *m, uint32_t ms)
{
    struct timeval due, now;
    if (evtimer_pending(m->timer, &due)) {
        event_base_gettimeofday_cached(m->base, &now);
        int64_t left = ((int64_t)due.tv_sec - now.tv_sec) * 1000 + (due.tv_usec - now.tv_usec) / 1000;
        if (left <= (int64_t)ms) {
            return;
        }
    }
    timer_set(m->timer, ms);
}

struct mirror *mirror_new(struct event_base *base, struct api *api, struct events *events,
                          const struct mirror_spec *spec, const struct mirror_handlers *handlers, void *arg)
{
    struct mirror *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return NULL;
    }
    m->base = base;
    m->api = api;
    m->events = events;
    m->spec = *spec;
    m->handlers = *handlers;
    m->arg = arg;
    TAILQ_INIT(&m->dirty);
    TAILQ_INIT(&m->reports);
    m->report_timer = evtimer_new(base, on_report_timer, m);
    m->timer = evtimer_new(base, on_timer, m);
    m->owner_settled = spec->context.owner_name[0] == '\0';
    if (m->timer == NULL || m->report_timer == NULL || (m->owner_settled && !start_lists(m))) {
        mirror_free(m);
        return NULL;
    }
    if (!m->owner_settled) {
        mirror_later(m, 0);
    }
    return m;
}

void mirror_free(struct mirror *m)
{
    if (m == NULL) {
        return;
    }
    api_cancel(m->owner_call);
    for (int kind = 0; kind < OBJECT_KINDS; kind++) {
        size_t cursor = 0;
        listwatch_free(m->lists[kind]);
        for (struct object *o; (o = table_next(&m->objects[kind], &cursor)) != NULL;) {
            api_cancel(o->call);
            free(o);
        }
        table_clear(&m->objects[kind]);
        table_clear(&m->seen[kind]);
    }
    size_t cursor = 0;
    for (struct want *w; (w = table_next(&m->wants, &cursor)) != NULL;) {
        free(w);
    }
    table_clear(&m->wants);
    table_clear(&m->names);
    json_decref(m->spec.context.selector);
    if (m->timer != NULL) {
        event_free(m->timer);
    }
    if (m->report_timer != NULL) {
        event_free(m->report_timer);
    }
    free(m);
}

struct listwatch_state mirror_state(const struct mirror *m, uint32_t *objects)
{
    struct listwatch_state all = {.synced = m->owner_settled, .ready = m->owner_settled, .text = ""};
    for (int kind = 0; kind < OBJECT_KINDS; kind++) {
        if (m->lists[kind] == NULL) {
            continue;
        }
        struct listwatch_state one = listwatch_state(m->lists[kind]);
        all.synced = all.synced && one.synced;
        all.ready = all.ready && one.ready;
        all.text = all.text[0] == '\0' ? one.text : all.text;
    }
    *objects = m->done;
    return all;
}
