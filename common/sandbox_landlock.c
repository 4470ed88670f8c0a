/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Landlock layer: files, TCP ports, scopes. Uses the newest ABI that both the kernel and the
 * configuration have; the numbers of newer ABIs than the build headers know stand here. Must not follow a
 * role's wishes beyond the spec, and must not fail where a path does not exist: what is not there cannot be
 * opened either.
 */
#include "common/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/sandbox_private.h"

/* include/uapi/linux/landlock.h; own names, because build headers may stop at ABI 2. */
#define LL_CREATE_RULESET_VERSION (1u << 0)
#define LL_FS_EXECUTE (1ull << 0)
#define LL_FS_WRITE_FILE (1ull << 1)
#define LL_FS_READ_FILE (1ull << 2)
#define LL_FS_READ_DIR (1ull << 3)
#define LL_FS_REMOVE_DIR (1ull << 4)
#define LL_FS_REMOVE_FILE (1ull << 5)
#define LL_FS_MAKE_CHAR (1ull << 6)
#define LL_FS_MAKE_DIR (1ull << 7)
#define LL_FS_MAKE_REG (1ull << 8)
#define LL_FS_MAKE_SOCK (1ull << 9)
#define LL_FS_MAKE_FIFO (1ull << 10)
#define LL_FS_MAKE_BLOCK (1ull << 11)
#define LL_FS_MAKE_SYM (1ull << 12)
#define LL_FS_REFER (1ull << 13)    /* ABI 2 */
#define LL_FS_TRUNCATE (1ull << 14) /* ABI 3 */
#define LL_NET_BIND_TCP (1ull << 0) /* ABI 4 */
#define LL_NET_CONNECT_TCP (1ull << 1)
#define LL_FS_IOCTL_DEV (1ull << 15)              /* ABI 5 */
#define LL_SCOPE_ABSTRACT_UNIX_SOCKET (1ull << 0) /* ABI 6 */
#define LL_SCOPE_SIGNAL (1ull << 1)
#define LL_RESTRICT_SELF_LOG_NEW_EXEC_ON (1u << 1) /* ABI 7 */

#define LL_RULE_PATH_BENEATH 1
#define LL_RULE_NET_PORT 2

#define LL_ABI_KNOWN 7

struct ll_ruleset_attr {
    uint64_t handled_access_fs;
    uint64_t handled_access_net; /* ABI 4 */
    uint64_t scoped;             /* ABI 6 */
};

struct ll_path_beneath_attr {
    uint64_t allowed_access;
    int32_t parent_fd;
} __attribute__((packed));

struct ll_net_port_attr {
    uint64_t allowed_access;
    uint64_t port;
};

#ifndef __NR_landlock_create_ruleset
#define __NR_landlock_create_ruleset 444
#define __NR_landlock_add_rule 445
#define __NR_landlock_restrict_self 446
#endif

static int ll_create(const struct ll_ruleset_attr *attr, size_t size, uint32_t flags)
{
    return (int)syscall(__NR_landlock_create_ruleset, attr, size, flags);
}

int sandbox_landlock_abi(void)
{
    int abi = ll_create(NULL, 0, LL_CREATE_RULESET_VERSION);
    return abi < 0 ? 0 : abi;
}

static uint64_t fs_rights(int abi)
{
    uint64_t rights = LL_FS_MAKE_SYM | (LL_FS_MAKE_SYM - 1); /* ABI 1: bits 0 to 12 */
    if (abi >= 2)
        rights |= LL_FS_REFER;
    if (abi >= 3)
        rights |= LL_FS_TRUNCATE;
    if (abi >= 5)
        rights |= LL_FS_IOCTL_DEV;
    return rights;
}

/* What a file, as opposed to a directory, can be allowed. */
#define LL_FS_OF_FILE (LL_FS_EXECUTE | LL_FS_WRITE_FILE | LL_FS_READ_FILE | LL_FS_TRUNCATE | LL_FS_IOCTL_DEV)

static uint64_t fs_access(unsigned access)
{
    uint64_t rights = 0;
    if (access & ACCESS_READ)
        rights |= LL_FS_READ_FILE | LL_FS_READ_DIR;
    if (access & ACCESS_WRITE)
        rights |= LL_FS_WRITE_FILE | LL_FS_REMOVE_FILE | LL_FS_REMOVE_DIR | LL_FS_MAKE_REG | LL_FS_MAKE_DIR |
                  LL_FS_MAKE_SOCK | LL_FS_TRUNCATE;
    if (access & ACCESS_EXECUTE)
        rights |= LL_FS_EXECUTE | LL_FS_READ_FILE;
    return rights;
}

