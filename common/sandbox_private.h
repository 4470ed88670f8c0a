/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the sandbox share with each other and with nobody else. The steps are ordered by
 * sandbox_enter(); none of them may be called on its own by a worker.
 */
#ifndef WORMHOLE_COMMON_SANDBOX_PRIVATE_H
#define WORMHOLE_COMMON_SANDBOX_PRIVATE_H

#include "common/sandbox.h"

/* Adds "part: why" to what is missing; keeps what fits. */
void sandbox_missing(struct sandbox_report *report, const char *part, const char *why);

/* ---- sandbox_identity.c: chroot, uid, capabilities, rlimits, dumpable ---- */

/*
 * chroot, bounding set, groups, uid, capabilities; verified irreversible. A worker dies with its parent from
 * here on. ERR_IO, ERR_UNSUPPORTED with report->missing when a privilege survived.
 */
enum status sandbox_identity(const struct sandbox_spec *spec, struct sandbox_report *report);
enum status sandbox_rlimits(const struct sandbox_spec *spec, struct sandbox_report *report);

/* ---- sandbox_landlock.c ---- */

/* A closed ruleset: which ABI it uses and its descriptor (-1: nothing to enforce). */
struct sandbox_landlock {
    int ruleset;
    int abi;
    bool files, net, scopes;
};

/* Opens the paths while they can still be reached (before chroot) and makes the ruleset. */
enum status sandbox_landlock_prepare(const struct sandbox_spec *spec, struct sandbox_landlock *landlock,
                                     struct sandbox_report *report);
/* Closes it on the process and closes the descriptor. */
enum status sandbox_landlock_enforce(const struct sandbox_spec *spec, struct sandbox_landlock *landlock,
                                     struct sandbox_report *report);

#endif
