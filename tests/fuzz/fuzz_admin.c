/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes on a connection of the admin API or the metrics port: heads are cut, parsed and routed as the
 * server does it, one after the other. The first byte chooses the port and whether it is on loopback. Aborts
 * when a request gets through that breaks what the rest of the role relies on.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/fingerprint.h"
#include "worker-net/admin.h"
#include "worker-net/http_upgrade_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool condition)
{
    if (!condition)
        abort();
}

static bool is_clean(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    }
    return true;
}

static void check_request(const struct http_request *request)
{
    expect(request->n_segments >= 1 && request->n_segments <= HTTP_SEGMENTS_MAX);
    for (size_t i = 0; i < request->n_segments; i++) {
        const char *segment = request->segments[i];
        expect(segment >= request->path && segment + strlen(segment) < request->path + sizeof request->path);
        expect(is_clean(segment));
    }
    expect(strlen(request->query) < sizeof request->query && is_clean(request->query));
    expect(strlen(request->host) < sizeof request->host && is_clean(request->host));
    expect(strlen(request->token) < sizeof request->token);
    expect(request->has_token == (request->token[0] != '\0'));
    expect(request->body <= HTTP_BODY_MAX);
}

static void check_route(const struct http_request *request, enum admin_listener_kind kind, bool loopback)
{
    struct admin_job job;
    const char *why = NULL;
    char allow[64];
    memset(&job, 0, sizeof job);
    int code = admin_route_find(request, kind, loopback, &job, &why, allow, sizeof allow);
    if (code != 0) {
        expect(why != NULL && (code == 405) == (allow[0] != '\0'));
        return;
    }
    uint8_t digest[FINGERPRINT_BYTES];
    expect(job.route != NULL && job.route->kind == kind);
    expect(strlen(job.filter) < sizeof job.filter && strcmp(job.token, request->token) == 0);
    if (!job.route->decides) {
        expect(request->method == HTTP_GET || request->method == HTTP_HEAD);
        expect(job.limit > 0 && job.route->view != NULL);
        return;
    }
    expect(request->method == HTTP_POST || request->method == HTTP_DELETE);
    expect(!request->from_page && kind == ADMIN_LISTENER_API && job.filter[0] != '\0');
    expect(job.route->what == DECISION_REVOKE || fingerprint_parse(job.filter, digest) == OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_request request;
    if (size == 0)
        return 0;
    enum admin_listener_kind kind = (data[0] & 1) != 0 ? ADMIN_LISTENER_METRICS : ADMIN_LISTENER_API;
    bool loopback = (data[0] & 2) != 0;
    const char *at = (const char *)data + 1;
    for (size_t left = size - 1; left > 0;) {
        size_t head = 0;
        const char *why = NULL;
        if (http_head_size(at, left, &head) != OK)
            return 0;
        expect(head >= 4 && head <= left && head <= HTTP_HEAD_MAX);
        int code = http_request_parse(at, head, &request, &why);
        if (code != 0) {
            expect(code >= 400 && code < 600 && why != NULL && !request.has_token);
            return 0;
        }
        check_request(&request);
        check_route(&request, kind, loopback);
        size_t skip = head + request.body;
        if (skip > left)
            return 0;
        at += skip;
        left -= skip;
    }
    return 0;
}
