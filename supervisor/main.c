/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wormhole: the command line and, for `listen` and `join`, the supervisor. Nothing but the entry is here, so
 * that tests can link everything else.
 */
#include "supervisor/cli/cli.h"

int main(int argc, char **argv)
{
    return cli_main(argc, argv);
}
