/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See metrics.h. Families come in the order of the table, and a row's key is its family and its place within
 * it, so that a long answer can be cut into pages anywhere and no series ever comes twice.
 */
#include "supervisor/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/metrics.h"
#include "supervisor/apps.h"
#include "supervisor/client.h"
#include "supervisor/control.h"
#include "supervisor/k8s.h"
#include "supervisor/limits.h"
#include "supervisor/process_facts.h"
#include "supervisor/queries_page.h"
#include "supervisor/worker_process.h"

#define PLACE_BITS 40 /* of a key; above it the family + 1, so that no key is 0 */

/* What several families need, gathered once per page. */
struct collection {
    struct page *page;
    struct connection_totals totals;
    struct store_stats store;
    struct app **apps;
    size_t n_apps;
    enum metric_family family; /* under way */
    uint64_t place;            /* of the next row in it */
};

void metrics_label(char *out, size_t cap, const char *name, const char *value)
{
    char text[400];
    size_t used = strlen(out);
    size_t n = (size_t)snprintf(text, sizeof text, "%s%s=\"", used == 0 ? "" : ",", name);
    for (; *value != '\0'; value++) {
        if (n + 4 >= sizeof text)
            return;
        if (*value == '\\' || *value == '"' || *value == '\n')
            text[n++] = '\\';
        text[n++] = *value == '\n' ? 'n' : *value;
    }
    text[n++] = '"';
    if (used + n >= cap)
        return;
    memcpy(out + used, text, n);
    out[used + n] = '\0';
}

/* ---- rows ---- */

static void begin(struct collection *c, enum metric_family family)
{
    c->family = family;
    c->place = 0;
}

static void put_row(struct collection *c, uint64_t place, const char *labels, const char *value)
{
    uint64_t key = ((uint64_t)c->family + 1) << PLACE_BITS | place;
    if (!page_wants(c->page, key))
        return;
    struct msg_row_metric row = {.request = c->page->query->request, .family = (uint16_t)c->family};
    (void)snprintf(row.labels, sizeof row.labels, "%s", labels);
    (void)snprintf(row.value, sizeof row.value, "%s", value);
    page_row(c->page, key, MSG_ROW_METRIC, &row);
}

static void put(struct collection *c, const char *label, const char *label_value, uint64_t value)
{
    char labels[96] = "";
    char text[24];
    if (label != NULL)
        metrics_label(labels, sizeof labels, label, label_value);
    (void)snprintf(text, sizeof text, "%" PRIu64, value);
    put_row(c, ++c->place, labels, text);
}

static void put_double(struct collection *c, const char *label, const char *label_value, double value)
{
    char labels[96] = "";
    char text[32];
    if (label != NULL)
        metrics_label(labels, sizeof labels, label, label_value);
    (void)snprintf(text, sizeof text, "%.9g", value);
    put_row(c, ++c->place, labels, text);
}

static void put_one(struct collection *c, enum metric_family family, uint64_t value)
{
    begin(c, family);
    put(c, NULL, NULL, value);
}

static void put_both(struct collection *c, enum metric_family family, uint64_t in, uint64_t out)
{
    begin(c, family);
    put(c, "direction", "in", in);
    put(c, "direction", "out", out);
}

/* ---- words for label values; numbers of enum end_code and enum decision ---- */

static const char *end_word(unsigned code)
{
    static const char *const words[END_CODE_COUNT] = {
        [END_NORMAL] = "normal",
        [END_PEER_CLOSED] = "peer_closed",
        [END_TRUNCATED] = "truncated",
        [END_TIMEOUT] = "timeout",
        [END_HTTP] = "http",
        [END_WEBSOCKET] = "websocket",
        [END_PROTOCOL] = "protocol",
        [END_BAD_TAG] = "bad_tag",
        [END_DECLINED] = "declined",
        [END_SERVER_IDENTITY] = "server_identity",
        [END_BAD_KEY] = "bad_key",
        [END_TLS] = "tls",
        [END_PROXY] = "proxy",
        [END_CONNECT] = "connect",
        [END_LIMIT] = "limit",
        [END_REPLACED] = "replaced",
        [END_STOPPING] = "stopping",
        [END_INTERNAL] = "internal",
        [END_KNOWN_SERVER_IO] = "known_server_io",
    };
    return words[code] == NULL ? "other" : words[code];
}

