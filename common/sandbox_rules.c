/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which role may call what: the whole permit table of the seccomp layer. What is not here kills the caller. A
 * line may be read as "this call, by these roles, with these arguments". Nothing but the table belongs here.
 *
 * REFUSE lines answer with an error instead of death, for what a library tries and can do without: threads by
 * clone3 (glibc falls back to clone, whose flags a filter can see), name service over local and netlink
 * sockets.
 */
#include "common/sandbox_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/* Newer than the build headers may be. */
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

enum {
    SUPERVISOR = WHO_SUPERVISOR,
    CRYPTO = WHO_CRYPTO,
    SERVER_SESSION = WHO_SERVER_SESSION,
    DIALER = WHO_DIALER,
    ADMIN = WHO_ADMIN,
    K8S = WHO_K8S,
    SESSIONS = WHO_SERVER_SESSION | WHO_CLIENT_SESSION,
    STREAMS = SESSIONS | ADMIN, /* read and write connections that others made */
    CONNECTORS = DIALER | K8S,  /* make connections */
    NETWORK = STREAMS | CONNECTORS,
    READERS = CRYPTO | CONNECTORS, /* open files: crypto its key directory, the others read-only */
    WORKERS = CRYPTO | NETWORK,
};

/* An int argument: the upper half of the register means nothing to the kernel. */
#define INT(arg, value) SCMP_CMP(arg, SCMP_CMP_MASKED_EQ, 0xffffffffu, (uint32_t)(value))
#define BITS(arg, mask, value) SCMP_CMP(arg, SCMP_CMP_MASKED_EQ, (mask), (value))
#define WITHOUT(arg, mask) BITS(arg, mask, 0)

/* clang-format off */
#define ALLOW(name, roles) {.call = SCMP_SYS(name), .who = (roles)}
#define ALLOW1(name, roles, a) {.call = SCMP_SYS(name), .who = (roles), .n_args = 1, .args = {a}}
#define ALLOW2(name, roles, a, b) {.call = SCMP_SYS(name), .who = (roles), .n_args = 2, .args = {a, b}}
#define ALLOW3(name, roles, a, b, c) {.call = SCMP_SYS(name), .who = (roles), .n_args = 3, .args = {a, b, c}}
#define REFUSE(name, roles, code) {.call = SCMP_SYS(name), .who = (roles), .error = (code)}
#define REFUSE1(name, roles, code, a) \
    {.call = SCMP_SYS(name), .who = (roles), .error = (code), .n_args = 1, .args = {a}}

/* Kind without SOCK_NONBLOCK and SOCK_CLOEXEC. The exact protocol: Landlock's ports are TCP's, not MPTCP's. */
#define SOCKET(roles, family, kind, protocol) \
    ALLOW3(socket, roles, INT(0, family), BITS(1, 0xf, kind), INT(2, protocol))
#define GETSOCKOPT(roles, level) ALLOW1(getsockopt, roles, INT(1, level))
#define SETSOCKOPT(roles, level, option) ALLOW2(setsockopt, roles, INT(1, level), INT(2, option))
#define PRCTL(what) ALLOW1(prctl, SUPERVISOR, INT(0, what))
#define FCNTL(roles, command) ALLOW1(fcntl, roles, INT(1, command))
#define IOCTL(roles, request) ALLOW1(ioctl, roles, INT(1, request))

#define NEW_NAMESPACES                                                                                       \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |            \
     CLONE_NEWNET)
/* What pthread_create() passes, exactly: a thread, never a process. */
#define THREAD                                                                                               \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |       \
     CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)
/* Opening with any of these changes something. */
#define WRITING (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND)

