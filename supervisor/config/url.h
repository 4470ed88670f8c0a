/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few URLs that the configuration holds: ws:// and wss:// for the server, http:// for a proxy. Parsing
 * only (RFC 3986, the parts that we need); user and password come out percent-decoded. Nothing is resolved.
 */
#ifndef WORMHOLE_SUPERVISOR_URL_H
#define WORMHOLE_SUPERVISOR_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

struct url {
    char scheme[8];
    char host[256]; /* without brackets */
    uint16_t port;  /* the scheme's default when not given: ws, http 80; wss, https 443 */
    char path[512]; /* begins with "/"; with the query; "/" when not given */
    bool has_path;  /* did the text have one? */
    bool has_user;
    char user[128], password[256]; /* decoded; wipe with url_clear */
};

/*
 * ERR_CONFIG with a phrase in why. `schemes` is a list like "ws|wss". Bad host characters, spaces, a fragment
 * and a bad port are refused.
 */
enum status url_parse(const char *text, const char *schemes, struct url *out, char *why, size_t why_cap);
void url_clear(struct url *url);

/* The text with the password replaced by "…", for logs and check-config. */
void url_hide_password(const char *text, char *out, size_t cap);

/*
 * The proxy that the environment asks for (HTTPS_PROXY, https_proxy; then NO_PROXY, no_proxy), or NULL.
 * Loopback targets never take one. The text belongs to the environment.
 */
const char *proxy_from_environment(const char *host, uint16_t port);
/* Does a NO_PROXY list name this host? "*", "host", ".domain", "domain", "IP", "CIDR", each with ":port" or
 * not. */
bool no_proxy_matches(const char *list, const char *host, uint16_t port);

#endif
