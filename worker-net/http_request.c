/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See http_request.h. What two parsers could read differently (two lengths, two hosts, a chunked body) is
 * refused, so that no proxy in front can be made to see another request than we do.
 */
#include "worker-net/http_request.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "worker-net/http_upgrade_head.h"

static int refuse(const char **why, int status, const char *phrase)
{
    *why = phrase;
    return status;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Percent-decodes len bytes into out (at least len + 1). False: malformed, or a control character comes out.
 */
static bool decode(const char *in, size_t len, char *out, size_t *out_len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = in[i];
        if (c == '%') {
            if (len - i < 3 || hex_digit(in[i + 1]) < 0 || hex_digit(in[i + 2]) < 0)
                return false;
            c = (char)(hex_digit(in[i + 1]) * 16 + hex_digit(in[i + 2]));
            i += 2;
        }
        if ((unsigned char)c < 0x20 || c == 0x7f)
            return false;
        out[n++] = c;
    }
    out[n] = '\0';
    *out_len = n;
    return true;
}

static enum http_method method_of(struct http_text text)
{
    static const struct {
        const char *name;
        enum http_method method;
    } methods[] = {{"GET", HTTP_GET},
                   {"HEAD", HTTP_HEAD},
                   {"POST", HTTP_POST},
                   {"PUT", HTTP_PUT},
                   {"DELETE", HTTP_DELETE}};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (http_text_is(text, methods[i].name))
            return methods[i].method;
    }
    return HTTP_OTHER;
}

/* ---- target ---- */

/* Cut at '/' before decoding, so that an encoded slash stays inside its segment. */
static int parse_path(struct http_text path, struct http_request *out, const char **why)
{
    char *to = out->path;
    const char *at = path.at + 1;
    const char *end = path.at + path.len;
    for (;;) {
        const char *slash = memchr(at, '/', (size_t)(end - at));
        const char *stop = slash == NULL ? end : slash;
        size_t len = 0;
        if (out->n_segments == HTTP_SEGMENTS_MAX)
            return refuse(why, 404, "there is no such resource");
        if (!decode(at, (size_t)(stop - at), to, &len))
            return refuse(why, 400, "the path is not properly encoded");
        out->segments[out->n_segments++] = to;
        to += len + 1;
        if (slash == NULL)
            return 0;
        at = slash + 1;
    }
}

/* "host", "host:port" or "[v6]:port" to lower case without the rest. False: it is none of these. */
static bool parse_host(struct http_text text, char *out, size_t cap)
{
    size_t len = text.len;
    if (len > 0 && text.at[0] == '[') {
        const char *close = memchr(text.at, ']', len);
        if (close == NULL)
            return false;
        size_t rest = len - (size_t)(close - text.at) - 1;
        if (rest > 0 && close[1] != ':')
            return false;
        text.at++;
        len = (size_t)(close - text.at);
    } else {
        const char *colon = memchr(text.at, ':', len);
        if (colon != NULL)
            len = (size_t)(colon - text.at);
    }
    if (len >= cap)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c <= 0x20 || c >= 0x7f || strchr("/?#@\\", c) != NULL)
            return false;
        out[i] = (char)tolower(c);
    }
    out[len] = '\0';
    return true;
}

/* "/path?query", or "http://host/path?query" (RFC 9112 section 3.2.2), whose host counts instead of the
 * field's. */
static int parse_target(struct http_text target, struct http_request *out, bool *absolute, const char **why)
{
    *absolute = false;
    if (target.len > HTTP_TARGET_MAX)
        return refuse(why, 414, "the request's target is too long");
    if (target.len >= 7 && strncasecmp(target.at, "http://", 7) == 0) {
        const char *start = target.at + 7;
        const char *end = target.at + target.len;
        const char *slash = memchr(start, '/', (size_t)(end - start));
        if (slash == NULL ||
            !parse_host((struct http_text){start, (size_t)(slash - start)}, out->host, sizeof out->host))
            return refuse(why, 400, "the request's target is malformed");
        *absolute = true;
        target = (struct http_text){slash, (size_t)(end - slash)};
    }
    if (target.at[0] != '/' || memchr(target.at, '#', target.len) != NULL)
        return refuse(why, 400, "the request's target is malformed");
    const char *mark = memchr(target.at, '?', target.len);
    struct http_text path = target;
    if (mark != NULL) {
        path.len = (size_t)(mark - target.at);
        size_t len = target.len - path.len - 1;
        memcpy(out->query, mark + 1, len);
        out->query[len] = '\0';
    }
    return parse_path(path, out, why);
}

/* ---- fields ---- */

