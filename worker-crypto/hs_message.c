/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers and writers of the handshake messages. A reader checks sizes and every value that the layout fixes;
 * what needs a key or a memory of earlier messages is checked by the state machines.
 */
#include "worker-crypto/hs_message.h"

#include <string.h>

#include "worker-crypto/cursor.h"
#include "worker-crypto/kem.h"

enum status hs_header_read(const uint8_t *message, size_t len, struct hs_header *out)
{
    if (len < HS_HEADER || len > HS_MESSAGE_MAX)
        return ERR_SIZE;
    if (message[1] != PROTOCOL_VERSION || get_be16(message + 2) != 0)
        return ERR_FORMAT;
    uint32_t length = get_be32(message + 4);
    if (length != len - HS_HEADER)
        return ERR_SIZE;
    out->type = message[0];
    out->length = length;
    return OK;
}

void hs_header_write(uint8_t out[HS_HEADER], uint8_t type, size_t body_len)
{
    out[0] = type;
    out[1] = PROTOCOL_VERSION;
    put_be16(out + 2, 0);
    put_be32(out + 4, (uint32_t)body_len);
}

static bool max_record_allowed(uint32_t bytes)
{
    return bytes >= RECORD_PLAIN_MIN && bytes <= RECORD_PLAIN_MAX;
}

/* OK when the cursor read everything, and exactly that. */
static enum status reader_finish(const struct reader *r)
{
    return !r->failed && r->at == r->len ? OK : ERR_SIZE;
}

static enum status writer_finish(const struct writer *w, size_t *len)
{
    if (w->failed)
        return ERR_SIZE;
    *len = w->at;
    return OK;
}

/* u16 n, n bytes, with n at most max. */
static struct view read_view(struct reader *r, size_t max)
{
    size_t n = read_u16(r);
    if (n > max)
        r->failed = true;
    const uint8_t *p = read_bytes(r, n);
    return p != NULL ? (struct view){p, n} : (struct view){NULL, 0};
}

static void write_view(struct writer *w, struct view v)
{
    write_u16(w, (uint16_t)v.len);
    write_bytes(w, v.data, v.len);
}

/* A strictly rising list of numbers: *mask gets bit (number - 1) for those up to 32. */
static enum status read_list(struct reader *r, uint32_t *mask)
{
    unsigned n = read_u8(r), previous = 0;

    if (r->failed)
        return ERR_SIZE;
    if (n == 0 || n > HS_LIST_MAX)
        return ERR_FORMAT;
    *mask = 0;
    for (unsigned i = 0; i < n; i++) {
        unsigned number = read_u8(r);
        if (r->failed)
            return ERR_SIZE;
        if (number <= previous)
            return ERR_FORMAT;
        if (number <= 32)
            *mask |= 1u << (number - 1);
        previous = number;
    }
    return OK;
}

enum status server_hello_read(const uint8_t *body, size_t len, struct server_hello *out)
{
    struct reader r = {.data = body, .len = len};
    struct server_hello m = {0};
    uint32_t versions, suites;

    enum status s = read_list(&r, &versions);
    if (s == OK)
        s = read_list(&r, &suites);
    if (s != OK)
        return s;
    m.suites = suites & SUITES_KNOWN;
    m.capabilities = read_u32(&r);
    m.max_record = read_u32(&r);
    m.identity = read_bytes(&r, ED25519_PUBLIC);
    m.share = read_bytes(&r, X25519_BYTES);
    m.nonce = read_bytes(&r, HS_NONCE);
    m.kem_key = read_view(&r, KEM_PUBLIC);
    m.unsigned_len = r.at;
    m.signature = read_bytes(&r, ED25519_SIGNATURE);
    s = reader_finish(&r);
    if (s != OK)
        return s;
    bool with_kem = (m.suites & SUITE_BIT(SUITE_X25519_MLKEM768)) != 0;
    if ((versions & 1u << (PROTOCOL_VERSION - 1)) == 0 || !max_record_allowed(m.max_record) ||
        m.kem_key.len != (with_kem ? KEM_PUBLIC : 0))
        return ERR_FORMAT;
    *out = m;
    return OK;
}

enum status server_hello_write(const struct server_hello *in, uint8_t *out, size_t *len)
{
    struct writer w = {.data = out, .cap = *len};
    uint8_t suites[2], n = 0;

    for (unsigned suite = SUITE_X25519; suite <= SUITE_X25519_MLKEM768; suite++) {
        if ((in->suites & SUITE_BIT(suite)) != 0)
            suites[n++] = (uint8_t)suite;
    }
    write_u8(&w, 1);
    write_u8(&w, PROTOCOL_VERSION);
    write_u8(&w, n);
    write_bytes(&w, suites, n);
    write_u32(&w, in->capabilities);
    write_u32(&w, in->max_record);
    write_bytes(&w, in->identity, ED25519_PUBLIC);
    write_bytes(&w, in->share, X25519_BYTES);
    write_bytes(&w, in->nonce, HS_NONCE);
    write_view(&w, in->kem_key);
    return writer_finish(&w, len);
}

enum status client_hello_read(const uint8_t *body, size_t len, struct client_hello *out)
{
    struct reader r = {.data = body, .len = len};
    struct client_hello m = {.suite = read_u8(&r)};
    uint8_t reserved = read_u8(&r);

