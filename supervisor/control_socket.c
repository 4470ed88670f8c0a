/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See control_socket.h. Opening happens before lockdown; closing after it, with what lockdown leaves.
 */
#include "supervisor/control_socket.h"

#include <errno.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16
#define GROUPS_MAX 256 /* supplementary groups of an operator that are looked at */

__attribute__((format(printf, 4, 5))) static enum status fail(struct config_error *error, enum status status,
                                                              const char *path, const char *format, ...)
{
    char what[360];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    (void)snprintf(error->text, sizeof error->text, "control socket %.120s: %s", path, what);
    return status;
}

static enum status find_group(struct control_socket *cs, const char *group, struct config_error *error)
{
    if (group == NULL || group[0] == '\0')
        return OK;
    const struct group *found = getgrnam(group);
    if (found == NULL)
        return fail(error, ERR_CONFIG, cs->path, "there is no group \"%s\" (--control-group)", group);
    cs->has_group = true;
    cs->group = found->gr_gid;
    return OK;
}

/* As root others must be able to pass through to the socket (its own mode protects it); as a user nobody
 * must. */
static void make_directory(const char *path)
{
    char directory[sizeof((struct control_socket *)0)->path];
    (void)snprintf(directory, sizeof directory, "%s", path);
    char *slash = strrchr(directory, '/');
    if (slash == NULL || slash == directory)
        return;
    *slash = '\0';
    (void)mkdir(directory, geteuid() == 0 ? 0755 : 0700);
}

/* What is already at the path: nothing, a dead supervisor's socket (removed), or a reason to stop. */
static enum status clear_path(const struct control_socket *cs, const struct sockaddr_un *address,
                              struct config_error *error)
{
    struct stat st;
    if (lstat(cs->path, &st) != 0)
        return OK;
    if (!S_ISSOCK(st.st_mode))
        return fail(error, ERR_CONFIG, cs->path,
                    "something else has this name: remove it, or choose another path "
                    "with --control-socket");
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(error, ERR_IO, cs->path, "%s", strerror(errno));
    int rc = connect(fd, (const struct sockaddr *)address, sizeof *address);
    int code = rc == 0 ? 0 : errno;
    (void)close(fd);
    /* EAGAIN: its backlog is full, so it lives. */
    if (code == 0 || code == EAGAIN)
        return fail(
            error, ERR_CONFLICT, cs->path,
            "another wormhole answers there: stop that one, or choose another path with --control-socket");
    if (code != ECONNREFUSED)
        return fail(error, ERR_IO, cs->path, "cannot tell whether it is in use: %s", strerror(code));
    if (unlink(cs->path) != 0)
        return fail(error, ERR_IO, cs->path, "a stale one cannot be removed: %s", strerror(errno));
    return OK;
}

static enum status bind_socket(struct control_socket *cs, const struct sockaddr_un *address,
                               struct config_error *error)
{
    struct stat st;
    bool has_it = false; /* the group, from the start: then nothing is asked that a service may be denied */
    cs->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (cs->fd < 0)
        return fail(error, ERR_IO, cs->path, "%s", strerror(errno));
    mode_t mask = umask(0177);
    int rc = bind(cs->fd, (const struct sockaddr *)address, sizeof *address);
    int code = errno;
    (void)umask(mask);
    if (rc != 0)
        return fail(error, ERR_IO, cs->path, "cannot be made: %s%s", strerror(code),
                    code == EACCES || code == ENOENT || code == EROFS
                        ? ": choose another path with --control-socket"
                        : "");
    if (lstat(cs->path, &st) == 0) {
        cs->device = st.st_dev;
        cs->inode = st.st_ino;
        has_it = st.st_gid == cs->group;
    }
    if (cs->has_group &&
        ((!has_it && chown(cs->path, (uid_t)-1, cs->group) != 0) || chmod(cs->path, 0660) != 0))
        return fail(error, ERR_IO, cs->path, "cannot be given to the group: %s", strerror(errno));
    if (listen(cs->fd, BACKLOG) != 0)
        return fail(error, ERR_IO, cs->path, "cannot listen: %s", strerror(errno));
    return OK;
}

enum status control_socket_open(struct control_socket *cs, const char *path, const char *group,
                                struct config_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *cs = (struct control_socket){.fd = -1};
    if (path == NULL || path[0] != '/')
        return fail(error, ERR_CONFIG, path == NULL ? "" : path, "an absolute path is needed");
    if (strlen(path) >= sizeof address.sun_path)
        return fail(error, ERR_CONFIG, path, "the path is too long: %zu bytes, at most %zu", strlen(path),
                    sizeof address.sun_path - 1);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    (void)snprintf(cs->path, sizeof cs->path, "%s", path);
    make_directory(path);
    enum status status = find_group(cs, group, error);
    if (status == OK)
        status = clear_path(cs, &address, error);
    if (status == OK)
        status = bind_socket(cs, &address, error);
    if (status != OK)
        control_socket_close(cs);
    return status;
}

void control_socket_close(struct control_socket *cs)
{
    struct stat st;
    if (cs->fd < 0)
        return;
    (void)close(cs->fd);
    cs->fd = -1;
    if (cs->inode != 0 && lstat(cs->path, &st) == 0 && st.st_dev == cs->device && st.st_ino == cs->inode)
        (void)unlink(cs->path);
}

bool control_socket_permits(const struct control_socket *cs, int fd, const struct ucred *who)
{
    gid_t groups[GROUPS_MAX];
    socklen_t len = sizeof groups;
    if (who->uid == 0 || who->uid == geteuid())
        return true;
    if (!cs->has_group)
        return false;
    if (who->gid == cs->group)
        return true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) != 0)
        return false;
    for (size_t i = 0; i < len / sizeof *groups; i++) {
        if (groups[i] == cs->group)
            return true;
    }
    return false;
}
