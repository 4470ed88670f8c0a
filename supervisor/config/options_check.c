/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the texts of single options must mean: addresses, URLs, labels, fingerprints, networks. One function
 * per kind, one table that says which option is of which kind. Nothing here opens, resolves or stores
 * anything.
 */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fingerprint.h"
#include "common/names.h"
#include "supervisor/config/netmask.h"
#include "supervisor/config/options.h"
#include "supervisor/config/url.h"

static enum status wrong(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
static enum status wrong(char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, OPTION_WHY, format, args);
    va_end(args);
    return ERR_CONFIG;
}

/* The supervisor resolves no names, so what it binds to must be numeric. */
static enum status check_bind_address(const char *text, char *fixed, size_t cap, char *why)
{
    uint8_t address[16];
    if (strcmp(text, "localhost") == 0) {
        (void)snprintf(fixed, cap, "127.0.0.1");
        return OK;
    }
    size_t len = strlen(text);
    if (len > 2 && text[0] == '[' && text[len - 1] == ']')
        (void)snprintf(fixed, cap, "%.*s", (int)(len - 2), text + 1);
    if (inet_pton(AF_INET, fixed, address) == 1 || inet_pton(AF_INET6, fixed, address) == 1)
        return OK;
    return wrong(why, "must be a numeric IPv4 or IPv6 address to listen on, not \"%.80s\"", text);
}

/* Relative paths are made whole at once: the daemon must not depend on where it was started. */
static enum status check_file(const char *text, char *fixed, size_t cap, char *why)
{
    if (text[0] == '/')
        return OK;
    char *cwd = getcwd(NULL, 0);
    if (cwd == NULL)
        return wrong(why, "is relative, and the current directory cannot be read");
    int n = snprintf(fixed, cap, "%s/%s", strcmp(cwd, "/") == 0 ? "" : cwd, text);
    free(cwd);
    return n > 0 && (size_t)n < cap ? OK : wrong(why, "is too long");
}

static enum status check_url_path(const char *text, char *fixed, size_t cap, char *why)
{
    (void)fixed;
    (void)cap;
    if (text[0] != '/')
        return wrong(why, "must begin with \"/\", not \"%.80s\"", text);
    for (const char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f || strchr("?#\\\"", *p) != NULL)
            return wrong(why, "must be a plain URL path without query, spaces or quotes: \"%.80s\"", text);
    return OK;
}

static enum status check_name(const char *text, char *fixed, size_t cap, char *why)
{
    (void)fixed;
    (void)cap;
    return name_is_valid(text)
               ? OK
               : wrong(why, "must be 1 to 63 lower-case letters, digits and inner dashes, not \"%.80s\"",
                       text);
}

static enum status check_server(const char *text, char *fixed, size_t cap, char *why)
{
    (void)fixed;
    (void)cap;
    struct url url;
    if (url_parse(text, "ws|wss", &url, why, OPTION_WHY) != OK)
        return ERR_CONFIG;
    bool user = url.has_user;
    url_clear(&url);
    return user ? wrong(why, "must not contain a user name; a proxy's belongs into --proxy") : OK;
}

static enum status check_proxy(const char *text, char *fixed, size_t cap, char *why)
{
    (void)fixed;
    (void)cap;
    if (strcmp(text, "none") == 0)
        return OK;
    struct url url;
    if (url_parse(text, "http", &url, why, OPTION_WHY) != OK)
        return ERR_CONFIG;
    bool path = url.has_path && strcmp(url.path, "/") != 0;
    url_clear(&url);
    return path ? wrong(why, "must be http://[user:password@]host:port without a path") : OK;
}

static enum status check_fingerprint(const char *text, char *fixed, size_t cap, char *why)
{
    uint8_t digest[FINGERPRINT_BYTES];
    (void)fixed;
    (void)cap;
    return fingerprint_parse(text, digest) == OK
               ? OK
               : wrong(why, "must be a whole fingerprint, SHA256: and 43 characters, not \"%.80s\"", text);
}

