/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor's own cage: after ports are bound and files are open, before any worker is started. What it
 * keeps is the union of what it and its workers need; each worker narrows further.
 */
#ifndef WORMHOLE_SUPERVISOR_LOCKDOWN_H
#define WORMHOLE_SUPERVISOR_LOCKDOWN_H

#include "supervisor/supervisor.h"

/* ERR_UNSUPPORTED with error->text: `--sandbox required`, and a layer that it requires is missing. */
enum status lockdown_enter(struct supervisor *s, struct config_error *error);

#endif
