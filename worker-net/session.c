/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session role's frame: what it is told before the sandbox closes, what it loads, its beginning, its
 * phases and its end. What happens inside a phase is in the other session_*.c files.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>

#include "common/clock.h"
#include "common/utf8.h"
#include "worker-net/roles.h"
#include "worker-net/session.h"
#include "worker-net/websocket.h"

static struct session *session_of(struct worker *w)
{
    if (w->state == NULL) {
        struct session *s = calloc(1, sizeof *s);
        if (s == NULL)
            return NULL;
        s->worker = w;
        s->socket_fd = s->handshake_fd = s->dial_fd = -1;
        TAILQ_INIT(&s->apps);
        w->state = s;
    }
    return w->state;
}

static enum status take_descriptor(int *where, int fd)
{
    if (*where >= 0) {
        (void)close(fd);
        return ERR_EXISTS;
    }
    *where = fd;
    return OK;
}

static enum status setup(struct worker *w, enum message_type type, const union message *m, int fd)
{
    struct session *s = session_of(w);

    if (s == NULL) {
        if (fd >= 0)
            (void)close(fd);
        return ERR_NOMEM;
    }
    switch (type) {
    case MSG_SESSION_START:
        s->start = m->session_start;
        s->has_start = true;
        return OK;
    case MSG_SESSION_TARGET:
        s->target = m->session_target;
        s->has_target = true;
        return OK;
    case MSG_SESSION_SOCKET: return take_descriptor(&s->socket_fd, fd);
    case MSG_SESSION_HANDSHAKE_CHANNEL: return take_descriptor(&s->handshake_fd, fd);
    case MSG_SESSION_DIAL_CHANNEL: return take_descriptor(&s->dial_fd, fd);
    default:
        if (fd >= 0)
            (void)close(fd);
        return ERR_PERMIT;
    }
}

/* The library sets itself up at first use, and then it may want to open files. */
static enum status warm_up_crypto(void)
{
    static const uint8_t zero[RECORD_KEY];
    uint8_t record[RECORD_OVERHEAD + 64] = {0};
    char accept[UPGRADE_ACCEPT_TEXT + 1];
    struct record_key key = {0};

    if (RAND_bytes(record, (int)sizeof record) != 1)
        return ERR_CRYPTO;
    enum status st = record_key_set(&key, DIRECTION_C2S, true, 0, 0, zero, zero, 0, 0);
    if (st == OK)
        st = record_seal(&key, record, 64);
    record_key_clear(&key);
    if (st == OK)
        st = upgrade_accept_value("dGhlIHNhbXBsZSBub25jZQ==", UPGRADE_KEY_TEXT, accept);
    (void)ERR_reason_error_string(0);
    return st;
}

static enum status preload(struct worker *w, struct sandbox_spec *spec)
{
    struct session *s = session_of(w);
    bool client = w->side == SIDE_CLIENT;

    (void)spec;
    if (s == NULL || !s->has_start || s->handshake_fd < 0 || s->has_target != client ||
        (s->dial_fd >= 0) != client || (s->socket_fd >= 0) == client ||
        s->start.max_record < RECORD_PLAIN_MIN || s->start.max_record > RECORD_PLAIN_MAX) {
        log_error("session: was not told all that it needs");
        return ERR_CONFIG;
    }
    /* The library's configuration is for TLS: it is where a system sets its policy. Others have no use for
     * it, and reading it takes a sixth of what a connection costs the server. */
    if (!(client && s->target.tls) && OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
        return ERR_CRYPTO;
    if (warm_up_crypto() != OK)
        return ERR_CRYPTO;
    tzset(); /* OpenSSL judges a certificate's dates by mktime(), which would open /etc/localtime later */
    if (client && s->target.tls) /* a failure is told by start(), when the channel is whole */
        (void)tls_context_new(s->target.ca_file, &s->tls, s->tls_error, sizeof s->tls_error);
    return OK;
}

static enum status start(struct worker *w)
{
    struct session *s = w->state;

