/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two ends of the handshake (docs/protocol.md) as state machines without I/O: bytes, verdicts and the
 * time go in, bytes, questions and keys come out through a sink. They own every decision about the peer's
 * messages. They must not open files or sockets, and they do not know what an IPC message is.
 */
#ifndef WORMHOLE_CRYPTO_HANDSHAKE_H
#define WORMHOLE_CRYPTO_HANDSHAKE_H

#include "common/ipc_types.h"
#include "worker-crypto/hs_message.h"
#include "worker-crypto/key_schedule.h"
#include "worker-crypto/pairing.h"
#include "worker-crypto/primitives.h"

#define HANDSHAKE_MS_DEFAULT 10000u
#define HEARTBEAT_MS_DEFAULT 10000u

/* A client that proved possession of its key: the question to the supervisor. Views live for the call. */
struct handshake_peer {
    const uint8_t *fingerprint;
    struct view spki;
    unsigned bits;
    const struct client_proof *proof;
    uint8_t suite;
    const uint8_t *request;
    const char *pairing_code;
};

/* What a client has learnt about its request, for the supervisor. */
struct handshake_pairing {
    enum verdict verdict;
    uint16_t code; /* enum refusal */
    const uint8_t *server;
    bool server_known;
    const char *pairing_code;
    uint32_t ttl_s, retry_after_s;
};

/* Both sides are proven; the keys go to the session, sequence 1 follows. */
struct handshake_result {
    const uint8_t *fingerprint; /* of the peer */
    uint8_t suite;
    uint32_t max_record, capabilities;
    const struct seal_key *traffic; /* two, by enum direction */
};

struct handshake_failure {
    enum end_code code;
    uint16_t close_code; /* websocket, or 0: just close */
    const char *reason;  /* for the peer's eyes: a static phrase, at most 123 bytes */
    const char *detail;  /* for the operator: what exactly was wrong; lives for the call */
};

/*
 * Where a machine's words go. None of these may call the machine again or free it. After `failed` or `opened`
 * nothing more comes but answers to what the owner asks.
 */
struct handshake_sink {
    void (*send)(void *arg, const uint8_t *message, size_t len);
    void (*wait)(void *arg, uint32_t ttl_s);                          /* a person decides */
    void (*ask)(void *arg, const struct handshake_peer *peer);        /* server */
    void (*pairing)(void *arg, const struct handshake_pairing *news); /* client */
    /* Client: remember this server for good; not OK ends the handshake. */
    enum status (*remember)(void *arg, const uint8_t fingerprint[HASH_BYTES], uint8_t suite);
    void (*opened)(void *arg, const struct handshake_result *result);
    void (*failed)(void *arg, const struct handshake_failure *failure);
    void *arg;
};

/* What both sides are told once per process. */
struct handshake_common {
    uint32_t suites; /* mask of SUITE_BIT(); what the library cannot do is already out */
    uint32_t max_record;
    uint32_t step_ms;      /* deadline of every step but the human one */
    uint32_t heartbeat_ms; /* PENDING */
    random_source *random;
    void *random_arg;
};

/* ---- server ---- */

struct server_config {
    struct handshake_common common;
    EVP_PKEY *identity; /* not owned */
    const uint8_t *public_key;
    const uint8_t *fingerprint;
};

struct server_handshake;

/* The config must outlive the machine. NULL: out of memory. */
struct server_handshake *server_handshake_new(const struct server_config *config,
                                              const struct handshake_sink *sink);
void server_handshake_free(struct server_handshake *h); /* wipes */

/* The upgrade is done: sends SERVER_HELLO. now: monotonic milliseconds, here and below. */
void server_handshake_start(struct server_handshake *h, uint64_t now);
/* One binary message from the peer. */
void server_handshake_receive(struct server_handshake *h, const uint8_t *message, size_t len, uint64_t now);
/* The supervisor's word; false when it does not fit (other fingerprint, too late): nothing happened then. */
bool server_handshake_answer(struct server_handshake *h, const uint8_t fingerprint[HASH_BYTES],
                             enum verdict verdict, uint16_t code, uint32_t ttl_s, uint32_t retry_after_s,
                             uint64_t now);
/* When server_handshake_tick() wants to be called; UINT64_MAX: never. */
uint64_t server_handshake_next(const struct server_handshake *h);
void server_handshake_tick(struct server_handshake *h, uint64_t now);

/* ---- client ---- */

struct client_config {
    struct handshake_common common;
    EVP_PKEY *key; /* not owned */
    struct view spki;
    const uint8_t *fingerprint;
    const char *name;
    uint8_t slot;
    uint8_t instance[HS_INSTANCE];
    /* What the server must be. Read again before every use: it may become known while this one waits. */
    const struct expected_server *expected;
};

struct expected_server {
    bool present; /* else: first use */
    bool pinned;  /* by configuration; else remembered */
    uint8_t fingerprint[HASH_BYTES];
    uint8_t suite; /* the best seen with it; 0: none yet */
};

struct client_handshake;

/* *config is copied, what it points to must outlive the machine. NULL: out of memory. */
struct client_handshake *client_handshake_new(const struct client_config *config,
                                              const struct handshake_sink *sink);
void client_handshake_free(struct client_handshake *h); /* wipes */
void client_handshake_start(struct client_handshake *h, uint64_t now);
void client_handshake_receive(struct client_handshake *h, const uint8_t *message, size_t len, uint64_t now);
uint64_t client_handshake_next(const struct client_handshake *h);
void client_handshake_tick(struct client_handshake *h, uint64_t now);

#endif
