/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Typed messages between Wormhole's processes: what they are (generated from common/messages.def), how one
 * is encoded into a packet and decoded from one, and who may send which when.
 *
 * One message is one SOCK_SEQPACKET packet of at most IPC_MESSAGE_MAX bytes, with at most one descriptor:
 * a little-endian u16 type, then the fields in order. A decoder consumes the exact size or fails. This layer
 * knows nothing of what a message means, and never waits: common/ipc_channel.h puts it on an event loop.
 */
#ifndef WORMHOLE_COMMON_IPC_H
#define WORMHOLE_COMMON_IPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/status.h"

#define IPC_MESSAGE_MAX 16384u /* bytes, type included */
#define IPC_WORKER_FD 3        /* a worker's channel to the supervisor */

/* Kinds of channel: who is at its two ends. A bit each, so that a message can name several. */
enum ipc_kind {
    CH_SESSION = 1 << 0,   /* supervisor - session */
    CH_CRYPTO = 1 << 1,    /* supervisor - crypto */
    CH_DIALER = 1 << 2,    /* supervisor - dialer */
    CH_ADMIN = 1 << 3,     /* supervisor - admin */
    CH_K8S = 1 << 4,       /* supervisor - Kubernetes worker */
    CH_HANDSHAKE = 1 << 5, /* crypto - session */
    CH_DIAL = 1 << 6,      /* dialer - session */
    CH_CONTROL = 1 << 7,   /* supervisor - command line */
};

/* Which end of a channel one is: messages go DOWN from the upper end, UP to it. */
enum ipc_end { IPC_UPPER, IPC_LOWER };

/* States of a channel, as its owner at either end keeps them. */
enum ipc_state {
    IN_BOOT = 1 << 0,  /* worker started, not yet sandboxed */
    IN_RUN = 1 << 1,   /* at work (every channel but those of a session) */
    IN_HELLO = 1 << 2, /* session: handshake under way */
    IN_OPEN = 1 << 3,  /* session: approved, records flow */
    IN_DRAIN = 1 << 4, /* session: no new streams, about to end */
};

enum message_type {
#define MESSAGE(NAME, name, number, channels, direction, states, times, descriptors, fields)                 \
    MSG_##NAME = number,
#include "common/messages.def"
#undef MESSAGE
};

/* One struct per message: struct msg_worker_setup and so on. F_STR is NUL-terminated, F_BYTES has NAME_len.
 */
#define F_U8(field) uint8_t field;
#define F_U16(field) uint16_t field;
#define F_U32(field) uint32_t field;
#define F_U64(field) uint64_t field;
#define F_STR(field, max) char field[(max) + 1];
#define F_SECRETSTR(field, max) char field[(max) + 1];
#define F_BYTES(field, max)                                                                                  \
    uint16_t field##_len;                                                                                    \
    uint8_t field[max];
#define F_FIXED(field, size) uint8_t field[size];
#define F_SECRET(field, size) uint8_t field[size];
#define MESSAGE(NAME, name, number, channels, direction, states, times, descriptors, fields)                 \
    struct msg_##name {                                                                                      \
        fields                                                                                               \
    };
#include "common/messages.def"
#undef MESSAGE
#undef F_U8
#undef F_U16
#undef F_U32
#undef F_U64
#undef F_STR
#undef F_SECRETSTR
#undef F_BYTES
#undef F_FIXED
#undef F_SECRET

union message {
#define MESSAGE(NAME, name, number, channels, direction, states, times, descriptors, fields)                 \
    struct msg_##name name;
#include "common/messages.def"
#undef MESSAGE
};

/* "WORKER_SETUP"; "?" for an unknown number. */
const char *ipc_message_name(unsigned type);

/*
 * Encodes `message` (the struct that belongs to `type`) into buf. ERR_TYPE: no such message; ERR_SIZE: it
 * does not fit into cap, or a length in it is over the field's maximum.
 */
enum status ipc_encode(enum message_type type, const void *message, uint8_t *buf, size_t cap, size_t *len);

/*
 * Decodes one packet. On success *type and *out are set, and exactly len bytes were used. ERR_TYPE, ERR_SIZE
 * (short, long, over a field's maximum), ERR_FORMAT (a NUL inside text). On failure *out may be dirty and
 * must not be used.
 */
enum status ipc_decode(const uint8_t *buf, size_t len, enum message_type *type, union message *out);

/* Does it carry a key, token or password, so that its copies have to be wiped? */
bool ipc_has_secret(unsigned type);

/* How many descriptors the message must carry (0 or 1); -1 for an unknown type. */
int ipc_descriptors(unsigned type);

/* What a receiver remembers to judge the next message: its channel's kind and end, state, and what came once.
 */
struct ipc_permit {
    enum ipc_kind kind;
    enum ipc_end end; /* of the receiver */
    unsigned state;   /* one IN_* */
    uint64_t seen[4]; /* bit per message number */
};

/*
 * May this message come now? ERR_PERMIT with *why set to a static phrase when not: wrong channel, direction,
 * state, or a second time. On OK a ONCE message is marked as seen.
 */
enum status ipc_permit_check(struct ipc_permit *permit, unsigned type, const char **why);

/* Prints a message on one line for --trace, text escaped, secrets as "(secret)". */
void ipc_print(FILE *out, enum message_type type, const union message *message);

/* Prints the whole table of messages as Markdown: the documentation's source. */
void ipc_print_table(FILE *out);

/*
 * Sends one packet, with descriptor fd (-1: none; not closed here). ERR_AGAIN: would block. ERR_EOF: the
 * other end is gone. ERR_IO: errno. Never partial: packets are atomic.
 */
enum status ipc_send_packet(int socket, const uint8_t *buf, size_t len, int fd);

/*
 * Receives one packet into buf; *fd gets the descriptor (close-on-exec; the caller owns it) or -1. ERR_AGAIN,
 * ERR_EOF, ERR_SIZE (truncated packet), ERR_DESCRIPTOR (several descriptors or truncated control data; all
 * that came are closed), ERR_IO. ERR_LIMIT: the packet is whole and *len is set, but this process may have no
 * further descriptor and the kernel has dropped the one that came.
 */
enum status ipc_recv_packet(int socket, uint8_t *buf, size_t cap, size_t *len, int *fd);

/* A connected pair of SOCK_SEQPACKET sockets, close-on-exec; non-blocking ones when asked. ERR_IO: errno. */
enum status ipc_pair(int pair[2], bool nonblocking);

#endif
