/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the world does to a database: kill -9 in the middle of decisions, a full disk, a read-only one, a file
 * that is replaced or locked while in use. What was answered with OK must be there; what was not must have
 * left no trace.
 */
#include "tests/unit/store_support.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

static void assert_chain(struct store *store)
{
    uint64_t rows = 0;
    uint64_t bad = 0;
    struct store_error error;
    if (store_verify_audit(store, &rows, &bad, &error) != OK)
        fail_msg("%s", error.text);
}

/* In a child: decides as fast as it can and tells each answer through a pipe, until it is killed. */
static void decide_forever(const char *path, int answers)
{
    struct store *store = NULL;
    struct store_error error;
    if (store_open(path, false, &store, &error) != OK)
        _exit(3);
    struct store_stats stats;
    if (store_stats(store, &stats) != OK)
        _exit(3);
    for (unsigned n = (unsigned)stats.audit_seq + 1;; n++) {
        char name[24];
        (void)snprintf(name, sizeof name, "edge%u", n);
        struct store_peer peer = request_of(n, name);
        if (store_request_seen(store, &peer, false) != OK ||
            store_accept(store, peer.fingerprint, &alice) != OK)
            _exit(4);
        if (write(answers, &n, sizeof n) != sizeof n)
            _exit(5);
    }
}

static void test_kill(void **state)
{
    struct fixture *f = *state;
    /* Rounds differ in how many answers are waited for, so that the kill lands at another point each time. */
    for (unsigned round = 0; round < 12; round++) {
        int answers[2];
        assert_int_equal(pipe2(answers, O_CLOEXEC), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            (void)close(answers[0]);
            decide_forever(f->path, answers[1]);
        }
        (void)close(answers[1]);
        unsigned decided[512];
        size_t n = 0;
        while (n < 3 + round && read(answers[0], &decided[n], sizeof *decided) == sizeof *decided)
            n++;
        assert_int_equal(n, 3 + round);
        assert_int_equal(kill(child, SIGKILL), 0);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        while (n < 512 && read(answers[0], &decided[n], sizeof *decided) == sizeof *decided)
            n++;
        (void)close(answers[0]);

        fixture_reopen(f);
        assert_chain(f->store);
        for (size_t i = 0; i < n; i++) {
            struct store_peer peer;
            assert_int_equal(store_peer_by_fingerprint(f->store, fingerprint_of(decided[i]), &peer), OK);
            assert_int_equal(peer.status, PEER_APPROVED);
        }
        /* Every decision has its row, and every row its decision, also the one that was under way. */
        struct store_stats stats;
        assert_int_equal(store_stats(f->store, &stats), OK);
        assert_int_equal(stats.peers[PEER_APPROVED], audit_count(f->store, "accept"));
        store_close(f->store);
        f->store = NULL;
    }
}

/* A mount of our own, seen by nobody else; skips the test where that is not allowed. */
static void mount_small(const char *dir, const char *options)
{
    static bool unshared;
    if (!unshared && (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)) {
        print_message("skipped: mounting a file system needs root (%s)\n", strerror(errno));
        skip();
    }
    unshared = true;
    if (mount("tmpfs", dir, "tmpfs", 0, options) != 0) {
        print_message("skipped: cannot mount a tmpfs (%s)\n", strerror(errno));
        skip();
    }
}

static void fill_disk(const char *dir)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/ballast", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    static char block[4096];
    while (write(fd, block, sizeof block) > 0)
        ;
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(close(fd), 0);
}

static void assert_words(const struct store *store, const char *path, const char *words)
{
    const char *text = store_last_error(store);
    if (strstr(text, words) == NULL || strstr(text, path) == NULL)
        fail_msg("expected \"%s\" about %s, got: %s", words, path, text);
}

static void test_full_disk(void **state)
{
    struct fixture *f = *state;
    mount_small(f->dir, "size=1m,mode=0700");
    fixture_reopen(f);
    for (unsigned i = 1; i <= 3; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "edge%u", i);
        request(f->store, i, name);
    }
    assert_int_equal(store_accept(f->store, fingerprint_of(1), &alice), OK);
    assert_int_equal(store_port_set(f->store, fingerprint_of(1), "web", 30000), OK);
    fill_disk(f->dir);

    /* The log has some room left in its last page; go on until the disk says no. */
    enum status status = OK;
    unsigned extra = 100;
    while (status == OK && extra < 2000) {
        char name[16];
        (void)snprintf(name, sizeof name, "more%u", extra);
        struct store_peer peer = request_of(extra++, name);
        status = store_request_seen(f->store, &peer, false);
    }
    assert_int_equal(status, ERR_IO);
    assert_words(f->store, f->path, "no space left on the disk");
    size_t rows = audit_count(f->store, "");

    struct store_peer peer;
    uint16_t port = 0;
    assert_int_equal(store_accept(f->store, fingerprint_of(2), &alice), ERR_IO);
    assert_words(f->store, f->path, "no space left on the disk");
    assert_int_equal(store_revoke(f->store, fingerprint_of(1), &alice), ERR_IO);
    assert_int_equal(store_decline(f->store, fingerprint_of(3), &alice), ERR_IO);
    assert_int_equal(store_preapprove(f->store, fingerprint_of(9), "edge9", &alice), ERR_IO);
    /* Reading goes on, and nothing is half done. */
    assert_int_equal(store_peer_by_fingerprint(f->store, fingerprint_of(2), &peer), OK);
    assert_int_equal(peer.status, PEER_PENDING);
    assert_int_equal(store_peer_by_fingerprint(f->store, fingerprint_of(1), &peer), OK);
    assert_int_equal(peer.status, PEER_APPROVED);
    assert_int_equal(store_port_get(f->store, fingerprint_of(1), "web", &port), OK);
    assert_int_equal(audit_count(f->store, ""), rows);
    struct store_stats stats;
    assert_int_equal(store_stats(f->store, &stats), OK);
    assert_true(stats.failures >= 5);

    /* Space again: the same store goes on, and so does one that is opened anew. */
    char ballast[128];
    (void)snprintf(ballast, sizeof ballast, "%s/ballast", f->dir);
    assert_int_equal(unlink(ballast), 0);
    assert_int_equal(store_accept(f->store, fingerprint_of(2), &alice), OK);
    fixture_reopen(f);
    assert_chain(f->store);
    assert_int_equal(audit_count(f->store, ""), rows + 1);
    store_close(f->store);
    f->store = NULL;
    assert_int_equal(umount(f->dir), 0);
}

