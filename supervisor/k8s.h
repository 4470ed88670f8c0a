/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor's side of the Kubernetes worker: what it is told (mirror this app) and what it reports (this
 * Service is exposed). It must not speak to the API server, and holds no token.
 */
#ifndef WORMHOLE_SUPERVISOR_K8S_H
#define WORMHOLE_SUPERVISOR_K8S_H

#include "supervisor/apps.h"
#include "supervisor/supervisor.h"
#include "supervisor/worker_process.h"

/* Before lockdown, with --kubernetes: checks the configuration, makes s->k8s. error->text otherwise. */
enum status k8s_open(struct supervisor *s, struct config_error *error);
void k8s_close(struct supervisor *s);

/* Handlers of the worker slot (s->kubernetes): setup sends K8S_SETUP, ready replays every app, message, gone.
 */
extern const struct worker_handlers k8s_worker_handlers;

/* Server: an app got its port, or is gone for good. No-ops without --kubernetes. */
void k8s_app_up(struct supervisor *s, struct app *app);
void k8s_app_down(struct supervisor *s, struct app *app);

/* Client: the server refused an app that a Service exposes; its owner gets an Event. */
void k8s_app_refused(struct supervisor *s, const char *key, const char *text);

/* Is the worker up and synced (true without --kubernetes)? why: what is missing. */
bool k8s_ready(const struct supervisor *s, char *why, size_t cap);
/* For metrics; counters go on over the worker's restarts. All zero without --kubernetes. */
struct k8s_figures {
    bool in_step;
    uint32_t objects;
    uint64_t api_calls, api_errors;
};
void k8s_figures(const struct supervisor *s, struct k8s_figures *out);
/* The last K8S_STATE as a line for status; "" without --kubernetes. */
void k8s_state_text(const struct supervisor *s, char *out, size_t cap);

#endif
