/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bench driver's shared declarations: the request header that tells the application which part to
 * play, the measuring window that all load engines share, and small helpers. The driver is the user and
 * the application at the two ends of whatever is measured; it must not know which subject that is.
 */
#ifndef TESTS_BENCH_DRIVER_H
#define TESTS_BENCH_DRIVER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* What a connection asks of the application, in its first 16 bytes (host order: both ends are here). */
enum { MODE_ECHO = 'E', MODE_SOURCE = 'D', MODE_SINK = 'U' };

struct header {
    uint8_t magic[2]; /* "WB" */
    uint8_t mode;
    uint8_t zero;
    uint32_t request;  /* echo: bytes per request, at least 8; otherwise 0 */
    uint64_t argument; /* echo: bytes per response; source: bytes per second, 0 = as fast as it goes;
                          sink: report the total after so many bytes, 0 = never */
};

enum { BULK_BUFFER = 256 * 1024, SMALL_MAX = 64 * 1024 };

/* Where the user connects; size 0 = not given. */
struct target {
    struct sockaddr_storage address;
    socklen_t size;
};

/* The phases of a run. Engines count what begins and ends while PHASE_MEASURE holds. */
enum phase { PHASE_WARM, PHASE_MEASURE, PHASE_DONE };

struct window {
    _Atomic int phase;
    _Atomic int ready;       /* engines that have all their connections up */
    _Atomic uint64_t errors; /* connections or answers that failed */
    uint64_t deadline_ns;    /* engines that are not ready by then end the driver */
};

/* One engine: a thread with its own connections. `text` is the specification it was made from. */
struct engine {
    struct window *window;
    struct target to;
    const char *text;
    const char *kind;
    size_t connections;
    size_t outstanding;
    uint64_t rate;
    uint64_t report;
    uint32_t request;
    uint32_t response;
    int upwards;
    int wakeup;              /* eventfd: told of each change of phase */
    _Atomic uint64_t *bytes; /* one counter per bulk stream */
    uint64_t *bytes_begin;
    uint64_t *bytes_end;
    uint32_t *samples; /* latencies in nanoseconds, saturating */
    size_t sample_count;
    size_t sample_room;
    uint64_t completed;
};

/* Monotonic clock in nanoseconds. */
uint64_t now_ns(void);

/* Prints a message with the reason in errno (when `with_errno`) and ends the driver with code 2. */
_Noreturn void die(int with_errno, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Parses HOST:PORT (IPv4 in digits). */
void target_parse(struct target *target, const char *text);

/* A non-blocking TCP connection in progress to the target, with TCP_NODELAY. -1 with errno on failure. */
int target_connect(const struct target *target);

/* A connected, non-blocking socket that has sent its header; ends the driver when it cannot be had. */
int target_open(const struct target *target, const struct header *header);

/* Sends all of it, waiting for room; 0 on success, -1 with errno. */
int send_all(int fd, const void *data, size_t size);

void sample_add(struct engine *engine, uint64_t nanoseconds);
struct header header_make(int mode, uint32_t request, uint64_t argument);

/* Raises the soft limit of descriptors as far as it goes. */
void descriptors_raise(void);

/* Thread bodies; the argument is a struct engine. */
void *bulk_run(void *argument);
void *request_run(void *argument);
void *connect_run(void *argument);
void *hold_run(void *argument); /* idle and stalled connections */

/* Subcommands. */
int app_main(int argc, char **argv);
int load_main(int argc, char **argv);
int first_byte_main(int argc, char **argv);
int shaper_main(int argc, char **argv);

#endif
