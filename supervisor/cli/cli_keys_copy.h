/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wormhole keys copy FROM TO`, a verb of cli_keys.c. Nothing else.
 */
#ifndef WORMHOLE_SUPERVISOR_CLI_KEYS_COPY_H
#define WORMHOLE_SUPERVISOR_CLI_KEYS_COPY_H

struct args;

int keys_copy_run(const struct args *args);

#endif
