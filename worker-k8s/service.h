/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Kubernetes Service as this worker sees it: the few fields that matter, checked and copied out of the API
 * server's JSON. Nothing is decided here; exposure.h says what a Service means for the client, mirror.h what
 * it means for the server.
 */
#ifndef WORMHOLE_K8S_SERVICE_H
#define WORMHOLE_K8S_SERVICE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

#define ANNOTATION_PREFIX "wormhole.glothriel.github.com/"
#define ANNOTATION_EXPOSED ANNOTATION_PREFIX "exposed"
#define ANNOTATION_NAME ANNOTATION_PREFIX "name"
#define ANNOTATION_PORTS ANNOTATION_PREFIX "ports"

#define SERVICE_PORTS_MAX 256 /* more ports than that in one Service are not looked at */

struct service_port {
    char name[64];         /* empty: unnamed */
    char app_protocol[64]; /* empty: none, or too long to pass on */
    uint16_t port;         /* the Service's own */
    uint16_t target_port;  /* 0: named, or absent */
    bool tcp;
};

struct service {
    char namespace[64];
    char name[64];
    char uid[64];
    char created[32]; /* creationTimestamp, RFC 3339: text order is time order */
    char cluster_ip[64];
    bool exposed;
    bool external_name;       /* type ExternalName */
    const char *wanted_name;  /* the annotation, or NULL; lives as long as the JSON */
    const char *wanted_ports; /* the annotation, or NULL; lives as long as the JSON */
    struct service_port *ports;
    size_t n_ports;
    bool ports_cut; /* there were more than SERVICE_PORTS_MAX */
};

/*
 * Reads a Service object. ERR_FORMAT when a field that every Service has is missing or of the wrong type;
 * ERR_NOMEM. `out` refers to `json` (wanted_*), so json must outlive it. Clear it afterwards in any case of
 * OK.
 */
enum status service_parse(const json_t *json, struct service *out);
void service_clear(struct service *service);

/* Text of a member, or NULL when it is missing, not text, or longer than max bytes. */
const char *text_member(const json_t *object, const char *key, size_t max);

/* Copies a member's text into out[cap]; false (out untouched) when it is missing, not text or too long. */
bool text_copy(const json_t *object, const char *key, char *out, size_t cap);

#endif
