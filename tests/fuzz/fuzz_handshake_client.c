/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's end of the handshake against a hostile server. The first byte says how far the server plays by
 * the rules before the fuzzer's bytes are used: as the first message; as the body of a signed SERVER_HELLO;
 * as a sealed PENDING, GRANT or DECLINED; as a GRANT with a right signature; as SERVER_FINISHED.
 */
#include "tests/fuzz/crypto_peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAW, SIGNED_HELLO, SEALED, SIGNED_GRANT, FINISHED, MODES };

static struct client_config config;
static struct expected_server expected;
static uint8_t public_key[ED25519_PUBLIC], spki[RSA_SPKI_MAX], fingerprint[HASH_BYTES];
static size_t spki_len = sizeof spki;
static EVP_PKEY *identity;

/* The server's side of the cryptography. */
static struct handshake_half half;

static void open_once(void)
{
    if (identity != NULL)
        return;
    CHECK(primitives_open() == OK);
    identity = test_ed25519_key(public_key);
    CHECK(rsa_spki_write(test_rsa_key(), spki, &spki_len) == OK &&
          spki_fingerprint(spki, spki_len, fingerprint) == OK);
    config = (struct client_config){.common = test_common(),
                                    .key = test_rsa_key(),
                                    .spki = {spki, spki_len},
                                    .fingerprint = fingerprint,
                                    .name = "fuzz",
                                    .expected = &expected};
}

/* Signs a body of SERVER_HELLO and makes it whole. */
static size_t hello_sign(uint8_t *message, size_t body_len)
{
    uint8_t digest[HASH_BYTES], *body = message + HS_HEADER;
    CHECK(transcript_init(&half.transcript) == OK);
    hs_header_write(message, HS_SERVER_HELLO, body_len + ED25519_SIGNATURE);
    CHECK(transcript_peek(&half.transcript, message, HS_HEADER, body, body_len, digest) == OK);
    CHECK(ed25519_sign(identity, LABEL_SERVER_HELLO, digest, body + body_len) == OK);
    CHECK(transcript_add(&half.transcript, message, HS_HEADER, body, body_len + ED25519_SIGNATURE) == OK);
    return HS_HEADER + body_len + ED25519_SIGNATURE;
}

/* A right SERVER_HELLO; then the keys from the client's answer. */
static void greet(struct client_handshake *h, struct heard *heard)
{
    static const uint8_t private_bytes[X25519_BYTES] = {5};
    static uint8_t message[HS_MESSAGE_MAX];
    uint8_t share[X25519_BYTES], shared[X25519_BYTES], tc[HASH_BYTES];
    struct client_hello hello;
    EVP_PKEY *key = NULL;
    size_t len = HS_MESSAGE_MAX - HS_HEADER - ED25519_SIGNATURE;

    CHECK(x25519_new(private_bytes, &key, share) == OK);
    const struct server_hello m = {.suites = SUITE_BIT(SUITE_X25519),
                                   .max_record = 4096,
                                   .identity = public_key,
                                   .share = share,
                                   .nonce = share};
    CHECK(server_hello_write(&m, message + HS_HEADER, &len) == OK);
    len = hello_sign(message, len);
    client_handshake_receive(h, message, len, 1);
    CHECK(heard->sent == 1);
    uint8_t *body = heard->message + HS_HEADER;
    size_t body_len = heard->len - HS_HEADER;
    CHECK(client_hello_read(body, body_len, &hello) == OK && x25519_derive(key, hello.share, shared) == OK);
    EVP_PKEY_free(key);
    CHECK(transcript_peek(&half.transcript, heard->message, HS_HEADER, body, hello.clear_len, tc) == OK);
    CHECK(schedule_handshake(tc, shared, sizeof shared, &half.secrets) == OK);
    CHECK(aead_open(half.secrets.keys[0].key, half.secrets.keys[0].iv, 0, tc, sizeof tc,
                    body + hello.clear_len, body_len - hello.clear_len, body + hello.clear_len) == OK);
    CHECK(transcript_add(&half.transcript, heard->message, HS_HEADER, body, body_len - AEAD_TAG) == OK);
}

static void send_sealed(struct client_handshake *h, uint8_t type, const uint8_t *plain, size_t len)
{
    static uint8_t message[HS_MESSAGE_MAX];
    size_t message_len;
    if (sealed_write(&half, type, plain, len, message, &message_len) == OK)
        client_handshake_receive(h, message, message_len, 2);
}

/* The fuzzer's bytes as a GRANT whose signature is right. */
static void send_grant(struct client_handshake *h, const uint8_t *data, size_t len)
{
    static uint8_t plain[HS_MESSAGE_MAX];
    uint8_t header[HS_HEADER], digest[HASH_BYTES];
    if (len > 2048)
        len = 2048;
    memcpy(plain, data, len);
    hs_header_write(header, HS_GRANT, len + ED25519_SIGNATURE + AEAD_TAG);
    CHECK(transcript_peek(&half.transcript, header, HS_HEADER, plain, len, digest) == OK);
    CHECK(ed25519_sign(identity, LABEL_SERVER_GRANT, digest, plain + len) == OK);
    send_sealed(h, HS_GRANT, plain, len + ED25519_SIGNATURE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct heard heard;
    static uint8_t message[HS_MESSAGE_MAX], wrapped[RSA_MODULUS_MAX + 16];
    struct handshake_sink sink = heard_sink(&heard);

    if (size < 2 || size > HS_MESSAGE_MAX)
        return 0;
    open_once();
    memset(&heard, 0, sizeof heard);
    memset(&half, 0, sizeof half);
    struct client_handshake *h = client_handshake_new(&config, &sink);
    CHECK(h != NULL);
    unsigned mode = data[0] % MODES;
    uint8_t kind = data[1];
    data += 2;
    size -= 2;
    client_handshake_start(h, 0);
    if (mode == RAW) {
        client_handshake_receive(h, data, size, 1);
        CHECK(heard.sent + heard.failed == 1); /* the vectors hold a rightly signed one */
    } else if (mode == SIGNED_HELLO) {
        if (size > 2048)
            size = 2048;
        memcpy(message + HS_HEADER, data, size);
        client_handshake_receive(h, message, hello_sign(message, size), 1);
        CHECK(heard.sent + heard.failed == 1);
    } else {
        greet(h, &heard);
        if (mode == SEALED) {
            static const uint8_t types[] = {HS_PENDING, HS_GRANT, HS_DECLINED};
            send_sealed(h, types[kind % 3], data, size);
            send_sealed(h, types[kind / 3 % 3], data, size);
        } else if (mode == SIGNED_GRANT) {
            send_grant(h, data, size);
        } else {
            static const uint8_t secret[AES_KEY_BYTES] = {3};
            size_t len = RSA_MODULUS_MAX, at = sizeof wrapped;
            uint8_t cipher[RSA_MODULUS_MAX];
            CHECK(oaep_wrap(test_rsa_key(), half.transcript.hash, secret, cipher, &len) == OK);
            const struct grant grant = {.wrapped = {cipher, len}, .max_record = 4096};
            CHECK(grant_write(&grant, wrapped, &at) == OK);
            send_grant(h, wrapped, at);
            CHECK(heard.failed == 0);
            client_handshake_receive(h, data, size, 3);
            CHECK(heard.failed == 1);
        }
    }
    client_handshake_tick(h, 1000000);
    CHECK(heard.opened == 0 && heard.remembered == 0);
    client_handshake_free(h);
    return 0;
}
