/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See connections.h. A machine's sink only sends and marks; a connection is freed in one place, after the
 * machine has returned.
 */
#include "worker-crypto/connections.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <openssl/crypto.h>

#include "common/clock.h"
#include "common/fingerprint.h"

struct connection {
    struct connection *next, **link;
    struct crypto *crypto;
    uint64_t id;
    struct ipc_channel *channel;
    struct event *timer;
    struct server_handshake *server; /* one of the two */
    struct client_handshake *client;
    uint64_t dying_until; /* 0: not dying */
    unsigned ignored;     /* messages that came while dying */
    bool started, open;
    bool broken; /* to be freed when the machine has returned */
};

static void connection_free(struct connection *c)
{
    if (!c->open)
        c->crypto->half_open--;
    *c->link = c->next;
    if (c->next != NULL)
        c->next->link = c->link;
    server_handshake_free(c->server);
    client_handshake_free(c->client);
    ipc_channel_free(c->channel);
    if (c->timer != NULL)
        event_free(c->timer);
    free(c);
}

static void timer_set(struct connection *c, uint64_t now)
{
    uint64_t next;

    if (c->timer == NULL)
        return;
    if (c->dying_until != 0)
        next = c->dying_until;
    else if (!c->started)
        next = now + FIRST_WORD_MS;
    else
        next = c->server != NULL ? server_handshake_next(c->server) : client_handshake_next(c->client);
    if (next == UINT64_MAX) {
        (void)event_del(c->timer);
        return;
    }
    uint64_t wait = next > now ? next - now : 0;
    const struct timeval tv = {.tv_sec = (time_t)(wait / 1000), .tv_usec = (suseconds_t)(wait % 1000 * 1000)};
    (void)event_add(c->timer, &tv);
}

/* After every call of the machine. */
static void connection_settle(struct connection *c)
{
    if (c->broken)
        connection_free(c);
    else
        timer_set(c, clock_mono_ms());
}

/* To the session; one that does not take its messages is as good as gone. */
static void to_session(struct connection *c, enum message_type type, const void *message)
{
    if (ipc_channel_send(c->channel, type, message, -1) != OK)
        c->broken = true;
}

/* ---- the machines' sink ---- */

static void on_send(void *arg, const uint8_t *message, size_t len)
{
    struct connection *c = arg;
    struct msg_hs_send m = {.data_len = (uint16_t)len};

    memcpy(m.data, message, len);
    to_session(c, MSG_HS_SEND, &m);
}

static void on_wait(void *arg, uint32_t ttl_s)
{
    struct connection *c = arg;
    const struct msg_hs_wait m = {.ttl_s = ttl_s};

    to_session(c, MSG_HS_WAIT, &m);
}

static void on_ask(void *arg, const struct handshake_peer *peer)
{
    struct connection *c = arg;
    struct msg_approval_ask m = {
        .connection = c->id,
        .public_key_len = (uint16_t)peer->spki.len,
        .bits = (uint16_t)peer->bits,
        .suite = peer->suite,
        .slot = peer->proof->slot,
        .capabilities = peer->proof->capabilities,
    };

    memcpy(m.fingerprint, peer->fingerprint, sizeof m.fingerprint);
    memcpy(m.name, peer->proof->name, sizeof m.name);
    memcpy(m.public_key, peer->spki.data, peer->spki.len);
    memcpy(m.instance, peer->proof->instance, sizeof m.instance);
    memcpy(m.request, peer->request, sizeof m.request);
    (void)snprintf(m.pairing_code, sizeof m.pairing_code, "%s", peer->pairing_code);
    if (ipc_channel_send(c->crypto->worker->supervisor, MSG_APPROVAL_ASK, &m, -1) != OK)
        c->broken = true;
}

static void on_pairing(void *arg, const struct handshake_pairing *news)
{
    struct connection *c = arg;
    struct msg_client_pairing m = {
        .connection = c->id,
        .verdict = (uint8_t)news->verdict,
        .code = news->code,
        .server_known = news->server_known,
        .ttl_s = news->ttl_s,
        .retry_after_s = news->retry_after_s,
    };

    memcpy(m.server, news->server, sizeof m.server);
    (void)snprintf(m.pairing_code, sizeof m.pairing_code, "%s", news->pairing_code);
    if (ipc_channel_send(c->crypto->worker->supervisor, MSG_CLIENT_PAIRING, &m, -1) != OK)
        c->broken = true;
}

