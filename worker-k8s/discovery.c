/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From Services to offered apps (discovery.h). Three tables: what is known of each exposed Service, who owns
 * each app name, and what was offered upstream. Only the last one is slow (IPC may be full), so it keeps what
 * was said beside what is true and a queue of those that differ.
 */
#include "worker-k8s/discovery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/worker.h"
#include "worker-k8s/table.h"
#include "worker-k8s/timer.h"

#define KEY_MAX 136 /* namespace/name/port */
#define RETRY_MS 20

/* An exposed Service. */
struct known {
    char key[130]; /* namespace/name */
    char namespace[64], name[64], uid[64], created[32];
    unsigned source;
    struct exposed_app *apps;
    size_t n_apps;
    bool troubled; /* an Event was told */
    bool conflict; /* wants a name that another one has */
};

/* An app as it is, and as it was told. */
struct offer {
    char key[KEY_MAX];
    struct exposed_app app, told_app;
    bool wanted, told, dirty;
    TAILQ_ENTRY(offer) link;
};

struct discovery {
    struct events *events;
    struct discovery_handlers handlers;
    void *arg;
    struct event *pump_timer;
    struct table services; /* key -> struct known */
    struct table owners;   /* app name -> struct known */
    struct table offers;   /* key -> struct offer */
    struct table building[DISCOVERY_SOURCES_MAX];
    TAILQ_HEAD(offer_queue, offer) dirty;
    size_t n_wanted, n_conflicts;
};

/* ---- offers -------------------------------------------------------------------------------------- */

static bool same_app(const struct exposed_app *a, const struct exposed_app *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->host, b->host) == 0 && a->port == b->port &&
           a->service_port == b->service_port && strcmp(a->app_protocol, b->app_protocol) == 0;
}

static void pump_soon(struct discovery *d, uint32_t ms)
{
    if (!evtimer_pending(d->pump_timer, NULL)) {
        timer_set(d->pump_timer, ms);
    }
}

static void offer_settle(struct discovery *d, struct offer *o)
{
    bool differs = o->told != o->wanted || (o->told && !same_app(&o->app, &o->told_app));
    if (differs && !o->dirty) {
        o->dirty = true;
        TAILQ_INSERT_TAIL(&d->dirty, o, link);
    } else if (!differs && o->dirty) {
        o->dirty = false;
        TAILQ_REMOVE(&d->dirty, o, link);
    }
    if (!o->told && !o->wanted) {
        table_remove(&d->offers, o->key);
        free(o);
    }
}

static void offer_set(struct discovery *d, const char *service, const struct exposed_app *app)
{
    char key[KEY_MAX];
    snprintf(key, sizeof key, "%s/%u", service, app->service_port);
    struct offer *o = table_get(&d->offers, key);
    if (o == NULL) {
        o = calloc(1, sizeof *o);
        if (o == NULL) {
            return;
        }
        memcpy(o->key, key, sizeof key);
        if (table_put(&d->offers, o->key, o) != OK) {
            free(o);
            return;
        }
    }
    d->n_wanted += !o->wanted;
    o->wanted = true;
    o->app = *app;
    offer_settle(d, o);
}

static void offer_unset(struct discovery *d, const char *service, const struct exposed_app *app)
{
    char key[KEY_MAX];
    snprintf(key, sizeof key, "%s/%u", service, app->service_port);
    struct offer *o = table_get(&d->offers, key);
    if (o != NULL && o->wanted) {
        d->n_wanted--;
        o->wanted = false;
        offer_settle(d, o);
    }
}

/* Losses first: a name must be free before another Service takes it. */
static void pump(struct discovery *d)
{
    struct offer *o, *next;
    for (o = TAILQ_FIRST(&d->dirty); o != NULL; o = next) {
        next = TAILQ_NEXT(o, link);
        if (o->told) {
            if (d->handlers.lost(d->arg, o->key) != OK) {
                pump_soon(d, RETRY_MS);
                return;
            }
            o->told = false;
            offer_settle(d, o);
        }
    }
    for (o = TAILQ_FIRST(&d->dirty); o != NULL; o = next) {
        next = TAILQ_NEXT(o, link);
        if (d->handlers.found(d->arg, o->key, &o->app) != OK) {
            pump_soon(d, RETRY_MS);
            return;
        }
        o->told = true;
        o->told_app = o->app;
        offer_settle(d, o);
    }
}

