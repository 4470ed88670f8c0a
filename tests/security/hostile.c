/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in a worker's place beside a copy of `wormhole`: for the roles that the test wants to play (a file
 * hostile-ROLE lies beside it) it hands the channel to the test over the socket `bridge` and waits to be
 * killed; for all others it becomes the real worker (real-NAME), with faults.so and its steering file
 * faults-ROLE where the link `faults` leads. It must not answer anything by itself.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char directory[4000];

static const char *beside(const char *prefix, const char *name)
{
    static char path[4200];
    (void)snprintf(path, sizeof path, "%s/%s%s", directory, prefix, name);
    return path;
}

/* The role and pid as text, with descriptor 3. */
static int hand_over(const char *role)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[64];
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.space = {0}};
    int channel = 3;
    int bridge = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", beside("", "bridge"));
    if (bridge < 0 || connect(bridge, (struct sockaddr *)&address, sizeof address) != 0)
        return -1;
    struct iovec part = {.iov_base = text,
                         .iov_len = (size_t)snprintf(text, sizeof text, "%s %d", role, getpid())};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof control.space};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof channel);
    memcpy(CMSG_DATA(c), &channel, sizeof channel);
    return sendmsg(bridge, &message, 0) < 0 ? -1 : close(channel);
}

/* The steering files are where the supervisor's rules let a process write: in its state directory. */
static void become_faulty(const char *role)
{
    char folder[3000];
    char path[3200];
    ssize_t n = readlink(beside("", "faults"), folder, sizeof folder - 1);
    if (n <= 0)
        return;
    folder[n] = '\0';
    (void)snprintf(path, sizeof path, "%s/faults-%s", folder, role);
    (void)setenv("WORMHOLE_FAULTS", path, 1);
    (void)setenv("LD_PRELOAD", beside("", "faults.so"), 1);
}

int main(int argc, char **argv)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* tests that are killed leave nothing behind */
    ssize_t n = readlink("/proc/self/exe", directory, sizeof directory - 1);
    char *slash = n > 0 ? strrchr(directory, '/') : NULL;
    if (slash == NULL || argc < 2)
        return 70;
    *slash = '\0';
    if (access(beside("hostile-", argv[1]), F_OK) != 0) {
        become_faulty(argv[1]);
        (void)execv(beside("real-", slash + 1), argv);
        return 71;
    }
    if (hand_over(argv[1]) != 0)
        return 72;
    for (;;)
        (void)poll(NULL, 0, -1);
}
