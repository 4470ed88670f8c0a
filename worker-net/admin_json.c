/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows as JSON, for the admin API. Field names are those of the command line's --output json; times are Unix
 * seconds (time_ms: milliseconds). Fields are only ever added.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/json_write.h"
#include "common/sandbox.h"
#include "worker-net/admin.h"

#define ROW_JSON 16384 /* no row has more: texts of 1.2 KiB in all, each byte at most six when escaped */

static void put_text(struct admin_job *job, const char *text)
{
    http_reply_data(job->exchange, text, strlen(text));
}

static void array_begin(struct admin_job *job)
{
    put_text(job, "[");
}

static void array_end(struct admin_job *job)
{
    put_text(job, "]\n");
}

/* Sends what a row's function wrote, with a comma before all but the first. */
static void send_row(struct admin_job *job, struct json_writer *json, char *buf)
{
    if (json_finish(json) != OK)
        return;
    /* buf[0] was kept free for the comma */
    bool first = job->rows++ == 0;
    if (!first)
        buf[0] = ',';
    http_reply_data(job->exchange, first ? buf + 1 : buf, json->used + !first);
}

#define ROW_BEGIN(json, buf)                                                                                 \
    char buf[ROW_JSON];                                                                                      \
    struct json_writer json;                                                                                 \
    json_to_buffer(&(json), (buf) + 1, sizeof(buf) - 1);

static void app_row(struct admin_job *job, enum message_type type, const union message *row)
{
    const struct msg_row_app *app = &row->row_app;
    if (type != MSG_ROW_APP)
        return;
    ROW_BEGIN(json, buf)
    json_begin_object(&json);
    json_put_string(&json, "app", app->app);
    json_put_string(&json, "endpoint", app->endpoint);
    json_put_string(&json, "peer", app->peer);
    json_put_string(&json, "state", app->state);
    json_put_bool(&json, "connected", app->connected != 0);
    json_put_uint(&json, "streams", app->streams);
    json_put_uint(&json, "streams_total", app->streams_total);
    json_put_uint(&json, "refused", app->refused);
    json_put_uint(&json, "bytes_in", app->bytes_in);
    json_put_uint(&json, "bytes_out", app->bytes_out);
    json_put_string(&json, "address", app->address);
    json_put_uint(&json, "port", app->port);
    json_end_object(&json);
    send_row(job, &json, buf);
}

static void request_text_row(struct admin_job *job, enum message_type type, const union message *row)
{
    if (type != MSG_ROW_REQUEST)
        return;
    ROW_BEGIN(json, buf)
    json_string(&json, row->row_request.fingerprint);
    send_row(job, &json, buf);
}

static void request_row(struct admin_job *job, enum message_type type, const union message *row)
{
    const struct msg_row_request *request = &row->row_request;
    if (type != MSG_ROW_REQUEST)
        return;
    ROW_BEGIN(json, buf)
    json_begin_object(&json);
    json_put_string(&json, "fingerprint", request->fingerprint);
    json_put_string(&json, "name", request->name);
    json_put_string(&json, "remote", request->remote);
    json_put_uint(&json, "first_seen", request->first_seen);
    json_put_uint(&json, "last_seen", request->last_seen);
    json_put_bool(&json, "waiting", request->waiting != 0);
    json_put_string(&json, "pairing_code", request->pairing_code);
    json_put_uint(&json, "bits", request->bits);
    json_put_string(&json, "warning", request->warning);
    json_end_object(&json);
    send_row(job, &json, buf);
}

static void peer_row(struct admin_job *job, enum message_type type, const union message *row)
{
    const struct msg_row_peer *peer = &row->row_peer;
    if (type != MSG_ROW_PEER)
        return;
    ROW_BEGIN(json, buf)
    json_begin_object(&json);
    json_put_string(&json, "name", peer->name);
    json_put_string(&json, "status", peer->status);
    json_put_string(&json, "fingerprint", peer->fingerprint);
    json_put_string(&json, "remote", peer->remote);
    json_put_uint(&json, "connections", peer->connections);
    json_put_uint(&json, "apps", peer->apps);
    json_put_uint(&json, "last_seen", peer->last_seen);
    json_put_uint(&json, "first_seen", peer->first_seen);
    json_put_uint(&json, "decided_at", peer->decided_at);
    json_put_string(&json, "decided_by", peer->decided_by);
    json_put_uint(&json, "bits", peer->bits);
    json_put_string(&json, "superseded_by", peer->superseded_by);
    json_end_object(&json);
    send_row(job, &json, buf);
}

static void audit_row(struct admin_job *job, enum message_type type, const union message *row)
{
    const struct msg_row_audit *audit = &row->row_audit;
    if (type != MSG_ROW_AUDIT || job->limit == 0)
        return;
    job->limit--;
    ROW_BEGIN(json, buf)
    json_begin_object(&json);
    json_put_uint(&json, "seq", audit->seq);
    json_put_uint(&json, "time_ms", audit->time_ms);
    json_put_string(&json, "action", audit->action);
    json_put_string(&json, "name", audit->name);
    json_put_string(&json, "actor_kind", audit->actor_kind);
    json_put_string(&json, "actor", audit->actor);
    json_put_string(&json, "remote", audit->remote);
    json_put_string(&json, "fingerprint", audit->fingerprint);
    json_put_string(&json, "detail", audit->detail);
    json_key(&json, "previous");
    json_hex(&json, audit->previous, sizeof audit->previous);
    json_key(&json, "hash");
    json_hex(&json, audit->hash, sizeof audit->hash);
    json_end_object(&json);
    send_row(job, &json, buf);
}

