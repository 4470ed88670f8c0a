/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client: what a person who started `wormhole join` reads: the fingerprint, the pairing code, what to do
 * next. On standard output and never more than a few lines; the log on standard error says the same for
 * machines.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "supervisor/client_events.h"

static bool silent;

void console_open(void)
{
    /* Under systemd both end in the journal, where the log is enough. */
    silent = getenv("JOURNAL_STREAM") != NULL && getenv("INVOCATION_ID") != NULL;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args;

    if (silent)
        return;
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    (void)fputc('\n', stdout);
    (void)fflush(stdout);
}

const char *refusal_text(unsigned code)
{
    switch (code) {
    case REFUSAL_NONE: return "accepted";
    case REFUSAL_DECLINED: return "an operator declined it";
    case REFUSAL_REVOKED: return "its approval was revoked";
    case REFUSAL_SUPERSEDED: return "it was replaced by a newer key";
    case REFUSAL_BUSY: return "too many others wait for a decision";
    case REFUSAL_EXPIRED: return "nobody decided in time";
    case REFUSAL_NAME_TAKEN: return "the name belongs to another key";
    case REFUSAL_BAD_NAME: return "the name is not allowed";
    case REFUSAL_NO_PORT: return "the server has no port for it";
    case REFUSAL_DUPLICATE: return "there is one of this name already";
    case REFUSAL_LIMIT: return "too many apps";
    case REFUSAL_INTERNAL: return "the server had a problem of its own";
    default: return "for a reason that this version does not know";
    }
}

void console_identity(const struct supervisor *s)
{
    say("client key fingerprint  %s", s->identity.fingerprint);
}

void console_waiting(const struct supervisor *s, const char *server, bool server_known)
{
    say("(waiting for approval)  pairing code %s", s->client->pairing_code);
    say("server fingerprint      %s%s", server, server_known ? "" : "  (met for the first time)");
    say("on the server:          wormhole requests accept %s", s->identity.fingerprint);
    say("                        (it shows the same pairing code)");
}

void console_connected(const struct supervisor *s)
{
    say("connected to            %s as %s", s->client->target.host, s->config->name);
}

void console_app(const struct client_app *app)
{
    if (app->code == REFUSAL_NONE)
        say("app %-19s %s:%u  ->  %s on the server", app->name, app->host, app->port, app->endpoint);
    else
        say("app %-19s refused: %s", app->name, app->text[0] != '\0' ? app->text : refusal_text(app->code));
}

void console_declined(enum refusal code, uint32_t retry_after_s, const char *fingerprint)
{
    say("the server said no      %s", refusal_text(code));
    if (code == REFUSAL_DECLINED || code == REFUSAL_REVOKED)
        say("on the server:          wormhole peers preapprove %s --name NAME", fingerprint);
    else
        say("                        trying again in %u s", retry_after_s);
}
