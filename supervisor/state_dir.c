/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See state_dir.h. Runs before lockdown, with every privilege that we were started with; follows no symbolic
 * link where it changes an owner.
 */
#include "supervisor/state_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/worker_process.h"

__attribute__((format(printf, 4, 5))) static enum status fail(struct config_error *error, int *exit_code,
                                                              int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    *exit_code = code;
    return ERR_IO;
}

static int code_of(int error)
{
    return error == EACCES || error == EPERM || error == EROFS ? EXIT_NOT_PERMITTED : EXIT_FAILED;
}

/* mkdir -p; directories above are made as anybody's would be, the last one with the mode. */
static bool directories_make(const char *path, mode_t mode)
{
    char part[256];

    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part) {
        errno = ENAMETOOLONG;
        return false;
    }
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return false;
        *slash = '/';
    }
    return mkdir(part, mode) == 0 || errno == EEXIST;
}

/* A directory: made when it is not there, opened (O_RDONLY or O_PATH) without following a link. -1 with
 * errno. */
static int directory_open(const char *path, mode_t mode, int how)
{
    mode_t before = umask(022);
    bool made = directories_make(path, mode);
    int saved = errno;

    (void)umask(before);
    if (!made) {
        errno = saved;
        return -1;
    }
    return open(path, how | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static enum status state_open(struct supervisor *s, struct config_error *error, int *exit_code)
{
    const char *path = s->config->state_dir;
    bool shared = s->is_root && !s->config->single_uid;
    struct stat st;

    int fd = directory_open(path, shared ? 0711 : 0700, O_RDONLY);
    if (fd < 0)
        return fail(error, exit_code, code_of(errno),
                    "the state directory %s cannot be used: %s; give one that is yours with --state-dir",
                    path, strerror(errno));
    if (fstat(fd, &st) != 0 || st.st_uid != geteuid() || (st.st_mode & 022) != 0) {
        (void)close(fd);
        return fail(
            error, exit_code, EXIT_NOT_PERMITTED,
            "the state directory %s must belong to the user who runs wormhole (uid %u) and be writable for "
            "nobody else",
            path, (unsigned)geteuid());
    }
    /* A directory that an operator made 0700 keeps crypto from its keys. */
    if (shared && (st.st_mode & 0011) != 0011)
        (void)fchmod(fd, (st.st_mode & 07777) | 0011);
    (void)close(fd);
    (void)snprintf(s->state_dir, sizeof s->state_dir, "%s", path);
    if (access(path, W_OK | X_OK) != 0)
        return fail(error, exit_code, code_of(errno), "the state directory %s is not writable: %s", path,
                    strerror(errno));
    return OK;
}

static enum status state_lock(struct supervisor *s, struct config_error *error, int *exit_code)
{
    char path[300];
    char pid[16] = "";

    (void)snprintf(path, sizeof path, "%s/lock", s->state_dir);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock_fd < 0)
        return fail(error, exit_code, code_of(errno), "%s: %s", path, strerror(errno));
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = read(s->lock_fd, pid, sizeof pid - 1);
        pid[n > 0 ? n : 0] = '\0';
        pid[strspn(pid, "0123456789")] = '\0';
        (void)fail(
            error, exit_code, EXIT_FAILED,
            "another wormhole (pid %s) uses the state directory %s; end it, or give this one its own with "
            "--state-dir",
            pid[0] != '\0' ? pid : "unknown", s->state_dir);
        return ERR_CONFLICT;
    }
    int len = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(s->lock_fd, 0) != 0 || write(s->lock_fd, pid, (size_t)len) != len)
        return fail(error, exit_code, code_of(errno), "%s: %s", path, strerror(errno));
    return OK;
}

/*
 * A key directory that was used under another uid before (without root, or by an older package): its files
 * follow to crypto's uid. Only regular files that belonged to us, and never through a link.
 */
static bool files_hand_over(int dir, uid_t uid, gid_t gid)
{
    bool all = true;
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy >= 0 ? fdopendir(copy) : NULL;
    struct stat st;

    if (list == NULL) {
        if (copy >= 0)
            (void)close(copy);
        return false;
    }
    for (struct dirent *e = readdir(list); e != NULL; e = readdir(list)) {
        if (fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
            st.st_uid == geteuid() && st.st_nlink == 1)
            all = fchownat(dir, e->d_name, uid, gid, AT_SYMLINK_NOFOLLOW) == 0 && all;
    }
    (void)closedir(list);
    return all;
}

static enum status keys_open(struct supervisor *s, struct config_error *error, int *exit_code)
{
    const char *path = s->side == SIDE_SERVER ? s->config->key_dir : s->config->keypair_dir;
    struct stat st;
    uid_t uid;
    gid_t gid;

    worker_uid(s, ROLE_CRYPTO, &uid, &gid);
    /* O_PATH: a root without CAP_DAC_READ_SEARCH may not look into crypto's directory, and need not. */
    int fd = directory_open(path, 0700, O_PATH);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int saved = errno;
        if (fd >= 0)
            (void)close(fd);
        return fail(error, exit_code, code_of(saved), "the key directory %s cannot be used: %s", path,
                    strerror(saved));
    }
    if (uid != 0 && st.st_uid == geteuid() && (st.st_uid != uid || st.st_gid != gid)) {
        if (!files_hand_over(fd, uid, gid) || fchownat(fd, "", uid, gid, AT_EMPTY_PATH) != 0) {
            int saved = errno;
            (void)close(fd);
            return fail(error, exit_code, code_of(saved),
                        "the key directory %s cannot be given to uid %u: %s", path, (unsigned)uid,
                        strerror(saved));
        }
    }
    (void)close(fd);
    (void)snprintf(s->key_dir, sizeof s->key_dir, "%s", path);
    return OK;
}

/* The root of workers that need no file. Without root there is no chroot, and no use for it. */
static enum status empty_open(struct supervisor *s, struct config_error *error, int *exit_code)
{
    struct stat st;

    if (!s->is_root)
        return OK;
    (void)snprintf(s->empty_dir, sizeof s->empty_dir, "%.249s/empty", s->state_dir);
    int fd = directory_open(s->empty_dir, 0555, O_RDONLY);
    if (fd < 0 || fchmod(fd, 0555) != 0 || fstat(fd, &st) != 0 || st.st_uid != 0) {
        int saved = errno;
        if (fd >= 0)
            (void)close(fd);
        return fail(error, exit_code, code_of(saved), "%s, the empty root of workers, cannot be used: %s",
                    s->empty_dir, strerror(saved));
    }
    (void)close(fd);
    return OK;
}

enum status state_dir_open(struct supervisor *s, struct config_error *error, int *exit_code)
{
    enum status result = state_open(s, error, exit_code);

    if (result == OK)
        result = state_lock(s, error, exit_code);
    if (result == OK)
        result = keys_open(s, error, exit_code);
    if (result == OK)
        result = empty_open(s, error, exit_code);
    return result;
}
