/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Help for the tests of worker-crypto: vectors from tests/vectors/, fixed randomness, and a pair of handshake
 * machines whose every word is recorded. Asserts; must not contain a test.
 */
#ifndef WORMHOLE_TESTS_CRYPTO_SUPPORT_H
#define WORMHOLE_TESTS_CRYPTO_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "worker-crypto/handshake.h"
#include "worker-crypto/rsa_key.h"

/* A file of tests/vectors/; fails the test when it cannot be read. */
json_t *vectors_load(const char *file);
/* The text at a path like "messages/grant". */
const char *vectors_text(const json_t *root, const char *path);
/* Hexadecimal at a path into out; returns the size. */
size_t vectors_bytes(const json_t *root, const char *path, uint8_t *out, size_t cap);
size_t hex_bytes(const char *hex, uint8_t *out, size_t cap);

/* The RSA key that vectors are made with. */
EVP_PKEY *vectors_client_key(void);
EVP_PKEY *ed25519_key(const uint8_t seed[32]);

/* From now on the library's own random bytes (PSS salt, OAEP seed) are all `byte`; undone by
 * library_random_real(). */
void library_random_fixed(uint8_t byte);
void library_random_real(void);

/* A random_source that hands out prepared bytes in order, and fails at the end. */
struct scripted_random {
    const uint8_t *data;
    size_t len, at;
};
enum status scripted_draw(void *arg, uint8_t *out, size_t len);
/* One that fails at its nth call (0: never) and is real otherwise. */
struct failing_random {
    unsigned calls, fail_at;
};
enum status failing_draw(void *arg, uint8_t *out, size_t len);

/* What a machine said through its sink. */
struct spoken {
    uint8_t sent[8][HS_MESSAGE_MAX];
    size_t sent_len[8];
    unsigned n_sent, n_wait, n_ask, n_pairing, n_remember, n_opened, n_failed;
    uint32_t ttl_s;
    uint8_t fingerprint[HASH_BYTES], request[HS_REQUEST]; /* of ask */
    uint8_t spki[RSA_SPKI_MAX];
    size_t spki_len;
    char name[64], pairing[32], reason[128], detail[256];
    unsigned bits;
    uint8_t slot, instance[HS_INSTANCE];
    enum verdict verdict;
    uint16_t code;
    uint32_t retry_after_s;
    enum status remember_result;
    uint8_t remembered[HASH_BYTES], remembered_suite;
    uint8_t opened_fingerprint[HASH_BYTES];
    uint32_t max_record;
    struct seal_key traffic[2];
    enum end_code end;
    uint16_t close_code;
};
struct handshake_sink spoken_sink(struct spoken *s);

/* Both machines with everything that they need. */
struct ends {
    struct server_config server_config;
    struct client_config client_config;
    struct expected_server expected;
    EVP_PKEY *identity, *key;
    uint8_t identity_public[32], identity_fingerprint[32], key_fingerprint[32];
    uint8_t spki[RSA_SPKI_MAX];
    size_t spki_len;
    struct server_handshake *server;
    struct client_handshake *client;
    struct spoken up, down; /* server's, client's */
};
void ends_open(struct ends *e);
void ends_close(struct ends *e);
/* Fresh machines with the same keys. */
void ends_restart(struct ends *e);
/* SERVER_HELLO and CLIENT_HELLO have gone through; the server has asked. */
void ends_ask(struct ends *e, uint64_t now);

#endif
