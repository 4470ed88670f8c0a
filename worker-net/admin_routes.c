/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every route of the admin API and of the metrics port, as a table; and what is refused before any question
 * is asked: unknown paths and methods, and requests that a web page made a browser send. Nothing here
 * answers.
 *
 * Web pages: on a loopback address the API trusts whoever is on this machine, so a page in a browser on this
 * machine must not be able to use it. Changes with an Origin (or a foreign Sec-Fetch-Site) are refused, and
 * so is every request whose Host is not a loopback name: that is how a page reads it after rebinding its own
 * name to 127.0.0.1.
 */
#include "worker-net/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/fingerprint.h"

#define API ADMIN_LISTENER_API
#define METRICS ADMIN_LISTENER_METRICS
#define AUDIT_LIMIT_DEFAULT 1000u
#define AUDIT_LIMIT_MAX 10000u

static const struct admin_route routes[] = {
    {API, HTTP_GET, "v1/apps", false, QUERY_APPS, &admin_view_apps},
    {API, HTTP_GET, "v1/requests", false, QUERY_REQUESTS, &admin_view_request_texts},
    {API, HTTP_POST, "v1/requests/*", true, DECISION_ACCEPT, NULL},
    {API, HTTP_DELETE, "v1/requests/*", true, DECISION_DECLINE, NULL},
    {API, HTTP_GET, "v2/requests", false, QUERY_REQUESTS, &admin_view_requests},
    {API, HTTP_GET, "v2/peers", false, QUERY_PEERS, &admin_view_peers},
    {API, HTTP_DELETE, "v2/peers/*", true, DECISION_REVOKE, NULL},
    {API, HTTP_GET, "v2/audit", false, QUERY_AUDIT, &admin_view_audit},
    {API, HTTP_GET, "v2/status", false, QUERY_STATUS, &admin_view_status},
    {METRICS, HTTP_GET, "metrics", false, QUERY_METRICS, &admin_view_metrics},
    {METRICS, HTTP_GET, "healthz", false, QUERY_READY, &admin_view_alive},
    {METRICS, HTTP_GET, "readyz", false, QUERY_READY, &admin_view_ready},
};

static bool path_matches(const char *pattern, const struct http_request *request, const char **subject)
{
    size_t i = 0;
    *subject = "";
    for (const char *at = pattern; *at != '\0'; i++) {
        size_t len = strcspn(at, "/");
        if (i == request->n_segments)
            return false;
        if (len == 1 && at[0] == '*') {
            *subject = request->segments[i];
            if ((*subject)[0] == '\0')
                return false;
        } else if (strlen(request->segments[i]) != len || strncmp(request->segments[i], at, len) != 0) {
            return false;
        }
        at += len + (at[len] == '/');
    }
    return i == request->n_segments;
}

static void allow_add(char *allow, size_t cap, const char *method)
{
    size_t used = strlen(allow);
    (void)snprintf(allow + used, cap - used, "%s%s", used > 0 ? ", " : "", method);
}

static const struct admin_route *find(const struct http_request *request, enum admin_listener_kind kind,
                                      const char **subject, char *allow, size_t allow_cap)
{
    enum http_method method = request->method == HTTP_HEAD ? HTTP_GET : request->method;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (routes[i].kind != kind || !path_matches(routes[i].path, request, subject))
            continue;
        if (routes[i].method == method)
            return &routes[i];
        allow_add(allow, allow_cap,
                  routes[i].method == HTTP_GET ? "GET, HEAD"
                                               : (routes[i].method == HTTP_POST ? "POST" : "DELETE"));
    }
    return NULL;
}

static bool host_is_loopback(const char *host)
{
    /* HTTP/1.0 may leave it out; browsers never do. */
    return host[0] == '\0' || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == strlen(host));
}

/* A number of the query; false: it is not one. Absent: *out stays. */
static bool number_parameter(const struct http_request *request, const char *name, uint64_t max,
                             uint64_t *out)
{
    char text[24];
    bool malformed = false;
    if (!http_request_parameter(request, name, text, sizeof text, &malformed))
        return !malformed;
    if (text[0] == '\0' || strlen(text) > 19 || strspn(text, "0123456789") != strlen(text))
        return false;
    uint64_t value = strtoull(text, NULL, 10);
    if (value > max)
        return false;
    *out = value;
    return true;
}

static int fill_query(const struct http_request *request, struct admin_job *job, const char **why)
{
    bool malformed = false;
    job->limit = UINT64_MAX;
    if (job->route->what == QUERY_AUDIT) {
        job->limit = AUDIT_LIMIT_DEFAULT;
        *why = "after must be the number of a row";
        if (!number_parameter(request, "after", INT64_MAX, &job->after))
            return 400;
        *why = "limit must be a number from 1 to 10000";
        if (!number_parameter(request, "limit", AUDIT_LIMIT_MAX, &job->limit) || job->limit == 0)
            return 400;
    } else if (job->route->what == QUERY_APPS) {
        (void)http_request_parameter(request, "peer", job->filter, sizeof job->filter, &malformed);
        *why = "peer must be the name of one peer";
        if (malformed)
            return 400;
    }
    return 0;
}

static int fill_decision(const struct http_request *request, const char *subject, struct admin_job *job,
                         const char **why)
{
    uint8_t digest[FINGERPRINT_BYTES];
    if (request->from_page) {
        *why = "web pages may not change anything here: requests with an Origin are refused";
        return 403;
    }
    /* What is not a fingerprint is the key of no request. */
    if (job->route->what != DECISION_REVOKE && fingerprint_parse(subject, digest) != OK) {
        *why = "there is no request of that fingerprint; it has to be given whole: SHA256: and 43 characters";
        return 404;
    }
    if (strlen(subject) >= sizeof job->filter) {
        *why = "there is no peer of that name";
        return 404;
    }
    (void)snprintf(job->filter, sizeof job->filter, "%s", subject);
    return 0;
}

int admin_route_find(const struct http_request *request, enum admin_listener_kind kind, bool api_is_loopback,
                     struct admin_job *job, const char **why, char *allow, size_t allow_cap)
{
    const char *subject = "";
    allow[0] = '\0';
    if (kind == API && api_is_loopback && !host_is_loopback(request->host)) {
        *why = "the Host must be localhost, 127.0.0.1 or [::1] here; a proxy in front has to set it so";
        return 421;
    }
    job->route = find(request, kind, &subject, allow, allow_cap);
    if (job->route == NULL) {
        *why = allow[0] == '\0' ? "there is no such resource" : "this method is not allowed here";
        return allow[0] == '\0' ? 404 : 405;
    }
    allow[0] = '\0';
    (void)snprintf(job->token, sizeof job->token, "%s", request->token);
    return job->route->decides ? fill_decision(request, subject, job, why) : fill_query(request, job, why);
}
