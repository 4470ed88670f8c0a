/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TLS client against a real TLS server in a thread, with certificates made here: what is accepted, and
 * what exactly is said when something is wrong, because that is all that a person gets to see of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "worker-net/tls.h"

#define DAY 86400

static EVP_PKEY *key; /* of everybody: only the names matter here */
static X509 *authority;
static char ca_file[64];
static struct tls_context *context;

/* names: a subjectAltName; issuer NULL: self-signed. Valid from `from` to `to` days from now. */
static X509 *certificate(const char *subject, const char *names, X509 *issuer, int from, int to)
{
    static long serial = 1;
    X509 *c = X509_new();
    X509_NAME *name = X509_get_subject_name(c);
    X509V3_CTX v3;

    (void)X509_set_version(c, 2);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(c), serial++);
    (void)X509_gmtime_adj(X509_getm_notBefore(c), (long)from * DAY);
    (void)X509_gmtime_adj(X509_getm_notAfter(c), (long)to * DAY);
    (void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)subject, -1, -1, 0);
    (void)X509_set_issuer_name(c, issuer == NULL ? name : X509_get_subject_name(issuer));
    (void)X509_set_pubkey(c, key);
    X509V3_set_ctx(&v3, issuer == NULL ? c : issuer, c, NULL, NULL, 0);
    X509_EXTENSION *e = names == NULL
                            ? X509V3_EXT_conf_nid(NULL, &v3, NID_basic_constraints, "critical,CA:TRUE")
                            : X509V3_EXT_conf_nid(NULL, &v3, NID_subject_alt_name, names);
    assert_non_null(e);
    (void)X509_add_ext(c, e, -1);
    X509_EXTENSION_free(e);
    assert_true(X509_sign(c, key, EVP_sha256()) > 0);
    return c;
}

static int setup(void **state)
{
    char why[256];
    (void)state;

    (void)signal(SIGPIPE, SIG_IGN); /* as every worker does */
    key = EVP_EC_gen("P-256");
    authority = certificate("test authority", NULL, NULL, -1, 10);
    (void)strcpy(ca_file, "/tmp/wormhole-test-ca-XXXXXX");
    int fd = mkstemp(ca_file);
    FILE *f = fdopen(fd, "w");
    assert_int_equal(PEM_write_X509(f, authority), 1);
    (void)fclose(f);
    return tls_context_new(ca_file, &context, why, sizeof why) == OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(ca_file);
    tls_context_free(context);
    X509_free(authority);
    EVP_PKEY_free(key);
    return 0;
}

struct server {
    pthread_t thread;
    int fd;
    X509 *certificate; /* NULL: plain text is spoken instead */
    int version;       /* highest; 0: any */
};

