/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON of mirrored objects (render.h). No state, no I/O.
 */
#include "worker-k8s/render.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker-k8s/names.h"

/* A label's key: "[prefix/]name", the name like a value but not empty, the prefix lower-case with dots. */
static bool is_label_key(const char *text)
{
    const char *slash = strchr(text, '/');
    const char *name = slash != NULL ? slash + 1 : text;
    if (slash != NULL && (slash == text || slash - text > 253 || strchr(name, '/') != NULL ||
                          strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-") != (size_t)(slash - text))) {
        return false;
    }
    return name[0] != '\0' && name_is_label_value(name);
}

bool render_app_protocol_ok(const char *text)
{
    return strlen(text) <= 63 && is_label_key(text);
}

enum status render_selector_parse(const char *text, json_t **out, const char **why)
{
    json_t *selector = json_object();
    char *copy = strdup(text);
    char *rest = copy;
    *why = selector == NULL || copy == NULL ? "out of memory" : NULL;
    for (char *pair; *why == NULL && (pair = strsep(&rest, ",")) != NULL;) {
        char *value = strchr(pair, '=');
        if (value != NULL) {
            *value++ = '\0';
        }
        if (value == NULL) {
            *why = "every label has to be KEY=VALUE";
        } else if (!is_label_key(pair) || !name_is_label_value(value)) {
            *why = "a key or value is no Kubernetes label";
        } else if (json_object_get(selector, pair) != NULL) {
            *why = "a key is there twice";
        } else if (json_object_set_new(selector, pair, json_string(value)) != 0) {
            *why = "out of memory";
        }
    }
    free(copy);
    if (*why != NULL) {
        json_decref(selector);
        return ERR_FORMAT;
    }
    *out = selector;
    return OK;
}

static json_t *metadata(const struct render_context *c, const struct render_app *app, const char *name)
{
    char peer[17], app_hash[17];
    name_hash(app->peer, "", 16, peer);
    name_hash(app->app, "", 16, app_hash);
    json_t *meta = json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:s}, s:{s:s, s:s}}", "name", name, "namespace",
                             c->namespace, "labels", LABEL_MANAGED_BY, MANAGED_BY, LABEL_INSTANCE,
                             c->instance, LABEL_PEER, peer, LABEL_APP, app_hash, "annotations",
                             ANNOTATION_PEER_NAME, app->peer, ANNOTATION_APP_NAME, app->app);
    if (meta != NULL && c->owner_uid[0] != '\0') {
        json_object_set_new(meta, "ownerReferences",
                            json_pack("[{s:s, s:s, s:s, s:s}]", "apiVersion", "v1", "kind", "Service", "name",
                                      c->owner_name, "uid", c->owner_uid));
    }
    return meta;
}

/*
 * How a mirrored Service finds its endpoints, in one place: by the labels of the server's pods. A server of
 * several replicas would leave the selector out and keep EndpointSlices instead.
 */
static int set_endpoints(const struct render_context *c, json_t *spec)
{
    return json_object_set_new(spec, "selector", json_deep_copy(c->selector));
}

json_t *render_service(const struct render_context *c, const struct render_app *app, const char *name)
{
    bool protocol = app->app_protocol[0] != '\0' && render_app_protocol_ok(app->app_protocol);
    /* The way is open or not whatever readiness, which also speaks of the API server, says about our pods. */
    json_t *spec = json_pack("{s:s, s:b, s:[{s:s, s:s, s:i, s:i, s:s*}]}", "type", "ClusterIP",
                             "publishNotReadyAddresses", 1, "ports", "name", "tcp", "protocol", "TCP", "port",
                             (int)app->port, "targetPort", (int)app->target_port, "appProtocol",
                             protocol ? app->app_protocol : NULL);
    if (spec == NULL || set_endpoints(c, spec) != 0) {
        json_decref(spec);
        return NULL;
    }
    return json_pack("{s:s, s:s, s:o, s:o}", "apiVersion", "v1", "kind", "Service", "metadata",
                     metadata(c, app, name), "spec", spec);
}

