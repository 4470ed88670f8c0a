/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's end of the handshake. What may come in which state is the table `transitions`; everything else
 * is fatal. The RSA key signs only behind a checked SERVER_HELLO and decrypts only behind a checked grant
 * signature.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "common/fingerprint.h"
#include "worker-crypto/handshake_private.h"
#include "worker-crypto/kem.h"
#include "worker-crypto/rsa_key.h"

enum client_state {
    CLIENT_IDLE,    /* the upgrade is not done yet */
    CLIENT_WAITING, /* for SERVER_HELLO */
    CLIENT_PROVEN,  /* CLIENT_HELLO is out */
    CLIENT_PENDING, /* a person decides */
    CLIENT_GRANTED, /* GRANT is checked; SERVER_FINISHED follows */
    CLIENT_OPEN,
    CLIENT_DEAD,
};

struct client_handshake {
    struct client_config config;
    struct handshake_sink sink;
    enum client_state state;
    struct handshake_half half;
    struct session_secrets session;
    uint8_t identity[ED25519_PUBLIC], server[HASH_BYTES]; /* the server's key and its fingerprint */
    uint8_t suite;
    uint32_t max_record;   /* the smaller of both */
    uint32_t capabilities; /* of the server */
    bool pending_seen;
    uint8_t request[HS_REQUEST];
    uint64_t deadline;
    char pairing[PAIRING_CODE_TEXT + 1];
};

struct client_handshake *client_handshake_new(const struct client_config *config,
                                              const struct handshake_sink *sink)
{
    struct client_handshake *h = calloc(1, sizeof *h);

    if (h == NULL)
        return NULL;
    h->config = *config;
    h->sink = *sink;
    return h;
}

void client_handshake_free(struct client_handshake *h)
{
    if (h == NULL)
        return;
    OPENSSL_cleanse(h, sizeof *h);
    free(h);
}

static void die(struct client_handshake *h, enum end_code code, uint16_t close_code, const char *reason,
                const char *detail)
{
    const struct handshake_failure failure = {code, close_code, reason, detail};

    ERR_clear_error();
    OPENSSL_cleanse(&h->half.secrets, sizeof h->half.secrets);
    OPENSSL_cleanse(&h->session, sizeof h->session);
    h->state = CLIENT_DEAD;
    h->deadline = 0;
    h->sink.failed(h->sink.arg, &failure);
}

static void die_protocol(struct client_handshake *h, const char *detail)
{
    die(h, END_PROTOCOL, CLOSE_PROTOCOL, "handshake refused", detail);
}

static void die_internal(struct client_handshake *h, const char *detail)
{
    die(h, END_INTERNAL, CLOSE_INTERNAL, "internal error", detail);
}

static void step_deadline(struct client_handshake *h, uint64_t now)
{
    h->deadline = now + h->config.common.step_ms;
}

static enum status draw(struct client_handshake *h, uint8_t *out, size_t len)
{
    return h->config.common.random(h->config.common.random_arg, out, len);
}

static void tell(struct client_handshake *h, enum verdict verdict, uint16_t code, uint32_t ttl_s,
                 uint32_t retry_after_s)
{
    const struct handshake_pairing news = {
        .verdict = verdict,
        .code = code,
        .server = h->server,
        .server_known = h->config.expected->present,
        .pairing_code = h->pairing,
        .ttl_s = ttl_s,
        .retry_after_s = retry_after_s,
    };
    h->sink.pairing(h->sink.arg, &news);
}

void client_handshake_start(struct client_handshake *h, uint64_t now)
{
    if (h->state != CLIENT_IDLE)
        return;
    if (transcript_init(&h->half.transcript) != OK) {
        die_internal(h, "cannot hash");
        return;
    }
    h->state = CLIENT_WAITING;
    step_deadline(h, now);
}

/* ---- SERVER_HELLO ---- */

static uint8_t suite_best(uint32_t mask)
{
    if ((mask & SUITE_BIT(SUITE_X25519_MLKEM768)) != 0)
        return SUITE_X25519_MLKEM768;
    return (mask & SUITE_BIT(SUITE_X25519)) != 0 ? SUITE_X25519 : 0;
}

