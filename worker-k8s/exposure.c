/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a Service's annotations to apps (exposure.h). It must not talk to anybody: problems are returned, the
 * caller makes Events and log lines of them.
 */
#include "worker-k8s/exposure.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/names.h"
#include "worker-k8s/names.h"

__attribute__((format(printf, 3, 4))) static void complain(struct exposure *e, const char *reason,
                                                           const char *format, ...)
{
    if (e->n_problems == PROBLEMS_MAX) {
        return;
    }
    struct problem *p = &e->problems[e->n_problems++];
    va_list args;
    va_start(args, format);
    snprintf(p->reason, sizeof p->reason, "%s", reason);
    vsnprintf(p->text, sizeof p->text, format, args);
    va_end(args);
}

/* The port that one element of the annotation names, or NULL. All digits: a number; a port's name has a
 * letter. */
static const struct service_port *find_port(const struct service *s, const char *text, size_t len)
{
    bool number = len > 0;
    unsigned long value = 0;
    for (size_t i = 0; i < len; i++) {
        number = number && isdigit((unsigned char)text[i]);
        value = number && value <= 65535 ? value * 10 + (unsigned long)(text[i] - '0') : value;
    }
    for (size_t i = 0; i < s->n_ports; i++) {
        const struct service_port *p = &s->ports[i];
        bool hit = number ? p->port == value : strlen(p->name) == len && memcmp(p->name, text, len) == 0;
        if (hit && len > 0) {
            /* One number may be there twice, as TCP and as UDP: prefer what can be exposed. */
            for (size_t k = i; number && !p->tcp && k < s->n_ports; k++) {
                if (s->ports[k].port == value && s->ports[k].tcp) {
                    return &s->ports[k];
                }
            }
            return p;
        }
    }
    return NULL;
}

/* Marks in chosen[] what the annotation asks for; false when there is nothing in it at all. */
static bool choose_listed(const struct service *s, bool *chosen, struct exposure *e)
{
    bool any = false;
    for (const char *p = s->wanted_ports; *p != '\0';) {
        size_t len = strcspn(p, ",");
        const char *text = p;
        p += len + (p[len] == ',');
        while (len > 0 && isspace((unsigned char)*text)) {
            text++;
            len--;
        }
        while (len > 0 && isspace((unsigned char)text[len - 1])) {
            len--;
        }
        if (len == 0) {
            continue;
        }
        any = true;
        const struct service_port *port = find_port(s, text, len);
        int shown = len > 63 ? 63 : (int)len;
        if (port == NULL) {
            complain(e, "UnknownPort",
                     "annotation %s asks for port \"%.*s\", which this Service does not have",
                     ANNOTATION_PORTS, shown, text);
        } else if (!port->tcp) {
            complain(e, "UnsupportedProtocol", "port \"%.*s\" is not TCP; only TCP ports can be exposed",
                     shown, text);
        } else {
            chosen[port - s->ports] = true;
        }
    }
    return any;
}

static void choose_all(const struct service *s, bool *chosen, struct exposure *e)
{
    for (size_t i = 0; i < s->n_ports; i++) {
        chosen[i] = s->ports[i].tcp;
        e->skipped_udp += !s->ports[i].tcp;
    }
}

static void fill_app(const struct service *s, const struct service_port *p, const char *base, bool single,
                     struct exposed_app *app)
{
    char number[8];
    snprintf(number, sizeof number, "%u", p->port);
    name_app(base, single ? NULL : p->name[0] != '\0' ? p->name : number, app->name);
    bool headless = s->cluster_ip[0] == '\0' || strcmp(s->cluster_ip, "None") == 0;
    if (headless) {
        snprintf(app->host, sizeof app->host, "%s.%s.svc", s->name, s->namespace);
    } else {
        snprintf(app->host, sizeof app->host, "%s", s->cluster_ip);
    }
    /* Behind a headless name are the pods themselves, which listen on the target port. */
    app->port = headless && p->target_port != 0 ? p->target_port : p->port;
    app->service_port = p->port;
    memcpy(app->app_protocol, p->app_protocol, sizeof app->app_protocol);
}

/* The name that the apps start with; false when the annotation cannot be one. */
static bool base_name(const struct service *s, char base[160], struct exposure *e)
{
    if (s->wanted_name == NULL) {
        snprintf(base, 160, "%s-%s", s->namespace, s->name);
        return true;
    }
    if (!name_is_valid(s->wanted_name)) {
        complain(
            e, "InvalidName",
            "annotation %s is \"%.63s\": it has to be lower-case letters, digits and hyphens, at most 63, "
            "with a letter or digit at both ends",
            ANNOTATION_NAME, s->wanted_name);
        return false;
    }
    snprintf(base, 160, "%s", s->wanted_name);
    return true;
}

static enum status make_apps(const struct service *s, const char *base, struct exposure *e)
{
    bool chosen[SERVICE_PORTS_MAX] = {false};
    size_t n = 0;
    if (s->wanted_ports == NULL) {
        choose_all(s, chosen, e);
    } else if (!choose_listed(s, chosen, e)) {
        complain(e, "InvalidPorts", "annotation %s is empty: name ports, or remove it to expose all",
                 ANNOTATION_PORTS);
    }
    for (size_t i = 0; i < s->n_ports; i++) {
        n += chosen[i];
    }
    if (s->ports_cut) {
        complain(e, "TooManyPorts", "only the first %d ports of this Service are looked at",
                 SERVICE_PORTS_MAX);
    }
    if (n == 0) {
        if (e->n_problems == 0) {
            complain(e, "NoPorts", "this Service has no TCP port to expose");
        }
        return OK;
    }
    e->apps = calloc(n, sizeof *e->apps);
    if (e->apps == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < s->n_ports; i++) {
        if (chosen[i]) {
            fill_app(s, &s->ports[i], base, n == 1, &e->apps[e->n_apps++]);
        }
    }
    return OK;
}

enum status exposure_derive(const struct service *service, struct exposure *out)
{
    struct exposure e = {0};
    char base[160];
    if (service->exposed && service->external_name) {
        complain(&e, "ExternalName",
                 "a Service of type ExternalName cannot be exposed: it has no address in this cluster");
    } else if (service->exposed && base_name(service, base, &e)) {
        enum status status = make_apps(service, base, &e);
        if (status != OK) {
            return status;
        }
    }
    *out = e;
    return OK;
}

void exposure_clear(struct exposure *exposure)
{
    free(exposure->apps);
    exposure->apps = NULL;
    exposure->n_apps = 0;
}
