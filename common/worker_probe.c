/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See worker_probe.h. Each attempt is made with as little around it as can be, so that what is refused is the
 * attempt itself. Must be in no executable that is installed.
 */
#ifdef WORMHOLE_PROBES

#include "common/worker_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static char probe_page[8192];

static const char *env(const char *name)
{
    char full[64];
    (void)snprintf(full, sizeof full, "WORMHOLE_PROBE_%s", name);
    const char *value = getenv(full);
    return value != NULL ? value : "/nonexistent";
}

/* A new name in the directory that everybody may write to. */
static const char *scratch(const char *what)
{
    static char path[300];
    (void)snprintf(path, sizeof path, "%s/%s-%d", env("SCRATCH"), what, getpid());
    return path;
}

static int create_and_remove(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd >= 0)
        (void)unlink(path);
    return fd;
}

static pid_t sibling(void)
{
    int pid = atoi(env("PID"));
    return pid > 1 ? pid : 2;
}

static const char *proc(const char *file)
{
    static char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", sibling(), file);
    return path;
}

static void *page_of(void *p)
{
    return (void *)(((uintptr_t)p + 4095) & ~(uintptr_t)4095);
}

static int map_failed(const void *map)
{
    return map == MAP_FAILED ? -1 : 0;
}

/* Every descriptor that was handed over: is it a directory that leads out? */
static int open_dotdot(void)
{
    int last = -1;
    errno = ENOENT;
    for (int fd = 3; fd < 64; fd++) {
        int up = openat(fd, "../../../../../../etc/passwd", O_RDONLY);
        if (up >= 0)
            return up;
        if (errno != EBADF && errno != ENOTDIR)
            last = errno;
    }
    errno = last > 0 ? last : ENOENT;
    return -1;
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int connect_to(int type)
{
    struct sockaddr_in address = loopback((uint16_t)atoi(env("PORT")));
    int fd = socket(AF_INET, type, 0);
    return fd < 0 ? -1 : connect(fd, (struct sockaddr *)&address, sizeof address);
}

static int connect_unix(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", env("UNIX"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return fd < 0 ? -1 : connect(fd, (struct sockaddr *)&address, sizeof address);
}

static int connect_abstract(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX}; /* its name begins with a NUL */
    int len = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "%s", env("ABSTRACT"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return fd < 0 ? -1
                  : connect(fd, (struct sockaddr *)&address,
                            (socklen_t)(sizeof(sa_family_t) + 1) + (socklen_t)len);
}

/* Unconnects and connects anew what was handed over as a connection. */
static int connect_on_handed(void)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    return connect(3, &none, sizeof none);
}

static int handed_listener(void)
{
    for (int fd = 3; fd < 64; fd++) {
        int listening = 0;
        socklen_t len = sizeof listening;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening != 0) {
            (void)shutdown(fd, SHUT_RDWR);
            return fd;
        }
    }
    errno = ENOENT;
    return -1;
}

static int fastopen_on(int fd)
{
    struct sockaddr_in address = loopback((uint16_t)atoi(env("PORT")));
    if (fd < 0)
        return -1;
    return (int)sendto(fd, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&address, sizeof address);
}

static int fastopen_message_on(int fd)
{
    struct sockaddr_in address = loopback((uint16_t)atoi(env("PORT")));
    struct iovec part = {.iov_base = (char[]){"x"}, .iov_len = 1};
    struct msghdr header = {
        .msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &part, .msg_iovlen = 1};
    return fd < 0 ? -1 : (int)sendmsg(fd, &header, MSG_FASTOPEN);
}

static int bind_to(int type)
{
    struct sockaddr_in address = loopback(0);
    int fd = socket(AF_INET, type, 0);
    return fd < 0 ? -1 : bind(fd, (struct sockaddr *)&address, sizeof address);
}

/* Reached is allowed: the descriptor is of the wrong kind on purpose. */
static int accept_nothing(void)
{
    int fd = accept4(0, NULL, NULL, SOCK_NONBLOCK);
    return fd < 0 && errno == ENOTSOCK ? 0 : fd;
}

static int exit_child(void)
{
    _exit(0);
}

static int fork_one(unsigned long flags)
{
    long pid = syscall(SYS_clone, flags, NULL, NULL, NULL, 0);
    if (pid == 0)
        syscall(SYS_exit_group, 0);
    return pid < 0 ? -1 : 0;
}

static void *thread_main(void *arg)
{
    return arg;
}

static int thread_one(void)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, thread_main, NULL);
    if (error == 0)
        (void)pthread_join(thread, NULL);
    errno = error;
    return error == 0 ? 0 : -1;
}

/* Own code made writable is no escape as long as it cannot be made code again. */
static int rewrite_text(void)
{
    uintptr_t page = (uintptr_t)&accept_nothing & ~(uintptr_t)4095;
    if (mprotect((void *)page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
        return -1;
    return 0;
}

static int call_i386(void)
{
#ifdef __x86_64__
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
    if (result < 0) {
        errno = (int)-result;
        return -1;
    }
    return 0;
#else
    errno = ENOSYS;
    return -1;
#endif
}

enum kind { PLAIN, PATH };

#define PROBE(name, kind, attempt)                                                                           \
    static long try_##name(void)                                                                             \
    {                                                                                                        \
        return (attempt);                                                                                    \
    }
#include "common/worker_probe.def"
#undef PROBE

static const struct {
    const char *name;
    enum kind kind;
    long (*attempt)(void);
} probes[] = {
#define PROBE(name, kind, attempt) {#name, kind, try_##name},
#include "common/worker_probe.def"
#undef PROBE
};
_Static_assert(sizeof probes / sizeof probes[0] < 256, "WORKER_SETUP.test_probe is a byte");

static int is_refusal(enum kind kind, int error)
{
    if (error == EPERM || error == EACCES || error == ENOSYS)
        return 1;
    return kind == PATH && (error == ENOENT || error == ENOTDIR);
}

void probe_try(unsigned probe, char *line, size_t cap)
{
    if (probe == 0 || probe > sizeof probes / sizeof probes[0]) {
        (void)snprintf(line, cap, "probe %u unknown", probe);
        return;
    }
    errno = 0;
    long result = probes[probe - 1].attempt();
    int error = errno;
    if (result < 0 && is_refusal(probes[probe - 1].kind, error))
        (void)snprintf(line, cap, "probe %s refused %s", probes[probe - 1].name, strerrorname_np(error));
    else
        (void)snprintf(line, cap, "probe %s allowed %s", probes[probe - 1].name,
                       result < 0 ? strerrorname_np(error) : "done");
}

#endif
