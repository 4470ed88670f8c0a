/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom an operator means: whole fingerprints as they are; on a terminal also the beginning of one, confirmed
 * by a question that shows whose it is. Asks the server who there is; decides nothing.
 */
#ifndef WORMHOLE_SUPERVISOR_CLI_SUBJECT_H
#define WORMHOLE_SUPERVISOR_CLI_SUBJECT_H

#include "common/fingerprint.h"
#include "supervisor/cli/cli_client.h"

enum subject_kind { SUBJECT_REQUEST, SUBJECT_PEER };

/*
 * Turns what was typed into what the server is told. out: 128 bytes (a DECIDE's subject). `verb` is for the
 * question: "Accept". Returns EXIT_DONE, or another exit code with the reason on stderr.
 */
int subject_resolve(struct cli_client *client, enum subject_kind kind, const char *verb, const char *typed,
                    char *out, size_t cap);

#endif
