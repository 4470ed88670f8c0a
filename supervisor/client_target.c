/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client: what --server and --proxy mean, as the dialer and the sessions need it. Text only: no name is
 * resolved and nothing is connected here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/client_events.h"
#include "supervisor/config/url.h"

/* RFC 4648 section 4. out: at least (len + 2) / 3 * 4 + 1 bytes. */
static void base64(const unsigned char *in, size_t len, char *out)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        unsigned bits =
            (unsigned)in[i] << 16 | (left > 1 ? (unsigned)in[i + 1] << 8 : 0) | (left > 2 ? in[i + 2] : 0);
        *out++ = alphabet[bits >> 18];
        *out++ = alphabet[bits >> 12 & 63];
        *out++ = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        *out++ = left > 2 ? alphabet[bits & 63] : '=';
    }
    *out = '\0';
}

/* RFC 7617. credentials: "user:password". */
static enum status authorization_set(struct client_target *t, const char *credentials, size_t len,
                                     struct config_error *error)
{
    if (len > 360) {
        (void)snprintf(error->text, sizeof error->text, "the proxy's user name and password are too long");
        return ERR_CONFIG;
    }
    (void)snprintf(t->proxy_authorization, sizeof t->proxy_authorization, "Basic ");
    base64((const unsigned char *)credentials, len, t->proxy_authorization + 6);
    return OK;
}

static enum status credentials_from_file(struct client_target *t, const char *path,
                                         struct config_error *error)
{
    char text[512];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    int saved = errno;

    if (fd >= 0)
        (void)close(fd);
    if (n < 0) {
        (void)snprintf(error->text, sizeof error->text, "proxy-credentials-file %s: %s", path,
                       strerror(saved));
        return ERR_CONFIG;
    }
    text[n] = '\0';
    size_t len = strcspn(text, "\r\n");
    enum status result = OK;
    if (memchr(text, ':', len) == NULL) {
        (void)snprintf(error->text, sizeof error->text,
                       "proxy-credentials-file %s: must hold one line user:password", path);
        result = ERR_CONFIG;
    } else {
        result = authorization_set(t, text, len, error);
    }
    explicit_bzero(text, sizeof text);
    return result;
}

static enum status proxy_fill(struct client_target *t, const struct config *config,
                              struct config_error *error)
{
    struct url url;
    char why[256];
    char credentials[sizeof url.user + sizeof url.password + 1];

    if (url_parse(config->proxy, "http", &url, why, sizeof why) != OK) {
        (void)snprintf(error->text, sizeof error->text, "--proxy: %.400s", why);
        return ERR_CONFIG;
    }
    t->via_proxy = true;
    (void)snprintf(t->proxy_host, sizeof t->proxy_host, "%s", url.host);
    t->proxy_port = url.port;
    enum status result = OK;
    if (config->proxy_credentials_file != NULL) {
        result = credentials_from_file(t, config->proxy_credentials_file, error);
    } else if (url.has_user) {
        (void)snprintf(credentials, sizeof credentials, "%s:%s", url.user, url.password);
        result = authorization_set(t, credentials, strlen(credentials), error);
        explicit_bzero(credentials, sizeof credentials);
    }
    url_clear(&url);
    return result;
}

enum status client_target_fill(struct client_target *t, const struct config *config,
                               struct config_error *error)
{
    struct url url;
    char why[256];

    memset(t, 0, sizeof *t);
    if (url_parse(config->server, "ws|wss", &url, why, sizeof why) != OK) {
        (void)snprintf(error->text, sizeof error->text, "--server: %.400s", why);
        return ERR_CONFIG;
    }
    t->tls = strcmp(url.scheme, "wss") == 0;
    t->port = url.port;
    (void)snprintf(t->host, sizeof t->host, "%s", url.host);
    bool fits = strlen(url.path) < sizeof t->path;
    (void)snprintf(t->path, sizeof t->path, "%.255s", url.has_path ? url.path : "/wh/tunnel");
    url_clear(&url);
    if (!fits) {
        (void)snprintf(error->text, sizeof error->text, "--server: the path is too long (at most 255 bytes)");
        return ERR_CONFIG;
    }
    return config->proxy != NULL ? proxy_fill(t, config, error) : OK;
}
