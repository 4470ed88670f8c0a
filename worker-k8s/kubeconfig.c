/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The subset of kubeconfig files that Wormhole understands: one context with its cluster (server,
 * tls-server-name, CA) and its user (token, tokenFile, client certificate). What would run programs, send
 * passwords or skip verification is refused by name, never ignored. Fills a struct cluster and nothing else.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "worker-k8s/cluster.h"
#include "worker-k8s/digest.h"

struct reader {
    yaml_document_t doc;
    const char *path;
    char *error;
    size_t error_cap;
    struct cluster *out;
};

__attribute__((format(printf, 3, 4))) static enum status fail(struct reader *r, const yaml_node_t *where,
                                                              const char *format, ...)
{
    int n = where == NULL ? snprintf(r->error, r->error_cap, "%s: ", r->path)
                          : snprintf(r->error, r->error_cap, "%s:%zu:%zu: ", r->path,
                                     where->start_mark.line + 1, where->start_mark.column + 1);
    va_list args;
    va_start(args, format);
    if (n >= 0 && (size_t)n < r->error_cap) {
        vsnprintf(r->error + n, r->error_cap - (size_t)n, format, args);
    }
    va_end(args);
    return ERR_CONFIG;
}

static yaml_node_t *member(struct reader *r, const yaml_node_t *map, const char *key)
{
    if (map == NULL || map->type != YAML_MAPPING_NODE) {
        return NULL;
    }
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        yaml_node_t *k = yaml_document_get_node(&r->doc, p->key);
        if (k->type == YAML_SCALAR_NODE && strcmp((const char *)k->data.scalar.value, key) == 0) {
            return yaml_document_get_node(&r->doc, p->value);
        }
    }
    return NULL;
}

/* The member's text; NULL when it is missing, empty or null. */
static const char *text(struct reader *r, const yaml_node_t *map, const char *key)
{
    const yaml_node_t *node = member(r, map, key);
    if (node == NULL || node->type != YAML_SCALAR_NODE || node->data.scalar.length == 0 ||
        strlen((const char *)node->data.scalar.value) != node->data.scalar.length) {
        return NULL;
    }
    const char *value = (const char *)node->data.scalar.value;
    bool plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return plain && (strcmp(value, "null") == 0 || strcmp(value, "~") == 0) ? NULL : value;
}

/* The entry called `name` of the list `list` ("clusters"), and in it the member `inner` ("cluster"). */
static enum status named(struct reader *r, const yaml_node_t *root, const char *list, const char *inner,
                         const char *name, yaml_node_t **out)
{
    yaml_node_t *seq = member(r, root, list);
    if (seq != NULL && seq->type == YAML_SEQUENCE_NODE) {
        for (yaml_node_item_t *i = seq->data.sequence.items.start; i < seq->data.sequence.items.top; i++) {
            yaml_node_t *entry = yaml_document_get_node(&r->doc, *i);
            const char *its = text(r, entry, "name");
            if (its != NULL && strcmp(its, name) == 0) {
                *out = member(r, entry, inner);
                return *out != NULL && (*out)->type == YAML_MAPPING_NODE
                           ? OK
                           : fail(r, entry, "entry \"%s\" of %s has no %s", name, list, inner);
            }
        }
    }
    return fail(r, seq != NULL ? seq : root, "%s has no entry \"%s\"", list, name);
}

/* Refuses members that would have to be understood to be safe. */
static enum status refuse(struct reader *r, const yaml_node_t *map, const char *const *keys)
{
    for (; keys[0] != NULL; keys += 2) {
        const yaml_node_t *node = member(r, map, keys[0]);
        bool off =
            node != NULL && node->type == YAML_SCALAR_NODE &&
            (node->data.scalar.length == 0 || strcmp((const char *)node->data.scalar.value, "false") == 0 ||
             strcmp((const char *)node->data.scalar.value, "null") == 0);
        if (node != NULL && !off) {
            return fail(r, node, "%s is not supported: %s", keys[0], keys[1]);
        }
    }
    return OK;
}

