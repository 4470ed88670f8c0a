/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of local users by uid, read from /etc/passwd before lockdown, because the supervisor can open nothing
 * afterwards. For showing who did something; nothing is decided by a name.
 */
#ifndef WORMHOLE_SUPERVISOR_USER_NAMES_H
#define WORMHOLE_SUPERVISOR_USER_NAMES_H

#include <stddef.h>
#include <sys/types.h>

struct user_names {
    struct user_name *entries; /* by uid */
    size_t n;
};

/* Reads what can be read (at most 4096 users); an empty list is no failure: uids are shown as numbers then.
 */
void user_names_load(struct user_names *names, const char *path);
void user_names_clear(struct user_names *names);

/* NULL when the uid has no known name. */
const char *user_names_find(const struct user_names *names, uid_t uid);

#endif
