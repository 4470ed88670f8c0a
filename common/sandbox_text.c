/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capability sets as words, for status on the terminal and over HTTP. Only text; no set is changed here.
 */
#include "common/sandbox.h"

#include <stdio.h>
#include <string.h>
#include <sys/capability.h>

void sandbox_capabilities_text(uint64_t set, char *buf, size_t cap)
{
    uint64_t all = 0;
    for (int i = 0; i < cap_max_bits() && i < 64; i++)
        all |= UINT64_C(1) << i;
    if (set == 0 || set == all) {
        (void)snprintf(buf, cap, "%s", set == 0 ? "none" : "all");
        return;
    }
    size_t used = 0;
    buf[0] = '\0';
    for (int i = 0; i < 64 && used < cap; i++) {
        if ((set >> i & 1) == 0)
            continue;
        char *name = cap_to_name(i);
        const char *plain = name != NULL && strncmp(name, "cap_", 4) == 0 ? name + 4 : "?";
        used += (size_t)snprintf(buf + used, cap - used, "%s%s", used > 0 ? "," : "", plain);
        (void)cap_free(name);
    }
}
