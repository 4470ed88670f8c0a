/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the control side stands on: the admin token's file, the control socket's mode and owner, names of
 * users, what the kernel says of a process, and labels of metrics.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/admin_token.h"
#include "supervisor/control.h"
#include "supervisor/control_socket.h"
#include "supervisor/metrics.h"
#include "supervisor/process_facts.h"
#include "supervisor/user_names.h"

struct fixture {
    char dir[64];
    char path[96];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/wormhole-control-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof f->path, "%s/it", f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    (void)unlink(f->path);
    (void)rmdir(f->dir);
    free(f);
    return 0;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

/* ---- token ---- */

static void test_token(void **state)
{
    struct fixture *f = *state;
    struct admin_token token;
    struct config_error error;
    write_file(f->path, "  correct-horse-battery \r\nsecond line\n", 0600);
    assert_int_equal(admin_token_load(&token, f->path, &error), OK);
    assert_true(token.set);
    assert_true(admin_token_matches(&token, "correct-horse-battery"));
    assert_false(admin_token_matches(&token, "correct-horse-batterz"));
    assert_false(admin_token_matches(&token, "correct-horse-battery "));
    assert_false(admin_token_matches(&token, "correct-horse"));
    assert_false(admin_token_matches(&token, ""));
    for (size_t i = 0; i + 7 <= sizeof token; i++)
        assert_memory_not_equal((const char *)&token + i, "correct", 7); /* only the hash is kept */
    assert_int_equal(admin_token_load(&token, NULL, &error), OK);
    assert_false(token.set);
    assert_false(admin_token_matches(&token, ""));
    assert_false(admin_token_matches(&token, "correct-horse-battery"));
}

static void test_bad_token_files(void **state)
{
    struct fixture *f = *state;
    char long_one[400];
    memset(long_one, 'x', sizeof long_one);
    long_one[257] = '\0';
    const struct {
        const char *text;
        mode_t mode;
        const char *words;
    } cases[] = {
        {"0123456789abcde\n", 0600, "at least 16"},
        {"", 0600, "at least 16"},
        {"\n0123456789abcdef\n", 0600, "at least 16"},
        {long_one, 0600, "more than 256"},
        {"0123456789 abcdef", 0600, "blank"},
        {"0123456789\x01"
         "abcdef",
         0600, "printable"},
        {"0123456789abcdef", 0644, "everybody may read"},
        {"0123456789abcdef", 0602, "everybody may change"},
    };
    struct admin_token token;
    struct config_error error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file(f->path, cases[i].text, cases[i].mode);
        assert_int_equal(admin_token_load(&token, f->path, &error), ERR_CONFIG);
        assert_false(token.set);
        if (strstr(error.text, cases[i].words) == NULL || strstr(error.text, f->path) == NULL)
            fail_msg("%zu: %s", i, error.text);
    }
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(admin_token_load(&token, f->path, &error), ERR_CONFIG);
    assert_non_null(strstr(error.text, "No such file"));
    assert_int_equal(admin_token_load(&token, f->dir, &error), ERR_CONFIG);
    assert_non_null(strstr(error.text, "not a regular file"));
}

/* ---- control socket ---- */

static int try_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

static void test_socket_modes(void **state)
{
    struct fixture *f = *state;
    struct control_socket cs;
    struct config_error error;
    struct stat st;
    (void)umask(0);
    assert_int_equal(control_socket_open(&cs, f->path, NULL, &error), OK);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    control_socket_close(&cs);
    assert_int_not_equal(stat(f->path, &st), 0);

    const struct group *own = getgrgid(getegid());
    assert_non_null(own);
    assert_int_equal(control_socket_open(&cs, f->path, own->gr_name, &error), OK);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    assert_int_equal(st.st_gid, getegid());
    control_socket_close(&cs);
}

