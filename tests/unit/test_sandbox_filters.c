/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each role's seccomp filter, in the kernel: every system call number that has no line in the table kills,
 * and the argument filters let pass what they should and nothing beside it. Calls with a line and no argument
 * filter are not made; the escape probes and the integration tests make those.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/sandbox.h"
#include "common/sandbox_rules.h"

static const struct {
    const char *name;
    enum role role;
    enum side side;
    unsigned who;
} roles[] = {
    {"supervisor", ROLE_SUPERVISOR, SIDE_SERVER, WHO_SUPERVISOR},
    {"crypto", ROLE_CRYPTO, SIDE_SERVER, WHO_CRYPTO},
    {"server session", ROLE_SESSION, SIDE_SERVER, WHO_SERVER_SESSION},
    {"client session", ROLE_SESSION, SIDE_CLIENT, WHO_CLIENT_SESSION},
    {"dialer", ROLE_DIALER, SIDE_CLIENT, WHO_DIALER},
    {"admin", ROLE_ADMIN, SIDE_SERVER, WHO_ADMIN},
    {"k8s", ROLE_K8S, SIDE_SERVER, WHO_K8S},
};
#define N_ROLES (sizeof roles / sizeof roles[0])

/* What became of one call in a child that is in the role's filter. */
enum fate { KILLED = -1, FILTER_FAILED = -2 }; /* else: the errno, 0 for success */

static int call_in(size_t role, long number, const long a[6])
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
            sandbox_seccomp_install(roles[role].role, roles[role].side) != OK)
            _exit(255);
        errno = 0;
        long result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        syscall(SYS_exit_group, result < 0 ? errno & 0x7f : 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGSYS ? KILLED : FILTER_FAILED;
    return WEXITSTATUS(status) == 255 ? FILTER_FAILED : WEXITSTATUS(status);
}

/* The kernel lets these pass every filter (6.14 and later); outside a probe's trampoline they end in SIGILL.
 */
static bool is_uprobe(long number)
{
    return number == 335 || number == 336;
}

static bool has_line(size_t role, long number)
{
    for (size_t i = 0; i < sandbox_rules_count; i++) {
        bool mine = (sandbox_rules[i].who & roles[role].who) != 0;
        if (sandbox_rules[i].call == number && (mine || roles[role].role == ROLE_SUPERVISOR))
            return true;
    }
    return number == SYS_tgkill;
}

static void test_everything_else_kills(void **state)
{
    (void)state;
    static const long none[6] = {-1, -1, -1, -1, -1, -1};
    for (size_t role = 0; role < N_ROLES; role++) {
        unsigned killed = 0;
        for (long number = 0; number < 480; number++) {
            if (has_line(role, number) || is_uprobe(number))
                continue;
            int fate = call_in(role, number, none);
            if (fate != KILLED)
                fail_msg("%s: system call %ld is not in the table and got %d", roles[role].name, number,
                         fate);
            killed++;
        }
        assert_true(killed > 250);
    }
}

static void test_other_doors_kill(void **state)
{
    (void)state;
    static const long none[6] = {0};
    for (size_t role = 0; role < N_ROLES; role++)
        assert_int_equal(call_in(role, 0x40000000 | SYS_getpid, none), KILLED); /* x32 */
}

struct argument_case {
    long number;
    long args[6];
    unsigned allowed; /* WHO_*: for whom it is no death */
};

#define ALL_WORKERS (WHO_CRYPTO | WHO_SERVER_SESSION | WHO_CLIENT_SESSION | WHO_DIALER | WHO_ADMIN | WHO_K8S)
#define SESSIONS_AND_ADMIN (WHO_SERVER_SESSION | WHO_CLIENT_SESSION | WHO_ADMIN)
#define CONNECTORS (WHO_DIALER | WHO_K8S)
#define NETWORK (SESSIONS_AND_ADMIN | CONNECTORS)

