/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client: the handlers of the dialer's slot. Nothing of what a dialer connects is known here.
 */
#ifndef WORMHOLE_SUPERVISOR_DIALER_SLOT_H
#define WORMHOLE_SUPERVISOR_DIALER_SLOT_H

#include "supervisor/worker_process.h"

extern const struct worker_handlers dialer_handlers;

#endif
