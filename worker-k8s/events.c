/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posting Events (events.h): a bounded queue, one POST at a time, a memory of what was told. It must not
 * retry for ever and must not tell the same thing twice in an hour.
 */
#include "worker-k8s/events.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "common/clock.h"
#include "common/worker.h"
#include "worker-k8s/names.h"
#include "worker-k8s/timer.h"

#define QUEUE_MAX 256
#define TOLD_MAX 1024
#define TOLD_MS 3600000u
#define GAP_MS 200u /* between two Events */
#define TIMEOUT_MS 15000u

struct queued {
    struct queued *next;
    char *path, *body;
    unsigned tries;
};

struct told {
    char what[17];  /* hash of subject, reason and text; empty: free */
    char about[17]; /* hash of the subject */
    uint64_t when;
};

struct events {
    struct api *api;
    struct api_call *call;
    struct event *timer;
    struct queued *first, **last;
    unsigned queued, dropped;
    bool denied; /* 403 was logged once */
    struct told told[TOLD_MAX];
    unsigned oldest;
    char instance[64];
};

static void send_next(struct events *e);

static void on_timer(int fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    send_next(arg);
}

struct events *events_new(struct event_base *base, struct api *api, const char *instance)
{
    struct events *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return NULL;
    }
    e->api = api;
    e->last = &e->first;
    snprintf(e->instance, sizeof e->instance, "%s", instance);
    e->timer = evtimer_new(base, on_timer, e);
    if (e->timer == NULL) {
        free(e);
        return NULL;
    }
    return e;
}

static struct queued *pop(struct events *e)
{
    struct queued *q = e->first;
    e->first = q->next;
    if (e->first == NULL) {
        e->last = &e->first;
    }
    e->queued--;
    return q;
}

static void queued_free(struct queued *q)
{
    free(q->path);
    free(q->body);
    free(q);
}

void events_free(struct events *e)
{
    if (e == NULL) {
        return;
    }
    api_cancel(e->call);
    while (e->first != NULL) {
        queued_free(pop(e));
    }
    event_free(e->timer);
    free(e);
}

static void next_in(struct events *e, uint32_t ms)
{
    timer_set(e->timer, ms);
}

static void on_done(void *arg, const struct api_result *result, const char *body, size_t len)
{
    struct events *e = arg;
    (void)body;
    (void)len;
    e->call = NULL;
    bool transient = result->end != API_DONE || result->status == 429 || result->status >= 500;
    uint32_t wait = GAP_MS;
    if (transient && ++e->first->tries < 5) {
        wait = result->retry_after_ms > 0 ? result->retry_after_ms : 2000u << e->first->tries;
    } else {
        if (result->status == 403 && !e->denied) {
            log_warn("Events cannot be created: %s", result->text);
            e->denied = true;
        }
        queued_free(pop(e));
    }
    if (e->first != NULL) {
        next_in(e, wait);
    }
}

static void send_next(struct events *e)
{
    if (e->call != NULL || e->first == NULL) {
        return;
    }
    struct api_request request = {
        .method = "POST",
        .path = e->first->path,
        .content_type = "application/json",
        .body = e->first->body,
        .body_len = strlen(e->first->body),
        .timeout_ms = TIMEOUT_MS,
        .done = on_done,
        .arg = e,
    };
    e->call = api_send(e->api, &request);
    if (e->call == NULL) {
        next_in(e, TIMEOUT_MS);
    }
}

/* True when this was not told within the last hour; remembers it as told. */
static bool is_news(struct events *e, const char *about, const char *what)
{
    uint64_t now = clock_mono_ms();
    for (unsigned i = 0; i < TOLD_MAX; i++) {
        struct told *t = &e->told[i];
        if (t->what[0] != '\0' && strcmp(t->what, what) == 0) {
            bool old = now - t->when >= TOLD_MS;
            if (old) {
                t->when = now;
            }
            return old;
        }
    }
    struct told *t = &e->told[e->oldest];
    e->oldest = (e->oldest + 1) % TOLD_MAX;
    snprintf(t->what, sizeof t->what, "%s", what);
    snprintf(t->about, sizeof t->about, "%s", about);
    t->when = now;
    return true;
}

static void hash_subject(const struct event_subject *s, char out[17])
{
    char key[160];
    snprintf(key, sizeof key, "%s/%s/%s", s->kind, s->namespace, s->name);
    name_hash(key, s->uid, 16, out);
}

static char *make_body(struct events *e, const struct event_subject *s, const char *reason, const char *text)
{
    char now[32], name[128], id[17];
    time_t seconds = (time_t)clock_wall_s();
    struct tm tm;
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) {
        random = clock_mono_us();
    }
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &tm));
    snprintf(id, sizeof id, "%016llx", (unsigned long long)random);
    snprintf(name, sizeof name, "%.63s.%s", s->name, id);
    json_t *event = json_pack(
        "{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s, s:s, s:s, s:s*}, s:s, s:s, s:s, s:s, s:s, s:i, s:{s:s}, s:s, "
        "s:s}",
        "apiVersion", "v1", "kind", "Event", "metadata", "name", name, "namespace", s->namespace,
        "involvedObject", "apiVersion", "v1", "kind", s->kind, "namespace", s->namespace, "name", s->name,
        "uid", s->uid[0] != '\0' ? s->uid : NULL, "type", "Warning", "reason", reason, "message", text,
        "firstTimestamp", now, "lastTimestamp", now, "count", 1, "source", "component", "wormhole",
        "reportingComponent", "wormhole", "reportingInstance", e->instance);
    char *body = event != NULL ? json_dumps(event, JSON_COMPACT) : NULL;
    json_decref(event);
    return body;
}

void events_warn(struct events *e, const struct event_subject *s, const char *reason, const char *text)
{
    char about[17], what[17], key[1024];
    hash_subject(s, about);
    snprintf(key, sizeof key, "%s %s", reason, text);
    name_hash(about, key, 16, what);
    if (!is_news(e, about, what)) {
        return;
    }
    log_warn("%s %s/%s: %s: %s", s->kind, s->namespace, s->name, reason, text);
    if (e->queued == QUEUE_MAX) {
        if (e->dropped++ % 100 == 0) {
            log_warn("too many Events at once: %u were only logged", e->dropped);
        }
        return;
    }
    struct queued *q = calloc(1, sizeof *q);
    if (q == NULL) {
        return;
    }
    q->body = make_body(e, s, reason, text);
    if (asprintf(&q->path, "/api/v1/namespaces/%s/events?fieldManager=wormhole", s->namespace) < 0) {
        q->path = NULL;
    }
    if (q->body == NULL || q->path == NULL) {
        queued_free(q);
        return;
    }
    *e->last = q;
    e->last = &q->next;
    e->queued++;
    if (e->call == NULL && !evtimer_pending(e->timer, NULL)) {
        send_next(e);
    }
}

void events_forget(struct events *e, const struct event_subject *s)
{
    char about[17];
    hash_subject(s, about);
    for (unsigned i = 0; i < TOLD_MAX; i++) {
        if (strcmp(e->told[i].about, about) == 0) {
            e->told[i] = (struct told){0};
        }
    }
}
