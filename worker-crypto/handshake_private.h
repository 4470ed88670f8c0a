/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both handshake machines share: labels of signatures, sealed messages, the way to fail. Private to
 * handshake*.c, server_handshake.c and client_handshake.c.
 */
#ifndef WORMHOLE_CRYPTO_HANDSHAKE_PRIVATE_H
#define WORMHOLE_CRYPTO_HANDSHAKE_PRIVATE_H

#include "worker-crypto/handshake.h"

#define LABEL_SERVER_HELLO "wormhole/1 server hello"
#define LABEL_CLIENT_POP "wormhole/1 client pop"
#define LABEL_SERVER_GRANT "wormhole/1 server grant"

#define SHARED_MAX 64u /* ML-KEM | X25519 */
#define PENDING_RETRY_S 1u

/* Secrets of one half-open connection; gone as soon as it is open or dead. */
struct handshake_half {
    struct transcript transcript;
    struct handshake_secrets secrets;
};

/*
 * Seals `plain` as the whole body of a message of the server (PENDING, GRANT, DECLINED) into out and adds it
 * to the transcript. out: HS_MESSAGE_MAX.
 */
enum status sealed_write(struct handshake_half *half, uint8_t type, const uint8_t *plain, size_t plain_len,
                         uint8_t *out, size_t *len);
/*
 * Opens such a message into plain (HS_MESSAGE_MAX). The transcript is not changed: the caller checks what it
 * reads and adds it with transcript_add(message, HS_HEADER, plain). ERR_AUTH.
 */
enum status sealed_read(struct handshake_half *half, const uint8_t *message, size_t len, uint8_t *plain,
                        size_t *plain_len);

#endif