/* Not even the tables fit. */
static void test_full_disk_at_start(void **state)
{
    struct fixture *f = *state;
    mount_small(f->dir, "size=64k,mode=0700");
    fill_disk(f->dir);
    struct store_error error;
    assert_int_equal(store_open(f->path, false, &f->store, &error), ERR_IO);
    assert_non_null(strstr(error.text, "free some"));
    assert_null(f->store);
    assert_int_equal(umount(f->dir), 0);
}

static void test_read_only_file_system(void **state)
{
    struct fixture *f = *state;
    mount_small(f->dir, "size=1m,mode=0700");
    fixture_reopen(f);
    request(f->store, 1, "edge1");
    store_close(f->store);
    f->store = NULL;
    assert_int_equal(mount(NULL, f->dir, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    struct store_error error;
    assert_int_equal(store_open(f->path, false, &f->store, &error), ERR_IO);
    assert_non_null(strstr(error.text, "Read-only file system"));
    assert_non_null(strstr(error.text, "remount"));
    /* Auditors can still read it. */
    assert_int_equal(store_open(f->path, true, &f->store, &error), OK);
    assert_chain(f->store);
    store_close(f->store);
    f->store = NULL;
    assert_int_equal(umount(f->dir), 0);
}

static void test_replaced_while_open(void **state)
{
    struct fixture *f = *state;
    fixture_reopen(f);
    request(f->store, 1, "edge1");
    char aside[128];
    (void)snprintf(aside, sizeof aside, "%s.aside", f->path);
    assert_int_equal(rename(f->path, aside), 0);
    assert_int_equal(store_accept(f->store, fingerprint_of(1), &alice), ERR_IO);
    assert_words(f->store, f->path, "removed or replaced");
    assert_int_equal(rename(aside, f->path), 0);
    assert_int_equal(store_accept(f->store, fingerprint_of(1), &alice), OK);
}

static void test_locked_by_another(void **state)
{
    struct fixture *f = *state;
    fixture_reopen(f);
    request(f->store, 1, "edge1");
    sqlite3 *other = NULL;
    assert_int_equal(sqlite3_open(f->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(store_accept(f->store, fingerprint_of(1), &alice), ERR_IO);
    assert_words(f->store, f->path, "another program holds it locked");
    struct store_peer peer;
    assert_int_equal(store_peer_by_name(f->store, "edge1", &peer), OK);
    assert_int_equal(peer.status, PEER_PENDING);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    assert_int_equal(store_accept(f->store, fingerprint_of(1), &alice), OK);
}

/* A copy of file and log taken while the server runs (what a snapshot of the disk gives) opens and verifies.
 */
static void test_copy_while_open(void **state)
{
    struct fixture *f = *state;
    fixture_reopen(f);
    for (unsigned i = 1; i <= 20; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "edge%u", i);
        request(f->store, i, name);
    }
    char command[400];
    (void)snprintf(command, sizeof command, "cp %s %s/copy.db && cp %s-wal %s/copy.db-wal", f->path, f->dir,
                   f->path, f->dir);
    assert_int_equal(system(command), 0); /* NOLINT: a fixed command on our own directory */
    char copy[128];
    (void)snprintf(copy, sizeof copy, "%s/copy.db", f->dir);
    struct store *reader = NULL;
    struct store_error error;
    if (store_open(copy, true, &reader, &error) != OK)
        fail_msg("%s", error.text);
    assert_chain(reader);
    assert_int_equal(audit_count(reader, ""), 21);
    store_close(reader);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_new, fixture_free)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_kill),
        TEST(test_full_disk),
        TEST(test_full_disk_at_start),
        TEST(test_read_only_file_system),
        TEST(test_replaced_while_open),
        TEST(test_locked_by_another),
        TEST(test_copy_while_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
