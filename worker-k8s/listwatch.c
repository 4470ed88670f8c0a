/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list-and-watch machine (listwatch.h): two phases, a table of what each way to end means, and timers. It
 * holds one object in memory at a time. It must never report an incomplete list as complete, and never
 * hammer: every repetition but a watch's regular end goes through the back-off.
 */
#include "worker-k8s/listwatch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/worker.h"
#include "worker-k8s/backoff.h"
#include "worker-k8s/splitter.h"
#include "worker-k8s/timer.h"

#define PAGE 500
#define LIST_TIMEOUT_MS 60000u
#define SLOW_MS 30000u /* with the default watch time; less with a shorter one */
#define DENIALS_MEANT 3
#define CONFIRM_FIRST_MS 3000u
#define CONFIRM_LAST_MS 300000u
#define RETRY_AFTER_MAX_MS 300000u
#define SHORT_WATCH_MS 1000u /* a watch that ends sooner without an event did not go well */

struct listwatch {
    struct event_base *base;
    struct api *api;
    struct listwatch_handlers handlers;
    void *arg;
    char *path, *selector;
    struct listwatch_spec spec;
    enum lw_phase phase;
    struct api_call *call;
    struct event *timer;  /* next start */
    struct event *relist; /* periodic full list */
    struct splitter splitter;
    struct backoff backoff;
    char *version; /* resourceVersion to watch from; NULL: must list */
    char *next;    /* continue token of the list under way */
    bool listing;  /* begin was called, commit or abort not yet */
    bool incomplete;
    bool synced, listed, fault;
    unsigned failures, denials; /* in a row */
    enum lw_outcome verdict;    /* what an ERROR event or a bad line said, while the call is being stopped */
    bool has_verdict;
    uint32_t confirm_ms; /* wait before the next confirming list, before jitter */
    uint64_t confirmed;
    uint64_t started, events_at_start;
    uint64_t lists, watches, events;
    char text[200];
};

/* ---- decisions ------------------------------------------------------------------------------------ */

static const struct lw_rule rules[2][LW_OUTCOMES] = {
    [LW_LIST] =
        {
            [LW_ENDED] = {LW_GO_ON, false},
            [LW_GONE] = {LW_LIST_NOW, false}, /* the pages expired: start over */
            [LW_TOO_LARGE] = {LW_LIST_LATER, false},
            [LW_BUSY] = {LW_LIST_LATER, false},
            [LW_UNREACHED] = {LW_LIST_LATER, false},
            [LW_UNAUTHORIZED] = {LW_LIST_LATER, true},
            [LW_DENIED] = {LW_LIST_SLOWLY, true},
            [LW_BROKEN] = {LW_LIST_LATER, true},
        },
    [LW_WATCH] =
        {
            [LW_ENDED] = {LW_GO_ON, false},
            [LW_GONE] = {LW_LIST_NOW, false},
            [LW_TOO_LARGE] = {LW_LIST_LATER, false},
            [LW_BUSY] = {LW_REPEAT_LATER, false},
            [LW_UNREACHED] = {LW_REPEAT_LATER, false},
            [LW_UNAUTHORIZED] = {LW_REPEAT_LATER, true},
            [LW_DENIED] = {LW_LIST_SLOWLY, true},
            [LW_BROKEN] = {LW_LIST_LATER, false}, /* what the line said is lost: only a list brings it back */
        },
};

struct lw_rule listwatch_rule(enum lw_phase phase, enum lw_outcome outcome)
{
    return rules[phase][outcome];
}

static bool is_too_large(const char *body, size_t len)
{
    return body != NULL && (memmem(body, len, "ResourceVersionTooLarge", 23) != NULL ||
                            memmem(body, len, "Too large resource version", 26) != NULL);
}

static enum lw_outcome outcome_of_status(long status, const char *body, size_t len)
{
    switch (status) {
    case 410: return LW_GONE;
    case 401: return LW_UNAUTHORIZED;
    case 403: return LW_DENIED;
    case 429: return LW_BUSY;
    default:
        if (is_too_large(body, len)) {
            return LW_TOO_LARGE;
        }
        return status >= 500 ? LW_BUSY : LW_BROKEN;
    }
}

