/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See dialer_connect.h. The first address is tried before anything is allocated: on a local network it is
 * connected or refused at once, and that is the path that has to be fast.
 */
#include "worker-net/dialer_connect.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <event2/event.h>

struct attempt {
    struct connect_job *job;
    struct event *writable;
    unsigned index; /* of the address */
    int fd;         /* -1: not under way */
};

struct connect_job {
    struct event_base *base;
    struct event *stagger, *deadline;
    struct dial_addresses addresses;
    struct attempt attempts[DIAL_ADDRESSES_MAX];
    unsigned next; /* address to try */
    unsigned live;
    int error;
    connect_done done;
    void *arg;
};

static const struct timeval stagger = {.tv_usec = (suseconds_t)DIAL_STAGGER_MS * 1000};

/* Which of two failures tells more: something answered, over silence, over no way to get there. */
static int error_rank(int error)
{
    switch (error) {
    case 0: return 0;
    case EAFNOSUPPORT:
    case EADDRNOTAVAIL: return 1;
    case ENETUNREACH:
    case EHOSTUNREACH: return 2;
    case ETIMEDOUT: return 3;
    case ECONNREFUSED: return 5;
    default: return 4;
    }
}

static int error_worse(int a, int b)
{
    return error_rank(b) > error_rank(a) ? b : a;
}

/*
 * A connect to a free local port in the ephemeral range can meet itself (TCP simultaneous open); nobody would
 * ever answer on such a connection.
 */
static bool is_own_end(int fd, const struct dial_address *address)
{
    struct dial_address own = {.len = sizeof own.v6};
    if (getsockname(fd, &own.any, &own.len) != 0 || own.any.sa_family != address->any.sa_family)
        return false;
    if (own.any.sa_family == AF_INET)
        return own.v4.sin_port == address->v4.sin_port &&
               own.v4.sin_addr.s_addr == address->v4.sin_addr.s_addr;
    return own.v6.sin6_port == address->v6.sin6_port &&
           memcmp(&own.v6.sin6_addr, &address->v6.sin6_addr, sizeof own.v6.sin6_addr) == 0;
}

static bool is_loopback(const struct dial_address *address)
{
    if (address->any.sa_family == AF_INET)
        return (ntohl(address->v4.sin_addr.s_addr) >> 24) == 127;
    return IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

/* 0: connected. EINPROGRESS: under way. Else why not, and *fd is -1. */
static int attempt_begin(const struct dial_address *address, int *fd)
{
    static const int on = 1;
    int s = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *fd = -1;
    if (s < 0)
        return errno;
    (void)setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    int error = connect(s, &address->any, address->len) == 0 ? 0 : errno;
    /* Over loopback the answer is there already, and asking again costs less than a turn of the loop. */
    if (error == EINPROGRESS && is_loopback(address)) {
        error = connect(s, &address->any, address->len) == 0 ? 0 : errno;
        if (error == EALREADY)
            error = EINPROGRESS;
        else if (error == 0 && is_own_end(s, address))
            error = ECONNREFUSED;
    }
    if (error != 0 && error != EINPROGRESS)
        (void)close(s);
    else
        *fd = s;
    return error;
}

static void attempt_end(struct attempt *a)
{
    if (a->fd < 0)
        return;
    event_free(a->writable);
    (void)close(a->fd);
    a->fd = -1;
    a->job->live--;
}

void connect_cancel(struct connect_job *job)
{
    if (job == NULL)
        return;
    for (unsigned i = 0; i < job->addresses.n; i++)
        attempt_end(&job->attempts[i]);
    if (job->stagger != NULL)
        event_free(job->stagger);
    if (job->deadline != NULL)
        event_free(job->deadline);
    free(job);
}

/* Tells the owner and is gone. */
static void job_finish(struct connect_job *job, int fd, unsigned index, int error)
{
    connect_done done = job->done;
    void *arg = job->arg;
    struct dial_address address = job->addresses.list[index];
    connect_cancel(job);
    done(arg, fd, error == 0 ? &address : NULL, error);
}

static bool job_advance(struct connect_job *job);

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct attempt *a = arg;
    struct connect_job *job = a->job;
    int error = 0;
    socklen_t len = sizeof error;
    (void)what;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error == 0 && is_loopback(&job->addresses.list[a->index]) &&
        is_own_end(fd, &job->addresses.list[a->index]))
        error = ECONNREFUSED;
    if (error == 0) {
        int kept = fd;
        unsigned index = a->index;
        event_free(a->writable);
        a->fd = -1;
        job->live--;
        job_finish(job, kept, index, 0);
        return;
    }
    job->error = error_worse(job->error, error);
    attempt_end(a);
    (void)job_advance(job);
}

