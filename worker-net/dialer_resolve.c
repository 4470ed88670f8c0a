/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See dialer_resolve.h. Requests go to the threads under one lock, answers come back over a list and an
 * eventfd. Whether somebody still wants an answer is known to the loop alone, so cancelling needs no lock.
 */
#include "worker-net/dialer_resolve.h"

#include <netdb.h>
#include <nss.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include <event2/event.h>

/* One thread is always free of app look-ups, for the server's name. */
#define THREADS_MAX 4u
#define APP_THREADS_MAX (THREADS_MAX - 1)
#define WAITING_MAX 1024u
#define THREAD_STACK (512u << 10)

struct lookup {
    TAILQ_ENTRY(lookup) link;
    lookup_done done; /* NULL: cancelled */
    void *arg;
    int gai;
    bool urgent;
    uint16_t port;
    struct dial_addresses addresses;
    char host[256];
};

TAILQ_HEAD(lookup_list, lookup);

struct resolver {
    struct event *answered;
    int eventfd;
    unsigned waiting; /* loop only: begun and not answered */
    pthread_mutex_t lock;
    pthread_cond_t work;
    /* under the lock */
    struct lookup_list urgent, normal, finished;
    unsigned threads, idle, queued, busy_with_apps;
};

/* The next entry from `at` on that is (or is not) of this family; NULL at the end. */
static const struct addrinfo *of_family(const struct addrinfo *at, int family, bool same)
{
    while (at != NULL && ((at->ai_family == family) != same || at->ai_addrlen > sizeof(struct sockaddr_in6)))
        at = at->ai_next;
    return at;
}

/* Alternates the families, beginning with the one that the system's order begins with (RFC 8305 section 4).
 */
static void addresses_take(const struct addrinfo *all, uint16_t port, struct dial_addresses *out)
{
    int family = all->ai_family;
    const struct addrinfo *at[2] = {of_family(all, family, true), of_family(all, family, false)};
    out->n = 0;
    for (unsigned turn = 0; (at[0] != NULL || at[1] != NULL) && out->n < DIAL_ADDRESSES_MAX; turn ^= 1) {
        const struct addrinfo *entry = at[turn];
        if (entry == NULL)
            continue;
        at[turn] = of_family(entry->ai_next, family, turn == 0);
        struct dial_address *a = &out->list[out->n++];
        memcpy(&a->any, entry->ai_addr, entry->ai_addrlen);
        a->len = entry->ai_addrlen;
        if (a->any.sa_family == AF_INET)
            a->v4.sin_port = htons(port);
        else
            a->v6.sin6_port = htons(port);
    }
}

static int addresses_look_up(const char *host, uint16_t port, int flags, struct dial_addresses *out)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *all = NULL;
    int gai = getaddrinfo(host, NULL, &hints, &all);
    if (gai != 0)
        return gai;
    addresses_take(all, port, out);
    freeaddrinfo(all);
    return out->n > 0 ? 0 : EAI_NONAME;
}

bool resolver_numeric(const char *host, uint16_t port, struct dial_addresses *addresses)
{
    return addresses_look_up(host, port, AI_NUMERICHOST, addresses) == 0;
}

/* Under the lock. */
static struct lookup *lookup_next(struct resolver *r)
{
    struct lookup *l = TAILQ_FIRST(&r->urgent);
    if (l != NULL) {
        TAILQ_REMOVE(&r->urgent, l, link);
        r->queued--;
        return l;
    }
    l = r->busy_with_apps < APP_THREADS_MAX ? TAILQ_FIRST(&r->normal) : NULL;
    if (l != NULL) {
        TAILQ_REMOVE(&r->normal, l, link);
        r->queued--;
        r->busy_with_apps++;
    }
    return l;
}

