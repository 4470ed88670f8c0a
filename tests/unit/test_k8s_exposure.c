/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a Service's JSON to apps and problems: annotations with all their meanings, ports, addresses, and JSON
 * that is not what a Service should be. The same on a real API server is tests/kubernetes' business.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker-k8s/exposure.h"

#define PORT_HTTP "{\"name\":\"http\",\"port\":80}"
#define PORT_HTTPS "{\"name\":\"https\",\"port\":443,\"protocol\":\"TCP\"}"
#define PORT_DNS "{\"name\":\"dns\",\"port\":53,\"protocol\":\"UDP\"}"
#define PORT_BARE "{\"port\":9000,\"targetPort\":19000}"

/* "name=host:port …" of the apps, then "!Reason" of the problems; "?" when it is no Service. */
static const char *derive(const char *annotations, const char *spec)
{
    static char out[1024];
    char text[2048];
    struct service service;
    struct exposure exposure;
    snprintf(text, sizeof text,
             "{\"metadata\":{\"namespace\":\"shop\",\"name\":\"web\",\"uid\":\"u\",\"annotations\":{%s}},"
             "\"spec\":%s}",
             annotations, spec);
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    out[0] = '\0';
    if (service_parse(json, &service) != OK) {
        json_decref(json);
        return "?";
    }
    assert_int_equal(exposure_derive(&service, &exposure), OK);
    for (size_t i = 0; i < exposure.n_apps; i++) {
        size_t at = strlen(out);
        snprintf(out + at, sizeof out - at, "%s%s=%s:%u", at > 0 ? " " : "", exposure.apps[i].name,
                 exposure.apps[i].host, exposure.apps[i].port);
    }
    for (size_t i = 0; i < exposure.n_problems; i++) {
        size_t at = strlen(out);
        snprintf(out + at, sizeof out - at, "%s!%s", at > 0 ? " " : "", exposure.problems[i].reason);
        assert_true(strlen(exposure.problems[i].text) > 20);
    }
    exposure_clear(&exposure);
    service_clear(&service);
    json_decref(json);
    return out;
}

#define SPEC(ports) "{\"clusterIP\":\"10.0.0.7\",\"ports\":[" ports "]}"
#define YES "\"wormhole.glothriel.github.com/exposed\":\"yes\""
#define WITH(key, value) YES ",\"wormhole.glothriel.github.com/" key "\":\"" value "\""

static void test_which_values_expose(void **state)
{
    static const char *const no[] = {"no", "false", "0", "", "Yes", "TRUE", " yes", "yes ", "y", "on"};
    char annotation[128];
    (void)state;
    assert_string_equal(derive(YES, SPEC(PORT_HTTP)), "shop-web=10.0.0.7:80");
    assert_string_equal(derive("\"wormhole.glothriel.github.com/exposed\":\"1\"", SPEC(PORT_HTTP)),
                        "shop-web=10.0.0.7:80");
    assert_string_equal(derive("\"wormhole.glothriel.github.com/exposed\":\"true\"", SPEC(PORT_HTTP)),
                        "shop-web=10.0.0.7:80");
    assert_string_equal(derive("", SPEC(PORT_HTTP)), "");
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
        snprintf(annotation, sizeof annotation, "\"wormhole.glothriel.github.com/exposed\":\"%s\"", no[i]);
        assert_string_equal(derive(annotation, SPEC(PORT_HTTP)), "");
    }
    assert_string_equal(derive("\"wormhole.glothriel.github.com/exposed\":true", SPEC(PORT_HTTP)), "");
}