static void *serve(void *arg)
{
    struct server *s = arg;

    if (s->certificate == NULL) {
        static const char text[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
        (void)send(s->fd, text, sizeof text - 1, MSG_NOSIGNAL);
    } else {
        SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
        (void)SSL_CTX_use_certificate(ctx, s->certificate);
        (void)SSL_CTX_use_PrivateKey(ctx, key);
        if (s->version != 0) {
            SSL_CTX_set_security_level(ctx, 0);
            (void)SSL_CTX_set_max_proto_version(ctx, s->version);
        }
        SSL *ssl = SSL_new(ctx);
        (void)SSL_set_fd(ssl, s->fd);
        char buf[1000];
        size_t n;
        if (SSL_accept(ssl) == 1) {
            while (SSL_read_ex(ssl, buf, sizeof buf, &n) == 1 && SSL_write_ex(ssl, buf, n, &n) == 1)
                continue; /* an echo */
            (void)SSL_shutdown(ssl);
        }
        SSL_free(ssl);
        SSL_CTX_free(ctx);
    }
    (void)shutdown(s->fd, SHUT_WR);
    char rest[1000];
    while (recv(s->fd, rest, sizeof rest, 0) > 0)
        continue; /* closing with unread data would be a reset */
    (void)close(s->fd);
    return NULL;
}

static int start(struct server *s)
{
    int fd[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    s->fd = fd[1];
    assert_int_equal(fcntl(fd[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    return fd[0];
}

static void wait_for(int fd, bool writable)
{
    struct pollfd p = {.fd = fd, .events = writable ? POLLOUT : POLLIN};

    assert_int_equal(poll(&p, 1, 30000), 1);
}

static enum status shake(struct tls *t, int fd, char *why)
{
    bool want_write = false;
    enum status st;

    while ((st = tls_handshake(t, &want_write, why, 256)) == ERR_AGAIN)
        wait_for(fd, want_write);
    return st;
}

static void expect(struct server s, const char *host, enum status status, const char *says)
{
    char why[256] = "";
    int fd = start(&s);
    struct tls *t = tls_new(context, fd, host);

    assert_non_null(t);
    assert_int_equal(shake(t, fd, why), status);
    if (strstr(why, says) == NULL)
        fail_msg("for %s it says: %s", host, why);
    tls_free(t);
    (void)close(fd);
    (void)pthread_join(s.thread, NULL);
    X509_free(s.certificate);
}

static void test_good_names(void **state)
{
    (void)state;
    expect((struct server){.certificate = certificate("x", "DNS:server.wormhole.example", authority, -1, 5)},
           "server.wormhole.example", OK, "");
    expect((struct server){.certificate = certificate("x", "DNS:*.wormhole.example", authority, -1, 5)},
           "server.wormhole.example", OK, "");
    expect((struct server){.certificate = certificate("x", "IP:127.0.0.1", authority, -1, 5)}, "127.0.0.1",
           OK, "");
    expect((struct server){.certificate = certificate("x", "IP:2001:db8::1", authority, -1, 5)},
           "2001:db8::1", OK, "");
}

static void test_bad_certificates(void **state)
{
    X509 *other = certificate("another authority", NULL, NULL, -1, 5);
    (void)state;

    expect((struct server){.certificate = certificate("x", "DNS:other.example", authority, -1, 5)},
           "server.wormhole.example", ERR_AUTH, "is not for server.wormhole.example");
    expect((struct server){.certificate =
                               certificate("server.wormhole.example", "IP:127.0.0.1", authority, -1, 5)},
           "127.0.0.2", ERR_AUTH, "is not for 127.0.0.2");
    expect((struct server){.certificate = certificate("x", "DNS:server.*", authority, -1, 5)},
           "server.wormhole.example", ERR_AUTH, "is not for");
    expect((struct server){.certificate = certificate("x", "DNS:server.wormhole.example", authority, -9, -1)},
           "server.wormhole.example", ERR_AUTH, "expired; check the clock");
    expect((struct server){.certificate = certificate("x", "DNS:server.wormhole.example", authority, 1, 5)},
           "server.wormhole.example", ERR_AUTH, "not yet valid; check the clock");
    expect((struct server){.certificate = certificate("x", "DNS:server.wormhole.example", NULL, -1, 5)},
           "server.wormhole.example", ERR_AUTH, "--ca-file");
    expect((struct server){.certificate = certificate("x", "DNS:server.wormhole.example", other, -1, 5)},
           "server.wormhole.example", ERR_AUTH, "--ca-file");
    X509_free(other);
}

static void test_not_tls_at_all(void **state)
{
    (void)state;
    expect((struct server){.certificate = NULL}, "server.wormhole.example", ERR_FORMAT,
           "ws:// instead of wss://");
    expect((struct server){.certificate = certificate("x", "DNS:server.wormhole.example", authority, -1, 5),
                           .version = TLS1_1_VERSION},
           "server.wormhole.example", ERR_FORMAT, "server.wormhole.example failed: ");
}

static void test_peer_closes_during_handshake(void **state)
{
    char why[256] = "";
    int fd[2];
    (void)state;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    assert_int_equal(fcntl(fd[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(shutdown(fd[1], SHUT_WR), 0); /* it listens, but says nothing */
    struct tls *t = tls_new(context, fd[0], "server.wormhole.example");
    assert_int_not_equal(shake(t, fd[0], why), OK);
    assert_non_null(strstr(why, "during the TLS handshake"));
    tls_free(t);
    (void)close(fd[0]);
    (void)close(fd[1]);
}

static void data_both_ways(bool gathered)
{
    struct server s = {.certificate = certificate("x", "DNS:server.wormhole.example", authority, -1, 5)};
    static uint8_t sent[300000], got[300000];
    size_t written = 0, read = 0;
    char why[256];

    int fd = start(&s);
    struct tls *t = tls_new(context, fd, "server.wormhole.example");
    assert_int_equal(shake(t, fd, why), OK);
    if (gathered)
        assert_true(tls_gather_writes(t));
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (uint8_t)(i * 13 + i / 1000);
    while (read < sizeof got) {
        size_t n = 0;
        enum status st = ERR_AGAIN;
        if (written < sizeof sent)
            st = tls_write(t, sent + written, sizeof sent - written, &n);
        if (st == OK)
            written += n;
        enum status in = tls_read(t, got + read, sizeof got - read, &n);
        if (in == OK)
            read += n;
        if (gathered && written == sizeof sent)
            assert_int_not_equal(tls_flush(t), ERR_IO);
        assert_true((st == OK || st == ERR_AGAIN) && (in == OK || in == ERR_AGAIN));
        if (st == ERR_AGAIN && in == ERR_AGAIN)
            wait_for(fd, false);
    }
    assert_memory_equal(sent, got, sizeof got);
    tls_shutdown(t);
    (void)shutdown(fd, SHUT_WR);
    size_t n = 0;
    enum status st;
    while ((st = tls_read(t, got, sizeof got, &n)) == ERR_AGAIN)
        wait_for(fd, false);
    assert_int_equal(st, ERR_EOF);
    tls_free(t);
    (void)close(fd);
    (void)pthread_join(s.thread, NULL);
    X509_free(s.certificate);
}

static void test_data_both_ways(void **state)
{
    (void)state;
    data_both_ways(false);
}

static void test_gathered_writes(void **state)
{
    (void)state;
    data_both_ways(true);
}

static void test_authorities(void **state)
{
    struct tls_context *c = NULL;
    char why[256], junk[] = "/tmp/wormhole-test-junk-XXXXXX";
    (void)state;

    assert_int_equal(tls_context_new("/nonexistent/ca.pem", &c, why, sizeof why), ERR_IO);
    assert_string_equal(why, "/nonexistent/ca.pem: No such file or directory; check --ca-file");
    int fd = mkstemp(junk);
    assert_int_equal(write(fd, "not a certificate\n", 18), 18);
    (void)close(fd);
    assert_int_equal(tls_context_new(junk, &c, why, sizeof why), ERR_FORMAT);
    assert_non_null(strstr(why, "no usable certificate"));
    (void)unlink(junk);
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_names),     cmocka_unit_test(test_bad_certificates),
        cmocka_unit_test(test_not_tls_at_all), cmocka_unit_test(test_peer_closes_during_handshake),
        cmocka_unit_test(test_data_both_ways), cmocka_unit_test(test_gathered_writes),
        cmocka_unit_test(test_authorities),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
