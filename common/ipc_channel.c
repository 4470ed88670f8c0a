/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See ipc_channel.h. Writes first and queues only what the socket refuses; reads a bounded number of packets
 * per turn of the loop, so that one busy channel cannot starve the others.
 */
#include "common/ipc_channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/clock.h"

#define PACKETS_PER_TURN 32

struct packet {
    struct packet *next;
    int fd; /* owned, or -1 */
    size_t len;
    uint8_t data[];
};

struct ipc_channel {
    struct event *readable, *writable;
    struct ipc_permit permit;
    const struct ipc_handlers *handlers;
    void *arg;
    struct packet *first, **last;
    size_t queued_messages, queued_bytes;
    int fd;
    bool closed; /* closed() was called */
    bool paused;
    bool *freed; /* set by ipc_channel_free while a handler runs */
    char label[32];
};

static bool trace_on;

void ipc_trace_enable(bool on)
{
    trace_on = on;
}

/* One line is one write(): several processes share a terminal or a log file, and their lines must not mix. */
static void trace(const struct ipc_channel *ch, const char *arrow, enum message_type type,
                  const union message *m)
{
    char *line = NULL;
    size_t len = 0;

    if (!trace_on)
        return;
    FILE *out = open_memstream(&line, &len);
    if (out == NULL)
        return;
    (void)fprintf(out, "ipc %s %s ", ch->label, arrow);
    ipc_print(out, type, m);
    (void)fputc('\n', out);
    if (fclose(out) == 0 && write(STDERR_FILENO, line, len) < 0) {
        /* nowhere to report it to */
    }
    free(line);
}

/* Tells the owner once that nothing more will come. The owner may free the channel in the call. */
static void channel_fail(struct ipc_channel *ch, const char *reason)
{
    if (ch->closed)
        return;
    ch->closed = true;
    (void)event_del(ch->readable);
    (void)event_del(ch->writable);
    ch->handlers->closed(ch->arg, reason);
}

/* Receives and hands over one packet. False: stop for this turn (nothing more, or the channel is gone). */
static bool channel_receive(struct ipc_channel *ch)
{
    static uint8_t buf[IPC_MESSAGE_MAX];
    static union message message; /* 16 KiB would be much for a stack; handlers do not come back here */
    static bool in_use;
    enum message_type type;
    const char *why = NULL;
    char reason[160];
    size_t len;
    int fd;

    enum status s = ipc_recv_packet(ch->fd, buf, sizeof buf, &len, &fd);
    if (s == ERR_AGAIN)
        return false;
    if (s == ERR_EOF) {
        channel_fail(ch, NULL);
        return false;
    }
    bool lost = s == ERR_LIMIT && ch->handlers->takes_lost_descriptors;
    if (lost) {
        s = OK;
        fd = -1;
    }
    if (s == OK) {
        unsigned number = len >= 2 ? (unsigned)(buf[0] | buf[1] << 8) : 0;
        s = ipc_permit_check(&ch->permit, number, &why);
        if (s == OK && (fd >= 0 || lost) != (ipc_descriptors(number) == 1))
            s = ERR_DESCRIPTOR;
        if (s == OK && in_use)
            s = ERR_WRONG_STATE; /* a handler ran the loop: a defect of ours, never of the sender */
        if (s == OK)
            s = ipc_decode(buf, len, &type, &message);
        if (s != OK) {
            (void)snprintf(reason, sizeof reason, "%s: %s", ipc_message_name(number),
                           why != NULL ? why : status_text(s));
            if (fd >= 0)
                (void)close(fd);
        }
    } else {
        (void)snprintf(reason, sizeof reason, "%s",
                       s == ERR_IO      ? strerror(errno)
                       : s == ERR_LIMIT ? "no descriptor is left for what came"
                                        : status_text(s));
    }
    if (s != OK) {
        channel_fail(ch, reason);
        return false;
    }
    trace(ch, "<", type, &message);

    bool freed = false;
    /* cppcheck-suppress autoVariables ; it is taken back below, before it ends */
    ch->freed = &freed;
    in_use = true;
    ch->handlers->message(ch->arg, type, &message, fd);
    in_use = false;
    if (ipc_has_secret(type)) {
        explicit_bzero(&message, sizeof message);
        explicit_bzero(buf, len);
    }
    if (freed)
        return false;
    ch->freed = NULL;
    return !ch->closed && !ch->paused;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct ipc_channel *ch = arg;
    (void)fd;
    (void)what;
    for (unsigned i = 0; i < PACKETS_PER_TURN && channel_receive(ch); i++)
        continue;
}

static void packet_drop_first(struct ipc_channel *ch)
{
    struct packet *p = ch->first;

    ch->first = p->next;
    if (ch->first == NULL)
        ch->last = &ch->first;
    ch->queued_messages--;
    ch->queued_bytes -= p->len;
    if (p->fd >= 0)
        (void)close(p->fd);
    explicit_bzero(p->data, p->len);
    free(p);
}

