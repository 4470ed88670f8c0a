/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One dial from question to answer: id to name, name to addresses, addresses to a connected descriptor. What
 * is connected is handed over and closed here; not one byte is read from or written to it. The server's name
 * is looked up anew each time; an app's addresses are kept for a moment, and asked for again when they fail.
 */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/clock.h"
#include "worker-net/dialer.h"

static struct dial *dial_new(struct dial_session *s, uint64_t request)
{
    struct dial *d = s->n_dials < DIALS_PER_SESSION ? calloc(1, sizeof *d) : NULL;
    if (d == NULL) {
        session_answer_failed(s, request, DIAL_LIMIT, "too many connections are being made");
        return NULL;
    }
    d->session = s;
    d->request = request;
    d->expires = clock_mono_ms() + s->dialer->connect_ms;
    TAILQ_INSERT_TAIL(&s->dials, d, own);
    s->n_dials++;
    return d;
}

static void wait_end(struct dial *d)
{
    if (d->waits && d->app != NULL)
        TAILQ_REMOVE(&d->app->waiting, d, wait);
    d->waits = false;
    if (d->deadline != NULL)
        event_free(d->deadline);
    d->deadline = NULL;
}

static void dial_free(struct dial *d)
{
    wait_end(d);
    lookup_cancel(d->lookup);
    connect_cancel(d->job);
    TAILQ_REMOVE(&d->session->dials, d, own);
    d->session->n_dials--;
    free(d);
}

void dial_cancel_all(struct dial_session *s)
{
    for (struct dial *d; (d = TAILQ_FIRST(&s->dials)) != NULL;)
        dial_free(d);
}

static void dial_fail(struct dial *d, enum dial_code code, const char *what)
{
    const struct dialer *dialer = d->session->dialer;
    if (d->server)
        session_answer_failed(d->session, d->request, code, "%.80s port %u: %s", dialer->server_host,
                              dialer->server_port, what);
    else /* travels to the server's side, which has no business with addresses here */
        session_answer_failed(d->session, d->request, code, "%s", what);
    dial_free(d);
}

static enum dial_code code_of(int error)
{
    switch (error) {
    case ECONNREFUSED: return DIAL_REFUSED;
    case ETIMEDOUT: return DIAL_TIMEOUT;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM: return DIAL_LIMIT;
    case EINVAL:
    case EBADF: return DIAL_INTERNAL;
    default: return DIAL_UNREACHABLE;
    }
}

static void dial_look_up(struct dial *d);

static void on_connected(void *arg, int fd, const struct dial_address *address, int error)
{
    struct dial *d = arg;
    d->job = NULL;
    if (error == 0) {
        session_answer_connected(d->session, d->request, fd, address);
        (void)close(fd);
        dial_free(d);
        return;
    }
    if (d->app != NULL && !d->app->numeric && !d->fresh) {
        /* The addresses were kept from an earlier dial; the name may lead elsewhere by now. */
        d->app->fresh_until = 0;
        dial_look_up(d);
        return;
    }
    dial_fail(d, code_of(error), error == ETIMEDOUT ? "no answer in time" : strerror(error));
}

static void dial_connect(struct dial *d, const struct dial_addresses *addresses)
{
    uint64_t now = clock_mono_ms();
    uint32_t left = d->expires > now ? (uint32_t)(d->expires - now) : 1;
    /* on_connected may be called in here, and d be gone; then there is no job. */
    struct connect_job *job =
        connect_start(d->session->dialer->worker->base, addresses, left, on_connected, d);
    if (job != NULL)
        d->job = job;
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    dial_fail(arg, DIAL_DNS, "the name look-up takes too long");
}

static bool wait_begin(struct dial *d)
{
    uint64_t now = clock_mono_ms();
    uint64_t left = d->expires > now ? d->expires - now : 1;
    struct timeval limit = {.tv_sec = (time_t)(left / 1000), .tv_usec = (suseconds_t)(left % 1000 * 1000)};
    d->deadline = evtimer_new(d->session->dialer->worker->base, on_deadline, d);
    if (d->deadline == NULL || evtimer_add(d->deadline, &limit) != 0)
        return false;
    d->fresh = true;
    return true;
}

static enum dial_code lookup_code(int gai)
{
    return gai == EAI_MEMORY ? DIAL_LIMIT : DIAL_DNS;
}

static void on_app_addresses(void *arg, int gai, const struct dial_addresses *addresses)
{
    struct app *app = arg;
    app->lookup = NULL;
    if (gai == 0) {
        app->addresses = *addresses;
        app->fresh_until = clock_mono_ms() + APP_ADDRESSES_MS;
    }
    /* A dial that fails at once does not come back into this list: it was waiting, so it is fresh. */
    for (struct dial *d; (d = TAILQ_FIRST(&app->waiting)) != NULL;) {
        wait_end(d);
        if (gai == 0)
            dial_connect(d, &app->addresses);
        else
            dial_fail(d, lookup_code(gai), gai_strerror(gai));
    }
}

/* Joins the look-up of the app's name that is under way, or begins one. */
static void dial_look_up(struct dial *d)
{
    struct app *app = d->app;
    enum status status = OK;
    if (!wait_begin(d))
        status = ERR_NOMEM;
    if (status == OK && app->lookup == NULL)
        status = resolver_lookup(d->session->dialer->resolver, app->host, app->port, false, on_app_addresses,
                                 app, &app->lookup);
    if (status != OK) {
        dial_fail(d, DIAL_LIMIT, "too many names are being looked up");
        return;
    }
    TAILQ_INSERT_TAIL(&app->waiting, d, wait);
    d->waits = true;
}

void dial_app(struct dial_session *s, uint64_t request, uint32_t id)
{
    struct app *app = app_find(s->dialer->apps, id);
    if (app == NULL) {
        session_answer_failed(s, request, DIAL_UNKNOWN_APP, "no such app");
        return;
    }
    struct dial *d = dial_new(s, request);
    if (d == NULL)
        return;
    d->app = app;
    if (app->numeric || app->fresh_until > clock_mono_ms())
        dial_connect(d, &app->addresses);
    else
        dial_look_up(d);
}

void dial_app_withdrawn(struct app *app)
{
    lookup_cancel(app->lookup);
    app->lookup = NULL;
    for (struct dial *d; (d = TAILQ_FIRST(&app->waiting)) != NULL;)
        dial_fail(d, DIAL_UNKNOWN_APP, "the app is not exposed any more");
}

static void on_server_addresses(void *arg, int gai, const struct dial_addresses *addresses)
{
    struct dial *d = arg;
    d->lookup = NULL;
    wait_end(d);
    if (gai == 0)
        dial_connect(d, addresses);
    else
        dial_fail(d, lookup_code(gai), gai_strerror(gai));
}

void dial_server(struct dial_session *s, uint64_t request)
{
    const struct dialer *dialer = s->dialer;
    struct dial_addresses addresses;
    struct dial *d = dial_new(s, request);
    if (d == NULL)
        return;
    d->server = true;
    if (resolver_numeric(dialer->server_host, dialer->server_port, &addresses)) {
        dial_connect(d, &addresses);
        return;
    }
    if (!wait_begin(d) || resolver_lookup(dialer->resolver, dialer->server_host, dialer->server_port, true,
                                          on_server_addresses, d, &d->lookup) != OK)
        dial_fail(d, DIAL_LIMIT, "too many names are being looked up");
}
