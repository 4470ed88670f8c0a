/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting a process into its cage: chroot, uid, capabilities, rlimits, dumpable, no_new_privs, Landlock,
 * seccomp, in that order. What a role may still do afterwards is one `struct sandbox_spec`, made by
 * sandbox_spec_for_role() and refined by the role's preload. Nothing here can widen a cage once it is closed.
 */
#ifndef WORMHOLE_COMMON_SANDBOX_H
#define WORMHOLE_COMMON_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/ipc_types.h"
#include "common/status.h"

#define SANDBOX_PATHS_MAX 48
#define SANDBOX_PORTS_MAX 16

enum sandbox_access {
    ACCESS_READ = 1 << 0,
    ACCESS_WRITE = 1 << 1, /* write to existing, create and remove files below */
    ACCESS_EXECUTE = 1 << 2,
};

struct sandbox_path {
    char path[256];
    unsigned access; /* ACCESS_* */
};

struct sandbox_spec {
    enum role role;
    enum side side;
    enum sandbox_mode mode;
    uint8_t landlock_max; /* use at most this Landlock ABI; 0 = no Landlock; 255 = whatever runs */
    uid_t uid;            /* 0: keep the uid that we have (started without root) */
    gid_t gid;
    char chroot_dir[256];       /* empty: no chroot */
    uint64_t keep_capabilities; /* bit per capability; 0 for every worker */
    struct sandbox_path paths[SANDBOX_PATHS_MAX];
    unsigned n_paths;
    bool restrict_connect; /* Landlock: connect only to connect_ports */
    uint16_t connect_ports[SANDBOX_PORTS_MAX];
    unsigned n_connect_ports;
    bool restrict_bind;
    uint16_t bind_ports[SANDBOX_PORTS_MAX];
    unsigned n_bind_ports;
    uint64_t max_descriptors; /* RLIMIT_NOFILE; 0 = leave */
    uint64_t max_memory;      /* RLIMIT_AS in bytes; 0 = leave */
    bool sanitizer;           /* sanitizer build: no seccomp, no RLIMIT_AS */
};

struct sandbox_report {
    uint32_t layers;      /* LAYER_* in force */
    uint8_t landlock_abi; /* in use; 0 = none */
    char missing[256];    /* what could not be had, and why, for status */
};

/* Defaults for a role: empty path list, no ports, rlimits. */
void sandbox_spec_for_role(struct sandbox_spec *spec, enum role role, enum side side);
enum status sandbox_allow_path(struct sandbox_spec *spec, const char *path, unsigned access);
enum status sandbox_allow_connect(struct sandbox_spec *spec, uint16_t port);
enum status sandbox_allow_bind(struct sandbox_spec *spec, uint16_t port);

/*
 * Read access to what name look-ups need (resolv.conf, hosts, nsswitch.conf …), in a way that survives their
 * replacement by rename. For the dialer and the Kubernetes worker, and for the supervisor, whose rules they
 * inherit.
 */
enum status sandbox_allow_resolver(struct sandbox_spec *spec);

/*
 * What starting any worker takes: the dynamic loader, libraries, OpenSSL's files (not the resolver's),
 * /dev/null. For the supervisor, which adds the directory of the executables (READ | EXECUTE), its own files,
 * and every file that a worker's preload reads, because Landlock rules are inherited over exec.
 */
enum status sandbox_allow_runtime(struct sandbox_spec *spec);

/*
 * Closes the cage on the calling (single-threaded) process. ERR_UNSUPPORTED with mode SANDBOX_REQUIRED when
 * seccomp or no_new_privs cannot be had, or a privilege would survive; the process must exit then.
 */
enum status sandbox_enter(const struct sandbox_spec *spec, struct sandbox_report *report);

/* The Landlock ABI of the running kernel; 0 = none. */
int sandbox_landlock_abi(void);

/* Installs only the seccomp filter of a role (sandbox_enter calls it; tests too). */
enum status sandbox_seccomp_install(enum role role, enum side side);

/* One line of names for a set of layers: "chroot uid caps …". buf at least 160 bytes. */
void sandbox_layers_text(uint32_t layers, char *buf, size_t cap);
/* "setuid,kill", "none" or "all" for a set with a bit per capability; all 41 names take some 600 bytes. */
void sandbox_capabilities_text(uint64_t set, char *buf, size_t cap);

#endif
