/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom a line of the supervisor's own log is about: JSON logs carry the connection and the peer as fields,
 * the text says them in words. Decides nothing.
 */
#ifndef WORMHOLE_SUPERVISOR_ABOUT_H
#define WORMHOLE_SUPERVISOR_ABOUT_H

#include <unistd.h>

#include "common/log.h"
#include "supervisor/connections.h"

static inline struct log_source about_peer(const char *name)
{
    return (struct log_source){
        .role = "supervisor", .pid = getpid(), .peer = name, .in_words = SAYS_PEER | SAYS_CONNECTION};
}

/* Its claimed name counts, where it is not approved yet; on a client the server's address. */
static inline struct log_source about_connection(const struct connection *c)
{
    struct log_source from = about_peer(c->name[0] != '\0' ? c->name : c->remote);
    from.connection = c->number;
    return from;
}

#define sup_about(level, about, ...)                                                                         \
    do {                                                                                                     \
        const struct log_source about_ = (about);                                                            \
        log_line(level, &about_, __VA_ARGS__);                                                               \
    } while (0)

#endif
