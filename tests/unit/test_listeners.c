/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports of apps: an app keeps its port, a foreign program's port is left alone, a full range is an error, and
 * what belongs to one app is never given to another.
 */
#include "supervisor_support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/fingerprint.h"
#include "supervisor/listeners.h"

static char key_a[FINGERPRINT_TEXT + 1], key_b[FINGERPRINT_TEXT + 1];

static void approve(struct supervisor *s, uint8_t byte, const char *name, char *text)
{
    static const struct store_actor actor = {.kind = "control", .id = "test"};
    uint8_t digest[FINGERPRINT_BYTES];

    memset(digest, byte, sizeof digest);
    fingerprint_format(digest, text);
    assert_int_equal(store_preapprove(s->store, text, name, &actor), OK);
}

/* Three ports in a row that are free now. */
static uint16_t free_range(void)
{
    for (uint16_t low = (uint16_t)(21000 + getpid() % 900 * 10); low < 60000; low = (uint16_t)(low + 3)) {
        int fds[3] = {-1, -1, -1};
        uint16_t bound;
        bool all = true;
        for (uint16_t i = 0; i < 3; i++)
            all = listener_open("127.0.0.1", (uint16_t)(low + i), &fds[i], &bound) == OK && all;
        for (unsigned i = 0; i < 3; i++) {
            if (fds[i] >= 0)
                (void)close(fds[i]);
        }
        if (all)
            return low;
    }
    fail_msg("no three free ports in a row");
    return 0;
}

static struct supervisor *make(uint16_t low)
{
    char yaml[200];

    (void)snprintf(yaml, sizeof yaml, "app-host: 127.0.0.1\nport-range-min: %u\nport-range-max: %u\n", low,
                   low + 2);
    struct supervisor *s = supervisor_make(SIDE_SERVER, yaml);
    approve(s, 1, "edge1", key_a);
    approve(s, 2, "edge2", key_b);
    return s;
}

static uint16_t get(struct supervisor *s, const char *key, const char *app, int *fd)
{
    char why[128] = "";
    uint16_t port = 0;

    enum status result = listener_for_app(s, key, app, fd, &port, why, sizeof why);
    if (result != OK)
        fail_msg("%s: %s", app, why);
    return port;
}

static void an_app_keeps_its_port(void **state)
{
    uint16_t low = free_range();
    struct supervisor *s = make(low);
    int web;
    int other;

    (void)state;
    uint16_t port = get(s, key_a, "web", &web);
    assert_in_range(port, low, low + 2);
    (void)close(web);
    /* Another app does not get the port, though nobody listens on it now. */
    assert_int_not_equal(get(s, key_b, "web", &other), port);
    assert_int_equal(get(s, key_a, "web", &web), port);
    (void)close(web);
    (void)close(other);
    supervisor_unmake(s);
}

static void a_busy_port_is_left_to_its_owner(void **state)
{
    uint16_t low = free_range();
    struct supervisor *s = make(low);
    uint16_t bound;
    int foreign;
    int web;

    (void)state;
    assert_int_equal(listener_open("127.0.0.1", low, &foreign, &bound), OK);
    uint16_t port = get(s, key_a, "web", &web);
    assert_int_not_equal(port, low);
    (void)close(web);
    /* The stored port is taken by a stranger: another one, and that is kept from now on. */
    int stranger;
    assert_int_equal(listener_open("127.0.0.1", port, &stranger, &bound), OK);
    uint16_t second = get(s, key_a, "web", &web);
    assert_int_not_equal(second, port);
    (void)close(web);
    (void)close(stranger);
    assert_int_equal(get(s, key_a, "web", &web), second);
    (void)close(web);
    (void)close(foreign);
    supervisor_unmake(s);
}

static void a_full_range_says_so(void **state)
{
    uint16_t low = free_range();
    struct supervisor *s = make(low);
    char why[128] = "";
    char name[8];
    uint16_t port;
    int fds[3];
    int fd;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        (void)snprintf(name, sizeof name, "app%u", i);
        (void)get(s, key_a, name, &fds[i]);
    }
    assert_int_equal(listener_for_app(s, key_b, "late", &fd, &port, why, sizeof why), ERR_FULL);
    assert_non_null(strstr(why, "no free port in"));
    for (unsigned i = 0; i < 3; i++)
        (void)close(fds[i]);
    /* Closed is not given up. */
    assert_int_equal(listener_for_app(s, key_b, "late", &fd, &port, why, sizeof why), ERR_FULL);
    supervisor_unmake(s);
}

static void without_a_range_the_kernel_chooses_once(void **state)
{
    struct supervisor *s = make(free_range());
    int fd;

    (void)state;
    supervisor_configure(s, "app-host: 127.0.0.1\nport-use-range: false\n");
    uint16_t port = get(s, key_a, "web", &fd);
    assert_int_not_equal(port, 0);
    (void)close(fd);
    assert_int_equal(get(s, key_a, "web", &fd), port);
    (void)close(fd);
    supervisor_unmake(s);
}

static void what_cannot_be_bound_gives_errno(void **state)
{
    uint16_t bound;
    int fd = -2;

    (void)state;
    assert_int_equal(listener_open("localhost", 0, &fd, &bound), ERR_IO); /* names are never resolved */
    assert_int_equal(errno, EINVAL);
    assert_int_equal(listener_open("203.0.113.1", 0, &fd, &bound), ERR_IO);
    assert_int_equal(errno, EADDRNOTAVAIL);
    assert_int_equal(fd, -2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_app_keeps_its_port),
        cmocka_unit_test(a_busy_port_is_left_to_its_owner),
        cmocka_unit_test(a_full_range_says_so),
        cmocka_unit_test(without_a_range_the_kernel_chooses_once),
        cmocka_unit_test(what_cannot_be_bound_gives_errno),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
