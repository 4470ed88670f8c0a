/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layers of old: chroot, own uid, no capabilities, resource limits. Each is checked after it was set,
 * because a privilege that was thought gone is worse than one that is known. Must not open anything but the
 * directory that becomes the root.
 */
#include "common/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/sandbox_private.h"

static bool has_capability(cap_value_t value)
{
    cap_flag_value_t flag = CAP_CLEAR;
    cap_t caps = cap_get_proc();
    if (caps != NULL)
        (void)cap_get_flag(caps, value, CAP_EFFECTIVE, &flag);
    (void)cap_free(caps);
    return flag == CAP_SET;
}

/* An occupied root is still a wall, but not the empty one that was promised: said, not refused. */
static bool directory_is_empty(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return false;
    bool empty = true;
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            empty = false;
    (void)closedir(dir);
    return empty;
}

/*
 * The dialer's resolver reads /etc while it runs (resolv.conf and hosts change), so an empty root would break
 * it; Landlock is its wall for files. The others opened the directories that they need before.
 */
static bool role_has_chroot(enum role role)
{
    return role != ROLE_SUPERVISOR && role != ROLE_DIALER;
}

static enum status enter_root(const struct sandbox_spec *spec, struct sandbox_report *report)
{
    if (!role_has_chroot(spec->role))
        return OK;
    if (spec->chroot_dir[0] == '\0') {
        sandbox_missing(report, "chroot", "no directory given");
        return OK;
    }
    if (!has_capability(CAP_SYS_CHROOT)) {
        sandbox_missing(report, "chroot", "not permitted");
        return OK;
    }
    if (!directory_is_empty(spec->chroot_dir))
        sandbox_missing(report, "chroot", "directory is not empty");
    if (chroot(spec->chroot_dir) != 0 || chdir("/") != 0) {
        sandbox_missing(report, "chroot", strerror(errno));
        return spec->mode == SANDBOX_REQUIRED ? ERR_UNSUPPORTED : OK;
    }
    report->layers |= LAYER_CHROOT;
    return OK;
}

