/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making the cluster like what is wanted (mirror.h), one request per object at a time: POST what is missing,
 * patch what differs, delete what nobody wants. Every change but a creation names the very object (uid) and
 * state (resourceVersion) that it is meant for, so that nothing of anybody else can be hit.
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/worker.h"
#include "worker-k8s/mirror_private.h"

#define IN_FLIGHT_MAX 8
#define CALL_TIMEOUT_MS 15000u
#define REFUSED_RETRY_MS 60000u

enum step { STEP_NONE, STEP_CREATE, STEP_PATCH, STEP_DELETE };

json_t *object_desired(const struct object *o)
{
    const struct render_context *c = &o->mirror->spec.context;
    return o->kind == OBJECT_SERVICE ? render_service(c, &o->want->app, o->name)
                                     : render_policy(c, &o->want->app, o->name);
}

static struct object *twin(const struct object *o)
{
    return object_get(o->mirror, o->kind == OBJECT_SERVICE ? OBJECT_POLICY : OBJECT_SERVICE, o->name, false);
}

static bool is_as_wanted(const struct object *o, const json_t *desired)
{
    char digest[17];
    render_digest(desired, digest);
    return o->exists && strcmp(digest, o->digest) == 0;
}

/* What has to happen to this object now. *desired is set (caller's) for CREATE and PATCH. */
static enum step next_step(struct object *o, json_t **desired)
{
    struct mirror *m = o->mirror;
    *desired = NULL;
    if (o->want == NULL) {
        const struct object *service = o->kind == OBJECT_POLICY ? twin(o) : NULL;
        bool service_first = service != NULL && service->exists && service->want == NULL;
        return o->exists && (m->swept || o->doomed) && !service_first ? STEP_DELETE : STEP_NONE;
    }
    if (o->kind == OBJECT_SERVICE && m->spec.policies) { /* never reachable before its policy is there */
        const struct object *policy = twin(o);
        if (policy != NULL && !policy->exists) {
            return STEP_NONE;
        }
    }
    *desired = object_desired(o);
    if (*desired == NULL || is_as_wanted(o, *desired)) {
        json_decref(*desired);
        *desired = NULL;
        return STEP_NONE;
    }
    return o->exists ? STEP_PATCH : STEP_CREATE;
}

static void hold(struct object *o, const struct api_result *result)
{
    struct mirror *m = o->mirror;
    uint32_t random = 0;
    (void)!getrandom(&random, sizeof random, 0);
    uint32_t wait = result->retry_after_ms;
    if (wait == 0) {
        wait = backoff_bad(&m->backoff, clock_mono_ms(), random);
    }
    m->held_until = clock_mono_ms() + wait;
    object_mark(o);
}

/* Somebody else's object has our name: it stays as it is, and its owner hears of it. */
static void on_foreign(struct object *o, const json_t *json)
{
    struct mirror *m = o->mirror;
    struct want *w = o->want;
    const char *uid = text_member(json_object_get(json, "metadata"), "uid", 63);
    struct event_subject subject = {mirror_kind_name(o->kind), m->spec.context.namespace, o->name,
                                    uid != NULL ? uid : ""};
    char text[320];
    snprintf(text, sizeof text,
             "app \"%s\" of client \"%s\" wants this name; the existing %s was left alone%s", w->app.app,
             w->app.peer, mirror_kind_name(o->kind),
             w->hashed_name ? "" : ", the app gets a name with a hash");
    events_warn(m->events, &subject, "NameTaken", text);
    o->not_before = clock_mono_ms() + REFUSED_RETRY_MS;
    if (w->hashed_name) {
        char problem[200];
        snprintf(problem, sizeof problem, "%s %.63s belongs to somebody else", mirror_kind_name(o->kind),
                 o->name);
        want_report(m, w, problem);
        object_mark(o);
        return;
    }
    want_rename(m, w);
}

static void on_looked(void *arg, const struct api_result *result, const char *body, size_t len);
static void on_changed(void *arg, const struct api_result *result, const char *body, size_t len);

static void object_path(const struct object *o, bool named, char *path, size_t cap)
{
    mirror_collection(o->mirror, o->kind, path, cap);
    size_t n = strlen(path);
    if (named) {
        snprintf(path + n, cap - n, "/%s", o->name);
    }
}

static void begin_call(struct object *o, const char *method, bool named, const char *type, json_t *body,
                       void (*done)(void *, const struct api_result *, const char *, size_t))
{
    char path[512];
    object_path(o, named, path, sizeof path);
    if (body != NULL && strcmp(method, "DELETE") != 0) {
        size_t used = strlen(path);
        snprintf(path + used, sizeof path - used, "?fieldManager=wormhole");
    }
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    struct api_request request = {
        .method = method,
        .path = path,
        .content_type = type,
        .body = text,
        .body_len = text != NULL ? strlen(text) : 0,
        .timeout_ms = CALL_TIMEOUT_MS,
        .done = done,
        .arg = o,
    };
    o->call = api_send(o->mirror->api, &request);
    free(text);
    if (o->call != NULL) {
        o->mirror->in_flight++;
        o->touched = o->mirror->list_number[o->kind];
    } else {
        mirror_later(o->mirror, CALL_TIMEOUT_MS);
    }
}

static void look(struct object *o)
{
    begin_call(o, "GET", true, NULL, NULL, on_looked);
}

static void end_call(struct object *o)
{
    o->call = NULL;
    o->mirror->in_flight--;
    o->touched = o->mirror->list_number[o->kind];
    object_mark_first(o);
}

