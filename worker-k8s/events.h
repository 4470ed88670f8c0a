/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kubernetes Events: how the cluster's users learn what is wrong with their Services. Each complaint is told
 * once, a few per second at most, one request at a time. Best effort: it must never delay anything else, and
 * a cluster that refuses Events loses nothing but them.
 */
#ifndef WORMHOLE_K8S_EVENTS_H
#define WORMHOLE_K8S_EVENTS_H

#include <stdbool.h>

#include "worker-k8s/api.h"

struct events;

/* What an Event is about. All fields but uid are needed; texts are copied. */
struct event_subject {
    const char *kind; /* "Service", with API version v1 */
    const char *namespace;
    const char *name;
    const char *uid; /* may be empty */
};

struct events *events_new(struct event_base *base, struct api *api, const char *instance);
void events_free(struct events *events);

/* Tells `reason` (CamelCase) and `text` about the subject, unless the very same was told lately. */
void events_warn(struct events *events, const struct event_subject *subject, const char *reason,
                 const char *text);

/* What was complained about is well again: the next complaint of this reason is told anew. */
void events_forget(struct events *events, const struct event_subject *subject);

#endif
