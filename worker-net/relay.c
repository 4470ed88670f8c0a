/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a tunnel connection: its events, its modes and its end. Reading is in relay_in.c, writing in
 * relay_out.c; see relay.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <event2/event.h>
#include <openssl/crypto.h>

#include "common/clock.h"
#include "worker-net/relay_private.h"

void relay_await_writable(struct relay *r, bool on)
{
    if (on && !r->awaiting_writable)
        (void)event_add(r->writable, NULL);
    else if (!on && r->awaiting_writable)
        (void)event_del(r->writable);
    r->awaiting_writable = on;
}

static void go_on_with_tls(struct relay *r)
{
    char why[256] = "";
    bool want_write = false;

    if (r->input.start != r->input.end) {
        relay_fail(r, END_TLS, 0, "bytes came before the TLS handshake");
        return;
    }
    enum status st = tls_handshake(r->link.tls, &want_write, why, sizeof why);
    relay_await_writable(r, st == ERR_AGAIN && want_write);
    if (st == ERR_AGAIN)
        return;
    if (st != OK) {
        relay_fail(r, END_TLS, 0, why);
        return;
    }
    if (!tls_gather_writes(r->link.tls)) {
        relay_fail(r, END_INTERNAL, 0, "out of memory");
        return;
    }
    r->mode = RELAY_TEXT;
    relay_again(r);
    r->handlers->secured(r->arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct relay *r = arg;

    (void)fd;
    (void)what;
    if (r->mode == RELAY_TLS)
        go_on_with_tls(r);
    else
        relay_input_ready(r);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct relay *r = arg;

    (void)fd;
    (void)what;
    if (r->mode == RELAY_TLS) {
        go_on_with_tls(r);
        return;
    }
    r->useful = false;
    relay_output(r);
    if (!r->useful) /* kept while there is something to write, so that a busy socket is not registered over
                       and over */
        relay_await_writable(r, false);
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    relay_output(arg);
}

/* The next turn of the loop: what one turn did not finish, and input that no event will tell. */
static void on_again(evutil_socket_t fd, short what, void *arg)
{
    struct relay *r = arg;

    (void)fd;
    (void)what;
    if (r->mode == RELAY_TLS) {
        go_on_with_tls(r);
        return;
    }
    if (r->link.tls != NULL || r->input.start < r->input.end)
        relay_input_ready(r);
    if (r->mode != RELAY_ENDED)
        relay_output(r);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
    struct relay *r = arg;

    (void)fd;
    (void)what;
    r->wrote_end = r->heard_end = true; /* enough waited */
    relay_check_finished(r);
}

static bool make_events(struct relay *r)
{
    r->readable = event_new(r->base, r->link.fd, EV_READ | EV_PERSIST, on_readable, r);
    r->writable = event_new(r->base, r->link.fd, EV_WRITE | EV_PERSIST, on_writable, r);
    r->flush = event_new(r->base, -1, 0, on_flush, r);
    r->again = evtimer_new(r->base, on_again, r);
    r->timeout = evtimer_new(r->base, on_timeout, r);
    return r->readable != NULL && r->writable != NULL && r->flush != NULL && r->again != NULL &&
           r->timeout != NULL && event_add(r->readable, NULL) == 0;
}

static void event_drop(struct event *e)
{
    if (e != NULL)
        event_free(e);
}

struct relay *relay_new(struct event_base *base, int fd, enum side side,
                        const struct relay_handlers *handlers, void *arg)
{
    struct relay *r = calloc(1, sizeof *r);

    if (r == NULL)
        return NULL;
    r->base = base;
    r->side = side;
    r->handlers = handlers;
    r->arg = arg;
    r->mode = RELAY_TEXT;
    r->link.fd = fd;
    r->raw = malloc(RELAY_RAW_MAX);
    r->input.data = mmap(NULL, RELAY_INPUT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (r->input.data == MAP_FAILED)
        r->input.data = NULL;
    /* Whoever handed it over: a write that waits would wait for ever. */
    if (r->raw == NULL || r->input.data == NULL || evutil_make_socket_nonblocking(fd) != 0 ||
        !make_events(r)) {
        r->link.fd = -1; /* stays the caller's */
        relay_free(r);
        return NULL;
    }
    return r;
}

void relay_free(struct relay *r)
{
    if (r == NULL)
        return;
    event_drop(r->readable);
    event_drop(r->writable);
    event_drop(r->flush);
    event_drop(r->again);
    event_drop(r->timeout);
    relay_link_close(&r->link);
    websocket_reader_clear(&r->reader);
    record_key_clear(&r->in);
    record_key_clear(&r->out);
    if (r->ring.memory != NULL)
        (void)munmap(r->ring.memory, r->ring.stride * RELAY_SLOTS);
    if (r->input.data != NULL)
        (void)munmap(r->input.data, RELAY_INPUT_BYTES);
    free(r->raw);
    OPENSSL_cleanse(r, sizeof *r);
    free(r);
}

enum relay_mode relay_mode(const struct relay *r)
{
    return r->mode;
}

void relay_wake(struct relay *r)
{
    /* Behind every callback that is active in this turn, so that one flush serves them all. */
    if (!r->flushing)
        event_active(r->flush, EV_TIMEOUT, 0);
}

void relay_again(struct relay *r)
{
    static const struct timeval now = {0, 0};

    (void)event_add(r->again, &now);
}

void relay_fail(struct relay *r, enum end_code code, uint16_t close_code, const char *text)
{
    struct relay_end end = {.code = code, .close_code = close_code, .text = text};

    if (r->mode == RELAY_ENDED)
        return;
    if (r->mode == RELAY_FINISHING) { /* nothing can be said any more */
        r->wrote_end = r->heard_end = true;
        relay_check_finished(r);
        return;
    }
    (void)event_del(r->readable);
    if (r->told)
        return;
    r->told = true;
    r->handlers->ended(r->arg, &end);
}

enum status relay_send_text(struct relay *r, const void *data, size_t len)
{
    enum status st = relay_raw_put(r, data, len);

    relay_wake(r);
    return st;
}

enum status relay_send_message(struct relay *r, const void *data, size_t len)
{
    enum status st = relay_frame_put(r, WEBSOCKET_BINARY, data, len);

    relay_wake(r);
    return st;
}

void relay_start_tls(struct relay *r, struct tls *tls)
{
    r->link.tls = tls;
    r->mode = RELAY_TLS;
    relay_again(r);
}

void relay_start_messages(struct relay *r, size_t max_message)
{
    websocket_reader_init(&r->reader, r->side == SIDE_SERVER, max_message);
    r->websocket = true;
    r->mode = RELAY_MESSAGES;
}

enum status relay_start_records(struct relay *r, struct mux *mux, struct relay_keys *keys)
{
    enum status st = relay_ring_init(r, keys->max_plain);

    if (st == OK)
        st = websocket_reader_limit(&r->reader, keys->max_plain + RECORD_OVERHEAD);
    if (st != OK)
        return st;
    record_key_clear(&r->in);
    record_key_clear(&r->out);
    r->in = *keys->in;
    r->out = *keys->out;
    OPENSSL_cleanse(keys->in, sizeof *keys->in);
    OPENSSL_cleanse(keys->out, sizeof *keys->out);
    r->mux = mux;
    r->mode = RELAY_RECORDS;
    mux_set_now(mux, clock_mono_us());
    (void)event_add(r->readable, NULL);
    relay_again(r); /* records may be in the buffer already */
    return OK;
}

void relay_finish(struct relay *r, bool orderly, uint16_t close_code, const char *reason, uint32_t timeout_ms)
{
    struct timeval tv = {timeout_ms / 1000, (suseconds_t)(timeout_ms % 1000) * 1000};

    if (r->mode == RELAY_FINISHING || r->mode == RELAY_ENDED)
        return;
    if (r->mode == RELAY_TLS)
        r->wrote_end = true; /* nobody there to speak to */
    r->mode = RELAY_FINISHING;
    r->told = true;
    r->speaks = orderly;
    r->close_code = r->websocket ? close_code : 0;
    (void)snprintf(r->close_reason, sizeof r->close_reason, "%s", reason);
    r->input.start = r->input.end = 0;
    (void)event_add(r->timeout, &tv);
    (void)event_add(r->readable, NULL);
    relay_again(r); /* not relay_wake(): this may be called from within a flush */
}

/* FINISHING: both directions have ended. */
void relay_check_finished(struct relay *r)
{
    if (r->mode != RELAY_FINISHING || !r->wrote_end || !r->heard_end)
        return;
    r->mode = RELAY_ENDED;
    (void)event_del(r->readable);
    relay_await_writable(r, false);
    (void)event_del(r->timeout);
    r->handlers->finished(r->arg);
}

void relay_trim(struct relay *r)
{
    if (r->input.start == r->input.end)
        (void)madvise(r->input.data, RELAY_INPUT_BYTES, MADV_DONTNEED);
    if (r->ring.memory != NULL && r->ring.count == 0)
        (void)madvise(r->ring.memory, r->ring.stride * RELAY_SLOTS, MADV_DONTNEED);
}

void relay_get_stats(const struct relay *r, struct relay_stats *out)
{
    *out = (struct relay_stats){.wire_in = r->link.bytes_in,
                                .wire_out = r->link.bytes_out,
                                .records_in = r->records_in,
                                .records_out = r->records_out,
                                .read_calls = r->link.read_calls,
                                .write_calls = r->link.write_calls};
}