static int parse_body(const struct http_head *head, struct http_request *out, const char **why)
{
    struct http_text value;
    size_t lengths = http_head_field(head, "Content-Length", &value);
    struct http_text ignored;
    if (http_head_field(head, "Transfer-Encoding", &ignored) > 0)
        return refuse(why, lengths > 0 ? 400 : 411, "a body needs a Content-Length");
    if (lengths == 0)
        return 0;
    if (lengths > 1 || value.len == 0)
        return refuse(why, 400, "the Content-Length is malformed");
    size_t body = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.at[i] < '0' || value.at[i] > '9')
            return refuse(why, 400, "the Content-Length is malformed");
        body = body * 10 + (size_t)(value.at[i] - '0');
        if (body > HTTP_BODY_MAX)
            return refuse(why, 413, "the body is too large: no request here needs one");
    }
    out->body = body;
    return 0;
}

static int parse_host_field(const struct http_head *head, struct http_request *out, bool absolute,
                            const char **why)
{
    char host[sizeof out->host];
    struct http_text value;
    size_t n = http_head_field(head, "Host", &value);
    if (n > 1 || (n == 0 && !out->http_1_0))
        return refuse(why, 400, "exactly one Host field is needed");
    if (n == 1 && !parse_host(value, host, sizeof host))
        return refuse(why, 400, "the Host field is malformed");
    if (n == 1 && !absolute)
        memcpy(out->host, host, sizeof host);
    return 0;
}

static int parse_authorization(const struct http_head *head, struct http_request *out, const char **why)
{
    struct http_text value;
    size_t n = http_head_field(head, "Authorization", &value);
    if (n == 0)
        return 0;
    if (n > 1)
        return refuse(why, 400, "several Authorization fields");
    if (value.len < 7 || strncasecmp(value.at, "Bearer ", 7) != 0)
        return refuse(why, 401, "only Authorization: Bearer TOKEN is understood");
    value.at += 7;
    value.len -= 7;
    while (value.len > 0 && value.at[0] == ' ') {
        value.at++;
        value.len--;
    }
    if (value.len == 0 || value.len > HTTP_TOKEN_MAX)
        return refuse(why, 401, "the token is wrong");
    memcpy(out->token, value.at, value.len);
    out->token[value.len] = '\0';
    out->has_token = true;
    return 0;
}

static void parse_hints(const struct http_head *head, struct http_request *out)
{
    struct http_text value;
    out->keep_alive = out->http_1_0 ? http_head_list_has(head, "Connection", "keep-alive")
                                    : !http_head_list_has(head, "Connection", "close");
    out->expect_continue = !out->http_1_0 && http_head_list_has(head, "Expect", "100-continue");
    out->from_page = http_head_field(head, "Origin", &value) > 0;
    if (http_head_field(head, "Sec-Fetch-Site", &value) > 0 && !http_text_is_nocase(value, "none") &&
        !http_text_is_nocase(value, "same-origin"))
        out->from_page = true;
}

int http_request_parse(const char *head_text, size_t size, struct http_request *out, const char **why)
{
    struct http_head head;
    bool absolute = false;
    memset(out, 0, sizeof *out);
    enum status status = http_head_parse_any_request(head_text, size, &head);
    if (status == ERR_SIZE)
        return refuse(why, 431, "too many header fields");
    if (status != OK)
        return refuse(why, 400, "this is not an HTTP request");
    out->http_1_0 = http_text_is(head.start[2], "HTTP/1.0");
    if (!out->http_1_0 && !http_text_is(head.start[2], "HTTP/1.1"))
        return refuse(why, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    out->method = method_of(head.start[0]);
    int code = parse_target(head.start[1], out, &absolute, why);
    if (code == 0)
        code = parse_host_field(&head, out, absolute, why);
    if (code == 0)
        code = parse_body(&head, out, why);
    if (code == 0)
        code = parse_authorization(&head, out, why);
    if (code == 0)
        parse_hints(&head, out);
    else
        http_request_clear(out);
    return code;
}

bool http_request_parameter(const struct http_request *request, const char *name, char *out, size_t cap,
                            bool *malformed)
{
    char value[HTTP_TARGET_MAX + 1];
    size_t name_len = strlen(name);
    size_t found = 0;
    *malformed = false;
    for (const char *at = request->query; *at != '\0';) {
        size_t len = strcspn(at, "&");
        if (len > name_len && strncmp(at, name, name_len) == 0 && at[name_len] == '=') {
            size_t n = 0;
            *malformed = found > 0 || !decode(at + name_len + 1, len - name_len - 1, value, &n) || n >= cap;
            if (*malformed)
                return false;
            found++;
        }
        at += len + (at[len] == '&');
    }
    if (found == 0)
        return false;
    memcpy(out, value, strlen(value) + 1);
    return true;
}

void http_request_clear(struct http_request *request)
{
    explicit_bzero(request->token, sizeof request->token);
    request->has_token = false;
}
