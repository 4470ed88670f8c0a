/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How to reach one API server and who we are to it: address, CA, token or client certificate, namespace. Read
 * before the sandbox closes, in-cluster or from a kubeconfig; afterwards only the token and the CA are read
 * again, because they rotate. It must not make connections.
 */
#ifndef WORMHOLE_K8S_CLUSTER_H
#define WORMHOLE_K8S_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

#define CLUSTER_ADDRESSES_MAX 8
#define CLUSTER_FILE_MAX (1u << 20) /* bytes of a CA, certificate, key or token file */

/* A file that may be read again later: its directory stays open, since the sandbox closes the path to it. */
struct cluster_file {
    char *path;
    int dir; /* -1: nothing to read again */
    char *base;
};

struct blob {
    char *data; /* NUL-terminated for convenience */
    size_t len;
};

struct cluster {
    char *host; /* name or numeric address, no brackets */
    uint16_t port;
    char *base_path;                        /* of the server URL, without a trailing slash; usually empty */
    char *tls_server_name;                  /* NULL: the host */
    char *addresses[CLUSTER_ADDRESSES_MAX]; /* what host resolved to; numeric */
    size_t n_addresses;
    char namespace[64];           /* of the pod or the context; may be empty */
    struct blob ca;               /* PEM; empty: the system's authorities */
    struct blob certificate, key; /* PEM; empty: none */
    struct blob token;            /* trimmed; empty: none */
    struct cluster_file token_file, ca_file;
    bool system_ca; /* no CA was given */
};

/*
 * Reads the configuration: `kubeconfig` (and, when not empty, this context of it), or, with an empty
 * kubeconfig, the pod's own service account. On failure `error` gets one line that says what, where and what
 * to do. ERR_CONFIG, ERR_IO, ERR_NOMEM.
 */
enum status cluster_load(struct cluster *c, const char *kubeconfig, const char *context, char *error,
                         size_t error_cap);

/* Looks the host up, so that no resolver is needed later. ERR_NOT_FOUND with a line in error. */
enum status cluster_resolve(struct cluster *c, char *error, size_t error_cap);

/*
 * Reads the token again. True when it differs from the one before. A file that cannot be read, or is empty,
 * changes nothing: *problem says why then (errno text), NULL otherwise.
 */
bool cluster_reload_token(struct cluster *c, const char **problem);
bool cluster_reload_ca(struct cluster *c, const char **problem);

/* Wipes and frees; a zeroed one is fine. */
void cluster_clear(struct cluster *c);

/* kubeconfig.c: the documented subset of a kubeconfig file, parsed into c. Same errors as cluster_load. */
enum status kubeconfig_load(struct cluster *c, const char *path, const char *context, char *error,
                            size_t error_cap);

/* cluster.c, for kubeconfig.c: "https://host[:port][/path]" into c; false when it is not that. */
bool cluster_set_server(struct cluster *c, const char *url);
enum status cluster_read_file(const char *path, struct blob *out);
enum status cluster_keep_file(struct cluster_file *file, const char *path);
void blob_clear(struct blob *blob);
void blob_trim(struct blob *blob);

#endif