/* ---- families ---- */

static void collect_whole(struct collection *c)
{
    const struct supervisor *s = c->page->supervisor;
    char labels[200] = "";
    char why[256];
    begin(c, METRIC_FAMILY_BUILD_INFO);
    metrics_label(labels, sizeof labels, "version", WORMHOLE_VERSION);
    metrics_label(labels, sizeof labels, "side", s->side == SIDE_SERVER ? "server" : "client");
    put_row(c, 1, labels, "1");
    put_one(c, METRIC_FAMILY_START_TIME, s->started_wall_s);
    put_one(c, METRIC_FAMILY_READY, supervisor_ready(s, why, sizeof why));
}

static void collect_peers(struct collection *c)
{
    static const char *const words[] = {[DECISION_ACCEPT] = "accept",
                                        [DECISION_DECLINE] = "decline",
                                        [DECISION_REVOKE] = "revoke",
                                        [DECISION_PREAPPROVE] = "preapprove"};
    const struct supervisor *s = c->page->supervisor;
    const struct peer *peer;
    uint64_t connected = 0;
    begin(c, METRIC_FAMILY_PEERS);
    for (unsigned i = PEER_APPROVED; i <= PEER_SUPERSEDED; i++)
        put(c, "status", peer_status_text((enum peer_status)i), c->store.peers[i]);
    TAILQ_FOREACH(peer, &s->peers, link)
    connected += peer->n_connections > 0;
    put_one(c, METRIC_FAMILY_PEERS_CONNECTED, connected);
    put_one(c, METRIC_FAMILY_REQUESTS_PENDING, c->store.peers[PEER_PENDING]);
    put_one(c, METRIC_FAMILY_REQUESTS_REFUSED, s->counters.requests_refused);
    begin(c, METRIC_FAMILY_DECISIONS);
    put(c, "decision", "automatic", s->counters.approvals_auto);
    for (unsigned i = DECISION_ACCEPT; i <= DECISION_PREAPPROVE; i++)
        put(c, "decision", words[i], s->counters.decisions[i]);
}

static void collect_arrivals(struct collection *c)
{
    const struct supervisor *s = c->page->supervisor;
    put_one(c, METRIC_FAMILY_CONNECTIONS_ACCEPTED, s->counters.accepted);
    begin(c, METRIC_FAMILY_CONNECTIONS_REFUSED);
    for (unsigned i = 0; i < AWAY_COUNT; i++)
        put(c, "reason", turned_away_text((enum turned_away)i), s->counters.turned_away[i]);
    put_one(c, METRIC_FAMILY_SOURCES_PENALIZED, limits_penalties(s));
}

static void collect_sessions(struct collection *c)
{
    const struct supervisor *s = c->page->supervisor;
    begin(c, METRIC_FAMILY_HANDSHAKES);
    put(c, "result", "ok", s->counters.handshakes_ok);
    for (unsigned i = 1; i < END_CODE_COUNT; i++)
        put(c, "result", end_word(i), s->counters.handshakes_failed[i]);
    begin(c, METRIC_FAMILY_SESSIONS);
    put(c, "state", "half_open", c->totals.half_open);
    put(c, "state", "pending", c->totals.pending);
    put(c, "state", "open", c->totals.open);
    begin(c, METRIC_FAMILY_SESSIONS_ENDED);
    for (unsigned i = 0; i < END_CODE_COUNT; i++)
        put(c, "reason", end_word(i), s->counters.sessions_ended[i]);
}