enum lw_outcome listwatch_outcome(const struct api_result *result, const char *body, size_t len)
{
    if (result->status >= 400) { /* even when the error's own body was cut */
        return outcome_of_status(result->status, body, len);
    }
    if (result->end == API_STOPPED) {
        return LW_BROKEN;
    }
    if (result->end != API_DONE) {
        return LW_UNREACHED;
    }
    return result->status / 100 == 2 ? LW_ENDED : LW_BROKEN;
}

/* ---- small helpers ----------------------------------------------------------------------------------- */

static uint32_t random_u32(void)
{
    uint32_t value = 0;
    return getrandom(&value, sizeof value, 0) == (ssize_t)sizeof value ? value : 12345;
}

static void set_text(char **slot, const char *text)
{
    char *copy = text != NULL && text[0] != '\0' ? strdup(text) : NULL;
    free(*slot);
    *slot = copy;
}

/* Appends text percent-encoded; versions, tokens and selectors are opaque. */
static void put_escaped(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        bool plain = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
                     (*text >= '0' && *text <= '9') || strchr("-._~", *text) != NULL;
        fprintf(out, plain ? "%c" : "%%%02X", (unsigned char)*text);
    }
}

static void tell_state(struct listwatch *lw, bool fault, const char *text)
{
    bool changed = fault != lw->fault || strcmp(lw->text, text) != 0;
    lw->fault = fault;
    snprintf(lw->text, sizeof lw->text, "%s", text);
    if (changed) {
        lw->handlers.state(lw->arg, lw->spec.source);
    }
}

static void went_well(struct listwatch *lw)
{
    lw->failures = lw->denials = 0;
    backoff_good(&lw->backoff, clock_mono_ms());
    tell_state(lw, false, "");
}

static void start(struct listwatch *lw);

/* The pace at which something is tried that only an operator, or somebody else's better object, can mend. */
static uint32_t slow_ms(const struct listwatch *lw)
{
    return lw->spec.watch_s < SLOW_MS / 100 ? lw->spec.watch_s * 100 + 100 : SLOW_MS;
}

static void start_later(struct listwatch *lw, uint32_t ms)
{
    timer_set(lw->timer, ms);
}

static void on_start_timer(int fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    start(arg);
}

/* ---- what arrives -------------------------------------------------------------------------------------- */

static enum status take_meta(struct listwatch *lw, const json_t *meta)
{
    const char *version = json_string_value(json_object_get(meta, "resourceVersion"));
    const char *next = json_string_value(json_object_get(meta, "continue"));
    if (version == NULL || version[0] == '\0') {
        return ERR_FORMAT;
    }
    set_text(&lw->version, version);
    set_text(&lw->next, next);
    return lw->version == NULL ? ERR_NOMEM : OK;
}

static enum status on_list_object(void *arg, enum split_kind kind, const char *text, size_t len)
{
    struct listwatch *lw = arg;
    json_t *json = json_loadb(text, len, 0, NULL);
    if (json == NULL) {
        return ERR_FORMAT;
    }
    enum status status = OK;
    if (kind == SPLIT_META) {
        status = take_meta(lw, json);
    } else {
        status = lw->handlers.item(lw->arg, lw->spec.source, json);
        if (status == ERR_FORMAT) { /* one odd object must not stop the others */
            lw->incomplete = true;
            status = OK;
        }
    }
    json_decref(json);
    return status;
}

static enum status on_error_event(struct listwatch *lw, const json_t *object)
{
    const json_t *code = json_object_get(object, "code");
    const char *message = json_string_value(json_object_get(object, "message"));
    long status = json_is_integer(code) ? (long)json_integer_value(code) : 500;
    lw->verdict = outcome_of_status(status, message, message != NULL ? strlen(message) : 0);
    lw->has_verdict = true;
    log_debug("watch %s: ERROR event %ld: %.200s", lw->path, status, message != NULL ? message : "");
    return ERR_WRONG_STATE; /* stops the stream */
}