    if (session_timers_new(s) != OK || session_handshake_open(s) != OK)
        return ERR_NOMEM;
    if (s->has_target && s->target.tls && s->tls == NULL) {
        session_end(s, END_TLS, 0, false, "%s", s->tls_error);
        return OK;
    }
    return session_connect_start(s);
}

static void message(struct worker *w, enum message_type type, const union message *m, int fd)
{
    struct session *s = w->state;

    if (s->phase == PHASE_ENDING) {
        if (fd >= 0)
            (void)close(fd);
        return;
    }
    if (type == MSG_SESSION_PEER) {
        ipc_channel_set_state(w->supervisor, IN_OPEN);
        s->has_peer = true;
        session_handshake_settle(s);
        /* The keys come on another channel and may be later: what the supervisor says next needs them. */
        if (s->phase == PHASE_HANDSHAKE)
            ipc_channel_pause(w->supervisor, true);
        return;
    }
    if (type == MSG_SESSION_DIAL_CHANNEL)
        session_dial_replace(s, fd);
    else
        session_app_message(s, type, m, fd);
}

/* ---- the open session and its end ---- */

void session_open(struct session *s)
{
    struct mux_config config = {
        .side = s->worker->side,
        .max_streams = s->start.max_streams,
        .stream_window = s->start.stream_window,
        .stream_window_max = s->start.stream_window_max,
        .connection_window = s->start.connection_window,
        .connection_window_max = s->start.connection_window_max,
    };
    enum direction in = s->worker->side == SIDE_SERVER ? DIRECTION_C2S : DIRECTION_S2C;
    struct relay_keys keys = {.in = &s->keys[in],
                              .out = &s->keys[in == DIRECTION_C2S ? DIRECTION_S2C : DIRECTION_C2S],
                              .max_plain = s->max_record};

    s->mux = mux_new(&config, &session_mux_ops, s);
    if (s->mux == NULL || relay_start_records(s->relay, s->mux, &keys) != OK) {
        session_end(s, END_INTERNAL, CLOSE_INTERNAL, false, "out of memory");
        return;
    }
    s->phase = PHASE_OPEN;
    ipc_channel_set_state(s->handshake, IN_OPEN);
    ipc_channel_pause(s->worker->supervisor, false);
    session_timers_open(s);
    mux_send_ping(s->mux); /* a first measure of the round trip, for the windows */
    relay_wake(s->relay);
}

void session_end(struct session *s, enum end_code code, uint16_t close_code, bool orderly, const char *format,
                 ...)
{
    struct msg_session_end m = {.code = (uint16_t)code};
    char text[256];
    va_list args;

    if (s->phase == PHASE_ENDING)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bool open = s->phase == PHASE_OPEN || s->phase == PHASE_DRAINING;
    s->phase = PHASE_ENDING;
    session_deadline(s, SESSION_LINGER_MS);
    session_accept_pause(s); /* who connects now waits in the backlog for the next connection */
    if (s->mux != NULL) {
        mux_abandon(s->mux);
        session_stats_now(s);
        if (orderly)
            mux_send_close(s->mux);
    }
    utf8_clean(m.text, sizeof m.text, text);
    if (s->worker->supervisor != NULL)
        (void)ipc_channel_send(s->worker->supervisor, MSG_SESSION_END, &m, -1);
    if (s->relay == NULL) {
        worker_exit(s->worker, 0);
        return;
    }
    relay_finish(s->relay, orderly && open, close_code, text, SESSION_FINISH_MS);
}

void session_drain(struct session *s, uint32_t drain_ms, enum end_code code, const char *reason)
{
    if (s->phase == PHASE_ENDING || s->phase == PHASE_DRAINING)
        return;
    if (s->phase != PHASE_OPEN || drain_ms == 0 || mux_streams(s->mux) == 0) {
        session_end(s, code, WEBSOCKET_CLOSE_GOING_AWAY, true, "%s", reason);
        return;
    }
    s->phase = PHASE_DRAINING;
    s->drain_code = code;
    (void)snprintf(s->drain_reason, sizeof s->drain_reason, "%s", reason);
    session_accept_pause(s);
    mux_send_goaway(s->mux, code);
    session_deadline(s, drain_ms);
    log_info("draining: %u streams have %u ms", mux_streams(s->mux), drain_ms);
}

void session_settle(struct session *s)
{
    uint32_t streams = s->mux == NULL ? 0 : mux_streams(s->mux);

    if (s->phase == PHASE_DRAINING && streams == 0)
        session_end(s, s->drain_code, WEBSOCKET_CLOSE_GOING_AWAY, true, "%s", s->drain_reason);
    else if (s->phase == PHASE_ENDING && s->relay_done && streams == 0)
        worker_exit(s->worker, 0);
    else if (s->phase == PHASE_OPEN && s->accept_paused)
        session_accept_resume(s);
}

static void stop(struct worker *w, const struct msg_worker_stop *m)
{
    struct session *s = w->state;
    enum end_code code = m->code < END_CODE_COUNT ? (enum end_code)m->code : END_STOPPING;

    if (ipc_channel_state(w->supervisor) == IN_OPEN)
        ipc_channel_set_state(w->supervisor, IN_DRAIN);
    if (s->phase == PHASE_DRAINING && m->drain_ms == 0)
        session_end(s, code, WEBSOCKET_CLOSE_GOING_AWAY, true, "%s", m->reason);
    else
        session_drain(s, m->drain_ms, code, m->reason);
}

static void finish(struct worker *w)
{
    struct session *s = w->state;

    if (s == NULL)
        return;
    mux_free(s->mux);
    session_apps_free(s);
    relay_free(s->relay);
    record_key_clear(&s->keys[0]);
    record_key_clear(&s->keys[1]);
    ipc_channel_free(s->handshake);
    ipc_channel_free(s->dial);
    session_timers_free(s);
    tls_context_free(s->tls);
    OPENSSL_cleanse(s, sizeof *s);
    free(s);
    w->state = NULL;
}

const struct worker_role session_role = {
    .role = ROLE_SESSION,
    .kind = CH_SESSION,
    .run_state = IN_HELLO,
    .name = "net",
    .setup = setup,
    .preload = preload,
    .start = start,
    .message = message,
    .stop = stop,
    .finish = finish,
};