static void collect_client(struct collection *c)
{
    static const char *const words[] = {
        [CLIENT_STARTING] = "starting", [CLIENT_CONNECTING] = "connecting", [CLIENT_PENDING] = "pending",
        [CLIENT_OPEN] = "open",         [CLIENT_WAITING] = "waiting",       [CLIENT_DECLINED] = "declined",
    };
    const struct client *client = c->page->supervisor->client;
    uint64_t phases[sizeof words / sizeof *words] = {0};
    uint64_t restarts = 0;
    for (size_t i = 0; i < client->n_slots; i++) {
        if ((unsigned)client->slots[i].phase < sizeof words / sizeof *words)
            phases[client->slots[i].phase]++;
        restarts += client->slots[i].restarts;
    }
    begin(c, METRIC_FAMILY_CLIENT_CONNECTIONS);
    for (unsigned i = CLIENT_STARTING; i <= CLIENT_DECLINED; i++)
        put(c, "phase", words[i], phases[i]);
    put_one(c, METRIC_FAMILY_CLIENT_RECONNECTS, restarts);
}

static void collect_traffic(struct collection *c)
{
    const struct counters *sums = &c->page->supervisor->counters;
    const struct connection_totals *t = &c->totals;
    put_one(c, METRIC_FAMILY_STREAMS, t->streams);
    put_one(c, METRIC_FAMILY_STREAMS_TOTAL, t->streams_total);
    put_one(c, METRIC_FAMILY_STREAMS_REFUSED, t->streams_refused);
    put_one(c, METRIC_FAMILY_STREAMS_RESET, t->streams_reset);
    put_both(c, METRIC_FAMILY_BYTES, t->bytes_in, t->bytes_out);
    put_both(c, METRIC_FAMILY_WIRE_BYTES, t->wire_in, t->wire_out);
    put_both(c, METRIC_FAMILY_RECORDS, t->records_in, t->records_out);
    begin(c, METRIC_FAMILY_SYSTEM_CALLS);
    put(c, "call", "read", t->read_calls);
    put(c, "call", "write", t->write_calls);
    put_one(c, METRIC_FAMILY_BUFFERED, t->buffered);
    begin(c, METRIC_FAMILY_RTT_BUCKET);
    uint64_t below = 0;
    for (unsigned i = 0; i < RTT_BUCKETS; i++) {
        char bound[24];
        below += sums->rtt_histogram[i];
        (void)snprintf(bound, sizeof bound, "%g", (double)rtt_bucket_us[i] / 1e6);
        put(c, "le", bound, below);
    }
    put(c, "le", "+Inf", sums->rtt_count);
    begin(c, METRIC_FAMILY_RTT_SUM);
    put_double(c, NULL, NULL, (double)sums->rtt_sum_us / 1e6);
    put_one(c, METRIC_FAMILY_RTT_COUNT, sums->rtt_count);
}

/* One app's row in one family; on a client `peer` is left out, because there is only the client itself. */
static void put_app(struct collection *c, uint64_t number, const char *peer, const char *app,
                    const char *direction, uint64_t value)
{
    char labels[300] = "";
    char text[24];
    if (peer != NULL)
        metrics_label(labels, sizeof labels, "peer", peer);
    metrics_label(labels, sizeof labels, "app", app);
    if (direction != NULL)
        metrics_label(labels, sizeof labels, "direction", direction);
    (void)snprintf(text, sizeof text, "%" PRIu64, value);
    /* Two rows per app in the family with directions; the number keeps its place when other apps go. */
    put_row(c, 2 * number + (direction != NULL && strcmp(direction, "out") == 0), labels, text);
}

static void put_app_value(struct collection *c, uint64_t number, const char *peer, const char *app,
                          bool connected, const struct app_totals *t)
{
    switch (c->family) {
    case METRIC_FAMILY_APP_CONNECTED: put_app(c, number, peer, app, NULL, connected); break;
    case METRIC_FAMILY_APP_STREAMS: put_app(c, number, peer, app, NULL, t->streams); break;
    case METRIC_FAMILY_APP_STREAMS_TOTAL: put_app(c, number, peer, app, NULL, t->streams_total); break;
    case METRIC_FAMILY_APP_REFUSED: put_app(c, number, peer, app, NULL, t->refused); break;
    case METRIC_FAMILY_APP_BYTES:
        put_app(c, number, peer, app, "in", t->bytes_in);
        put_app(c, number, peer, app, "out", t->bytes_out);
        break;
    default: break;
    }
}

