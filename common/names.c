/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See names.h. Pure text work: nothing is resolved here.
 */
#include "common/names.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static bool is_label_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool name_is_valid(const char *name)
{
    size_t n = strnlen(name, NAME_MAX_BYTES + 1);

    if (n == 0 || n > NAME_MAX_BYTES || !is_label_char(name[0]) || !is_label_char(name[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!is_label_char(name[i]) && name[i] != '-')
            return false;
    }
    return true;
}

/* Decimal 1..65535 without sign, blanks or leading zeros. */
static enum status port_parse(const char *text, uint16_t *port)
{
    unsigned value = 0;
    size_t n = strnlen(text, 6);

    if (n == 0 || n > 5 || text[0] == '0')
        return ERR_FORMAT;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return ERR_FORMAT;
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    if (value > 65535)
        return ERR_SIZE;
    *port = (uint16_t)value;
    return OK;
}

/* Host names, IPv4 and (without brackets) IPv6 with a zone: what getaddrinfo may be given. */
static bool host_is_plausible(const char *host, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = host[i];
        if (!is_label_char(c) && !(c >= 'A' && c <= 'Z') && c != '-' && c != '.' && c != '_' && c != ':' &&
            c != '%')
            return false;
    }
    return n > 0;
}

enum status address_split(const char *text, uint16_t default_port, char *host, size_t cap, uint16_t *port)
{
    const char *start = text, *end, *rest;
    uint16_t number = default_port;

    if (text[0] == '[') {
        start = text + 1;
        end = strchr(start, ']');
        if (end == NULL)
            return ERR_FORMAT;
        rest = end + 1;
        if (memchr(start, ':', (size_t)(end - start)) == NULL)
            return ERR_FORMAT;
    } else {
        end = strrchr(text, ':');
        if (end != NULL &&
            strchr(text, ':') != end) { /* several colons without brackets: a bare IPv6 address */
            if (default_port == 0)
                return ERR_FORMAT;
            end = NULL;
        }
        if (end == NULL)
            end = text + strlen(text);
        rest = end;
    }
    if (*rest == ':') {
        enum status s = port_parse(rest + 1, &number);
        if (s != OK)
            return s;
    } else if (*rest != '\0' || default_port == 0) {
        return ERR_FORMAT;
    }
    size_t n = (size_t)(end - start);
    if (!host_is_plausible(start, n))
        return ERR_FORMAT;
    if (n >= cap)
        return ERR_SIZE;
    memcpy(host, start, n);
    host[n] = '\0';
    *port = number;
    return OK;
}

void address_join(char *out, size_t cap, const char *host, uint16_t port)
{
    bool v6 = strchr(host, ':') != NULL;
    (void)snprintf(out, cap, "%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

void address_text(const struct sockaddr *address, char *out, size_t cap)
{
    char host[INET6_ADDRSTRLEN] = "?";
    uint16_t port = 0;

    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        (void)inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
        port = ntohs(v4.sin_port);
    } else if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
            (void)inet_ntop(AF_INET, v6.sin6_addr.s6_addr + 12, host, sizeof host);
        else
            (void)inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
        port = ntohs(v6.sin6_port);
    } else if (address->sa_family == AF_UNIX) {
        (void)snprintf(out, cap, "local");
        return;
    }
    address_join(out, cap, host, port);
}
