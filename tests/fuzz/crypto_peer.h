/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile other end for the fuzzers: it can do the cryptography right, so that what the fuzzer invents
 * reaches the code behind signatures and tags. Shared by fuzz_handshake_server.c and fuzz_handshake_client.c.
 */
#ifndef WORMHOLE_TESTS_FUZZ_CRYPTO_PEER_H
#define WORMHOLE_TESTS_FUZZ_CRYPTO_PEER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/pem.h>

#include "worker-crypto/handshake_private.h"
#include "worker-crypto/rsa_key.h"

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            abort();                                                                                         \
    } while (0)

/* What a machine said last, and how often it came to each end. */
struct heard {
    uint8_t message[HS_MESSAGE_MAX];
    size_t len;
    uint8_t previous[HS_MESSAGE_MAX]; /* the one before */
    size_t previous_len;
    unsigned sent, asked, opened, failed, remembered;
    uint8_t fingerprint[HASH_BYTES];
};

static inline void heard_send(void *arg, const uint8_t *message, size_t len)
{
    struct heard *h = arg;
    CHECK(len <= HS_MESSAGE_MAX && h->failed == 0);
    memcpy(h->previous, h->message, h->len);
    h->previous_len = h->len;
    memcpy(h->message, message, len);
    h->len = len;
    h->sent++;
}

static inline void heard_wait(void *arg, uint32_t ttl_s)
{
    (void)arg;
    (void)ttl_s;
}

static inline void heard_ask(void *arg, const struct handshake_peer *peer)
{
    struct heard *h = arg;
    h->asked++;
    CHECK(name_is_valid(peer->proof->name) && rsa_bits_allowed(peer->bits));
    memcpy(h->fingerprint, peer->fingerprint, HASH_BYTES);
}

static inline void heard_pairing(void *arg, const struct handshake_pairing *news)
{
    (void)arg;
    CHECK(news->verdict >= VERDICT_PENDING && news->verdict <= VERDICT_DECLINED);
}

static inline enum status heard_remember(void *arg, const uint8_t fingerprint[HASH_BYTES], uint8_t suite)
{
    struct heard *h = arg;
    (void)fingerprint;
    (void)suite;
    h->remembered++;
    return OK;
}

static inline void heard_opened(void *arg, const struct handshake_result *result)
{
    struct heard *h = arg;
    CHECK(result->max_record >= RECORD_PLAIN_MIN && result->max_record <= RECORD_PLAIN_MAX);
    h->opened++;
}

static inline void heard_failed(void *arg, const struct handshake_failure *failure)
{
    struct heard *h = arg;
    CHECK(h->failed++ == 0 && strlen(failure->reason) <= 123);
}

static inline struct handshake_sink heard_sink(struct heard *h)
{
    return (struct handshake_sink){.send = heard_send,
                                   .wait = heard_wait,
                                   .ask = heard_ask,
                                   .pairing = heard_pairing,
                                   .remember = heard_remember,
                                   .opened = heard_opened,
                                   .failed = heard_failed,
                                   .arg = h};
}

/* The same input must do the same each time. */
static inline enum status counted_draw(void *arg, uint8_t *out, size_t len)
{
    static uint8_t next = 1;
    (void)arg;
    memset(out, next++, len);
    return OK;
}

static inline EVP_PKEY *test_rsa_key(void)
{
    static EVP_PKEY *key;
    if (key == NULL) {
        FILE *f = fopen(WORMHOLE_VECTORS "/client_rsa.pem", "re");
        CHECK(f != NULL);
        key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
        (void)fclose(f);
        CHECK(key != NULL);
    }
    return key;
}

static inline EVP_PKEY *test_ed25519_key(uint8_t public_key[ED25519_PUBLIC])
{
    static const uint8_t seed[32] = {42};
    static EVP_PKEY *key;
    size_t len = ED25519_PUBLIC;
    if (key == NULL)
        key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof seed);
    CHECK(key != NULL && EVP_PKEY_get_raw_public_key(key, public_key, &len) == 1);
    return key;
}

static inline struct handshake_common test_common(void)
{
    return (struct handshake_common){.suites = SUITE_BIT(SUITE_X25519),
                                     .max_record = 32768,
                                     .step_ms = 10000,
                                     .heartbeat_ms = 10000,
                                     .random = counted_draw};
}

#endif
