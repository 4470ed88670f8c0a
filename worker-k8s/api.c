/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API server's HTTP client (api.h). Nothing in here knows a resource or a verb. The token is put into a
 * header per call and wiped with it. Callers' functions may cancel any call, their own included: curl's
 * handles are therefore only taken down from reap(), outside of curl's callbacks.
 */
#include "worker-k8s/api.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/worker.h"
#include "worker-k8s/timer.h"

#define CONNECT_TIMEOUT_MS 10000L
#define TOKEN_REREAD_S 60
#define ERROR_BODY_MAX (16u << 10)

struct api {
    struct event_base *base;
    struct cluster *cluster;
    CURLM *multi;
    struct event *timer, *token_timer;
    struct api_call *calls; /* list */
    struct api_counters counters;
    struct curl_slist *resolve;
    char *origin; /* "https://host:port/base" */
    bool inside;  /* curl is running: handles must not be touched */
    bool token_complained;
};

struct api_call {
    struct api *api;
    struct api_call *next;
    CURL *easy;
    struct api_request request; /* path, body: own copies */
    struct curl_slist *headers;
    char *body; /* of the response, when it is kept */
    size_t body_len, body_cap;
    bool cancelled, stopped, retried, too_long;
    bool pending; /* sent from within curl: added to it as soon as curl is left */
    char error[CURL_ERROR_SIZE];
};

/* ---- libevent under curl -------------------------------------------------------------------------- */

static void reap(struct api *api);

static void on_socket_event(int fd, short what, void *arg)
{
    struct api *api = arg;
    int running = 0;
    int mask = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
    api->inside = true;
    curl_multi_socket_action(api->multi, fd, mask, &running);
    api->inside = false;
    reap(api);
}

static void on_timer(int fd, short what, void *arg)
{
    struct api *api = arg;
    int running = 0;
    (void)fd;
    (void)what;
    api->inside = true;
    curl_multi_socket_action(api->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    api->inside = false;
    reap(api);
}

static int want_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct api *api = arg;
    (void)multi;
    if (timeout_ms < 0) {
        evtimer_del(api->timer);
    } else {
        timer_set(api->timer, (uint32_t)timeout_ms);
    }
    return 0;
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct api *api = arg;
    struct event *event = socket_arg;
    (void)easy;
    if (event != NULL) {
        event_free(event);
        curl_multi_assign(api->multi, fd, NULL);
    }
    if (what == CURL_POLL_REMOVE) {
        return 0;
    }
    short mask =
        (short)(EV_PERSIST | (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0));
    event = event_new(api->base, fd, mask, on_socket_event, api);
    if (event == NULL || event_add(event, NULL) != 0) {
        return -1;
    }
    curl_multi_assign(api->multi, fd, event);
    return 0;
}

/* ---- a call's life ---------------------------------------------------------------------------------- */

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct api_call *call = arg;
    size_t len = size * count;
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (call->cancelled) {
        return 0;
    }
    if (call->request.data != NULL && status / 100 == 2) {
        if (!call->request.data(call->request.arg, bytes, len)) {
            call->stopped = true;
            return 0;
        }
        return call->cancelled ? 0 : len;
    }
    size_t limit = status / 100 == 2 ? API_BODY_MAX : ERROR_BODY_MAX;
    if (call->body_len + len > limit) {
        call->too_long = true;
        return status / 100 == 2 ? 0 : len; /* of a long error the beginning will do */
    }
    if (call->body_len + len + 1 > call->body_cap) {
        size_t cap = call->body_cap == 0 ? 4096 : call->body_cap;
        while (cap < call->body_len + len + 1) {
            cap *= 2;
        }
        char *bigger = realloc(call->body, cap);
        if (bigger == NULL) {
            return 0;
        }
        call->body = bigger;
        call->body_cap = cap;
    }
    memcpy(call->body + call->body_len, bytes, len);
    call->body_len += len;
    call->body[call->body_len] = '\0';
    return len;
}

/* The empty line that ends a response's headers: a watch is open now, even if nothing ever happens on it. */
static size_t on_header(char *bytes, size_t size, size_t count, void *arg)
{
    struct api_call *call = arg;
    size_t len = size * count;
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (len <= 2 && (bytes[0] == '\r' || bytes[0] == '\n') && status / 100 == 2 && !call->cancelled &&
        call->request.opened != NULL) {
        call->request.opened(call->request.arg);
    }
    return len;
}