static enum status on_watch_line(void *arg, enum split_kind kind, const char *text, size_t len)
{
    static const char *const names[] = {
        [WATCH_ADDED] = "ADDED", [WATCH_MODIFIED] = "MODIFIED", [WATCH_DELETED] = "DELETED"};
    struct listwatch *lw = arg;
    (void)kind;
    json_t *json = json_loadb(text, len, 0, NULL);
    const char *type = json_string_value(json_object_get(json, "type"));
    const json_t *object = json_object_get(json, "object");
    if (type == NULL || !json_is_object(object)) {
        json_decref(json);
        lw->verdict = LW_BROKEN;
        lw->has_verdict = true;
        log_warn("watch %s: a line that is no event (%zu bytes); listing again", lw->path, len);
        return ERR_FORMAT;
    }
    enum status status = OK;
    if (strcmp(type, "ERROR") == 0) {
        status = on_error_event(lw, object);
    } else {
        const char *version =
            json_string_value(json_object_get(json_object_get(object, "metadata"), "resourceVersion"));
        if (version != NULL && version[0] != '\0') {
            set_text(&lw->version, version);
        }
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            if (strcmp(type, names[i]) == 0) { /* BOOKMARK and what may come later only moved the version */
                lw->events++;
                lw->handlers.event(lw->arg, lw->spec.source, (enum watch_event)i, object);
            }
        }
    }
    json_decref(json);
    return status;
}

static bool on_data(void *arg, const char *bytes, size_t len)
{
    struct listwatch *lw = arg;
    uint64_t skipped = lw->splitter.skipped;
    if (splitter_feed(&lw->splitter, bytes, len) != OK) {
        return false;
    }
    if (lw->splitter.skipped != skipped) {
        lw->incomplete = true;
        log_warn("%s %s: an object is over %u bytes and was skipped", lw->phase == LW_LIST ? "list" : "watch",
                 lw->path, SPLIT_OBJECT_MAX);
        if (lw->phase == LW_WATCH) { /* what it said is missing: a list tells, soon but not in a loop */
            start_later(lw, slow_ms(lw));
        }
    }
    return true;
}

/*
 * A server that was away may have come back with an older state (a restored etcd). It then accepts a version
 * that it has not reached yet, and says nothing until it does: only a list tells. Soon, but ever later where
 * streams are cut again and again.
 */
static uint32_t confirm_wait(struct listwatch *lw)
{
    uint64_t now = clock_mono_ms();
    if (lw->confirm_ms == 0 || now - lw->confirmed > 2ull * CONFIRM_LAST_MS) {
        lw->confirm_ms = CONFIRM_FIRST_MS;
    }
    uint32_t wait = lw->confirm_ms + random_u32() % lw->confirm_ms;
    lw->confirmed = now;
    lw->confirm_ms = wait >= CONFIRM_LAST_MS / 2 ? CONFIRM_LAST_MS : lw->confirm_ms * 2;
    return wait;
}

static void on_opened(void *arg)
{
    struct listwatch *lw = arg;
    if (lw->phase != LW_WATCH) {
        return;
    }
    if (lw->failures > 0) {
        timer_set(lw->relist, confirm_wait(lw));
    }
    went_well(lw);
}

/* ---- starting and ending
 * ----------------------------------------------------------------------------------- */

static char *make_path(struct listwatch *lw, uint32_t watch_s)
{
    char *out = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&out, &len);
    if (f == NULL) {
        return NULL;
    }
    fprintf(f, "%s?", lw->path);
    if (lw->phase == LW_LIST) {
        fprintf(f, "limit=%d", PAGE);
        if (lw->next != NULL) {
            fputs("&continue=", f);
            put_escaped(f, lw->next);
        }
    } else {
        fputs("watch=1&resourceVersion=", f);
        put_escaped(f, lw->version);
        fprintf(f, "&allowWatchBookmarks=true&timeoutSeconds=%u", watch_s);
    }
    if (lw->selector != NULL) {
        fputs("&labelSelector=", f);
        put_escaped(f, lw->selector);
    }
    return fclose(f) == 0 ? out : NULL;
}