/* Without CAP_SETPCAP the bounding set stays as it is; no_new_privs makes it meaningless at the next exec. */
static void bounding_set_cut(uint64_t keep)
{
    if (!has_capability(CAP_SETPCAP))
        return;
    for (cap_value_t cap = 0; cap < 64; cap++)
        if ((keep >> cap & 1u) == 0 && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1)
            (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

static enum status uid_change(const struct sandbox_spec *spec, struct sandbox_report *report)
{
    uid_t uid = spec->uid;
    gid_t gid = spec->gid;
    if (setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0)
        return OK;
    sandbox_missing(report, "uid", strerror(errno));
    return ERR_UNSUPPORTED;
}

/* True when no way back to any other uid or gid is left. */
static bool uid_is_final(const struct sandbox_spec *spec)
{
    uid_t ruid, euid, suid;
    gid_t rgid, egid, sgid;
    if (getresuid(&ruid, &euid, &suid) != 0 || getresgid(&rgid, &egid, &sgid) != 0)
        return false;
    if (ruid != spec->uid || euid != spec->uid || suid != spec->uid)
        return false;
    if (rgid != spec->gid || egid != spec->gid || sgid != spec->gid || getgroups(0, NULL) != 0)
        return false;
    return setresuid(0, 0, 0) != 0 && seteuid(0) != 0 && setresgid(0, 0, 0) != 0 && setegid(0) != 0 &&
           setgroups(0, NULL) != 0;
}

/* Permitted and effective become what is kept; inheritable and ambient become nothing. */
static enum status capabilities_cut(uint64_t keep, struct sandbox_report *report)
{
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    enum status status = ERR_IO;
    cap_t have = cap_get_proc();
    cap_t want = cap_init();
    if (have == NULL || want == NULL)
        goto out;
    for (cap_value_t cap = 0; cap < 64; cap++) {
        cap_flag_value_t flag = CAP_CLEAR;
        if ((keep >> cap & 1u) == 0 || cap_get_flag(have, cap, CAP_PERMITTED, &flag) != 0 || flag != CAP_SET)
            continue;
        if (cap_set_flag(want, CAP_PERMITTED, 1, &cap, CAP_SET) != 0 ||
            cap_set_flag(want, CAP_EFFECTIVE, 1, &cap, CAP_SET) != 0)
            goto out;
    }
    if (cap_set_proc(want) != 0)
        goto out;
    cap_t now = cap_get_proc();
    if (now != NULL && cap_compare(now, want) == 0)
        status = OK;
    (void)cap_free(now);
out:
    (void)cap_free(have);
    (void)cap_free(want);
    if (status == OK)
        report->layers |= LAYER_CAPABILITIES;
    else
        sandbox_missing(report, "capabilities", strerror(errno));
    return status;
}

/*
 * The bounding set goes first: cutting it takes a capability that the uid change takes away. After the uid
 * change nothing is permitted any more; the cut makes that true where no uid change happened.
 */
enum status sandbox_identity(const struct sandbox_spec *spec, struct sandbox_report *report)
{
    enum status status = enter_root(spec, report);
    if (status != OK)
        return status;
    bounding_set_cut(spec->keep_capabilities);
    bool change = spec->uid != 0 && has_capability(CAP_SETUID) && has_capability(CAP_SETGID);
    if (change && uid_change(spec, report) != OK)
        return ERR_UNSUPPORTED;
    if (!change && spec->role != ROLE_SUPERVISOR)
        sandbox_missing(report, "uid", geteuid() == 0 ? "single-uid" : "not started as root");
    status = capabilities_cut(spec->keep_capabilities, report);
    if (status != OK && spec->mode != SANDBOX_BEST_EFFORT)
        return ERR_UNSUPPORTED;
    if (change) {
        if (!uid_is_final(spec)) {
            sandbox_missing(report, "uid", "the change can be undone");
            return ERR_UNSUPPORTED;
        }
        report->layers |= LAYER_UID;
    }
    /* Every change of a uid on the way, a preload's too, made the kernel forget that a worker dies with its
     * parent. */
    if (spec->role != ROLE_SUPERVISOR && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        return ERR_IO;
    return OK;
}

static bool limit_set(__rlimit_resource_t resource, rlim_t value)
{
    struct rlimit old;
    if (getrlimit(resource, &old) != 0)
        return false;
    if (old.rlim_max != RLIM_INFINITY && value > old.rlim_max)
        value = old.rlim_max;
    struct rlimit limit = {.rlim_cur = value, .rlim_max = value};
    return setrlimit(resource, &limit) == 0;
}

/* Only with --trace does a worker still write to standard error; it may be a log file then. */
static bool stderr_is_file(void)
{
    struct stat st;
    return fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode);
}

/*
 * No core files, no processes, no large files, no locked queues. RLIMIT_NPROC is left alone for the roles
 * with threads: it counts per uid, and in single-uid mode that would be somebody else's processes.
 */
enum status sandbox_rlimits(const struct sandbox_spec *spec, struct sandbox_report *report)
{
    bool ok = limit_set(RLIMIT_CORE, 0) && limit_set(RLIMIT_MSGQUEUE, 0);
    bool threads = spec->role == ROLE_DIALER;
    if (spec->role != ROLE_SUPERVISOR) {
        if (spec->role != ROLE_CRYPTO && !spec->sanitizer && !stderr_is_file())
            ok = ok && limit_set(RLIMIT_FSIZE, 0);
        if (!threads && !spec->sanitizer)
            ok = ok && limit_set(RLIMIT_NPROC, 0);
    }
    if (spec->max_descriptors > 0)
        ok = ok && limit_set(RLIMIT_NOFILE, spec->max_descriptors);
    if (spec->max_memory > 0 && !spec->sanitizer)
        ok = ok && limit_set(RLIMIT_AS, spec->max_memory);
    if (ok)
        report->layers |= LAYER_RLIMITS;
    else
        sandbox_missing(report, "rlimits", strerror(errno));
    return ok || spec->mode != SANDBOX_REQUIRED ? OK : ERR_IO;
}