static void wipe_headers(struct curl_slist *list)
{
    for (struct curl_slist *h = list; h != NULL; h = h->next) {
        explicit_bzero(h->data, strlen(h->data));
    }
    curl_slist_free_all(list);
}

static void call_free(struct api_call *call)
{
    if (call->easy != NULL) {
        curl_easy_cleanup(call->easy);
    }
    wipe_headers(call->headers);
    free((char *)call->request.path);
    free((char *)call->request.body);
    free(call->body);
    free(call);
}

static void unlink_call(struct api_call *call)
{
    struct api_call **p = &call->api->calls;
    while (*p != NULL && *p != call) {
        p = &(*p)->next;
    }
    if (*p == call) {
        *p = call->next;
    }
}

static bool add_header(struct api_call *call, const char *text)
{
    struct curl_slist *list = curl_slist_append(call->headers, text);
    if (list != NULL) {
        call->headers = list;
    }
    return list != NULL;
}

static bool make_headers(struct api_call *call)
{
    const struct cluster *c = call->api->cluster;
    wipe_headers(call->headers);
    call->headers = NULL;
    bool ok = add_header(call, "Accept: application/json") && add_header(call, "Expect:");
    if (ok && call->request.body != NULL) {
        char type[128];
        snprintf(type, sizeof type, "Content-Type: %s", call->request.content_type);
        ok = add_header(call, type);
    }
    if (ok && c->token.len > 0) {
        char *line = malloc(c->token.len + 32);
        ok = line != NULL;
        if (ok) {
            int n = snprintf(line, c->token.len + 32, "Authorization: Bearer %s", c->token.data);
            ok = add_header(call, line);
            explicit_bzero(line, (size_t)n);
        }
        free(line);
    }
    curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
    return ok;
}

static void set_trust(struct api_call *call)
{
    const struct cluster *c = call->api->cluster;
    struct curl_blob ca = {c->ca.data, c->ca.len, CURL_BLOB_NOCOPY};
    struct curl_blob certificate = {c->certificate.data, c->certificate.len, CURL_BLOB_NOCOPY};
    struct curl_blob key = {c->key.data, c->key.len, CURL_BLOB_NOCOPY};
    CURL *e = call->easy;
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    if (ca.len > 0) {
        curl_easy_setopt(e, CURLOPT_CAINFO_BLOB, &ca);
    }
    if (key.len > 0) {
        curl_easy_setopt(e, CURLOPT_SSLCERT_BLOB, &certificate);
        curl_easy_setopt(e, CURLOPT_SSLKEY_BLOB, &key);
    }
}

static bool prepare(struct api_call *call)
{
    CURL *e = call->easy;
    char *url = NULL;
    if (asprintf(&url, "%s%s", call->api->origin, call->request.path) < 0) {
        return false;
    }
    curl_easy_setopt(e, CURLOPT_URL, url);
    free(url);
    curl_easy_setopt(e, CURLOPT_PRIVATE, call);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_USERAGENT, "wormhole-k8s/" WORMHOLE_VERSION);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)call->request.timeout_ms);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, 30L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPINTVL, 15L);
    curl_easy_setopt(e, CURLOPT_RESOLVE, call->api->resolve);
    curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, call->request.method);
    if (call->request.body != NULL) {
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->request.body_len);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, call->request.body);
    }
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, call);
    set_trust(call);
    return make_headers(call);
}

struct api_call *api_send(struct api *api, const struct api_request *request)
{
    struct api_call *call = calloc(1, sizeof *call);
    if (call == NULL) {
        return NULL;
    }
    call->api = api;
    call->request = *request;
    call->request.path = strdup(request->path);
    call->request.body = NULL;
    if (request->body != NULL) {
        call->request.body = strndup(request->body, request->body_len);
    }
    call->easy = curl_easy_init();
    bool ok = call->request.path != NULL && call->easy != NULL &&
              (request->body == NULL || call->request.body != NULL) && prepare(call);
    call->pending = api->inside;
    if (!ok || (!call->pending && curl_multi_add_handle(api->multi, call->easy) != CURLM_OK)) {
        call_free(call);
        return NULL;
    }
    call->next = api->calls;
    api->calls = call;
    api->counters.calls++;
    return call;
}