static void on_stagger(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)job_advance(arg);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct connect_job *job = arg;
    (void)fd;
    (void)what;
    job_finish(job, -1, 0, error_worse(job->error, ETIMEDOUT));
}

static bool attempt_watch(struct connect_job *job, unsigned index, int fd)
{
    struct attempt *a = &job->attempts[index];
    a->writable = event_new(job->base, fd, EV_WRITE, on_writable, a);
    if (a->writable == NULL || event_add(a->writable, NULL) != 0) {
        if (a->writable != NULL)
            event_free(a->writable);
        (void)close(fd);
        return false;
    }
    a->fd = fd;
    job->live++;
    return true;
}

/* Tries addresses until one is under way. False: it told the owner how it ended, and the job is gone. */
static bool job_advance(struct connect_job *job)
{
    while (job->next < job->addresses.n) {
        unsigned index = job->next++;
        int fd;
        int error = attempt_begin(&job->addresses.list[index], &fd);
        if (error == 0) {
            job_finish(job, fd, index, 0);
            return false;
        }
        if (error == EINPROGRESS && attempt_watch(job, index, fd)) {
            if (job->next < job->addresses.n)
                (void)evtimer_add(job->stagger, &stagger);
            return true;
        }
        job->error = error_worse(job->error, error == EINPROGRESS ? ENOMEM : error);
    }
    if (job->live > 0)
        return true;
    job_finish(job, -1, 0, job->error);
    return false;
}

static struct connect_job *job_new(struct event_base *base, const struct dial_addresses *addresses,
                                   uint32_t timeout_ms, connect_done done, void *arg)
{
    struct connect_job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return NULL;
    *job = (struct connect_job){.base = base, .addresses = *addresses, .next = 1, .done = done, .arg = arg};
    for (unsigned i = 0; i < DIAL_ADDRESSES_MAX; i++)
        job->attempts[i] = (struct attempt){.job = job, .index = i, .fd = -1};
    struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000};
    job->stagger = evtimer_new(base, on_stagger, job);
    job->deadline = evtimer_new(base, on_deadline, job);
    if (job->stagger == NULL || job->deadline == NULL || evtimer_add(job->deadline, &limit) != 0) {
        connect_cancel(job);
        return NULL;
    }
    return job;
}

struct connect_job *connect_start(struct event_base *base, const struct dial_addresses *addresses,
                                  uint32_t timeout_ms, connect_done done, void *arg)
{
    if (addresses->n == 0 || addresses->n > DIAL_ADDRESSES_MAX) {
        done(arg, -1, NULL, EINVAL);
        return NULL;
    }
    int fd;
    int error = attempt_begin(&addresses->list[0], &fd);
    if (error == 0) {
        done(arg, fd, &addresses->list[0], 0);
        return NULL;
    }
    if (error != EINPROGRESS && addresses->n == 1) {
        done(arg, -1, NULL, error);
        return NULL;
    }
    struct connect_job *job = job_new(base, addresses, timeout_ms, done, arg);
    if (job == NULL) {
        if (fd >= 0)
            (void)close(fd);
        done(arg, -1, NULL, ENOMEM);
        return NULL;
    }
    if (error == EINPROGRESS && attempt_watch(job, 0, fd)) {
        if (addresses->n > 1)
            (void)evtimer_add(job->stagger, &stagger);
        return job;
    }
    job->error = error == EINPROGRESS ? ENOMEM : error;
    return job_advance(job) ? job : NULL;
}
