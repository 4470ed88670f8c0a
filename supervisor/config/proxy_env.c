/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which HTTP proxy the environment asks for: HTTPS_PROXY and NO_PROXY, in the way that curl and Go read them.
 * Only text is compared: no name is resolved to find out whether it is excluded.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/names.h"
#include "supervisor/config/netmask.h"
#include "supervisor/config/url.h"

static const char *environment(const char *upper, const char *lower)
{
    const char *value = getenv(upper);
    if (value == NULL || *value == '\0')
        value = getenv(lower);
    return value != NULL && *value != '\0' ? value : NULL;
}

static bool host_is_loopback(const char *host)
{
    struct netmask v4 = {.family = AF_INET, .bits = 8, .address = {127}};
    struct netmask v6 = {.family = AF_INET6, .bits = 128, .address = {[15] = 1}};
    size_t len = strlen(host);
    return strcasecmp(host, "localhost") == 0 ||
           (len > 10 && strcasecmp(host + len - 10, ".localhost") == 0) || netmask_has_text(&v4, host) ||
           netmask_has_text(&v6, host);
}

static bool entry_matches(const char *entry, const char *host, uint16_t port)
{
    if (strcmp(entry, "*") == 0)
        return true;
    struct netmask mask;
    if (netmask_parse(entry, &mask) == OK)
        return netmask_has_text(&mask, host);
    char name[256];
    uint16_t entry_port = 0;
    if (entry[0] == '*' && entry[1] == '.')
        entry++;
    if (address_split(entry, port, name, sizeof name, &entry_port) != OK || entry_port != port)
        return false;
    if (netmask_parse(name, &mask) == OK)
        return netmask_has_text(&mask, host);
    const char *domain = name;
    bool only_below = domain[0] == '.';
    domain += only_below ? 1 : 0;
    size_t domain_len = strlen(domain), host_len = strlen(host);
    if (domain_len == 0 || host_len < domain_len || strcasecmp(host + host_len - domain_len, domain) != 0)
        return false;
    return host_len == domain_len ? !only_below : host[host_len - domain_len - 1] == '.';
}

bool no_proxy_matches(const char *list, const char *host, uint16_t port)
{
    for (const char *p = list; *p != '\0';) {
        p += strspn(p, ", \t");
        size_t len = strcspn(p, ", \t");
        char entry[300];
        if (len > 0 && len < sizeof entry) {
            memcpy(entry, p, len);
            entry[len] = '\0';
            if (entry_matches(entry, host, port))
                return true;
        }
        p += len;
    }
    return false;
}

const char *proxy_from_environment(const char *host, uint16_t port)
{
    const char *proxy = environment("HTTPS_PROXY", "https_proxy");
    if (proxy == NULL || host_is_loopback(host))
        return NULL;
    const char *exceptions = environment("NO_PROXY", "no_proxy");
    return exceptions != NULL && no_proxy_matches(exceptions, host, port) ? NULL : proxy;
}
