/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder that every process runs on what the others send: any packet, in any channel, end and state.
 * What it takes must encode to the same packet, and what it refuses must not have been believed.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ipc.h"

static const enum ipc_kind kinds[] = {CH_SESSION, CH_CRYPTO,    CH_DIALER, CH_ADMIN,
                                      CH_K8S,     CH_HANDSHAKE, CH_DIAL,   CH_CONTROL};
static const unsigned states[] = {IN_BOOT, IN_RUN, IN_HELLO, IN_OPEN, IN_DRAIN};

/* Text fields are read by others as C strings: every one of them must end within its array. */
static void print_it(enum message_type type, const union message *message)
{
    static FILE *sink;
    if (sink == NULL) {
        sink = fopen("/dev/null", "we");
        if (sink == NULL)
            abort();
        ipc_print_table(sink);
    }
    ipc_print(sink, type, message);
    (void)ipc_has_secret(type);
}

/* What a sender of ours must not be able to make: text and bytes over a field's size, and packets over the
 * limit. */
static void refuse_to_encode(uint8_t *buf)
{
    struct msg_hs_send bytes = {.data_len = UINT16_MAX};
    struct msg_worker_log text = {.level = 1};
    size_t len = 0;

    memset(text.text, 'x', sizeof text.text); /* no end */
    if (ipc_encode(MSG_HS_SEND, &bytes, buf, IPC_MESSAGE_MAX, &len) == OK ||
        ipc_encode(MSG_WORKER_LOG, &text, buf, IPC_MESSAGE_MAX, &len) == OK ||
        ipc_encode((enum message_type)254, &bytes, buf, IPC_MESSAGE_MAX, &len) == OK ||
        ipc_encode(MSG_HS_SEND, &bytes, buf, 1, &len) == OK)
        abort();
}

static void judge(struct ipc_permit *permit, unsigned number)
{
    const char *why = NULL;
    enum status first = ipc_permit_check(permit, number, &why);
    if (first == OK && ipc_descriptors(number) < 0)
        abort(); /* an unknown message was permitted */
    if (first != OK && why == NULL)
        abort();
    (void)ipc_permit_check(permit, number, &why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first two bytes choose channel, end and state; the rest is the packet. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static union message message;
    static uint8_t again[IPC_MESSAGE_MAX];
    enum message_type type;
    size_t len = 0;

    if (size < 2 || size - 2 > IPC_MESSAGE_MAX)
        return 0;
    struct ipc_permit permit = {.kind = kinds[data[0] % 8],
                                .end = (data[0] & 0x80) != 0 ? IPC_UPPER : IPC_LOWER,
                                .state = states[data[1] % 5]};
    const uint8_t *packet = data + 2;
    size -= 2;
    unsigned number = size >= 2 ? (unsigned)(packet[0] | packet[1] << 8) : 0;
    judge(&permit, number);
    refuse_to_encode(again);
    (void)ipc_message_name(number);
    memset(&message, 0xa5, sizeof message);
    if (ipc_decode(packet, size, &type, &message) != OK)
        return 0;
    print_it(type, &message);
    if (ipc_encode(type, &message, again, sizeof again, &len) != OK || len != size ||
        memcmp(again, packet, len) != 0)
        abort(); /* one packet, one meaning */
    if (len > 2 && ipc_encode(type, &message, again, len - 1, &len) == OK)
        abort();
    return 0;
}