static void collect_app_family(struct collection *c, enum metric_family family)
{
    const struct supervisor *s = c->page->supervisor;
    struct app_totals totals;
    begin(c, family);
    for (size_t i = 0; i < c->n_apps && !page_over(c->page); i++) {
        const struct app *app = c->apps[i];
        app_totals(app, &totals);
        put_app_value(c, app->number, app->peer->name, app->name, !TAILQ_EMPTY(&app->offers), &totals);
    }
    if (s->client == NULL)
        return;
    const struct client_app *app;
    bool open = client_phase(s) == CLIENT_OPEN;
    TAILQ_FOREACH(app, &s->client->apps, link)
    {
        client_app_totals(s, app, &totals);
        put_app_value(c, app->id, NULL, app->name, open && app->answered && app->code == REFUSAL_NONE,
                      &totals);
    }
}

static void collect_apps(struct collection *c)
{
    const struct supervisor *s = c->page->supervisor;
    put_one(c, METRIC_FAMILY_APPS, s->client != NULL ? s->client->n_apps : c->n_apps);
    for (unsigned family = METRIC_FAMILY_APP_CONNECTED; family <= METRIC_FAMILY_APP_BYTES; family++)
        collect_app_family(c, (enum metric_family)family);
}

static bool role_runs_here(const struct supervisor *s, unsigned role)
{
    const struct worker_slot *const slots[ROLE_COUNT] = {[ROLE_CRYPTO] = s->crypto,
                                                         [ROLE_DIALER] = s->dialer,
                                                         [ROLE_ADMIN] = s->admin,
                                                         [ROLE_K8S] = s->kubernetes};
    return role == ROLE_SUPERVISOR || role == ROLE_SESSION || slots[role] != NULL;
}

static void collect_workers(struct collection *c)
{
    const struct supervisor *s = c->page->supervisor;
    const struct worker_slot *const slots[SLOTS] = {s->crypto, s->dialer, s->admin, s->kubernetes};
    const struct worker_process *w;
    uint64_t living[ROLE_COUNT] = {[ROLE_SUPERVISOR] = 1};
    TAILQ_FOREACH(w, &s->workers, link)
    living[w->role] += !w->reaped;
    begin(c, METRIC_FAMILY_PROCESSES);
    for (unsigned i = 0; i < ROLE_COUNT; i++)
        if (role_runs_here(s, i))
            put(c, "role", role_name((enum role)i), living[i]);
    begin(c, METRIC_FAMILY_WORKER_STARTS);
    for (unsigned i = 1; i < ROLE_COUNT; i++)
        if (role_runs_here(s, i))
            put(c, "role", role_name((enum role)i), s->counters.worker_starts[i]);
    begin(c, METRIC_FAMILY_WORKER_EXITS);
    for (unsigned i = 1; i < ROLE_COUNT; i++) {
        for (unsigned why = 0; role_runs_here(s, i) && why < WORKER_EXIT_COUNT; why++) {
            char labels[80] = "";
            char text[24];
            metrics_label(labels, sizeof labels, "role", role_name((enum role)i));
            metrics_label(labels, sizeof labels, "reason", worker_exit_text((enum worker_exit)why));
            (void)snprintf(text, sizeof text, "%" PRIu64, s->counters.worker_exits[i][why]);
            put_row(c, ++c->place, labels, text);
        }
    }
    begin(c, METRIC_FAMILY_WORKER_RESTARTS);
    for (size_t i = 0; i < SLOTS; i++)
        if (slots[i] != NULL)
            put(c, "role", role_name(slots[i]->role), slots[i]->restarts);
    begin(c, METRIC_FAMILY_IPC_VIOLATIONS);
    for (unsigned i = 1; i < ROLE_COUNT; i++)
        if (role_runs_here(s, i))
            put(c, "role", role_name((enum role)i), s->counters.violations[i]);
    begin(c, METRIC_FAMILY_LOG_SUPPRESSED);
    for (unsigned i = 1; i < ROLE_COUNT; i++)
        if (role_runs_here(s, i))
            put(c, "role", role_name((enum role)i), s->counters.log_suppressed[i]);
}

