/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See key_dir.h. Every path is relative to the directory's descriptor, so that it also works behind chroot,
 * and no symbolic link is followed.
 */
#include "worker-crypto/key_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker-crypto/primitives.h"

#define OTHERS (S_IRWXG | S_IRWXO)

#define FAIL(error, ...) (snprintf((error)->text, sizeof(error)->text, __VA_ARGS__), ERR_CONFIG)

enum status key_dir_open(struct key_dir *dir, const char *path, uid_t owner, struct key_error *error)
{
    struct key_dir fresh = {.fd = -1, .owner = owner};
    struct stat st;

    if (path[0] != '/' || strlen(path) >= sizeof fresh.path)
        return FAIL(error, "key directory \"%s\": must be an absolute path of at most %zu bytes", path,
                    sizeof fresh.path - 1);
    memcpy(fresh.path, path, strlen(path) + 1);
    fresh.fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fresh.fd < 0 || fstat(fresh.fd, &st) != 0) {
        int code = errno;
        key_dir_close(&fresh);
        return FAIL(error, "key directory %s: cannot be opened: %s; make it with: install -d -m 700 -o %u %s",
                    path, strerror(code), (unsigned)owner, path);
    }
    if (st.st_uid != owner) {
        key_dir_close(&fresh);
        return FAIL(error, "key directory %s: belongs to uid %u, must belong to uid %u; run: chown -R %u %s",
                    path, (unsigned)st.st_uid, (unsigned)owner, (unsigned)owner, path);
    }
    if ((st.st_mode & OTHERS) != 0) {
        key_dir_close(&fresh);
        return FAIL(error, "key directory %s: mode %04o lets others in; run: chmod 700 %s", path,
                    (unsigned)(st.st_mode & 07777), path);
    }
    *dir = fresh;
    return OK;
}

void key_dir_close(struct key_dir *dir)
{
    if (dir->fd >= 0)
        (void)close(dir->fd);
    dir->fd = -1;
}

static enum status file_check(const struct key_dir *dir, const char *name, const char *what,
                              const struct stat *st, struct key_error *error)
{
    if (!S_ISREG(st->st_mode))
        return FAIL(error, "%s %s/%s: is not a regular file; move it away", what, dir->path, name);
    if (st->st_uid != dir->owner)
        return FAIL(error, "%s %s/%s: belongs to uid %u, must belong to uid %u; run: chown %u %s/%s", what,
                    dir->path, name, (unsigned)st->st_uid, (unsigned)dir->owner, (unsigned)dir->owner,
                    dir->path, name);
    if ((st->st_mode & OTHERS) != 0)
        return FAIL(
            error,
            "%s %s/%s: mode %04o is open to others; run: chmod 600 %s/%s (and think about who read it)", what,
            dir->path, name, (unsigned)(st->st_mode & 07777), dir->path, name);
    return OK;
}

/* Reads until the end or until the room is full. -1: errno. */
static ssize_t read_all(int fd, uint8_t *buf, size_t cap)
{
    size_t at = 0;
    while (at < cap) {
        ssize_t n = read(fd, buf + at, cap - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        at += (size_t)n;
    }
    return (ssize_t)at;
}

enum status key_file_read(const struct key_dir *dir, const char *name, const char *what, uint8_t *buf,
                          size_t *len, uint64_t *modified, struct key_error *error)
{
    struct stat st;
    int fd = openat(dir->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT)
        return ERR_NOT_FOUND;
    if (fd < 0)
        return FAIL(error, "%s %s/%s: cannot be read: %s; it must be a plain file of uid %u with mode 0600",
                    what, dir->path, name, errno == ELOOP ? "it is a symbolic link" : strerror(errno),
                    (unsigned)dir->owner);
    enum status result;
    if (fstat(fd, &st) == 0)
        result = file_check(dir, name, what, &st, error);
    else
        result = FAIL(error, "%s %s/%s: %s; check the disk", what, dir->path, name, strerror(errno));
    if (result == OK) {
        ssize_t n = read_all(fd, buf, *len);
        if (n < 0)
            result = FAIL(error, "%s %s/%s: cannot be read: %s; check the disk", what, dir->path, name,
                          strerror(errno));
        else if ((size_t)n == *len)
            result = FAIL(error, "%s %s/%s: is far too large; restore the right file", what, dir->path, name);
        else
            *len = (size_t)n;
    }
    if (result == OK)
        *modified = st.st_mtime > 0 ? (uint64_t)st.st_mtime : 0;
    (void)close(fd);
    return result;
}

static bool write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return fsync(fd) == 0;
}

/* A name that nobody else writes at the same moment: a second process may share the directory. */
static enum status temporary_name(const char *name, char *out, size_t cap)
{
    uint8_t random[8];
    enum status s = random_draw(NULL, random, sizeof random);

    if (s != OK)
        return s;
    int n = snprintf(out, cap, ".%s.%02x%02x%02x%02x%02x%02x%02x%02x", name, random[0], random[1], random[2],
                     random[3], random[4], random[5], random[6], random[7]);
    return n > 0 && (size_t)n < cap ? OK : ERR_SIZE;
}

static bool rename_into_place(const struct key_dir *dir, const char *from, const char *to, bool replace)
{
    if (replace)
        return renameat(dir->fd, from, dir->fd, to) == 0;
    if (renameat2(dir->fd, from, dir->fd, to, RENAME_NOREPLACE) == 0)
        return true;
    if (errno != EINVAL && errno != ENOSYS) /* some file systems cannot do that; linking is as atomic */
        return false;
    return linkat(dir->fd, from, dir->fd, to, 0) == 0 && unlinkat(dir->fd, from, 0) == 0;
}

enum status key_file_write(const struct key_dir *dir, const char *name, const char *what, const uint8_t *data,
                           size_t len, bool replace, struct key_error *error)
{
    char temporary[128];

    if (temporary_name(name, temporary, sizeof temporary) != OK)
        return FAIL(error, "%s %s/%s: no random numbers", what, dir->path, name);
    int fd = openat(dir->fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return FAIL(error, "%s %s/%s: cannot be written: %s; uid %u must be able to write there", what,
                    dir->path, name, strerror(errno), (unsigned)dir->owner);
    bool done = write_all(fd, data, len);
    int code = errno;
    if (close(fd) != 0 && done) {
        done = false;
        code = errno;
    }
    if (done) {
        done = rename_into_place(dir, temporary, name, replace);
        code = errno;
    }
    if (!done)
        (void)unlinkat(dir->fd, temporary, 0);
    if (!done && code == EEXIST && !replace)
        return ERR_EXISTS;
    if (done && fsync(dir->fd) != 0) {
        done = false;
        code = errno;
    }
    if (!done)
        return FAIL(error, "%s %s/%s: cannot be written: %s; make room or repair the disk", what, dir->path,
                    name, strerror(code));
    return OK;
}
