/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mirror.c (what is wanted, what exists) and mirror_apply.c (making one like the other) share. Nobody
 * else includes this.
 */
#ifndef WORMHOLE_K8S_MIRROR_PRIVATE_H
#define WORMHOLE_K8S_MIRROR_PRIVATE_H

#include <sys/queue.h>

#include "worker-k8s/backoff.h"
#include "worker-k8s/mirror.h"
#include "worker-k8s/names.h"
#include "worker-k8s/table.h"

enum object_kind { OBJECT_SERVICE, OBJECT_POLICY, OBJECT_KINDS };

/* An app that wants to be mirrored. */
struct want {
    char key[130]; /* peer/app */
    struct render_app app;
    char name[K8S_NAME_MAX + 1]; /* of its objects; empty: not settled yet */
    bool hashed_name;            /* the plain one belongs to somebody else */
    bool done;                   /* it has its Service */
    bool report_due;             /* in the queue of reports */
    char text[200];              /* what was reported last, or is due: endpoint or problem; "" */
    TAILQ_ENTRY(want) report_link;
};

TAILQ_HEAD(report_queue, want);

/* A name in the namespace that is ours, or shall be. */
struct object {
    char name[254];
    enum object_kind kind;
    struct want *want; /* NULL: it should go (once swept or doomed) */
    bool exists;       /* and is ours: what follows is known */
    bool doomed;       /* its app was removed: goes without waiting for a sweep */
    char uid[64], version[64];
    char peer[64], app[64]; /* as its annotations say */
    char digest[17];
    uint64_t touched; /* list number at which we last changed it */
    struct api_call *call;
    uint64_t not_before;  /* monotonic ms; 0: at once */
    bool dirty, deleting; /* deleting: `call` is a DELETE */
    struct mirror *mirror;
    TAILQ_ENTRY(object) link;
};

TAILQ_HEAD(object_queue, object);

struct mirror {
    struct event_base *base;
    struct api *api;
    struct events *events;
    struct mirror_spec spec;
    struct mirror_handlers handlers;
    void *arg;
    struct listwatch *lists[OBJECT_KINDS];
    bool listed[OBJECT_KINDS];
    struct table seen[OBJECT_KINDS]; /* names in the list under way -> struct object */
    struct table wants;              /* key -> struct want */
    struct table names;              /* settled name -> struct want */
    struct table objects[OBJECT_KINDS];
    struct object_queue dirty;
    struct report_queue reports;
    struct event *report_timer;
    unsigned in_flight;
    uint64_t list_number[OBJECT_KINDS];
    bool swept;
    struct event *timer; /* next look at the queue */
    struct backoff backoff;
    uint64_t held_until; /* monotonic ms: the API server asked for a pause */
    struct api_call *owner_call;
    bool owner_settled;
    uint32_t done; /* wants that have their Service */
};

/* Puts the object into the queue and looks at it soon; at its head, so that what was begun gets finished
 * first. */
void object_mark(struct object *o);
void object_mark_first(struct object *o);
/* The app's objects get looked at again. */
void want_mark(struct mirror *m, struct want *w);
/* Takes over what the API server says about an object of ours. */
void object_learn(struct object *o, const json_t *json);
struct object *object_get(struct mirror *m, enum object_kind kind, const char *name, bool make);
void object_drop(struct object *o);
/* Tells the supervisor, when that is news. */
void want_report(struct mirror *m, struct want *w, const char *problem);
/* The plain name is somebody else's: settle on the hashed one. */
void want_rename(struct mirror *m, struct want *w);
/* Are all lists there, so that names may be settled and differences acted on? */
bool mirror_is_synced(const struct mirror *m);

/* "Service", and "/api/v1/namespaces/NAMESPACE/services". */
const char *mirror_kind_name(enum object_kind kind);
void mirror_collection(const struct mirror *m, enum object_kind kind, char *path, size_t cap);

/* mirror_apply.c: works off the queue as far as limits allow. */
void mirror_pump(struct mirror *m);
void mirror_later(struct mirror *m, uint32_t ms);
json_t *object_desired(const struct object *o);

#endif
