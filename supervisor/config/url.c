/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsing of the configuration's URLs. It must not resolve or connect: the dialer does.
 */
#include "supervisor/config/url.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/names.h"

static enum status wrong(char *why, size_t cap, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static enum status wrong(char *why, size_t cap, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, cap, format, args);
    va_end(args);
    return ERR_CONFIG;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Percent-decodes len bytes (RFC 3986 section 2.1). False: a bad escape, a NUL, or too long. */
static bool percent_decode(const char *in, size_t len, char *out, size_t cap)
{
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        char c = in[i];
        if (c == '%') {
            if (i + 2 >= len)
                return false;
            int high = hex_digit(in[i + 1]), low = hex_digit(in[i + 2]);
            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0' || used + 1 >= cap)
            return false;
        out[used++] = c;
    }
    out[used] = '\0';
    return true;
}

/* Is scheme one of "ws|wss"? */
static bool scheme_listed(const char *schemes, const char *scheme)
{
    size_t len = strlen(scheme);
    for (const char *p = schemes; *p != '\0';) {
        size_t word = strcspn(p, "|");
        if (word == len && memcmp(p, scheme, len) == 0)
            return true;
        p += word;
        p += *p == '|' ? 1 : 0;
    }
    return false;
}

static bool host_is_clean(const char *host)
{
    for (const char *p = host; *p != '\0'; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
              strchr("-._:%", *p) != NULL))
            return false;
    return host[0] != '\0';
}

static enum status userinfo_parse(const char *text, size_t len, struct url *url, char *why, size_t why_cap)
{
    const char *colon = memchr(text, ':', len);
    size_t user_len = colon != NULL ? (size_t)(colon - text) : len;
    url->has_user = true;
    if (!percent_decode(text, user_len, url->user, sizeof url->user) || strchr(url->user, ':') != NULL)
        return wrong(why, why_cap, "the user name in the URL is malformed or too long");
    if (colon != NULL && !percent_decode(colon + 1, len - user_len - 1, url->password, sizeof url->password))
        return wrong(why, why_cap, "the password in the URL is malformed or too long");
    return OK;
}

static enum status parse_into(const char *text, const char *schemes, struct url *url, char *why,
                              size_t why_cap)
{
    const char *mark = strstr(text, "://");
    size_t scheme_len = mark != NULL ? (size_t)(mark - text) : 0;
    if (mark == NULL || scheme_len >= sizeof url->scheme)
        return wrong(why, why_cap, "is not a URL (%s://host…): \"%.80s\"", schemes, text);
    for (size_t i = 0; i < scheme_len; i++)
        url->scheme[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    if (!scheme_listed(schemes, url->scheme))
        return wrong(why, why_cap, "must begin with %s://, not \"%s://\"", schemes, url->scheme);
    for (const char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f || *p == '#' || *p == '\\' || *p == '"')
            return wrong(why, why_cap, "has a character that a URL here must not have");
    const char *authority = mark + 3;
    size_t authority_len = strcspn(authority, "/?");
    const char *at = memrchr(authority, '@', authority_len);
    if (at != NULL) {
        if (userinfo_parse(authority, (size_t)(at - authority), url, why, why_cap) != OK)
            return ERR_CONFIG;
        authority_len -= (size_t)(at + 1 - authority);
        authority = at + 1;
    }
    char hostport[300];
    if (authority_len >= sizeof hostport)
        return wrong(why, why_cap, "the host name is too long");
    memcpy(hostport, authority, authority_len);
    hostport[authority_len] = '\0';
    bool secure = strcmp(url->scheme, "wss") == 0 || strcmp(url->scheme, "https") == 0;
    if (address_split(hostport, secure ? 443 : 80, url->host, sizeof url->host, &url->port) != OK ||
        url->port == 0 || !host_is_clean(url->host))
        return wrong(why, why_cap, "has no usable host and port: \"%.80s\"", hostport);
    const char *path = authority + authority_len;
    url->has_path = *path == '/';
    if (strlen(path) + 2 > sizeof url->path)
        return wrong(why, why_cap, "the path is too long");
    (void)snprintf(url->path, sizeof url->path, "%s%s", *path == '/' ? "" : "/", path);
    return OK;
}

enum status url_parse(const char *text, const char *schemes, struct url *out, char *why, size_t why_cap)
{
    struct url url;
    memset(&url, 0, sizeof url);
    enum status st = parse_into(text, schemes, &url, why, why_cap);
    if (st == OK)
        *out = url;
    url_clear(&url);
    return st;
}

void url_clear(struct url *url)
{
    explicit_bzero(url, sizeof *url);
}

void url_hide_password(const char *text, char *out, size_t cap)
{
    const char *mark = strstr(text, "://");
    const char *authority = mark != NULL ? mark + 3 : text;
    const char *at = memrchr(authority, '@', strcspn(authority, "/?"));
    const char *colon = at != NULL ? memchr(authority, ':', (size_t)(at - authority)) : NULL;
    if (colon == NULL)
        (void)snprintf(out, cap, "%s", text);
    else
        (void)snprintf(out, cap, "%.*s:…%s", (int)(colon - text), text, at);
}
