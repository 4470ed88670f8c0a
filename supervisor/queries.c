/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See queries.h: the dispatch, the paging, and what comes from the database. What is alive is in
 * queries_live.c and queries_status.c, figures are in metrics.c.
 */
#include "supervisor/queries_page.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/apps.h"
#include "supervisor/decisions.h"
#include "supervisor/revocations.h"

/* Rows of the database that one page may look at while it searches for what the filter wants. */
#define SCAN_ROWS 4000u
#define FETCH_ROWS 32u

bool page_over(const struct page *page)
{
    return page->more || page->sent != OK || page->outcome != OUTCOME_DONE;
}

bool page_wants(struct page *page, uint64_t key)
{
    if (page_over(page) || (page->query->after != 0 && key <= page->query->after))
        return false;
    if (page->room == 0) {
        page->more = true;
        return false;
    }
    return true;
}

void page_row(struct page *page, uint64_t key, enum message_type type, const void *row)
{
    page->sent = page->sink->send(page->sink->arg, type, row);
    page->room--;
    page->cursor = key;
}

void page_fail(struct page *page, enum outcome outcome, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(page->text, sizeof page->text, format, args);
    va_end(args);
    page->outcome = outcome;
}

/* ---- requests and peers ---- */

/* The filter is a name, a fingerprint, or its beginning. */
static bool peer_matches(const struct page *page, const struct store_peer *peer)
{
    const char *filter = page->query->filter;
    if (filter[0] == '\0' || strcmp(filter, peer->name) == 0)
        return true;
    return strncmp(filter, "SHA256:", 7) == 0 && strncmp(filter, peer->fingerprint, strlen(filter)) == 0;
}

static void request_row(struct page *page, uint64_t id, const struct store_peer *peer)
{
    struct msg_row_request row = {
        .request = page->query->request,
        .first_seen = peer->first_seen,
        .last_seen = peer->last_seen,
        .bits = peer->bits,
        .waiting = decision_request_waiting(page->supervisor, peer->fingerprint),
    };
    ROW_COPY(row.fingerprint, peer->fingerprint);
    ROW_COPY(row.name, peer->name);
    ROW_COPY(row.remote, peer->remote);
    ROW_COPY(row.pairing_code, peer->pairing_code);
    decision_name_warning(page->supervisor, peer->name, peer->fingerprint, row.warning, sizeof row.warning);
    page_row(page, id, MSG_ROW_REQUEST, &row);
}

static void peer_row(struct page *page, uint64_t id, const struct store_peer *peer)
{
    struct msg_row_peer row = {
        .request = page->query->request,
        .bits = peer->bits,
        .first_seen = peer->first_seen,
        .last_seen = peer->last_seen,
        .decided_at = peer->decided_at,
    };
    uint8_t digest[FINGERPRINT_BYTES];
    const struct peer *live = NULL;
    if (peer->status == PEER_APPROVED && fingerprint_parse(peer->fingerprint, digest) == OK)
        live = peer_find(page->supervisor, digest);
    if (live != NULL) {
        row.connections = (uint32_t)live->n_connections;
        row.apps = (uint32_t)live->n_apps;
    }
    ROW_COPY(row.name, peer->name);
    ROW_COPY(row.fingerprint, peer->fingerprint);
    bool held = revocation_is_held(page->supervisor, peer->fingerprint);
    ROW_COPY(row.status, peer_status_text(held ? PEER_REVOKED : peer->status));
    ROW_COPY(row.decided_by, held ? "not stored yet, see the log" : peer->decided_by);
    ROW_COPY(row.remote, peer->remote);
    ROW_COPY(row.superseded_by, peer->superseded_by);
    page_row(page, id, MSG_ROW_PEER, &row);
}

typedef void peer_sender(struct page *page, uint64_t id, const struct store_peer *peer);

static void scan_peers(struct page *page, unsigned mask, peer_sender *send)
{
    struct store *store = page->supervisor->store;
    struct store_peer *rows = calloc(FETCH_ROWS, sizeof *rows);
    uint64_t ids[FETCH_ROWS];
    uint64_t after = page->query->after;
    size_t n = FETCH_ROWS;
    for (unsigned scanned = 0; rows != NULL && n == FETCH_ROWS && !page_over(page); scanned += FETCH_ROWS) {
        if (scanned >= SCAN_ROWS) {
            page->cursor = after;
            page->more = true;
            break;
        }
        if (store_list_peers(store, after, mask, rows, ids, FETCH_ROWS, &n) != OK) {
            page_fail(page, OUTCOME_FAILED, "%s", store_last_error(store));
            break;
        }
        for (size_t i = 0; i < n; i++) {
            after = ids[i];
            if (peer_matches(page, &rows[i]) && page_wants(page, ids[i]))
                send(page, ids[i], &rows[i]);
        }
    }
    if (rows == NULL)
        page_fail(page, OUTCOME_FAILED, "out of memory");
    free(rows);
}

static void query_requests(struct page *page)
{
    scan_peers(page, 1u << PEER_PENDING, request_row);
}

static void query_peers(struct page *page)
{
    scan_peers(page, 1u << PEER_APPROVED | 1u << PEER_DECLINED | 1u << PEER_REVOKED | 1u << PEER_SUPERSEDED,
               peer_row);
}

