/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Websocket framing (RFC 6455 section 5) for both sides: headers, masks, and a reader that turns a buffer of
 * bytes into whole messages in place. It knows no socket and no record; what a message means is the caller's
 * business.
 */
#ifndef WORMHOLE_NET_WEBSOCKET_H
#define WORMHOLE_NET_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

#define WEBSOCKET_HEADER_MAX 14u   /* 2 + 8 length + 4 mask */
#define WEBSOCKET_CONTROL_MAX 125u /* payload of ping, pong and close */

enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0x0,
    WEBSOCKET_TEXT = 0x1,
    WEBSOCKET_BINARY = 0x2,
    WEBSOCKET_CLOSE = 0x8,
    WEBSOCKET_PING = 0x9,
    WEBSOCKET_PONG = 0xa,
};

/* Close codes of RFC 6455 section 7.4.1 that are sent here; our own (44xx) stand in common/protocol.h. */
enum websocket_close {
    WEBSOCKET_CLOSE_NORMAL = 1000,
    WEBSOCKET_CLOSE_GOING_AWAY = 1001,
    WEBSOCKET_CLOSE_PROTOCOL = 1002,
    WEBSOCKET_CLOSE_UNSUPPORTED = 1003,
    WEBSOCKET_CLOSE_NO_STATUS = 1005, /* never on the wire: a close frame without a code came */
    WEBSOCKET_CLOSE_BAD_DATA = 1007,
    WEBSOCKET_CLOSE_TOO_BIG = 1009,
};

struct websocket_header {
    enum websocket_opcode opcode;
    bool fin;
    bool masked;
    uint8_t mask[4];
    uint64_t length; /* of the payload */
    size_t size;     /* of the header itself */
};

/*
 * Parses one frame header. `from_client` says who wrote it: a client's frames must be masked, a server's must
 * not (section 5.1). ERR_AGAIN: more bytes are needed. ERR_FORMAT with *why: reserved bits, unknown opcode,
 * length not in its shortest form, a control frame that is long or fragmented, wrong masking.
 */
enum status websocket_header_parse(const uint8_t *buf, size_t len, bool from_client,
                                   struct websocket_header *out, const char **why);

/*
 * Writes the header of an unfragmented frame right before `payload`, where at least WEBSOCKET_HEADER_MAX
 * bytes must be free, and returns where it begins. mask NULL: unmasked (server). The payload is not touched.
 */
uint8_t *websocket_header_before(uint8_t *payload, enum websocket_opcode opcode, size_t len,
                                 const uint8_t mask[4]);

/* XORs the payload with the mask, from the mask's first byte on, in place; masking and unmasking are the
 * same. */
void websocket_mask(uint8_t *payload, size_t len, const uint8_t mask[4]);

/* Masking keys from the system's CSPRNG, drawn many at a time (section 10.3: must not be predictable). */
struct websocket_masks {
    uint8_t pool[1024];
    size_t left; /* bytes of the pool not used yet */
};
/* ERR_CRYPTO when the generator fails. */
enum status websocket_masks_next(struct websocket_masks *masks, uint8_t mask[4]);

/* May a peer send this code in a close frame (section 7.4)? */
bool websocket_close_code_is_valid(unsigned code);

/* Payload of a close frame into out (at least WEBSOCKET_CONTROL_MAX bytes); reason is cut to fit. Returns its
 * size. */
size_t websocket_close_payload(uint8_t *out, unsigned code, const char *reason);

/* ---- reading ---- */

/* One message, or one control frame; data lies in the caller's buffer or in the reader's, until the next
 * call. */
struct websocket_message {
    enum websocket_opcode opcode; /* BINARY, PING, PONG or CLOSE */
    uint8_t *data;                /* unmasked; for CLOSE the reason only */
    size_t len;
    uint16_t close_code; /* CLOSE only; WEBSOCKET_CLOSE_NO_STATUS when the frame had none */
    bool assembled;      /* data lies in the reader's buffer: it came in fragments */
};

struct websocket_reader {
    size_t max_message; /* bytes; a longer message fails with 1009 before it is buffered */
    bool from_client;   /* the other end is a client */
    bool fragmented;    /* inside a fragmented message */
    uint8_t *assembly;  /* max_message bytes, allocated on the first fragment */
    size_t assembled;
    uint16_t error_code; /* after ERR_FORMAT: the close code to answer with */
    const char *error;   /* static English */
};

void websocket_reader_init(struct websocket_reader *reader, bool from_client, size_t max_message);
void websocket_reader_clear(struct websocket_reader *reader);
/* A new limit, between messages. ERR_WRONG_STATE inside a fragmented one. */
enum status websocket_reader_limit(struct websocket_reader *reader, size_t max_message);

/*
 * Takes the next message from buf[0..len), unmasking it in place. OK: *message is set. ERR_AGAIN: the rest of
 * a frame is missing (a buffer of max_message + WEBSOCKET_HEADER_MAX bytes always suffices). In both cases
 * *used bytes are done with. ERR_FORMAT: the peer broke the rules, see error_code and error; ERR_NOMEM. Text
 * messages are refused with 1003.
 */
enum status websocket_reader_next(struct websocket_reader *reader, uint8_t *buf, size_t len, size_t *used,
                                  struct websocket_message *message);

#endif