void api_cancel(struct api_call *call)
{
    if (call == NULL) {
        return;
    }
    call->cancelled = true;
    if (!call->api->inside) {
        curl_multi_remove_handle(call->api->multi, call->easy);
        unlink_call(call);
        call_free(call);
    }
}

/* ---- how a call ended --------------------------------------------------------------------------------- */

static enum api_end end_of(const struct api_call *call, CURLcode code)
{
    switch (code) {
    case CURLE_OK: return API_DONE;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST: return API_CONNECT;
    case CURLE_OPERATION_TIMEDOUT: return API_TIMEOUT;
    case CURLE_WRITE_ERROR: return call->stopped || call->too_long ? API_STOPPED : API_CUT;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_ISSUER_ERROR: return API_TLS;
    default: return API_CUT;
    }
}

/* The "message" of a Status object, or the first line of plain text; what the server says about an error. */
static void error_text(struct api_call *call, long status, char *out, size_t cap)
{
    json_t *json = call->body != NULL ? json_loadb(call->body, call->body_len, 0, NULL) : NULL;
    const json_t *message = json_object_get(json, "message");
    if (json_is_string(message)) {
        snprintf(out, cap, "HTTP %ld: %.200s", status, json_string_value(message));
    } else if (call->body != NULL && call->body_len > 0 && json == NULL) {
        snprintf(out, cap, "HTTP %ld: %.*s", status, (int)strcspn(call->body, "\r\n") % 200, call->body);
    } else {
        snprintf(out, cap, "HTTP %ld", status);
    }
    json_decref(json);
}

/* New credentials may help once: true when the call runs again. */
static bool try_again(struct api_call *call, enum api_end end, long status)
{
    struct api *api = call->api;
    const char *problem = NULL;
    bool fresh = false;
    if (end == API_DONE && status == 401) {
        fresh = cluster_reload_token(api->cluster, &problem);
    } else if (end == API_TLS) {
        fresh = cluster_reload_ca(api->cluster, &problem);
        set_trust(call);
    }
    if (!fresh || call->retried) {
        return false;
    }
    call->retried = true;
    call->body_len = 0;
    api->counters.calls++;
    return make_headers(call) && curl_multi_add_handle(api->multi, call->easy) == CURLM_OK;
}

static void finish(struct api_call *call, CURLcode code)
{
    struct api *api = call->api;
    struct api_result result = {.end = end_of(call, code)};
    curl_off_t retry_after = 0;
    char text[256] = "";
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &result.status);
    curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &retry_after);
    curl_multi_remove_handle(api->multi, call->easy);
    if (!call->cancelled && try_again(call, result.end, result.status)) {
        return;
    }
    unlink_call(call);
    if (result.status != 0) {
        api->counters.heard_ms = clock_mono_ms();
    }
    if (!call->cancelled) {
        if (result.end != API_DONE || result.status >= 400) {
            api->counters.errors++;
        }
        if (result.end == API_DONE && result.status >= 400) {
            error_text(call, result.status, text, sizeof text);
        } else if (result.end != API_DONE) {
            snprintf(text, sizeof text, "%.200s",
                     call->too_long           ? "the answer is too long"
                     : call->error[0] != '\0' ? call->error
                                              : curl_easy_strerror(code));
        }
        result.text = text;
        result.retry_after_ms = retry_after > 0 && retry_after < 3600 ? (uint32_t)retry_after * 1000 : 0;
        call->request.done(call->request.arg, &result, call->body, call->body_len);
    }
    call_free(call);
}

/* After curl ran: ends what has ended, takes down what was cancelled and begins what was asked for meanwhile.
 */
static void reap(struct api *api)
{
    int left = 0;
    for (CURLMsg *m; (m = curl_multi_info_read(api->multi, &left)) != NULL;) {
        if (m->msg == CURLMSG_DONE) {
            struct api_call *call = NULL;
            CURLcode code = m->data.result; /* m dies with the handle's removal */
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&call);
            finish(call, code);
        }
    }
    for (struct api_call *call = api->calls, *next; call != NULL; call = next) {
        next = call->next;
        if (call->cancelled) {
            api_cancel(call);
        } else if (call->pending) {
            call->pending = false;
            curl_multi_add_handle(api->multi, call->easy);
        }
    }
}