/* Is this the server that we know, as far as we know one? False: dead already. */
static bool server_is_expected(struct client_handshake *h)
{
    const struct expected_server *e = h->config.expected;
    char detail[256], wanted[FINGERPRINT_TEXT + 1], found[FINGERPRINT_TEXT + 1];

    if (!e->present)
        return true;
    fingerprint_format(h->server, found);
    if (CRYPTO_memcmp(e->fingerprint, h->server, HASH_BYTES) != 0) {
        fingerprint_format(e->fingerprint, wanted);
        (void)snprintf(detail, sizeof detail, "the server's identity is %s, but %s is %s", found,
                       e->pinned ? "configured (--server-fingerprint)" : "the one that was approved before",
                       wanted);
        die(h, END_SERVER_IDENTITY, CLOSE_PROTOCOL, "server identity refused", detail);
        return false;
    }
    if (h->suite < e->suite) {
        (void)snprintf(detail, sizeof detail,
                       "the server %s offers suite %u only, but it has used suite %u before", found, h->suite,
                       e->suite);
        die(h, END_SERVER_IDENTITY, CLOSE_PROTOCOL, "key exchange refused", detail);
        return false;
    }
    return true;
}

/* Signature, identity and suite; remembers what later steps compare with. False: dead already. */
static bool accept_server_hello(struct client_handshake *h, const uint8_t *message, size_t len,
                                struct server_hello *hello)
{
    const uint8_t *body = message + HS_HEADER;
    uint8_t digest[HASH_BYTES];
    const uint32_t own = h->config.common.max_record;

    if (server_hello_read(body, len - HS_HEADER, hello) != OK) {
        die_protocol(h, "SERVER_HELLO is malformed");
        return false;
    }
    enum status s =
        transcript_peek(&h->half.transcript, message, HS_HEADER, body, hello->unsigned_len, digest);
    if (s == OK && ed25519_verify(hello->identity, LABEL_SERVER_HELLO, digest, hello->signature) != OK) {
        die_protocol(h, "the signature of SERVER_HELLO is wrong");
        return false;
    }
    if (s == OK)
        s = ed25519_fingerprint(hello->identity, h->server);
    if (s == OK)
        s = pairing_code(h->server, h->config.fingerprint, h->pairing);
    if (s == OK)
        s = transcript_add(&h->half.transcript, message, HS_HEADER, body, len - HS_HEADER);
    if (s != OK) {
        die_internal(h, "SERVER_HELLO could not be worked on");
        return false;
    }
    memcpy(h->identity, hello->identity, ED25519_PUBLIC);
    h->capabilities = hello->capabilities;
    h->max_record = hello->max_record < own ? hello->max_record : own;
    h->suite = suite_best(hello->suites & h->config.common.suites);
    if (h->suite == 0) {
        die_protocol(h, "the server offers no key exchange that this client has");
        return false;
    }
    return server_is_expected(h);
}

/* ---- CLIENT_HELLO ---- */

/* Our ephemeral share, and the shared secret of the suite with the server's. */
static enum status exchange(struct client_handshake *h, const struct server_hello *hello,
                            uint8_t share[X25519_BYTES], uint8_t *kem_ciphertext, uint8_t shared[SHARED_MAX],
                            size_t *shared_len)
{
    uint8_t private_bytes[X25519_BYTES], entropy[KEM_ENTROPY];
    EVP_PKEY *key = NULL;
    size_t at = 0;

    enum status s = draw(h, private_bytes, sizeof private_bytes);
    if (s == OK)
        s = x25519_new(private_bytes, &key, share);
    OPENSSL_cleanse(private_bytes, sizeof private_bytes);
    if (s == OK && h->suite == SUITE_X25519_MLKEM768) {
        s = draw(h, entropy, sizeof entropy);
        if (s == OK)
            s = kem_encapsulate(hello->kem_key.data, entropy, kem_ciphertext, shared);
        OPENSSL_cleanse(entropy, sizeof entropy);
        at = KEM_SECRET;
    }
    if (s == OK)
        s = x25519_derive(key, hello->share, shared + at);
    EVP_PKEY_free(key);
    if (s == OK)
        *shared_len = at + X25519_BYTES;
    return s;
}

