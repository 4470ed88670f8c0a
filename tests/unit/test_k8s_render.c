/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON of mirrored objects: label syntax of selectors, whose an object is, and when two objects are alike in
 * all that matters. Whether a real API server takes them is tests/kubernetes' business.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker-k8s/render.h"

static struct render_context context(void)
{
    struct render_context c = {.namespace = "hub", .instance = "blue"};
    const char *why;
    assert_int_equal(render_selector_parse("application=wormhole", &c.selector, &why), OK);
    return c;
}

static void test_selectors(void **state)
{
    static const char *const bad[] = {"",      "a",    "=b",   "a=b,",    "a=b,a=c",
                                      "a=b c", "-a=b", "a=-b", "x/y/z=b", "A/b=c"};
    json_t *selector = NULL;
    const char *why = NULL;
    (void)state;
    assert_int_equal(render_selector_parse("app=web,example.com/tier=Front_1.x,empty=", &selector, &why), OK);
    assert_string_equal(json_string_value(json_object_get(selector, "example.com/tier")), "Front_1.x");
    assert_string_equal(json_string_value(json_object_get(selector, "empty")), "");
    assert_int_equal(json_object_size(selector), 3);
    json_decref(selector);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        why = NULL;
        assert_int_equal(render_selector_parse(bad[i], &selector, &why), ERR_FORMAT);
        assert_non_null(why);
    }
}

static void test_app_protocols(void **state)
{
    (void)state;
    assert_true(render_app_protocol_ok("http"));
    assert_true(render_app_protocol_ok("kubernetes.io/h2c"));
    assert_false(render_app_protocol_ok(""));
    assert_false(render_app_protocol_ok("a b"));
    assert_false(render_app_protocol_ok("/x"));
    assert_false(render_app_protocol_ok("x/"));
    assert_false(render_app_protocol_ok("\n"));
}

static void digest_of(const struct render_context *c, const struct render_app *app, char out[17])
{
    json_t *json = render_service(c, app, "edge1-web");
    render_digest(json, out);
    json_decref(json);
}

static void test_digest(void **state)
{
    struct render_context c = context();
    struct render_app app = {.peer = "edge1", .app = "web", .port = 80, .target_port = 30007};
    char first[17], other[17];
    (void)state;
    digest_of(&c, &app, first);

    /* What the server adds, and what others put there, changes nothing. */
    json_t *json = render_service(&c, &app, "edge1-web");
    json_t *meta = json_object_get(json, "metadata"), *spec = json_object_get(json, "spec");
    json_object_set_new(meta, "uid", json_string("u"));
    json_object_set_new(meta, "resourceVersion", json_string("7"));
    json_object_set_new(json_object_get(meta, "labels"), "team", json_string("x"));
    json_object_set_new(spec, "clusterIP", json_string("10.0.0.1"));
    json_object_set_new(json_array_get(json_object_get(spec, "ports"), 0), "nodePort", json_integer(0));
    render_digest(json, other);
    assert_string_equal(first, other);
    /* A selector of somebody else's making does. */
    json_object_set_new(json_object_get(spec, "selector"), "more", json_string("x"));
    render_digest(json, other);
    assert_string_not_equal(first, other);
    json_decref(json);

    app.target_port = 30008;
    digest_of(&c, &app, other);
    assert_string_not_equal(first, other);
    app.target_port = 30007;
    memcpy(app.app_protocol, "http", 5);
    digest_of(&c, &app, other);
    assert_string_not_equal(first, other);
    memcpy(app.app_protocol, "no good", 8); /* not passed on: as if there were none */
    digest_of(&c, &app, other);
    assert_string_equal(first, other);
    memcpy(c.owner_uid, "uid-1", 6);
    memcpy(c.owner_name, "own", 4);
    digest_of(&c, &app, other);
    assert_string_not_equal(first, other);
    json_decref(c.selector);
}

static void test_whose(void **state)
{
    struct render_context c = context();
    struct render_app app = {.peer = "edge1", .app = "web", .port = 80, .target_port = 30007};
    (void)state;
    json_t *json = render_service(&c, &app, "edge1-web");
    json_t *labels = json_object_get(json_object_get(json, "metadata"), "labels");
    assert_true(render_is_ours(&c, json));
    json_object_set_new(labels, LABEL_INSTANCE, json_string("green"));
    assert_false(render_is_ours(&c, json));
    json_object_set_new(labels, LABEL_INSTANCE, json_string("blue"));
    json_object_set_new(labels, LABEL_MANAGED_BY, json_string("Helm"));
    assert_false(render_is_ours(&c, json));
    json_decref(json);
    json = json_pack("{s:{}}", "metadata");
    assert_false(render_is_ours(&c, json));
    json_decref(json);
    json_decref(c.selector);
}

static void test_patch(void **state)
{
    struct render_context c = context();
    struct render_app app = {.peer = "edge1", .app = "web", .port = 80, .target_port = 30007};
    (void)state;
    json_t *desired = render_service(&c, &app, "edge1-web");
    json_t *patch = render_patch(desired, "the-uid", "42");
    json_t *meta = json_object_get(patch, "metadata");
    assert_string_equal(json_string_value(json_object_get(meta, "uid")), "the-uid");
    assert_string_equal(json_string_value(json_object_get(meta, "resourceVersion")), "42");
    const json_t *ports = json_object_get(json_object_get(patch, "spec"), "ports");
    assert_int_equal(json_array_size(ports), 2); /* the order to replace, and the one port */
    assert_null(json_object_get(json_object_get(desired, "metadata"), "uid")); /* the original is untouched */
    json_decref(patch);
    json_decref(desired);
    desired = render_policy(&c, &app, "edge1-web");
    patch = render_patch(desired, "u", "1");
    assert_string_equal(json_string_value(json_object_get(json_object_get(patch, "spec"), "$patch")),
                        "replace");
    json_decref(patch);
    json_decref(desired);
    json_decref(c.selector);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_selectors), cmocka_unit_test(test_app_protocols), cmocka_unit_test(test_digest),
        cmocka_unit_test(test_whose),     cmocka_unit_test(test_patch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