/* ---- the client ------------------------------------------------------------------------------------------
 */

static void on_token_timer(int fd, short what, void *arg)
{
    struct api *api = arg;
    const char *problem = NULL;
    (void)fd;
    (void)what;
    if (cluster_reload_token(api->cluster, &problem)) {
        log_debug("the API token was renewed");
    }
    if (problem != NULL && !api->token_complained) {
        log_warn("token file %s: %s; the token read before stays in use", api->cluster->token_file.path,
                 problem);
    }
    api->token_complained = problem != NULL;
}

static bool is_numeric(const char *host)
{
    unsigned char buf[16];
    return inet_pton(AF_INET, host, buf) == 1 || inet_pton(AF_INET6, host, buf) == 1;
}

/* The name in URLs, and where it leads: what TLS verifies is this name, whatever the addresses are. */
static bool make_origin(struct api *api)
{
    const struct cluster *c = api->cluster;
    const char *host = c->tls_server_name != NULL ? c->tls_server_name : c->host;
    bool v6 = strchr(host, ':') != NULL;
    if (asprintf(&api->origin, "https://%s%s%s:%u%s", v6 ? "[" : "", host, v6 ? "]" : "", c->port,
                 c->base_path) < 0) {
        api->origin = NULL;
        return false;
    }
    if (is_numeric(host)) {
        return true;
    }
    char entry[1024];
    int n = snprintf(entry, sizeof entry, "%s:%u:", host, c->port);
    for (size_t i = 0; i < c->n_addresses && n > 0 && (size_t)n < sizeof entry; i++) {
        bool wide = strchr(c->addresses[i], ':') != NULL;
        n += snprintf(entry + n, sizeof entry - (size_t)n, "%s%s%s%s", i > 0 ? "," : "", wide ? "[" : "",
                      c->addresses[i], wide ? "]" : "");
    }
    api->resolve = curl_slist_append(NULL, entry);
    return api->resolve != NULL;
}

struct api *api_new(struct event_base *base, struct cluster *cluster)
{
    struct api *api = calloc(1, sizeof *api);
    if (api == NULL) {
        return NULL;
    }
    api->base = base;
    api->cluster = cluster;
    api->multi = curl_multi_init();
    api->timer = evtimer_new(base, on_timer, api);
    api->token_timer = event_new(base, -1, EV_PERSIST, on_token_timer, api);
    if (api->multi == NULL || api->timer == NULL || api->token_timer == NULL || !make_origin(api)) {
        api_free(api);
        return NULL;
    }
    curl_multi_setopt(api->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
    curl_multi_setopt(api->multi, CURLMOPT_SOCKETDATA, api);
    curl_multi_setopt(api->multi, CURLMOPT_TIMERFUNCTION, want_timer);
    curl_multi_setopt(api->multi, CURLMOPT_TIMERDATA, api);
    curl_multi_setopt(api->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    curl_multi_setopt(api->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)API_CONNECTIONS_MAX);
    if (cluster->token_file.path != NULL) {
        timer_set(api->token_timer, TOKEN_REREAD_S * 1000);
    }
    return api;
}

void api_free(struct api *api)
{
    if (api == NULL) {
        return;
    }
    for (struct api_call *call = api->calls, *next; call != NULL; call = next) {
        next = call->next;
        curl_multi_remove_handle(api->multi, call->easy);
        call_free(call);
    }
    if (api->multi != NULL) {
        curl_multi_cleanup(api->multi);
    }
    if (api->timer != NULL) {
        event_free(api->timer);
    }
    if (api->token_timer != NULL) {
        event_free(api->token_timer);
    }
    curl_slist_free_all(api->resolve);
    free(api->origin);
    free(api);
}

bool api_host_is_name(const struct api *api)
{
    return !is_numeric(api->cluster->host);
}

struct api_counters api_counters(const struct api *api)
{
    return api->counters;
}

enum status api_preload(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return ERR_IO;
    }
    CURL *easy = curl_easy_init(); /* loads what the first handle loads */
    curl_easy_cleanup(easy);
    return easy != NULL ? OK : ERR_NOMEM;
}
