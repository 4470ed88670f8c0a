/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines of the supervisor and the command line: text, JSON, or journald-prefixed text on stderr. Workers
 * do not use this: they log through IPC (common/worker.h) and the supervisor writes their lines here with
 * role, pid and peer. Text from outside is escaped here, in one place. Must not allocate and must not block
 * for long.
 */
#ifndef WORMHOLE_COMMON_LOG_H
#define WORMHOLE_COMMON_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/ipc_types.h"

enum log_format { LOG_AUTO, LOG_TEXT, LOG_JSON };

/* LOG_AUTO: text with colour on a terminal (not with NO_COLOR), "<3>"-prefixed under systemd
 * (JOURNAL_STREAM). */
void log_open(enum log_format format, enum log_level level);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
bool log_level_parse(const char *text, enum log_level *level);
const char *log_level_name(enum log_level level);

/* Who speaks, for log_line(): peer may be NULL; connection 0 = none. in_words: which of the two the message
 * says itself, so that only JSON repeats it. */
enum { SAYS_PEER = 1, SAYS_CONNECTION = 2 };
struct log_source {
    const char *role;
    pid_t pid;
    const char *peer;
    unsigned long long connection;
    unsigned in_words;
};

void log_line(enum log_level level, const struct log_source *source, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Escapes control characters, quotes and invalid UTF-8 as \xNN; always terminates; returns the length. */
size_t log_escape(char *out, size_t cap, const char *in, size_t len);

/* The supervisor's own lines. */
#define sup_error(...) log_line(LEVEL_ERROR, NULL, __VA_ARGS__)
#define sup_warn(...) log_line(LEVEL_WARN, NULL, __VA_ARGS__)
#define sup_info(...) log_line(LEVEL_INFO, NULL, __VA_ARGS__)
#define sup_debug(...) log_line(LEVEL_DEBUG, NULL, __VA_ARGS__)

#endif
