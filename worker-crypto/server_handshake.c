/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's end of the handshake. What may come in which state is the table `transitions`; everything else
 * is fatal. A client is asked about only after its proof of possession, and gets keys only after the
 * supervisor's word.
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "worker-crypto/handshake_private.h"
#include "worker-crypto/kem.h"
#include "worker-crypto/rsa_key.h"

enum server_state {
    SERVER_IDLE,    /* the upgrade is not done yet */
    SERVER_GREETED, /* SERVER_HELLO is out */
    SERVER_ASKED,   /* CLIENT_HELLO is proven; no word of the supervisor yet */
    SERVER_PENDING, /* a person decides */
    SERVER_GRANTED, /* GRANT and SERVER_FINISHED are out */
    SERVER_OPEN,
    SERVER_DEAD,
};

struct server_handshake {
    const struct server_config *config;
    struct handshake_sink sink;
    enum server_state state;
    EVP_PKEY *share, *kem; /* ephemeral; gone with CLIENT_HELLO */
    struct handshake_half half;
    struct session_secrets session;
    struct rsa_public peer;
    struct client_proof proof; /* its views are not valid after the call that read it */
    uint8_t suite;
    uint8_t request[HS_REQUEST];
    uint64_t deadline, heartbeat, ask_again; /* monotonic ms; 0: none */
    uint8_t spki[RSA_SPKI_MAX];              /* to ask again with */
    size_t spki_len;
    char pairing[PAIRING_CODE_TEXT + 1];
};

struct server_handshake *server_handshake_new(const struct server_config *config,
                                              const struct handshake_sink *sink)
{
    struct server_handshake *h = calloc(1, sizeof *h);

    if (h == NULL)
        return NULL;
    h->config = config;
    h->sink = *sink;
    return h;
}

/* Everything that only a handshake under way needs. */
static void forget_half(struct server_handshake *h)
{
    EVP_PKEY_free(h->share);
    EVP_PKEY_free(h->kem);
    h->share = h->kem = NULL;
    OPENSSL_cleanse(&h->half.secrets, sizeof h->half.secrets);
}

void server_handshake_free(struct server_handshake *h)
{
    if (h == NULL)
        return;
    forget_half(h);
    rsa_public_clear(&h->peer);
    OPENSSL_cleanse(h, sizeof *h);
    free(h);
}

static void die(struct server_handshake *h, enum end_code code, uint16_t close_code, const char *reason,
                const char *detail)
{
    const struct handshake_failure failure = {code, close_code, reason, detail};

    ERR_clear_error();
    forget_half(h);
    OPENSSL_cleanse(&h->session, sizeof h->session);
    h->state = SERVER_DEAD;
    h->deadline = h->heartbeat = h->ask_again = 0;
    h->sink.failed(h->sink.arg, &failure);
}

static void die_protocol(struct server_handshake *h, const char *detail)
{
    die(h, END_PROTOCOL, CLOSE_PROTOCOL, "handshake refused", detail);
}

static void die_internal(struct server_handshake *h, const char *detail)
{
    die(h, END_INTERNAL, CLOSE_INTERNAL, "internal error", detail);
}

static void step_deadline(struct server_handshake *h, uint64_t now)
{
    h->deadline = now + h->config->common.step_ms;
}

static enum status draw(struct server_handshake *h, uint8_t *out, size_t len)
{
    return h->config->common.random(h->config->common.random_arg, out, len);
}

/* ---- SERVER_HELLO ---- */

static enum status make_shares(struct server_handshake *h, uint8_t share[X25519_BYTES], uint8_t *kem_key)
{
    uint8_t private_bytes[X25519_BYTES], seed[KEM_SEED];

    enum status s = draw(h, private_bytes, sizeof private_bytes);
    if (s == OK)
        s = x25519_new(private_bytes, &h->share, share);
    OPENSSL_cleanse(private_bytes, sizeof private_bytes);
    if (s == OK && (h->config->common.suites & SUITE_BIT(SUITE_X25519_MLKEM768)) != 0) {
        s = draw(h, seed, sizeof seed);
        if (s == OK)
            s = kem_new(seed, &h->kem, kem_key);
        OPENSSL_cleanse(seed, sizeof seed);
    }
    return s;
}

