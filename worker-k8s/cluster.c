/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding the API server and our credentials (cluster.h). Tokens and keys are wiped when they are replaced or
 * freed, and never logged.
 */
#include "worker-k8s/cluster.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

void blob_clear(struct blob *blob)
{
    if (blob->data != NULL) {
        explicit_bzero(blob->data, blob->len);
        free(blob->data);
    }
    *blob = (struct blob){0};
}

void blob_trim(struct blob *blob)
{
    size_t start = 0;
    while (blob->len > 0 && isspace((unsigned char)blob->data[blob->len - 1])) {
        blob->len--;
    }
    while (start < blob->len && isspace((unsigned char)blob->data[start])) {
        start++;
    }
    if (blob->data != NULL) {
        memmove(blob->data, blob->data + start, blob->len - start);
        blob->len -= start;
        blob->data[blob->len] = '\0';
    }
}

/* Reads an open file to its end; closes it. errno says why on ERR_IO; ERR_SIZE: over CLUSTER_FILE_MAX. */
static enum status read_all(int fd, struct blob *out)
{
    struct blob blob = {malloc(CLUSTER_FILE_MAX + 1), 0};
    enum status status = blob.data == NULL ? ERR_NOMEM : OK;
    ssize_t n = 0;
    while (status == OK && (n = read(fd, blob.data + blob.len, CLUSTER_FILE_MAX + 1 - blob.len)) != 0) {
        if (n < 0 && errno != EINTR) {
            status = ERR_IO;
        } else if (n > 0) {
            blob.len += (size_t)n;
            status = blob.len > CLUSTER_FILE_MAX ? ERR_SIZE : OK;
        }
    }
    int kept = errno;
    close(fd);
    if (status != OK) {
        blob_clear(&blob);
        errno = status == ERR_SIZE ? EFBIG : status == ERR_NOMEM ? ENOMEM : kept;
        return status;
    }
    blob.data[blob.len] = '\0';
    char *exact = malloc(blob.len + 1);
    if (exact != NULL) {
        memcpy(exact, blob.data, blob.len + 1);
        explicit_bzero(blob.data, blob.len);
        free(blob.data);
        blob.data = exact;
    }
    *out = blob;
    return OK;
}

enum status cluster_read_file(const char *path, struct blob *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return fd < 0 ? ERR_IO : read_all(fd, out);
}

enum status cluster_keep_file(struct cluster_file *file, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash == NULL   ? strdup(".")
                : slash == path ? strdup("/")
                                : strndup(path, (size_t)(slash - path));
    file->path = strdup(path);
    file->base = strdup(slash == NULL ? path : slash + 1);
    file->dir = dir != NULL ? open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    free(dir);
    return file->path == NULL || file->base == NULL ? ERR_NOMEM : OK;
}

static void file_clear(struct cluster_file *file)
{
    if (file->path != NULL && file->dir >= 0) {
        close(file->dir);
    }
    free(file->path);
    free(file->base);
    *file = (struct cluster_file){.dir = -1};
}

/* Reads file again into *blob when it holds something else now. */
static bool reload(const struct cluster_file *file, struct blob *blob, const char **problem)
{
    struct blob fresh = {0};
    *problem = NULL;
    if (file->path == NULL) {
        return false;
    }
    int fd = file->dir < 0 ? -1 : openat(file->dir, file->base, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || read_all(fd, &fresh) != OK) {
        *problem = strerrorname_np(errno);
        return false;
    }
    blob_trim(&fresh);
    bool same = fresh.len == blob->len && memcmp(fresh.data, blob->data, fresh.len) == 0;
    if (fresh.len == 0) {
        *problem = "empty file";
    }
    if (fresh.len == 0 || same) {
        blob_clear(&fresh);
        return false;
    }
    blob_clear(blob);
    *blob = fresh;
    return true;
}

bool cluster_reload_token(struct cluster *c, const char **problem)
{
    return reload(&c->token_file, &c->token, problem);
}

bool cluster_reload_ca(struct cluster *c, const char **problem)
{
    return reload(&c->ca_file, &c->ca, problem);
}

bool cluster_set_server(struct cluster *c, const char *url)
{
    static const char scheme[] = "https://";
    if (strncasecmp(url, scheme, sizeof scheme - 1) != 0) {
        return false;
    }
    const char *host = url + sizeof scheme - 1;
    size_t host_len = host[0] == '[' ? strcspn(host, "]") : strcspn(host, ":/?#@");
    const char *rest = host + host_len + (host[0] == '[' && host[host_len] == ']');
    if (host[0] == '[') {
        if (host[host_len] != ']') {
            return false;
        }
        host++;
        host_len--;
    }
    unsigned long port = 443;
    if (*rest == ':') {
        char *end = NULL;
        port = isdigit((unsigned char)rest[1]) ? strtoul(rest + 1, &end, 10) : 0;
        rest = end != NULL ? end : rest;
    }
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:%";
    if (host_len == 0 || host_len > 253 || strspn(host, allowed) < host_len || port == 0 || port > 65535 ||
        (*rest != '\0' && *rest != '/') || strpbrk(rest, "?#@ \t\r\n") != NULL) {
        return false;
    }
    size_t path_len = strlen(rest);
    while (path_len > 0 && rest[path_len - 1] == '/') {
        path_len--;
    }
    c->host = strndup(host, host_len);
    c->base_path = strndup(rest, path_len);
    c->port = (uint16_t)port;
    return c->host != NULL && c->base_path != NULL;
}