json_t *render_policy(const struct render_context *c, const struct render_app *app, const char *name)
{
    json_t *spec = json_pack("{s:{s:O}, s:[s], s:[{s:[{s:{}, s:{s:{s:s}}}], s:[{s:s, s:i}]}]}", "podSelector",
                             "matchLabels", c->selector, "policyTypes", "Ingress", "ingress", "from",
                             "namespaceSelector", "podSelector", "matchLabels", LABEL_CONSUMES, app->app,
                             "ports", "protocol", "TCP", "port", (int)app->target_port);
    return json_pack("{s:s, s:s, s:o, s:o}", "apiVersion", "networking.k8s.io/v1", "kind", "NetworkPolicy",
                     "metadata", metadata(c, app, name), "spec", spec);
}

/* A list that replaces the old one: strategic merge would otherwise join them. */
static void replace_list(json_t *object, const char *key)
{
    json_t *list = json_object_get(object, key);
    if (json_is_array(list)) {
        json_array_insert_new(list, 0, json_pack("{s:s}", "$patch", "replace"));
    }
}

json_t *render_patch(const json_t *desired, const char *uid, const char *version)
{
    json_t *patch = json_deep_copy(desired);
    json_t *meta = json_object_get(patch, "metadata");
    json_t *spec = json_object_get(patch, "spec");
    if (!json_is_object(meta) || !json_is_object(spec)) {
        json_decref(patch);
        return NULL;
    }
    json_object_set_new(meta, "uid", json_string(uid));
    json_object_set_new(meta, "resourceVersion", json_string(version));
    replace_list(meta, "ownerReferences");
    const char *kind = json_string_value(json_object_get(patch, "kind"));
    if (kind != NULL && strcmp(kind, "Service") == 0) {
        replace_list(spec, "ports");
        json_object_set_new(json_object_get(spec, "selector"), "$patch", json_string("replace"));
    } else {
        json_object_set_new(spec, "$patch", json_string("replace"));
    }
    return patch;
}

/* Copies the members of `from` that `keys` names. */
static json_t *pick(const json_t *from, const char *const *keys)
{
    json_t *out = json_object();
    for (; *keys != NULL; keys++) {
        json_t *value = json_object_get(from, *keys);
        if (value != NULL) {
            json_object_set(out, *keys, value);
        }
    }
    return out;
}

static json_t *pick_each(const json_t *list, const char *const *keys)
{
    json_t *out = json_array();
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        json_array_append_new(out, pick(item, keys));
    }
    return out;
}

void render_digest(const json_t *object, char out[17])
{
    static const char *const labels[] = {LABEL_MANAGED_BY, LABEL_INSTANCE, LABEL_PEER, LABEL_APP, NULL};
    static const char *const annotations[] = {ANNOTATION_PEER_NAME, ANNOTATION_APP_NAME, NULL};
    static const char *const owner[] = {"kind", "name", "uid", NULL};
    static const char *const port[] = {"name", "protocol", "port", "targetPort", "appProtocol", NULL};
    static const char *const spec_keys[] = {
        "type", "publishNotReadyAddresses", "selector", "podSelector", "policyTypes", "ingress", NULL};
    const json_t *meta = json_object_get(object, "metadata");
    const json_t *spec = json_object_get(object, "spec");
    json_t *what = json_object();
    json_object_set_new(what, "labels", pick(json_object_get(meta, "labels"), labels));
    json_object_set_new(what, "annotations", pick(json_object_get(meta, "annotations"), annotations));
    json_object_set_new(what, "owner", pick_each(json_object_get(meta, "ownerReferences"), owner));
    json_object_set_new(what, "spec", pick(spec, spec_keys));
    json_object_set_new(what, "ports", pick_each(json_object_get(spec, "ports"), port));
    char *text = json_dumps(what, JSON_COMPACT | JSON_SORT_KEYS);
    name_hash(text != NULL ? text : "", "", 16, out);
    free(text);
    json_decref(what);
}

bool render_is_ours(const struct render_context *c, const json_t *object)
{
    const json_t *labels = json_object_get(json_object_get(object, "metadata"), "labels");
    const char *managed = text_member(labels, LABEL_MANAGED_BY, K8S_NAME_MAX);
    const char *instance = text_member(labels, LABEL_INSTANCE, K8S_NAME_MAX);
    return managed != NULL && strcmp(managed, MANAGED_BY) == 0 && instance != NULL &&
           strcmp(instance, c->instance) == 0;
}
