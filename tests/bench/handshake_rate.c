/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one handshake costs in computing alone: both machines in one process, in memory, no I/O. Prints
 * handshakes per second of one core for the server's share, the client's share and both, and for a server
 * that meets each key for the first time. Only figures; whole connections are handshakes.c.
 *
 *   bench-handshake-rate [SECONDS] [BITS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/rsa.h>

#include "worker-crypto/handshake.h"
#include "worker-crypto/kem.h"
#include "worker-crypto/rsa_key.h"

struct wire {
    uint8_t message[2][HS_MESSAGE_MAX];
    size_t len[2];
    unsigned n, opened, failed;
    uint8_t fingerprint[HASH_BYTES];
};

static double now_s(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void on_send(void *arg, const uint8_t *message, size_t len)
{
    struct wire *w = arg;
    memcpy(w->message[w->n % 2], message, len);
    w->len[w->n++ % 2] = len;
}

static void on_wait(void *arg, uint32_t ttl_s)
{
    (void)arg;
    (void)ttl_s;
}

static void on_ask(void *arg, const struct handshake_peer *peer)
{
    memcpy(((struct wire *)arg)->fingerprint, peer->fingerprint, HASH_BYTES);
}

static void on_pairing(void *arg, const struct handshake_pairing *news)
{
    (void)arg;
    (void)news;
}

static enum status on_remember(void *arg, const uint8_t fingerprint[HASH_BYTES], uint8_t suite)
{
    (void)arg;
    (void)fingerprint;
    (void)suite;
    return OK;
}

static void on_opened(void *arg, const struct handshake_result *result)
{
    (void)result;
    ((struct wire *)arg)->opened++;
}

static void on_failed(void *arg, const struct handshake_failure *failure)
{
    (void)fprintf(stderr, "bench-handshake-rate: %s\n", failure->detail);
    ((struct wire *)arg)->failed++;
}

static struct handshake_sink sink_of(struct wire *w)
{
    return (struct handshake_sink){.send = on_send,
                                   .wait = on_wait,
                                   .ask = on_ask,
                                   .pairing = on_pairing,
                                   .remember = on_remember,
                                   .opened = on_opened,
                                   .failed = on_failed,
                                   .arg = w};
}

static struct server_config server;
static struct client_config client;
static double server_s, client_s;

/* One handshake; adds what each side took. False: it failed. */
static bool handshake_run(void)
{
    static struct wire up, down;
    struct handshake_sink up_sink = sink_of(&up), down_sink = sink_of(&down);

    memset(&up, 0, sizeof up);
    memset(&down, 0, sizeof down);
    double t0 = now_s();
    struct server_handshake *s = server_handshake_new(&server, &up_sink);
    server_handshake_start(s, 0);
    double t1 = now_s();
    struct client_handshake *c = client_handshake_new(&client, &down_sink);
    client_handshake_start(c, 0);
    client_handshake_receive(c, up.message[0], up.len[0], 0);
    double t2 = now_s();
    server_handshake_receive(s, down.message[0], down.len[0], 0);
    (void)server_handshake_answer(s, up.fingerprint, VERDICT_APPROVED, 0, 0, 0, 0);
    double t3 = now_s();
    client_handshake_receive(c, up.message[1], up.len[1], 0); /* GRANT was sent second, FINISHED third */
    client_handshake_receive(c, up.message[0], up.len[0], 0);
    double t4 = now_s();
    server_handshake_receive(s, down.message[1], down.len[1], 0);
    bool open = up.opened == 1 && down.opened == 1;
    server_handshake_free(s);
    double t5 = now_s();
    client_handshake_free(c);
    double t6 = now_s();
    server_s += t1 - t0 + t3 - t2 + t5 - t4;
    client_s += t2 - t1 + t4 - t3 + t6 - t5;
    return open;
}

static double first_check_s(const uint8_t *spki, size_t len)
{
    struct rsa_public key = {0};
    const char *why;
    double start = now_s();
    if (rsa_public_read(spki, len, &key, &why) != OK || rsa_public_check_fully(&key, spki, len, &why) != OK)
        return -1;
    double took = now_s() - start;
    rsa_public_clear(&key);
    return took;
}

int main(int argc, char **argv)
{
    static const struct expected_server nobody;
    uint8_t public_key[32], server_fingerprint[32], client_fingerprint[32], spki[RSA_SPKI_MAX];
    size_t len = 32, spki_len = sizeof spki;
    double seconds = argc > 1 ? atof(argv[1]) : 2;
    unsigned bits = argc > 2 ? (unsigned)atoi(argv[2]) : 2048;

    if (primitives_open() != OK)
        return 1;
    EVP_PKEY *identity = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), *rsa = EVP_RSA_gen(bits);
    struct handshake_common common = {.suites = SUITE_BIT(SUITE_X25519),
                                      .max_record = 32768,
                                      .step_ms = 10000,
                                      .heartbeat_ms = 10000,
                                      .random = random_draw};
    if (kem_available())
        common.suites = SUITES_KNOWN;
    if (identity == NULL || rsa == NULL || EVP_PKEY_get_raw_public_key(identity, public_key, &len) != 1 ||
        ed25519_fingerprint(public_key, server_fingerprint) != OK ||
        rsa_spki_write(rsa, spki, &spki_len) != OK ||
        spki_fingerprint(spki, spki_len, client_fingerprint) != OK)
        return 1;
    server = (struct server_config){common, identity, public_key, server_fingerprint};
    client = (struct client_config){.common = common,
                                    .key = rsa,
                                    .spki = {spki, spki_len},
                                    .fingerprint = client_fingerprint,
                                    .name = "bench",
                                    .expected = &nobody};
    double first = first_check_s(spki, spki_len);
    unsigned n = 0;
    for (double start = now_s(); now_s() - start < seconds; n++) {
        if (!handshake_run())
            return 1;
    }
    (void)printf(
        "{\"suite\": %d, \"rsa_bits\": %u, \"handshakes\": %u, \"server_us\": %.1f, \"client_us\": %.1f, "
        "\"server_per_core_s\": %.0f, \"both_per_core_s\": %.0f, \"first_key_check_us\": %.1f}\n",
        kem_available() ? SUITE_X25519_MLKEM768 : SUITE_X25519, bits, n, server_s * 1e6 / n,
        client_s * 1e6 / n, n / server_s, n / (server_s + client_s), first * 1e6);
    EVP_PKEY_free(identity);
    EVP_PKEY_free(rsa);
    primitives_close();
    return 0;
}