static enum status load_in_cluster(struct cluster *c, char *error, size_t cap)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    char url[320];
    if (host == NULL || port == NULL || host[0] == '\0' || port[0] == '\0') {
        snprintf(error, cap,
                 "not in a Kubernetes pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are "
                 "not set; outside a cluster give --kubeconfig FILE");
        return ERR_CONFIG;
    }
    bool v6 = strchr(host, ':') != NULL;
    snprintf(url, sizeof url, "https://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port);
    if (!cluster_set_server(c, url)) {
        snprintf(error, cap, "KUBERNETES_SERVICE_HOST=%.64s and KUBERNETES_SERVICE_PORT=%.16s are no address",
                 host, port);
        return ERR_CONFIG;
    }
    if (cluster_read_file(ACCOUNT_DIR "/token", &c->token) != OK) {
        snprintf(error, cap, "%s/token: %s; does the pod mount its service account token?", ACCOUNT_DIR,
                 strerror(errno));
        return ERR_IO;
    }
    blob_trim(&c->token);
    if (cluster_read_file(ACCOUNT_DIR "/ca.crt", &c->ca) != OK) {
        snprintf(error, cap, "%s/ca.crt: %s", ACCOUNT_DIR, strerror(errno));
        return ERR_IO;
    }
    blob_trim(&c->ca);
    struct blob ns = {0};
    if (cluster_read_file(ACCOUNT_DIR "/namespace", &ns) == OK) {
        blob_trim(&ns);
        if (ns.len < sizeof c->namespace) {
            memcpy(c->namespace, ns.data, ns.len + 1);
        }
        blob_clear(&ns);
    }
    enum status status = cluster_keep_file(&c->token_file, ACCOUNT_DIR "/token");
    return status == OK ? cluster_keep_file(&c->ca_file, ACCOUNT_DIR "/ca.crt") : status;
}

enum status cluster_load(struct cluster *c, const char *kubeconfig, const char *context, char *error,
                         size_t cap)
{
    struct cluster fresh = {.token_file.dir = -1, .ca_file.dir = -1};
    enum status status = kubeconfig[0] != '\0' ? kubeconfig_load(&fresh, kubeconfig, context, error, cap)
                                               : load_in_cluster(&fresh, error, cap);
    if (status != OK) {
        if (status == ERR_NOMEM) {
            snprintf(error, cap, "out of memory");
        }
        cluster_clear(&fresh);
        return status;
    }
    fresh.system_ca = fresh.ca.len == 0;
    *c = fresh;
    return OK;
}

enum status cluster_resolve(struct cluster *c, char *error, size_t cap)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    char port[8];
    snprintf(port, sizeof port, "%u", c->port);
    int rc = getaddrinfo(c->host, port, &hints, &list);
    if (rc == EAI_NONAME ||
        rc == EAI_ADDRFAMILY) { /* AI_ADDRCONFIG hides loopback on a host without a network */
        hints.ai_flags = 0;
        rc = getaddrinfo(c->host, port, &hints, &list);
    }
    if (rc != 0) {
        snprintf(error, cap, "API server \"%s\" cannot be found: %s", c->host, gai_strerror(rc));
        return ERR_NOT_FOUND;
    }
    for (struct addrinfo *a = list; a != NULL && c->n_addresses < CLUSTER_ADDRESSES_MAX; a = a->ai_next) {
        char text[64];
        if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0) {
            c->addresses[c->n_addresses] = strdup(text);
            c->n_addresses += c->addresses[c->n_addresses] != NULL;
        }
    }
    freeaddrinfo(list);
    if (c->n_addresses == 0) {
        snprintf(error, cap, "API server \"%s\" has no usable address", c->host);
        return ERR_NOT_FOUND;
    }
    return OK;
}

void cluster_clear(struct cluster *c)
{
    free(c->host);
    free(c->base_path);
    free(c->tls_server_name);
    for (size_t i = 0; i < c->n_addresses; i++) {
        free(c->addresses[i]);
    }
    blob_clear(&c->ca);
    blob_clear(&c->certificate);
    blob_clear(&c->key);
    blob_clear(&c->token);
    file_clear(&c->token_file);
    file_clear(&c->ca_file);
    memset(c, 0, sizeof *c);
    c->token_file.dir = c->ca_file.dir = -1;
}
