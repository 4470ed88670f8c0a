/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers and writers of handshake messages, known_server and the text of its file: what is written is read
 * back, every shorter or longer message and every forbidden value is refused, and a refused message leaves
 * the result alone.
 */
#include "tests/unit/crypto_support.h"

#include "worker-crypto/kem.h"
#include "worker-crypto/known_server.h"

static uint8_t filler[2048];

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof filler; i++)
        filler[i] = (uint8_t)(i * 7 + 1);
    return 0;
}

static void test_header(void **state)
{
    uint8_t m[HS_MESSAGE_MAX + 1] = {0};
    struct hs_header h = {.type = 77};
    (void)state;
    hs_header_write(m, HS_GRANT, 10);
    assert_int_equal(hs_header_read(m, 18, &h), OK);
    assert_int_equal(h.type, HS_GRANT);
    assert_int_equal(h.length, 10);
    h.type = 77;
    for (size_t len = 0; len < 40; len++) {
        if (len != 18)
            assert_int_equal(hs_header_read(m, len, &h), ERR_SIZE);
    }
    m[1] = 2;
    assert_int_equal(hs_header_read(m, 18, &h), ERR_FORMAT);
    m[1] = 1;
    for (unsigned i = 2; i < 4; i++) {
        m[i] = 1;
        assert_int_equal(hs_header_read(m, 18, &h), ERR_FORMAT);
        m[i] = 0;
    }
    hs_header_write(m, HS_GRANT, HS_MESSAGE_MAX - HS_HEADER);
    assert_int_equal(hs_header_read(m, HS_MESSAGE_MAX, &h), OK);
    h.type = 77;
    hs_header_write(m, HS_GRANT, HS_MESSAGE_MAX + 1 - HS_HEADER);
    assert_int_equal(hs_header_read(m, HS_MESSAGE_MAX + 1, &h), ERR_SIZE);
    memset(m + 4, 0xff, 4);
    assert_int_equal(hs_header_read(m, 18, &h), ERR_SIZE);
    assert_int_equal(h.type, 77);
}

/* Every other length of a good message is refused. */
#define REFUSE_OTHER_LENGTHS(reader, type, m, good)                                                          \
    for (size_t other = 0; other < (good) + 3; other++) {                                                    \
        struct type untouched, copy;                                                                         \
        memset(&untouched, 0x5a, sizeof untouched);                                                          \
        copy = untouched;                                                                                    \
        if (other != (good)) {                                                                               \
            assert_int_not_equal(reader((m), other, &untouched), OK);                                        \
            assert_memory_equal(&untouched, &copy, sizeof copy);                                             \
        }                                                                                                    \
    }

static struct server_hello hello_sample(bool with_kem)
{
    return (struct server_hello){
        .suites = SUITE_BIT(SUITE_X25519) | (with_kem ? SUITE_BIT(SUITE_X25519_MLKEM768) : 0),
        .capabilities = 0x01020304,
        .max_record = 4096,
        .identity = filler,
        .share = filler + 32,
        .nonce = filler + 64,
        .kem_key = {filler + 96, with_kem ? KEM_PUBLIC : 0},
    };
}

static void test_server_hello(void **state)
{
    (void)state;
    for (unsigned with_kem = 0; with_kem < 2; with_kem++) {
        uint8_t m[HS_MESSAGE_MAX] = {0};
        struct server_hello in = hello_sample(with_kem), out;
        size_t len = sizeof m;
        assert_int_equal(server_hello_write(&in, m, &len), OK);
        size_t whole = len + ED25519_SIGNATURE;
        memset(m + len, 0xee, ED25519_SIGNATURE);
        assert_int_equal(server_hello_read(m, whole, &out), OK);
        assert_int_equal(out.suites, in.suites);
        assert_int_equal(out.capabilities, in.capabilities);
        assert_int_equal(out.max_record, 4096);
        assert_memory_equal(out.identity, filler, 32);
        assert_memory_equal(out.share, filler + 32, 32);
        assert_memory_equal(out.nonce, filler + 64, 32);
        assert_int_equal(out.kem_key.len, in.kem_key.len);
        assert_int_equal(out.unsigned_len, len);
        assert_int_equal(out.signature[0], 0xee);
        REFUSE_OTHER_LENGTHS(server_hello_read, server_hello, m, whole)
        size_t cap = len - 1;
        assert_int_equal(server_hello_write(&in, m, &cap), ERR_SIZE);
    }
}

