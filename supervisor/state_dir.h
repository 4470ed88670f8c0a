/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state directory and what is below it: made with the right owners and modes, held by one supervisor at a
 * time. Nothing is ever removed here.
 */
#ifndef WORMHOLE_SUPERVISOR_STATE_DIR_H
#define WORMHOLE_SUPERVISOR_STATE_DIR_H

#include "supervisor/supervisor.h"

/*
 * Makes STATE_DIR (0711 as root, so that crypto's uid gets to its keys; else 0700), the key directory (0700,
 * owned by crypto's uid) and empty/ (nobody may write), and locks STATE_DIR/lock for this process's life
 * (s->lock_fd). After workers_prepare(). ERR_IO with error->text and *exit_code; ERR_CONFLICT: another
 * supervisor uses it.
 */
enum status state_dir_open(struct supervisor *s, struct config_error *error, int *exit_code);

#endif