static const struct argument_case cases[] = {
    /* anonymous private memory, never code; the supervisor's filter has to let a new program load */
    {SYS_mmap,
     {0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0},
     ALL_WORKERS | WHO_SUPERVISOR},
    {SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0}, WHO_SUPERVISOR},
    {SYS_mmap, {0, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0}, WHO_SUPERVISOR},
    {SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE, 0, 0}, WHO_SUPERVISOR},
    {SYS_mprotect, {0, 0, PROT_READ}, ALL_WORKERS | WHO_SUPERVISOR},
    {SYS_mprotect, {0, 0, PROT_READ | PROT_EXEC}, WHO_SUPERVISOR},
    /* sockets by family, kind and protocol */
    {SYS_socket, {AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0}, CONNECTORS | WHO_SUPERVISOR},
    {SYS_socket, {AF_INET6, SOCK_STREAM, IPPROTO_TCP}, CONNECTORS | WHO_SUPERVISOR},
    {SYS_socket, {AF_INET, SOCK_STREAM, 262 /* MPTCP */}, 0},
    {SYS_socket, {AF_INET, SOCK_STREAM, 132 /* SCTP */}, 0},
    {SYS_socket, {AF_INET, SOCK_DGRAM, 0}, WHO_DIALER | WHO_SUPERVISOR},
    {SYS_socket, {AF_INET, SOCK_RAW, IPPROTO_TCP}, 0},
    {SYS_socket, {AF_UNIX, SOCK_STREAM, 0}, WHO_DIALER /* refused, alive */ | WHO_SUPERVISOR},
    {SYS_socket, {AF_NETLINK, SOCK_RAW, 0}, WHO_DIALER /* refused, alive */ | WHO_SUPERVISOR /* the same */},
    {SYS_socket, {AF_PACKET, SOCK_RAW, 0}, 0},
    {SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0, 0}, WHO_K8S | WHO_SUPERVISOR},
    {SYS_socketpair, {38 /* AF_ALG */, SOCK_STREAM, 0, 0}, 0},
    /* sending never connects */
    {SYS_sendto, {-1, 0, 0, MSG_NOSIGNAL, 0, 0}, NETWORK | WHO_SUPERVISOR},
    {SYS_sendto, {-1, 0, 0, MSG_FASTOPEN, 0, 0}, 0},
    {SYS_sendto, {-1, 0, 0, 0, 4096, 16}, CONNECTORS | WHO_SUPERVISOR},
    {SYS_sendmsg, {-1, 0, MSG_NOSIGNAL}, ALL_WORKERS | WHO_SUPERVISOR},
    {SYS_sendmsg, {-1, 0, MSG_FASTOPEN}, 0},
    {SYS_sendmsg, {-1, 0, MSG_FASTOPEN | MSG_NOSIGNAL}, 0},
    {SYS_sendmmsg, {-1, 0, 0, 0}, WHO_DIALER | WHO_SUPERVISOR},
    {SYS_sendmmsg, {-1, 0, 0, MSG_FASTOPEN}, 0},
    {SYS_accept4, {-1, 0, 0, 0}, WHO_SERVER_SESSION | WHO_ADMIN | WHO_SUPERVISOR},
    /* options */
    {SYS_setsockopt, {-1, IPPROTO_TCP, TCP_NODELAY, 0, 0}, NETWORK | WHO_SUPERVISOR},
    {SYS_setsockopt, {-1, SOL_SOCKET, SO_LINGER, 0, 0}, NETWORK | WHO_SUPERVISOR},
    {SYS_setsockopt, {-1, SOL_SOCKET, SO_REUSEADDR, 0, 0}, WHO_SUPERVISOR},
    {SYS_setsockopt, {-1, IPPROTO_TCP, TCP_ULP, 0, 0}, 0},
    {SYS_setsockopt, {-1, SOL_SOCKET, SO_ATTACH_FILTER, 0, 0}, 0},
    {SYS_setsockopt, {-1, IPPROTO_IP, 64, 0, 0}, 0},
    {SYS_getsockopt, {-1, SOL_SOCKET, SO_ERROR, 0, 0}, NETWORK | WHO_SUPERVISOR},
    {SYS_getsockopt, {-1, IPPROTO_IP, 64, 0, 0}, 0},
    /* descriptors */
    {SYS_fcntl, {-1, F_SETFL, 0}, ALL_WORKERS | WHO_SUPERVISOR},
    {SYS_fcntl, {-1, F_DUPFD_CLOEXEC, 0}, ALL_WORKERS | WHO_SUPERVISOR},
    {SYS_fcntl, {-1, F_SETOWN, 1}, 0},
    {SYS_fcntl, {-1, F_SETLK, 0}, WHO_CRYPTO | WHO_SUPERVISOR},
    {SYS_ioctl, {-1, FIONREAD, 0}, NETWORK | WHO_SUPERVISOR},
    {SYS_ioctl, {-1, TIOCSTI, 0}, 0},
    {SYS_ioctl, {-1, FIOSETOWN, 0}, 0},
    {SYS_ioctl, {-1, TCGETS, 0}, WHO_SUPERVISOR},
    /* files: reading only, but for the key directory and the state */
    {SYS_openat, {-1, 0, O_RDONLY | O_CLOEXEC, 0}, WHO_CRYPTO | CONNECTORS | WHO_SUPERVISOR},
    {SYS_openat, {-1, 0, O_RDWR, 0}, WHO_CRYPTO | WHO_SUPERVISOR},
    {SYS_openat, {-1, 0, O_RDONLY | O_CREAT, 0}, WHO_CRYPTO | WHO_SUPERVISOR},
    {SYS_newfstatat, {-1, 0, 0, AT_EMPTY_PATH}, ALL_WORKERS | WHO_SUPERVISOR},
    {SYS_newfstatat, {-1, 0, 0, 0}, WHO_CRYPTO | CONNECTORS | WHO_SUPERVISOR},
    /* processes */
    {SYS_clone, {CLONE_NEWUSER | SIGCHLD}, 0},
    {SYS_clone, {CLONE_NEWNET | SIGCHLD}, 0},
    {SYS_clone3, {0, 0}, WHO_DIALER | WHO_SUPERVISOR}, /* ENOSYS */
    {SYS_kill, {0x7fffffff, 0}, WHO_SUPERVISOR},
    {SYS_kill, {-1, 0}, 0},
    {SYS_tgkill, {1, 1, 0}, WHO_SUPERVISOR},
    {SYS_prctl, {PR_SET_DUMPABLE, 1}, WHO_SUPERVISOR},
    {SYS_prctl, {PR_SET_KEEPCAPS, 1}, 0},
    {SYS_prctl, {PR_SET_PTRACER, -1}, 0},
    {SYS_prctl, {PR_SET_VMA, 0}, ALL_WORKERS | WHO_SUPERVISOR}, /* EINVAL */
};