/* ---- audit ---- */

static bool audit_matches(const struct page *page, const struct store_audit_row *row)
{
    const char *filter = page->query->filter;
    return filter[0] == '\0' || strcmp(filter, row->name) == 0 || strcmp(filter, row->fingerprint) == 0 ||
           strcmp(filter, row->action) == 0;
}

static void audit_row(struct page *page, const struct store_audit_row *from)
{
    struct msg_row_audit row = {
        .request = page->query->request,
        .seq = from->seq,
        .time_ms = from->time_ms,
    };
    ROW_COPY(row.actor_kind, from->actor_kind);
    ROW_COPY(row.actor, from->actor);
    ROW_COPY(row.action, from->action);
    ROW_COPY(row.fingerprint, from->fingerprint);
    ROW_COPY(row.name, from->name);
    ROW_COPY(row.remote, from->remote);
    ROW_COPY(row.detail, from->detail);
    memcpy(row.previous, from->previous, sizeof row.previous);
    memcpy(row.hash, from->hash, sizeof row.hash);
    page_row(page, from->seq, MSG_ROW_AUDIT, &row);
}

static void query_audit(struct page *page)
{
    struct store *store = page->supervisor->store;
    struct store_audit_row *rows = calloc(FETCH_ROWS, sizeof *rows);
    uint64_t after = page->query->after;
    size_t n = FETCH_ROWS;
    for (unsigned scanned = 0; rows != NULL && n == FETCH_ROWS && !page_over(page); scanned += FETCH_ROWS) {
        if (scanned >= SCAN_ROWS) {
            page->cursor = after;
            page->more = true;
            break;
        }
        if (store_list_audit(store, after, rows, FETCH_ROWS, &n) != OK) {
            page_fail(page, OUTCOME_FAILED, "%s", store_last_error(store));
            break;
        }
        for (size_t i = 0; i < n; i++) {
            after = rows[i].seq;
            if (audit_matches(page, &rows[i]) && page_wants(page, rows[i].seq))
                audit_row(page, &rows[i]);
        }
    }
    if (rows == NULL)
        page_fail(page, OUTCOME_FAILED, "out of memory");
    free(rows);
}

/* ---- what is one row ---- */

static void query_keys(struct page *page)
{
    const struct supervisor *s = page->supervisor;
    if (!s->identity.known || !page_wants(page, 1))
        return;
    struct msg_row_key row = {
        .request = page->query->request,
        .bits = s->identity.bits,
        .created = s->identity.created,
    };
    ROW_COPY(row.kind, s->identity.kind);
    ROW_COPY(row.fingerprint, s->identity.fingerprint);
    ROW_COPY(row.path, s->identity.path);
    ROW_COPY(row.known_server, s->identity.known_server);
    page_row(page, 1, MSG_ROW_KEY, &row);
}

static void query_ready(struct page *page)
{
    char why[256] = "";
    struct msg_row_fact row = {.request = page->query->request, .name = "ready"};
    bool ready = supervisor_ready(page->supervisor, why, sizeof why);
    (void)snprintf(row.value, sizeof row.value, "%s%s%s", ready ? "yes" : "no", why[0] == '\0' ? "" : ": ",
                   why);
    if (page_wants(page, 1))
        page_row(page, 1, MSG_ROW_FACT, &row);
}

/* ---- dispatch ---- */

static const struct {
    void (*answer)(struct page *page);
    bool from_database; /* a client has none */
} queries[] = {
    [QUERY_APPS] = {query_apps, false},     [QUERY_REQUESTS] = {query_requests, true},
    [QUERY_PEERS] = {query_peers, true},    [QUERY_AUDIT] = {query_audit, true},
    [QUERY_STATUS] = {query_status, false}, [QUERY_METRICS] = {query_metrics, false},
    [QUERY_KEYS] = {query_keys, false},     [QUERY_READY] = {query_ready, false},
};

enum status query_result(const struct query_sink *sink, uint64_t request, enum outcome outcome,
                         const char *text)
{
    struct msg_result result = {.request = request, .outcome = (uint8_t)outcome};
    ROW_COPY(result.text, text);
    return sink->send(sink->arg, MSG_RESULT, &result);
}

enum status query_answer(struct supervisor *s, const struct msg_query *query, const struct query_sink *sink)
{
    struct page page = {
        .supervisor = s,
        .query = query,
        .sink = sink,
        .room = QUERY_PAGE_ROWS,
        .cursor = query->after,
        .sent = OK,
        .outcome = OUTCOME_DONE,
    };
    if (query->what >= sizeof queries / sizeof *queries || queries[query->what].answer == NULL)
        page_fail(&page, OUTCOME_BAD, "there is no such question");
    else if (queries[query->what].from_database && s->store == NULL)
        page_fail(&page, OUTCOME_UNSUPPORTED,
                  "this is a client: requests, peers and audit are kept by its server");
    else
        queries[query->what].answer(&page);
    if (page.sent != OK)
        return page.sent;
    struct msg_result result = {
        .request = query->request,
        .outcome = (uint8_t)page.outcome,
        .more = page.more && page.outcome == OUTCOME_DONE,
        .cursor = page.cursor,
    };
    ROW_COPY(result.text, page.text);
    return sink->send(sink->arg, MSG_RESULT, &result);
}
