/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the websocket reader: the first byte picks side and cut, the rest comes from the network. The same
 * bytes must give the same messages however they are cut into pieces.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "worker-net/websocket.h"

#define LIMIT 5000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    uint64_t digest; /* of all messages */
    unsigned messages;
    enum status last;
    uint16_t error_code;
};

static void add(struct outcome *o, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        o->digest = (o->digest ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3ull;
}

/* Feeds `size` bytes, `step` at a time. */
static void read_all(const uint8_t *data, size_t size, size_t step, bool from_client, struct outcome *o)
{
    struct websocket_reader r;
    uint8_t *buf = malloc(size + 1);
    size_t have = 0, at = 0;

    *o = (struct outcome){.last = ERR_AGAIN};
    websocket_reader_init(&r, from_client, LIMIT);
    while (buf != NULL && (o->last == OK || (o->last == ERR_AGAIN && at < size))) {
        struct websocket_message m;
        size_t used = 0;
        if (o->last == ERR_AGAIN) {
            size_t n = size - at < step ? size - at : step;
            memcpy(buf + have, data + at, n);
            have += n;
            at += n;
        }
        o->last = websocket_reader_next(&r, buf, have, &used, &m);
        if (used > have)
            abort();
        if (o->last == OK) {
            if (m.len > LIMIT || (m.opcode >= WEBSOCKET_CLOSE && m.len > WEBSOCKET_CONTROL_MAX))
                abort();
            o->messages++;
            add(o, &m.opcode, sizeof m.opcode);
            add(o, m.data, m.len);
        }
        memmove(buf, buf + used, have - used);
        have -= used;
    }
    if (o->last == ERR_FORMAT) {
        o->error_code = r.error_code;
        if (r.error == NULL || !websocket_close_code_is_valid(r.error_code))
            abort();
    }
    websocket_reader_clear(&r);
    free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole, pieces;

    if (size < 1)
        return 0;
    bool from_client = (data[0] & 1) != 0;
    read_all(data + 1, size - 1, size, from_client, &whole);
    read_all(data + 1, size - 1, 1u + (data[0] >> 1), from_client, &pieces);
    if (whole.digest != pieces.digest || whole.messages != pieces.messages || whole.last != pieces.last ||
        whole.error_code != pieces.error_code)
        abort();
    return 0;
}
