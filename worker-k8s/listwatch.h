/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeping up with one collection of the API server: list it in pages, then watch it, and go on doing so
 * through every failure. What the objects are is the consumer's business; a list that is not complete never
 * reaches it as a fact. It must not decide what a missing object means.
 */
#ifndef WORMHOLE_K8S_LISTWATCH_H
#define WORMHOLE_K8S_LISTWATCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "worker-k8s/api.h"

struct listwatch;

enum watch_event { WATCH_ADDED, WATCH_MODIFIED, WATCH_DELETED };

struct listwatch_handlers {
    /* A list begins: what `item` brings from now on is the new state, until commit or abort. */
    void (*begin)(void *arg, unsigned source);
    /* ERR_FORMAT: it cannot be read; the list then counts as incomplete. */
    enum status (*item)(void *arg, unsigned source, const json_t *object);
    /* All pages came. complete: an object that was not listed does not exist. */
    void (*commit)(void *arg, unsigned source, bool complete);
    /* The list failed: forget what it brought. */
    void (*abort)(void *arg, unsigned source);
    void (*event)(void *arg, unsigned source, enum watch_event event, const json_t *object);
    /* synced, ready or text changed. */
    void (*state)(void *arg, unsigned source);
};

struct listwatch_spec {
    const char *path;     /* "/api/v1/services"; copied */
    const char *selector; /* label selector, or NULL; copied */
    unsigned source;      /* handed back to the handlers */
    uint32_t watch_s;     /* a watch lasts a random time in [watch_s, 2 x watch_s] */
    uint32_t relist_s;    /* a full list again after a random time in [relist_s, 3 x relist_s] */
};

struct listwatch_state {
    bool synced;      /* there was a complete list once */
    bool ready;       /* there was a list, complete or not, and nothing is wrong now */
    const char *text; /* what is wrong, or "" */
    uint64_t lists, watches, events;
};

/* NULL: out of memory. Starts at once. */
struct listwatch *listwatch_new(struct event_base *base, struct api *api, const struct listwatch_spec *spec,
                                const struct listwatch_handlers *handlers, void *arg);
void listwatch_free(struct listwatch *lw);
struct listwatch_state listwatch_state(const struct listwatch *lw);

/* ---- the decision table, for tests ---- */

enum lw_phase { LW_LIST, LW_WATCH };

enum lw_outcome {
    LW_ENDED,        /* a whole answer; of a watch: its time was up */
    LW_GONE,         /* 410, as status or as an ERROR event */
    LW_TOO_LARGE,    /* the version is ahead of the server (504, restored etcd) */
    LW_BUSY,         /* 429, 5xx */
    LW_UNREACHED,    /* refused, reset, cut, TLS, deadline */
    LW_UNAUTHORIZED, /* 401, after the token was read again */
    LW_DENIED,       /* 403 */
    LW_BROKEN,       /* bad JSON, no list, a wrong answer of another kind */
    LW_OUTCOMES
};

enum lw_action {
    LW_GO_ON, /* list: next page or watch; watch: watch again from the last version */
    LW_LIST_NOW,
    LW_LIST_LATER,   /* after back-off */
    LW_REPEAT_LATER, /* the same phase again after back-off, a watch from the same version */
    LW_LIST_SLOWLY,  /* nothing but an operator helps: 30 to 60 s */
};

struct lw_rule {
    enum lw_action action;
    bool fault; /* tell the operator, not ready until it is over */
};

struct lw_rule listwatch_rule(enum lw_phase phase, enum lw_outcome outcome);
enum lw_outcome listwatch_outcome(const struct api_result *result, const char *body, size_t len);

#endif
