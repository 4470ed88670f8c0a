/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See crypto_support.h.
 */
#include "tests/unit/crypto_support.h"

#include <stdio.h>

#include <openssl/pem.h>
#include <openssl/rand.h>

json_t *vectors_load(const char *file)
{
    char path[512];
    json_error_t error;

    (void)snprintf(path, sizeof path, "%s/%s", WORMHOLE_VECTORS, file);
    json_t *root = json_load_file(path, 0, &error);
    if (root == NULL)
        fail_msg("%s: %s", path, error.text);
    return root;
}

const char *vectors_text(const json_t *root, const char *path)
{
    char part[64];
    const json_t *at = root;

    for (const char *p = path; at != NULL && *p != '\0';) {
        size_t n = strcspn(p, "/");
        assert_true(n < sizeof part);
        memcpy(part, p, n);
        part[n] = '\0';
        at = json_object_get(at, part);
        p += n + (p[n] == '/');
    }
    if (!json_is_string(at))
        fail_msg("no text at %s", path);
    return json_string_value(at);
}

static unsigned nibble(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

size_t hex_bytes(const char *hex, uint8_t *out, size_t cap)
{
    size_t n = strlen(hex) / 2;

    assert_int_equal(strlen(hex) % 2, 0);
    assert_true(n <= cap);
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
    return n;
}

size_t vectors_bytes(const json_t *root, const char *path, uint8_t *out, size_t cap)
{
    return hex_bytes(vectors_text(root, path), out, cap);
}

EVP_PKEY *vectors_client_key(void)
{
    char path[512];

    (void)snprintf(path, sizeof path, "%s/client_rsa.pem", WORMHOLE_VECTORS);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    (void)fclose(f);
    assert_non_null(key);
    return key;
}

EVP_PKEY *ed25519_key(const uint8_t seed[32])
{
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    assert_non_null(key);
    return key;
}

/* ---- randomness ---- */

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored                                                                               \
    "-Wdeprecated-declarations" /* the only way to fix what is drawn inside RSA padding */

static uint8_t fixed_byte;

static int fixed_bytes(unsigned char *out, int len)
{
    memset(out, fixed_byte, (size_t)len);
    return 1;
}

static int fixed_status(void)
{
    return 1;
}

void library_random_fixed(uint8_t byte)
{
    static const RAND_METHOD method = {
        .bytes = fixed_bytes, .pseudorand = fixed_bytes, .status = fixed_status};
    fixed_byte = byte;
    assert_int_equal(RAND_set_rand_method(&method), 1);
}

void library_random_real(void)
{
    assert_int_equal(RAND_set_rand_method(NULL), 1);
}

#pragma GCC diagnostic pop

enum status scripted_draw(void *arg, uint8_t *out, size_t len)
{
    struct scripted_random *s = arg;
    if (s->len - s->at < len)
        return ERR_CRYPTO;
    memcpy(out, s->data + s->at, len);
    s->at += len;
    return OK;
}

enum status failing_draw(void *arg, uint8_t *out, size_t len)
{
    struct failing_random *f = arg;
    return ++f->calls == f->fail_at ? ERR_CRYPTO : random_draw(NULL, out, len);
}

/* ---- a sink that records ---- */

static void say_send(void *arg, const uint8_t *message, size_t len)
{
    struct spoken *s = arg;
    assert_true(s->n_sent < 8 && len <= HS_MESSAGE_MAX);
    memcpy(s->sent[s->n_sent], message, len);
    s->sent_len[s->n_sent++] = len;
}

static void say_wait(void *arg, uint32_t ttl_s)
{
    struct spoken *s = arg;
    s->n_wait++;
    s->ttl_s = ttl_s;
}

static void say_ask(void *arg, const struct handshake_peer *peer)
{
    struct spoken *s = arg;
    s->n_ask++;
    memcpy(s->fingerprint, peer->fingerprint, HASH_BYTES);
    memcpy(s->request, peer->request, HS_REQUEST);
    memcpy(s->spki, peer->spki.data, peer->spki.len);
    s->spki_len = peer->spki.len;
    memcpy(s->name, peer->proof->name, sizeof s->name);
    (void)snprintf(s->pairing, sizeof s->pairing, "%s", peer->pairing_code);
    s->bits = peer->bits;
    s->slot = peer->proof->slot;
    memcpy(s->instance, peer->proof->instance, HS_INSTANCE);
}

static void say_pairing(void *arg, const struct handshake_pairing *news)
{
    struct spoken *s = arg;
    s->n_pairing++;
    s->verdict = news->verdict;
    s->code = news->code;
    s->retry_after_s = news->retry_after_s;
    (void)snprintf(s->pairing, sizeof s->pairing, "%s", news->pairing_code);
}

static enum status say_remember(void *arg, const uint8_t fingerprint[HASH_BYTES], uint8_t suite)
{
    struct spoken *s = arg;
    s->n_remember++;
    memcpy(s->remembered, fingerprint, HASH_BYTES);
    s->remembered_suite = suite;
    return s->remember_result;
}

static void say_opened(void *arg, const struct handshake_result *result)
{
    struct spoken *s = arg;
    s->n_opened++;
    memcpy(s->opened_fingerprint, result->fingerprint, HASH_BYTES);
    s->max_record = result->max_record;
    memcpy(s->traffic, result->traffic, sizeof s->traffic);
}

static void say_failed(void *arg, const struct handshake_failure *failure)
{
    struct spoken *s = arg;
    s->n_failed++;
    s->end = failure->code;
    s->close_code = failure->close_code;
    assert_true(strlen(failure->reason) <= 123); /* what a websocket close can carry */
    (void)snprintf(s->reason, sizeof s->reason, "%s", failure->reason);
    (void)snprintf(s->detail, sizeof s->detail, "%s", failure->detail);
}

struct handshake_sink spoken_sink(struct spoken *s)
{
    return (struct handshake_sink){
        .send = say_send,
        .wait = say_wait,
        .ask = say_ask,
        .pairing = say_pairing,
        .remember = say_remember,
        .opened = say_opened,
        .failed = say_failed,
        .arg = s,
    };
}

/* ---- both ends ---- */

void ends_open(struct ends *e)
{
    static const uint8_t seed[32] = {7};
    size_t len = sizeof e->identity_public;
    const struct handshake_common common = {
        .suites = SUITE_BIT(SUITE_X25519),
        .max_record = 32768,
        .step_ms = 10000,
        .heartbeat_ms = 10000,
        .random = random_draw,
    };

    memset(e, 0, sizeof *e);
    assert_int_equal(primitives_open(), OK);
    e->identity = ed25519_key(seed);
    e->key = vectors_client_key();
    assert_int_equal(EVP_PKEY_get_raw_public_key(e->identity, e->identity_public, &len), 1);
    assert_int_equal(ed25519_fingerprint(e->identity_public, e->identity_fingerprint), OK);
    e->spki_len = sizeof e->spki;
    assert_int_equal(rsa_spki_write(e->key, e->spki, &e->spki_len), OK);
    assert_int_equal(spki_fingerprint(e->spki, e->spki_len, e->key_fingerprint), OK);
    e->server_config = (struct server_config){
        .common = common,
        .identity = e->identity,
        .public_key = e->identity_public,
        .fingerprint = e->identity_fingerprint,
    };
    e->client_config = (struct client_config){
        .common = common,
        .key = e->key,
        .spki = {e->spki, e->spki_len},
        .fingerprint = e->key_fingerprint,
        .name = "edge1",
        .expected = &e->expected,
    };
    ends_restart(e);
}

void ends_restart(struct ends *e)
{
    server_handshake_free(e->server);
    client_handshake_free(e->client);
    memset(&e->up, 0, sizeof e->up);
    memset(&e->down, 0, sizeof e->down);
    struct handshake_sink up = spoken_sink(&e->up), down = spoken_sink(&e->down);
    e->server = server_handshake_new(&e->server_config, &up);
    e->client = client_handshake_new(&e->client_config, &down);
    assert_non_null(e->server);
    assert_non_null(e->client);
}

void ends_close(struct ends *e)
{
    server_handshake_free(e->server);
    client_handshake_free(e->client);
    EVP_PKEY_free(e->identity);
    EVP_PKEY_free(e->key);
}

void ends_ask(struct ends *e, uint64_t now)
{
    client_handshake_start(e->client, now);
    server_handshake_start(e->server, now);
    assert_int_equal(e->up.n_sent, 1);
    client_handshake_receive(e->client, e->up.sent[0], e->up.sent_len[0], now);
    assert_int_equal(e->down.n_sent, 1);
    server_handshake_receive(e->server, e->down.sent[0], e->down.sent_len[0], now);
    assert_int_equal(e->up.n_ask, 1);
}
