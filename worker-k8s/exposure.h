/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an annotated Service exposes: the apps that follow from it, and what is wrong with its annotations.
 * Pure; it knows one Service at a time, so that two Services want the same name is not its business.
 */
#ifndef WORMHOLE_K8S_EXPOSURE_H
#define WORMHOLE_K8S_EXPOSURE_H

#include "worker-k8s/service.h"

#define PROBLEMS_MAX 4 /* per Service; the first ones are told */

struct exposed_app {
    char name[64];
    char host[160]; /* the Service's cluster address, or its DNS name where it has none */
    uint16_t port;  /* where to connect */
    uint16_t service_port;
    char app_protocol[64];
};

struct problem {
    char reason[32]; /* CamelCase, as Kubernetes Events have it */
    char text[384];
};

struct exposure {
    struct exposed_app *apps;
    size_t n_apps;
    struct problem problems[PROBLEMS_MAX];
    size_t n_problems;
    size_t skipped_udp; /* ports that are not TCP and that nobody asked for by name */
};

/* A Service that is not exposed gives an empty exposure. ERR_NOMEM. Clear it after OK. */
enum status exposure_derive(const struct service *service, struct exposure *out);
void exposure_clear(struct exposure *exposure);

#endif
