/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may open a tunnel connection: random early drop, the limit per source, trusted proxies, penalties.
 */
#include "supervisor_support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "supervisor/connections.h"
#include "supervisor/limits.h"

static struct sockaddr_storage address_of(const char *text)
{
    struct sockaddr_storage out = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out;

    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
        v6->sin6_family = AF_INET6;
    }
    return out;
}

static struct supervisor *make(const char *yaml)
{
    struct supervisor *s = supervisor_make(SIDE_SERVER, yaml);

    s->limits = limits_new();
    assert_non_null(s->limits);
    limits_configure(s);
    return s;
}

static void unmake(struct supervisor *s)
{
    limits_free(s->limits);
    supervisor_unmake(s);
}

static struct connection *half_open(struct supervisor *s, const char *address)
{
    struct connection *c = connection_new(s);

    assert_non_null(c);
    c->address = address_of(address);
    return c;
}

static bool admits(struct supervisor *s, const char *text, enum turned_away *why)
{
    struct sockaddr_storage address = address_of(text);
    return limits_admit(s, (struct sockaddr *)&address, why);
}

static void the_start_limit_drops_in_a_straight_line(void **state)
{
    (void)state;
    for (unsigned dice = 0; dice < 100; dice++) {
        assert_true(startups_admit(10, 30, 100, 9, dice));
        assert_false(startups_admit(10, 30, 100, 100, dice));
        assert_int_equal(startups_admit(10, 30, 100, 10, dice), dice >= 30);
        assert_int_equal(startups_admit(10, 30, 100, 55, dice), dice >= 65); /* half the way from 30 to 100 */
        assert_int_equal(startups_admit(5, 0, 5, 4, dice), 1);
        assert_int_equal(startups_admit(5, 0, 5, 5, dice), 0); /* START = FULL divides by nothing */
    }
}

static void a_source_is_an_address_or_56_bits(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"192.0.2.1", "::ffff:192.0.2.1", true},
        {"2001:db8:1:2ff::1", "2001:db8:1:200:5::9", true},
        {"2001:db8:1:2ff::1", "2001:db8:1:300::1", false},
        {"::1", "127.0.0.1", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sockaddr_storage address = address_of(cases[i].a);
        struct source a = source_of_address((struct sockaddr *)&address);
        struct source b = source_of_text(cases[i].b);
        assert_int_equal(source_equal(&a, &b), cases[i].same);
    }
    struct source with_port = source_of_text("[2001:db8::1]:443");
    struct source without = source_of_text("2001:db8::1");
    assert_true(source_equal(&with_port, &without));
    struct source nothing = source_of_text("unknown");
    assert_int_equal(nothing.family, 0);
    assert_false(source_equal(&nothing, &nothing));
}

static void one_source_gets_only_so_many(void **state)
{
    struct supervisor *s = make("max-half-open-per-source: 2\ntrusted-proxies: [10.0.0.0/8]\n");
    enum turned_away why;

    (void)state;
    struct connection *c = half_open(s, "192.0.2.1");
    assert_true(admits(s, "192.0.2.1", &why));
    (void)half_open(s, "192.0.2.1");
    assert_false(admits(s, "192.0.2.1", &why));
    assert_int_equal(why, AWAY_SOURCE);
    assert_true(admits(s, "192.0.2.2", &why));
    /* Who waits for a human, or is open, is not half open any more. */
    connection_set_state(c, CONNECTION_PENDING);
    assert_true(admits(s, "192.0.2.1", &why));
    connection_set_state(c, CONNECTION_APPROVED);
    assert_false(admits(s, "192.0.2.1", &why));
    connection_set_state(c, CONNECTION_OPEN);
    assert_true(admits(s, "192.0.2.1", &why));
    /* A proxy carries many. */
    for (unsigned i = 0; i < 5; i++)
        (void)half_open(s, "10.1.2.3");
    assert_true(admits(s, "10.1.2.3", &why));
    unmake(s);
}

static void the_whole_is_bounded(void **state)
{
    struct supervisor *s = make("max-startups: 3:100:3\nmax-sessions: 5\n");
    enum turned_away why;
    struct connection *c[5];

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        c[i] = half_open(s, "198.51.100.1");
    assert_false(admits(s, "192.0.2.1", &why));
    assert_int_equal(why, AWAY_STARTUPS);
    for (unsigned i = 0; i < 3; i++)
        connection_set_state(c[i], CONNECTION_OPEN);
    assert_true(admits(s, "192.0.2.1", &why));
    (void)half_open(s, "192.0.2.1");
    (void)half_open(s, "192.0.2.1");
    assert_false(admits(s, "192.0.2.9", &why));
    assert_int_equal(why, AWAY_SESSIONS);
    unmake(s);
}

static void a_crash_costs_time_and_the_next_one_more(void **state)
{
    struct supervisor *s = make("trusted-proxies: [10.0.0.1]\n");
    struct source bad = source_of_text("192.0.2.66");
    struct source other = source_of_text("192.0.2.67");
    enum turned_away why;

    (void)state;
    assert_int_equal(limits_penalty_ms(s, &bad), 0);
    limits_punish(s, &bad, "192.0.2.66");
    uint64_t first = limits_penalty_ms(s, &bad);
    assert_true(first > 0);
    assert_int_equal(limits_penalty_ms(s, &other), 0);
    assert_int_equal(limits_penalties(s), 1);
    assert_false(admits(s, "192.0.2.66", &why));
    assert_int_equal(why, AWAY_PENALTY);
    assert_true(admits(s, "192.0.2.67", &why));
    limits_punish(s, &bad, "192.0.2.66");
    uint64_t second = limits_penalty_ms(s, &bad);
    assert_true(second > first);
    for (unsigned i = 0; i < 40; i++)
        limits_punish(s, &bad, "192.0.2.66");
    assert_true(limits_penalty_ms(s, &bad) <= 3600000);
    assert_int_equal(limits_penalties(s), 1);
    /* The proxy itself is never turned away for what came through it. */
    struct source proxy = source_of_text("10.0.0.1");
    limits_punish(s, &proxy, "10.0.0.1");
    assert_true(admits(s, "10.0.0.1", &why));
    unmake(s);
}

static void penalties_are_bounded_and_the_oldest_goes(void **state)
{
    struct supervisor *s = make("");
    char text[32];

    (void)state;
    for (unsigned i = 0; i < 3000; i++) {
        (void)snprintf(text, sizeof text, "203.%u.%u.1", i / 250, i % 250);
        struct source source = source_of_text(text);
        limits_punish(s, &source, text);
        assert_true(limits_penalty_ms(s, &source) > 0);
    }
    assert_true(limits_penalties(s) <= 1024);
    unmake(s);
}

static void a_reload_changes_the_limits(void **state)
{
    struct supervisor *s = make("max-startups: 1:100:1\n");
    enum turned_away why;

    (void)state;
    (void)half_open(s, "198.51.100.1");
    assert_false(admits(s, "192.0.2.1", &why));
    supervisor_configure(s, "max-startups: 2:100:2\n");
    limits_configure(s);
    assert_true(admits(s, "192.0.2.1", &why));
    unmake(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_start_limit_drops_in_a_straight_line),
        cmocka_unit_test(a_source_is_an_address_or_56_bits),
        cmocka_unit_test(one_source_gets_only_so_many),
        cmocka_unit_test(the_whole_is_bounded),
        cmocka_unit_test(a_crash_costs_time_and_the_next_one_more),
        cmocka_unit_test(penalties_are_bounded_and_the_oldest_goes),
        cmocka_unit_test(a_reload_changes_the_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
