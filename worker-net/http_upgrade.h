/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP/1.1 upgrade to a websocket (RFC 6455 section 4), both sides, as pure text work: judges a request,
 * writes the answer, writes a request, judges the answer. No sockets, no timers.
 */
#ifndef WORMHOLE_NET_HTTP_UPGRADE_H
#define WORMHOLE_NET_HTTP_UPGRADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

#define UPGRADE_KEY_TEXT 24u    /* base64 of 16 bytes */
#define UPGRADE_ACCEPT_TEXT 28u /* base64 of a SHA-1 */
#define UPGRADE_MESSAGE_MAX 2048u

/* base64(SHA-1(key ‖ GUID)) of RFC 6455 section 4.2.2; out: UPGRADE_ACCEPT_TEXT + 1 bytes. ERR_CRYPTO. */
enum status upgrade_accept_value(const char *key, size_t key_len, char *out);

/* ---- server ---- */
struct upgrade_request {
    unsigned http_status; /* 101, or the error that was answered: 400, 403, 404, 426, 431 */
    const char *why;      /* static English for the log; NULL with 101 */
    size_t used;          /* bytes of the request; what follows is the websocket's */
    char forwarded[65];   /* last address of X-Forwarded-For in canonical form, or "" */
};

/*
 * Judges the request at the start of buf, which must be for `path`. ERR_AGAIN: the head is not complete.
 * Otherwise *answer_len bytes were written to answer (UPGRADE_MESSAGE_MAX): OK: 101, the websocket begins;
 * ERR_REFUSED: an error, to be sent before closing.
 */
enum status upgrade_answer(const char *buf, size_t len, const char *path, struct upgrade_request *out,
                           char *answer, size_t *answer_len);

/* ---- client ---- */
struct upgrade_client {
    char accept[UPGRADE_ACCEPT_TEXT + 1]; /* what the server must answer */
};

/*
 * Writes the request for host:port/path with a fresh random key. default_port (80, 443) is left out of Host.
 * out: UPGRADE_MESSAGE_MAX bytes. ERR_SIZE, ERR_CRYPTO.
 */
enum status upgrade_request_write(struct upgrade_client *c, const char *host, uint16_t port,
                                  uint16_t default_port, const char *path, char *out, size_t *len);

/*
 * Judges the server's answer. OK: *used bytes were the head. ERR_AGAIN. ERR_REFUSED: another status than 101;
 * ERR_FORMAT: not a websocket's answer. `why` (at least 160 bytes) then says what is wrong, and what to look
 * at.
 */
enum status upgrade_response_check(const struct upgrade_client *c, const char *buf, size_t len, size_t *used,
                                   char *why, size_t why_cap);

#endif
