/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The token that decides over HTTP need: read once from its file, kept as a hash only. The admin worker
 * passes on what a client sent; whether it is right is judged here and nowhere else.
 */
#ifndef WORMHOLE_SUPERVISOR_ADMIN_TOKEN_H
#define WORMHOLE_SUPERVISOR_ADMIN_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"
#include "supervisor/config/config.h"

#define ADMIN_TOKEN_MIN 16u  /* bytes: less can be guessed */
#define ADMIN_TOKEN_MAX 256u /* what a message carries */

struct admin_token {
    bool set;
    uint8_t hash[32]; /* SHA-256 */
};

/*
 * Reads the token: the file's first line without blanks around it. path NULL: none is set. Before lockdown.
 * ERR_CONFIG with error->text: not readable, readable or writable by everybody, too short, too long, or not
 * printable ASCII.
 */
enum status admin_token_load(struct admin_token *token, const char *path, struct config_error *error);

/* Is this the token? In the same time for every wrong one. False when none is set. */
bool admin_token_matches(const struct admin_token *token, const char *candidate);

#endif