/* Sessions are left out on purpose: reading /proc for a thousand of them would hold up the loop on every
 * scrape. */
static void collect_processes(struct collection *c)
{
    const struct supervisor *s = c->page->supervisor;
    const struct worker_slot *const slots[SLOTS] = {s->crypto, s->dialer, s->admin, s->kubernetes};
    struct process_facts facts[1 + SLOTS];
    const char *roles[sizeof facts / sizeof *facts];
    size_t n = 0;
    if (page_over(c->page))
        return;
    if (process_facts_read(getpid(), &facts[n]) == OK)
        roles[n++] = role_name(ROLE_SUPERVISOR);
    for (size_t i = 0; i < SLOTS; i++) {
        if (slots[i] != NULL && slots[i]->process != NULL && !slots[i]->process->reaped &&
            process_facts_read(slots[i]->process->pid, &facts[n]) == OK)
            roles[n++] = role_name(slots[i]->role);
    }
    begin(c, METRIC_FAMILY_PROCESS_MEMORY);
    for (size_t i = 0; i < n; i++)
        put(c, "role", roles[i], (uint64_t)facts[i].rss_kib * 1024);
    begin(c, METRIC_FAMILY_PROCESS_FDS);
    for (size_t i = 0; i < n; i++)
        if (facts[i].descriptors > 0)
            put(c, "role", roles[i], facts[i].descriptors);
    begin(c, METRIC_FAMILY_PROCESS_CPU);
    for (size_t i = 0; i < n; i++)
        put_double(c, "role", roles[i], facts[i].cpu_seconds);
}

static void collect_state(struct collection *c)
{
    const struct supervisor *s = c->page->supervisor;
    if (s->store != NULL) {
        put_one(c, METRIC_FAMILY_DATABASE_COMMITS, c->store.commits);
        put_one(c, METRIC_FAMILY_DATABASE_FAILURES, c->store.failures);
        put_one(c, METRIC_FAMILY_AUDIT_SEQUENCE, c->store.audit_seq);
    }
    begin(c, METRIC_FAMILY_RELOADS);
    put(c, "result", "ok", s->counters.reloads);
    put(c, "result", "failed", s->counters.reloads_failed);
    struct control_stats control;
    control_stats(s, &control);
    put_one(c, METRIC_FAMILY_CONTROL_CLIENTS, control.clients);
    put_one(c, METRIC_FAMILY_ADMIN_DENIED, control.denied);
}

static void collect_kubernetes(struct collection *c)
{
    struct k8s_figures figures;

    k8s_figures(c->page->supervisor, &figures);
    put_one(c, METRIC_FAMILY_KUBERNETES_IN_STEP, figures.in_step);
    put_one(c, METRIC_FAMILY_KUBERNETES_OBJECTS, figures.objects);
    put_one(c, METRIC_FAMILY_KUBERNETES_API_CALLS, figures.api_calls);
    put_one(c, METRIC_FAMILY_KUBERNETES_API_ERRORS, figures.api_errors);
}

void query_metrics(struct page *page)
{
    struct supervisor *s = page->supervisor;
    struct collection c = {.page = page};
    connections_totals(s, &c.totals);
    if (s->store != NULL)
        (void)store_stats(s->store,
                          &c.store); /* what could not be read counts as a failure, and shows as that */
    if (query_apps_sorted(s, &c.apps, &c.n_apps) != OK)
        page_fail(page, OUTCOME_FAILED, "out of memory");
    collect_whole(&c);
    if (s->side == SIDE_SERVER) {
        collect_peers(&c);
        collect_arrivals(&c);
    }
    collect_sessions(&c);
    if (s->client != NULL)
        collect_client(&c);
    collect_traffic(&c);
    collect_apps(&c);
    collect_workers(&c);
    collect_processes(&c);
    collect_state(&c);
    collect_kubernetes(&c);
    free(c.apps);
}
