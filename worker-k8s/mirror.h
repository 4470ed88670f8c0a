/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server side: one Service (and NetworkPolicy) per proxied app, kept as wanted against whatever happens to
 * them. It adopts what it made in an earlier life, never touches what somebody else made, and deletes only
 * what it can prove to be its own.
 */
#ifndef WORMHOLE_K8S_MIRROR_H
#define WORMHOLE_K8S_MIRROR_H

#include "worker-k8s/events.h"
#include "worker-k8s/listwatch.h"
#include "worker-k8s/render.h"

struct mirror;

struct mirror_handlers {
    /*
     * The app has its Service ("service.namespace:port"), or why it has none. ERR_FULL: not now, ask again
     * soon; the mirror keeps it.
     */
    enum status (*report)(void *arg, const char *peer, const char *app, bool done, const char *endpoint,
                          const char *text);
    void (*state)(void *arg);
};

struct mirror_spec {
    struct render_context context; /* the selector's reference is taken over */
    bool policies;
    uint32_t watch_s, relist_s; /* as in struct listwatch_spec */
};

/* Lists and watches at once. NULL: out of memory. */
struct mirror *mirror_new(struct event_base *base, struct api *api, struct events *events,
                          const struct mirror_spec *spec, const struct mirror_handlers *handlers, void *arg);
void mirror_free(struct mirror *m);

/* This app is proxied at target_port of our pods; again with other values: changed. ERR_FORMAT: bad values.
 */
enum status mirror_add(struct mirror *m, const struct render_app *app);
/* It is not any more: its Service goes at once. Unknown ones are ignored. */
void mirror_remove(struct mirror *m, const char *peer, const char *app);
/* From now on whatever is ours and belongs to no app goes. */
void mirror_sweep(struct mirror *m);

/* Both lists together; text is the first thing that is wrong. objects: apps that have their Service. */
struct listwatch_state mirror_state(const struct mirror *m, uint32_t *objects);

#endif
