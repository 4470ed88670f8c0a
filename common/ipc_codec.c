/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encoding, decoding, judging and printing of IPC messages, all driven by tables that come from
 * common/messages.def. One generic routine walks a message's field table, so that no message has code of its
 * own that could get a bound wrong. No I/O but ipc_print*().
 */
#include "common/ipc.h"

#include <string.h>

#include "common/log.h"
#include "common/wire.h"

enum field_kind { FIELD_U8, FIELD_U16, FIELD_U32, FIELD_U64, FIELD_TEXT, FIELD_BYTES, FIELD_FIXED };

struct field {
    const char *name;
    enum field_kind kind;
    bool secret;
    uint16_t max;        /* bytes of text, bytes or fixed */
    uint16_t offset;     /* in the message's struct */
    uint16_t len_offset; /* FIELD_BYTES: of its length */
};

/* What stands in the DIRECTION, TIMES and CHANNELS columns of messages.def. */
enum { DOWN = IPC_LOWER, UP = IPC_UPPER }; /* the end that receives */
enum { ONCE = 1, MANY = 0 };
enum { WORKERS = CH_SESSION | CH_CRYPTO | CH_DIALER | CH_ADMIN | CH_K8S };
enum { ANY = IN_BOOT | IN_RUN | IN_HELLO | IN_OPEN | IN_DRAIN };

struct message_info {
    const char *name;
    unsigned channels;
    unsigned receiver; /* enum ipc_end */
    unsigned states;
    bool once;
    uint8_t descriptors;
    uint8_t n_fields;
    const struct field *fields;
};