    m.share = read_bytes(&r, X25519_BYTES);
    m.nonce = read_bytes(&r, HS_NONCE);
    m.kem_ciphertext = read_view(&r, KEM_CIPHERTEXT);
    m.clear_len = r.at;
    if (r.failed || r.len - r.at <= AEAD_TAG)
        return ERR_SIZE;
    if (reserved != 0 || (m.suite != SUITE_X25519 && m.suite != SUITE_X25519_MLKEM768) ||
        m.kem_ciphertext.len != (m.suite == SUITE_X25519_MLKEM768 ? KEM_CIPHERTEXT : 0))
        return ERR_FORMAT;
    *out = m;
    return OK;
}

enum status client_hello_write(const struct client_hello *in, uint8_t *out, size_t *len)
{
    struct writer w = {.data = out, .cap = *len};

    write_u8(&w, in->suite);
    write_u8(&w, 0);
    write_bytes(&w, in->share, X25519_BYTES);
    write_bytes(&w, in->nonce, HS_NONCE);
    write_view(&w, in->kem_ciphertext);
    return writer_finish(&w, len);
}

enum status client_proof_read(const uint8_t *part, size_t len, struct client_proof *out)
{
    struct reader r = {.data = part, .len = len};
    struct client_proof m = {.spki = read_view(&r, HS_SPKI_MAX)};
    size_t name_len = read_u8(&r);
    const uint8_t *name = read_bytes(&r, name_len);

    m.capabilities = read_u32(&r);
    m.max_record = read_u32(&r);
    m.slot = read_u8(&r);
    const uint8_t *instance = read_bytes(&r, HS_INSTANCE);
    uint16_t rotation_len = read_u16(&r);
    if (r.failed)
        return ERR_SIZE;
    m.unsigned_len = r.at;
    m.signature = (struct view){part + r.at, len - r.at};
    if (name_len > NAME_MAX_BYTES || memchr(name, '\0', name_len) != NULL || rotation_len != 0 ||
        !max_record_allowed(m.max_record) || m.slot >= HS_SLOTS)
        return ERR_FORMAT;
    memcpy(m.name, name, name_len);
    if (!name_is_valid(m.name))
        return ERR_FORMAT;
    memcpy(m.instance, instance, HS_INSTANCE);
    *out = m;
    return OK;
}

enum status client_proof_write(const struct client_proof *in, uint8_t *out, size_t *len)
{
    struct writer w = {.data = out, .cap = *len};
    size_t name_len = strnlen(in->name, NAME_MAX_BYTES);

    write_view(&w, in->spki);
    write_u8(&w, (uint8_t)name_len);
    write_bytes(&w, in->name, name_len);
    write_u32(&w, in->capabilities);
    write_u32(&w, in->max_record);
    write_u8(&w, in->slot);
    write_bytes(&w, in->instance, HS_INSTANCE);
    write_u16(&w, 0); /* rotation proof: reserved */
    return writer_finish(&w, len);
}

enum status pending_read(const uint8_t *part, size_t len, struct pending *out)
{
    struct reader r = {.data = part, .len = len};
    const uint8_t *request = read_bytes(&r, HS_REQUEST);
    struct pending m = {.ttl_s = read_u32(&r), .state = read_u8(&r)};

    enum status s = reader_finish(&r);
    if (s != OK)
        return s;
    if (m.state != HS_PENDING_WAITING)
        return ERR_FORMAT;
    memcpy(m.request, request, HS_REQUEST);
    *out = m;
    return OK;
}

enum status pending_write(const struct pending *in, uint8_t *out, size_t *len)
{
    struct writer w = {.data = out, .cap = *len};

    write_bytes(&w, in->request, HS_REQUEST);
    write_u32(&w, in->ttl_s);
    write_u8(&w, in->state);
    return writer_finish(&w, len);
}

enum status grant_read(const uint8_t *part, size_t len, struct grant *out)
{
    struct reader r = {.data = part, .len = len};
    struct grant m = {.wrapped = read_view(&r, RSA_MODULUS_MAX)};

    m.max_record = read_u32(&r);
    m.capabilities = read_u32(&r);
    m.unsigned_len = r.at;
    m.signature = read_bytes(&r, ED25519_SIGNATURE);
    enum status s = reader_finish(&r);
    if (s != OK)
        return s;
    if (m.wrapped.len == 0 || !max_record_allowed(m.max_record))
        return ERR_FORMAT;
    *out = m;
    return OK;
}

enum status grant_write(const struct grant *in, uint8_t *out, size_t *len)
{
    struct writer w = {.data = out, .cap = *len};

    write_view(&w, in->wrapped);
    write_u32(&w, in->max_record);
    write_u32(&w, in->capabilities);
    return writer_finish(&w, len);
}

enum status declined_read(const uint8_t *part, size_t len, struct declined *out)
{
    struct reader r = {.data = part, .len = len};
    struct declined m = {.code = read_u16(&r), .retry_after_s = read_u32(&r)};

    enum status s = reader_finish(&r);
    if (s == OK)
        *out = m;
    return s;
}

enum status declined_write(const struct declined *in, uint8_t *out, size_t *len)
{
    struct writer w = {.data = out, .cap = *len};

    write_u16(&w, in->code);
    write_u32(&w, in->retry_after_s);
    return writer_finish(&w, len);
}