static enum status add_path(int ruleset, uint64_t handled, const struct sandbox_path *path)
{
    int fd = open(path->path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? OK : ERR_IO;
    struct stat st;
    if (fstat(fd, &st) != 0) {
        (void)close(fd);
        return ERR_IO;
    }
    struct ll_path_beneath_attr rule = {.allowed_access = fs_access(path->access) & handled, .parent_fd = fd};
    if (!S_ISDIR(st.st_mode))
        rule.allowed_access &= LL_FS_OF_FILE;
    long rc = 0;
    if (rule.allowed_access != 0)
        rc = syscall(__NR_landlock_add_rule, ruleset, LL_RULE_PATH_BENEATH, &rule, 0);
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return rc == 0 ? OK : ERR_IO;
}

static enum status add_ports(int ruleset, uint64_t access, const uint16_t *ports, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct ll_net_port_attr rule = {.allowed_access = access, .port = ports[i]};
        if (syscall(__NR_landlock_add_rule, ruleset, LL_RULE_NET_PORT, &rule, 0) != 0)
            return ERR_IO;
    }
    return OK;
}

static enum status add_rules(const struct sandbox_spec *spec, int ruleset, const struct ll_ruleset_attr *attr)
{
    for (unsigned i = 0; i < spec->n_paths; i++)
        if (add_path(ruleset, attr->handled_access_fs, &spec->paths[i]) != OK)
            return ERR_IO;
    enum status status = OK;
    if (attr->handled_access_net & LL_NET_CONNECT_TCP)
        status = add_ports(ruleset, LL_NET_CONNECT_TCP, spec->connect_ports, spec->n_connect_ports);
    if (status == OK && (attr->handled_access_net & LL_NET_BIND_TCP))
        status = add_ports(ruleset, LL_NET_BIND_TCP, spec->bind_ports, spec->n_bind_ports);
    return status;
}

/*
 * The supervisor signals its workers (their domains lie within its own) and may have to speak to systemd over
 * an abstract socket; a worker has no business with either outside its own process.
 */
static uint64_t scopes_of(enum role role)
{
    return role == ROLE_SUPERVISOR ? LL_SCOPE_SIGNAL : LL_SCOPE_SIGNAL | LL_SCOPE_ABSTRACT_UNIX_SOCKET;
}

enum status sandbox_landlock_prepare(const struct sandbox_spec *spec, struct sandbox_landlock *landlock,
                                     struct sandbox_report *report)
{
    *landlock = (struct sandbox_landlock){.ruleset = -1};
    int abi = sandbox_landlock_abi();
    if (abi == 0)
        sandbox_missing(report, "landlock", "not in this kernel, or not allowed");
    else if (spec->landlock_max == 0)
        sandbox_missing(report, "landlock", "turned off by landlock-max");
    if (abi > spec->landlock_max)
        abi = spec->landlock_max;
    if (abi > LL_ABI_KNOWN)
        abi = LL_ABI_KNOWN;
    if (abi == 0)
        return OK;

    struct ll_ruleset_attr attr = {.handled_access_fs = fs_rights(abi)};
    size_t size = sizeof attr.handled_access_fs;
    if (abi >= 4) {
        attr.handled_access_net =
            (spec->restrict_connect ? LL_NET_CONNECT_TCP : 0) | (spec->restrict_bind ? LL_NET_BIND_TCP : 0);
        size = sizeof attr.handled_access_fs + sizeof attr.handled_access_net;
    } else if (spec->restrict_bind || spec->restrict_connect) {
        sandbox_missing(report, "landlock ports", "needs ABI 4");
    }
    if (abi >= 6) {
        attr.scoped = scopes_of(spec->role);
        size = sizeof attr;
    } else {
        sandbox_missing(report, "landlock scopes", "needs ABI 6");
    }
    int ruleset = ll_create(&attr, size, 0);
    if (ruleset < 0) {
        sandbox_missing(report, "landlock", strerror(errno));
        return spec->mode == SANDBOX_REQUIRED ? ERR_IO : OK;
    }
    (void)fcntl(ruleset, F_SETFD, FD_CLOEXEC);
    if (add_rules(spec, ruleset, &attr) != OK) {
        sandbox_missing(report, "landlock rules", strerror(errno));
        (void)close(ruleset);
        return spec->mode == SANDBOX_REQUIRED ? ERR_IO : OK;
    }
    *landlock = (struct sandbox_landlock){.ruleset = ruleset,
                                          .abi = abi,
                                          .files = true,
                                          .net = attr.handled_access_net != 0,
                                          .scopes = attr.scoped != 0};
    return OK;
}

enum status sandbox_landlock_enforce(const struct sandbox_spec *spec, struct sandbox_landlock *landlock,
                                     struct sandbox_report *report)
{
    if (landlock->ruleset < 0)
        return OK;
    /* What a worker is refused between its exec and its own domain is worth a line in the kernel's log. */
    uint32_t flags =
        landlock->abi >= 7 && spec->role == ROLE_SUPERVISOR ? LL_RESTRICT_SELF_LOG_NEW_EXEC_ON : 0;
    long rc = syscall(__NR_landlock_restrict_self, landlock->ruleset, flags);
    int saved = errno;
    (void)close(landlock->ruleset);
    landlock->ruleset = -1;
    if (rc != 0) {
        sandbox_missing(report, "landlock", strerror(saved));
        return ERR_IO;
    }
    report->landlock_abi = (uint8_t)landlock->abi;
    report->layers |= LAYER_LANDLOCK_FILES | (landlock->net ? LAYER_LANDLOCK_NET : 0) |
                      (landlock->scopes ? LAYER_LANDLOCK_SCOPES : 0);
    return OK;
}
