/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layers beside seccomp, each in a child process that closes them on itself: what is reported is in
 * force, what cannot be had is named, and required mode refuses to go on without what it requires.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/sandbox.h"

struct result {
    enum status status;
    struct sandbox_report report;
    int number; /* what the child found */
};

/* Shared with the child, which may not write to anything else once it is caged. */
static struct result *shared;

static int setup(void **state)
{
    (void)state;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return shared == MAP_FAILED ? -1 : 0;
}

/* Closes the cage in a child, then lets it look around; returns its wait status. */
static int caged(const struct sandbox_spec *spec, int (*look)(void))
{
    memset(shared, 0, sizeof *shared);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        shared->status = sandbox_enter(spec, &shared->report);
        if (shared->status == OK && look != NULL)
            shared->number = look();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static struct sandbox_spec spec_of(enum role role)
{
    struct sandbox_spec spec;
    sandbox_spec_for_role(&spec, role, SIDE_SERVER);
    if (geteuid() == 0)
        spec.uid = spec.gid = 64777;
    return spec;
}

#define BASICS (LAYER_CAPABILITIES | LAYER_RLIMITS | LAYER_UNDUMPABLE | LAYER_NO_NEW_PRIVS | LAYER_SECCOMP)

static void test_basics_are_reported(void **state)
{
    (void)state;
    struct sandbox_spec spec = spec_of(ROLE_SESSION);
    assert_int_equal(caged(&spec, NULL), 0);
    assert_int_equal(shared->status, OK);
    assert_int_equal(shared->report.layers & BASICS, BASICS);
    assert_int_equal(shared->report.landlock_abi, sandbox_landlock_abi() > 7 ? 7 : sandbox_landlock_abi());
    assert_true(strstr(shared->report.missing, "chroot") != NULL); /* none was given */
}

static void test_landlock_is_cut(void **state)
{
    (void)state;
    struct sandbox_spec spec = spec_of(ROLE_SESSION);
    if (sandbox_landlock_abi() < 6)
        skip();
    spec.landlock_max = 2;
    assert_int_equal(caged(&spec, NULL), 0);
    assert_int_equal(shared->report.landlock_abi, 2);
    assert_int_equal(shared->report.layers &
                         (LAYER_LANDLOCK_FILES | LAYER_LANDLOCK_NET | LAYER_LANDLOCK_SCOPES),
                     LAYER_LANDLOCK_FILES);
    assert_true(strstr(shared->report.missing, "ABI 4") != NULL);
    spec.landlock_max = 0;
    assert_int_equal(caged(&spec, NULL), 0);
    assert_int_equal(shared->report.landlock_abi, 0);
    assert_true(strstr(shared->report.missing, "landlock-max") != NULL);
    assert_int_equal(shared->report.layers & BASICS, BASICS);
}

static int find_uid(void)
{
    return (int)getuid() == 64777 && (int)getegid() == 64777 ? 1 : 0;
}

static void test_uid_and_chroot(void **state)
{
    (void)state;
    char dir[] = "/tmp/wormhole-test-XXXXXX";
    if (geteuid() != 0)
        skip();
    assert_non_null(mkdtemp(dir));
    struct sandbox_spec spec = spec_of(ROLE_ADMIN);
    (void)snprintf(spec.chroot_dir, sizeof spec.chroot_dir, "%s", dir);
    assert_int_equal(caged(&spec, find_uid), 0);
    assert_int_equal(shared->status, OK);
    assert_int_equal(shared->report.layers & (LAYER_UID | LAYER_CHROOT), LAYER_UID | LAYER_CHROOT);
    assert_int_equal(shared->number, 1);

    char file[64];
    (void)snprintf(file, sizeof file, "%s/x", dir);
    assert_int_equal(close(open(file, O_CREAT | O_WRONLY, 0600)), 0);
    assert_int_equal(caged(&spec, NULL), 0);
    assert_true(strstr(shared->report.missing, "not empty") != NULL);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(dir), 0);

    (void)snprintf(spec.chroot_dir, sizeof spec.chroot_dir, "/nonexistent/at/all");
    assert_int_equal(caged(&spec, NULL), 0);
    assert_int_equal(shared->status, ERR_UNSUPPORTED);
}