const struct sandbox_rule sandbox_rules[] = {
    /* ---- the loop: what has no argument filter is also what runs hot ---- */
    ALLOW(read, WORKERS), ALLOW(readv, WORKERS), ALLOW(write, WORKERS), ALLOW(writev, WORKERS),
    ALLOW(recvmsg, WORKERS), ALLOW(close, WORKERS),
    ALLOW(epoll_wait, WORKERS), ALLOW(epoll_pwait, WORKERS), ALLOW(epoll_pwait2, WORKERS),
    ALLOW(epoll_ctl, WORKERS), ALLOW(poll, WORKERS), ALLOW(ppoll, WORKERS),
    ALLOW(recvfrom, NETWORK), ALLOW(shutdown, NETWORK), ALLOW(accept4, SERVER_SESSION | ADMIN),
    /* Sending is never connecting: a listener that was shut down could otherwise dial out (TCP fast open). */
    ALLOW1(sendmsg, WORKERS, WITHOUT(2, MSG_FASTOPEN)),
    ALLOW2(sendto, STREAMS, WITHOUT(3, MSG_FASTOPEN), SCMP_CMP(4, SCMP_CMP_EQ, 0)),
    ALLOW1(sendto, CONNECTORS, WITHOUT(3, MSG_FASTOPEN)), ALLOW1(sendmmsg, DIALER, WITHOUT(3, MSG_FASTOPEN)),
    ALLOW(getsockname, NETWORK), ALLOW(getpeername, NETWORK),

    /* ---- the process itself ---- */
    ALLOW(exit, WORKERS), ALLOW(exit_group, WORKERS), ALLOW(rt_sigreturn, WORKERS),
    ALLOW(rt_sigprocmask, WORKERS), ALLOW(rt_sigaction, WORKERS), ALLOW(restart_syscall, WORKERS),
    ALLOW(futex, WORKERS), ALLOW(getpid, WORKERS), ALLOW(gettid, WORKERS), ALLOW(getppid, WORKERS),
    ALLOW(getuid, WORKERS), ALLOW(geteuid, WORKERS), ALLOW(getgid, WORKERS), ALLOW(getegid, WORKERS),
    ALLOW(clock_gettime, WORKERS), ALLOW(clock_getres, WORKERS), ALLOW(gettimeofday, WORKERS),
    ALLOW(time, WORKERS), ALLOW(getrandom, WORKERS), ALLOW(sysinfo, WORKERS), ALLOW(getrusage, WORKERS),
    REFUSE1(prctl, WORKERS | SUPERVISOR, EINVAL, INT(0, PR_SET_VMA)),

    /* ---- memory: anonymous, private, never code ---- */
    ALLOW(brk, WORKERS), ALLOW(munmap, WORKERS), ALLOW(mremap, WORKERS), ALLOW(madvise, WORKERS),
    ALLOW2(mmap, WORKERS, WITHOUT(2, PROT_EXEC),
           BITS(3, MAP_ANONYMOUS | MAP_TYPE, MAP_ANONYMOUS | MAP_PRIVATE)),
    ALLOW1(mprotect, WORKERS, WITHOUT(2, PROT_EXEC)),
    ALLOW(mlock, CRYPTO), ALLOW(mlock2, CRYPTO), ALLOW(munlock, CRYPTO),

    /* ---- descriptors ---- */
    FCNTL(WORKERS, F_GETFL), FCNTL(WORKERS, F_SETFL), FCNTL(WORKERS, F_GETFD), FCNTL(WORKERS, F_SETFD),
    FCNTL(WORKERS, F_DUPFD_CLOEXEC),
    FCNTL(CRYPTO, F_SETLK), FCNTL(CRYPTO, F_OFD_SETLK),
    IOCTL(NETWORK, FIONREAD), IOCTL(NETWORK, FIONBIO), IOCTL(NETWORK, SIOCOUTQ), IOCTL(NETWORK, SIOCOUTQNSD),
    ALLOW(fstat, WORKERS), ALLOW1(newfstatat, WORKERS & ~READERS, BITS(3, AT_EMPTY_PATH, AT_EMPTY_PATH)),
    ALLOW(lseek, READERS),

    /* ---- sockets ---- */
    GETSOCKOPT(NETWORK, SOL_SOCKET), GETSOCKOPT(NETWORK, IPPROTO_TCP),
    SETSOCKOPT(NETWORK, SOL_SOCKET, SO_LINGER), SETSOCKOPT(NETWORK, SOL_SOCKET, SO_KEEPALIVE),
    SETSOCKOPT(NETWORK, SOL_SOCKET, SO_SNDBUF), SETSOCKOPT(NETWORK, SOL_SOCKET, SO_RCVBUF),
    SETSOCKOPT(NETWORK, SOL_SOCKET, SO_RCVLOWAT),
    SETSOCKOPT(NETWORK, IPPROTO_TCP, TCP_NODELAY), SETSOCKOPT(NETWORK, IPPROTO_TCP, TCP_NOTSENT_LOWAT),
    SETSOCKOPT(NETWORK, IPPROTO_TCP, TCP_USER_TIMEOUT), SETSOCKOPT(NETWORK, IPPROTO_TCP, TCP_QUICKACK),
    SETSOCKOPT(NETWORK, IPPROTO_TCP, TCP_CORK), SETSOCKOPT(NETWORK, IPPROTO_TCP, TCP_KEEPIDLE),
    SETSOCKOPT(NETWORK, IPPROTO_TCP, TCP_KEEPINTVL), SETSOCKOPT(NETWORK, IPPROTO_TCP, TCP_KEEPCNT),
    SETSOCKOPT(DIALER, IPPROTO_IP, IP_RECVERR), SETSOCKOPT(DIALER, IPPROTO_IPV6, IPV6_RECVERR),
    SOCKET(CONNECTORS, AF_INET, SOCK_STREAM, 0), SOCKET(CONNECTORS, AF_INET, SOCK_STREAM, IPPROTO_TCP),
    SOCKET(CONNECTORS, AF_INET6, SOCK_STREAM, 0), SOCKET(CONNECTORS, AF_INET6, SOCK_STREAM, IPPROTO_TCP),
    ALLOW(connect, CONNECTORS),
    ALLOW1(socketpair, SUPERVISOR | K8S, INT(0, AF_UNIX)), /* libcurl wakes itself with one */

    /* ---- the dialer's look-ups: UDP, threads; no other name service than files and DNS ---- */
    SOCKET(DIALER, AF_INET, SOCK_DGRAM, 0), SOCKET(DIALER, AF_INET, SOCK_DGRAM, IPPROTO_UDP),
    SOCKET(DIALER, AF_INET6, SOCK_DGRAM, 0), SOCKET(DIALER, AF_INET6, SOCK_DGRAM, IPPROTO_UDP),
    REFUSE1(socket, DIALER, EACCES, INT(0, AF_UNIX)),
    REFUSE1(socket, DIALER | SUPERVISOR, EACCES, INT(0, AF_NETLINK)),
    ALLOW(recvmmsg, DIALER), IOCTL(DIALER, SIOCGIFINDEX) /* fe80::1%eth0 */,
    ALLOW1(clone, DIALER, INT(0, THREAD)), REFUSE(clone3, DIALER | SUPERVISOR, ENOSYS),
    ALLOW(set_robust_list, DIALER), ALLOW(rseq, DIALER), ALLOW(sched_getaffinity, DIALER),
    ALLOW(sched_yield, DIALER), ALLOW(clock_nanosleep, DIALER), ALLOW(nanosleep, DIALER), ALLOW(uname, DIALER),

    /* ---- files: read for those who connect, the key directory for crypto ---- */
    ALLOW1(openat, CONNECTORS, WITHOUT(2, WRITING)), ALLOW1(open, CONNECTORS, WITHOUT(1, WRITING)),
    ALLOW(newfstatat, READERS), ALLOW(statx, READERS), ALLOW(pread64, READERS),
    ALLOW(getdents64, CRYPTO | K8S),
    ALLOW(openat, CRYPTO), ALLOW(pwrite64, CRYPTO), ALLOW(fsync, CRYPTO), ALLOW(fdatasync, CRYPTO),
    ALLOW(ftruncate, CRYPTO), ALLOW(renameat, CRYPTO), ALLOW(renameat2, CRYPTO), ALLOW(unlinkat, CRYPTO),
    ALLOW(fchmod, CRYPTO), ALLOW(flock, CRYPTO),

    /* ---- the supervisor alone ---- */
    ALLOW(open, SUPERVISOR), ALLOW(openat, SUPERVISOR), ALLOW(stat, SUPERVISOR), ALLOW(lstat, SUPERVISOR),
    ALLOW(access, SUPERVISOR), ALLOW(faccessat, SUPERVISOR), ALLOW(faccessat2, SUPERVISOR),
    ALLOW(readlink, SUPERVISOR), ALLOW(readlinkat, SUPERVISOR), ALLOW(getcwd, SUPERVISOR),
    ALLOW(unlink, SUPERVISOR), ALLOW(rename, SUPERVISOR), ALLOW(mkdir, SUPERVISOR), ALLOW(mkdirat, SUPERVISOR),
    ALLOW(rmdir, SUPERVISOR), ALLOW(chmod, SUPERVISOR), ALLOW(fchmodat, SUPERVISOR), ALLOW(chown, SUPERVISOR),
    ALLOW(lchown, SUPERVISOR), ALLOW(fchown, SUPERVISOR), ALLOW(fchownat, SUPERVISOR), ALLOW(umask, SUPERVISOR),
    ALLOW(fallocate, SUPERVISOR), ALLOW(fadvise64, SUPERVISOR), ALLOW(statfs, SUPERVISOR),
    ALLOW(fstatfs, SUPERVISOR), FCNTL(SUPERVISOR, F_DUPFD), FCNTL(SUPERVISOR, F_GETLK),
    FCNTL(SUPERVISOR, F_SETLKW), FCNTL(SUPERVISOR, F_OFD_GETLK),
    ALLOW(mmap, SUPERVISOR), ALLOW(mprotect, SUPERVISOR), ALLOW(epoll_create1, SUPERVISOR),
    ALLOW(eventfd2, SUPERVISOR), ALLOW(pipe2, SUPERVISOR), ALLOW(dup, SUPERVISOR), ALLOW(dup2, SUPERVISOR),
    ALLOW(dup3, SUPERVISOR), ALLOW(close_range, SUPERVISOR), ALLOW(newfstatat, SUPERVISOR),
    ALLOW1(socket, SUPERVISOR, INT(0, AF_UNIX)),
    ALLOW(bind, SUPERVISOR), ALLOW(listen, SUPERVISOR),
    SETSOCKOPT(SUPERVISOR, SOL_SOCKET, SO_REUSEADDR), SETSOCKOPT(SUPERVISOR, IPPROTO_IPV6, IPV6_V6ONLY),
    IOCTL(SUPERVISOR, TCGETS), IOCTL(SUPERVISOR, TIOCGWINSZ),
    ALLOW1(clone, SUPERVISOR, WITHOUT(0, NEW_NAMESPACES)), ALLOW(vfork, SUPERVISOR), ALLOW(fork, SUPERVISOR),
    ALLOW(execve, SUPERVISOR), ALLOW(wait4, SUPERVISOR), ALLOW(waitid, SUPERVISOR),
    /* Never to everybody or to another group; with Landlock's scope to the own children alone. */
    ALLOW1(kill, SUPERVISOR, WITHOUT(0, 0x80000000u)), ALLOW(tgkill, SUPERVISOR),
    ALLOW(getrlimit, SUPERVISOR), ALLOW(setrlimit, SUPERVISOR), ALLOW1(prlimit64, SUPERVISOR, INT(0, 0)), /* its own only */
    /* What a fresh executable calls before its own main(). */
    ALLOW(arch_prctl, SUPERVISOR), ALLOW(set_tid_address, SUPERVISOR), ALLOW(sigaltstack, SUPERVISOR),
    /* What sandbox_enter() calls in a worker; the capabilities decide what it can do. */
    PRCTL(PR_SET_PDEATHSIG), PRCTL(PR_SET_DUMPABLE), PRCTL(PR_SET_NO_NEW_PRIVS), PRCTL(PR_GET_NO_NEW_PRIVS),
    PRCTL(PR_CAPBSET_READ), PRCTL(PR_CAPBSET_DROP), PRCTL(PR_CAP_AMBIENT), PRCTL(PR_GET_SECCOMP),
    PRCTL(PR_SET_SECCOMP), PRCTL(PR_SET_NAME), PRCTL(PR_GET_SECUREBITS),
    ALLOW(chroot, SUPERVISOR), ALLOW(chdir, SUPERVISOR), ALLOW(capget, SUPERVISOR),
    ALLOW(capset, SUPERVISOR), ALLOW(setgroups, SUPERVISOR), ALLOW(getgroups, SUPERVISOR),
    ALLOW(setresuid, SUPERVISOR), ALLOW(setresgid, SUPERVISOR), ALLOW(getresuid, SUPERVISOR),
    ALLOW(getresgid, SUPERVISOR), ALLOW(seccomp, SUPERVISOR), ALLOW(landlock_create_ruleset, SUPERVISOR),
    ALLOW(landlock_add_rule, SUPERVISOR), ALLOW(landlock_restrict_self, SUPERVISOR),
};
/* clang-format on */

const size_t sandbox_rules_count = sizeof sandbox_rules / sizeof sandbox_rules[0];
