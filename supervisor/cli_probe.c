/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wormhole probe URL`: why does it not connect? Walks the way to a server step by step and names the one that failed.
 * The steps themselves are taken by `wormhole-net probe`, in a sandbox of its own: this process links no TLS.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/args.h"

static int probe_run(const struct args *args)
{
    (void)args;
    cli_error("not there yet");
    return EXIT_FAILED;
}
static const struct cli_example examples[] = {{NULL, NULL}};
const struct cli_command cli_probe = {
    .name = "probe",
    .summary = "finds out why a client does not reach a server",
    .description = "x",
    .argument = "URL",
    .min_arguments = 1,
    .max_arguments = 1,
    .examples = examples,
    .see_also = "wormhole-join(8)",
    .section = 1,
    .run = probe_run,
};
