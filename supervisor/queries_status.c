/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `status`: facts about the whole, then one row per process as the kernel sees it. Nothing secret may become
 * a fact.
 */
#include "supervisor/queries_page.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/names.h"
#include "common/sandbox.h"
#include "supervisor/apps.h"
#include "supervisor/client.h"
#include "supervisor/k8s.h"
#include "supervisor/process_facts.h"
#include "supervisor/worker_process.h"

/* Facts come before the processes, on the first page only. An empty value is left out. */
__attribute__((format(printf, 3, 4))) static void fact(struct page *page, const char *name,
                                                       const char *format, ...)
{
    struct msg_row_fact row = {.request = page->query->request};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(row.value, sizeof row.value, format, args);
    va_end(args);
    ROW_COPY(row.name, name);
    if (row.value[0] != '\0' && page_wants(page, 0))
        page_row(page, 0, MSG_ROW_FACT, &row);
}

static void fact_number(struct page *page, const char *name, uint64_t value)
{
    fact(page, name, "%" PRIu64, value);
}

static void fact_address(struct page *page, const char *name, const char *host, uint16_t port)
{
    char text[280];
    if (port == 0)
        return;
    address_join(text, sizeof text, host, port);
    fact(page, name, "%s", text);
}

static void general_facts(struct page *page)
{
    const struct supervisor *s = page->supervisor;
    char why[256] = "";
    char started[40] = "";
    time_t at = (time_t)s->started_wall_s;
    struct tm utc;
    bool ready = supervisor_ready(s, why, sizeof why);
    fact(page, "version", "%s", WORMHOLE_VERSION);
    fact(page, "side", "%s", s->side == SIDE_SERVER ? "server" : "client");
    fact(page, "ready", "%s%s%s", ready ? "yes" : "no", why[0] == '\0' ? "" : ": ", why);
    if (s->draining)
        fact(page, "ending", "yes: it was told to end and lets running streams finish");
    if (gmtime_r(&at, &utc) != NULL && strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", &utc) > 0)
        fact(page, "started", "%s", started);
    fact_number(page, "uptime_seconds", (clock_mono_ms() - s->started_mono_ms) / 1000);
    if (s->identity.known) {
        fact(page, "fingerprint", "%s", s->identity.fingerprint);
        fact(page, "key_directory", "%s", s->key_dir);
    }
    fact(page, "state_directory", "%s", s->state_dir);
    fact(page, "control_socket", "%s", s->control_path);
    fact_address(page, "metrics", s->config->metrics_host, s->metrics_port);
}

static void database_facts(struct page *page)
{
    struct supervisor *s = page->supervisor;
    struct store_stats stats;
    if (s->store == NULL)
        return;
    fact(page, "database", "%s", store_path(s->store));
    if (store_stats(s->store, &stats) != OK)
        fact(page, "database_error", "%s", store_last_error(s->store));
    fact_number(page, "database_failures", stats.failures);
    fact_number(page, "audit_rows", stats.audit_seq);
    fact_number(page, "peers_approved", stats.peers[PEER_APPROVED]);
    fact_number(page, "requests_pending", stats.peers[PEER_PENDING]);
}

static void server_facts(struct page *page)
{
    const struct supervisor *s = page->supervisor;
    const struct peer *peer;
    size_t connected = 0;
    size_t apps = 0;
    TAILQ_FOREACH(peer, &s->peers, link)
    {
        connected += peer->n_connections > 0;
        apps += peer->n_apps;
    }
    fact_address(page, "tunnel", s->config->host, s->tunnel_port);
    fact(page, "path", "%s", s->config->path);
    fact_address(page, "admin", s->config->admin_host, s->admin_port);
    fact(page, "admin_token", "%s",
         s->admin_token.set ? "set" : "not set: anybody on this machine may decide");
    fact(page, "acceptor", "%s", s->config->acceptor);
    database_facts(page);
    fact_number(page, "peers_connected", connected);
    fact_number(page, "apps", apps);
}

static void slot_facts(struct page *page, const struct client_slot *slot, bool several)
{
    char name[64];
    uint64_t now = clock_mono_ms();
    const char *suffix = several ? "_" : "";
    char number[8] = "";
    if (several)
        (void)snprintf(number, sizeof number, "%u", slot->slot);
    (void)snprintf(name, sizeof name, "connection%s%s", suffix, number);
    fact(page, name, "%s", client_phase_text(slot->phase));
    if (slot->retry_at_ms > now) {
        (void)snprintf(name, sizeof name, "next_try_seconds%s%s", suffix, number);
        fact_number(page, name, (slot->retry_at_ms - now + 999) / 1000);
    }
    (void)snprintf(name, sizeof name, "last_error%s%s", suffix, number);
    fact(page, name, "%s", slot->last_error);
}

static void client_facts(struct page *page)
{
    const struct client *client = page->supervisor->client;
    if (client == NULL)
        return;
    fact(page, "name", "%s", page->supervisor->config->name == NULL ? "" : page->supervisor->config->name);
    char address[280];
    address_join(address, sizeof address, client->target.host, client->target.port);
    fact(page, "server", "%s://%s%s", client->target.tls ? "wss" : "ws", address, client->target.path);
    if (client->target.via_proxy)
        fact_address(page, "proxy", client->target.proxy_host, client->target.proxy_port);
    fact(page, "server_fingerprint", "%s", client->server_fingerprint);
    fact(page, "pairing_code", "%s", client->pairing_code);
    for (size_t i = 0; i < client->n_slots; i++)
        slot_facts(page, &client->slots[i], client->n_slots > 1);
    fact_number(page, "apps", client->n_apps);
}

static void traffic_facts(struct page *page)
{
    struct connection_totals totals;
    connections_totals(page->supervisor, &totals);
    fact_number(page, "connections_open", totals.open);
    fact_number(page, "connections_pending", totals.pending);
    fact_number(page, "connections_half_open", totals.half_open);
    fact_number(page, "streams", totals.streams);
    fact_number(page, "streams_total", totals.streams_total);
    fact_number(page, "bytes_in", totals.bytes_in);
    fact_number(page, "bytes_out", totals.bytes_out);
}

static void machine_facts(struct page *page)
{
    const struct supervisor *s = page->supervisor;
    struct utsname kernel;
    char text[256] = "";
    k8s_state_text(s, text, sizeof text);
    fact(page, "kubernetes", "%s", text);
    if (uname(&kernel) == 0)
        fact(page, "kernel", "%s %s", kernel.sysname, kernel.release);
    fact(page, "sandbox", "%s", s->config->sandbox);
    const struct worker_slot *const slots[SLOTS] = {s->crypto, s->dialer, s->admin, s->kubernetes};
    for (size_t i = 0; i < SLOTS; i++) {
        if (slots[i] == NULL || slots[i]->last_error[0] == '\0')
            continue;
        char name[64];
        (void)snprintf(name, sizeof name, "last_error_%s", role_name(slots[i]->role));
        fact(page, name, "%s", slots[i]->last_error);
    }
}

/* What the kernel says; what it cannot know (Landlock, what was missing) is the worker's own report. */
static void fill_kernel(struct msg_row_process *row, pid_t pid)
{
    struct process_facts facts;
    row->pid = (uint32_t)pid;
    if (process_facts_read(pid, &facts) != OK) {
        /* Zeros must not be taken for facts: ProtectProc= hides processes that may not be traced. */
        size_t used = strlen(row->missing);
        (void)snprintf(row->missing + used, sizeof row->missing - used,
                       "%suser, capabilities and seccomp unknown: /proc/%d cannot be read",
                       used > 0 ? "; " : "", (int)pid);
        return;
    }
    row->uid = facts.uid;
    row->gid = facts.gid;
    row->cap_effective = facts.cap_effective;
    row->cap_permitted = facts.cap_permitted;
    row->cap_bounding = facts.cap_bounding;
    row->no_new_privs = facts.no_new_privs;
    row->seccomp_mode = facts.seccomp_mode;
    row->seccomp_filters = facts.seccomp_filters;
    row->rss_kib = facts.rss_kib;
    row->threads = facts.threads;
    row->descriptors = facts.descriptors;
}

static void supervisor_row(struct page *page)
{
    const struct supervisor *s = page->supervisor;
    if (page->query->after != 0 || !page_wants(page, 0))
        return;
    struct msg_row_process row = {
        .request = page->query->request,
        .layers = s->own_layers,
        .landlock_abi = s->own_landlock_abi,
        .uptime_ms = clock_mono_ms() - s->started_mono_ms,
    };
    ROW_COPY(row.role, role_name(ROLE_SUPERVISOR));
    ROW_COPY(row.missing, s->own_missing);
    fill_kernel(&row, getpid());
    page_row(page, 0, MSG_ROW_PROCESS, &row);
}

static void worker_row(struct page *page, const struct worker_process *w)
{
    struct msg_row_process row = {
        .request = page->query->request,
        .layers = w->layers,
        .landlock_abi = w->landlock_abi,
        .uptime_ms = clock_mono_ms() - w->started_ms,
        .restarts = w->restarts,
        .connection = w->connection == NULL ? 0 : w->connection->number,
    };
    ROW_COPY(row.role, role_name(w->role));
    ROW_COPY(row.peer, worker_peer_name(w));
    ROW_COPY(row.missing, w->ready ? w->missing : "not ready yet");
    fill_kernel(&row, w->pid);
    page_row(page, w->number, MSG_ROW_PROCESS, &row);
}

void query_status(struct page *page)
{
    const struct supervisor *s = page->supervisor;
    const struct worker_process *w;
    if (page->query->after == 0) {
        general_facts(page);
        if (s->side == SIDE_SERVER)
            server_facts(page);
        else
            client_facts(page);
        traffic_facts(page);
        machine_facts(page);
    }
    supervisor_row(page);
    /* The list is in the order of the numbers: workers are added at its end. */
    TAILQ_FOREACH(w, &s->workers, link)
    {
        if (!w->reaped && page_wants(page, w->number))
            worker_row(page, w);
    }
}
