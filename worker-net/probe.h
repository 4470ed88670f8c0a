/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wormhole-net probe`: walks the way of a client to its server once, step by step, and says how far it came.
 * Started by `wormhole probe` with the target on standard input, answers with a line per step on standard
 * output. It has no channel to a supervisor, no key, and never sends more than an HTTP upgrade.
 */
#ifndef WORMHOLE_NET_PROBE_H
#define WORMHOLE_NET_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

struct tls;
struct tls_context;

#define PROBE_BUFFER 16384u

/* What the command line hands over, a "key value" line each; the names are those of the members. */
struct probe_target {
    char host[256];
    uint16_t port;
    char path[512];
    bool tls;
    bool http; /* ask for a page with GET instead of going on to a wormhole server */
    char ca_file[256];
    char proxy_host[256]; /* "": no proxy */
    uint16_t proxy_port;
    char proxy_authorization[513]; /* secret */
    char fingerprint[64];          /* the server's, as the client would pin it; "": none */
    uint32_t timeout_ms;           /* for each step */
    uint32_t uid, gid;             /* 0: stay what we are */
};

struct probe {
    struct probe_target target;
    struct tls_context *authorities; /* loaded before the sandbox */
    struct tls *tls;                 /* NULL: plain */
    int fd;                          /* connected, non-blocking; -1 */
    uint64_t deadline_ms;            /* of the running step */
    uint8_t input[PROBE_BUFFER];     /* what came and is not used yet */
    size_t input_len;
};

/* One step: OK, or another status with the reason; on OK `text` says what was found. text: 400 bytes. */
#define PROBE_TEXT 400
enum status probe_connect(struct probe *p, char *text);
enum status probe_resolve(struct probe *p, char *text);
enum status probe_proxy(struct probe *p, char *text);
enum status probe_tls(struct probe *p, char *text);
enum status probe_upgrade(struct probe *p, char *text);
enum status probe_answer(struct probe *p, char *text);
enum status probe_hello(struct probe *p, char *text);
void probe_clear(struct probe *p);

/* main() of the role. */
int probe_main(int argc, char **argv);

#endif
