/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library for LD_PRELOAD that a test steers over a mapped file: the next n-th allocation fails, the wall
 * clock jumps. Nothing happens until the test says so. Some libraries' own allocations are spared, because
 * they fail badly and nobody here can mend it: glibc's name service and the dynamic loader crash, OpenSSL
 * crashes while it sets itself up, libseccomp loops or leaves out a rule (which makes the filter stricter).
 * All that is before a worker has read a byte from outside. Never part of anything that is installed.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* The layout of the file, shared with tests/security/test_faults.py. */
struct steering {
    int32_t countdown;    /* > 0: the allocation that takes it to 0 fails */
    uint32_t failed;      /* how many have */
    int64_t clock_offset; /* seconds, added to the wall clock */
    uint32_t openssl_too; /* not 0: OpenSSL's allocations may fail, too */
};

static struct steering *steering;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

#define EXPORT __attribute__((visibility("default")))

enum { LIBC, LOADER, LIBSECCOMP, LIBCRYPTO, LIBSSL, N_LIBRARIES };
static struct {
    const char *name;
    uintptr_t start, end;
} libraries[N_LIBRARIES] = {{"/libc.so", 0, 0},
                            {"/ld-linux", 0, 0},
                            {"/libseccomp.so", 0, 0},
                            {"/libcrypto.so", 0, 0},
                            {"/libssl.so", 0, 0}};

static int library_note(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    for (int l = 0; l < N_LIBRARIES; l++) {
        if (info->dlpi_name == NULL || strstr(info->dlpi_name, libraries[l].name) == NULL)
            continue;
        libraries[l].start = info->dlpi_addr;
        for (int i = 0; i < info->dlpi_phnum; i++) {
            uintptr_t end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
            if (info->dlpi_phdr[i].p_type == PT_LOAD && end > libraries[l].end)
                libraries[l].end = end;
        }
    }
    return 0;
}

__attribute__((constructor)) static void faults_open(void)
{
    const char *path = getenv("WORMHOLE_FAULTS");
    (void)dl_iterate_phdr(library_note, NULL);
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (map != MAP_FAILED)
        steering = map;
}

static int is_spared(uintptr_t caller)
{
    for (int l = 0; l < N_LIBRARIES; l++)
        if (caller >= libraries[l].start && caller < libraries[l].end)
            return l <= LIBSECCOMP || steering->openssl_too == 0;
    return 0;
}

static int fails(const void *caller)
{
    if (steering == NULL || __atomic_load_n(&steering->countdown, __ATOMIC_RELAXED) <= 0)
        return 0;
    if (is_spared((uintptr_t)caller))
        return 0;
    if (__atomic_sub_fetch(&steering->countdown, 1, __ATOMIC_RELAXED) != 0)
        return 0;
    (void)__atomic_add_fetch(&steering->failed, 1, __ATOMIC_RELAXED);
    errno = ENOMEM;
    return 1;
}

EXPORT void *malloc(size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

EXPORT void *calloc(size_t n, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(n, size);
}

EXPORT void *realloc(void *p, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(p, size);
}

static int64_t offset_of(clockid_t clock)
{
    if (steering == NULL || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
        return 0;
    return __atomic_load_n(&steering->clock_offset, __ATOMIC_RELAXED);
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *out)
{
    if (syscall(SYS_clock_gettime, clock, out) != 0)
        return -1;
    out->tv_sec += offset_of(clock);
    return 0;
}

EXPORT int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    *out = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

EXPORT time_t time(time_t *out)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}
