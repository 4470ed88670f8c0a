/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the supervisor's parts share: a supervisor without processes, from a line of YAML, with a
 * database of its own. No assertions about behaviour.
 */
#ifndef WORMHOLE_TESTS_SUPERVISOR_SUPPORT_H
#define WORMHOLE_TESTS_SUPERVISOR_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "supervisor/supervisor.h"

/* Of this side, with this YAML as its configuration; a server has an open store in a new directory. */
struct supervisor *supervisor_make(enum side side, const char *yaml);
void supervisor_unmake(struct supervisor *s);
/* Puts another configuration in force, as a reload does. */
void supervisor_configure(struct supervisor *s, const char *yaml);

#endif