/* ---- status: an object of facts and an array of processes ---- */

static void status_begin(struct admin_job *job)
{
    put_text(job, "{\"facts\":{");
}

static void processes_begin(struct admin_job *job)
{
    if (job->processes)
        return;
    job->processes = true;
    put_text(job, "},\"processes\":[");
    job->rows = 0;
}

static void fact_row(struct admin_job *job, const struct msg_row_fact *fact)
{
    char buf[ROW_JSON];
    struct json_writer json;
    if (job->processes)
        return;
    json_to_buffer(&json, buf, sizeof buf);
    json_begin_object(&json);
    json_put_string(&json, fact->name, fact->value);
    json_end_object(&json);
    if (json_finish(&json) != OK)
        return;
    /* The member without the braces around it. */
    if (job->rows++ > 0)
        put_text(job, ",");
    http_reply_data(job->exchange, buf + 1, json.used - 2);
}

static void process_row(struct admin_job *job, const struct msg_row_process *p)
{
    static const char *const modes[] = {"none", "strict", "filter"};
    char effective[1024];
    char bounding[1024];
    char layers[200];
    sandbox_capabilities_text(p->cap_effective | p->cap_permitted, effective, sizeof effective);
    sandbox_capabilities_text(p->cap_bounding, bounding, sizeof bounding);
    sandbox_layers_text(p->layers, layers, sizeof layers);
    processes_begin(job);
    ROW_BEGIN(json, buf)
    json_begin_object(&json);
    json_put_string(&json, "role", p->role);
    json_put_string(&json, "peer", p->peer);
    json_put_uint(&json, "pid", p->pid);
    json_put_uint(&json, "uid", p->uid);
    json_put_uint(&json, "gid", p->gid);
    json_put_string(&json, "capabilities", effective);
    json_put_string(&json, "capabilities_bounding", bounding);
    json_put_bool(&json, "no_new_privs", p->no_new_privs != 0);
    json_put_string(&json, "seccomp", p->seccomp_mode < 3 ? modes[p->seccomp_mode] : "?");
    json_put_uint(&json, "seccomp_filters", p->seccomp_filters);
    json_put_uint(&json, "landlock_abi", p->landlock_abi);
    json_put_string(&json, "layers", layers);
    json_put_string(&json, "missing", p->missing);
    json_put_uint(&json, "uptime_ms", p->uptime_ms);
    json_put_uint(&json, "restarts", p->restarts);
    json_put_uint(&json, "rss_kib", p->rss_kib);
    json_put_uint(&json, "threads", p->threads);
    json_put_uint(&json, "descriptors", p->descriptors);
    json_put_uint(&json, "connection", p->connection);
    json_end_object(&json);
    send_row(job, &json, buf);
}

static void status_row(struct admin_job *job, enum message_type type, const union message *row)
{
    if (type == MSG_ROW_FACT)
        fact_row(job, &row->row_fact);
    else if (type == MSG_ROW_PROCESS)
        process_row(job, &row->row_process);
}

static void status_end(struct admin_job *job)
{
    processes_begin(job);
    put_text(job, "]}\n");
}

/* ---- probes ---- */

static void probe_row(struct admin_job *job, enum message_type type, const union message *row)
{
    if (type == MSG_ROW_FACT && strcmp(row->row_fact.name, "ready") == 0)
        (void)snprintf(job->text, sizeof job->text, "%s", row->row_fact.value);
}

/* Alive: the supervisor answers, whatever it says. */
static void alive_end(struct admin_job *job)
{
    http_reply(job->exchange, 200, "text/plain; charset=utf-8", NULL, "ok\n", 3);
}

static void ready_end(struct admin_job *job)
{
    char body[sizeof job->text + 2];
    bool ready = strncmp(job->text, "yes", 3) == 0;
    int len = ready
                  ? snprintf(body, sizeof body, "ready\n")
                  : snprintf(body, sizeof body, "not ready%s\n", strlen(job->text) > 2 ? job->text + 2 : "");
    http_reply(job->exchange, ready ? 200 : 503, "text/plain; charset=utf-8", NULL, body, (size_t)len);
}

#define JSON "application/json"
const struct admin_view admin_view_apps = {JSON, false, array_begin, app_row, array_end};
const struct admin_view admin_view_request_texts = {JSON, false, array_begin, request_text_row, array_end};
const struct admin_view admin_view_requests = {JSON, false, array_begin, request_row, array_end};
const struct admin_view admin_view_peers = {JSON, false, array_begin, peer_row, array_end};
const struct admin_view admin_view_audit = {JSON, false, array_begin, audit_row, array_end};
const struct admin_view admin_view_status = {JSON, false, status_begin, status_row, status_end};
const struct admin_view admin_view_alive = {NULL, true, NULL, probe_row, alive_end};
const struct admin_view admin_view_ready = {NULL, true, NULL, probe_row, ready_end};