/* Field tables: fields_worker_setup[] and so on; `self` is the message's struct. */
#define AT(field) .offset = offsetof(self, field)
#define F_U8(f) {.name = #f, .kind = FIELD_U8, AT(f)},
#define F_U16(f) {.name = #f, .kind = FIELD_U16, AT(f)},
#define F_U32(f) {.name = #f, .kind = FIELD_U32, AT(f)},
#define F_U64(f) {.name = #f, .kind = FIELD_U64, AT(f)},
#define F_STR(f, m) {.name = #f, .kind = FIELD_TEXT, .max = (m), AT(f)},
#define F_SECRETSTR(f, m) {.name = #f, .kind = FIELD_TEXT, .max = (m), .secret = true, AT(f)},
#define F_BYTES(f, m)                                                                                        \
    {.name = #f, .kind = FIELD_BYTES, .max = (m), AT(f), .len_offset = offsetof(self, f##_len)},
#define F_FIXED(f, n) {.name = #f, .kind = FIELD_FIXED, .max = (n), AT(f)},
#define F_SECRET(f, n) {.name = #f, .kind = FIELD_FIXED, .max = (n), .secret = true, AT(f)},
#define MESSAGE(NAME, lower, number, channels, direction, states, times, descriptors, list)                  \
    _Static_assert((number) > 0 && (number) < 256, "message numbers fit ipc_permit.seen");                   \
    static const struct field *fields_of_##lower(uint8_t *n)                                                 \
    {                                                                                                        \
        typedef struct msg_##lower self;                                                                     \
        static const struct field table[] = {list};                                                          \
        *n = (uint8_t)(sizeof table / sizeof table[0]);                                                      \
        return table;                                                                                        \
    }
#include "common/messages.def"
#undef MESSAGE

/* Finds a message's row of the table; false for an unknown number. */
static bool info_find(unsigned type, struct message_info *info)
{
    switch (type) {
#define MESSAGE(NAME, lower, number, in_channels, direction, in_states, times, count, list)                  \
    case number:                                                                                             \
        *info = (struct message_info){.name = #NAME,                                                         \
                                      .channels = (in_channels),                                             \
                                      .receiver = (direction),                                               \
                                      .states = (in_states),                                                 \
                                      .once = (times) == ONCE,                                               \
                                      .descriptors = (count)};                                               \
        info->fields = fields_of_##lower(&info->n_fields);                                                   \
        return true;
#include "common/messages.def"
#undef MESSAGE
    default: return false;
    }
}

const char *ipc_message_name(unsigned type)
{
    struct message_info info;
    return info_find(type, &info) ? info.name : "?";
}

int ipc_descriptors(unsigned type)
{
    struct message_info info;
    return info_find(type, &info) ? info.descriptors : -1;
}

bool ipc_has_secret(unsigned type)
{
    struct message_info info;
    if (!info_find(type, &info))
        return false;
    for (unsigned i = 0; i < info.n_fields; i++) {
        if (info.fields[i].secret)
            return true;
    }
    return false;
}

/* ---- encoding ---- */

static enum status encode_field(const struct field *f, const uint8_t *base, uint8_t *buf, size_t cap,
                                size_t *at)
{
    const uint8_t *value = base + f->offset;
    size_t room = cap - *at;
    size_t len;

    switch (f->kind) {
    case FIELD_U8:
        if (room < 1)
            return ERR_SIZE;
        buf[(*at)++] = *value;
        return OK;
    case FIELD_U16: {
        uint16_t v;
        if (room < sizeof v)
            return ERR_SIZE;
        memcpy(&v, value, sizeof v);
        put_le16(buf + *at, v);
        *at += sizeof v;
        return OK;
    }
    case FIELD_U32: {
        uint32_t v;
        if (room < sizeof v)
            return ERR_SIZE;
        memcpy(&v, value, sizeof v);
        put_le32(buf + *at, v);
        *at += sizeof v;
        return OK;
    }
    case FIELD_U64: {
        uint64_t v;
        if (room < sizeof v)
            return ERR_SIZE;
        memcpy(&v, value, sizeof v);
        put_le64(buf + *at, v);
        *at += sizeof v;
        return OK;
    }
    case FIELD_TEXT: len = strnlen((const char *)value, (size_t)f->max + 1); break;
    case FIELD_BYTES: {
        uint16_t n;
        memcpy(&n, base + f->len_offset, sizeof n);
        len = n;
        break;
    }
    case FIELD_FIXED:
        if (room < f->max)
            return ERR_SIZE;
        memcpy(buf + *at, value, f->max);
        *at += f->max;
        return OK;
    default: return ERR_TYPE;
    }

    if (len > f->max || room < 2 || room - 2 < len)
        return ERR_SIZE;
    put_le16(buf + *at, (uint16_t)len);
    memcpy(buf + *at + 2, value, len);
    *at += 2 + len;
    return OK;
}

enum status ipc_encode(enum message_type type, const void *message, uint8_t *buf, size_t cap, size_t *len)
{
    struct message_info info;
    size_t at = 2;

    if (!info_find(type, &info))
        return ERR_TYPE;
    if (cap > IPC_MESSAGE_MAX)
        cap = IPC_MESSAGE_MAX;
    if (cap < at)
        return ERR_SIZE;
    put_le16(buf, (uint16_t)type);
    for (unsigned i = 0; i < info.n_fields; i++) {
        enum status s = encode_field(&info.fields[i], message, buf, cap, &at);
        if (s != OK)
            return s;
    }
    *len = at;
    return OK;
}

/* ---- decoding ---- */

static enum status decode_field(const struct field *f, uint8_t *base, const uint8_t *buf, size_t len,
                                size_t *at)
{
    uint8_t *value = base + f->offset;
    size_t left = len - *at;
    uint16_t n;

    switch (f->kind) {
    case FIELD_U8:
        if (left < 1)
            return ERR_SIZE;
        *value = buf[(*at)++];
        return OK;
    case FIELD_U16: {
        if (left < 2)
            return ERR_SIZE;
        uint16_t v = get_le16(buf + *at);
        memcpy(value, &v, sizeof v);
        *at += sizeof v;
        return OK;
    }
    case FIELD_U32: {
        if (left < 4)
            return ERR_SIZE;
        uint32_t v = get_le32(buf + *at);
        memcpy(value, &v, sizeof v);
        *at += sizeof v;
        return OK;
    }
    case FIELD_U64: {
        if (left < 8)
            return ERR_SIZE;
        uint64_t v = get_le64(buf + *at);
        memcpy(value, &v, sizeof v);
        *at += sizeof v;
        return OK;
    }
    case FIELD_FIXED:
        if (left < f->max)
            return ERR_SIZE;
        memcpy(value, buf + *at, f->max);
        *at += f->max;
        return OK;
    case FIELD_TEXT:
    case FIELD_BYTES: break;
    default: return ERR_TYPE;
    }

    if (left < 2)
        return ERR_SIZE;
    n = get_le16(buf + *at);
    if (n > f->max || left - 2 < n)
        return ERR_SIZE;
    if (f->kind == FIELD_TEXT) {
        if (memchr(buf + *at + 2, '\0', n) != NULL)
            return ERR_FORMAT;
        value[n] = '\0';
    } else {
        memcpy(base + f->len_offset, &n, sizeof n);
    }
    memcpy(value, buf + *at + 2, n);
    *at += 2u + n;
    return OK;
}

enum status ipc_decode(const uint8_t *buf, size_t len, enum message_type *type, union message *out)
{
    struct message_info info;
    size_t at = 2;

    if (len < 2 || len > IPC_MESSAGE_MAX)
        return ERR_SIZE;
    unsigned number = get_le16(buf);
    if (!info_find(number, &info))
        return ERR_TYPE;
    for (unsigned i = 0; i < info.n_fields; i++) {
        enum status s = decode_field(&info.fields[i], (uint8_t *)out, buf, len, &at);
        if (s != OK)
            return s;
    }
    if (at != len)
        return ERR_SIZE;
    *type = (enum message_type)number;
    return OK;
}

/* ---- who may send what when ---- */

enum status ipc_permit_check(struct ipc_permit *permit, unsigned type, const char **why)
{
    struct message_info info;

    if (!info_find(type, &info)) {
        *why = "unknown message";
        return ERR_TYPE;
    }
    if ((info.channels & (unsigned)permit->kind) == 0) {
        *why = "message does not belong on this channel";
        return ERR_PERMIT;
    }
    if (info.receiver != (unsigned)permit->end) {
        *why = "message goes the other way";
        return ERR_PERMIT;
    }
    if ((info.states & permit->state) == 0) {
        *why = "message is not allowed in this state";
        return ERR_PERMIT;
    }
    uint64_t bit = 1ull << (type % 64);
    if (info.once && (permit->seen[type / 64] & bit) != 0) {
        *why = "message is allowed once only";
        return ERR_PERMIT;
    }
    permit->seen[type / 64] |= bit;
    return OK;
}

/* ---- printing ---- */

static void print_hex(FILE *out, const uint8_t *p, size_t n)
{
    size_t shown = n > 32 ? 32 : n;
    for (size_t i = 0; i < shown; i++)
        (void)fprintf(out, "%02x", p[i]);
    if (shown < n)
        (void)fprintf(out, "…(%zu)", n);
}

static void print_field(FILE *out, const struct field *f, const uint8_t *base)
{
    const uint8_t *value = base + f->offset;
    char text[4 * 1024 + 1];
    uint16_t v16;
    uint32_t v32;
    uint64_t v64;

    (void)fprintf(out, " %s=", f->name);
    if (f->secret) {
        (void)fputs("(secret)", out);
        return;
    }
    switch (f->kind) {
    case FIELD_U8: (void)fprintf(out, "%u", *value); break;
    case FIELD_U16:
        memcpy(&v16, value, sizeof v16);
        (void)fprintf(out, "%u", v16);
        break;
    case FIELD_U32:
        memcpy(&v32, value, sizeof v32);
        (void)fprintf(out, "%u", v32);
        break;
    case FIELD_U64:
        memcpy(&v64, value, sizeof v64);
        (void)fprintf(out, "%llu", (unsigned long long)v64);
        break;
    case FIELD_TEXT:
        (void)log_escape(text, sizeof text, (const char *)value, strnlen((const char *)value, f->max));
        (void)fprintf(out, "\"%s\"", text);
        break;
    case FIELD_BYTES:
        memcpy(&v16, base + f->len_offset, sizeof v16);
        print_hex(out, value, v16);
        break;
    case FIELD_FIXED: print_hex(out, value, f->max); break;
    }
}

void ipc_print(FILE *out, enum message_type type, const union message *message)
{
    struct message_info info;

    if (!info_find(type, &info)) {
        (void)fprintf(out, "?(%u)", (unsigned)type);
        return;
    }
    (void)fputs(info.name, out);
    for (unsigned i = 0; i < info.n_fields; i++)
        print_field(out, &info.fields[i], (const uint8_t *)message);
}

static void print_field_type(FILE *out, const struct field *f)
{
    switch (f->kind) {
    case FIELD_U8: (void)fprintf(out, "%s u8", f->name); return;
    case FIELD_U16: (void)fprintf(out, "%s u16", f->name); return;
    case FIELD_U32: (void)fprintf(out, "%s u32", f->name); return;
    case FIELD_U64: (void)fprintf(out, "%s u64", f->name); return;
    case FIELD_TEXT: (void)fprintf(out, "%s text≤%u", f->name, f->max); break;
    case FIELD_BYTES: (void)fprintf(out, "%s bytes≤%u", f->name, f->max); break;
    case FIELD_FIXED: (void)fprintf(out, "%s bytes=%u", f->name, f->max); break;
    }
    if (f->secret)
        (void)fputs(" (secret)", out);
}

static void print_names(FILE *out, unsigned mask, const char *const *names, unsigned n)
{
    const char *separator = "";
    for (unsigned i = 0; i < n; i++) {
        if ((mask & (1u << i)) != 0) {
            (void)fprintf(out, "%s%s", separator, names[i]);
            separator = ", ";
        }
    }
}

void ipc_print_table(FILE *out)
{
    static const char *const channels[] = {"session", "crypto",         "dialer",         "admin",
                                           "k8s",     "crypto-session", "dialer-session", "control"};
    static const char *const states[] = {"boot", "run", "hello", "open", "drain"};

    (void)fputs("| no. | message | channel | direction | states | times | fd | fields |\n"
                "| --- | --- | --- | --- | --- | --- | --- | --- |\n",
                out);
    for (unsigned type = 1; type < 256; type++) {
        struct message_info info;
        if (!info_find(type, &info))
            continue;
        (void)fprintf(out, "| %u | %s | ", type, info.name);
        if (info.channels == WORKERS)
            (void)fputs("every worker", out);
        else
            print_names(out, info.channels, channels, sizeof channels / sizeof channels[0]);
        (void)fprintf(out, " | %s | ", info.receiver == DOWN ? "down" : "up");
        if (info.states == ANY)
            (void)fputs("any", out);
        else
            print_names(out, info.states, states, sizeof states / sizeof states[0]);
        (void)fprintf(out, " | %s | %u | ", info.once ? "once" : "many", info.descriptors);
        for (unsigned i = 0; i < info.n_fields; i++) {
            (void)fputs(i > 0 ? ", " : "", out);
            print_field_type(out, &info.fields[i]);
        }
        (void)fputs(" |\n", out);
    }
}
