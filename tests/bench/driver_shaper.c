/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A long and lossy line in user space, for kernels without netem: two network namespaces, each with a tun
 * device, and this process between them, which delays every IP packet and drops some. The TCP on both
 * ends is the kernel's own and sees real loss and a real round trip. It must only ever touch the two
 * namespaces that it made.
 *
 *   server namespace 10.77.0.1/30 --- tun --- [delay, loss] --- tun --- 10.77.0.2/30 client namespace
 */
#include "driver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MTU = 1500, SLOTS = 65536 }; /* 65,536 packets of 1,500 bytes: 98 MB on the line at most */

struct packet {
    uint64_t due;
    uint16_t size;
    uint8_t bytes[MTU];
};

/* One direction: what waits on the line, oldest first. */
struct line {
    struct packet *packets;
    size_t head, count;
    uint64_t carried, dropped, overrun;
    uint64_t free_at; /* when the bottleneck has sent what it has */
    int from, to;
};

struct settings {
    uint64_t delay_ns;
    uint64_t loss;        /* chance out of 2^32 */
    uint64_t bytes_per_s; /* 0 = no bottleneck */
    uint64_t random;
};

static void interface_up(const char *name, const char *address)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&request.ifr_addr;

    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (address) {
        in->sin_family = AF_INET;
        inet_pton(AF_INET, address, &in->sin_addr);
        if (ioctl(fd, SIOCSIFADDR, &request) < 0)
            die(1, "%s: address", name);
        inet_pton(AF_INET, "255.255.255.252", &in->sin_addr);
        if (ioctl(fd, SIOCSIFNETMASK, &request) < 0)
            die(1, "%s: netmask", name);
        request.ifr_mtu = MTU;
        if (ioctl(fd, SIOCSIFMTU, &request) < 0)
            die(1, "%s: mtu", name);
        request.ifr_qlen = 10000;
        if (ioctl(fd, SIOCSIFTXQLEN, &request) < 0)
            die(1, "%s: queue", name);
    }
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
        die(1, "%s: up", name);
    close(fd);
}

static int tun_open(const char *address)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    strncpy(request.ifr_name, "line0", IFNAMSIZ - 1);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
        die(1, "/dev/net/tun");
    interface_up("lo", NULL);
    interface_up("line0", address);
    return fd;
}

static void fd_send(int channel, int fd)
{
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec byte = {.iov_base = "t", .iov_len = 1};
    struct msghdr message = {.msg_iov = &byte,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof control.room};
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);

    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(part), &fd, sizeof fd);
    if (sendmsg(channel, &message, 0) != 1)
        die(1, "passing the tun device");
}

static int fd_receive(int channel)
{
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    char byte;
    struct iovec place = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &place,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof control.room};
    struct cmsghdr *part;
    int fd = -1;

    if (recvmsg(channel, &message, MSG_CMSG_CLOEXEC) == 1 && (part = CMSG_FIRSTHDR(&message)))
        memcpy(&fd, CMSG_DATA(part), sizeof fd);
    if (fd < 0)
        die(0, "the namespace's process gave no tun device");
    return fd;
}

/* A child that makes a network namespace with a tun device in it and stays as the namespace's holder. */
static pid_t holder_start(const char *address, int *tun)
{
    int pair[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 || (pid = fork()) < 0)
        die(1, "namespace holder");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (unshare(CLONE_NEWNET) < 0)
            die(1, "network namespace");
        fd_send(pair[1], tun_open(address));
        for (;;)
            pause();
    }
    close(pair[1]);
    *tun = fd_receive(pair[0]);
    close(pair[0]);
    return pid;
}