static enum status write_clear(struct client_handshake *h, const struct server_hello *hello, uint8_t *body,
                               size_t *len, uint8_t shared[SHARED_MAX], size_t *shared_len)
{
    uint8_t share[X25519_BYTES], nonce[HS_NONCE], kem_ciphertext[KEM_CIPHERTEXT];

    enum status s = exchange(h, hello, share, kem_ciphertext, shared, shared_len);
    if (s == OK)
        s = draw(h, nonce, sizeof nonce);
    if (s != OK)
        return s;
    const struct client_hello clear = {
        .suite = h->suite,
        .share = share,
        .nonce = nonce,
        .kem_ciphertext = {kem_ciphertext, h->suite == SUITE_X25519_MLKEM768 ? KEM_CIPHERTEXT : 0},
    };
    return client_hello_write(&clear, body, len);
}

/* The part to be sealed, with its signature: `body` holds the clear part already, *len grows. */
static enum status write_proof(struct client_handshake *h, const uint8_t *header, uint8_t *body, size_t clear,
                               size_t *len)
{
    struct client_proof proof = {
        .spki = h->config.spki, .max_record = h->config.common.max_record, .slot = h->config.slot};
    size_t part = HS_MESSAGE_MAX - HS_HEADER - clear, signature = RSA_MODULUS_MAX;
    uint8_t digest[HASH_BYTES];

    (void)snprintf(proof.name, sizeof proof.name, "%s", h->config.name);
    memcpy(proof.instance, h->config.instance, HS_INSTANCE);
    enum status s = client_proof_write(&proof, body + clear, &part);
    if (s == OK)
        s = transcript_peek(&h->half.transcript, header, HS_HEADER, body, clear + part, digest);
    if (s == OK)
        s = pss_sign(h->config.key, LABEL_CLIENT_POP, digest, body + clear + part, &signature);
    if (s == OK)
        *len = clear + part + signature;
    return s;
}

/* How long the sealed part will be: the header, which is hashed before, must say it. */
static size_t proof_size(const struct client_handshake *h)
{
    return 2 + h->config.spki.len + 1 + strlen(h->config.name) + 4 + 4 + 1 + HS_INSTANCE + 2 +
           (size_t)EVP_PKEY_get_size(h->config.key);
}

static enum status make_client_hello(struct client_handshake *h, const struct server_hello *hello,
                                     uint8_t *out, size_t *len)
{
    uint8_t *body = out + HS_HEADER, shared[SHARED_MAX], tc[HASH_BYTES];
    size_t clear = HS_MESSAGE_MAX - HS_HEADER, body_len = 0, shared_len = 0;
    const struct seal_key *k = &h->half.secrets.keys[DIRECTION_C2S];

    enum status s = write_clear(h, hello, body, &clear, shared, &shared_len);
    if (s == OK) {
        hs_header_write(out, HS_CLIENT_HELLO, clear + proof_size(h) + AEAD_TAG);
        s = transcript_peek(&h->half.transcript, out, HS_HEADER, body, clear, tc);
    }
    if (s == OK)
        s = schedule_handshake(tc, shared, shared_len, &h->half.secrets);
    OPENSSL_cleanse(shared, sizeof shared);
    if (s == OK)
        s = write_proof(h, out, body, clear, &body_len);
    if (s == OK && body_len != clear + proof_size(h))
        s = ERR_SIZE;
    if (s == OK)
        s = transcript_add(&h->half.transcript, out, HS_HEADER, body, body_len);
    if (s == OK)
        s = aead_seal(k->key, k->iv, 0, tc, sizeof tc, body + clear, body_len - clear, body + clear);
    if (s != OK)
        return s;
    h->half.secrets.sequence[DIRECTION_C2S]++;
    *len = HS_HEADER + body_len + AEAD_TAG;
    return OK;
}

static void on_server_hello(struct client_handshake *h, const uint8_t *message, size_t len, uint64_t now)
{
    uint8_t out[HS_MESSAGE_MAX];
    struct server_hello hello;
    size_t out_len;

    if (!accept_server_hello(h, message, len, &hello))
        return;
    enum status s = make_client_hello(h, &hello, out, &out_len);
    if (s == ERR_AUTH) {
        die_protocol(h, "the server's key share is not a valid one");
        return;
    }
    if (s != OK) {
        die_internal(h, "cannot make CLIENT_HELLO");
        return;
    }
    h->state = CLIENT_PROVEN;
    step_deadline(h, now);
    h->sink.send(h->sink.arg, out, out_len);
}

