/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's half of the websocket upgrade: see http_upgrade.h. Its messages are what a person reads who
 * has typed a wrong address, so they say what was found there instead of a wormhole.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "common/log.h"
#include "common/names.h"
#include "common/protocol.h"
#include "worker-net/http_upgrade.h"
#include "worker-net/http_upgrade_head.h"

enum status upgrade_request_write(struct upgrade_client *c, const char *host, uint16_t port,
                                  uint16_t default_port, const char *path, char *out, size_t *len)
{
    unsigned char random[16];
    char key[UPGRADE_KEY_TEXT + 1];
    char authority[300];

    if (RAND_bytes(random, sizeof random) != 1)
        return ERR_CRYPTO;
    (void)EVP_EncodeBlock((unsigned char *)key, random, sizeof random);
    enum status s = upgrade_accept_value(key, UPGRADE_KEY_TEXT, c->accept);
    if (s != OK)
        return s;
    if (port == default_port && strchr(host, ':') != NULL)
        (void)snprintf(authority, sizeof authority, "[%s]", host);
    else if (port == default_port)
        (void)snprintf(authority, sizeof authority, "%s", host);
    else
        address_join(authority, sizeof authority, host, port);
    int n = snprintf(out, UPGRADE_MESSAGE_MAX,
                     "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: %s\r\n"
                     "User-Agent: wormhole/%s\r\n\r\n",
                     path, authority, key, PROTOCOL_SUBPROTOCOL, WORMHOLE_VERSION);
    if (n < 0 || (size_t)n >= UPGRADE_MESSAGE_MAX)
        return ERR_SIZE;
    *len = (size_t)n;
    return OK;
}

__attribute__((format(printf, 3, 4))) static void say(char *why, size_t cap, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(why, cap, format, args);
    va_end(args);
}

/* What a status other than 101 usually means, for a person to act on. */
static const char *advice(struct http_text status)
{
    if (http_text_is(status, "404"))
        return "; check the path in --server";
    if (http_text_is(status, "426") || http_text_is(status, "200"))
        return "; is a proxy in front not passing the Upgrade on?";
    if (status.at[0] == '3')
        return "; it redirects, give the final address in --server";
    if (http_text_is(status, "502") || http_text_is(status, "503") || http_text_is(status, "504"))
        return "; the proxy in front does not reach the server";
    return "";
}

enum status upgrade_response_check(const struct upgrade_client *c, const char *buf, size_t len, size_t *used,
                                   char *why, size_t why_cap)
{
    struct http_head head;
    struct http_text value = {"", 0};
    char reason[64];
    size_t size;

    enum status s = http_head_size(buf, len, &size);
    if (s == ERR_AGAIN && len >= 5 && memcmp(buf, "HTTP/", 5) != 0)
        s = ERR_FORMAT; /* not HTTP at all: do not wait for an empty line that never comes */
    if (s == ERR_AGAIN)
        return ERR_AGAIN;
    if (s == OK)
        s = http_head_parse_response(buf, size, &head);
    if (s != OK) {
        say(why, why_cap, "the server does not answer in HTTP: is this the tunnel port?");
        return ERR_FORMAT;
    }
    if (!http_text_is(head.start[1], "101")) {
        (void)log_escape(reason, sizeof reason, head.start[2].at,
                         head.start[2].len < 40 ? head.start[2].len : 40);
        say(why, why_cap, "the server answered HTTP %.3s %s instead of a websocket%s", head.start[1].at,
            reason, advice(head.start[1]));
        return ERR_REFUSED;
    }
    const char *wrong = NULL;
    if (!http_head_list_has(&head, "Connection", "upgrade") ||
        !http_head_list_has(&head, "Upgrade", "websocket"))
        wrong = "Upgrade or Connection is missing";
    else if (http_head_field(&head, "Sec-WebSocket-Accept", &value) != 1 || !http_text_is(value, c->accept))
        wrong = "Sec-WebSocket-Accept is wrong";
    else if (http_head_field(&head, "Sec-WebSocket-Protocol", &value) != 1 ||
             !http_text_is(value, PROTOCOL_SUBPROTOCOL))
        wrong = "it does not speak subprotocol " PROTOCOL_SUBPROTOCOL;
    else if (http_head_field(&head, "Sec-WebSocket-Extensions", &value) != 0)
        wrong = "it wants an extension that was not offered";
    if (wrong != NULL) {
        say(why, why_cap, "the server is not a wormhole: %s", wrong);
        return ERR_FORMAT;
    }
    *used = size;
    return OK;
}
