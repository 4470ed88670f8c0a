/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the client's side: how its parts (slots, events from crypto and sessions, apps, console) call
 * each other. Others see client.h.
 */
#ifndef WORMHOLE_SUPERVISOR_CLIENT_EVENTS_H
#define WORMHOLE_SUPERVISOR_CLIENT_EVENTS_H

#include "supervisor/client.h"

/* client.c */
struct client *client_new(struct supervisor *s, struct config_error *error);
void client_free(struct supervisor *s);
/* Crypto or the dialer got ready: slots may start. */
void client_workers_ready(struct supervisor *s);
/* The dialer ended; another one is ready: open sessions get a channel to it. */
void client_dialer_lost(struct supervisor *s);
void client_dialer_ready(struct supervisor *s);
struct client_slot *client_slot_of(const struct connection *c);

/* client_crypto.c: from crypto */
void client_identity_known(struct supervisor *s);
void client_pairing(struct supervisor *s, struct worker_process *w, const struct msg_client_pairing *m);
void client_opened(struct supervisor *s, struct worker_process *w, const struct msg_connection_open *m);
void client_handshake_failed(struct supervisor *s, struct worker_process *w,
                             const struct msg_handshake_failed *m);
/* The session got ready after its handshake: rare, but possible. */
void client_session_ready(struct connection *c);

/* client_apps.c */
enum status client_apps_init(struct supervisor *s, struct config_error *error);
void client_apps_free(struct supervisor *s);
/* After a reload: what is not in the list any more goes, what is new comes. */
void client_apps_reload(struct supervisor *s);
/* A new dialer: the table of addresses. */
void client_apps_tell_dialer(struct supervisor *s, struct worker_process *dialer);
/* A connection opened: every app is offered on it. */
void client_apps_offer_all(struct connection *c);
void client_app_answered(struct connection *c, const struct msg_app_status *m);
void client_app_stats(struct connection *c, const struct msg_app_stats *m);
/* The connection is gone: keep its figures. */
void client_apps_connection_gone(struct connection *c);

/* client_target.c: from --server and --proxy. ERR_CONFIG with the text. */
enum status client_target_fill(struct client_target *target, const struct config *config,
                               struct config_error *error);

/* client_console.c: what a person at the terminal reads (standard output); logs are separate. */
void console_open(void);
void console_identity(const struct supervisor *s);
void console_waiting(const struct supervisor *s, const char *server, bool server_known);
void console_connected(const struct supervisor *s);
void console_app(const struct client_app *app);
void console_declined(enum refusal code, uint32_t retry_after_s, const char *fingerprint);
const char *refusal_text(unsigned code);

#endif