/* ---- PENDING, DECLINED, GRANT ---- */

static void on_pending(struct client_handshake *h, const uint8_t *message, size_t len, uint64_t now)
{
    uint8_t plain[HS_MESSAGE_MAX];
    struct pending pending;
    size_t plain_len;

    if (sealed_read(&h->half, message, len, plain, &plain_len) != OK) {
        die_protocol(h, "PENDING does not open");
        return;
    }
    if (pending_read(plain, plain_len, &pending) != OK ||
        (h->pending_seen && memcmp(pending.request, h->request, HS_REQUEST) != 0) ||
        transcript_add(&h->half.transcript, message, HS_HEADER, plain, plain_len) != OK) {
        die_protocol(h, "PENDING is malformed");
        return;
    }
    h->pending_seen = true;
    memcpy(h->request, pending.request, HS_REQUEST);
    h->state = CLIENT_PENDING;
    h->deadline = now + (uint64_t)h->config.common.heartbeat_ms * 7 / 2;
    h->sink.wait(h->sink.arg, pending.ttl_s);
    tell(h, VERDICT_PENDING, REFUSAL_NONE, pending.ttl_s,
         0); /* each time: the supervisor's deadline moves along */
}

static void on_declined(struct client_handshake *h, const uint8_t *message, size_t len, uint64_t now)
{
    uint8_t plain[HS_MESSAGE_MAX];
    struct declined declined;
    size_t plain_len;

    (void)now;
    if (sealed_read(&h->half, message, len, plain, &plain_len) != OK ||
        declined_read(plain, plain_len, &declined) != OK) {
        die_protocol(h, "DECLINED does not open or is malformed");
        return;
    }
    tell(h, VERDICT_DECLINED, declined.code, 0, declined.retry_after_s);
    die(h, END_DECLINED, 0, "declined", "the server declined this key");
}

/* Signature, parameters, then the wrapped key. ERR_AUTH, ERR_FORMAT with *why. */
static enum status open_grant(struct client_handshake *h, const uint8_t *message, const uint8_t *plain,
                              size_t plain_len, uint8_t aes_key[AES_KEY_BYTES], const char **why)
{
    uint8_t digest[HASH_BYTES];
    struct grant grant;

    *why = "GRANT is malformed";
    if (grant_read(plain, plain_len, &grant) != OK)
        return ERR_FORMAT;
    enum status s =
        transcript_peek(&h->half.transcript, message, HS_HEADER, plain, grant.unsigned_len, digest);
    if (s != OK)
        return s;
    *why = "the signature of GRANT is wrong";
    if (ed25519_verify(h->identity, LABEL_SERVER_GRANT, digest, grant.signature) != OK)
        return ERR_AUTH;
    *why = "GRANT holds other parameters than were agreed on";
    if (grant.max_record != h->max_record || grant.capabilities != 0 ||
        grant.wrapped.len != (size_t)EVP_PKEY_get_size(h->config.key))
        return ERR_FORMAT;
    *why = "the wrapped key in GRANT does not open";
    return oaep_unwrap(h->config.key, h->half.transcript.hash, grant.wrapped.data, grant.wrapped.len,
                       aes_key);
}

static void on_grant(struct client_handshake *h, const uint8_t *message, size_t len, uint64_t now)
{
    uint8_t plain[HS_MESSAGE_MAX], aes_key[AES_KEY_BYTES];
    size_t plain_len;
    const char *why;

    if (sealed_read(&h->half, message, len, plain, &plain_len) != OK) {
        die_protocol(h, "GRANT does not open");
        return;
    }
    if (open_grant(h, message, plain, plain_len, aes_key, &why) != OK) {
        die_protocol(h, why);
        return;
    }
    enum status s = transcript_add(&h->half.transcript, message, HS_HEADER, plain, plain_len);
    if (s == OK)
        s = schedule_session(h->half.secrets.root, h->half.transcript.hash, aes_key, &h->session);
    OPENSSL_cleanse(aes_key, sizeof aes_key);
    OPENSSL_cleanse(&h->half.secrets, sizeof h->half.secrets);
    if (s != OK) {
        die_internal(h, "the keys of the connection could not be derived");
        return;
    }
    h->state = CLIENT_GRANTED;
    step_deadline(h, now);
}