static void test_socket_refusals(void **state)
{
    struct fixture *f = *state;
    struct control_socket cs;
    struct control_socket second;
    struct config_error error;
    assert_int_equal(control_socket_open(&cs, f->path, "no-such-group-here", &error), ERR_CONFIG);
    assert_non_null(strstr(error.text, "no-such-group-here"));
    assert_int_equal(control_socket_open(&cs, "relative.sock", NULL, &error), ERR_CONFIG);
    char long_path[110];
    memset(long_path, 'x', sizeof long_path);
    long_path[0] = '/';
    long_path[sizeof long_path - 1] = '\0';
    assert_int_equal(control_socket_open(&cs, long_path, NULL, &error), ERR_CONFIG);
    assert_non_null(strstr(error.text, "too long"));

    /* A living one is left alone. */
    assert_int_equal(control_socket_open(&cs, f->path, NULL, &error), OK);
    assert_int_equal(control_socket_open(&second, f->path, NULL, &error), ERR_CONFLICT);
    assert_non_null(strstr(error.text, "another wormhole answers"));
    int fd = try_connect(f->path);
    assert_true(fd >= 0);
    (void)close(fd);
    /* A dead one is replaced: the file stays when the process is killed. */
    (void)close(cs.fd);
    assert_int_equal(try_connect(f->path), -1);
    assert_int_equal(control_socket_open(&cs, f->path, NULL, &error), OK);
    fd = try_connect(f->path);
    assert_true(fd >= 0);
    (void)close(fd);
    /* What somebody else put there meanwhile is not removed at the end. */
    assert_int_equal(unlink(f->path), 0);
    write_file(f->path, "precious", 0600);
    control_socket_close(&cs);
    assert_int_equal(access(f->path, F_OK), 0);
    assert_int_equal(control_socket_open(&cs, f->path, NULL, &error), ERR_CONFIG);
    assert_non_null(strstr(error.text, "something else has this name"));
    assert_int_equal(access(f->path, F_OK), 0);
}

static void test_socket_permits(void **state)
{
    (void)state;
    struct control_socket cs = {.fd = -1};
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    const struct ucred root = {.uid = 0, .gid = 0};
    const struct ucred self = {.uid = geteuid(), .gid = getegid()};
    const struct ucred other = {.uid = 54321, .gid = 54321};
    assert_true(control_socket_permits(&cs, pair[0], &root));
    assert_true(control_socket_permits(&cs, pair[0], &self));
    assert_false(control_socket_permits(&cs, pair[0], &other));
    cs.has_group = true;
    cs.group = 54321;
    assert_true(control_socket_permits(&cs, pair[0], &other));
    cs.group = 54322;
    assert_false(control_socket_permits(&cs, pair[0], &other));
    (void)close(pair[0]);
    (void)close(pair[1]);
}

/* Supplementary groups count too: most operators are in the group that way. */
static void test_socket_permits_supplementary(void **state)
{
    struct fixture *f = *state;
    struct control_socket cs;
    struct config_error error;
    if (geteuid() != 0) {
        print_message("skipped: another user's groups need root\n");
        skip();
    }
    assert_int_equal(control_socket_open(&cs, f->path, NULL, &error), OK);
    assert_int_equal(chmod(f->path, 0666), 0); /* as if somebody had loosened it */
    assert_int_equal(chmod(f->dir, 0711), 0);
    for (unsigned member = 0; member < 2; member++) {
        int ready[2];
        assert_int_equal(pipe(ready), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            const gid_t groups[] = {54000, member ? 54321u : 54001u};
            char byte = 0;
            (void)close(ready[1]);
            if (setgroups(2, groups) != 0 || setresgid(54002, 54002, 54002) != 0 ||
                setresuid(54003, 54003, 54003) != 0 || try_connect(f->path) < 0)
                _exit(1);
            _exit(read(ready[0], &byte, 1) == 1 ? 0 : 2);
        }
        (void)close(ready[0]);
        int fd = accept(cs.fd, NULL, NULL);
        while (fd < 0 && errno == EAGAIN)
            fd = accept(cs.fd, NULL, NULL);
        assert_true(fd >= 0);
        struct ucred who;
        socklen_t len = sizeof who;
        assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len), 0);
        assert_int_equal(who.uid, 54003);
        cs.has_group = true;
        cs.group = 54321;
        assert_int_equal(control_socket_permits(&cs, fd, &who), member);
        assert_int_equal(write(ready[1], "x", 1), 1);
        (void)close(ready[1]);
        (void)close(fd);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    control_socket_close(&cs);
}

/* ---- names and labels ---- */

static void test_user_names(void **state)
{
    struct fixture *f = *state;
    struct user_names names;
    write_file(f->path,
               "carol:x:1002:1002::/:/bin/sh\nalice:x:1000:1000::/:/bin/sh\nbob:x:1001:1::/:/bin/sh\n", 0644);
    user_names_load(&names, f->path);
    assert_int_equal(names.n, 3);
    assert_string_equal(user_names_find(&names, 1000), "alice");
    assert_string_equal(user_names_find(&names, 1002), "carol");
    assert_null(user_names_find(&names, 5));
    user_names_clear(&names);
    user_names_load(&names, "/no/such/passwd");
    assert_int_equal(names.n, 0);
    assert_null(user_names_find(&names, 0));
    user_names_clear(&names);
}

