/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From nothing to a websocket: on the server the HTTP upgrade of the socket that it was given; on the client
 * the dialer's connection, CONNECT through a proxy, TLS, and the upgrade. And what the relay reports later,
 * in whatever phase.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "common/clock.h"
#include "common/protocol.h"
#include "worker-net/proxy_connect.h"
#include "worker-net/session.h"
#include "worker-net/websocket.h"

static void websocket_begins(struct session *s)
{
    s->phase = PHASE_HANDSHAKE;
    relay_start_messages(s->relay, HS_MESSAGE_MAX);
    if (IPC_SEND(s->handshake, HS_START, hs_start, .connection = s->start.connection) != OK)
        session_end(s, END_INTERNAL, CLOSE_INTERNAL, false, "the crypto worker does not listen");
}

/* ---- server ---- */

static size_t server_text(struct session *s, const char *data, size_t len)
{
    struct upgrade_request request;
    char answer[UPGRADE_MESSAGE_MAX];
    size_t answer_len = 0;

    enum status st = upgrade_answer(data, len, s->start.path, &request, answer, &answer_len);
    if (st == ERR_AGAIN)
        return 0;
    (void)relay_send_text(s->relay, answer, answer_len);
    if (st != OK) {
        session_end(s, END_HTTP, 0, false, "HTTP %u: %s", request.http_status, request.why);
        return len;
    }
    if (s->start.trust_forwarded && request.forwarded[0] != '\0') {
        struct msg_session_forwarded m = {0};
        (void)snprintf(m.address, sizeof m.address, "%s", request.forwarded);
        (void)ipc_channel_send(s->worker->supervisor, MSG_SESSION_FORWARDED, &m, -1);
    }
    websocket_begins(s);
    return request.used;
}

/* ---- client ---- */

static void send_upgrade(struct session *s)
{
    char request[UPGRADE_MESSAGE_MAX];
    size_t len = 0;

    s->phase = PHASE_UPGRADE;
    enum status st = upgrade_request_write(&s->upgrade, s->target.host, s->target.port,
                                           s->target.tls ? 443 : 80, s->start.path, request, &len);
    if (st != OK) {
        session_end(s, END_INTERNAL, 0, false, "the upgrade request could not be written: %s",
                    status_text(st));
        return;
    }
    (void)relay_send_text(s->relay, request, len);
}

/* After the dialer and the proxy: TLS, or straight on. */
static void way_is_free(struct session *s)
{
    if (!s->target.tls) {
        send_upgrade(s);
        return;
    }
    struct tls *tls = tls_new(s->tls, s->socket_fd, s->target.host);
    if (tls == NULL) {
        session_end(s, END_TLS, 0, false, "TLS could not be started for %s", s->target.host);
        return;
    }
    s->phase = PHASE_TLS;
    relay_start_tls(s->relay, tls);
}

static void send_connect(struct session *s)
{
    char request[PROXY_CONNECT_MAX];
    size_t len = 0;

    s->phase = PHASE_PROXY;
    enum status st =
        proxy_connect_write(s->target.host, s->target.port, s->target.proxy_authorization, request, &len);
    if (st == OK)
        (void)relay_send_text(s->relay, request, len);
    OPENSSL_cleanse(request, sizeof request);
    OPENSSL_cleanse(s->target.proxy_authorization, sizeof s->target.proxy_authorization);
    if (st != OK)
        session_end(s, END_PROXY, 0, false, "the request to the proxy could not be written");
}

static size_t proxy_text(struct session *s, const char *data, size_t len)
{
    char why[200] = "";
    size_t used = 0;

    enum status st = proxy_connect_check(data, len, &used, why, sizeof why);
    if (st == ERR_AGAIN)
        return 0;
    if (st != OK) {
        session_end(s, END_PROXY, 0, false, "%s", why);
        return len;
    }
    way_is_free(s);
    return used;
}

static size_t client_text(struct session *s, const char *data, size_t len)
{
    char why[200] = "";
    size_t used = 0;

    enum status st = upgrade_response_check(&s->upgrade, data, len, &used, why, sizeof why);
    if (st == ERR_AGAIN)
        return 0;
    if (st != OK) {
        session_end(s, END_HTTP, 0, false, "%s", why);
        return len;
    }
    websocket_begins(s);
    return used;
}

/* ---- the relay's calls ---- */

static size_t on_text(void *arg, const uint8_t *data, size_t len)
{
    struct session *s = arg;

    if (s->worker->side == SIDE_SERVER)
        return server_text(s, (const char *)data, len);
    if (s->phase == PHASE_PROXY)
        return proxy_text(s, (const char *)data, len);
    if (s->phase == PHASE_UPGRADE)
        return client_text(s, (const char *)data, len);
    session_end(s, END_PROTOCOL, 0, false, "the server spoke before it was asked");
    return len;
}

static void on_secured(void *arg)
{
    send_upgrade(arg);
}

static void on_message(void *arg, const uint8_t *data, size_t len)
{
    session_handshake_received(arg, data, len);
}

static void on_heard(void *arg)
{
    struct session *s = arg;

    s->heard_ms = clock_mono_ms();
    if (s->phase < PHASE_OPEN)
        return;
    session_dial_pump(s);
    session_stats_soon(s);
}

/* An end before the websocket stands is named after the step that it broke. */
static enum end_code code_for_phase(const struct session *s, enum end_code code)
{
    if (code != END_TRUNCATED)
        return code;
    switch (s->phase) {
    case PHASE_PROXY: return END_PROXY;
    case PHASE_TLS: return END_TLS;
    case PHASE_UPGRADE: return END_HTTP;
    default: return code;
    }
}

static const char *step_of(const struct session *s)
{
    switch (s->phase) {
    case PHASE_PROXY: return " (the proxy, after CONNECT)";
    case PHASE_TLS: return " (during the TLS handshake)";
    case PHASE_UPGRADE: return " (before the websocket upgrade)";
    case PHASE_HANDSHAKE: return " (during the handshake)";
    default: return "";
    }
}

static void on_ended(void *arg, const struct relay_end *end)
{
    struct session *s = arg;
    bool orderly = end->code == END_PEER_CLOSED || end->code == END_LIMIT;

    session_end(s, code_for_phase(s, end->code), end->close_code, orderly, "%s%s", end->text,
                end->code == END_TRUNCATED ? step_of(s) : "");
}

static void on_finished(void *arg)
{
    struct session *s = arg;

    s->relay_done = true;
    session_settle_soon(s);
}

const struct relay_handlers session_relay_handlers = {
    .text = on_text,
    .secured = on_secured,
    .message = on_message,
    .heard = on_heard,
    .ended = on_ended,
    .finished = on_finished,
};

void session_connected(struct session *s, int fd)
{
    relay_link_options(fd, s->start.dead_ms);
    s->relay = relay_new(s->worker->base, fd, s->worker->side, &session_relay_handlers, s);
    if (s->relay == NULL) {
        (void)close(fd);
        session_end(s, END_INTERNAL, 0, false, "out of memory");
        return;
    }
    s->socket_fd = fd; /* the relay's; kept for TLS to be put over it */
    s->heard_ms = clock_mono_ms();
    session_deadline(s, s->start.handshake_ms);
    if (s->worker->side == SIDE_SERVER)
        s->phase = PHASE_UPGRADE;
    else if (s->target.via_proxy)
        send_connect(s);
    else
        way_is_free(s);
}

enum status session_connect_start(struct session *s)
{
    if (s->worker->side == SIDE_SERVER) {
        session_connected(s, s->socket_fd);
        return OK;
    }
    s->phase = PHASE_DIALING;
    return session_dial_open(s);
}