/* ---- SERVER_FINISHED ---- */

/* First use, or a better suite than ever: to be kept for good. False: dead already. */
static bool remember_server(struct client_handshake *h)
{
    const struct expected_server *e = h->config.expected;

    if (e->present && h->suite <= e->suite)
        return true;
    if (h->sink.remember(h->sink.arg, h->server, h->suite) == OK)
        return true;
    die(h, END_KNOWN_SERVER_IO, CLOSE_INTERNAL, "internal error",
        "the server's identity could not be stored");
    return false;
}

static void on_server_finished(struct client_handshake *h, const uint8_t *message, size_t len, uint64_t now)
{
    uint8_t out[FINISHED_BYTES];

    (void)now;
    if (finished_open(&h->session, DIRECTION_S2C, &h->half.transcript, message, len) != OK) {
        die(h, END_BAD_TAG, CLOSE_PROTOCOL, "handshake refused", "SERVER_FINISHED is wrong");
        return;
    }
    /* Another connection may have met the first server in the meantime. */
    if (!server_is_expected(h) || !remember_server(h))
        return;
    if (finished_seal(&h->session, DIRECTION_C2S, &h->half.transcript, out) != OK) {
        die_internal(h, "cannot make CLIENT_FINISHED");
        return;
    }
    const struct handshake_result result = {
        .fingerprint = h->server,
        .suite = h->suite,
        .max_record = h->max_record,
        .traffic = h->session.traffic,
    };
    h->state = CLIENT_OPEN;
    h->deadline = 0;
    h->sink.send(h->sink.arg, out, sizeof out);
    tell(h, VERDICT_APPROVED, REFUSAL_NONE, 0, 0);
    h->sink.opened(h->sink.arg, &result);
    /* The session has them now; here only the rekey secret and the transcript stay. */
    OPENSSL_cleanse(h->session.traffic, sizeof h->session.traffic);
    OPENSSL_cleanse(h->session.finished, sizeof h->session.finished);
}

/* ---- events ---- */

static const struct transition {
    enum client_state state;
    uint8_t type;
    void (*handle)(struct client_handshake *h, const uint8_t *message, size_t len, uint64_t now);
} transitions[] = {
    {CLIENT_WAITING, HS_SERVER_HELLO, on_server_hello},
    {CLIENT_PROVEN, HS_PENDING, on_pending},
    {CLIENT_PROVEN, HS_GRANT, on_grant},
    {CLIENT_PROVEN, HS_DECLINED, on_declined},
    {CLIENT_PENDING, HS_PENDING, on_pending},
    {CLIENT_PENDING, HS_GRANT, on_grant},
    {CLIENT_PENDING, HS_DECLINED, on_declined},
    {CLIENT_GRANTED, RECORD_TYPE, on_server_finished},
};

void client_handshake_receive(struct client_handshake *h, const uint8_t *message, size_t len, uint64_t now)
{
    struct hs_header header;

    if (h->state == CLIENT_DEAD || h->state == CLIENT_OPEN)
        return;
    /* A record has a header of its own; everything else has the handshake's. */
    uint8_t type = len > 0 ? message[0] : 0;
    if (type != RECORD_TYPE && hs_header_read(message, len, &header) != OK) {
        die_protocol(h, "message with a malformed header: not a wormhole server, or another version");
        return;
    }
    for (size_t i = 0; i < sizeof transitions / sizeof transitions[0]; i++) {
        if (transitions[i].state == h->state && transitions[i].type == type) {
            transitions[i].handle(h, message, len, now);
            ERR_clear_error();
            return;
        }
    }
    die_protocol(h, "message that does not belong in this state");
}

uint64_t client_handshake_next(const struct client_handshake *h)
{
    return h->deadline != 0 ? h->deadline : UINT64_MAX;
}

void client_handshake_tick(struct client_handshake *h, uint64_t now)
{
    if (h->deadline != 0 && now >= h->deadline)
        die(h, END_TIMEOUT, CLOSE_TIMEOUT, "handshake took too long",
            h->state == CLIENT_PENDING ? "the server has fallen silent" : "no answer from the server");
}
