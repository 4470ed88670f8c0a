/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handshake messages as bytes (docs/protocol.md, "Handshake"): reading them into views and writing them,
 * nothing else. No cryptography, no state, no allocation; what the sealed parts hold is read after they were
 * opened. Views point into the caller's buffer.
 */
#ifndef WORMHOLE_CRYPTO_HS_MESSAGE_H
#define WORMHOLE_CRYPTO_HS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/names.h"
#include "common/protocol.h"
#include "common/status.h"

#define HS_LIST_MAX 8u
#define HS_SPKI_MAX 1024u
#define HS_SLOTS 16u
#define HS_NONCE 32u
#define HS_INSTANCE 16u
#define HS_REQUEST 16u
#define HS_PENDING_WAITING 1

#define CAP_REKEY (1u << 0)  /* reserved */
#define CAP_ROTATE (1u << 1) /* reserved */

struct view {
    const uint8_t *data;
    size_t len;
};

/* Suites as a mask: bit (number - 1). Unknown numbers have no bit. */
#define SUITE_BIT(suite) (1u << ((suite)-1u))
#define SUITES_KNOWN (SUITE_BIT(SUITE_X25519) | SUITE_BIT(SUITE_X25519_MLKEM768))

struct hs_header {
    uint8_t type;
    uint32_t length; /* of the body on the wire */
};

struct server_hello {
    uint32_t suites; /* mask of the known ones */
    uint32_t capabilities;
    uint32_t max_record;
    const uint8_t *identity;  /* 32 */
    const uint8_t *share;     /* 32 */
    const uint8_t *nonce;     /* 32 */
    struct view kem_key;      /* empty or 1184 */
    const uint8_t *signature; /* 64 */
    size_t unsigned_len;      /* of the body before the signature */
};

struct client_hello {
    uint8_t suite;
    const uint8_t *share;
    const uint8_t *nonce;
    struct view kem_ciphertext;
    size_t clear_len; /* of the body before the sealed part */
};

/* The sealed part of CLIENT_HELLO. */
struct client_proof {
    struct view spki;
    char name[NAME_MAX_BYTES + 1];
    uint32_t capabilities;
    uint32_t max_record;
    uint8_t slot;
    uint8_t instance[HS_INSTANCE];
    struct view signature;
    size_t unsigned_len; /* of the sealed part before the signature */
};

struct pending {
    uint8_t request[HS_REQUEST];
    uint32_t ttl_s;
    uint8_t state;
};

struct grant {
    struct view wrapped;
    uint32_t max_record;
    uint32_t capabilities;
    const uint8_t *signature;
    size_t unsigned_len;
};

struct declined {
    uint16_t code;
    uint32_t retry_after_s;
};

/* The 8 header bytes, and that exactly `length` bytes follow. ERR_SIZE, ERR_FORMAT. */
enum status hs_header_read(const uint8_t *message, size_t len, struct hs_header *out);
void hs_header_write(uint8_t out[HS_HEADER], uint8_t type, size_t body_len);

/* All readers take the exact body (or opened part). ERR_SIZE (short, long), ERR_FORMAT (a value is not
 * allowed). */
enum status server_hello_read(const uint8_t *body, size_t len, struct server_hello *out);
enum status client_hello_read(const uint8_t *body, size_t len, struct client_hello *out);
enum status client_proof_read(const uint8_t *part, size_t len, struct client_proof *out);
enum status pending_read(const uint8_t *part, size_t len, struct pending *out);
enum status grant_read(const uint8_t *part, size_t len, struct grant *out);
enum status declined_read(const uint8_t *part, size_t len, struct declined *out);

/*
 * Writers put the fields before the signature (the caller appends it) at out; *len: in the room, out what was
 * written. ERR_SIZE.
 */
enum status server_hello_write(const struct server_hello *in, uint8_t *out, size_t *len);
enum status client_hello_write(const struct client_hello *in, uint8_t *out, size_t *len);
enum status client_proof_write(const struct client_proof *in, uint8_t *out, size_t *len);
enum status pending_write(const struct pending *in, uint8_t *out, size_t *len);
enum status grant_write(const struct grant *in, uint8_t *out, size_t *len);
enum status declined_write(const struct declined *in, uint8_t *out, size_t *len);

#endif
