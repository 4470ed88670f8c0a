/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client side: which apps the cluster exposes now. Takes what lists and watches bring, settles who owns an
 * app's name, and reports the differences. It must not report a loss that a complete list or a watch event
 * did not prove, and talks to the API server through events.h only.
 */
#ifndef WORMHOLE_K8S_DISCOVERY_H
#define WORMHOLE_K8S_DISCOVERY_H

#include "worker-k8s/events.h"
#include "worker-k8s/exposure.h"
#include "worker-k8s/listwatch.h"

struct discovery;

#define DISCOVERY_SOURCES_MAX 32

struct discovery_handlers {
    /* `key` names the app until it is lost. ERR_FULL: not now, ask again soon; the discovery keeps it. */
    enum status (*found)(void *arg, const char *key, const struct exposed_app *app);
    enum status (*lost)(void *arg, const char *key);
    /* A listwatch changed its state. */
    void (*state)(void *arg, unsigned source);
};

struct discovery *discovery_new(struct event_base *base, struct events *events,
                                const struct discovery_handlers *handlers, void *arg);
void discovery_free(struct discovery *d);

/* For listwatch_new(); arg is the discovery. */
extern const struct listwatch_handlers discovery_listwatch;

/* The supervisor found something wrong with an app: an Event on its Service. Unknown keys are ignored. */
void discovery_complain(struct discovery *d, const char *key, const char *reason, const char *text);

/* Was everything told that is known? */
bool discovery_is_settled(const struct discovery *d);
size_t discovery_count(const struct discovery *d); /* apps that are exposed now */

#endif
