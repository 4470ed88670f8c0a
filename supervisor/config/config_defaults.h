/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where state and control socket are when nobody says: the daemon and the commands that look for it must
 * agree.
 */
#ifndef WORMHOLE_SUPERVISOR_CONFIG_DEFAULTS_H
#define WORMHOLE_SUPERVISOR_CONFIG_DEFAULTS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/ipc_types.h"

/* /var/lib/wormhole as root, under XDG_STATE_HOME or ~/.local/state otherwise. False: no place, or too long.
 */
bool default_state_dir(char *out, size_t cap);
/* /run/wormhole/… as root, $XDG_RUNTIME_DIR/wormhole/… otherwise, else in state_dir (may be NULL). */
bool default_control_socket(enum side side, const char *state_dir, char *out, size_t cap);

#endif