static enum status check_preapproved(const char *text, char *fixed, size_t cap, char *why)
{
    char fingerprint[128];
    size_t len = strcspn(text, "=");
    if (len >= sizeof fingerprint)
        return wrong(why, "must be FINGERPRINT or FINGERPRINT=NAME, not \"%.80s\"", text);
    memcpy(fingerprint, text, len);
    fingerprint[len] = '\0';
    if (check_fingerprint(fingerprint, fixed, cap, why) != OK)
        return ERR_CONFIG;
    return text[len] == '=' && !name_is_valid(text + len + 1)
               ? wrong(why, "the name after = must be 1 to 63 lower-case letters, digits and inner dashes")
               : OK;
}

static enum status check_network(const char *text, char *fixed, size_t cap, char *why)
{
    struct netmask mask;
    (void)fixed;
    (void)cap;
    return netmask_parse(text, &mask) == OK
               ? OK
               : wrong(why, "must be an address or a network such as 192.0.2.0/24, not \"%.80s\"", text);
}

static enum status check_startups(const char *text, char *fixed, size_t cap, char *why)
{
    unsigned start = 0, rate = 0, full = 0;
    int used = 0;
    (void)fixed;
    (void)cap;
    if (strspn(text, "0123456789:") != strlen(text) ||
        sscanf(text, "%5u:%3u:%5u%n", &start, &rate, &full, &used) != 3 || text[used] != '\0')
        return wrong(why, "must be START:RATE:FULL such as 10:30:100, not \"%.80s\"", text);
    if (start < 1 || rate > 100 || full < start)
        return wrong(why, "needs START at least 1, RATE at most 100 and FULL not below START: \"%.80s\"",
                     text);
    return OK;
}

static enum status check_rsa_bits(const char *text, char *fixed, size_t cap, char *why)
{
    (void)fixed;
    (void)cap;
    return strcmp(text, "2048") == 0 || strcmp(text, "3072") == 0 || strcmp(text, "4096") == 0
               ? OK
               : wrong(why, "must be 2048, 3072 or 4096, not %.20s", text);
}

/* "K=V[,K=V]" with the characters of Kubernetes label keys and values. */
static enum status check_labels(const char *text, char *fixed, size_t cap, char *why)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./";
    (void)fixed;
    (void)cap;
    for (const char *p = text;; p++) {
        size_t key = strspn(p, allowed);
        size_t value = p[key] == '=' ? strspn(p + key + 1, allowed) : 0;
        if (key == 0 || p[key] != '=' || value > 63)
            return wrong(why, "must be KEY=VALUE[,KEY=VALUE…], not \"%.80s\"", text);
        p += key + 1 + value;
        if (*p == '\0')
            return OK;
        if (*p != ',')
            return wrong(why, "must be KEY=VALUE[,KEY=VALUE…], not \"%.80s\"", text);
    }
}

static const struct {
    const char *flag;
    enum status (*check)(const char *text, char *fixed, size_t cap, char *why);
} checks[] = {
    {"metrics-host", check_bind_address},
    {"host", check_bind_address},
    {"admin-host", check_bind_address},
    {"app-host", check_bind_address},
    {"state-dir", check_file},
    {"control-socket", check_file},
    {"admin-token-file", check_file},
    {"acceptor-storage-file-path", check_file},
    {"keypair-storage-path", check_file},
    {"key-dir", check_file},
    {"ca-file", check_file},
    {"proxy-credentials-file", check_file},
    {"kubeconfig", check_file},
    {"path", check_url_path},
    {"name", check_name},
    {"server", check_server},
    {"proxy", check_proxy},
    {"server-fingerprint", check_fingerprint},
    {"preapproved", check_preapproved},
    {"trusted-proxies", check_network},
    {"max-startups", check_startups},
    {"rsa-bits", check_rsa_bits},
    {"kubernetes-namespace", check_name},
    {"kubernetes-namespaces", check_name},
    {"kubernetes-labels", check_labels},
};

enum status option_check_text(const struct option *option, const char *text, char *fixed, size_t cap,
                              char *why)
{
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
        if (strcmp(checks[i].flag, option->flag) == 0)
            return checks[i].check(text, fixed, cap, why);
    return OK;
}
