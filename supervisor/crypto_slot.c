/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See crypto_slot.h. The supervisor believes crypto about who proved which key and about nothing else: what
 * it says of connections is checked against our own list (approvals.c, client.c).
 */
#include "supervisor/crypto_slot.h"

#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/protocol.h"
#include "supervisor/approvals.h"
#include "supervisor/client.h"
#include "supervisor/client_events.h"
#include "supervisor/sessions.h"

#define SUITE_MASK(suite) (1u << ((suite)-1))

/* The suites that the configuration wants; crypto drops what its library cannot do. */
static uint16_t suites_wanted(const struct config *config)
{
    if (config->side == SIDE_SERVER && strcmp(config->server_suites, "x25519") == 0)
        return SUITE_MASK(SUITE_X25519);
    if (config->side == SIDE_SERVER && strcmp(config->server_suites, "hybrid") == 0)
        return SUITE_MASK(SUITE_X25519_MLKEM768);
    return SUITE_MASK(SUITE_X25519) | SUITE_MASK(SUITE_X25519_MLKEM768);
}

static enum status on_setup(struct worker_process *w, void *arg)
{
    const struct supervisor *s = w->supervisor;
    const struct config *config = s->config;
    struct msg_crypto_setup m = {.suites = suites_wanted(config),
                                 .handshake_ms = (uint32_t)config->handshake_ms,
                                 .max_record = (uint32_t)config->max_record,
                                 .owner_uid = (uint32_t)w->uid};

    (void)arg;
    (void)snprintf(m.key_dir, sizeof m.key_dir, "%s", s->key_dir);
    if (s->side == SIDE_CLIENT) {
        m.rsa_bits = (uint16_t)config->rsa_bits;
        (void)snprintf(m.name, sizeof m.name, "%s", config->name);
        if (config->server_fingerprint != NULL)
            (void)snprintf(m.pinned_server, sizeof m.pinned_server, "%s", config->server_fingerprint);
    }
    return worker_send(w, MSG_CRYPTO_SETUP, &m, -1);
}

static void on_ready(struct worker_process *w, void *arg)
{
    struct supervisor *s = w->supervisor;

    (void)arg;
    if (s->side == SIDE_SERVER && !s->draining)
        sessions_accept(s, true);
    else if (s->side == SIDE_CLIENT)
        client_workers_ready(s);
}

static void on_identity(struct supervisor *s, const struct msg_crypto_identity *m)
{
    bool first = !s->identity.known;

    s->identity.known = true;
    memcpy(s->identity.kind, m->kind, sizeof s->identity.kind);
    fingerprint_format(m->fingerprint, s->identity.fingerprint);
    memcpy(s->identity.known_server, m->known_server, sizeof s->identity.known_server);
    memcpy(s->identity.path, m->path, sizeof s->identity.path);
    s->identity.bits = m->bits;
    s->identity.created = m->created;
    s->identity.generated = s->identity.generated || m->generated != 0;
    if (!first)
        return;
    sup_info("%s key fingerprint %s%s", s->side == SIDE_SERVER ? "server" : "client", s->identity.fingerprint,
             m->generated != 0 ? " (made just now)" : "");
    if (s->side == SIDE_CLIENT)
        client_identity_known(s);
}

static void on_reported(struct supervisor *s, const struct msg_worker_violation *m)
{
    struct connection *c = connection_find(s, m->connection);

    /* Crypto says that the session at the other end of a handshake channel broke the rules. */
    if (c != NULL && c->worker != NULL)
        worker_violation(c->worker, "reported by crypto: %s", m->text);
}

static void on_message(struct worker_process *w, enum message_type type, const union message *m, int fd,
                       void *arg)
{
    struct supervisor *s = w->supervisor;
    bool server = s->side == SIDE_SERVER;

    (void)arg;
    (void)fd; /* crypto sends no descriptor */
    switch (type) {
    case MSG_CRYPTO_IDENTITY: on_identity(s, &m->crypto_identity); return;
    case MSG_WORKER_VIOLATION: on_reported(s, &m->worker_violation); return;
    case MSG_APPROVAL_ASK:
        if (server) {
            approval_asked(s, w, &m->approval_ask);
            return;
        }
        break;
    case MSG_CLIENT_PAIRING:
        if (!server) {
            client_pairing(s, w, &m->client_pairing);
            return;
        }
        break;
    case MSG_CONNECTION_OPEN:
        if (server)
            approval_opened(s, w, &m->connection_open);
        else
            client_opened(s, w, &m->connection_open);
        return;
    case MSG_HANDSHAKE_FAILED:
        if (server)
            approval_failed(s, w, &m->handshake_failed);
        else
            client_handshake_failed(s, w, &m->handshake_failed);
        return;
    default: break;
    }
    worker_violation(w, "%s is not for this side", ipc_message_name(type));
}

static void on_gone(struct worker_process *w, enum worker_exit why, void *arg)
{
    struct supervisor *s = w->supervisor;

    (void)why;
    (void)arg;
    if (s->side == SIDE_SERVER)
        sessions_accept(s, false); /* they wait in the listen queue until another one is ready */
    sessions_crypto_lost(s);
}

const struct worker_handlers crypto_handlers = {
    .setup = on_setup, .ready = on_ready, .message = on_message, .gone = on_gone};
