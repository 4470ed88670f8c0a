/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealing and opening of the server's handshake messages whose whole body is secret. Nothing of a state
 * machine.
 */
#include "worker-crypto/handshake_private.h"

enum status sealed_write(struct handshake_half *half, uint8_t type, const uint8_t *plain, size_t plain_len,
                         uint8_t *out, size_t *len)
{
    struct handshake_secrets *s = &half->secrets;
    const struct seal_key *k = &s->keys[DIRECTION_S2C];
    uint8_t aad[HASH_BYTES];

    if (plain_len > HS_MESSAGE_MAX - HS_HEADER - AEAD_TAG)
        return ERR_SIZE;
    hs_header_write(out, type, plain_len + AEAD_TAG);
    enum status result = transcript_peek(&half->transcript, out, HS_HEADER, NULL, 0, aad);
    if (result == OK)
        result = aead_seal(k->key, k->iv, s->sequence[DIRECTION_S2C], aad, sizeof aad, plain, plain_len,
                           out + HS_HEADER);
    if (result == OK)
        result = transcript_add(&half->transcript, out, HS_HEADER, plain, plain_len);
    if (result != OK)
        return result;
    s->sequence[DIRECTION_S2C]++;
    *len = HS_HEADER + plain_len + AEAD_TAG;
    return OK;
}

enum status sealed_read(struct handshake_half *half, const uint8_t *message, size_t len, uint8_t *plain,
                        size_t *plain_len)
{
    struct handshake_secrets *s = &half->secrets;
    const struct seal_key *k = &s->keys[DIRECTION_S2C];
    uint8_t aad[HASH_BYTES];

    if (len < HS_HEADER + AEAD_TAG || len > HS_MESSAGE_MAX)
        return ERR_SIZE;
    enum status result = transcript_peek(&half->transcript, message, HS_HEADER, NULL, 0, aad);
    if (result == OK)
        result = aead_open(k->key, k->iv, s->sequence[DIRECTION_S2C], aad, sizeof aad, message + HS_HEADER,
                           len - HS_HEADER, plain);
    if (result != OK)
        return result;
    s->sequence[DIRECTION_S2C]++;
    *plain_len = len - HS_HEADER - AEAD_TAG;
    return OK;
}
