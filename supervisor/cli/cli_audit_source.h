/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the audit log for `wormhole audit`, from the running server or from a database file (opened for
 * reading only). The rest of the command need not know which.
 */
#ifndef WORMHOLE_SUPERVISOR_CLI_AUDIT_SOURCE_H
#define WORMHOLE_SUPERVISOR_CLI_AUDIT_SOURCE_H

#include "supervisor/cli/args.h"
#include "supervisor/store/store.h"

/* Return false to stop. */
typedef bool audit_row_fn(void *arg, const struct store_audit_row *row);

/*
 * Hands over every row with seq > after, in order. Returns an exit code; anything but EXIT_DONE has been
 * explained on stderr.
 */
int audit_each(const struct args *args, uint64_t after, audit_row_fn *row, void *arg);

#endif
