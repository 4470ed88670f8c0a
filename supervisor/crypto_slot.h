/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The crypto worker as the supervisor drives it, on both sides: its setup, its identity, and whose business
 * each of its messages is.
 */
#ifndef WORMHOLE_SUPERVISOR_CRYPTO_SLOT_H
#define WORMHOLE_SUPERVISOR_CRYPTO_SLOT_H

#include "supervisor/worker_process.h"

extern const struct worker_handlers crypto_handlers;

#endif
