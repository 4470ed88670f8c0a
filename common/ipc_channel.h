/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of an IPC channel on a libevent loop: receives, judges (permit table), decodes and hands over each
 * message; sends through a bounded queue. It must not know any message's meaning. Where a message breaks the
 * rules the owner is told and decides; nothing further is read from that channel.
 */
#ifndef WORMHOLE_COMMON_IPC_CHANNEL_H
#define WORMHOLE_COMMON_IPC_CHANNEL_H

#include "common/ipc.h"

struct event_base;
struct ipc_channel;

struct ipc_handlers {
    /*
     * A permitted, well-formed message. fd is the descriptor that came with it, or -1; the handler owns it.
     * The handler may free the channel. The message lives until the handler returns.
     */
    void (*message)(void *arg, enum message_type type, const union message *message, int fd);
    /* The other end closed (reason NULL) or broke a rule / failed (reason: English). Called once; free it
     * then. */
    void (*closed)(void *arg, const char *reason);
    /*
     * A message whose descriptor was lost, because this process may have no further one, is handed over with
     * fd -1. Without this the channel fails then.
     */
    bool takes_lost_descriptors;
};

/* Limits of the outgoing queue; past them ipc_channel_send() answers ERR_FULL. */
#define IPC_QUEUE_MESSAGES 1024u
#define IPC_QUEUE_BYTES (2u << 20)

/*
 * Takes ownership of fd on success (closed by ipc_channel_free). `label` (copied, at most 31 bytes) names the
 * channel in trace output. NULL when out of memory.
 */
struct ipc_channel *ipc_channel_new(struct event_base *base, int fd, enum ipc_kind kind, enum ipc_end end,
                                    unsigned state, const char *label, const struct ipc_handlers *handlers,
                                    void *arg);
void ipc_channel_free(struct ipc_channel *channel);

/* The state in which further messages are judged (one IN_*). */
void ipc_channel_set_state(struct ipc_channel *channel, unsigned state);
unsigned ipc_channel_state(const struct ipc_channel *channel);

/*
 * Queues and, where possible, sends at once. fd (-1: none) is duplicated when queued: the caller keeps its
 * own. ERR_FULL: the queue's limits; ERR_EOF: the other end is gone (closed() follows from the loop);
 * ERR_SIZE, ERR_DESCRIPTOR: a defect of the caller.
 */
enum status ipc_channel_send(struct ipc_channel *channel, enum message_type type, const void *message,
                             int fd);

/* Type-safe: SEND(channel, worker_ping, WORKER_PING, .nonce = 7) with no descriptor. */
#define IPC_SEND(channel, NAME, name, ...)                                                                   \
    ipc_channel_send((channel), MSG_##NAME, &(const struct msg_##name){__VA_ARGS__}, -1)

/* Messages that still wait in the outgoing queue. */
size_t ipc_channel_queued(const struct ipc_channel *channel);

/* Sends what is queued, waiting at most timeout_ms; for the last words of a process. */
enum status ipc_channel_flush(struct ipc_channel *channel, int timeout_ms);

/* Stop or go on reading: for an owner that cannot take more now. */
void ipc_channel_pause(struct ipc_channel *channel, bool paused);

/* Prints every message of this process's channels to stderr or through log at trace level; see common/log.h.
 */
void ipc_trace_enable(bool on);

#endif
