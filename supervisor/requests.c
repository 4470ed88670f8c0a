/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See requests.h.
 */
#include "supervisor/requests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "supervisor/limits.h"

#define HELD_SLACK_MS                                                                                        \
    60000u /* an expired request keeps its place at most so long for its client to renew it */

/* A request that an operator should see: in the database, and bounded by counting these. */
struct request {
    TAILQ_ENTRY(request) link;
    char fingerprint[FINGERPRINT_TEXT + 1];
    struct source source;
    uint64_t until_ms; /* monotonic: given up then, unless its client is there */
};

struct approvals {
    TAILQ_HEAD(request_list, request) requests;
    size_t n_requests;
};

static struct request *request_find(const struct approvals *a, const char *fingerprint)
{
    struct request *r;

    TAILQ_FOREACH(r, &a->requests, link)
    {
        if (strcmp(r->fingerprint, fingerprint) == 0)
            return r;
    }
    return NULL;
}

static void request_drop(struct approvals *a, struct request *r)
{
    TAILQ_REMOVE(&a->requests, r, link);
    a->n_requests--;
    free(r);
}

static uint64_t held_until(const struct supervisor *s, uint64_t now)
{
    uint64_t pending_ms = s->config->pending_ms;

    return now + pending_ms + (pending_ms < HELD_SLACK_MS ? pending_ms : HELD_SLACK_MS);
}

static struct request *request_add(struct approvals *a, const char *fingerprint, const char *source,
                                   uint64_t until)
{
    struct request *r = calloc(1, sizeof *r);

    if (r == NULL)
        return NULL;
    (void)snprintf(r->fingerprint, sizeof r->fingerprint, "%s", fingerprint);
    r->source = source_of_text(source);
    r->until_ms = until;
    TAILQ_INSERT_TAIL(&a->requests, r, link);
    a->n_requests++;
    return r;
}

void approval_forget(struct supervisor *s, const char *fingerprint)
{
    struct request *r = request_find(s->approvals, fingerprint);

    if (r != NULL)
        request_drop(s->approvals, r);
}

size_t approvals_pending(const struct supervisor *s)
{
    return s->approvals->n_requests;
}

struct approvals *approvals_new(struct supervisor *s)
{
    struct approvals *a = calloc(1, sizeof *a);
    struct store_peer *rows = calloc(32, sizeof *rows);
    uint64_t ids[32];
    uint64_t after = 0;
    size_t n = 0;

    if (a == NULL || rows == NULL) {
        free(a);
        free(rows);
        return NULL;
    }
    TAILQ_INIT(&a->requests);
    do {
        if (store_list_peers(s->store, after, 1u << PEER_PENDING, rows, ids, 32, &n) != OK)
            break;
        for (size_t i = 0; i < n; i++) {
            (void)request_add(a, rows[i].fingerprint, rows[i].remote, held_until(s, clock_mono_ms()));
            after = ids[i];
        }
    } while (n == 32);
    free(rows);
    return a;
}

void approvals_free(struct approvals *a)
{
    struct request *r;
    struct request *next;

    if (a == NULL)
        return;
    for (r = TAILQ_FIRST(&a->requests); r != NULL; r = next) {
        next = TAILQ_NEXT(r, link);
        request_drop(a, r);
    }
    free(a);
}

bool request_fits(const struct supervisor *s, const struct connection *c)
{
    struct source source = source_of_text(connection_source(c));
    const struct approvals *a = s->approvals;
    const struct request *r;
    size_t same = 0;

    if (a->n_requests >= (size_t)s->config->max_pending)
        return false;
    TAILQ_FOREACH(r, &a->requests, link)
    {
        same += source_equal(&r->source, &source);
    }
    bool proxied = c->from_trusted_proxy && c->forwarded[0] == '\0';
    return proxied || same < (size_t)s->config->max_pending_per_source;
}

bool request_is_held(const struct supervisor *s, const char *fingerprint)
{
    return request_find(s->approvals, fingerprint) != NULL;
}

enum status request_hold(struct supervisor *s, const struct connection *c)
{
    struct request *r = request_find(s->approvals, c->fingerprint_text);

    if (r == NULL)
        r = request_add(s->approvals, c->fingerprint_text, connection_source(c), 0);
    if (r == NULL)
        return ERR_NOMEM;
    r->until_ms = held_until(s, clock_mono_ms());
    return OK;
}

void requests_tick(struct supervisor *s)
{
    uint64_t now = clock_mono_ms();
    struct request *r;
    struct request *next;

    for (r = TAILQ_FIRST(&s->approvals->requests); r != NULL; r = next) {
        next = TAILQ_NEXT(r, link);
        if (now < r->until_ms)
            continue;
        sup_info("the request of %s is dropped, its client did not come back", r->fingerprint);
        if (store_request_expired(s->store, r->fingerprint) == ERR_IO)
            r->until_ms = now + HELD_SLACK_MS; /* once more later */
        else
            request_drop(s->approvals, r);
    }
}
