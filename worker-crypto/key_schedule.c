/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transcript, derivations and the FINISHED records. All labels of the key schedule stand in this file and
 * nowhere else; must not keep a secret on the stack when it returns.
 */
#include "worker-crypto/key_schedule.h"

#include <string.h>

#include <openssl/crypto.h>

#include "common/wire.h"

static const char label_start[] = "wormhole/1"; /* with its NUL */
static const char *const label_handshake[2] = {"wh1 hs c2s", "wh1 hs s2c"};
static const char *const label_traffic[2] = {"wh1 ap c2s", "wh1 ap s2c"};
static const char *const label_finished[2] = {"wh1 fin c", "wh1 fin s"};
static const char label_derived[] = "wh1 derived";
static const char label_rekey[] = "wh1 rekey";

#define LABEL_MAX 16u

enum status transcript_init(struct transcript *t)
{
    const struct span spans[] = {{label_start, sizeof label_start}};
    return hash_spans(spans, 1, t->hash);
}

enum status transcript_peek(const struct transcript *t, const uint8_t *header, size_t header_len,
                            const uint8_t *body, size_t len, uint8_t out[HASH_BYTES])
{
    const struct span spans[] = {{t->hash, HASH_BYTES}, {header, header_len}, {body, len}};
    return hash_spans(spans, 3, out);
}

enum status transcript_add(struct transcript *t, const uint8_t *header, size_t header_len,
                           const uint8_t *body, size_t len)
{
    return transcript_peek(t, header, header_len, body, len, t->hash);
}

/* Expand(secret, label | T, len). */
static enum status expand(const uint8_t secret[HASH_BYTES], const char *label, const uint8_t t[HASH_BYTES],
                          uint8_t *out, size_t len)
{
    uint8_t info[LABEL_MAX + HASH_BYTES];
    size_t label_len = strnlen(label, LABEL_MAX);

    memcpy(info, label, label_len);
    memcpy(info + label_len, t, HASH_BYTES);
    return hkdf_expand(secret, HASH_BYTES, info, label_len + HASH_BYTES, out, len);
}

static enum status expand_seal_key(const uint8_t secret[HASH_BYTES], const char *label,
                                   const uint8_t t[HASH_BYTES], struct seal_key *out)
{
    uint8_t both[AEAD_KEY + AEAD_IV];
    enum status s = expand(secret, label, t, both, sizeof both);

    if (s == OK) {
        memcpy(out->key, both, AEAD_KEY);
        memcpy(out->iv, both + AEAD_KEY, AEAD_IV);
    }
    OPENSSL_cleanse(both, sizeof both);
    return s;
}

enum status schedule_handshake(const uint8_t tc[HASH_BYTES], const uint8_t *shared, size_t shared_len,
                               struct handshake_secrets *out)
{
    struct handshake_secrets fresh = {0};
    enum status s = hkdf_extract(tc, HASH_BYTES, shared, shared_len, fresh.root);

    for (unsigned d = 0; d < 2 && s == OK; d++)
        s = expand_seal_key(fresh.root, label_handshake[d], tc, &fresh.keys[d]);
    if (s == OK)
        *out = fresh;
    OPENSSL_cleanse(&fresh, sizeof fresh);
    return s;
}

enum status schedule_session(const uint8_t root[HASH_BYTES], const uint8_t tg[HASH_BYTES],
                             const uint8_t aes_key[AES_KEY_BYTES], struct session_secrets *out)
{
    struct session_secrets fresh = {0};
    uint8_t salt[HASH_BYTES], master[HASH_BYTES];

    enum status s = expand(root, label_derived, tg, salt, sizeof salt);
    if (s == OK)
        s = hkdf_extract(salt, sizeof salt, aes_key, AES_KEY_BYTES, master);
    for (unsigned d = 0; d < 2 && s == OK; d++) {
        s = expand_seal_key(master, label_traffic[d], tg, &fresh.traffic[d]);
        if (s == OK)
            s = expand(master, label_finished[d], tg, fresh.finished[d], HASH_BYTES);
    }
    if (s == OK)
        s = expand(master, label_rekey, tg, fresh.rekey, HASH_BYTES);
    if (s == OK)
        *out = fresh;
    OPENSSL_cleanse(salt, sizeof salt);
    OPENSSL_cleanse(master, sizeof master);
    OPENSSL_cleanse(&fresh, sizeof fresh);
    return s;
}

static const uint8_t finished_header[RECORD_HEADER] = {RECORD_TYPE, 0, 0, 0};

/* "WH1" | direction | u32 epoch | header. */
static void finished_aad(enum direction direction, uint8_t aad[RECORD_AAD])
{
    static const uint8_t magic[3] = {'W', 'H', '1'};

    memcpy(aad, magic, sizeof magic);
    aad[3] = (uint8_t)direction;
    put_be32(aad + 4, 0);
    memcpy(aad + 8, finished_header, RECORD_HEADER);
}

enum status finished_seal(const struct session_secrets *secrets, enum direction direction,
                          struct transcript *t, uint8_t out[FINISHED_BYTES])
{
    const struct seal_key *k = &secrets->traffic[direction];
    uint8_t mac[HASH_BYTES], aad[RECORD_AAD];

    enum status s = hmac_sha256(secrets->finished[direction], t->hash, HASH_BYTES, mac);
    if (s != OK)
        return s;
    finished_aad(direction, aad);
    memcpy(out, finished_header, RECORD_HEADER);
    s = aead_seal(k->key, k->iv, 0, aad, sizeof aad, mac, sizeof mac, out + RECORD_HEADER);
    if (s == OK)
        s = transcript_add(t, finished_header, RECORD_HEADER, mac, sizeof mac);
    return s;
}

enum status finished_open(const struct session_secrets *secrets, enum direction direction,
                          struct transcript *t, const uint8_t *in, size_t len)
{
    const struct seal_key *k = &secrets->traffic[direction];
    uint8_t mac[HASH_BYTES], expected[HASH_BYTES], aad[RECORD_AAD];

    if (len != FINISHED_BYTES || memcmp(in, finished_header, RECORD_HEADER) != 0)
        return ERR_FORMAT;
    finished_aad(direction, aad);
    enum status s =
        aead_open(k->key, k->iv, 0, aad, sizeof aad, in + RECORD_HEADER, len - RECORD_HEADER, mac);
    if (s == OK)
        s = hmac_sha256(secrets->finished[direction], t->hash, HASH_BYTES, expected);
    if (s == OK && CRYPTO_memcmp(mac, expected, HASH_BYTES) != 0)
        s = ERR_AUTH;
    if (s == OK)
        s = transcript_add(t, finished_header, RECORD_HEADER, mac, sizeof mac);
    return s;
}
