/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wormhole-net: one executable, three roles, each a process of its own. The first argument picks the role;
 * nothing else is taken from the command line, everything comes over the supervisor's channel. `probe` is no
 * role of a supervisor: `wormhole probe` starts it by itself.
 */
#include <stdio.h>
#include <string.h>

#include "worker-net/probe.h"
#include "worker-net/roles.h"

#define EXIT_USAGE 64

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        const struct worker_role *role;
    } roles[] = {{"session", &session_role}, {"dialer", &dialer_role}, {"admin", &admin_role}};

    for (size_t i = 0; argc > 1 && i < sizeof roles / sizeof roles[0]; i++) {
        if (strcmp(argv[1], roles[i].name) == 0)
            return worker_main(argc, argv, roles[i].role);
    }
    if (argc == 2 && strcmp(argv[1], "probe") == 0)
        return probe_main(argc, argv);
    (void)fprintf(stderr, "wormhole-net: this is a part of Wormhole that only `wormhole listen` and "
                          "`wormhole join` can start\n");
    return EXIT_USAGE;
}
