/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From JSON to struct service (service.h). The API server is trusted to be the API server, not to be free of
 * surprises: every field is checked for type and size before it is used. No policy here.
 */
#include "worker-k8s/service.h"

#include <stdlib.h>
#include <string.h>

const char *text_member(const json_t *object, const char *key, size_t max)
{
    const json_t *member = json_object_get(object, key);
    if (!json_is_string(member) || json_string_length(member) > max) {
        return NULL;
    }
    const char *text = json_string_value(member);
    return strlen(text) == json_string_length(member) ? text : NULL; /* no NUL inside */
}

bool text_copy(const json_t *object, const char *key, char *out, size_t cap)
{
    const char *text = text_member(object, key, cap - 1);
    if (text == NULL) {
        return false;
    }
    memcpy(out, text, strlen(text) + 1);
    return true;
}

static uint16_t json_port(const json_t *object, const char *key)
{
    const json_t *member = json_object_get(object, key);
    json_int_t value = json_is_integer(member) ? json_integer_value(member) : 0;
    return value > 0 && value <= 65535 ? (uint16_t)value : 0;
}

static enum status parse_ports(const json_t *list, struct service *out)
{
    size_t n = json_array_size(list);
    if (n > SERVICE_PORTS_MAX) {
        n = SERVICE_PORTS_MAX;
        out->ports_cut = true;
    }
    if (n == 0) {
        return OK;
    }
    out->ports = calloc(n, sizeof *out->ports);
    if (out->ports == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(list, i);
        struct service_port *port = &out->ports[i];
        port->port = json_port(item, "port");
        if (port->port == 0) {
            return ERR_FORMAT;
        }
        port->target_port = json_port(item, "targetPort");
        (void)text_copy(item, "name", port->name, sizeof port->name);
        (void)text_copy(item, "appProtocol", port->app_protocol, sizeof port->app_protocol);
        const char *protocol = text_member(item, "protocol", 16);
        port->tcp = protocol == NULL || strcmp(protocol, "TCP") == 0; /* TCP is the API's default */
        out->n_ports = i + 1;
    }
    return OK;
}

static bool means_yes(const char *text)
{
    return text != NULL && (strcmp(text, "1") == 0 || strcmp(text, "true") == 0 || strcmp(text, "yes") == 0);
}

enum status service_parse(const json_t *json, struct service *out)
{
    const json_t *meta = json_object_get(json, "metadata");
    const json_t *spec = json_object_get(json, "spec");
    const json_t *annotations = json_object_get(meta, "annotations");
    struct service s = {0};
    if (!text_copy(meta, "namespace", s.namespace, sizeof s.namespace) || s.namespace[0] == '\0' ||
        !text_copy(meta, "name", s.name, sizeof s.name) || s.name[0] == '\0' ||
        !text_copy(meta, "uid", s.uid, sizeof s.uid) || !json_is_object(spec)) {
        return ERR_FORMAT;
    }
    (void)text_copy(meta, "creationTimestamp", s.created, sizeof s.created);
    (void)text_copy(spec, "clusterIP", s.cluster_ip, sizeof s.cluster_ip);
    const char *type = text_member(spec, "type", 32);
    s.external_name = type != NULL && strcmp(type, "ExternalName") == 0;
    s.exposed = means_yes(text_member(annotations, ANNOTATION_EXPOSED, 16));
    /* A value that is too long to be right is kept as something that cannot be right, not as absent. */
    const json_t *name = json_object_get(annotations, ANNOTATION_NAME);
    const json_t *ports = json_object_get(annotations, ANNOTATION_PORTS);
    s.wanted_name = json_is_string(name) ? json_string_value(name) : NULL;
    s.wanted_ports = json_is_string(ports) ? json_string_value(ports) : NULL;
    if (s.exposed) { /* of what is not exposed nobody needs the ports */
        enum status status = parse_ports(json_object_get(spec, "ports"), &s);
        if (status != OK) {
            service_clear(&s);
            return status;
        }
    }
    *out = s;
    return OK;
}

void service_clear(struct service *service)
{
    free(service->ports);
    service->ports = NULL;
    service->n_ports = 0;
}
