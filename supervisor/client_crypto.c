/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client: what crypto says about connections: the pairing, approval, the end of a handshake. What it says is
 * checked against our own list of connections.
 */
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "supervisor/about.h"
#include "supervisor/client_events.h"
#include "supervisor/worker_process.h"

#define PENDING_SLACK_S 60u

/* NULL: it is gone (a race, no lie), or w lied and is dead now. */
static struct connection *connection_of(struct supervisor *s, struct worker_process *w, uint64_t number,
                                        const char *what)
{
    struct connection *c = connection_find(s, number);

    if (c == NULL && (number == 0 || number > s->last_connection_number))
        worker_violation(w, "%s about connection %llu, which never was", what, (unsigned long long)number);
    return c;
}

void client_identity_known(struct supervisor *s)
{
    console_identity(s);
}

static void pairing_pending(struct supervisor *s, struct connection *c, const struct msg_client_pairing *m)
{
    struct client *client = s->client;
    char server[FINGERPRINT_TEXT + 1];

    fingerprint_format(m->server, server);
    client_slot_of(c)->phase = CLIENT_PENDING;
    connection_set_state(c, CONNECTION_PENDING);
    c->deadline_ms = clock_mono_ms() + ((uint64_t)m->ttl_s + PENDING_SLACK_S) * 1000;
    /* The heartbeat repeats it; a person reads it once. */
    if (strcmp(client->pairing_code, m->pairing_code) == 0 && client->told_waiting)
        return;
    client->told_waiting = true;
    memcpy(client->pairing_code, m->pairing_code, sizeof client->pairing_code);
    memcpy(client->server_fingerprint, server, sizeof client->server_fingerprint);
    sup_about(LEVEL_INFO, about_connection(c), "waiting for approval on the server: key %s, pairing code %s",
              s->identity.fingerprint, m->pairing_code);
    console_waiting(s, server, m->server_known != 0);
}

static void pairing_declined(struct supervisor *s, struct connection *c, const struct msg_client_pairing *m)
{
    struct client_slot *slot = client_slot_of(c);

    c->declined = true;
    c->end_known = true;
    c->end_code = END_DECLINED;
    (void)snprintf(c->end_text, sizeof c->end_text, "%s", refusal_text(m->code));
    c->deadline_ms = clock_mono_ms() + s->config->handshake_ms;
    slot->declined_retry_s = m->retry_after_s;
    slot->phase = CLIENT_DECLINED;
    if (m->code == REFUSAL_EXPIRED)
        return; /* it asks again at once */
    sup_about(LEVEL_WARN, about_connection(c), "the server declined this key: %s (it may ask again in %u s)",
              refusal_text(m->code), m->retry_after_s);
    console_declined((enum refusal)m->code, m->retry_after_s, s->identity.fingerprint);
    s->client->told_waiting = false;
}

void client_pairing(struct supervisor *s, struct worker_process *w, const struct msg_client_pairing *m)
{
    struct connection *c = connection_of(s, w, m->connection, "CLIENT_PAIRING");

    if (c == NULL || c->state == CONNECTION_DRAINING)
        return;
    if (c->opened_ms != 0 || m->verdict < VERDICT_PENDING || m->verdict > VERDICT_DECLINED) {
        worker_violation(w, "CLIENT_PAIRING out of place for connection %llu", (unsigned long long)c->number);
        return;
    }
    if (m->verdict == VERDICT_PENDING) {
        pairing_pending(s, c, m);
    } else if (m->verdict == VERDICT_DECLINED) {
        pairing_declined(s, c, m);
    } else {
        connection_set_state(c, CONNECTION_APPROVED);
        c->deadline_ms = clock_mono_ms() + s->config->handshake_ms;
        fingerprint_format(m->server, s->client->server_fingerprint);
        memcpy(s->client->pairing_code, m->pairing_code, sizeof s->client->pairing_code);
    }
}

static void connection_finish(struct supervisor *s, struct connection *c)
{
    struct client *client = s->client;
    struct msg_session_peer m = {0};

    connection_set_state(c, CONNECTION_OPEN);
    c->opened_ms = clock_mono_ms();
    c->deadline_ms = 0;
    c->helper_lost = false;
    s->counters.handshakes_ok++;
    (void)snprintf(m.name, sizeof m.name, "%.63s", client->target.host);
    memcpy(m.fingerprint, c->fingerprint, sizeof m.fingerprint);
    (void)worker_send(c->worker, MSG_SESSION_PEER, &m, -1);
    if (c->worker->channel != NULL)
        ipc_channel_set_state(c->worker->channel, IN_OPEN);
    client_slot_of(c)->phase = CLIENT_OPEN;
    memcpy(client->server_fingerprint, c->fingerprint_text, sizeof client->server_fingerprint);
    sup_about(LEVEL_INFO, about_connection(c), "connected to %s as \"%s\", server key %s, connection %llu",
              c->remote, s->config->name, c->fingerprint_text, (unsigned long long)c->number);
    if (!client->was_open || client->told_waiting)
        console_connected(s);
    client->told_waiting = false;
    client_apps_offer_all(c);
    if (!client->was_open) {
        client->was_open = true;
        client_workers_ready(s); /* the other slots */
    }
}

void client_opened(struct supervisor *s, struct worker_process *w, const struct msg_connection_open *m)
{
    struct connection *c = connection_of(s, w, m->connection, "CONNECTION_OPEN");

    if (c == NULL || c->state == CONNECTION_DRAINING)
        return;
    if (c->finished || c->declined) {
        worker_violation(w, "CONNECTION_OPEN out of place for connection %llu",
                         (unsigned long long)c->number);
        return;
    }
    c->finished = true;
    c->suite = m->suite;
    c->fingerprint_known = true;
    memcpy(c->fingerprint, m->fingerprint, sizeof c->fingerprint);
    fingerprint_format(m->fingerprint, c->fingerprint_text);
    if (c->worker->ready)
        connection_finish(s, c);
}

void client_session_ready(struct connection *c)
{
    if (c->finished && c->opened_ms == 0)
        connection_finish(c->supervisor, c);
}

void client_handshake_failed(struct supervisor *s, struct worker_process *w,
                             const struct msg_handshake_failed *m)
{
    struct connection *c = connection_of(s, w, m->connection, "HANDSHAKE_FAILED");

    if (c == NULL || c->end_known)
        return;
    c->end_known = true;
    c->end_code = m->code;
    (void)snprintf(c->end_text, sizeof c->end_text, "%s", m->text);
    if (m->code == END_SERVER_IDENTITY)
        sup_error(
            "the server at %s is NOT the one that this client knows: %s. If its identity was changed on "
            "purpose, remove the file known_server in %s (or correct --server-fingerprint); otherwise "
            "somebody "
            "is in between",
            c->remote, m->text, s->key_dir);
}
