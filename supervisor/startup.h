/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything between the configuration and the loop: what can fail for reasons that an operator must hear
 * about.
 */
#ifndef WORMHOLE_SUPERVISOR_STARTUP_H
#define WORMHOLE_SUPERVISOR_STARTUP_H

#include "supervisor/supervisor.h"

/* Opens, binds and prepares everything and closes the cage. Not OK: error->text and *exit_code. */
enum status startup_run(struct supervisor *s, struct config_error *error, int *exit_code);
/* Starts the workers. */
enum status startup_workers(struct supervisor *s);

#endif