static enum status make_hello(struct server_handshake *h, uint8_t *out, size_t *len)
{
    uint8_t share[X25519_BYTES], nonce[HS_NONCE], kem_key[KEM_PUBLIC], digest[HASH_BYTES];
    uint8_t *body = out + HS_HEADER;
    size_t body_len = HS_MESSAGE_MAX - HS_HEADER - ED25519_SIGNATURE;

    enum status s = make_shares(h, share, kem_key);
    if (s == OK)
        s = draw(h, nonce, sizeof nonce);
    if (s != OK)
        return s;
    const struct server_hello hello = {
        .suites = h->config->common.suites,
        .max_record = h->config->common.max_record,
        .identity = h->config->public_key,
        .share = share,
        .nonce = nonce,
        .kem_key = {kem_key, h->kem != NULL ? KEM_PUBLIC : 0},
    };
    s = server_hello_write(&hello, body, &body_len);
    if (s == OK)
        s = transcript_init(&h->half.transcript);
    if (s != OK)
        return s;
    hs_header_write(out, HS_SERVER_HELLO, body_len + ED25519_SIGNATURE);
    s = transcript_peek(&h->half.transcript, out, HS_HEADER, body, body_len, digest);
    if (s == OK)
        s = ed25519_sign(h->config->identity, LABEL_SERVER_HELLO, digest, body + body_len);
    if (s == OK)
        s = transcript_add(&h->half.transcript, out, HS_HEADER, body, body_len + ED25519_SIGNATURE);
    if (s == OK)
        *len = HS_HEADER + body_len + ED25519_SIGNATURE;
    return s;
}

void server_handshake_start(struct server_handshake *h, uint64_t now)
{
    uint8_t message[HS_MESSAGE_MAX];
    size_t len;

    if (h->state != SERVER_IDLE)
        return;
    if (make_hello(h, message, &len) != OK) {
        die_internal(h, "cannot make SERVER_HELLO");
        return;
    }
    h->state = SERVER_GREETED;
    step_deadline(h, now);
    h->sink.send(h->sink.arg, message, len);
}

/* ---- CLIENT_HELLO ---- */

/* The shared secret of the suite, and from it the handshake keys. */
static enum status derive_handshake(struct server_handshake *h, const struct client_hello *hello,
                                    const uint8_t tc[HASH_BYTES])
{
    uint8_t shared[SHARED_MAX];
    size_t len = 0;
    enum status s = OK;

    if (hello->suite == SUITE_X25519_MLKEM768) {
        s = kem_decapsulate(h->kem, hello->kem_ciphertext.data, shared);
        len = KEM_SECRET;
    }
    if (s == OK)
        s = x25519_derive(h->share, hello->share, shared + len);
    if (s == OK)
        s = schedule_handshake(tc, shared, len + X25519_BYTES, &h->half.secrets);
    OPENSSL_cleanse(shared, sizeof shared);
    EVP_PKEY_free(h->share);
    EVP_PKEY_free(h->kem);
    h->share = h->kem = NULL;
    return s;
}

/* Opens the sealed part in place behind the clear one: `body` becomes the plain body, *len its length. */
static enum status open_hello(struct server_handshake *h, const uint8_t *header, uint8_t *body, size_t *len,
                              const struct client_hello *hello)
{
    const struct seal_key *k = &h->half.secrets.keys[DIRECTION_C2S];
    size_t clear = hello->clear_len;
    uint8_t tc[HASH_BYTES];

    enum status s = transcript_peek(&h->half.transcript, header, HS_HEADER, body, clear, tc);
    if (s == OK)
        s = derive_handshake(h, hello, tc);
    if (s == OK)
        s = aead_open(k->key, k->iv, h->half.secrets.sequence[DIRECTION_C2S], tc, sizeof tc, body + clear,
                      *len - clear, body + clear);
    if (s != OK)
        return s;
    h->half.secrets.sequence[DIRECTION_C2S]++;
    *len -= AEAD_TAG;
    return OK;
}