/* Client: the operator has approved and the server is proven. A pinned server does not depend on the file. */
static enum status on_remember(void *arg, const uint8_t fingerprint[HASH_BYTES], uint8_t suite)
{
    struct connection *c = arg;
    struct crypto *crypto = c->crypto;
    struct known_server known = {.present = true, .suite = suite};
    struct key_error error;
    char text[FINGERPRINT_TEXT + 1];

    memcpy(known.fingerprint, fingerprint, HASH_BYTES);
    if (known_server_save(&crypto->dir, &known, &error) == OK) {
        fingerprint_format(fingerprint, text);
        log_info("the server's identity %s is remembered in %s/" KNOWN_SERVER_FILE, text, crypto->dir.path);
        crypto->known = known;
    } else if (crypto->expected.pinned) {
        log_warn("%s (going on: the server is pinned)", error.text);
    } else {
        log_error("%s", error.text);
        return ERR_IO;
    }
    crypto->expected.present = true;
    memcpy(crypto->expected.fingerprint, fingerprint, HASH_BYTES);
    crypto->expected.suite = suite;
    identity_announce(crypto);
    return OK;
}

static void send_keys(struct connection *c, const struct handshake_result *result, enum direction direction)
{
    struct msg_hs_keys m = {
        .direction = (uint8_t)direction,
        .sequence = 1, /* 0 was FINISHED */
        .max_record = result->max_record,
    };

    memcpy(m.key, result->traffic[direction].key, sizeof m.key);
    memcpy(m.iv, result->traffic[direction].iv, sizeof m.iv);
    to_session(c, MSG_HS_KEYS, &m);
    OPENSSL_cleanse(&m, sizeof m);
}

static void on_opened(void *arg, const struct handshake_result *result)
{
    struct connection *c = arg;
    struct msg_connection_open m = {.connection = c->id, .suite = result->suite};

    memcpy(m.fingerprint, result->fingerprint, sizeof m.fingerprint);
    c->open = true;
    c->crypto->half_open--;
    ipc_channel_set_state(c->channel, IN_OPEN);
    /* The supervisor first: what it says to the session then can only come after the session exists for it.
     */
    if (ipc_channel_send(c->crypto->worker->supervisor, MSG_CONNECTION_OPEN, &m, -1) != OK)
        c->broken = true;
    send_keys(c, result, DIRECTION_C2S);
    send_keys(c, result, DIRECTION_S2C);
}

static void tell_failed(const struct connection *c, enum end_code code, const char *text)
{
    struct msg_handshake_failed m = {.connection = c->id, .code = (uint16_t)code};

    (void)snprintf(m.text, sizeof m.text, "%s", text);
    (void)ipc_channel_send(c->crypto->worker->supervisor, MSG_HANDSHAKE_FAILED, &m, -1);
}

static void on_failed(void *arg, const struct handshake_failure *failure)
{
    struct connection *c = arg;
    struct msg_hs_fail m = {.code = (uint16_t)failure->code, .close_code = failure->close_code};

    if (failure->code == END_SERVER_IDENTITY)
        log_error(
            "connection %llu: refused: %s. Either somebody is in between, or the server was set up anew: ask "
            "its operator for the fingerprint (`wormhole keys show`), then %s",
            (unsigned long long)c->id, failure->detail,
            c->crypto->expected.pinned ? "correct --server-fingerprint" : "remove the known_server file");
    (void)snprintf(m.text, sizeof m.text, "%s", failure->reason);
    to_session(c, MSG_HS_FAIL, &m);
    tell_failed(c, failure->code, failure->detail);
    c->dying_until = clock_mono_ms() + DYING_MS;
}

/* ---- the session's channel ---- */

static void violation(struct connection *c, const char *text)
{
    struct msg_worker_violation m = {.connection = c->id};

    (void)snprintf(m.text, sizeof m.text, "%s", text);
    (void)ipc_channel_send(c->crypto->worker->supervisor, MSG_WORKER_VIOLATION, &m, -1);
    c->broken = true;
}

static void handle_start(struct connection *c, const struct msg_hs_start *m)
{
    if (m->connection != c->id) {
        violation(c, "HS_START: names another connection");
        return;
    }
    c->started = true;
    if (c->server != NULL)
        server_handshake_start(c->server, clock_mono_ms());
    else
        client_handshake_start(c->client, clock_mono_ms());
}

