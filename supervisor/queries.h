/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers to QUERY, for the control socket and the admin worker: rows and one RESULT, in bounded pages. Reads
 * the supervisor's state, the database and /proc; changes nothing, and does not judge who asks.
 */
#ifndef WORMHOLE_SUPERVISOR_QUERIES_H
#define WORMHOLE_SUPERVISOR_QUERIES_H

#include "supervisor/supervisor.h"

/* Where the rows go. A send that is not OK ends the answer: the asker is gone or does not read. */
struct query_sink {
    enum status (*send)(void *arg, enum message_type type, const void *message);
    void *arg;
};

/*
 * Sends at most QUERY_PAGE_ROWS rows (fewer than a channel's queue holds) and one RESULT; `more` with a
 * cursor for `after` when there are further ones. Rows that come or go between two pages are seen or not,
 * never twice. Gives what the sink gave.
 */
#define QUERY_PAGE_ROWS 250u
enum status query_answer(struct supervisor *s, const struct msg_query *query, const struct query_sink *sink);

/* RESULT by itself, for refusals. */
enum status query_result(const struct query_sink *sink, uint64_t request, enum outcome outcome,
                         const char *text);

#endif
