/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wormhole version`: what this build is made of. Says nothing about a running daemon: that is `status`.
 */
#include <event2/event.h>
#include <openssl/crypto.h>
#include <seccomp.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/capability.h>
#include <sys/utsname.h>
#include <yaml.h>

#include "supervisor/cli/cli_output.h"

static const struct column columns[] = {
    {"version", "wormhole", COLUMN_TEXT}, {"protocol", "protocol", COLUMN_NUMBER},
    {"build", "build", COLUMN_TEXT},      {"compiler", "compiler", COLUMN_TEXT},
    {"libexec", "workers", COLUMN_TEXT},  {"libcrypto", "libcrypto", COLUMN_TEXT},
    {"sqlite", "sqlite", COLUMN_TEXT},    {"libevent", "libevent", COLUMN_TEXT},
    {"libyaml", "libyaml", COLUMN_TEXT},  {"libseccomp", "libseccomp", COLUMN_TEXT},
    {"kernel", "kernel", COLUMN_TEXT},
};

static const char build_flags[] =
#ifdef WORMHOLE_SANITIZE
    "sanitizers (no seccomp filters; for tests only)"
#elif defined(WORMHOLE_PROBES)
    "escape probes (for tests only)"
#elif defined(__OPTIMIZE__)
    "release"
#else
    "debug"
#endif
    ;

static int version_run(const struct args *args)
{
    char seccomp[32], kernel[200] = "?";
    const struct scmp_version *v = seccomp_version();
    struct utsname name;
    (void)snprintf(seccomp, sizeof seccomp, "%u.%u.%u", v != NULL ? v->major : 0, v != NULL ? v->minor : 0,
                   v != NULL ? v->micro : 0);
    if (uname(&name) == 0)
        (void)snprintf(kernel, sizeof kernel, "%s %s %s", name.sysname, name.release, name.machine);
    const struct cell cells[] = {
        CELL_TEXT(WORMHOLE_VERSION),
        CELL_NUMBER(1),
        CELL_TEXT(build_flags),
        CELL_TEXT(__VERSION__),
        CELL_TEXT(WORMHOLE_LIBEXEC_DIR),
        CELL_TEXT(OpenSSL_version(OPENSSL_VERSION)),
        CELL_TEXT(sqlite3_libversion()),
        CELL_TEXT(event_get_version()),
        CELL_TEXT(yaml_get_version_string()),
        CELL_TEXT(seccomp),
        CELL_TEXT(kernel),
    };
    return output_record(output_format_of(args), columns, cells, sizeof columns / sizeof columns[0]);
}

static const struct cli_example examples[] = {
    {"wormhole version", "everything that a bug report should have"},
    {"wormhole --version", "the version and nothing else"},
    {NULL, NULL},
};

const struct cli_command cli_version = {
    .name = "version",
    .summary = "shows the version, build flags and libraries",
    .description = "Shows what this program is and which libraries it runs with.",
    .shows = true,
    .examples = examples,
    .see_also = "wormhole(1)",
    .section = 1,
    .run = version_run,
};
