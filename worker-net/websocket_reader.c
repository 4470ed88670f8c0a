/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From bytes to websocket messages, in place where a message came in one frame (as ours always do) and
 * through a bounded buffer where somebody in between has cut it into fragments. See websocket.h.
 */
#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"
#include "common/wire.h"
#include "worker-net/websocket.h"

void websocket_reader_init(struct websocket_reader *reader, bool from_client, size_t max_message)
{
    *reader = (struct websocket_reader){.from_client = from_client, .max_message = max_message};
}

void websocket_reader_clear(struct websocket_reader *reader)
{
    free(reader->assembly);
    reader->assembly = NULL;
}

enum status websocket_reader_limit(struct websocket_reader *reader, size_t max_message)
{
    if (reader->fragmented)
        return ERR_WRONG_STATE;
    free(reader->assembly);
    reader->assembly = NULL;
    reader->max_message = max_message;
    return OK;
}

static enum status fail(struct websocket_reader *r, enum websocket_close code, const char *error)
{
    r->error_code = (uint16_t)code;
    r->error = error;
    return ERR_FORMAT;
}

/* Is the frame in order where it stands in the sequence, and does it fit? Judged before its payload is
 * awaited. */
static enum status frame_check(struct websocket_reader *r, const struct websocket_header *h)
{
    if (h->opcode >= WEBSOCKET_CLOSE)
        return OK;
    if (h->opcode == WEBSOCKET_TEXT)
        return fail(r, WEBSOCKET_CLOSE_UNSUPPORTED, "a text message: only binary ones are spoken here");
    if (h->opcode == WEBSOCKET_CONTINUATION && !r->fragmented)
        return fail(r, WEBSOCKET_CLOSE_PROTOCOL, "a continuation without a beginning");
    if (h->opcode == WEBSOCKET_BINARY && r->fragmented)
        return fail(r, WEBSOCKET_CLOSE_PROTOCOL, "a new message inside a fragmented one");
    if (h->length > r->max_message - (r->fragmented ? r->assembled : 0))
        return fail(r, WEBSOCKET_CLOSE_TOO_BIG, "a message is longer than a record may be");
    return OK;
}

static bool utf8_is_valid(const uint8_t *text, size_t len)
{
    while (len > 0) {
        size_t n = utf8_sequence((const char *)text, len);
        if (n == 0)
            return false;
        text += n;
        len -= n;
    }
    return true;
}

static enum status close_parse(struct websocket_reader *r, struct websocket_message *m)
{
    m->close_code = WEBSOCKET_CLOSE_NO_STATUS;
    if (m->len == 0)
        return OK;
    if (m->len == 1)
        return fail(r, WEBSOCKET_CLOSE_PROTOCOL, "a close frame of one byte");
    m->close_code = get_be16(m->data);
    m->data += 2;
    m->len -= 2;
    if (!websocket_close_code_is_valid(m->close_code))
        return fail(r, WEBSOCKET_CLOSE_PROTOCOL, "a close code that nobody may send");
    if (!utf8_is_valid(m->data, m->len))
        return fail(r, WEBSOCKET_CLOSE_BAD_DATA, "a close reason that is not UTF-8");
    return OK;
}

/* Adds a fragment; OK when the message is whole, ERR_AGAIN when more must follow. */
static enum status fragment_add(struct websocket_reader *r, const struct websocket_header *h,
                                const uint8_t *payload, struct websocket_message *m)
{
    if (r->assembly == NULL) {
        r->assembly = malloc(r->max_message > 0 ? r->max_message : 1);
        if (r->assembly == NULL)
            return ERR_NOMEM;
    }
    if (!r->fragmented)
        r->assembled = 0;
    memcpy(r->assembly + r->assembled, payload, (size_t)h->length);
    r->assembled += (size_t)h->length;
    r->fragmented = !h->fin;
    if (!h->fin)
        return ERR_AGAIN;
    *m = (struct websocket_message){
        .opcode = WEBSOCKET_BINARY, .data = r->assembly, .len = r->assembled, .assembled = true};
    return OK;
}

enum status websocket_reader_next(struct websocket_reader *r, uint8_t *buf, size_t len, size_t *used,
                                  struct websocket_message *message)
{
    *used = 0;
    for (;;) {
        struct websocket_header h;
        uint8_t *at = buf + *used;
        size_t left = len - *used;
        const char *why = NULL;

        enum status s = websocket_header_parse(at, left, r->from_client, &h, &why);
        if (s == ERR_FORMAT)
            return fail(r, WEBSOCKET_CLOSE_PROTOCOL, why);
        if (s != OK)
            return s;
        s = frame_check(r, &h);
        if (s != OK)
            return s;
        if (left - h.size < h.length)
            return ERR_AGAIN;

        uint8_t *payload = at + h.size;
        if (h.masked)
            websocket_mask(payload, (size_t)h.length, h.mask);
        *used += h.size + (size_t)h.length;
        if (h.opcode == WEBSOCKET_CONTINUATION || (h.opcode == WEBSOCKET_BINARY && !h.fin)) {
            s = fragment_add(r, &h, payload, message);
            if (s == ERR_AGAIN)
                continue;
            return s;
        }
        *message = (struct websocket_message){.opcode = h.opcode, .data = payload, .len = (size_t)h.length};
        return h.opcode == WEBSOCKET_CLOSE ? close_parse(r, message) : OK;
    }
}