static void *thread_main(void *arg)
{
    struct resolver *r = arg;
    static const uint64_t one = 1;
    (void)pthread_mutex_lock(&r->lock);
    for (;;) {
        struct lookup *l = lookup_next(r);
        if (l == NULL) {
            r->idle++;
            (void)pthread_cond_wait(&r->work, &r->lock);
            r->idle--;
            continue;
        }
        (void)pthread_mutex_unlock(&r->lock);
        l->gai = addresses_look_up(l->host, l->port, 0, &l->addresses);
        (void)pthread_mutex_lock(&r->lock);
        if (!l->urgent)
            r->busy_with_apps--;
        TAILQ_INSERT_TAIL(&r->finished, l, link);
        /* An eventfd that is full is readable, which is all that is wanted. */
        if (write(r->eventfd, &one, sizeof one) < 0)
            continue;
    }
    return NULL;
}

static void on_answered(evutil_socket_t fd, short what, void *arg)
{
    struct resolver *r = arg;
    struct lookup_list done;
    uint64_t count;
    (void)what;
    if (read(fd, &count, sizeof count) < 0)
        return;
    TAILQ_INIT(&done);
    (void)pthread_mutex_lock(&r->lock);
    TAILQ_CONCAT(&done, &r->finished, link);
    (void)pthread_mutex_unlock(&r->lock);
    for (struct lookup *l; (l = TAILQ_FIRST(&done)) != NULL;) {
        TAILQ_REMOVE(&done, l, link);
        r->waiting--;
        if (l->done != NULL)
            l->done(l->arg, l->gai, l->gai == 0 ? &l->addresses : NULL);
        free(l);
    }
}

struct resolver *resolver_new(struct event_base *base)
{
    /* What other name services would load, connect to and call could not be written down in a filter. */
    (void)__nss_configure_lookup("hosts", "files dns");
    struct resolver *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    TAILQ_INIT(&r->urgent);
    TAILQ_INIT(&r->normal);
    TAILQ_INIT(&r->finished);
    (void)pthread_mutex_init(&r->lock, NULL);
    (void)pthread_cond_init(&r->work, NULL);
    r->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (r->eventfd >= 0)
        r->answered = event_new(base, r->eventfd, EV_READ | EV_PERSIST, on_answered, r);
    if (r->answered == NULL || event_add(r->answered, NULL) != 0) {
        if (r->answered != NULL)
            event_free(r->answered);
        if (r->eventfd >= 0)
            (void)close(r->eventfd);
        free(r);
        return NULL;
    }
    return r;
}

/* Under the lock. A thread that cannot be had is no failure as long as another one works. */
static bool thread_wanted(struct resolver *r)
{
    pthread_attr_t attr;
    pthread_t thread;
    if (r->idle > r->queued || r->threads >= THREADS_MAX)
        return true;
    if (pthread_attr_init(&attr) != 0)
        return r->threads > 0;
    (void)pthread_attr_setstacksize(&attr, THREAD_STACK);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attr, thread_main, r) == 0)
        r->threads++;
    (void)pthread_attr_destroy(&attr);
    return r->threads > 0;
}

enum status resolver_lookup(struct resolver *r, const char *host, uint16_t port, bool urgent,
                            lookup_done done, void *arg, struct lookup **lookup)
{
    if (r->waiting >= WAITING_MAX)
        return ERR_LIMIT;
    struct lookup *l = calloc(1, sizeof *l);
    if (l == NULL)
        return ERR_NOMEM;
    size_t len = strlen(host);
    if (len >= sizeof l->host) {
        free(l);
        return ERR_SIZE;
    }
    memcpy(l->host, host, len + 1);
    l->port = port;
    l->urgent = urgent;
    l->done = done;
    l->arg = arg;
    (void)pthread_mutex_lock(&r->lock);
    bool served = thread_wanted(r);
    if (served) {
        TAILQ_INSERT_TAIL(urgent ? &r->urgent : &r->normal, l, link);
        r->queued++;
        (void)pthread_cond_broadcast(&r->work);
    }
    (void)pthread_mutex_unlock(&r->lock);
    if (!served) {
        free(l);
        return ERR_NOMEM;
    }
    r->waiting++;
    *lookup = l;
    return OK;
}

void lookup_cancel(struct lookup *l)
{
    if (l != NULL)
        l->done = NULL;
}
