/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as each handshake message, as an RSA key and as the memory of a server. The first byte chooses
 * which. What is read must come out the same when it is written again, and views must lie inside the input.
 */
#include <stdlib.h>
#include <string.h>

#include "worker-crypto/hs_message.h"
#include "worker-crypto/known_server.h"
#include "worker-crypto/rsa_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            abort();                                                                                         \
    } while (0)

static uint8_t out[2 * HS_MESSAGE_MAX];

static bool inside(const uint8_t *data, size_t size, const uint8_t *p, size_t n)
{
    return n == 0 || (p >= data && p <= data + size && n <= (size_t)(data + size - p));
}

static void fuzz_server_hello(const uint8_t *d, size_t n)
{
    struct server_hello m, again;
    size_t len = sizeof out - ED25519_SIGNATURE;
    if (server_hello_read(d, n, &m) != OK)
        return;
    CHECK(inside(d, n, m.identity, 32) && inside(d, n, m.share, 32) && inside(d, n, m.nonce, 32));
    CHECK(inside(d, n, m.kem_key.data, m.kem_key.len) && inside(d, n, m.signature, 64));
    CHECK(m.unsigned_len + ED25519_SIGNATURE == n);
    CHECK(server_hello_write(&m, out, &len) == OK);
    if (m.suites == 0)
        return; /* only unknown ones were listed; we would not write that */
    memcpy(out + len, m.signature, ED25519_SIGNATURE);
    CHECK(server_hello_read(out, len + ED25519_SIGNATURE, &again) == OK);
    CHECK(again.suites == m.suites && again.max_record == m.max_record &&
          again.capabilities == m.capabilities);
}

static void fuzz_client_hello(const uint8_t *d, size_t n)
{
    struct client_hello m;
    size_t len = sizeof out;
    if (client_hello_read(d, n, &m) != OK)
        return;
    CHECK(m.clear_len + AEAD_TAG < n && inside(d, n, m.kem_ciphertext.data, m.kem_ciphertext.len));
    CHECK(client_hello_write(&m, out, &len) == OK && len == m.clear_len && memcmp(out, d, len) == 0);
}

static void fuzz_client_proof(const uint8_t *d, size_t n)
{
    struct client_proof m;
    size_t len = sizeof out;
    if (client_proof_read(d, n, &m) != OK)
        return;
    CHECK(name_is_valid(m.name) && m.slot < HS_SLOTS);
    CHECK(inside(d, n, m.spki.data, m.spki.len) && inside(d, n, m.signature.data, m.signature.len));
    CHECK(m.unsigned_len + m.signature.len == n);
    CHECK(client_proof_write(&m, out, &len) == OK && len == m.unsigned_len && memcmp(out, d, len) == 0);
}

static void fuzz_answers(uint8_t which, const uint8_t *d, size_t n)
{
    struct pending pending;
    struct grant grant;
    struct declined declined;
    size_t len = sizeof out;
    if (which == 0 && pending_read(d, n, &pending) == OK)
        CHECK(pending_write(&pending, out, &len) == OK && len == n && memcmp(out, d, n) == 0);
    if (which == 1 && grant_read(d, n, &grant) == OK)
        CHECK(grant_write(&grant, out, &len) == OK && len == grant.unsigned_len && memcmp(out, d, len) == 0);
    if (which == 2 && declined_read(d, n, &declined) == OK)
        CHECK(declined_write(&declined, out, &len) == OK && len == n && memcmp(out, d, n) == 0);
}

static void fuzz_rsa_key(const uint8_t *d, size_t n)
{
    struct rsa_public key = {0};
    const char *why = NULL;
    if (rsa_public_read(d, n, &key, &why) == OK) {
        CHECK(rsa_bits_allowed(key.bits) && key.key != NULL);
        size_t len = sizeof out;
        CHECK(rsa_spki_write(key.key, out, &len) == OK && len == n && memcmp(out, d, n) == 0);
        rsa_public_clear(&key);
    } else {
        CHECK(why != NULL && key.key == NULL);
    }
}

static void fuzz_known_server(const uint8_t *d, size_t n)
{
    struct known_server known;
    char text[KNOWN_SERVER_MAX];
    if (known_server_parse((const char *)d, n, &known) != OK)
        return;
    known_server_format(&known, text);
    CHECK(strlen(text) == n && memcmp(text, d, n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t nothing[1];
    struct hs_header header;

    if (size == 0)
        return 0;
    CHECK(primitives_open() == OK);
    const uint8_t *d = size > 1 ? data + 1 : nothing;
    size_t n = size - 1;
    switch (data[0] % 8) {
    case 0:
        if (hs_header_read(d, n, &header) == OK)
            CHECK(header.length == n - HS_HEADER && n <= HS_MESSAGE_MAX);
        break;
    case 1: fuzz_server_hello(d, n); break;
    case 2: fuzz_client_hello(d, n); break;
    case 3: fuzz_client_proof(d, n); break;
    case 4: fuzz_answers(data[0] / 8 % 3, d, n); break;
    case 5: fuzz_rsa_key(d, n); break;
    default: fuzz_known_server(d, n); break;
    }
    return 0;
}
