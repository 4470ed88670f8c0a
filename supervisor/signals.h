/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals as events of the loop: TERM and INT end in an orderly way (a second one at once), HUP reloads, CHLD
 * reaps. Nothing happens in a handler.
 */
#ifndef WORMHOLE_SUPERVISOR_SIGNALS_H
#define WORMHOLE_SUPERVISOR_SIGNALS_H

#include "supervisor/supervisor.h"

/* ERR_NOMEM. */
enum status signals_open(struct supervisor *s);
void signals_close(struct supervisor *s);

#endif