static void test_metric_labels(void **state)
{
    (void)state;
    char out[64] = "";
    metrics_label(out, sizeof out, "peer", "edge1");
    assert_string_equal(out, "peer=\"edge1\"");
    metrics_label(out, sizeof out, "app", "a\"b\\c\nd");
    assert_string_equal(out, "peer=\"edge1\",app=\"a\\\"b\\\\c\\nd\"");
    char before[64];
    memcpy(before, out, sizeof out);
    metrics_label(out, sizeof out, "long", "0123456789012345678901234567890123456789");
    assert_string_equal(out, before); /* left out whole, never cut in two */
}

static void test_loopback(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        bool loopback;
    } cases[] = {{"127.0.0.1", true},  {"127.8.8.8", true},         {"::1", true},
                 {"localhost", true},  {"0.0.0.0", false},          {"::", false},
                 {"192.0.2.1", false}, {"127.0.0.1.example", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config config = {.admin_host = (char *)(uintptr_t)cases[i].host};
        assert_int_equal(control_admin_is_loopback(&config), cases[i].loopback);
    }
}

/* ---- processes ---- */

static void test_process_facts(void **state)
{
    (void)state;
    struct process_facts facts;
    int ready[2];
    int end[2];
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(end), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
        const struct sock_fprog program = {.len = 1, .filter = allow};
        char byte = 'x';
        (void)close(end[1]);
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0 ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0 || write(ready[1], &byte, 1) != 1)
            _exit(1);
        _exit(read(end[0], &byte, 1) == 0 ? 0 : 2);
    }
    char byte = 0;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(process_facts_read(child, &facts), OK);
    assert_int_equal(facts.uid, geteuid());
    assert_int_equal(facts.gid, getegid());
    assert_true(facts.no_new_privs);
    assert_int_equal(facts.seccomp_mode, 2);
    assert_true(facts.seccomp_filters >= 2);
    assert_true(facts.threads == 1 && facts.rss_kib > 0);
    assert_true(facts.descriptors >= 4);
    (void)close(end[1]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(process_facts_read(child, &facts), ERR_NOT_FOUND);

    assert_int_equal(process_facts_read(getpid(), &facts), OK);
    assert_int_equal(facts.no_new_privs, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

static void test_process_facts_parse(void **state)
{
    (void)state;
    struct process_facts facts = {.uid = 99};
    static const char text[] =
        "Name:\tSeccomp:\t9\nUmask:\t0022\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nVmRSS:\t    1234 kB\n"
        "Threads:\t3\nCapInh:\t0000000000000000\nCapPrm:\t00000000000004c0\n"
        "CapEff:\t0000000000000040\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t1\nSeccomp:\t2\n"
        "Seccomp_filters:\t4\n";
    assert_int_equal(process_facts_parse(text, &facts), OK);
    assert_int_equal(facts.uid, 2);
    assert_int_equal(facts.gid, 6);
    assert_int_equal(facts.rss_kib, 1234);
    assert_int_equal(facts.threads, 3);
    assert_int_equal(facts.cap_permitted, 0x4c0);
    assert_int_equal(facts.cap_effective, 0x40);
    assert_true(facts.cap_bounding == 0x1ffffffffff);
    assert_true(facts.no_new_privs);
    assert_int_equal(facts.seccomp_mode, 2); /* not the 9 of a process that calls itself "Seccomp:" */
    assert_int_equal(facts.seccomp_filters, 4);
    facts.uid = 99;
    assert_int_equal(process_facts_parse("Uid:\t1\t2\n", &facts), ERR_FORMAT);
    assert_int_equal(process_facts_parse("", &facts), ERR_FORMAT);
    assert_int_equal(facts.uid, 99);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_token),           TEST(test_bad_token_files),     TEST(test_socket_modes),
        TEST(test_socket_refusals), TEST(test_socket_permits),      TEST(test_socket_permits_supplementary),
        TEST(test_user_names),      TEST(test_metric_labels),       TEST(test_loopback),
        TEST(test_process_facts),   TEST(test_process_facts_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