/*
 * Key and proof, in the order of docs/protocol.md: what a stranger can make us do for nothing comes first,
 * what costs us most comes last.
 */
static enum status check_key(struct server_handshake *h, const uint8_t pop[HASH_BYTES], const char **why)
{
    const struct client_proof *p = &h->proof;

    enum status s = rsa_public_read(p->spki.data, p->spki.len, &h->peer, why);
    if (s == OK &&
        pss_verify(h->peer.key, LABEL_CLIENT_POP, pop, p->signature.data, p->signature.len) != OK) {
        *why = "the proof of possession of the RSA key is wrong";
        s = ERR_AUTH;
    }
    if (s == OK)
        s = rsa_public_check_fully(&h->peer, p->spki.data, p->spki.len, why);
    return s;
}

static void ask(struct server_handshake *h)
{
    const struct handshake_peer peer = {
        .fingerprint = h->peer.fingerprint,
        .spki = {h->spki, h->spki_len},
        .bits = h->peer.bits,
        .proof = &h->proof,
        .suite = h->suite,
        .request = h->request,
        .pairing_code = h->pairing,
    };
    h->sink.ask(h->sink.arg, &peer);
}

static void on_client_hello(struct server_handshake *h, const uint8_t *message, size_t len, uint64_t now)
{
    uint8_t body[HS_MESSAGE_MAX], pop[HASH_BYTES];
    struct client_hello hello;
    const char *why = "RSA key";
    size_t body_len = len - HS_HEADER;

    memcpy(body, message + HS_HEADER, body_len);
    if (client_hello_read(body, body_len, &hello) != OK) {
        die_protocol(h, "CLIENT_HELLO is malformed");
        return;
    }
    if ((h->config->common.suites & SUITE_BIT(hello.suite)) == 0) {
        die_protocol(h, "CLIENT_HELLO takes a suite that was not offered");
        return;
    }
    if (open_hello(h, message, body, &body_len, &hello) != OK) {
        die_protocol(h, "CLIENT_HELLO does not open");
        return;
    }
    if (client_proof_read(body + hello.clear_len, body_len - hello.clear_len, &h->proof) != OK) {
        die_protocol(h, "the sealed part of CLIENT_HELLO is malformed");
        return;
    }
    enum status s = transcript_peek(&h->half.transcript, message, HS_HEADER, body,
                                    hello.clear_len + h->proof.unsigned_len, pop);
    if (s == OK)
        s = check_key(h, pop, &why);
    if (s == ERR_FORMAT || s == ERR_AUTH) {
        die(h, END_BAD_KEY, CLOSE_PROTOCOL, "key refused", why);
        return;
    }
    if (s == OK)
        s = transcript_add(&h->half.transcript, message, HS_HEADER, body, body_len);
    if (s == OK)
        s = draw(h, h->request, sizeof h->request);
    if (s == OK)
        s = pairing_code(h->config->fingerprint, h->peer.fingerprint, h->pairing);
    if (s != OK) {
        die_internal(h, "CLIENT_HELLO could not be worked on");
        return;
    }
    h->suite = hello.suite;
    h->spki_len = h->proof.spki.len; /* rsa_public_read() accepts only what fits */
    memcpy(h->spki, h->proof.spki.data, h->spki_len);
    h->proof.spki = h->proof.signature = (struct view){NULL, 0};
    h->state = SERVER_ASKED;
    step_deadline(h, now);
    ask(h);
}

/* ---- verdicts ---- */

static void send_sealed(struct server_handshake *h, uint8_t type, const uint8_t *plain, size_t plain_len)
{
    uint8_t message[HS_MESSAGE_MAX];
    size_t len;

    if (sealed_write(&h->half, type, plain, plain_len, message, &len) == OK)
        h->sink.send(h->sink.arg, message, len);
    else
        die_internal(h, "cannot seal a message");
}