/* After a conflict: what is there really? */
static void on_looked(void *arg, const struct api_result *result, const char *body, size_t len)
{
    struct object *o = arg;
    end_call(o);
    if (result->end == API_DONE && result->status == 404) {
        o->exists = false;
        o->not_before = clock_mono_ms() + 200; /* a conflict about nothing: no tight loop */
        return;
    }
    json_t *json = result->end == API_DONE && result->status == 200 ? json_loadb(body, len, 0, NULL) : NULL;
    if (json == NULL) {
        hold(o, result);
    } else if (render_is_ours(&o->mirror->spec.context, json)) {
        object_learn(o, json);
    } else {
        o->exists = false;
        if (o->want != NULL) {
            on_foreign(o, json);
        }
    }
    json_decref(json);
}

/* The server will not have it as it is (403, 422 …): say so, and try again when somebody may have helped. */
static void on_refused(struct object *o, const struct api_result *result)
{
    struct mirror *m = o->mirror;
    o->not_before = clock_mono_ms() + REFUSED_RETRY_MS;
    log_warn("%s %s/%s: %s", mirror_kind_name(o->kind), m->spec.context.namespace, o->name, result->text);
    if (o->want != NULL) {
        want_report(m, o->want, result->text);
    }
}

/* The answer to a POST, PATCH or DELETE. */
static void on_changed(void *arg, const struct api_result *result, const char *body, size_t len)
{
    struct object *o = arg;
    bool was_delete = o->deleting;
    o->deleting = false;
    end_call(o);
    if (result->end != API_DONE || result->status == 429 || result->status >= 500 || result->status == 401) {
        if (o->want != NULL) {
            want_report(o->mirror, o->want, result->text);
        }
        hold(o, result);
        return;
    }
    backoff_good(&o->mirror->backoff, clock_mono_ms());
    if (result->status == 404) {
        bool creation = !was_delete && !o->exists;
        o->exists = false;
        if (creation) { /* the namespace itself is gone */
            on_refused(o, result);
        }
    } else if (result->status == 409) {
        look(o);
    } else if (result->status >= 400) {
        on_refused(o, result);
    } else if (was_delete) {
        o->exists = false;
        o->doomed = false;
    } else {
        json_t *json = json_loadb(body, len, 0, NULL);
        if (json != NULL && json_object_get(json, "metadata") != NULL &&
            render_is_ours(&o->mirror->spec.context, json)) {
            object_learn(o, json);
        }
        json_decref(json);
    }
}

static void run_step(struct object *o, enum step step, json_t *desired)
{
    struct mirror *m = o->mirror;
    switch (step) {
    case STEP_CREATE:
        log_info("making %s %s/%s", mirror_kind_name(o->kind), m->spec.context.namespace, o->name);
        begin_call(o, "POST", false, "application/json", desired, on_changed);
        break;
    case STEP_PATCH: {
        json_t *patch = render_patch(desired, o->uid, o->version);
        log_info("changing %s %s/%s", mirror_kind_name(o->kind), m->spec.context.namespace, o->name);
        json_decref(desired);
        begin_call(o, "PATCH", true, "application/strategic-merge-patch+json", patch, on_changed);
        break;
    }
    case STEP_DELETE:
        o->deleting = true;
        log_info("removing %s %s/%s", mirror_kind_name(o->kind), m->spec.context.namespace, o->name);
        begin_call(o, "DELETE", true, "application/json",
                   json_pack("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", "v1", "kind", "DeleteOptions",
                             "preconditions", "uid", o->uid, "resourceVersion", o->version),
                   on_changed);
        break;
    case STEP_NONE: break;
    }
}

/* Nothing to do for o: is the app done, may the twin go on, is the record of use any more? */
static void settled(struct object *o)
{
    struct mirror *m = o->mirror;
    struct object *other = m->spec.policies ? twin(o) : NULL;
    if (other != NULL && o->kind == OBJECT_POLICY && o->want != NULL && !other->exists &&
        other->call == NULL) {
        object_mark(other);
    }
    if (other != NULL && o->kind == OBJECT_SERVICE && o->want == NULL && !o->exists && other->exists) {
        object_mark(other);
    }
    if (o->want != NULL && o->kind == OBJECT_SERVICE && o->exists) {
        want_report(m, o->want, NULL);
    }
    if (o->want == NULL && !o->exists) {
        object_drop(o);
    }
}

void mirror_pump(struct mirror *m)
{
    uint64_t now = clock_mono_ms();
    uint64_t soonest = UINT64_MAX;
    if (!mirror_is_synced(m)) {
        return;
    }
    if (now < m->held_until) {
        mirror_later(m, (uint32_t)(m->held_until - now));
        return;
    }
    struct object *o = TAILQ_FIRST(&m->dirty), *next;
    for (; o != NULL && m->in_flight < IN_FLIGHT_MAX; o = next) {
        json_t *desired = NULL;
        next = TAILQ_NEXT(o, link);
        if (o->not_before > now) {
            soonest = o->not_before < soonest ? o->not_before : soonest;
            continue;
        }
        o->dirty = false;
        TAILQ_REMOVE(&m->dirty, o, link);
        if (o->call != NULL) {
            continue; /* its end marks it again */
        }
        o->not_before = 0;
        enum step step = next_step(o, &desired);
        if (step != STEP_NONE) {
            run_step(o, step, desired);
        } else {
            settled(o);
            next = TAILQ_FIRST(&m->dirty); /* settling may have changed the queue */
        }
    }
    if (soonest != UINT64_MAX) {
        mirror_later(m, (uint32_t)(soonest - now) + 1);
    }
}
