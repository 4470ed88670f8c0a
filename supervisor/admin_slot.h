/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin worker (HTTP API, metrics, health): its sockets are bound here, before lockdown; what it asks is
 * answered by control.h. The supervisor never reads HTTP.
 */
#ifndef WORMHOLE_SUPERVISOR_ADMIN_SLOT_H
#define WORMHOLE_SUPERVISOR_ADMIN_SLOT_H

#include "supervisor/worker_process.h"

extern const struct worker_handlers admin_handlers;

/* Does this configuration want an admin worker at all? */
bool admin_wanted(const struct supervisor *s);
#endif