/* A path in the file, relative to the file's own directory. */
static char *resolve(struct reader *r, const char *value)
{
    const char *slash = strrchr(r->path, '/');
    char *out = NULL;
    if (value[0] == '/' || slash == NULL) {
        return strdup(value);
    }
    return asprintf(&out, "%.*s/%s", (int)(slash - r->path), r->path, value) < 0 ? NULL : out;
}

static enum status decode_base64(struct reader *r, const yaml_node_t *where, const char *key,
                                 struct blob *out)
{
    size_t len = where->data.scalar.length;
    if (len > CLUSTER_FILE_MAX) {
        return fail(r, where, "%s is too long", key);
    }
    char *data = malloc(len + 4);
    char *clean = malloc(len + 1);
    size_t n = 0;
    for (size_t i = 0; clean != NULL && i < len; i++) {
        char c = (char)where->data.scalar.value[i];
        if (c != '\n' && c != '\r' && c != ' ') {
            clean[n++] = c;
        }
    }
    int got = data != NULL && clean != NULL ? base64_decode(clean, n, data) : -1;
    if (got > 0) {
        data[got] = '\0';
        *out = (struct blob){data, (size_t)got};
    }
    if (clean != NULL) {
        explicit_bzero(clean, len + 1);
    }
    free(clean);
    if (got <= 0) {
        free(data);
        return fail(r, where, "%s is not base64", key);
    }
    return OK;
}

/* KEY-data (base64) or KEY (a file) into out; neither is fine. *path_out gets the file's path when wanted. */
static enum status read_pem(struct reader *r, const yaml_node_t *map, const char *key, struct blob *out,
                            char **path_out)
{
    char data_key[64];
    snprintf(data_key, sizeof data_key, "%s-data", key);
    if (text(r, map, data_key) != NULL) {
        return decode_base64(r, member(r, map, data_key), data_key, out);
    }
    const char *value = text(r, map, key);
    if (value == NULL) {
        return OK;
    }
    char *path = resolve(r, value);
    if (path == NULL) {
        return ERR_NOMEM;
    }
    if (cluster_read_file(path, out) != OK) {
        enum status status = fail(r, member(r, map, key), "%s %s: %s", key, path, strerror(errno));
        free(path);
        return status;
    }
    if (path_out != NULL) {
        *path_out = path;
    } else {
        free(path);
    }
    return OK;
}

static enum status read_cluster(struct reader *r, const yaml_node_t *cluster)
{
    static const char *const refused[] = {
        "insecure-skip-tls-verify",
        "give certificate-authority or certificate-authority-data",
        "proxy-url",
        "the API server has to be reachable directly",
        NULL,
    };
    const char *server = text(r, cluster, "server");
    enum status status = refuse(r, cluster, refused);
    if (status != OK) {
        return status;
    }
    if (server == NULL || !cluster_set_server(r->out, server)) {
        return fail(r, server == NULL ? cluster : member(r, cluster, "server"),
                    "server has to be https://HOST[:PORT][/PATH], not \"%.128s\"",
                    server == NULL ? "" : server);
    }
    const char *name = text(r, cluster, "tls-server-name");
    if (name != NULL && (r->out->tls_server_name = strdup(name)) == NULL) {
        return ERR_NOMEM;
    }
    char *path = NULL;
    status = read_pem(r, cluster, "certificate-authority", &r->out->ca, &path);
    if (status == OK && path != NULL) {
        blob_trim(&r->out->ca);
        status = cluster_keep_file(&r->out->ca_file, path);
    }
    free(path);
    return status;
}

static enum status read_token(struct reader *r, const yaml_node_t *user)
{
    const char *file = text(r, user, "tokenFile"); /* as in kubectl, the file wins over the text */
    const char *token = text(r, user, "token");
    if (file == NULL) {
        if (token != NULL) {
            r->out->token = (struct blob){strdup(token), strlen(token)};
            blob_trim(&r->out->token);
        }
        return token == NULL || r->out->token.data != NULL ? OK : ERR_NOMEM;
    }
    char *path = resolve(r, file);
    if (path == NULL) {
        return ERR_NOMEM;
    }
    enum status status = OK;
    if (cluster_read_file(path, &r->out->token) != OK) {
        status = fail(r, member(r, user, "tokenFile"), "tokenFile %s: %s", path, strerror(errno));
    } else {
        blob_trim(&r->out->token);
        status = cluster_keep_file(&r->out->token_file, path);
    }
    free(path);
    return status;
}

