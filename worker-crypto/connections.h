/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handshakes of this process on the event loop: one per session, each with its own channel, machine and
 * deadlines. Carries between IPC and the machines and decides nothing about a peer. What a session does wrong
 * ends that session's channel and is reported; it never harms another one.
 */
#ifndef WORMHOLE_CRYPTO_CONNECTIONS_H
#define WORMHOLE_CRYPTO_CONNECTIONS_H

#include "common/worker.h"
#include "worker-crypto/handshake.h"
#include "worker-crypto/identity.h"
#include "worker-crypto/known_server.h"

#define HALF_OPEN_MAX 4096u   /* handshakes under way; the supervisor's own limits are far below */
#define DYING_MS 5000u        /* how long a session may take to close its channel after HS_FAIL */
#define DYING_MESSAGES 64u    /* what may still come from it until then */
#define FIRST_WORD_MS 900000u /* until HS_START: dialling and upgrade have their own deadlines elsewhere */

struct connection;

/* The process' state: struct worker.state. */
struct crypto {
    struct worker *worker;
    struct msg_crypto_setup setup;
    bool set_up;
    struct key_dir dir; /* client: open for known_server; server: closed after start */
    struct identity identity;
    struct known_server known;       /* client: as on disk */
    struct expected_server expected; /* client: pinned or known */
    struct handshake_common common;
    struct server_config server;
    struct connection *first;
    unsigned half_open;
};

/* CRYPTO_SESSION: fd is taken over in any case. */
void connection_open(struct crypto *crypto, const struct msg_crypto_session *m, int fd);
/* APPROVAL_ANSWER. */
void connection_answer(struct crypto *crypto, const struct msg_approval_answer *m);
void connections_close(struct crypto *crypto);

/* CRYPTO_IDENTITY to the supervisor. */
void identity_announce(const struct crypto *crypto);

#endif
