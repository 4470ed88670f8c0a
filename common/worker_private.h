/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the workers' frame share: the start (worker_boot.c), the log (worker_log.c) and the loop
 * (worker.c). No role includes this.
 */
#ifndef WORMHOLE_COMMON_WORKER_PRIVATE_H
#define WORMHOLE_COMMON_WORKER_PRIVATE_H

#include "common/worker.h"

/* A supervisor that does not finish the setting up within this time is gone or wedged. */
#define WORKER_BOOT_MS 60000

/*
 * Signals, death with the parent, descriptors. Only ERR_WRONG_STATE when this was not started by a
 * supervisor: *why says what is wrong.
 */
enum status worker_boot_process(const char **why);

/* Is the process that made the channel still our parent? */
bool worker_boot_parent_lives(void);

/* Reads messages up to WORKER_BEGIN, fills the worker and the spec, hands the rest to role->setup. */
enum status worker_boot_messages(struct worker *w, const struct worker_role *role, struct sandbox_spec *spec,
                                 const char **why);

/* Answers and settings that work in every state; true when the message was one of them. */
bool worker_common_message(struct worker *w, enum message_type type, const union message *m);

/* Sends on the channel if there is one, else straight on descriptor 3. */
enum status worker_channel_send(struct worker *w, enum message_type type, const void *message);

void worker_log_open(struct worker *w, const char *name);
void worker_log_set_level(enum log_level level);

#endif
