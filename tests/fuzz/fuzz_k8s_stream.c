/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a list or watch of the API server's, in pieces of any size: what comes out must be what comes
 * out of the whole, memory must stay within the limit, and every object is read as a Service and as a
 * mirrored one.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "worker-k8s/exposure.h"
#include "worker-k8s/render.h"
#include "worker-k8s/splitter.h"

#define LIMIT 512u

struct result {
    uint64_t sum; /* of every object's bytes, kinds and lengths */
    unsigned objects;
};

static void read_object(const char *text, size_t len)
{
    static const struct render_context context = {.namespace = "n", .instance = "i"};
    json_t *json = json_loadb(text, len, 0, NULL);
    struct service service;
    struct exposure exposure;
    char digest[17];

    if (json == NULL)
        return;
    const json_t *inner = json_object_get(json, "object");
    const json_t *object = inner != NULL ? inner : json;
    if (service_parse(object, &service) == OK) {
        if (exposure_derive(&service, &exposure) == OK) {
            for (size_t i = 0; i < exposure.n_apps; i++)
                if (exposure.apps[i].name[0] == '\0' || exposure.apps[i].port == 0)
                    abort();
            exposure_clear(&exposure);
        }
        service_clear(&service);
    }
    (void)render_is_ours(&context, object);
    render_digest(object, digest);
    if (strlen(digest) != 16)
        abort();
    json_decref(json);
}

static enum status take(void *arg, enum split_kind kind, const char *text, size_t len)
{
    struct result *r = arg;

    if (len > LIMIT)
        abort();
    r->objects++;
    r->sum = r->sum * 31 + (uint64_t)kind * 7 + len;
    for (size_t i = 0; i < len; i++)
        r->sum = r->sum * 131 + (unsigned char)text[i];
    read_object(text, len);
    return OK;
}

static enum status run(bool list, const uint8_t *data, size_t size, size_t step, struct result *r)
{
    struct splitter s;
    enum status status = OK;

    *r = (struct result){0};
    if (list)
        splitter_init_list(&s, LIMIT, take, r);
    else
        splitter_init_lines(&s, LIMIT, take, r);
    for (size_t at = 0; status == OK && at < size; at += step)
        status = splitter_feed(&s, (const char *)data + at, size - at < step ? size - at : step);
    if (status == OK)
        status = splitter_end(&s);
    splitter_clear(&s);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct result whole, pieces;

    if (size < 2)
        return 0;
    bool list = (data[0] & 1) != 0;
    size_t step = 1u + data[1] % 61u;
    enum status a = run(list, data + 2, size - 2, size, &whole);
    enum status b = run(list, data + 2, size - 2, step, &pieces);
    /* A list's metadata that is too long may be noticed at another byte; everything else must be the same. */
    if (a != ERR_SIZE && b != ERR_SIZE &&
        (a != b || whole.sum != pieces.sum || whole.objects != pieces.objects))
        abort();
    return 0;
}