static void send_pending(struct server_handshake *h, uint64_t now)
{
    struct pending pending = {.state = HS_PENDING_WAITING};
    uint8_t plain[64];
    size_t len = sizeof plain;

    pending.ttl_s = h->deadline > now ? (uint32_t)((h->deadline - now + 999) / 1000) : 0;
    memcpy(pending.request, h->request, HS_REQUEST);
    h->heartbeat = now + h->config->common.heartbeat_ms;
    if (pending_write(&pending, plain, &len) == OK)
        send_sealed(h, HS_PENDING, plain, len);
    else
        die_internal(h, "cannot write PENDING");
}

static void on_pending(struct server_handshake *h, uint32_t ttl_s, uint64_t now)
{
    h->state = SERVER_PENDING;
    h->deadline = now + (uint64_t)ttl_s * 1000;
    h->ask_again = now + (uint64_t)ttl_s * 500; /* half of it: renewed long before it ends */
    h->sink.wait(h->sink.arg, ttl_s);
    send_pending(h, now);
}

static void on_declined(struct server_handshake *h, uint16_t code, uint32_t retry_after_s)
{
    const struct declined declined = {code, retry_after_s};
    uint8_t plain[16];
    size_t len = sizeof plain;
    bool busy = code == REFUSAL_BUSY || code == REFUSAL_EXPIRED;

    if (declined_write(&declined, plain, &len) == OK)
        send_sealed(h, HS_DECLINED, plain, len);
    if (h->state != SERVER_DEAD)
        die(h, END_DECLINED, busy ? CLOSE_BUSY : CLOSE_DECLINED, busy ? "come back later" : "declined",
            code == REFUSAL_EXPIRED ? "nobody decided in time" : "declined by the supervisor");
}

/* The body of GRANT: wrapped key, parameters, signature. */
static enum status make_grant(struct server_handshake *h, const uint8_t aes_key[AES_KEY_BYTES],
                              uint8_t *plain, size_t *len)
{
    uint8_t wrapped[RSA_MODULUS_MAX], header[HS_HEADER], digest[HASH_BYTES];
    size_t wrapped_len = sizeof wrapped;

    enum status s = oaep_wrap(h->peer.key, h->half.transcript.hash, aes_key, wrapped, &wrapped_len);
    if (s != OK)
        return s;
    const uint32_t own = h->config->common.max_record;
    const struct grant grant = {
        .wrapped = {wrapped, wrapped_len},
        .max_record = h->proof.max_record < own ? h->proof.max_record : own,
    };
    s = grant_write(&grant, plain, len);
    if (s != OK)
        return s;
    hs_header_write(header, HS_GRANT, *len + ED25519_SIGNATURE + AEAD_TAG);
    s = transcript_peek(&h->half.transcript, header, HS_HEADER, plain, *len, digest);
    if (s == OK)
        s = ed25519_sign(h->config->identity, LABEL_SERVER_GRANT, digest, plain + *len);
    if (s == OK)
        *len += ED25519_SIGNATURE;
    return s;
}

static void on_approved(struct server_handshake *h, uint64_t now)
{
    uint8_t plain[RSA_MODULUS_MAX + ED25519_SIGNATURE + 16], aes_key[AES_KEY_BYTES];
    uint8_t message[HS_MESSAGE_MAX], finished[FINISHED_BYTES];
    size_t plain_len = sizeof plain - ED25519_SIGNATURE, len = 0;

    enum status s = draw(h, aes_key, sizeof aes_key);
    if (s == OK)
        s = make_grant(h, aes_key, plain, &plain_len);
    if (s == OK)
        s = sealed_write(&h->half, HS_GRANT, plain, plain_len, message, &len);
    if (s == OK)
        s = schedule_session(h->half.secrets.root, h->half.transcript.hash, aes_key, &h->session);
    if (s == OK)
        s = finished_seal(&h->session, DIRECTION_S2C, &h->half.transcript, finished);
    OPENSSL_cleanse(aes_key, sizeof aes_key);
    if (s != OK) {
        die_internal(h, "cannot make GRANT");
        return;
    }
    forget_half(h);
    h->state = SERVER_GRANTED;
    h->heartbeat = h->ask_again = 0;
    step_deadline(h, now);
    h->sink.send(h->sink.arg, message, len);
    h->sink.send(h->sink.arg, finished, sizeof finished);
}

