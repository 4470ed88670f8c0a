/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Websocket frame headers, close codes and masks: see websocket.h. Nothing here keeps state but the pool of
 * masking keys, and nothing looks at a payload's meaning.
 */
#include "worker-net/websocket.h"

#include <string.h>
#if defined(__x86_64__) && __has_include(<sys/platform/x86.h>)
#include <sys/platform/x86.h>
#define HAS_AVX2 (CPU_FEATURE_ACTIVE(AVX2))
#endif

#include <openssl/rand.h>

#include "common/utf8.h"
#include "common/wire.h"

#define BIT_FIN 0x80
#define BITS_RESERVED 0x70
#define BIT_MASK 0x80
#define LENGTH_16 126
#define LENGTH_64 127

static bool opcode_is_known(unsigned opcode)
{
    return opcode <= WEBSOCKET_BINARY || (opcode >= WEBSOCKET_CLOSE && opcode <= WEBSOCKET_PONG);
}

/* The length field; ERR_FORMAT when a shorter form would have done (section 5.2). */
static enum status length_parse(const uint8_t *buf, size_t len, struct websocket_header *h)
{
    unsigned code = buf[1] & 0x7fu;

    h->size = 2;
    h->length = code;
    if (code == LENGTH_16) {
        if (len < 4)
            return ERR_AGAIN;
        h->size = 4;
        h->length = get_be16(buf + 2);
        return h->length < LENGTH_16 ? ERR_FORMAT : OK;
    }
    if (code == LENGTH_64) {
        if (len < 10)
            return ERR_AGAIN;
        h->size = 10;
        h->length = get_be64(buf + 2);
        return h->length <= UINT16_MAX || h->length > INT64_MAX ? ERR_FORMAT : OK;
    }
    return OK;
}

/* What can be judged from the first two bytes. NULL: nothing wrong. */
static const char *first_bytes_error(const uint8_t *buf, bool from_client)
{
    unsigned opcode = buf[0] & 0x0fu;

    if ((buf[0] & BITS_RESERVED) != 0)
        return "reserved bits are set without an extension";
    if (!opcode_is_known(opcode))
        return "unknown opcode";
    if (((buf[1] & BIT_MASK) != 0) != from_client)
        return from_client ? "a client's frame is not masked" : "a server's frame is masked";
    if (opcode >= WEBSOCKET_CLOSE && (buf[0] & BIT_FIN) == 0)
        return "a control frame is fragmented";
    if (opcode >= WEBSOCKET_CLOSE && (buf[1] & 0x7fu) > WEBSOCKET_CONTROL_MAX)
        return "a control frame is longer than 125 bytes";
    return NULL;
}

enum status websocket_header_parse(const uint8_t *buf, size_t len, bool from_client,
                                   struct websocket_header *out, const char **why)
{
    struct websocket_header h;

    if (len < 2)
        return ERR_AGAIN;
    const char *error = first_bytes_error(buf, from_client);
    if (error != NULL) {
        *why = error;
        return ERR_FORMAT;
    }
    h.opcode = buf[0] & 0x0f;
    h.fin = (buf[0] & BIT_FIN) != 0;
    h.masked = (buf[1] & BIT_MASK) != 0;
    memset(h.mask, 0, sizeof h.mask);
    enum status s = length_parse(buf, len, &h);
    if (s == ERR_FORMAT)
        *why = "a frame's length is not in its shortest form";
    if (s != OK)
        return s;
    if (h.masked) {
        if (len < h.size + sizeof h.mask)
            return ERR_AGAIN;
        memcpy(h.mask, buf + h.size, sizeof h.mask);
        h.size += sizeof h.mask;
    }
    *out = h;
    return OK;
}

uint8_t *websocket_header_before(uint8_t *payload, enum websocket_opcode opcode, size_t len,
                                 const uint8_t mask[4])
{
    uint8_t *p = payload;
    uint8_t mask_bit = 0;

    if (mask != NULL) {
        p -= 4;
        memcpy(p, mask, 4);
        mask_bit = BIT_MASK;
    }
    if (len < LENGTH_16) {
        p -= 2;
        p[1] = (uint8_t)(mask_bit | len);
    } else if (len <= UINT16_MAX) {
        p -= 4;
        p[1] = mask_bit | LENGTH_16;
        put_be16(p + 2, (uint16_t)len);
    } else {
        p -= 10;
        p[1] = mask_bit | LENGTH_64;
        put_be64(p + 2, len);
    }
    p[0] = (uint8_t)(BIT_FIN | (unsigned)opcode);
    return p;
}

/*
 * Unaligned vectors: one AVX2 operation for each where the processor has it, else two of the baseline. Asked
 * of the C library, which knows already: a function multiversioned by the compiler executes CPUID in each
 * process that starts, and that is a trap in a virtual machine.
 */
typedef uint8_t lanes __attribute__((vector_size(32), aligned(1), may_alias));

__attribute__((always_inline)) static inline void mask_lanes(uint8_t *payload, size_t len,
                                                             const uint8_t mask[4])
{
    lanes wide = {0};
    size_t i = 0;

    for (size_t k = 0; k < sizeof wide; k++)
        wide[k] = mask[k & 3];
    for (; i + 2 * sizeof wide <= len; i += 2 * sizeof wide) {
        *(lanes *)(payload + i) ^= wide;
        *(lanes *)(payload + i + sizeof wide) ^= wide;
    }
    for (; i < len; i++)
        payload[i] ^= mask[i & 3];
}

#ifdef HAS_AVX2
__attribute__((target("avx2"))) static void mask_avx2(uint8_t *payload, size_t len, const uint8_t mask[4])
{
    mask_lanes(payload, len, mask);
}
#else
#define mask_avx2 mask_lanes
#define HAS_AVX2 false
#endif

void websocket_mask(uint8_t *payload, size_t len, const uint8_t mask[4])
{
    if (len >= 2 * sizeof(lanes) && HAS_AVX2)
        mask_avx2(payload, len, mask);
    else
        mask_lanes(payload, len, mask);
}

enum status websocket_masks_next(struct websocket_masks *masks, uint8_t mask[4])
{
    if (masks->left < 4) {
        if (RAND_bytes(masks->pool, (int)sizeof masks->pool) != 1)
            return ERR_CRYPTO;
        masks->left = sizeof masks->pool;
    }
    masks->left -= 4;
    memcpy(mask, masks->pool + masks->left, 4);
    return OK;
}

bool websocket_close_code_is_valid(unsigned code)
{
    if (code >= 3000 && code <= 4999)
        return true;
    return code >= 1000 && code <= 1014 && code != 1004 && code != WEBSOCKET_CLOSE_NO_STATUS && code != 1006;
}

size_t websocket_close_payload(uint8_t *out, unsigned code, const char *reason)
{
    size_t n = utf8_clip(reason, WEBSOCKET_CONTROL_MAX - 2);

    put_be16(out, (uint16_t)code);
    memcpy(out + 2, reason, n);
    return n + 2;
}