static void test_arguments(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t role = 0; role < N_ROLES; role++) {
            int fate = call_in(role, cases[i].number, cases[i].args);
            bool expected = (cases[i].allowed & roles[role].who) != 0;
            if (fate == FILTER_FAILED || (fate != KILLED) != expected)
                fail_msg("%s: case %zu (call %ld) %s", roles[role].name, i, cases[i].number,
                         expected ? "was killed" : "was let through");
        }
    }
}

/* An int argument's upper half is not looked at by the kernel, so it must not get anything past a filter. */
static void test_upper_halves(void **state)
{
    (void)state;
    static const long dirty[6] = {(long)0xffffffff00000000ul | AF_UNIX, SOCK_STREAM, 0, 0};
    static const long clean_but_dirty[6] = {(long)0x1234567800000000ul | AF_INET, SOCK_STREAM, 0};
    for (size_t role = 0; role < N_ROLES; role++) {
        if (roles[role].who & (WHO_K8S | SESSIONS_AND_ADMIN))
            assert_int_equal(call_in(role, SYS_socket, dirty), KILLED);
        if (roles[role].who & CONNECTORS)
            assert_int_not_equal(call_in(role, SYS_socket, clean_but_dirty), KILLED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_else_kills),
        cmocka_unit_test(test_other_doors_kill),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_upper_halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
