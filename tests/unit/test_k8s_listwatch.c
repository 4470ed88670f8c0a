/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decision table of list and watch: which answer is which outcome, and what follows from it. Each row on
 * a real API server is in tests/kubernetes/test_faults.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker-k8s/listwatch.h"

static enum lw_outcome outcome(enum api_end end, long status, const char *body)
{
    struct api_result result = {.end = end, .status = status, .text = ""};
    return listwatch_outcome(&result, body, body != NULL ? strlen(body) : 0);
}

static void test_outcomes(void **state)
{
    (void)state;
    assert_int_equal(outcome(API_DONE, 200, NULL), LW_ENDED);
    assert_int_equal(outcome(API_DONE, 410, "anything"), LW_GONE);
    assert_int_equal(outcome(API_DONE, 401, NULL), LW_UNAUTHORIZED);
    assert_int_equal(outcome(API_DONE, 403, NULL), LW_DENIED);
    assert_int_equal(outcome(API_DONE, 429, "Too many requests\n"), LW_BUSY);
    assert_int_equal(outcome(API_DONE, 500, NULL), LW_BUSY);
    assert_int_equal(outcome(API_DONE, 504, "gateway timeout"), LW_BUSY);
    assert_int_equal(outcome(API_DONE, 504, "{\"reason\":\"ResourceVersionTooLarge\"}"), LW_TOO_LARGE);
    assert_int_equal(outcome(API_DONE, 504, "Too large resource version: 9"), LW_TOO_LARGE);
    assert_int_equal(outcome(API_DONE, 404, NULL), LW_BROKEN);
    assert_int_equal(outcome(API_DONE, 302, NULL), LW_BROKEN);
    assert_int_equal(outcome(API_CUT, 410, NULL), LW_GONE); /* the body was cut, the answer is clear */
    assert_int_equal(outcome(API_CUT, 200, NULL), LW_UNREACHED);
    assert_int_equal(outcome(API_CONNECT, 0, NULL), LW_UNREACHED);
    assert_int_equal(outcome(API_TIMEOUT, 200, NULL), LW_UNREACHED);
    assert_int_equal(outcome(API_TLS, 0, NULL), LW_UNREACHED);
    assert_int_equal(outcome(API_STOPPED, 200, NULL), LW_BROKEN);
}

static void test_rules(void **state)
{
    (void)state;
    /* Only a whole answer leads on; everything else waits, but a version that is gone. */
    for (int phase = LW_LIST; phase <= LW_WATCH; phase++) {
        for (int o = 0; o < LW_OUTCOMES; o++) {
            struct lw_rule rule = listwatch_rule((enum lw_phase)phase, (enum lw_outcome)o);
            assert_int_equal(rule.action == LW_GO_ON, o == LW_ENDED);
            assert_int_equal(rule.action == LW_LIST_NOW, o == LW_GONE);
            if (o == LW_DENIED || o == LW_UNAUTHORIZED)
                assert_true(rule.fault);
        }
    }
    assert_int_equal(listwatch_rule(LW_WATCH, LW_UNREACHED).action, LW_REPEAT_LATER);
    assert_int_equal(listwatch_rule(LW_WATCH, LW_BUSY).action, LW_REPEAT_LATER);
    assert_int_equal(listwatch_rule(LW_WATCH, LW_TOO_LARGE).action, LW_LIST_LATER);
    assert_int_equal(listwatch_rule(LW_WATCH, LW_BROKEN).action, LW_LIST_LATER);
    assert_int_equal(listwatch_rule(LW_WATCH, LW_DENIED).action, LW_LIST_SLOWLY);
    assert_int_equal(listwatch_rule(LW_LIST, LW_DENIED).action, LW_LIST_SLOWLY);
    assert_int_equal(listwatch_rule(LW_LIST, LW_BROKEN).action, LW_LIST_LATER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_outcomes), cmocka_unit_test(test_rules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