static void test_server_hello_values(void **state)
{
    static const struct {
        uint8_t lists[8];
        size_t n;
        uint32_t max_record;
        enum status expected;
    } cases[] = {
        {{1, 1, 1, 1}, 4, 1024, OK},
        {{1, 1, 1, 1}, 4, 65536, OK},
        {{1, 1, 1, 1}, 4, 1023, ERR_FORMAT},
        {{1, 1, 1, 1}, 4, 65537, ERR_FORMAT},
        {{1, 1, 1, 1}, 4, 0, ERR_FORMAT},
        {{2, 1, 9, 2, 1, 200}, 6, 4096, OK}, /* what we do not know yet */
        {{1, 2, 1, 1}, 4, 4096, ERR_FORMAT}, /* not our version */
        {{0, 1, 1}, 3, 4096, ERR_FORMAT},    /* empty lists */
        {{1, 1, 0}, 3, 4096, ERR_FORMAT},
        {{2, 1, 1, 1, 1}, 5, 4096, ERR_FORMAT}, /* not rising */
        {{1, 1, 2, 3, 1}, 5, 4096, ERR_FORMAT},
        {{1, 1, 1, 0}, 4, 4096, ERR_FORMAT}, /* number 0 */
        {{1, 1, 1, 2}, 4, 4096, ERR_FORMAT}, /* suite 2 without its key */
        {{9, 1}, 2, 4096, ERR_FORMAT},       /* too many */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t m[512] = {0};
        struct server_hello out;
        size_t at = cases[i].n;
        memcpy(m, cases[i].lists, at);
        at += 4;
        m[at] = (uint8_t)(cases[i].max_record >> 24);
        m[at + 1] = (uint8_t)(cases[i].max_record >> 16);
        m[at + 2] = (uint8_t)(cases[i].max_record >> 8);
        m[at + 3] = (uint8_t)cases[i].max_record;
        at += 4 + 96 + 2 + 64;
        if (server_hello_read(m, at, &out) != cases[i].expected)
            fail_msg("case %zu", i);
    }
}

static void test_client_hello(void **state)
{
    (void)state;
    for (uint8_t suite = SUITE_X25519; suite <= SUITE_X25519_MLKEM768; suite++) {
        uint8_t m[HS_MESSAGE_MAX] = {0};
        struct client_hello out, in = {.suite = suite,
                                       .share = filler,
                                       .nonce = filler + 32,
                                       .kem_ciphertext = {filler, suite == 2 ? KEM_CIPHERTEXT : 0}};
        size_t len = sizeof m;
        assert_int_equal(client_hello_write(&in, m, &len), OK);
        assert_int_equal(client_hello_read(m, len + AEAD_TAG + 1, &out), OK);
        assert_int_equal(out.clear_len, len);
        assert_memory_equal(out.share, filler, 32);
        assert_memory_equal(out.nonce, filler + 32, 32);
        assert_int_equal(out.kem_ciphertext.len, in.kem_ciphertext.len);
        for (size_t n = 0; n <= len + AEAD_TAG; n++)
            assert_int_equal(client_hello_read(m, n, &out), ERR_SIZE);
        m[1] = 1;
        assert_int_equal(client_hello_read(m, len + 40, &out), ERR_FORMAT);
        m[1] = 0;
        m[0] = (uint8_t)(3 - suite); /* the other suite: the ciphertext does not fit */
        assert_int_equal(client_hello_read(m, len + 40, &out), ERR_FORMAT);
        m[0] = 3;
        assert_int_equal(client_hello_read(m, len + 40, &out), ERR_FORMAT);
        m[0] = 0;
        assert_int_equal(client_hello_read(m, len + 40, &out), ERR_FORMAT);
    }
}

static struct client_proof proof_sample(void)
{
    struct client_proof p = {
        .spki = {filler, 294}, .name = "edge-1", .capabilities = 9, .max_record = 65536, .slot = 15};
    memcpy(p.instance, filler + 500, HS_INSTANCE);
    return p;
}

static void test_client_proof(void **state)
{
    uint8_t m[HS_MESSAGE_MAX];
    struct client_proof in = proof_sample(), out;
    size_t len = sizeof m;
    (void)state;
    assert_int_equal(client_proof_write(&in, m, &len), OK);
    assert_int_equal(client_proof_read(m, len + 256, &out), OK);
    assert_int_equal(out.spki.len, 294);
    assert_memory_equal(out.spki.data, filler, 294);
    assert_string_equal(out.name, "edge-1");
    assert_int_equal(out.capabilities, 9);
    assert_int_equal(out.max_record, 65536);
    assert_int_equal(out.slot, 15);
    assert_memory_equal(out.instance, filler + 500, HS_INSTANCE);
    assert_int_equal(out.signature.len, 256);
    assert_ptr_equal(out.signature.data, m + len);
    assert_int_equal(out.unsigned_len, len);
    for (size_t n = 0; n < len; n++)
        assert_int_equal(client_proof_read(m, n, &out), ERR_SIZE);
    assert_int_equal(client_proof_read(m, len, &out), OK); /* an empty signature is the verifier's matter */

    static const struct {
        const char *name;
        uint32_t max_record;
        uint8_t slot;
    } bad[] = {{"", 4096, 0},  {"-a", 4096, 0}, {"a.b", 4096, 0}, {"A", 4096, 0},
               {"a", 1023, 0}, {"a", 65537, 0}, {"a", 4096, 16}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        in = proof_sample();
        (void)snprintf(in.name, sizeof in.name, "%s", bad[i].name);
        in.max_record = bad[i].max_record;
        in.slot = bad[i].slot;
        len = sizeof m;
        assert_int_equal(client_proof_write(&in, m, &len), OK);
        if (client_proof_read(m, len + 256, &out) != ERR_FORMAT)
            fail_msg("case %zu", i);
    }
    in = proof_sample();
    len = sizeof m;
    assert_int_equal(client_proof_write(&in, m, &len), OK);
    m[len - 1] = 1; /* a rotation proof of one byte */
    assert_int_equal(client_proof_read(m, len + 256, &out), ERR_FORMAT);
    m[len - 1] = 0;
    m[2 + 294 + 1 + 2] = '\0'; /* NUL inside the name */
    assert_int_equal(client_proof_read(m, len + 256, &out), ERR_FORMAT);
    m[2 + 294] = 64; /* a name that is too long */
    assert_int_not_equal(client_proof_read(m, len + 256, &out), OK);
    in.spki.len = HS_SPKI_MAX + 1;
    len = sizeof m;
    assert_int_equal(client_proof_write(&in, m, &len), OK);
    assert_int_equal(client_proof_read(m, len, &out), ERR_SIZE);
}