static void line_take(struct line *line, struct settings *settings, uint64_t now)
{
    for (int burst = 0; burst < 64; burst++) {
        struct packet *packet = &line->packets[(line->head + line->count) % SLOTS];
        uint8_t spare[MTU];
        int full = line->count == SLOTS;
        ssize_t got = read(line->from, full ? spare : packet->bytes, MTU);

        if (got <= 0)
            return;
        settings->random ^= settings->random << 13;
        settings->random ^= settings->random >> 7;
        settings->random ^= settings->random << 17;
        if (full) {
            line->overrun++;
            continue;
        }
        if ((settings->random >> 16 & 0xffffffffu) < settings->loss) {
            line->dropped++;
            continue;
        }
        packet->due = now + settings->delay_ns;
        if (settings->bytes_per_s) {
            uint64_t start = line->free_at > now ? line->free_at : now;

            line->free_at = start + (uint64_t)got * 1000000000u / settings->bytes_per_s;
            packet->due = line->free_at + settings->delay_ns;
        }
        packet->size = (uint16_t)got;
        line->count++;
        line->carried++;
    }
}

static void line_give(struct line *line, uint64_t now)
{
    while (line->count && line->packets[line->head].due <= now) {
        struct packet *packet = &line->packets[line->head];

        if (write(line->to, packet->bytes, packet->size) < 0 && errno == EAGAIN)
            return;
        line->head = (line->head + 1) % SLOTS;
        line->count--;
    }
}

static void lines_run(struct line lines[2], struct settings *settings)
{
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct pollfd wait[4] = {{.fd = lines[0].from, .events = POLLIN},
                             {.fd = lines[1].from, .events = POLLIN},
                             {.fd = timer, .events = POLLIN},
                             {.fd = STDIN_FILENO, .events = POLLIN}};
    uint64_t ticks, armed = 0;

    for (;;) {
        uint64_t next = UINT64_MAX, now;

        if (poll(wait, 4, -1) < 0 && errno != EINTR)
            die(1, "poll");
        if (wait[3].revents)
            return;
        if (read(timer, &ticks, sizeof ticks) > 0)
            armed = 0;
        now = now_ns();
        for (int i = 0; i < 2; i++) {
            line_take(&lines[i], settings, now);
            line_give(&lines[i], now);
            if (lines[i].count && lines[i].packets[lines[i].head].due < next)
                next = lines[i].packets[lines[i].head].due;
        }
        if (next != UINT64_MAX && next != armed) {
            struct itimerspec at = {
                .it_value = {.tv_sec = (time_t)(next / 1000000000u), .tv_nsec = (long)(next % 1000000000u)}};

            timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
            armed = next;
        }
    }
}

int shaper_main(int argc, char **argv)
{
    static const struct option options[] = {{"delay-ms", required_argument, NULL, 'd'},
                                            {"loss", required_argument, NULL, 'l'},
                                            {"mbit", required_argument, NULL, 'm'},
                                            {"seed", required_argument, NULL, 's'},
                                            {0}};
    struct settings settings = {.delay_ns = 25000000, .random = 0x9e3779b97f4a7c15u};
    struct line lines[2] = {0};
    pid_t holders[2];
    int option, ends[2];

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'd')
            settings.delay_ns = (uint64_t)(strtod(optarg, NULL) * 1e6);
        else if (option == 'l')
            settings.loss = (uint64_t)(strtod(optarg, NULL) * 4294967296.0);
        else if (option == 'm')
            settings.bytes_per_s = (uint64_t)(strtod(optarg, NULL) * 125000.0);
        else if (option == 's')
            settings.random ^= strtoull(optarg, NULL, 10) * 0x2545f4914f6cdd1du;
        else
            return 64;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    holders[0] = holder_start("10.77.0.1", &ends[0]);
    holders[1] = holder_start("10.77.0.2", &ends[1]);
    for (int i = 0; i < 2; i++) {
        lines[i].from = ends[i];
        lines[i].to = ends[!i];
        lines[i].packets = malloc(SLOTS * sizeof *lines[i].packets);
        if (!lines[i].packets)
            die(1, "line");
    }
    printf("%d %d\n", holders[0], holders[1]);
    fflush(stdout);
    lines_run(lines, &settings);
    for (int i = 0; i < 2; i++) {
        kill(holders[i], SIGKILL);
        waitpid(holders[i], NULL, 0);
        printf("carried %llu dropped %llu overrun %llu\n", (unsigned long long)lines[i].carried,
               (unsigned long long)lines[i].dropped, (unsigned long long)lines[i].overrun);
    }
    return 0;
}
