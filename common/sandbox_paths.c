/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files of the system starting a worker and looking up a name take, as Landlock paths. Only lists and
 * the question whether a file can be replaced; nothing is enforced here.
 */
#include "common/sandbox.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static enum status allow_all(struct sandbox_spec *spec, const char *const *paths, size_t n, unsigned access)
{
    enum status status = OK;
    for (size_t i = 0; i < n && status == OK; i++)
        status = sandbox_allow_path(spec, paths[i], access);
    return status;
}

static void directory_of(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash != NULL)
        slash[slash == path ? 1 : 0] = '\0';
}

/* A file that is mounted by itself (as in a container) keeps its inode; any other may be replaced by rename.
 */
static bool is_mounted_file(const char *path)
{
    char dir[PATH_MAX];
    struct stat file, parent;
    (void)snprintf(dir, sizeof dir, "%s", path);
    directory_of(dir);
    return stat(path, &file) == 0 && stat(dir, &parent) == 0 && file.st_dev != parent.st_dev;
}

/*
 * A Landlock rule belongs to an inode, so a rule on a file ends when an editor or a network manager puts a
 * new one in its place. Then the directory has to be readable; what is secret in it is not readable by a
 * worker's uid.
 */
static enum status allow_replaceable(struct sandbox_spec *spec, const char *path)
{
    char real[PATH_MAX];
    if (realpath(path, real) == NULL)
        (void)snprintf(real, sizeof real, "%s", path);
    if (!is_mounted_file(real))
        directory_of(real);
    return sandbox_allow_path(spec, real, ACCESS_READ);
}

enum status sandbox_allow_resolver(struct sandbox_spec *spec)
{
    static const char *const fixed[] = {"/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf",
                                        "/etc/services"};
    enum status status = allow_all(spec, fixed, sizeof fixed / sizeof fixed[0], ACCESS_READ);
    if (status == OK)
        status = allow_replaceable(spec, "/etc/resolv.conf");
    if (status == OK)
        status = allow_replaceable(spec, "/etc/hosts");
    return status;
}

enum status sandbox_allow_runtime(struct sandbox_spec *spec)
{
    static const char *const code[] = {"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"};
    static const char *const data[] = {"/etc/ld.so.cache", "/etc/ld.so.preload",         "/etc/ssl",
                                       "/etc/pki",         "/usr/share/ca-certificates", "/dev/urandom",
                                       "/dev/random"};
    enum status status = allow_all(spec, code, sizeof code / sizeof code[0], ACCESS_READ | ACCESS_EXECUTE);
    if (status == OK)
        status = allow_all(spec, data, sizeof data / sizeof data[0], ACCESS_READ);
    if (status == OK)
        status = sandbox_allow_path(spec, "/dev/null", ACCESS_READ | ACCESS_WRITE);
    return status;
}
