/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes what reads HTTP heads on the tunnel's connection: the server's upgrade, the client's, and a proxy's
 * answer to CONNECT. The first byte picks one; prefixes are tried too, because bytes come as they come.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "worker-net/http_upgrade.h"
#include "worker-net/proxy_connect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void server(const char *text, size_t len)
{
    struct upgrade_request r;
    char answer[UPGRADE_MESSAGE_MAX];
    size_t answer_len = 0;

    enum status st = upgrade_answer(text, len, "/wh/tunnel", &r, answer, &answer_len);
    if (st == ERR_AGAIN)
        return;
    if ((st == OK) != (r.http_status == 101) || (st == OK) != (r.why == NULL) ||
        answer_len >= sizeof answer || (st == OK && r.used > len) ||
        strnlen(r.forwarded, sizeof r.forwarded) == sizeof r.forwarded ||
        memmem(answer, answer_len, "\r\n\r\n", 4) == NULL)
        abort();
}

/* What a client asks, whatever its target is called, a server understands. */
static void asked(const char *text, size_t len)
{
    struct upgrade_client c;
    struct upgrade_request r;
    char host[64] = "";
    char request[UPGRADE_MESSAGE_MAX];
    char answer[UPGRADE_MESSAGE_MAX];
    size_t request_len = 0;
    size_t answer_len = 0;

    for (size_t i = 0; i < len && i < sizeof host - 1; i++)
        host[i] = "abcdefghijklmnopqrstuvwxyz0123456789.-:"[(unsigned char)text[i] % 39];
    uint16_t port = len % 2 == 0 ? 80 : (uint16_t)(len + 1);
    char connect_text[PROXY_CONNECT_MAX];
    size_t connect_len = 0;
    if (proxy_connect_write(host, port, len % 3 == 0 ? "Basic YTpi" : "", connect_text, &connect_len) == OK &&
        (connect_len < 4 || memcmp(connect_text + connect_len - 4, "\r\n\r\n", 4) != 0))
        abort();
    if (upgrade_request_write(&c, host[0] != '\0' ? host : "h", port, 80, "/wh/tunnel", request,
                              &request_len) != OK)
        return;
    if (upgrade_answer(request, request_len, "/wh/tunnel", &r, answer, &answer_len) != OK ||
        r.used != request_len)
        abort();
}

static void client(const char *text, size_t len)
{
    struct upgrade_client c = {.accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="};
    char why[200] = "";
    size_t used = 0;

    enum status st = upgrade_response_check(&c, text, len, &used, why, sizeof why);
    if ((st == OK && used > len) || (st != OK && st != ERR_AGAIN && why[0] == '\0'))
        abort();
}

static void proxy(const char *text, size_t len)
{
    char why[200] = "";
    size_t used = 0;

    enum status st = proxy_connect_check(text, len, &used, why, sizeof why);
    if ((st == OK && used > len) || (st != OK && st != ERR_AGAIN && why[0] == '\0'))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(const char *, size_t) = {server, client, proxy, asked};

    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1;
    size_t len = size - 1;
    readers[data[0] % 4](text, len);
    for (size_t cut = 1; cut < len; cut += 1 + len / 16)
        readers[data[0] % 3](text, cut);
    return 0;
}