static void on_done(void *arg, const struct api_result *result, const char *body, size_t len);

static void start(struct listwatch *lw)
{
    if (lw->call != NULL) { /* a full list is due while a watch runs */
        api_cancel(lw->call);
        lw->call = NULL;
        lw->phase = LW_LIST;
        set_text(&lw->next, NULL);
    }
    if (lw->phase == LW_WATCH && lw->version == NULL) {
        lw->phase = LW_LIST;
    }
    uint32_t watch_s = lw->spec.watch_s + random_u32() % (lw->spec.watch_s + 1);
    uint32_t slack_s = lw->spec.watch_s / 10 < 2    ? 2
                       : lw->spec.watch_s / 10 > 30 ? 30
                                                    : lw->spec.watch_s / 10;
    splitter_clear(&lw->splitter);
    if (lw->phase == LW_LIST) {
        splitter_init_list(&lw->splitter, SPLIT_OBJECT_MAX, on_list_object, lw);
        lw->lists += lw->next == NULL;
        if (!lw->listing) {
            lw->listing = true;
            lw->incomplete = false;
            lw->handlers.begin(lw->arg, lw->spec.source);
        }
    } else {
        splitter_init_lines(&lw->splitter, SPLIT_OBJECT_MAX, on_watch_line, lw);
        lw->watches++;
    }
    lw->has_verdict = false;
    lw->started = clock_mono_ms();
    lw->events_at_start = lw->events;
    char *path = make_path(lw, watch_s);
    struct api_request request = {
        .method = "GET",
        .path = path,
        .timeout_ms = lw->phase == LW_LIST ? LIST_TIMEOUT_MS : (watch_s + slack_s) * 1000,
        .opened = on_opened,
        .data = on_data,
        .done = on_done,
        .arg = lw,
    };
    lw->call = path != NULL ? api_send(lw->api, &request) : NULL;
    free(path);
    if (lw->call == NULL) {
        start_later(lw, BACKOFF_LAST_MS);
    }
}

static void end_list(struct listwatch *lw, bool good)
{
    if (!lw->listing) {
        return;
    }
    lw->listing = false;
    set_text(&lw->next, NULL);
    if (good) {
        bool complete = !lw->incomplete;
        lw->listed = true;
        lw->synced = lw->synced || complete;
        lw->handlers.commit(lw->arg, lw->spec.source, complete);
        uint32_t relist_s = lw->spec.relist_s + random_u32() % (2 * lw->spec.relist_s + 1);
        timer_set(lw->relist, complete || relist_s < 60 ? relist_s * 1000 : 60000);
        lw->handlers.state(lw->arg, lw->spec.source);
    } else {
        lw->handlers.abort(lw->arg, lw->spec.source);
    }
}

static void act_ended(struct listwatch *lw)
{
    if (lw->phase == LW_WATCH) {
        bool hasty = clock_mono_ms() - lw->started < SHORT_WATCH_MS && lw->events == lw->events_at_start;
        start_later(lw, hasty ? backoff_bad(&lw->backoff, clock_mono_ms(), random_u32()) : 0);
        return;
    }
    went_well(lw);
    if (lw->next == NULL) {
        end_list(lw, true);
        lw->phase = LW_WATCH;
    }
    start_later(lw, 0);
}

/* Something went wrong: how long to wait, and from where to go on. */
static void act_failed(struct listwatch *lw, struct lw_rule rule, const struct api_result *result)
{
    uint32_t wait = 0;
    if (rule.action != LW_LIST_NOW) {
        wait = backoff_bad(&lw->backoff, clock_mono_ms(), random_u32());
    } else if (lw->failures > 2) { /* version after version that is gone: no tight loop */
        wait = BACKOFF_FIRST_MS;
    }
    /* A server that has just started denies for a moment what it will allow: only the third time is it meant.
     */
    if (rule.action == LW_LIST_SLOWLY && ++lw->denials >= DENIALS_MEANT) {
        wait = slow_ms(lw) + random_u32() % slow_ms(lw);
    }
    if (result->retry_after_ms > 0) {
        uint32_t told =
            result->retry_after_ms < RETRY_AFTER_MAX_MS ? result->retry_after_ms : RETRY_AFTER_MAX_MS;
        wait = told + random_u32() % (told / 10 + 1);
    }
    if (rule.action != LW_REPEAT_LATER || lw->phase == LW_LIST) {
        end_list(lw, false);
        set_text(&lw->version, NULL);
        lw->phase = LW_LIST;
    }
    start_later(lw, wait);
}

