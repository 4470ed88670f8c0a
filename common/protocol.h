/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of the tunnel protocol (docs/protocol.md): handshake messages, record and frame layouts, limits.
 * They cross the network, so they never change within version 1. No code here, only constants that the
 * session and the crypto worker must agree on.
 */
#ifndef WORMHOLE_COMMON_PROTOCOL_H
#define WORMHOLE_COMMON_PROTOCOL_H

#define PROTOCOL_VERSION 1
#define PROTOCOL_SUBPROTOCOL "wormhole.v1"

/* Handshake message: u8 type | u8 version | u16 flags | u32 length | body, big-endian. */
#define HS_HEADER 8u
#define HS_MESSAGE_MAX 8192u
enum hs_type {
    HS_SERVER_HELLO = 1,
    HS_CLIENT_HELLO = 2,
    HS_PENDING = 3,
    HS_GRANT = 4,
    HS_DECLINED = 5,
};

enum hs_suite { SUITE_X25519 = 1, SUITE_X25519_MLKEM768 = 2 };

/* Record: u8 0x20 | u8 epoch | u16 0 | ciphertext | tag. One websocket binary message each. */
#define RECORD_TYPE 0x20
#define RECORD_HEADER 4u
#define RECORD_TAG 16u
#define RECORD_KEY 32u
#define RECORD_IV 12u
#define RECORD_PLAIN_DEFAULT 32768u
#define RECORD_PLAIN_MIN 1024u
#define RECORD_PLAIN_MAX 65536u
/* AAD: "WH1" | u8 direction (enum direction) | u32 epoch | the 4 header bytes. */
#define RECORD_AAD 12u

/* Websocket close codes of ours (RFC 6455 section 7.4.2: 4000-4999 private). */
#define CLOSE_PROTOCOL 4400
#define CLOSE_DECLINED 4403
#define CLOSE_TIMEOUT 4408
#define CLOSE_BUSY 4429
#define CLOSE_INTERNAL 4500

/* Frame inside a record: u8 type | u8 flags | u16 length | u32 stream | payload. */
#define FRAME_HEADER 8u
enum frame_type {
    FRAME_PADDING = 0x00,
    FRAME_DATA = 0x01,
    FRAME_OPEN = 0x02,          /* u32 app, u64 window, 16 source address, u16 source port */
    FRAME_OPEN_OK = 0x03,       /* u64 window */
    FRAME_OPEN_FAIL = 0x04,     /* u16 code, text <= 128 */
    FRAME_RESET = 0x05,         /* u16 code */
    FRAME_STOP_SENDING = 0x06,  /* u16 code */
    FRAME_MAX_DATA = 0x07,      /* u64 absolute limit; stream 0 = the connection */
    FRAME_BLOCKED = 0x08,       /* u64 offset */
    FRAME_PING = 0x10,          /* u64 */
    FRAME_PONG = 0x11,          /* u64 */
    FRAME_GOAWAY = 0x12,        /* u32 last stream id, u16 code */
    FRAME_SETTINGS = 0x13,      /* (u16 id, u64 value)* */
    FRAME_CLOSE_NOTIFY = 0x14,  /* empty */
    FRAME_APP_ADD = 0x20,       /* u32 app, u16 service port, u8 n, name, u8 n, app protocol */
    FRAME_APP_WITHDRAW = 0x21,  /* u32 app */
    FRAME_APP_ACK = 0x22,       /* u32 app, u16 code (enum refusal), u8 n, endpoint, u8 n, text */
    FRAME_REKEY_REQUEST = 0x30, /* reserved: rekey in place, rotation */
    FRAME_REKEY_OFFER = 0x31,
    FRAME_REKEY_ANSWER = 0x32,
    FRAME_KEY_SWITCH = 0x33,
    FRAME_ROTATE = 0x38,
    FRAME_ROTATE_ACK = 0x39,
};
#define FRAME_FLAG_FIN 0x01

/* Codes of RESET and STOP_SENDING. */
enum reset_code {
    RESET_APPLICATION = 1, /* the application's connection was reset */
    RESET_IDLE = 2,        /* half-closed and silent for too long */
    RESET_LIMIT = 3,       /* out of memory or of a budget */
    RESET_GONE = 4,        /* the app was withdrawn, or this side is shutting down */
};

enum setting_id { SETTING_MAX_STREAMS = 1, SETTING_STREAM_WINDOW = 2, SETTING_CONNECTION_WINDOW = 3 };

/* Limits (docs/protocol.md, "Limits"). */
#define STREAM_WINDOW_INITIAL (256u << 10)
#define STREAM_WINDOW_MAX (8u << 20)
#define CONNECTION_WINDOW_INITIAL (1u << 20)
#define CONNECTION_WINDOW_MAX (32u << 20)
#define RECORDS_HARD_LIMIT (1ull << 24)
#define BYTES_HARD_LIMIT (64ull << 30)

#endif
