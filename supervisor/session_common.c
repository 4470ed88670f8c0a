/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See session_common.h.
 */
#include "supervisor/session_common.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/protocol.h"
#include "supervisor/about.h"
#include "supervisor/worker_process.h"

const char *end_code_text(unsigned code)
{
    static const char *const texts[END_CODE_COUNT] = {
        [END_NORMAL] = "ended normally",
        [END_PEER_CLOSED] = "the other end closed",
        [END_TRUNCATED] = "the connection was cut",
        [END_TIMEOUT] = "the other end does not answer",
        [END_HTTP] = "the websocket upgrade failed",
        [END_WEBSOCKET] = "websocket error",
        [END_PROTOCOL] = "protocol error",
        [END_BAD_TAG] = "a record was changed on the way",
        [END_DECLINED] = "not approved",
        [END_SERVER_IDENTITY] = "the server is not the one that is known",
        [END_BAD_KEY] = "unacceptable key",
        [END_TLS] = "TLS failed",
        [END_PROXY] = "the proxy refused",
        [END_CONNECT] = "cannot connect",
        [END_LIMIT] = "a limit was reached",
        [END_REPLACED] = "replaced by a newer connection",
        [END_STOPPING] = "stopping",
        [END_INTERNAL] = "internal error",
        [END_KNOWN_SERVER_IO] = "the server's identity could not be stored",
    };
    return code < END_CODE_COUNT && texts[code] != NULL ? texts[code] : "?";
}

enum status session_handshake_pair(struct connection *c, int *fd)
{
    struct supervisor *s = c->supervisor;
    struct msg_crypto_session m = {.connection = c->number, .slot = c->slot};
    int pair[2];

    if (!worker_slot_ready(s->crypto))
        return ERR_WRONG_STATE;
    if (ipc_pair(pair, false) != OK)
        return ERR_IO;
    (void)snprintf(m.remote, sizeof m.remote, "%s", c->remote);
    memcpy(m.instance, s->instance_id, sizeof m.instance);
    enum status result = worker_send(s->crypto->process, MSG_CRYPTO_SESSION, &m, pair[0]);
    (void)close(pair[0]);
    if (result != OK) {
        (void)close(pair[1]);
        return result;
    }
    *fd = pair[1];
    return OK;
}

enum status session_send_start(struct worker_process *w, const struct connection *c, const char *path)
{
    const struct config *config = c->supervisor->config;
    struct msg_session_start m = {
        .connection = c->number,
        .slot = c->slot,
        .max_record = (uint32_t)config->max_record,
        .handshake_ms = (uint32_t)config->handshake_ms,
        .ping_ms = (uint32_t)config->ping_ms,
        .dead_ms = (uint32_t)config->dead_ms,
        .stream_window = (uint32_t)config->stream_window,
        .stream_window_max = (uint32_t)config->stream_window_max,
        .connection_window = (uint32_t)config->connection_window,
        .connection_window_max = (uint32_t)config->connection_window_max,
        .max_streams = (uint32_t)config->max_streams,
        .half_closed_idle_s = (uint32_t)(config->half_closed_idle_ms / 1000),
        .rekey_hard_bytes = BYTES_HARD_LIMIT,
        .rekey_hard_records = RECORDS_HARD_LIMIT,
        .trust_forwarded = c->from_trusted_proxy,
    };

    (void)snprintf(m.remote, sizeof m.remote, "%s", c->remote);
    (void)snprintf(m.path, sizeof m.path, "%s", path);
    return worker_send(w, MSG_SESSION_START, &m, -1);
}

bool session_message(struct connection *c, enum message_type type, const union message *m)
{
    if (type == MSG_SESSION_STATS) {
        connection_stats(c, &m->session_stats);
        return true;
    }
    if (type != MSG_SESSION_END)
        return false;
    /* What crypto or we ourselves said about the end weighs more than what the session says. */
    if (!c->end_known) {
        c->end_known = true;
        c->end_code = m->session_end.code < END_CODE_COUNT ? m->session_end.code : END_INTERNAL;
        (void)snprintf(c->end_text, sizeof c->end_text, "%s", m->session_end.text);
    }
    return true;
}

void session_log_end(const struct connection *c, enum worker_exit why)
{
    struct log_source from = about_connection(c);
    uint64_t seconds = (clock_mono_ms() - (c->opened_ms != 0 ? c->opened_ms : c->started_ms)) / 1000;
    const char *code = c->end_known ? end_code_text(c->end_code) : worker_exit_text(why);
    bool text_adds = c->end_text[0] != '\0' && strcmp(c->end_text, code) != 0;
    static const char closed_unasked[] = "the peer closed the connection without a word";
    bool quiet =
        c->end_known && c->opened_ms == 0 && (c->end_code == END_NORMAL || c->end_code == END_STOPPING);

    /* Who only looks whether the port is open (a balancer, every few seconds) is no news; the metrics count
     * it. */
    if (c->supervisor->side == SIDE_SERVER && c->end_known && c->opened_ms == 0 && c->end_code == END_HTTP &&
        strncmp(c->end_text, closed_unasked, sizeof closed_unasked - 1) == 0)
        quiet = true;
    from.in_words = SAYS_PEER;
    log_line(quiet ? LEVEL_DEBUG : LEVEL_INFO, &from, "%s %s after %llu s: %s%s%s", connection_text(c),
             c->opened_ms != 0 ? "disconnected" : "did not get in", (unsigned long long)seconds, code,
             text_adds ? ": " : "", text_adds ? c->end_text : "");
}
