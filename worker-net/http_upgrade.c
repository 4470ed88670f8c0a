/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's half of the websocket upgrade, and the accept value that both halves need. See http_upgrade.h;
 * the client's half is http_upgrade_client.c.
 */
#include "worker-net/http_upgrade.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/protocol.h"
#include "worker-net/http_upgrade_head.h"

#define WEBSOCKET_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

enum status upgrade_accept_value(const char *key, size_t key_len, char *out)
{
    char text[UPGRADE_KEY_TEXT + sizeof WEBSOCKET_GUID];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n;

    if (key_len != UPGRADE_KEY_TEXT)
        return ERR_SIZE;
    memcpy(text, key, key_len);
    memcpy(text + key_len, WEBSOCKET_GUID, sizeof WEBSOCKET_GUID);
    if (EVP_Digest(text, key_len + sizeof WEBSOCKET_GUID - 1, digest, &n, EVP_sha1(), NULL) != 1)
        return ERR_CRYPTO;
    (void)EVP_EncodeBlock((unsigned char *)out, digest, (int)n);
    return OK;
}

/* 16 bytes in base64: 22 characters of the alphabet and "==" (section 4.1). */
static bool key_is_valid(struct http_text key)
{
    if (key.len != UPGRADE_KEY_TEXT || key.at[22] != '=' || key.at[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++) {
        char c = key.at[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
              c == '/'))
            return false;
    }
    return true;
}

/* The path of an origin-form or absolute-form target (RFC 9112 section 3.2). */
static bool target_is(struct http_text target, const char *path)
{
    static const char scheme[] = "http://";

    if (target.len > sizeof scheme - 1 && strncmp(target.at, scheme, sizeof scheme - 1) == 0) {
        const char *authority = target.at + sizeof scheme - 1;
        const char *end = target.at + target.len;
        const char *slash = memchr(authority, '/', (size_t)(end - authority));
        if (slash == NULL)
            return false;
        target = (struct http_text){slash, (size_t)(end - slash)};
    }
    return http_text_is(target, path);
}

/* The last element of the last X-Forwarded-For, which the nearest proxy wrote itself; "" unless it is an
 * address. */
static void find_forwarded(const struct http_head *head, char out[65])
{
    struct http_text list;
    char text[65];
    struct in6_addr address;

    out[0] = '\0';
    if (http_head_field(head, "X-Forwarded-For", &list) == 0)
        return;
    const char *comma = memrchr(list.at, ',', list.len);
    const char *at = comma == NULL ? list.at : comma + 1;
    const char *end = list.at + list.len;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    if (end - at <= 0 || (size_t)(end - at) >= sizeof text)
        return;
    memcpy(text, at, (size_t)(end - at));
    text[end - at] = '\0';
    if (inet_pton(AF_INET, text, &address) == 1)
        (void)inet_ntop(AF_INET, &address, out, 65);
    else if (inet_pton(AF_INET6, text, &address) == 1)
        (void)inet_ntop(AF_INET6, &address, out, 65);
}

/* Fields of which a second one, or any at all, would mean that somebody in between reads the request
 * differently. */
static const char *fields_error(const struct http_head *head)
{
    static const char *const once[] = {"Host", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version"};
    struct http_text value = {"", 0};

    for (size_t i = 0; i < sizeof once / sizeof once[0]; i++) {
        if (http_head_field(head, once[i], &value) > 1)
            return "a header field that must be alone came twice";
    }
    if (http_head_field(head, "Transfer-Encoding", &value) != 0)
        return "the request has a body";
    if (http_head_field(head, "Content-Length", &value) != 0 && !http_text_is(value, "0"))
        return "the request has a body";
    if (http_head_field(head, "Host", &value) == 0)
        return "no Host";
    return NULL;
}

/* The status for a well-formed request, in the order in which a person would want to hear it. */
static unsigned judge(const struct http_head *head, const char *path, struct http_text *key, const char **why)
{
    struct http_text value = {"", 0};

    *why = fields_error(head);
    if (*why != NULL)
        return 400;
    if (!target_is(head->start[1], path)) {
        *why = "unknown path";
        return 404;
    }
    if (!http_head_list_has(head, "Connection", "upgrade") ||
        !http_head_list_has(head, "Upgrade", "websocket")) {
        *why = "not a websocket upgrade";
        return 426;
    }
    (void)http_head_field(head, "Sec-WebSocket-Version", &value);
    if (!http_text_is(value, "13")) {
        *why = "a websocket version other than 13";
        return 426;
    }
    *why = "the method is not GET";
    if (!http_text_is(head->start[0], "GET"))
        return 400;
    *why = "a browser (Origin is set)";
    if (http_head_field(head, "Origin", &value) != 0)
        return 403;
    *why = "no valid Sec-WebSocket-Key";
    if (http_head_field(head, "Sec-WebSocket-Key", key) != 1 || !key_is_valid(*key))
        return 400;
    *why = "subprotocol " PROTOCOL_SUBPROTOCOL " is not offered";
    if (!http_head_list_has(head, "Sec-WebSocket-Protocol", PROTOCOL_SUBPROTOCOL))
        return 400;
    *why = NULL;
    return 101;
}

static const char *status_line(unsigned code)
{
    switch (code) {
    case 403: return "403 Forbidden";
    case 404: return "404 Not Found";
    case 426: return "426 Upgrade Required";
    case 431: return "431 Request Header Fields Too Large";
    default: return "400 Bad Request";
    }
}

static size_t write_error(unsigned code, const char *why, char *answer)
{
    const char *extra = code == 426 ? "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" : "";
    const char *connection = code == 426 ? "Upgrade, close" : "close";
    int n = snprintf(
        answer, UPGRADE_MESSAGE_MAX,
        "HTTP/1.1 %s\r\nConnection: %s\r\n%sContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s\n",
        status_line(code), connection, extra, strlen(why) + 1, why);

    return (size_t)n;
}

enum status upgrade_answer(const char *buf, size_t len, const char *path, struct upgrade_request *out,
                           char *answer, size_t *answer_len)
{
    char accept[UPGRADE_ACCEPT_TEXT + 1];
    struct http_head head;
    struct http_text key = {"", 0};

    out->forwarded[0] = '\0';
    out->used = 0;
    enum status s = http_head_size(buf, len, &out->used);
    if (s == ERR_AGAIN)
        return ERR_AGAIN;
    if (s == OK)
        s = http_head_parse_request(buf, out->used, &head);
    if (s == OK) {
        out->http_status = judge(&head, path, &key, &out->why);
    } else {
        out->http_status = s == ERR_SIZE ? 431 : 400;
        out->why = s == ERR_SIZE ? "the request's head is too large" : "not an HTTP/1.1 request";
    }
    if (out->http_status == 101 && upgrade_accept_value(key.at, key.len, accept) != OK) {
        out->http_status = 400;
        out->why = "the accept value could not be computed";
    }
    if (out->http_status != 101) {
        *answer_len = write_error(out->http_status, out->why, answer);
        return ERR_REFUSED;
    }
    find_forwarded(&head, out->forwarded);
    *answer_len =
        (size_t)snprintf(answer, UPGRADE_MESSAGE_MAX,
                         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
                         accept, PROTOCOL_SUBPROTOCOL);
    return OK;
}