/* The kernel forgets the parent's death signal when a uid changes; sandbox_enter() asks for it anew in any
 * case. */
static void test_death_signal_survives(void **state)
{
    (void)state;
    int status;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    memset(shared, 0, sizeof *shared);
    pid_t middle = fork();
    assert_true(middle >= 0);
    if (middle == 0) {
        pid_t child = fork();
        if (child == 0) {
            struct sandbox_spec spec = spec_of(ROLE_SESSION);
            shared->status = sandbox_enter(&spec, &shared->report);
            __atomic_store_n(&shared->number, getpid(), __ATOMIC_SEQ_CST);
            for (;;)
                (void)poll(NULL, 0, 1000);
        }
        while (__atomic_load_n(&shared->number, __ATOMIC_SEQ_CST) == 0)
            (void)usleep(1000);
        _exit(0);
    }
    assert_int_equal(waitpid(middle, &status, 0), middle);
    pid_t orphan = __atomic_load_n(&shared->number, __ATOMIC_SEQ_CST);
    assert_int_equal(waitpid(orphan, &status, 0), orphan);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_required_means_required(void **state)
{
    (void)state;
    struct sandbox_spec spec = spec_of(ROLE_SESSION);
    spec.role = ROLE_COUNT;
    assert_int_equal(caged(&spec, NULL), 0);
    assert_int_equal(shared->status, ERR_TYPE);
}

static int find_core_limit(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_CORE, &limit) == 0 ? (int)limit.rlim_max : -1;
}

static void test_supervisor_keeps_what_it_names(void **state)
{
    (void)state;
    struct sandbox_spec spec;
    if (geteuid() != 0)
        skip();
    sandbox_spec_for_role(&spec, ROLE_SUPERVISOR, SIDE_SERVER);
    spec.keep_capabilities = 1ull << 7 | 1ull << 5; /* setuid, kill */
    assert_int_equal(sandbox_allow_path(&spec, "/proc", ACCESS_READ), OK);
    assert_int_equal(caged(&spec, find_core_limit), 0);
    assert_int_equal(shared->status, OK);
    assert_int_equal(shared->number, 0);
}

static void test_spec_is_bounded(void **state)
{
    (void)state;
    struct sandbox_spec spec = spec_of(ROLE_K8S);
    char path[400];
    memset(path, 'x', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    assert_int_equal(sandbox_allow_path(&spec, path, ACCESS_READ), ERR_SIZE);
    assert_int_equal(sandbox_allow_path(&spec, "relative", ACCESS_READ), ERR_SIZE);
    for (unsigned i = 0; i < SANDBOX_PATHS_MAX; i++)
        assert_int_equal(sandbox_allow_path(&spec, "/nonexistent", ACCESS_READ), OK);
    assert_int_equal(sandbox_allow_path(&spec, "/nonexistent", ACCESS_READ), ERR_FULL);
    for (uint16_t i = 0; i < SANDBOX_PORTS_MAX; i++)
        assert_int_equal(sandbox_allow_connect(&spec, i), OK);
    assert_int_equal(sandbox_allow_connect(&spec, 1), ERR_FULL);
    for (uint16_t i = 0; i < SANDBOX_PORTS_MAX; i++)
        assert_int_equal(sandbox_allow_bind(&spec, i), OK);
    assert_int_equal(sandbox_allow_bind(&spec, 1), ERR_FULL);
}

static void test_text(void **state)
{
    (void)state;
    char text[160];
    sandbox_layers_text(0, text, sizeof text);
    assert_string_equal(text, "");
    sandbox_layers_text(LAYER_CHROOT | LAYER_SECCOMP, text, sizeof text);
    assert_string_equal(text, "chroot seccomp");
    sandbox_layers_text(0xffffffff, text, sizeof text);
    assert_true(strlen(text) < sizeof text - 1);
    char small[8];
    sandbox_layers_text(0xffffffff, small, sizeof small);
    assert_string_equal(small, "chroot ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_basics_are_reported),     cmocka_unit_test(test_landlock_is_cut),
        cmocka_unit_test(test_uid_and_chroot),          cmocka_unit_test(test_death_signal_survives),
        cmocka_unit_test(test_required_means_required), cmocka_unit_test(test_supervisor_keeps_what_it_names),
        cmocka_unit_test(test_spec_is_bounded),         cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
