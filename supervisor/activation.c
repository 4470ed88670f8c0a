/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets from the service manager, see notify.h. Only checks and takes descriptors; binds nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "supervisor/notify.h"

#define FIRST_FD 3
#define FDS_MAX 16

static bool is_listening_tcp(int fd)
{
    int listening = 0;
    int domain = 0;
    int type = 0;
    socklen_t len = sizeof(int);

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0)
        return false;
    len = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0)
        return false;
    len = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0)
        return false;
    return listening == 1 && (domain == AF_INET || domain == AF_INET6) && type == SOCK_STREAM;
}

/* The next name of a list that is separated by colons; "" past its end. */
static void name_next(const char **list, char *out, size_t cap)
{
    size_t len = *list != NULL ? strcspn(*list, ":") : 0;

    (void)snprintf(out, cap, "%.*s", (int)len, *list != NULL ? *list : "");
    if (*list != NULL)
        *list = (*list)[len] == ':' ? *list + len + 1 : NULL;
}

enum status activation_take(int *tunnel, int *admin, int *metrics, struct config_error *error)
{
    const char *pid = getenv("LISTEN_PID");
    const char *count = getenv("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");
    enum status result = OK;

    if (pid == NULL || count == NULL || strtol(pid, NULL, 10) != (long)getpid())
        return OK;
    long n = strtol(count, NULL, 10);
    for (int fd = FIRST_FD; fd < FIRST_FD + n && n <= FDS_MAX; fd++) {
        char name[64];
        name_next(&names, name, sizeof name);
        int *place = strcmp(name, "admin") == 0 ? admin : strcmp(name, "metrics") == 0 ? metrics : tunnel;
        if (!is_listening_tcp(fd) || *place >= 0) {
            (void)snprintf(error->text, sizeof error->text,
                           "descriptor %d (\"%s\") from the service manager is %s; see ListenStream= and "
                           "FileDescriptorName= of the socket unit",
                           fd, name, *place >= 0 ? "one too many of its name" : "no listening TCP socket");
            result = ERR_CONFIG;
            (void)close(fd);
            continue;
        }
        /* Away from the numbers that workers' channels use. */
        *place = fcntl(fd, F_DUPFD_CLOEXEC, 10);
        (void)close(fd);
        (void)fcntl(*place, F_SETFL, fcntl(*place, F_GETFL) | O_NONBLOCK);
    }
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    return result;
}