static void handle_received(struct connection *c, const struct msg_hs_received *m)
{
    if (!c->started)
        violation(c, "HS_RECEIVED: before HS_START");
    else if (c->dying_until == 0 && c->server != NULL)
        server_handshake_receive(c->server, m->data, m->data_len, clock_mono_ms());
    else if (c->dying_until == 0)
        client_handshake_receive(c->client, m->data, m->data_len, clock_mono_ms());
    else if (++c->ignored > DYING_MESSAGES)
        c->broken = true;
}

static void channel_message(void *arg, enum message_type type, const union message *m, int fd)
{
    struct connection *c = arg;

    (void)fd; /* none of these carries one */
    if (type == MSG_HS_START)
        handle_start(c, &m->hs_start);
    else if (type == MSG_HS_RECEIVED)
        handle_received(c, &m->hs_received);
    else
        violation(c, "message that no session sends");
    connection_settle(c);
}

static void channel_closed(void *arg, const char *reason)
{
    struct connection *c = arg;

    if (reason != NULL)
        violation(c, reason);
    else if (!c->open && c->started && c->dying_until == 0)
        tell_failed(c, END_TRUNCATED, "the session ended during the handshake");
    connection_free(c);
}

static const struct ipc_handlers channel_handlers = {.message = channel_message, .closed = channel_closed};

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct connection *c = arg;

    (void)fd;
    (void)what;
    if (c->dying_until != 0 || !c->started)
        c->broken = true;
    else if (c->server != NULL)
        server_handshake_tick(c->server, clock_mono_ms());
    else
        client_handshake_tick(c->client, clock_mono_ms());
    connection_settle(c);
}

static bool machine_new(struct connection *c, const struct msg_crypto_session *m)
{
    struct crypto *crypto = c->crypto;
    const struct handshake_sink sink = {
        .send = on_send,
        .wait = on_wait,
        .ask = on_ask,
        .pairing = on_pairing,
        .remember = on_remember,
        .opened = on_opened,
        .failed = on_failed,
        .arg = c,
    };

    if (crypto->worker->side == SIDE_SERVER) {
        c->server = server_handshake_new(&crypto->server, &sink);
        return c->server != NULL;
    }
    struct client_config config = {
        .common = crypto->common,
        .key = crypto->identity.key,
        .spki = {crypto->identity.spki, crypto->identity.spki_len},
        .fingerprint = crypto->identity.fingerprint,
        .name = crypto->setup.name,
        .slot = m->slot,
        .expected = &crypto->expected,
    };
    memcpy(config.instance, m->instance, sizeof config.instance);
    c->client = client_handshake_new(&config, &sink);
    return c->client != NULL;
}

void connection_open(struct crypto *crypto, const struct msg_crypto_session *m, int fd)
{
    char label[32];
    struct connection *c = crypto->half_open < HALF_OPEN_MAX ? calloc(1, sizeof *c) : NULL;

    if (c == NULL) {
        struct connection refused = {.crypto = crypto, .id = m->connection};
        tell_failed(&refused, END_LIMIT, "too many handshakes at once");
        (void)close(fd);
        return;
    }
    c->crypto = crypto;
    c->id = m->connection;
    c->link = &crypto->first;
    c->next = crypto->first;
    if (c->next != NULL)
        c->next->link = &c->next;
    crypto->first = c;
    crypto->half_open++;
    (void)snprintf(label, sizeof label, "session %llu", (unsigned long long)c->id);
    c->timer = evtimer_new(crypto->worker->base, on_timer, c);
    c->channel = ipc_channel_new(crypto->worker->base, fd, CH_HANDSHAKE, IPC_UPPER, IN_HELLO, label,
                                 &channel_handlers, c);
    if (c->channel == NULL)
        (void)close(fd);
    if (c->timer == NULL || c->channel == NULL || !machine_new(c, m)) {
        tell_failed(c, END_INTERNAL, "out of memory");
        c->broken = true;
    }
    connection_settle(c);
}

void connection_answer(struct crypto *crypto, const struct msg_approval_answer *m)
{
    for (struct connection *c = crypto->first; c != NULL; c = c->next) {
        if (c->id != m->connection)
            continue;
        if (c->server == NULL || c->dying_until != 0 ||
            !server_handshake_answer(c->server, m->fingerprint, (enum verdict)m->verdict, m->code, m->ttl_s,
                                     m->retry_after_s, clock_mono_ms()))
            log_debug("connection %llu: an answer that nobody waits for", (unsigned long long)m->connection);
        connection_settle(c);
        return;
    }
}

void connections_close(struct crypto *crypto)
{
    struct connection *next;

    for (struct connection *c = crypto->first; c != NULL; c = next) {
        next = c->next;
        connection_free(c);
    }
}