static void on_done(void *arg, const struct api_result *result, const char *body, size_t len)
{
    struct listwatch *lw = arg;
    lw->call = NULL;
    enum lw_outcome outcome = lw->has_verdict ? lw->verdict : listwatch_outcome(result, body, len);
    if (outcome == LW_ENDED && splitter_end(&lw->splitter) != OK) {
        outcome = LW_BROKEN;
    }
    struct lw_rule rule = listwatch_rule(lw->phase, outcome);
    if (rule.action == LW_GO_ON) {
        act_ended(lw);
        return;
    }
    lw->failures++;
    const char *what = lw->phase == LW_LIST ? "list" : "watch";
    const char *why = result->text;
    if (outcome == LW_GONE) {
        why = "the version is gone";
    } else if (outcome == LW_BROKEN && result->status < 400) {
        why = "the answer is broken";
    }
    char text[sizeof lw->text];
    snprintf(text, sizeof text, "%s %s: %s", what, lw->path, why);
    if (rule.fault) {
        log_warn("%s", text);
    } else {
        log_debug("%s", text);
    }
    /* A watch that is cut comes back by itself; only what lasts or needs a human is worth a word in status.
     */
    if (rule.fault || lw->failures >= 3) {
        tell_state(lw, true, text);
    }
    act_failed(lw, rule, result);
}

static void on_relist_timer(int fd, short what, void *arg)
{
    struct listwatch *lw = arg;
    (void)fd;
    (void)what;
    if (lw->phase == LW_WATCH && lw->call != NULL) {
        start(lw);
    }
    /* Otherwise something is being mended, and that ends with a list or a watch; the next list re-arms this.
     */
    else if (lw->phase == LW_WATCH) {
        set_text(&lw->version, NULL);
    }
}

/* ---- life
 * ------------------------------------------------------------------------------------------------------ */

struct listwatch *listwatch_new(struct event_base *base, struct api *api, const struct listwatch_spec *spec,
                                const struct listwatch_handlers *handlers, void *arg)
{
    struct listwatch *lw = calloc(1, sizeof *lw);
    if (lw == NULL) {
        return NULL;
    }
    lw->base = base;
    lw->api = api;
    lw->handlers = *handlers;
    lw->arg = arg;
    lw->spec = *spec;
    lw->path = strdup(spec->path);
    set_text(&lw->selector, spec->selector);
    lw->timer = evtimer_new(base, on_start_timer, lw);
    lw->relist = evtimer_new(base, on_relist_timer, lw);
    if (lw->path == NULL || lw->timer == NULL || lw->relist == NULL) {
        listwatch_free(lw);
        return NULL;
    }
    start_later(lw, 0);
    return lw;
}

void listwatch_free(struct listwatch *lw)
{
    if (lw == NULL) {
        return;
    }
    api_cancel(lw->call);
    splitter_clear(&lw->splitter);
    if (lw->timer != NULL) {
        event_free(lw->timer);
    }
    if (lw->relist != NULL) {
        event_free(lw->relist);
    }
    free(lw->path);
    free(lw->selector);
    free(lw->version);
    free(lw->next);
    free(lw);
}

struct listwatch_state listwatch_state(const struct listwatch *lw)
{
    return (struct listwatch_state){
        .synced = lw->synced,
        .ready = lw->listed && !lw->fault,
        .text = lw->text,
        .lists = lw->lists,
        .watches = lw->watches,
        .events = lw->events,
    };
}
