/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probe's last step: reads the SERVER_HELLO (docs/protocol.md), checks its signature and says who the
 * server is. It answers nothing: what a client would send comes from worker-crypto only.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/fingerprint.h"
#include "common/protocol.h"
#include "common/wire.h"
#include "worker-net/probe.h"
#include "worker-net/probe_io.h"
#include "worker-net/websocket.h"

#define ED25519_KEY 32u
#define ED25519_SIGNATURE 64u

/* DER of an Ed25519 SubjectPublicKeyInfo up to the key (RFC 8410). */
static const uint8_t spki_prefix[12] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                        0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

struct hello {
    const uint8_t *identity;
    size_t signed_len; /* header and body up to the signature */
    const uint8_t *signature;
    char suites[64];
    bool speaks_us; /* version 1 is among its versions */
};

static enum status hello_parse(const uint8_t *m, size_t len, struct hello *out)
{
    size_t at = HS_HEADER;
    if (len < HS_HEADER || m[0] != HS_SERVER_HELLO || m[1] != PROTOCOL_VERSION || get_be16(m + 2) != 0 ||
        get_be32(m + 4) != len - HS_HEADER)
        return ERR_FORMAT;
    for (int list = 0; list < 2; list++) { /* versions, suites */
        size_t used = 0;
        if (at >= len || m[at] == 0 || m[at] > 8 || len - at - 1 < m[at])
            return ERR_FORMAT;
        for (size_t i = 0; i < m[at]; i++) {
            uint8_t value = m[at + 1 + i];
            if (list == 0)
                out->speaks_us |= value == PROTOCOL_VERSION;
            else if (used < sizeof out->suites)
                used +=
                    (size_t)snprintf(out->suites + used, sizeof out->suites - used, "%s%s", i > 0 ? ", " : "",
                                     value == SUITE_X25519            ? "X25519"
                                     : value == SUITE_X25519_MLKEM768 ? "X25519 with ML-KEM-768"
                                                                      : "an unknown one");
        }
        at += 1u + m[at];
    }
    if (len - at < 4 + 4 + ED25519_KEY + 32 + 32 + 2)
        return ERR_FORMAT;
    out->identity = m + at + 8;
    at += 8 + ED25519_KEY + 32 + 32;
    size_t kem = get_be16(m + at);
    at += 2;
    if (len - at != kem + ED25519_SIGNATURE)
        return ERR_FORMAT;
    out->signed_len = at + kem;
    out->signature = m + out->signed_len;
    return OK;
}

/* T⟨up to the signature⟩, with which the server signs itself. */
static bool transcript_hash(const uint8_t *m, size_t len, uint8_t hash[32])
{
    static const char start[] = "wormhole/1"; /* with its NUL */
    uint8_t first[32];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = md != NULL && EVP_Digest(start, sizeof start, first, NULL, EVP_sha256(), NULL) == 1 &&
              EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
              EVP_DigestUpdate(md, first, sizeof first) == 1 && EVP_DigestUpdate(md, m, len) == 1 &&
              EVP_DigestFinal_ex(md, hash, NULL) == 1;
    EVP_MD_CTX_free(md);
    return ok;
}

static bool signature_is_good(const uint8_t *m, const struct hello *hello)
{
    static const char label[] = "wormhole/1 server hello"; /* with its NUL */
    uint8_t text[64 + sizeof label + 32];
    memset(text, 0x20, 64);
    memcpy(text + 64, label, sizeof label);
    if (!transcript_hash(m, hello->signed_len, text + 64 + sizeof label))
        return false;
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, hello->identity, ED25519_KEY);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = key != NULL && md != NULL && EVP_DigestVerifyInit(md, NULL, NULL, NULL, key) == 1 &&
              EVP_DigestVerify(md, hello->signature, ED25519_SIGNATURE, text, sizeof text) == 1;
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(key);
    return ok;
}

static bool identity_fingerprint(const uint8_t *identity, char *text)
{
    uint8_t spki[sizeof spki_prefix + ED25519_KEY], digest[32];
    memcpy(spki, spki_prefix, sizeof spki_prefix);
    memcpy(spki + sizeof spki_prefix, identity, ED25519_KEY);
    if (EVP_Digest(spki, sizeof spki, digest, NULL, EVP_sha256(), NULL) != 1)
        return false;
    fingerprint_format(digest, text);
    return true;
}

/* The next binary message. A close is an answer too: the server says why it does not want us. */
static enum status message_read(struct probe *p, struct websocket_reader *reader,
                                struct websocket_message *message, char *text)
{
    for (;;) {
        size_t used = 0;
        enum status st = websocket_reader_next(reader, p->input, p->input_len, &used, message);
        if (st == OK && message->opcode == WEBSOCKET_BINARY)
            return OK;
        if (st == OK && message->opcode == WEBSOCKET_CLOSE) {
            (void)snprintf(text, PROBE_TEXT, "the server closed at once with code %u%s%.*s",
                           message->close_code, message->len > 0 ? ": " : "", (int)message->len,
                           (const char *)message->data);
            return ERR_REFUSED;
        }
        probe_use(p, used);
        if (st == ERR_AGAIN)
            st = probe_read(p);
        if (st != OK) {
            (void)snprintf(text, PROBE_TEXT, "%s", st == ERR_FORMAT ? reader->error : probe_why(st));
            return st;
        }
    }
}

enum status probe_hello(struct probe *p, char *text)
{
    struct websocket_reader reader;
    struct websocket_message message;
    struct hello hello = {.identity = NULL};
    char fingerprint[FINGERPRINT_TEXT + 1] = "";
    websocket_reader_init(&reader, false, HS_MESSAGE_MAX);
    enum status st = message_read(p, &reader, &message, text);
    if (st == OK && hello_parse(message.data, message.len, &hello) != OK) {
        (void)snprintf(text, PROBE_TEXT, "a websocket answers, but not a wormhole server");
        st = ERR_FORMAT;
    } else if (st == OK && !signature_is_good(message.data, &hello)) {
        (void)snprintf(text, PROBE_TEXT,
                       "the server's signature is wrong: somebody in between changes what it says");
        st = ERR_AUTH;
    } else if (st == OK && !identity_fingerprint(hello.identity, fingerprint)) {
        (void)snprintf(text, PROBE_TEXT, "the fingerprint could not be computed");
        st = ERR_CRYPTO;
    } else if (st == OK && !hello.speaks_us) {
        (void)snprintf(text, PROBE_TEXT, "the server does not speak version %d of the protocol",
                       PROTOCOL_VERSION);
        st = ERR_UNSUPPORTED;
    } else if (st == OK && p->target.fingerprint[0] != '\0' &&
               strcmp(p->target.fingerprint, fingerprint) != 0) {
        (void)snprintf(text, PROBE_TEXT, "this server is %s, not %.60s", fingerprint, p->target.fingerprint);
        st = ERR_AUTH;
    } else if (st == OK) {
        (void)snprintf(text, PROBE_TEXT, "server %s%s, key exchange %s", fingerprint,
                       p->target.fingerprint[0] != '\0' ? " as expected" : "", hello.suites);
    }
    websocket_reader_clear(&reader);
    return st;
}
