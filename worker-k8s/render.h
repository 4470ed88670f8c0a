/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a mirrored app looks like in Kubernetes: the Service, the NetworkPolicy, and the test whether an
 * existing object is ours and already says that. Pure functions from and to JSON; when to create, change or
 * delete what is mirror.c's business.
 */
#ifndef WORMHOLE_K8S_RENDER_H
#define WORMHOLE_K8S_RENDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"
#include "worker-k8s/service.h"

#define LABEL_MANAGED_BY "app.kubernetes.io/managed-by"
#define MANAGED_BY "wormhole"
#define LABEL_INSTANCE ANNOTATION_PREFIX "instance"
#define LABEL_PEER ANNOTATION_PREFIX "peer"
#define LABEL_APP ANNOTATION_PREFIX "app"
#define ANNOTATION_PEER_NAME ANNOTATION_PREFIX "peer-name"
#define ANNOTATION_APP_NAME ANNOTATION_PREFIX "app-name"
#define LABEL_CONSUMES ANNOTATION_PREFIX "network-policy-consumes-app"

/* What all objects of one server have in common. */
struct render_context {
    char namespace[64];
    char instance[64];    /* tells our objects from those of another server in this namespace */
    json_t *selector;     /* labels of the server's pods */
    char owner_name[254]; /* the Service whose removal takes ours along; empty: none */
    char owner_uid[64];
};

struct render_app {
    char peer[64], app[64];
    uint16_t port, target_port;
    char app_protocol[64]; /* empty: none */
};

/* "k=v,k2=v2" into an object of texts. ERR_FORMAT with *why a phrase: not label syntax, or empty. */
enum status render_selector_parse(const char *text, json_t **out, const char **why);

/* Is this a valid appProtocol ("http", "kubernetes.io/h2c")? */
bool render_app_protocol_ok(const char *text);

/* New references; NULL: out of memory. */
json_t *render_service(const struct render_context *c, const struct render_app *app, const char *name);
json_t *render_policy(const struct render_context *c, const struct render_app *app, const char *name);

/*
 * `desired` as a strategic merge patch for an object known by uid and version: lists and selectors are
 * replaced as a whole, and the server refuses when it is not that very object any more.
 */
json_t *render_patch(const json_t *desired, const char *uid, const char *version);

/*
 * 16 hex digits that are equal for two objects when all that we care about is equal: our labels and
 * annotations, owner, ports, selectors. The server's defaults and other people's labels do not count.
 */
void render_digest(const json_t *object, char out[17]);

/* Does this object carry our labels for this instance? */
bool render_is_ours(const struct render_context *c, const json_t *object);

#endif