static void on_pump_timer(int fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    pump(arg);
}

/* ---- Services and names ------------------------------------------------------------------------------ */

static void known_free(struct known *k)
{
    if (k != NULL) {
        free(k->apps);
        free(k);
    }
}

static struct event_subject subject_of(const struct known *k)
{
    return (struct event_subject){"Service", k->namespace, k->name, k->uid};
}

static bool has_name(const struct known *k, const char *name)
{
    for (size_t i = 0; k != NULL && i < k->n_apps; i++) {
        if (strcmp(k->apps[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_port(const struct known *k, uint16_t port)
{
    for (size_t i = 0; k != NULL && i < k->n_apps; i++) {
        if (k->apps[i].service_port == port) {
            return true;
        }
    }
    return false;
}

static void set_conflict(struct discovery *d, struct known *k, bool conflict)
{
    d->n_conflicts += (size_t)conflict - (size_t)k->conflict;
    k->conflict = conflict;
}

/* Takes the names that are free for k's apps and offers those; complains about the others. */
static void claim(struct discovery *d, struct known *k)
{
    bool conflict = false;
    for (size_t i = 0; i < k->n_apps; i++) {
        const struct exposed_app *app = &k->apps[i];
        struct known *owner = table_get(&d->owners, app->name);
        if (owner == NULL && table_put(&d->owners, app->name, k) == OK) {
            owner = k;
        }
        if (owner == k) {
            offer_set(d, k->key, app);
            continue;
        }
        conflict = true;
        offer_unset(d, k->key, app);
        if (owner != NULL) {
            char text[320];
            struct event_subject subject = subject_of(k);
            snprintf(text, sizeof text,
                     "app name \"%s\" is already used by Service %s; set the annotation %s to "
                     "another one",
                     app->name, owner->key, ANNOTATION_NAME);
            events_warn(d->events, &subject, "NameTaken", text);
            k->troubled = true;
        }
    }
    set_conflict(d, k, conflict);
}

/* Gives up what `old` owned; what `heir` (the same Service, newer; or NULL) still has goes to it. */
static bool release(struct discovery *d, struct known *old, struct known *heir)
{
    bool freed = false;
    for (size_t i = 0; i < old->n_apps; i++) {
        const struct exposed_app *app = &old->apps[i];
        if (!has_port(heir, app->service_port)) {
            offer_unset(d, old->key, app);
        }
        if (table_get(&d->owners, app->name) == old) {
            table_remove(&d->owners, app->name); /* the key belongs to old */
            freed = freed || !has_name(heir, app->name);
        }
    }
    set_conflict(d, old, false);
    return freed;
}

static int by_age(const void *a, const void *b)
{
    const struct known *x = *(struct known *const *)a;
    const struct known *y = *(struct known *const *)b;
    int order = strcmp(x->created, y->created);
    return order != 0 ? order : strcmp(x->key, y->key);
}

/* All entries of a table, oldest Service first; *n gets the count. NULL when empty or out of memory. */
static struct known **sorted(const struct table *table, size_t *n, bool (*pick)(const struct known *))
{
    struct known **list = table->count > 0 ? calloc(table->count, sizeof(struct known *)) : NULL;
    size_t cursor = 0;
    *n = 0;
    for (struct known *k; list != NULL && (k = table_next(table, &cursor)) != NULL;) {
        if (pick == NULL || pick(k)) {
            list[(*n)++] = k;
        }
    }
    if (list != NULL) {
        qsort(list, *n, sizeof(struct known *), by_age);
    }
    return list;
}

static bool is_conflict(const struct known *k)
{
    return k->conflict;
}

/* A name came free: those who wanted one may have it, oldest first. */
static void retry_conflicts(struct discovery *d)
{
    size_t n = 0;
    if (d->n_conflicts == 0) {
        return;
    }
    struct known **list = sorted(&d->services, &n, is_conflict);
    for (size_t i = 0; i < n; i++) {
        claim(d, list[i]);
    }
    free(list);
}

static void remove_service(struct discovery *d, const char *key)
{
    struct known *k = table_remove(&d->services, key);
    if (k == NULL) {
        return;
    }
    if (k->troubled) {
        struct event_subject subject = subject_of(k);
        events_forget(d->events, &subject);
    }
    bool freed = release(d, k, NULL);
    known_free(k);
    if (freed) {
        retry_conflicts(d);
    }
}

/* Takes ownership of k. */
static void put_service(struct discovery *d, struct known *k)
{
    struct known *old = table_get(&d->services, k->key);
    bool was_troubled = old != NULL && old->troubled;
    bool freed = old != NULL && release(d, old, k);
    if (table_put(&d->services, k->key, k) != OK) {
        known_free(k);
        return;
    }
    known_free(old);
    claim(d, k);
    if (was_troubled && !k->troubled) {
        struct event_subject subject = subject_of(k);
        events_forget(d->events, &subject);
    }
    if (freed) {
        retry_conflicts(d);
    }
}

/* ---- objects from the API server --------------------------------------------------------------------- */

/* *out is NULL for a Service that is not exposed; key is filled for any. */
static enum status read_known(struct discovery *d, unsigned source, const json_t *object, struct known **out,
                              char key[130])
{
    struct service s;
    struct exposure e;
    enum status status = service_parse(object, &s);
    *out = NULL;
    if (status != OK) {
        return status;
    }
    snprintf(key, 130, "%s/%s", s.namespace, s.name);
    if (!s.exposed) {
        return OK;
    }
    status = exposure_derive(&s, &e);
    struct known *k = status == OK ? calloc(1, sizeof *k) : NULL;
    if (k == NULL) {
        if (status == OK) {
            exposure_clear(&e);
        }
        service_clear(&s);
        return ERR_NOMEM;
    }
    memcpy(k->key, key, sizeof k->key);
    memcpy(k->namespace, s.namespace, sizeof k->namespace);
    memcpy(k->name, s.name, sizeof k->name);
    memcpy(k->uid, s.uid, sizeof k->uid);
    memcpy(k->created, s.created, sizeof k->created);
    k->source = source;
    k->apps = e.apps;
    k->n_apps = e.n_apps;
    struct event_subject subject = subject_of(k);
    for (size_t i = 0; i < e.n_problems; i++) {
        events_warn(d->events, &subject, e.problems[i].reason, e.problems[i].text);
        k->troubled = true;
    }
    if (e.skipped_udp > 0 && table_get(&d->services, key) == NULL) {
        log_info("Service %s: %zu ports are not TCP and are skipped", key, e.skipped_udp);
    }
    service_clear(&s);
    *out = k;
    return OK;
}

static void clear_building(struct table *building)
{
    size_t cursor = 0;
    for (struct known *k; (k = table_next(building, &cursor)) != NULL;) {
        known_free(k);
    }
    table_clear(building);
}

static void on_begin(void *arg, unsigned source)
{
    struct discovery *d = arg;
    clear_building(&d->building[source]);
}

static enum status on_item(void *arg, unsigned source, const json_t *object)
{
    struct discovery *d = arg;
    struct known *k = NULL;
    char key[130];
    enum status status = read_known(d, source, object, &k, key);
    if (status != OK || k == NULL) {
        return status;
    }
    struct known *twice = table_remove(&d->building[source], k->key);
    known_free(twice);
    status = table_put(&d->building[source], k->key, k);
    if (status != OK) {
        known_free(k);
    }
    return status;
}

/* What this source listed before and does not list any more is gone. */
static void remove_absent(struct discovery *d, unsigned source)
{
    char(*gone)[130] = d->services.count > 0 ? calloc(d->services.count, sizeof *gone) : NULL;
    size_t cursor = 0, n = 0;
    for (struct known *k; gone != NULL && (k = table_next(&d->services, &cursor)) != NULL;) {
        if (k->source == source && table_get(&d->building[source], k->key) == NULL) {
            memcpy(gone[n++], k->key, sizeof k->key);
        }
    }
    for (size_t i = 0; i < n; i++) {
        remove_service(d, gone[i]);
    }
    free(gone);
}

static void on_commit(void *arg, unsigned source, bool complete)
{
    struct discovery *d = arg;
    size_t n = 0;
    if (complete) {
        remove_absent(d, source);
    } else {
        log_warn("a list had objects that could not be read; nothing is withdrawn because of it");
    }
    struct known **list = sorted(&d->building[source], &n, NULL);
    table_clear(&d->building[source]);
    for (size_t i = 0; i < n; i++) {
        put_service(d, list[i]);
    }
    free(list);
    pump(d);
}

static void on_abort(void *arg, unsigned source)
{
    struct discovery *d = arg;
    clear_building(&d->building[source]);
}

static void on_event(void *arg, unsigned source, enum watch_event event, const json_t *object)
{
    struct discovery *d = arg;
    struct known *k = NULL;
    char key[130];
    if (read_known(d, source, object, &k, key) != OK) {
        log_warn("a watch event about a Service could not be read and is ignored");
        return;
    }
    if (event == WATCH_DELETED || k == NULL) {
        known_free(k);
        remove_service(d, key);
    } else {
        put_service(d, k);
    }
    pump(d);
}

static void on_state(void *arg, unsigned source)
{
    struct discovery *d = arg;
    d->handlers.state(d->arg, source);
}

const struct listwatch_handlers discovery_listwatch = {
    .begin = on_begin,
    .item = on_item,
    .commit = on_commit,
    .abort = on_abort,
    .event = on_event,
    .state = on_state,
};

/* ---- life ------------------------------------------------------------------------------------------------
 */

struct discovery *discovery_new(struct event_base *base, struct events *events,
                                const struct discovery_handlers *handlers, void *arg)
{
    struct discovery *d = calloc(1, sizeof *d);
    if (d == NULL) {
        return NULL;
    }
    d->events = events;
    d->handlers = *handlers;
    d->arg = arg;
    TAILQ_INIT(&d->dirty);
    d->pump_timer = evtimer_new(base, on_pump_timer, d);
    if (d->pump_timer == NULL) {
        free(d);
        return NULL;
    }
    return d;
}

void discovery_free(struct discovery *d)
{
    if (d == NULL) {
        return;
    }
    size_t cursor = 0;
    for (unsigned i = 0; i < DISCOVERY_SOURCES_MAX; i++) {
        clear_building(&d->building[i]);
    }
    for (struct known *k; (k = table_next(&d->services, &cursor)) != NULL;) {
        known_free(k);
    }
    cursor = 0;
    for (struct offer *o; (o = table_next(&d->offers, &cursor)) != NULL;) {
        free(o);
    }
    table_clear(&d->services);
    table_clear(&d->owners);
    table_clear(&d->offers);
    event_free(d->pump_timer);
    free(d);
}

void discovery_complain(struct discovery *d, const char *key, const char *reason, const char *text)
{
    char service[KEY_MAX];
    const char *slash = strrchr(key, '/');
    if (slash == NULL || (size_t)(slash - key) >= sizeof service) {
        return;
    }
    snprintf(service, sizeof service, "%.*s", (int)(slash - key), key);
    struct known *k = table_get(&d->services, service);
    if (k != NULL) {
        struct event_subject subject = subject_of(k);
        k->troubled = true;
        events_warn(d->events, &subject, reason, text);
    }
}

bool discovery_is_settled(const struct discovery *d)
{
    return TAILQ_EMPTY(&d->dirty);
}

size_t discovery_count(const struct discovery *d)
{
    return d->n_wanted;
}