static enum status read_user(struct reader *r, const yaml_node_t *user)
{
    static const char *const instead = "give token, tokenFile or client-certificate with client-key";
    const char *const refused[] = {
        "exec",
        instead,
        "auth-provider",
        instead,
        "username",
        instead,
        "password",
        instead,
        "as",
        "impersonation is not for a service",
        "as-uid",
        "impersonation is not for a service",
        "as-groups",
        "impersonation is not for a service",
        NULL,
    };
    enum status status = refuse(r, user, refused);
    if (status == OK) {
        status = read_pem(r, user, "client-certificate", &r->out->certificate, NULL);
    }
    if (status == OK) {
        status = read_pem(r, user, "client-key", &r->out->key, NULL);
    }
    if (status == OK) {
        status = read_token(r, user);
    }
    if (status == OK && (r->out->certificate.len == 0) != (r->out->key.len == 0)) {
        return fail(r, user, "client-certificate and client-key have to be given together");
    }
    if (status == OK && r->out->token.len == 0 && r->out->key.len == 0) {
        return fail(r, user, "this user has no credentials: %s", instead);
    }
    return status;
}

static enum status read_document(struct reader *r, const char *context)
{
    yaml_node_t *root = yaml_document_get_root_node(&r->doc);
    yaml_node_t *ctx = NULL, *cluster = NULL, *user = NULL;
    if (root == NULL || root->type != YAML_MAPPING_NODE) {
        return fail(r, root, "this is no kubeconfig");
    }
    if (context[0] == '\0') {
        context = text(r, root, "current-context");
    }
    if (context == NULL) {
        return fail(r, root, "there is no current-context, and none was asked for");
    }
    enum status status = named(r, root, "contexts", "context", context, &ctx);
    if (status != OK) {
        return status;
    }
    const char *cluster_name = text(r, ctx, "cluster");
    const char *user_name = text(r, ctx, "user");
    if (cluster_name == NULL || user_name == NULL) {
        return fail(r, ctx, "context \"%s\" needs a cluster and a user", context);
    }
    const char *ns = text(r, ctx, "namespace");
    if (ns != NULL && strlen(ns) >= sizeof r->out->namespace) {
        return fail(r, member(r, ctx, "namespace"), "namespace is too long");
    }
    snprintf(r->out->namespace, sizeof r->out->namespace, "%s", ns != NULL ? ns : "");
    status = named(r, root, "clusters", "cluster", cluster_name, &cluster);
    if (status == OK) {
        status = named(r, root, "users", "user", user_name, &user);
    }
    if (status == OK) {
        status = read_cluster(r, cluster);
    }
    return status == OK ? read_user(r, user) : status;
}

enum status kubeconfig_load(struct cluster *c, const char *path, const char *context, char *error, size_t cap)
{
    struct reader r = {.path = path, .error = error, .error_cap = cap, .out = c};
    yaml_parser_t parser;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return fail(&r, NULL, "%s; --kubeconfig has to name a readable file", strerror(errno));
    }
    if (!yaml_parser_initialize(&parser)) {
        fclose(file);
        return ERR_NOMEM;
    }
    yaml_parser_set_input_file(&parser, file);
    enum status status = OK;
    if (!yaml_parser_load(&parser, &r.doc)) {
        snprintf(error, cap, "%s:%zu:%zu: %s", path, parser.problem_mark.line + 1,
                 parser.problem_mark.column + 1, parser.problem != NULL ? parser.problem : "this is no YAML");
        status = ERR_CONFIG;
    } else {
        status = read_document(&r, context);
        yaml_document_delete(&r.doc);
    }
    yaml_parser_delete(&parser);
    fclose(file);
    return status;
}
