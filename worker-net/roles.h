/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three roles of wormhole-net, for main.c to pick from. Each is one process of its own; nothing else of a
 * role is visible to another.
 */
#ifndef WORMHOLE_WORKER_NET_ROLES_H
#define WORMHOLE_WORKER_NET_ROLES_H

#include "common/worker.h"

extern const struct worker_role session_role;
extern const struct worker_role dialer_role;
extern const struct worker_role admin_role;

#endif
