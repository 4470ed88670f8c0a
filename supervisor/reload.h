/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGHUP: the configuration is read again; what can change while running changes, and anything else leaves
 * the old one in force as a whole.
 */
#ifndef WORMHOLE_SUPERVISOR_RELOAD_H
#define WORMHOLE_SUPERVISOR_RELOAD_H

#include "supervisor/supervisor.h"

void supervisor_reload(struct supervisor *s);

#endif
