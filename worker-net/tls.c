/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS over OpenSSL's libssl: see tls.h. TLS 1.2 is the least; no sessions, no renegotiation.
 */
#include "worker-net/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct tls_context {
    SSL_CTX *ctx;
};

/* A TLS record has 16 KiB at most: one system call for a dozen of them. */
#define GATHER_BYTES (256L << 10)

struct tls {
    SSL *ssl;
    char host[256];
    bool shut;
};

/* Where distributions keep the bundle of all authorities; hashed directories are of no use in a sandbox. */
static const char *const bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
};

static const char *find_bundle(void)
{
    for (size_t i = 0; i < sizeof bundles / sizeof bundles[0]; i++) {
        if (access(bundles[i], R_OK) == 0)
            return bundles[i];
    }
    return NULL;
}

enum status tls_context_new(const char *ca_file, struct tls_context **out, char *why, size_t why_cap)
{
    const char *file = ca_file[0] != '\0' ? ca_file : find_bundle();

    if (file == NULL) {
        (void)snprintf(why, why_cap,
                       "no bundle of certificate authorities found; install ca-certificates or give "
                       "--ca-file");
        return ERR_IO;
    }
    if (access(file, R_OK) != 0) {
        (void)snprintf(why, why_cap, "%s: %s; check --ca-file", file, strerror(errno));
        return ERR_IO;
    }
    struct tls_context *context = calloc(1, sizeof *context);
    if (context == NULL)
        return ERR_NOMEM;
    context->ctx = SSL_CTX_new(TLS_client_method());
    if (context->ctx == NULL || SSL_CTX_set_min_proto_version(context->ctx, TLS1_2_VERSION) != 1) {
        tls_context_free(context);
        (void)snprintf(why, why_cap, "OpenSSL could not be set up for TLS");
        return ERR_CRYPTO;
    }
    SSL_CTX_set_verify(context->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_options(context->ctx,
                        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(context->ctx, 1); /* several TLS records per system call */
    SSL_CTX_set_default_read_buffer_len(context->ctx, 128u << 10);
    if (SSL_CTX_load_verify_file(context->ctx, file) != 1) {
        (void)snprintf(why, why_cap, "%s: holds no usable certificate (PEM); check --ca-file", file);
        ERR_clear_error();
        tls_context_free(context);
        return ERR_FORMAT;
    }
    *out = context;
    return OK;
}

void tls_context_free(struct tls_context *context)
{
    if (context == NULL)
        return;
    SSL_CTX_free(context->ctx);
    free(context);
}

/* Which name or address the certificate must carry (RFC 9525), and SNI, which is for names only. */
static bool set_host(SSL *ssl, const char *host)
{
    struct in6_addr address;

    if (inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

struct tls *tls_new(struct tls_context *context, int fd, const char *host)
{
    struct tls *t = calloc(1, sizeof *t);

    if (t == NULL)
        return NULL;
    (void)snprintf(t->host, sizeof t->host, "%s", host);
    t->ssl = SSL_new(context->ctx);
    if (t->ssl == NULL || SSL_set_fd(t->ssl, fd) != 1 || !set_host(t->ssl, host)) {
        ERR_clear_error();
        tls_free(t);
        return NULL;
    }
    SSL_set_connect_state(t->ssl);
    return t;
}

void tls_free(struct tls *t)
{
    if (t == NULL)
        return;
    SSL_free(t->ssl); /* the descriptor stays open: BIO_NOCLOSE */
    free(t);
}

/* A certificate that was not accepted: which rule, and what a person can do about it. */
static void explain_certificate(const struct tls *t, long result, char *why, size_t cap)
{
    const char *advice = "";

    switch (result) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        (void)snprintf(why, cap, "the server's certificate is not for %s; check the host in --server",
                       t->host);
        return;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: advice = "; give its authority in --ca-file"; break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID: advice = "; check the clock, too"; break;
    default: break;
    }
    (void)snprintf(why, cap, "the server's certificate is not accepted: %s%s",
                   X509_verify_cert_error_string(result), advice);
}

static enum status explain_failure(const struct tls *t, char *why, size_t cap)
{
    unsigned long code = ERR_peek_error();
    long result = SSL_get_verify_result(t->ssl);
    int reason = ERR_GET_REASON(code);

    ERR_clear_error();
    if (result != X509_V_OK) {
        explain_certificate(t, result, why, cap);
        return ERR_AUTH;
    }
    if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST) {
        (void)snprintf(why, cap, "%s does not speak TLS on this port; is it ws:// instead of wss://?",
                       t->host);
        return ERR_FORMAT;
    }
    const char *text = ERR_reason_error_string(code);
    (void)snprintf(why, cap, "TLS with %s failed: %s", t->host, text == NULL ? "unknown error" : text);
    return ERR_FORMAT;
}

enum status tls_handshake(struct tls *t, bool *want_write, char *why, size_t why_cap)
{
    ERR_clear_error();
    errno = 0;
    int r = SSL_do_handshake(t->ssl);
    int saved = errno;

    if (r == 1)
        return OK;
    switch (SSL_get_error(t->ssl, r)) {
    case SSL_ERROR_WANT_READ: *want_write = false; return ERR_AGAIN;
    case SSL_ERROR_WANT_WRITE: *want_write = true; return ERR_AGAIN;
    case SSL_ERROR_SYSCALL:
        if (saved != 0) {
            (void)snprintf(why, why_cap, "the connection to %s broke during the TLS handshake: %s", t->host,
                           strerror(saved));
            return ERR_IO;
        } /* fall through */
    case SSL_ERROR_ZERO_RETURN:
        (void)snprintf(why, why_cap, "%s closed the connection during the TLS handshake", t->host);
        return ERR_EOF;
    default: return explain_failure(t, why, why_cap);
    }
}

/* What a failed read or write means. */
static enum status io_status(struct tls *t, int r, int saved)
{
    int error = SSL_get_error(t->ssl, r);

    ERR_clear_error();
    switch (error) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return ERR_AGAIN;
    case SSL_ERROR_ZERO_RETURN: return ERR_EOF;
    case SSL_ERROR_SYSCALL: errno = saved; return saved == 0 ? ERR_EOF : ERR_IO;
    default: return ERR_FORMAT;
    }
}

enum status tls_read(struct tls *t, void *buf, size_t cap, size_t *n)
{
    ERR_clear_error();
    errno = 0;
    int r = SSL_read_ex(t->ssl, buf, cap, n);

