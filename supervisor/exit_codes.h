/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exit codes that scripts may rely on (those of sysexits.h, as far as we use them). Only numbers.
 */
#ifndef WORMHOLE_SUPERVISOR_EXIT_CODES_H
#define WORMHOLE_SUPERVISOR_EXIT_CODES_H

enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE_ERROR = 64, /* wrong flag, command or argument */
    EXIT_UNAVAILABLE = 69, /* no server or client answers */
    EXIT_NOT_PERMITTED = 77,
    EXIT_BAD_CONFIG = 78, /* bad configuration file */
};

#endif
