/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's end of the handshake against a hostile client. The first byte says how far the client plays by
 * the rules before the fuzzer's bytes are used: as the first message; as the sealed part of CLIENT_HELLO,
 * with or without a right signature; as what comes while the server waits for a verdict; as CLIENT_FINISHED.
 */
#include "tests/fuzz/crypto_peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAW, SEALED, SEALED_AND_SIGNED, WHILE_ASKED, WHILE_PENDING, FINISHED, MODES };

static struct server_config config;
static uint8_t public_key[ED25519_PUBLIC], fingerprint[HASH_BYTES], spki[RSA_SPKI_MAX];
static size_t spki_len = sizeof spki;

static void open_once(void)
{
    if (config.identity != NULL)
        return;
    CHECK(primitives_open() == OK);
    config = (struct server_config){.common = test_common(),
                                    .identity = test_ed25519_key(public_key),
                                    .public_key = public_key,
                                    .fingerprint = fingerprint};
    CHECK(ed25519_fingerprint(public_key, fingerprint) == OK);
    CHECK(rsa_spki_write(test_rsa_key(), spki, &spki_len) == OK);
}

/* CLIENT_HELLO around a part that the fuzzer made; sign: a right proof is appended. Returns its length. */
static size_t hello_around(const uint8_t *hello, size_t hello_len, const uint8_t *part, size_t len, bool sign,
                           uint8_t *out)
{
    static const uint8_t private_bytes[X25519_BYTES] = {9};
    uint8_t share[X25519_BYTES], shared[X25519_BYTES], tc[HASH_BYTES], digest[HASH_BYTES],
        *body = out + HS_HEADER;
    struct server_hello server;
    struct handshake_secrets secrets;
    struct transcript t;
    EVP_PKEY *key = NULL;
    size_t clear = HS_MESSAGE_MAX - HS_HEADER, signature = RSA_MODULUS_MAX;

    CHECK(server_hello_read(hello + HS_HEADER, hello_len - HS_HEADER, &server) == OK);
    CHECK(transcript_init(&t) == OK &&
          transcript_add(&t, hello, HS_HEADER, hello + HS_HEADER, hello_len - HS_HEADER) == OK);
    CHECK(x25519_new(private_bytes, &key, share) == OK && x25519_derive(key, server.share, shared) == OK);
    EVP_PKEY_free(key);
    const struct client_hello h = {.suite = SUITE_X25519, .share = share, .nonce = share};
    CHECK(client_hello_write(&h, body, &clear) == OK);
    if (len > HS_MESSAGE_MAX - HS_HEADER - clear - RSA_MODULUS_MAX - AEAD_TAG)
        len = HS_MESSAGE_MAX - HS_HEADER - clear - RSA_MODULUS_MAX - AEAD_TAG;
    memcpy(body + clear, part, len);
    hs_header_write(out, HS_CLIENT_HELLO, clear + len + (sign ? 256 : 0) + AEAD_TAG);
    CHECK(transcript_peek(&t, out, HS_HEADER, body, clear, tc) == OK);
    CHECK(schedule_handshake(tc, shared, sizeof shared, &secrets) == OK);
    if (sign) {
        CHECK(transcript_peek(&t, out, HS_HEADER, body, clear + len, digest) == OK);
        CHECK(pss_sign(test_rsa_key(), LABEL_CLIENT_POP, digest, body + clear + len, &signature) == OK);
        len += signature;
    }
    CHECK(aead_seal(secrets.keys[0].key, secrets.keys[0].iv, 0, tc, sizeof tc, body + clear, len,
                    body + clear) == OK);
    return HS_HEADER + clear + len + AEAD_TAG;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct heard heard;
    static uint8_t message[HS_MESSAGE_MAX], part[HS_MESSAGE_MAX];
    struct handshake_sink sink = heard_sink(&heard);

    if (size == 0 || size > HS_MESSAGE_MAX)
        return 0;
    open_once();
    memset(&heard, 0, sizeof heard);
    struct server_handshake *h = server_handshake_new(&config, &sink);
    CHECK(h != NULL);
    unsigned mode = data[0] % MODES;
    data++;
    size--;
    server_handshake_start(h, 0);
    CHECK(heard.sent == 1);
    if (mode == RAW) {
        server_handshake_receive(h, data, size, 1);
        CHECK(heard.failed == 1 && heard.asked == 0); /* the fuzzer has no key */
    } else if (mode == SEALED || mode == SEALED_AND_SIGNED) {
        size_t len = hello_around(heard.message, heard.len, data, size, mode == SEALED_AND_SIGNED, message);
        server_handshake_receive(h, message, len, 1);
        CHECK(heard.failed + heard.asked == 1 && heard.opened == 0);
        CHECK(mode == SEALED_AND_SIGNED || heard.asked == 0);
    } else {
        const struct client_proof proof = {.spki = {spki, spki_len}, .name = "fuzz", .max_record = 1024};
        size_t part_len = sizeof part;
        CHECK(client_proof_write(&proof, part, &part_len) == OK);
        size_t len = hello_around(heard.message, heard.len, part, part_len, true, message);
        server_handshake_receive(h, message, len, 1);
        CHECK(heard.asked == 1);
        if (mode == WHILE_PENDING)
            CHECK(server_handshake_answer(h, heard.fingerprint, VERDICT_PENDING, 0, 600, 0, 2));
        if (mode == FINISHED)
            CHECK(server_handshake_answer(h, heard.fingerprint, VERDICT_APPROVED, 0, 0, 0, 2));
        server_handshake_receive(h, data, size, 3);
        CHECK(heard.failed == 1 && heard.opened == 0);
    }
    server_handshake_tick(h, 1000000);
    CHECK(heard.opened == 0);
    server_handshake_free(h);
    return 0;
}