    return r == 1 ? OK : io_status(t, r, errno);
}

enum status tls_write(struct tls *t, const void *buf, size_t len, size_t *n)
{
    ERR_clear_error();
    errno = 0;
    int r = SSL_write_ex(t->ssl, buf, len, n);

    return r == 1 ? OK : io_status(t, r, errno);
}

bool tls_gather_writes(struct tls *t)
{
    BIO *gather = BIO_new(BIO_f_buffer());

    if (gather == NULL || BIO_set_write_buffer_size(gather, GATHER_BYTES) != 1) {
        BIO_free(gather);
        ERR_clear_error();
        return false;
    }
    BIO *socket = SSL_get_wbio(t->ssl);
    (void)BIO_up_ref(socket); /* the chain holds it as the reading side does */
    SSL_set0_wbio(t->ssl, BIO_push(gather, socket));
    return true;
}

enum status tls_flush(struct tls *t)
{
    BIO *out = SSL_get_wbio(t->ssl);

    errno = 0;
    if (BIO_flush(out) > 0)
        return OK;
    int saved = errno;
    ERR_clear_error();
    errno = saved;
    return BIO_should_retry(out) ? ERR_AGAIN : ERR_IO;
}

void tls_shutdown(struct tls *t)
{
    if (t->shut)
        return;
    t->shut = true;
    ERR_clear_error();
    (void)SSL_shutdown(t->ssl);
    (void)BIO_flush(SSL_get_wbio(t->ssl));
    ERR_clear_error();
}