/* Sends from the queue until it is empty or the socket is full. */
static enum status queue_send(struct ipc_channel *ch)
{
    while (ch->first != NULL) {
        enum status s = ipc_send_packet(ch->fd, ch->first->data, ch->first->len, ch->first->fd);
        if (s != OK)
            return s;
        packet_drop_first(ch);
    }
    return OK;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct ipc_channel *ch = arg;
    (void)fd;
    (void)what;
    enum status s = queue_send(ch);
    if (s == OK)
        (void)event_del(ch->writable);
    else if (s == ERR_EOF)
        channel_fail(ch, NULL);
    else if (s != ERR_AGAIN)
        channel_fail(ch, strerror(errno));
}

struct ipc_channel *ipc_channel_new(struct event_base *base, int fd, enum ipc_kind kind, enum ipc_end end,
                                    unsigned state, const char *label, const struct ipc_handlers *handlers,
                                    void *arg)
{
    struct ipc_channel *ch = calloc(1, sizeof *ch);
    if (ch == NULL)
        return NULL;
    ch->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, ch);
    ch->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, ch);
    if (ch->readable == NULL || ch->writable == NULL || evutil_make_socket_nonblocking(fd) != 0 ||
        event_add(ch->readable, NULL) != 0) {
        if (ch->readable != NULL)
            event_free(ch->readable);
        if (ch->writable != NULL)
            event_free(ch->writable);
        free(ch);
        return NULL;
    }
    ch->fd = fd;
    ch->permit = (struct ipc_permit){.kind = kind, .end = end, .state = state};
    ch->handlers = handlers;
    ch->arg = arg;
    ch->last = &ch->first;
    (void)snprintf(ch->label, sizeof ch->label, "%s", label);
    return ch;
}

void ipc_channel_free(struct ipc_channel *ch)
{
    if (ch == NULL)
        return;
    if (ch->freed != NULL)
        *ch->freed = true;
    while (ch->first != NULL)
        packet_drop_first(ch);
    event_free(ch->readable);
    event_free(ch->writable);
    (void)close(ch->fd);
    free(ch);
}

void ipc_channel_set_state(struct ipc_channel *ch, unsigned state)
{
    ch->permit.state = state;
}

unsigned ipc_channel_state(const struct ipc_channel *ch)
{
    return ch->permit.state;
}

size_t ipc_channel_queued(const struct ipc_channel *ch)
{
    return ch->queued_messages;
}

void ipc_channel_pause(struct ipc_channel *ch, bool paused)
{
    if (ch->closed || ch->paused == paused)
        return;
    ch->paused = paused;
    if (paused)
        (void)event_del(ch->readable);
    else
        (void)event_add(ch->readable, NULL);
}

static enum status queue_add(struct ipc_channel *ch, const uint8_t *buf, size_t len, int fd)
{
    if (ch->queued_messages >= IPC_QUEUE_MESSAGES || ch->queued_bytes + len > IPC_QUEUE_BYTES)
        return ERR_FULL;
    struct packet *p = malloc(sizeof *p + len);
    if (p == NULL)
        return ERR_NOMEM;
    *p = (struct packet){.fd = -1, .len = len};
    memcpy(p->data, buf, len);
    if (fd >= 0) {
        p->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (p->fd < 0) {
            free(p);
            return ERR_IO;
        }
    }
    *ch->last = p;
    ch->last = &p->next;
    ch->queued_messages++;
    ch->queued_bytes += len;
    return OK;
}

enum status ipc_channel_send(struct ipc_channel *ch, enum message_type type, const void *message, int fd)
{
    uint8_t buf[IPC_MESSAGE_MAX];
    size_t len;

    if (ch->closed)
        return ERR_EOF;
    if ((fd >= 0) != (ipc_descriptors(type) == 1))
        return ERR_DESCRIPTOR;
    enum status s = ipc_encode(type, message, buf, sizeof buf, &len);
    if (s != OK)
        return s;
    if (trace_on) {
        union message *copy = malloc(sizeof *copy);
        enum message_type same;
        if (copy != NULL && ipc_decode(buf, len, &same, copy) == OK)
            trace(ch, ">", type, copy);
        if (copy != NULL)
            explicit_bzero(copy, sizeof *copy); /* may have held a key */
        free(copy);
    }
    s = ch->first == NULL ? ipc_send_packet(ch->fd, buf, len, fd) : ERR_AGAIN;
    if (s == ERR_AGAIN) {
        s = queue_add(ch, buf, len, fd);
        if (s == OK && event_pending(ch->writable, EV_WRITE, NULL) == 0)
            (void)event_add(ch->writable, NULL);
    }
    if (ipc_has_secret(type))
        explicit_bzero(buf, len);
    return s;
}

enum status ipc_channel_flush(struct ipc_channel *ch, int timeout_ms)
{
    uint64_t deadline = clock_mono_ms() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0);
    enum status s = ch->closed ? ERR_EOF : queue_send(ch);

    while (s == ERR_AGAIN) {
        uint64_t now = clock_mono_ms();
        if (now >= deadline)
            return ERR_TIMEOUT;
        struct pollfd p = {.fd = ch->fd, .events = POLLOUT};
        if (poll(&p, 1, (int)(deadline - now)) < 0 && errno != EINTR)
            return ERR_IO;
        s = queue_send(ch);
    }
    return s;
}
