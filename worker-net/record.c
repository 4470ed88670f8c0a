/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealing and opening of records with AES-256-GCM (NIST SP 800-38D): see record.h. One cipher context per
 * direction is keyed once and then only gets a new IV, because setting up the key schedule would cost more
 * than a small record.
 */
#include "worker-net/record.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "common/wire.h"

void record_key_clear(struct record_key *k)
{
    EVP_CIPHER_CTX_free(k->context); /* wipes the key schedule */
    OPENSSL_cleanse(k, sizeof *k);
}

static uint64_t lower(uint64_t limit, uint64_t hard)
{
    return limit == 0 || limit > hard ? hard : limit;
}

enum status record_key_set(struct record_key *k, enum direction direction, bool seals, uint32_t epoch,
                           uint64_t sequence, const uint8_t key[RECORD_KEY], const uint8_t iv[RECORD_IV],
                           uint64_t max_records, uint64_t max_bytes)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    bool good = cipher != NULL && context != NULL &&
                EVP_CipherInit_ex2(context, cipher, key, NULL, seals ? 1 : 0, NULL) == 1;

    EVP_CIPHER_free(cipher); /* the context keeps its own reference */
    if (!good) {
        EVP_CIPHER_CTX_free(context);
        return ERR_CRYPTO;
    }
    record_key_clear(k);
    k->context = context;
    memcpy(k->iv, iv, sizeof k->iv);
    memcpy(k->aad, "WH1", 3);
    k->aad[3] = (uint8_t)direction;
    put_be32(k->aad + 4, epoch);
    k->aad[8] = RECORD_TYPE;
    k->aad[9] = (uint8_t)epoch;
    k->aad[10] = k->aad[11] = 0;
    k->epoch = epoch;
    k->sequence = sequence;
    k->max_records = lower(max_records, RECORDS_HARD_LIMIT);
    k->max_bytes = lower(max_bytes, BYTES_HARD_LIMIT);
    k->seals = seals;
    return OK;
}

uint64_t record_key_left(const struct record_key *k, size_t record_plain)
{
    uint64_t records = k->sequence >= k->max_records ? 0 : k->max_records - k->sequence;
    uint64_t bytes =
        k->bytes >= k->max_bytes ? 0 : (k->max_bytes - k->bytes) / (record_plain > 0 ? record_plain : 1);

    return records < bytes ? records : bytes;
}

/* The IV of this record: the key's IV with the sequence XORed into its last 8 bytes (as RFC 8446
 * section 5.3). */
static bool start(struct record_key *k)
{
    uint8_t nonce[RECORD_IV];
    int n;

    memcpy(nonce, k->iv, sizeof nonce);
    put_be64(nonce + 4, get_be64(nonce + 4) ^ k->sequence);
    return EVP_CipherInit_ex2(k->context, NULL, NULL, nonce, -1, NULL) == 1 &&
           EVP_CipherUpdate(k->context, NULL, &n, k->aad, (int)sizeof k->aad) == 1;
}

/* Is there room under the hard limits for one more record of this size? */
static bool within_limits(const struct record_key *k, size_t len)
{
    return k->sequence < k->max_records && k->bytes <= k->max_bytes && len <= k->max_bytes - k->bytes;
}

enum status record_seal(struct record_key *k, uint8_t *record, size_t len)
{
    uint8_t *body = record + RECORD_HEADER;
    int n = 0, rest = 0;

    if (len > RECORD_PLAIN_MAX)
        return ERR_SIZE;
    if (!within_limits(k, len))
        return ERR_LIMIT;
    memcpy(record, k->aad + 8, RECORD_HEADER);
    if (!start(k) || EVP_EncryptUpdate(k->context, body, &n, body, (int)len) != 1 ||
        EVP_EncryptFinal_ex(k->context, body + n, &rest) != 1 || (size_t)n + (size_t)rest != len ||
        EVP_CIPHER_CTX_ctrl(k->context, EVP_CTRL_AEAD_GET_TAG, RECORD_TAG, body + len) != 1)
        return ERR_CRYPTO;
    k->sequence++;
    k->bytes += len;
    return OK;
}

enum status record_open(struct record_key *k, uint8_t *record, size_t len, uint8_t **plain, size_t *plain_len)
{
    int n = 0, rest = 0;

    if (len < RECORD_OVERHEAD || len > RECORD_PLAIN_MAX + RECORD_OVERHEAD)
        return ERR_FORMAT;
    if (memcmp(record, k->aad + 8, RECORD_HEADER) != 0)
        return ERR_FORMAT;
    uint8_t *body = record + RECORD_HEADER;
    size_t body_len = len - RECORD_OVERHEAD;
    if (!within_limits(k, body_len))
        return ERR_LIMIT;
    if (!start(k) || EVP_DecryptUpdate(k->context, body, &n, body, (int)body_len) != 1 ||
        EVP_CIPHER_CTX_ctrl(k->context, EVP_CTRL_AEAD_SET_TAG, RECORD_TAG, body + body_len) != 1)
        return ERR_CRYPTO;
    if (EVP_DecryptFinal_ex(k->context, body + n, &rest) != 1) {
        OPENSSL_cleanse(body, body_len); /* unauthenticated: nobody may come to see it */
        return ERR_AUTH;
    }
    k->sequence++;
    k->bytes += body_len;
    *plain = body;
    *plain_len = body_len;
    return OK;
}
