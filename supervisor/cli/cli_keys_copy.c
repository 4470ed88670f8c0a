/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wormhole keys copy FROM TO`: the files of a mounted Secret into a key directory with the owner and modes
 * that the crypto worker insists on. For the init container of a pod, whose image has no cp. It runs before
 * any server or client, looks at no byte of what it copies, wipes its buffer, and must never change FROM.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/cli/args.h"
#include "supervisor/cli/cli_keys_copy.h"

#define KEY_BYTES_MAX 16384

static int complain(const char *dir, const char *name, const char *what)
{
    cli_error("%s%s%s: %s: %s", dir, name[0] != '\0' ? "/" : "", name, what, strerror(errno));
    return EXIT_FAILED;
}

/* A Secret's entries are symbolic links into a directory whose name begins with a dot. */
static ssize_t file_read(int from, const char *name, char *buf)
{
    int fd = openat(from, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    ssize_t at = 0, n = -1;

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > KEY_BYTES_MAX)
        errno = EINVAL;
    else
        while ((n = read(fd, buf + at, (size_t)(KEY_BYTES_MAX - at))) > 0)
            at += n;
    int kept = errno;
    (void)close(fd);
    errno = kept;
    return n < 0 ? -1 : at;
}

/* Whole or not at all, and never readable by others for a moment. */
static bool file_write(int to, const char *name, const char *buf, ssize_t len)
{
    char temporary[NAME_MAX + 1];

    (void)snprintf(temporary, sizeof temporary, ".%.200s.new", name);
    int fd = openat(to, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    bool ok = fchmod(fd, 0600) == 0 && write(fd, buf, (size_t)len) == len && fsync(fd) == 0;
    int kept = errno;
    ok = close(fd) == 0 && ok && renameat(to, temporary, to, name) == 0;
    if (!ok)
        (void)unlinkat(to, temporary, 0);
    errno = kept;
    return ok;
}

static int copy_all(DIR *from, const char *from_path, int to, const char *to_path)
{
    char buf[KEY_BYTES_MAX];
    const struct dirent *entry;
    unsigned copied = 0;
    int code = EXIT_DONE;

    while (code == EXIT_DONE && (entry = readdir(from)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        ssize_t len = file_read(dirfd(from), entry->d_name, buf);
        if (len < 0)
            code = complain(from_path, entry->d_name, "cannot be read as a small file");
        else if (!file_write(to, entry->d_name, buf, len))
            code = complain(to_path, entry->d_name, "cannot be written");
        else
            copied++;
    }
    explicit_bzero(buf, sizeof buf);
    if (code == EXIT_DONE && copied == 0) {
        cli_error("%s: holds no file: the Secret's entries have to be the files of a key directory",
                  from_path);
        code = EXIT_FAILED;
    }
    if (code == EXIT_DONE)
        (void)fprintf(stderr, "Copied %u files to %s\n", copied, to_path);
    return code;
}

int keys_copy_run(const struct args *args)
{
    if (args->n_positional != 2) {
        cli_error("keys copy takes two directories: FROM and TO");
        return EXIT_USAGE_ERROR;
    }
    const char *from_path = args->positional[0], *to_path = args->positional[1];
    DIR *from = opendir(from_path);
    if (from == NULL)
        return complain(from_path, "", "cannot be opened");
    if (mkdir(to_path, 0700) != 0 && errno != EEXIST) {
        (void)closedir(from);
        return complain(to_path, "", "cannot be made");
    }
    int to = open(to_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int code = EXIT_FAILED;
    if (to < 0 || fchmod(to, 0700) != 0)
        code = complain(to_path, "", "cannot be opened");
    else
        code = copy_all(from, from_path, to, to_path);
    if (to >= 0)
        (void)close(to);
    (void)closedir(from);
    return code;
}
