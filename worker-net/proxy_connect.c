/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP CONNECT: see proxy_connect.h.
 */
#include "worker-net/proxy_connect.h"

#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/names.h"
#include "worker-net/http_upgrade_head.h"

enum status proxy_connect_write(const char *host, uint16_t port, const char *authorization, char *out,
                                size_t *len)
{
    char authority[300];
    bool with = authorization[0] != '\0';

    address_join(authority, sizeof authority, host, port);
    int n = snprintf(out, PROXY_CONNECT_MAX,
                     "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s%s%sUser-Agent: wormhole/%s\r\n\r\n", authority,
                     authority, with ? "Proxy-Authorization: " : "", authorization, with ? "\r\n" : "",
                     WORMHOLE_VERSION);
    if (n < 0 || (size_t)n >= PROXY_CONNECT_MAX)
        return ERR_SIZE;
    *len = (size_t)n;
    return OK;
}

static const char *advice(struct http_text status)
{
    if (http_text_is(status, "407"))
        return "; give user:password in --proxy or --proxy-credentials-file";
    if (http_text_is(status, "403") || http_text_is(status, "405"))
        return "; its rules do not allow a tunnel to this host and port";
    if (status.at[0] == '5')
        return "; it does not reach the server";
    return "";
}

enum status proxy_connect_check(const char *buf, size_t len, size_t *used, char *why, size_t why_cap)
{
    struct http_head head;
    char reason[64];
    size_t size;

    enum status s = http_head_size(buf, len, &size);
    if (s == ERR_AGAIN && len >= 5 && memcmp(buf, "HTTP/", 5) != 0)
        s = ERR_FORMAT;
    if (s == ERR_AGAIN)
        return ERR_AGAIN;
    if (s == OK)
        s = http_head_parse_response(buf, size, &head);
    if (s != OK) {
        (void)snprintf(why, why_cap, "the proxy does not answer in HTTP: check --proxy");
        return ERR_FORMAT;
    }
    if (head.start[1].at[0] != '2') {
        (void)log_escape(reason, sizeof reason, head.start[2].at,
                         head.start[2].len < 40 ? head.start[2].len : 40);
        (void)snprintf(why, why_cap, "the proxy answered %.3s %s to CONNECT%s", head.start[1].at, reason,
                       advice(head.start[1]));
        return ERR_REFUSED;
    }
    *used = size;
    return OK;
}