static void test_server_answers(void **state)
{
    uint8_t m[1024];
    size_t len = sizeof m;
    struct pending pending = {.ttl_s = 600, .state = HS_PENDING_WAITING}, pending_out;
    struct declined declined = {2, 86400}, declined_out;
    struct grant grant = {.wrapped = {filler, 512}, .max_record = 32768, .capabilities = 0}, grant_out;
    (void)state;
    memcpy(pending.request, filler, HS_REQUEST);
    assert_int_equal(pending_write(&pending, m, &len), OK);
    assert_int_equal(pending_read(m, len, &pending_out), OK);
    assert_memory_equal(&pending, &pending_out, sizeof pending);
    REFUSE_OTHER_LENGTHS(pending_read, pending, m, len)
    m[len - 1] = 2;
    assert_int_equal(pending_read(m, len, &pending_out), ERR_FORMAT);

    len = sizeof m;
    assert_int_equal(declined_write(&declined, m, &len), OK);
    assert_int_equal(declined_read(m, len, &declined_out), OK);
    assert_int_equal(declined_out.code, 2);
    assert_int_equal(declined_out.retry_after_s, 86400);
    REFUSE_OTHER_LENGTHS(declined_read, declined, m, len)

    len = sizeof m;
    assert_int_equal(grant_write(&grant, m, &len), OK);
    size_t whole = len + ED25519_SIGNATURE;
    assert_int_equal(grant_read(m, whole, &grant_out), OK);
    assert_int_equal(grant_out.wrapped.len, 512);
    assert_int_equal(grant_out.max_record, 32768);
    assert_int_equal(grant_out.unsigned_len, len);
    REFUSE_OTHER_LENGTHS(grant_read, grant, m, whole)
    grant.wrapped.len = 0; /* an empty ciphertext */
    len = sizeof m;
    assert_int_equal(grant_write(&grant, m, &len), OK);
    assert_int_equal(grant_read(m, len + ED25519_SIGNATURE, &grant_out), ERR_FORMAT);
    grant.wrapped.len = RSA_MODULUS_MAX + 1;
    len = sizeof m;
    assert_int_equal(grant_write(&grant, m, &len), OK);
    assert_int_equal(grant_read(m, len + ED25519_SIGNATURE, &grant_out), ERR_SIZE);
}

static void test_known_server(void **state)
{
    struct known_server in = {.present = true, .suite = 1}, out = {0};
    char text[KNOWN_SERVER_MAX];
    (void)state;
    memcpy(in.fingerprint, filler, HASH_BYTES);
    known_server_format(&in, text);
    size_t len = strlen(text);
    assert_int_equal(known_server_parse(text, len, &out), OK);
    assert_true(out.present);
    assert_int_equal(out.suite, 1);
    assert_memory_equal(out.fingerprint, filler, HASH_BYTES);
    memset(&out, 0, sizeof out);
    for (size_t i = 0; i < len; i++) {
        char saved = text[i];
        for (unsigned c = 0; c < 256; c++) {
            text[i] = (char)c;
            struct known_server other = {0};
            /* A changed byte is refused, or it is another fingerprint or suite: never the same one. */
            if (text[i] != saved && known_server_parse(text, len, &other) == OK)
                assert_true(memcmp(other.fingerprint, in.fingerprint, HASH_BYTES) != 0 || other.suite == 2);
        }
        text[i] = saved;
        assert_int_equal(known_server_parse(text, i, &out), ERR_FORMAT);
    }
    assert_false(out.present);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_server_hello),
        cmocka_unit_test(test_server_hello_values),
        cmocka_unit_test(test_client_hello),
        cmocka_unit_test(test_client_proof),
        cmocka_unit_test(test_server_answers),
        cmocka_unit_test(test_known_server),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