static void test_ports(void **state)
{
    (void)state;
    assert_string_equal(derive(YES, SPEC(PORT_HTTP "," PORT_HTTPS)),
                        "shop-web-http=10.0.0.7:80 shop-web-https=10.0.0.7:443");
    assert_string_equal(derive(YES, SPEC(PORT_HTTP "," PORT_BARE)),
                        "shop-web-http=10.0.0.7:80 shop-web-9000=10.0.0.7:9000");
    assert_string_equal(derive(YES, SPEC(PORT_HTTP "," PORT_DNS)), "shop-web=10.0.0.7:80");
    assert_string_equal(derive(YES, SPEC(PORT_DNS)), "!NoPorts");
    assert_string_equal(derive(YES, "{\"clusterIP\":\"10.0.0.7\"}"), "!NoPorts");
    assert_string_equal(derive(WITH("ports", "http"), SPEC(PORT_HTTP "," PORT_HTTPS)),
                        "shop-web=10.0.0.7:80");
    assert_string_equal(derive(WITH("ports", "443"), SPEC(PORT_HTTP "," PORT_HTTPS)),
                        "shop-web=10.0.0.7:443");
    assert_string_equal(derive(WITH("ports", " 443 ,http,, 443,"), SPEC(PORT_HTTP "," PORT_HTTPS)),
                        "shop-web-http=10.0.0.7:80 shop-web-https=10.0.0.7:443");
    assert_string_equal(derive(WITH("ports", "http,admin"), SPEC(PORT_HTTP)),
                        "shop-web=10.0.0.7:80 !UnknownPort");
    assert_string_equal(derive(WITH("ports", "admin"), SPEC(PORT_HTTP)), "!UnknownPort");
    assert_string_equal(derive(WITH("ports", "99999999999999999999"), SPEC(PORT_HTTP)), "!UnknownPort");
    assert_string_equal(derive(WITH("ports", "-80"), SPEC(PORT_HTTP)), "!UnknownPort");
    assert_string_equal(derive(WITH("ports", "080"), SPEC(PORT_HTTP)), "shop-web=10.0.0.7:80");
    assert_string_equal(derive(WITH("ports", "dns"), SPEC(PORT_HTTP "," PORT_DNS)), "!UnsupportedProtocol");
    assert_string_equal(derive(WITH("ports", ""), SPEC(PORT_HTTP)), "!InvalidPorts");
    assert_string_equal(derive(WITH("ports", " , "), SPEC(PORT_HTTP)), "!InvalidPorts");
    /* One number as TCP and UDP: TCP is meant. */
    assert_string_equal(derive(WITH("ports", "53"), SPEC(PORT_DNS ",{\"name\":\"dns-tcp\",\"port\":53}")),
                        "shop-web=10.0.0.7:53");
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(derive(WITH("name", "store"), SPEC(PORT_HTTP)), "store=10.0.0.7:80");
    assert_string_equal(derive(WITH("name", "store"), SPEC(PORT_HTTP "," PORT_HTTPS)),
                        "store-http=10.0.0.7:80 store-https=10.0.0.7:443");
    assert_string_equal(derive(WITH("name", "Store"), SPEC(PORT_HTTP)), "!InvalidName");
    assert_string_equal(derive(WITH("name", ""), SPEC(PORT_HTTP)), "!InvalidName");
    assert_string_equal(derive(WITH("name", "a.b"), SPEC(PORT_HTTP)), "!InvalidName");
    assert_string_equal(
        derive(WITH("name", "0123456789012345678901234567890123456789012345678901234567890123"),
               SPEC(PORT_HTTP)),
        "!InvalidName");
}

static void test_addresses(void **state)
{
    (void)state;
    assert_string_equal(derive(YES, "{\"clusterIP\":\"fd00::7\",\"ports\":[" PORT_HTTP "]}"),
                        "shop-web=fd00::7:80");
    assert_string_equal(derive(YES, "{\"clusterIP\":\"None\",\"ports\":[" PORT_BARE "]}"),
                        "shop-web=web.shop.svc:19000");
    assert_string_equal(
        derive(YES, "{\"clusterIP\":\"None\",\"ports\":[{\"port\":80,\"targetPort\":\"named\"}]}"),
        "shop-web=web.shop.svc:80");
    assert_string_equal(derive(YES, "{\"type\":\"ExternalName\",\"externalName\":\"x\"}"), "!ExternalName");
    assert_string_equal(derive("", "{\"type\":\"ExternalName\",\"externalName\":\"x\"}"), "");
}

static void test_odd_json(void **state)
{
    static const char *const odd[] = {
        "{}",
        "[]",
        "{\"metadata\":{\"name\":\"a\",\"namespace\":\"b\",\"uid\":\"c\"}}",
        "{\"metadata\":{\"name\":1,\"namespace\":\"b\",\"uid\":\"c\"},\"spec\":{}}",
        "{\"metadata\":{\"name\":\"\",\"namespace\":\"b\",\"uid\":\"c\"},\"spec\":{}}",
        "{\"metadata\":{\"name\":\"a\\u0000b\",\"namespace\":\"b\",\"uid\":\"c\"},\"spec\":{}}",
        "{\"metadata\":{\"name\":\"a\",\"uid\":\"c\"},\"spec\":{}}",
        "{\"metadata\":[],\"spec\":{}}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        struct service service;
        json_t *json = json_loads(odd[i], JSON_ALLOW_NUL, NULL);
        assert_non_null(json);
        assert_int_equal(service_parse(json, &service), ERR_FORMAT);
        json_decref(json);
    }
    assert_string_equal(derive(YES, "{\"ports\":[{\"port\":0}]}"), "?");
    assert_string_equal(derive(YES, "{\"ports\":[{\"port\":65536}]}"), "?");
    assert_string_equal(derive(YES, "{\"ports\":[{\"port\":\"80\"}]}"), "?");
    assert_string_equal(derive(YES, "{\"ports\":[7]}"), "?");
    assert_string_equal(derive(YES, "{\"ports\":{}}"), "!NoPorts");
}

static void test_many_ports(void **state)
{
    char *text = malloc(300 * 24 + 400);
    struct service service;
    struct exposure exposure;
    (void)state;
    int n =
        sprintf(text, "{\"metadata\":{\"namespace\":\"n\",\"name\":\"s\",\"uid\":\"u\",\"annotations\":{" YES
                      "}},\"spec\":{\"ports\":[{\"port\":1}");
    for (int i = 2; i <= 300; i++)
        n += sprintf(text + n, ",{\"port\":%d}", i);
    sprintf(text + n, "]}}");
    json_t *json = json_loads(text, 0, NULL);
    assert_int_equal(service_parse(json, &service), OK);
    assert_int_equal(exposure_derive(&service, &exposure), OK);
    assert_int_equal(exposure.n_apps, SERVICE_PORTS_MAX);
    assert_string_equal(exposure.problems[0].reason, "TooManyPorts");
    exposure_clear(&exposure);
    service_clear(&service);
    json_decref(json);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_values_expose),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_odd_json),
        cmocka_unit_test(test_many_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