bool server_handshake_answer(struct server_handshake *h, const uint8_t fingerprint[HASH_BYTES],
                             enum verdict verdict, uint16_t code, uint32_t ttl_s, uint32_t retry_after_s,
                             uint64_t now)
{
    if ((h->state != SERVER_ASKED && h->state != SERVER_PENDING) ||
        CRYPTO_memcmp(h->peer.fingerprint, fingerprint, HASH_BYTES) != 0)
        return false;
    switch (verdict) {
    case VERDICT_PENDING: on_pending(h, ttl_s, now); return true;
    case VERDICT_APPROVED: on_approved(h, now); return true;
    case VERDICT_DECLINED: on_declined(h, code, retry_after_s); return true;
    }
    return false;
}

/* ---- CLIENT_FINISHED ---- */

static void on_client_finished(struct server_handshake *h, const uint8_t *message, size_t len, uint64_t now)
{
    (void)now;
    if (finished_open(&h->session, DIRECTION_C2S, &h->half.transcript, message, len) != OK) {
        die(h, END_BAD_TAG, CLOSE_PROTOCOL, "handshake refused", "CLIENT_FINISHED is wrong");
        return;
    }
    const uint32_t own = h->config->common.max_record;
    const struct handshake_result result = {
        .fingerprint = h->peer.fingerprint,
        .suite = h->suite,
        .max_record = h->proof.max_record < own ? h->proof.max_record : own,
        .traffic = h->session.traffic,
    };
    h->state = SERVER_OPEN;
    h->deadline = 0;
    h->sink.opened(h->sink.arg, &result);
    /* The session has them now; here only the rekey secret and the transcript stay. */
    OPENSSL_cleanse(h->session.traffic, sizeof h->session.traffic);
    OPENSSL_cleanse(h->session.finished, sizeof h->session.finished);
    rsa_public_clear(&h->peer);
}

/* ---- events ---- */

static const struct transition {
    enum server_state state;
    uint8_t type;
    void (*handle)(struct server_handshake *h, const uint8_t *message, size_t len, uint64_t now);
} transitions[] = {
    {SERVER_GREETED, HS_CLIENT_HELLO, on_client_hello},
    {SERVER_GRANTED, RECORD_TYPE, on_client_finished},
};

void server_handshake_receive(struct server_handshake *h, const uint8_t *message, size_t len, uint64_t now)
{
    struct hs_header header;

    if (h->state == SERVER_DEAD || h->state == SERVER_OPEN)
        return;
    /* A record has a header of its own; everything else has the handshake's. */
    uint8_t type = len > 0 ? message[0] : 0;
    if (type != RECORD_TYPE && hs_header_read(message, len, &header) != OK) {
        die_protocol(h, "message with a malformed header");
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

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return b != 0 && b < a ? b : a;
}

uint64_t server_handshake_next(const struct server_handshake *h)
{
    return earlier(earlier(earlier(UINT64_MAX, h->deadline), h->heartbeat), h->ask_again);
}

void server_handshake_tick(struct server_handshake *h, uint64_t now)
{
    if (h->deadline != 0 && now >= h->deadline) {
        if (h->state == SERVER_PENDING)
            on_declined(h, REFUSAL_EXPIRED, PENDING_RETRY_S);
        else
            die(h, END_TIMEOUT, CLOSE_TIMEOUT, "handshake took too long",
                h->state == SERVER_ASKED ? "no answer from the supervisor" : "no answer from the client");
        return;
    }
    if (h->state != SERVER_PENDING)
        return;
    if (h->ask_again != 0 && now >= h->ask_again) {
        h->ask_again = 0;
        ask(h);
    }
    if (h->heartbeat != 0 && now >= h->heartbeat)
        send_pending(h, now);
}
