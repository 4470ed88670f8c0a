/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handshake as the session sees it: bytes between the peer and worker-crypto, which it does not
 * understand, until the traffic keys and the supervisor's word are here. Only with both do records flow.
 */
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "common/protocol.h"
#include "worker-net/session.h"

#define WAIT_SLACK_MS 5000u /* the supervisor's and crypto's own deadlines come first */

static void take_keys(struct session *s, const struct msg_hs_keys *m)
{
    bool out = m->direction == (s->worker->side == SIDE_SERVER ? DIRECTION_S2C : DIRECTION_C2S);

    if (m->direction > DIRECTION_S2C || s->has_key[m->direction] || m->epoch != 0 ||
        s->phase != PHASE_HANDSHAKE || m->max_record < RECORD_PLAIN_MIN ||
        m->max_record > s->start.max_record) {
        session_end(s, END_INTERNAL, CLOSE_INTERNAL, false, "keys that were not expected");
        return;
    }
    enum status st =
        record_key_set(&s->keys[m->direction], (enum direction)m->direction, out, m->epoch, m->sequence,
                       m->key, m->iv, s->start.rekey_hard_records, s->start.rekey_hard_bytes);
    if (st != OK) {
        session_end(s, END_INTERNAL, CLOSE_INTERNAL, false, "the traffic keys could not be set up");
        return;
    }
    s->has_key[m->direction] = true;
    s->max_record = m->max_record;
    session_handshake_settle(s);
}

void session_handshake_settle(struct session *s)
{
    if (s->phase == PHASE_HANDSHAKE && s->has_key[0] && s->has_key[1] && s->has_peer)
        session_open(s);
}

static void on_message(void *arg, enum message_type type, const union message *m, int fd)
{
    struct session *s = arg;

    (void)fd; /* none of these carries one */
    if (s->phase == PHASE_ENDING)
        return;
    switch (type) {
    case MSG_HS_SEND:
        if (s->phase != PHASE_HANDSHAKE) /* before, there may be no connection at all */
            session_end(s, END_INTERNAL, CLOSE_INTERNAL, false, "a handshake message before its time");
        else if (relay_send_message(s->relay, m->hs_send.data, m->hs_send.data_len) != OK)
            session_end(s, END_TIMEOUT, 0, false, "the peer does not read");
        break;
    case MSG_HS_WAIT:
        if (s->phase < PHASE_OPEN)
            session_deadline(s, (uint64_t)m->hs_wait.ttl_s * 1000 + WAIT_SLACK_MS);
        break;
    case MSG_HS_KEYS: take_keys(s, &m->hs_keys); break;
    case MSG_HS_FAIL:
        session_end(s, m->hs_fail.code < END_CODE_COUNT ? (enum end_code)m->hs_fail.code : END_INTERNAL,
                    m->hs_fail.close_code, false, "%s", m->hs_fail.text);
        break;
    default: break; /* the permit table lets nothing else through */
    }
}

static void on_closed(void *arg, const char *reason)
{
    struct session *s = arg;

    ipc_channel_free(s->handshake);
    s->handshake = NULL;
    /* An open session lives on without crypto; see docs/protocol.md, "Records". */
    if (s->phase < PHASE_OPEN)
        session_end(s, END_INTERNAL, CLOSE_INTERNAL, false, "the crypto worker went away%s%s",
                    reason == NULL ? "" : ": ", reason == NULL ? "" : reason);
}

static const struct ipc_handlers handlers = {.message = on_message, .closed = on_closed};

enum status session_handshake_open(struct session *s)
{
    s->handshake = ipc_channel_new(s->worker->base, s->handshake_fd, CH_HANDSHAKE, IPC_LOWER, IN_HELLO,
                                   "crypto", &handlers, s);
    return s->handshake == NULL ? ERR_NOMEM : OK;
}

void session_handshake_received(struct session *s, const uint8_t *data, size_t len)
{
    struct msg_hs_received m = {.data_len = (uint16_t)len};

    if (len > sizeof m.data || s->handshake == NULL) {
        session_end(s, END_PROTOCOL, CLOSE_PROTOCOL, false, "a handshake message that is too long");
        return;
    }
    memcpy(m.data, data, len);
    if (ipc_channel_send(s->handshake, MSG_HS_RECEIVED, &m, -1) != OK)
        session_end(s, END_INTERNAL, CLOSE_INTERNAL, false, "the crypto worker does not listen");
}
