/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user: runs any mix of load engines in one common window and prints one line of JSON with bytes,
 * latencies, the CPU time of the processes that it was told to watch, and the share of the machine that
 * strangers burnt meanwhile. It must not judge; the runner does.
 */
#include "driver.h"

#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { ENGINES = 16, GROUPS = 8, PIDS = 8192 };

struct group {
    char name[16];
    clockid_t clocks[PIDS];
    size_t count;
    uint64_t begin, end;
};

/* A process's CPU clock (clock_getcpuclockid without its checks: the number is the pid's own). */
static clockid_t process_clock(long pid)
{
    return (clockid_t)((~(unsigned int)pid << 3) | 2u);
}

static uint64_t group_cpu(const struct group *group)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < group->count; i++) {
        struct timespec used;

        if (clock_gettime(group->clocks[i], &used) == 0)
            sum += (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
    }
    return sum;
}

/* Busy time of the whole machine in nanoseconds, stolen time included. */
static uint64_t machine_busy(void)
{
    unsigned long long user, nice, system, idle, iowait, irq, softirq, steal;
    long hertz = sysconf(_SC_CLK_TCK);
    FILE *file = fopen("/proc/stat", "re");

    if (!file || fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle,
                        &iowait, &irq, &softirq, &steal) != 8)
        die(1, "/proc/stat");
    fclose(file);
    return (user + nice + system + irq + softirq + steal) * (1000000000ull / (uint64_t)hertz);
}

/* NAME=PID,PID,... */
static void group_parse(struct group *group, const char *text)
{
    const char *equals = strchr(text, '=');

    if (!equals || (size_t)(equals - text) >= sizeof group->name)
        die(0, "--cpu wants NAME=PID,PID,...");
    memcpy(group->name, text, (size_t)(equals - text));
    for (const char *at = equals + 1; *at && group->count < PIDS; at++) {
        char *end;
        long pid = strtol(at, &end, 10);

        if (end == at || pid < 1)
            die(0, "--cpu: \"%s\" is no list of process ids", equals + 1);
        group->clocks[group->count++] = process_clock(pid);
        if (*end == 0)
            break;
        at = end;
    }
}

/*
 * KIND:COUNT[:A[:B[:C]]] -- down:STREAMS[:RATE], up:STREAMS[:REPORT], request:CONNECTIONS[:OUTSTANDING
 * [:REQUEST[:RESPONSE]]], connect:SLOTS, idle:COUNT, stalled:COUNT. @HOST:PORT after it is its own target.
 */
static void engine_parse(struct engine *engine, const char *text, struct window *window)
{
    unsigned long long values[4] = {0};
    const char *own = strchr(text, '@'), *at = strchr(text, ':');
    int given = 0;

    for (; at && given < 4 && (!own || at < own); at = strchr(at + 1, ':'))
        values[given++] = strtoull(at + 1, NULL, 10);
    if (own)
        target_parse(&engine->to, own + 1);
    engine->window = window;
    engine->text = text;
    engine->connections = (size_t)values[0];
    engine->request = 128;
    engine->response = 256;
    if (given < 1 || values[0] < 1 || values[0] > 100000)
        die(0, "engine \"%s\": how many?", text);
    if (strncmp(text, "down:", 5) == 0) {
        engine->kind = "down";
        engine->rate = values[1];
    } else if (strncmp(text, "up:", 3) == 0) {
        engine->kind = "up";
        engine->upwards = 1;
        engine->report = values[1];
    } else if (strncmp(text, "request:", 8) == 0) {
        engine->kind = "request";
        engine->outstanding = given > 1 && values[1] ? (size_t)values[1] : engine->connections;
        if (given > 2)
            engine->request = (uint32_t)values[2];
        if (given > 3)
            engine->response = (uint32_t)values[3];
        if (engine->request < 8 || engine->response < 8 || engine->response > SMALL_MAX)
            die(0, "engine \"%s\": requests and answers have 8 to 65536 bytes", text);
    } else if (strncmp(text, "connect:", 8) == 0)
        engine->kind = "connect";
    else if (strncmp(text, "idle:", 5) == 0)
        engine->kind = "idle";
    else if (strncmp(text, "stalled:", 8) == 0)
        engine->kind = "stalled";
    else
        die(0, "unknown engine \"%s\"", text);
    engine->bytes = calloc(engine->connections, sizeof *engine->bytes);
    engine->bytes_begin = calloc(engine->connections, sizeof *engine->bytes_begin);
    engine->bytes_end = calloc(engine->connections, sizeof *engine->bytes_end);
    engine->wakeup = eventfd(0, EFD_CLOEXEC);
    if (!engine->bytes || !engine->bytes_begin || !engine->bytes_end || engine->wakeup < 0)
        die(1, "engine");
}

static void *(*engine_body(const struct engine *engine))(void *)
{
    if (strcmp(engine->kind, "request") == 0)
        return request_run;
    if (strcmp(engine->kind, "connect") == 0)
        return connect_run;
    if (strcmp(engine->kind, "idle") == 0 || strcmp(engine->kind, "stalled") == 0)
        return hold_run;
    return bulk_run;
}

static int by_size(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

    return (a > b) - (a < b);
}

static void latencies_print(struct engine *engine)
{
    static const struct {
        const char *name;
        double part;
    } points[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1.0}};

    printf(",\"completed\":%llu", (unsigned long long)engine->completed);
    if (!engine->sample_count)
        return;
    qsort(engine->samples, engine->sample_count, sizeof *engine->samples, by_size);
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        size_t at = (size_t)((double)engine->sample_count * points[i].part);

        if (at >= engine->sample_count)
            at = engine->sample_count - 1;
        printf(",\"%s_us\":%.1f", points[i].name, engine->samples[at] / 1000.0);
    }
}

static void engine_print(struct engine *engine)
{
    uint64_t total = 0;

    printf("{\"kind\":\"%s\",\"spec\":\"%s\"", engine->kind, engine->text);
    if (engine_body(engine) == bulk_run) {
        printf(",\"per_stream\":[");
        for (size_t i = 0; i < engine->connections; i++) {
            uint64_t moved = engine->bytes_end[i] - engine->bytes_begin[i];

            total += moved;
            printf("%s%llu", i ? "," : "", (unsigned long long)moved);
        }
        printf("],\"bytes\":%llu", (unsigned long long)total);
    } else if (engine_body(engine) != hold_run)
        latencies_print(engine);
    putchar('}');
}

static void phase_set(struct window *window, struct engine *engines, size_t count, int phase)
{
    uint64_t one = 1;

    window->phase = phase;
    for (size_t i = 0; i < count; i++)
        if (write(engines[i].wakeup, &one, sizeof one) < 0)
            die(1, "eventfd");
}

static void bytes_note(struct engine *engines, size_t count, int at_end)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < engines[i].connections; k++)
            (at_end ? engines[i].bytes_end : engines[i].bytes_begin)[k] = engines[i].bytes[k];
}

static void seconds_sleep(double seconds)
{
    struct timespec time = {.tv_sec = (time_t)seconds};

    time.tv_nsec = (long)((seconds - (double)time.tv_sec) * 1e9);
    nanosleep(&time, NULL);
}

/* Waits until the runner says go on: one line on standard input, or its end. */
static void runner_wait(const char *state)
{
    char line[64];

    printf("%s\n", state);
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        return;
}

struct plan {
    struct window window;
    struct target to;
    struct engine engines[ENGINES];
    struct group groups[GROUPS];
    size_t engine_count, group_count;
    double warmup, seconds, patience;
    int held;
};

static void plan_run(struct plan *plan)
{
    struct window *window = &plan->window;
    pthread_t threads[ENGINES];
    uint64_t own_begin, busy_begin, begin, end, own, busy, all = 0;

    window->deadline_ns = now_ns() + (uint64_t)(plan->patience * 1e9);
    for (size_t i = 0; i < plan->engine_count; i++)
        if (pthread_create(&threads[i], NULL, engine_body(&plan->engines[i]), &plan->engines[i]))
            die(0, "no thread");
    while ((size_t)window->ready < plan->engine_count)
        seconds_sleep(0.001);
    if (plan->held)
        runner_wait("ready");
    seconds_sleep(plan->warmup);
    bytes_note(plan->engines, plan->engine_count, 0);
    busy_begin = machine_busy();
    for (size_t i = 0; i < plan->group_count; i++)
        plan->groups[i].begin = group_cpu(&plan->groups[i]);
    own_begin = group_cpu(&(struct group){.clocks = {process_clock(getpid())}, .count = 1});
    phase_set(window, plan->engines, plan->engine_count, PHASE_MEASURE);
    begin = now_ns();
    seconds_sleep(plan->seconds);
    end = now_ns();
    bytes_note(plan->engines, plan->engine_count, 1);
    phase_set(window, plan->engines, plan->engine_count, PHASE_DONE);
    busy = machine_busy() - busy_begin;
    own = group_cpu(&(struct group){.clocks = {process_clock(getpid())}, .count = 1}) - own_begin;
    for (size_t i = 0; i < plan->group_count; i++)
        plan->groups[i].end = group_cpu(&plan->groups[i]);
    for (size_t i = 0; i < plan->engine_count; i++)
        pthread_join(threads[i], NULL);
    printf("{\"seconds\":%.6f,\"errors\":%llu,\"engines\":[", (double)(end - begin) / 1e9,
           (unsigned long long)window->errors);
    for (size_t i = 0; i < plan->engine_count; i++) {
        if (i)
            putchar(',');
        engine_print(&plan->engines[i]);
    }
    printf("],\"cpu\":{");
    for (size_t i = 0; i < plan->group_count; i++) {
        uint64_t used = plan->groups[i].end - plan->groups[i].begin;

        all += used;
        printf("\"%s\":%.6f,", plan->groups[i].name, (double)used / 1e9);
    }
    all += own;
    printf("\"user\":%.6f},\"busy\":%.6f,\"foreign\":%.4f}\n", (double)own / 1e9, (double)busy / 1e9,
           busy > all ? (double)(busy - all) / (double)(end - begin) / (double)sysconf(_SC_NPROCESSORS_ONLN)
                      : 0.0);
}

int load_main(int argc, char **argv)
{
    static const struct option options[] = {
        {"target", required_argument, NULL, 't'},  {"engine", required_argument, NULL, 'e'},
        {"cpu", required_argument, NULL, 'c'},     {"warmup", required_argument, NULL, 'w'},
        {"seconds", required_argument, NULL, 's'}, {"patience", required_argument, NULL, 'p'},
        {"hold", no_argument, NULL, 'h'},          {0}};
    static struct plan plan = {.warmup = 0.5, .seconds = 1.0, .patience = 30};
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 't')
            target_parse(&plan.to, optarg);
        else if (option == 'e' && plan.engine_count < ENGINES)
            engine_parse(&plan.engines[plan.engine_count++], optarg, &plan.window);
        else if (option == 'c' && plan.group_count < GROUPS)
            group_parse(&plan.groups[plan.group_count++], optarg);
        else if (option == 'w')
            plan.warmup = strtod(optarg, NULL);
        else if (option == 's')
            plan.seconds = strtod(optarg, NULL);
        else if (option == 'p')
            plan.patience = strtod(optarg, NULL);
        else if (option == 'h')
            plan.held = 1;
        else
            return 64;
    }
    if (!plan.engine_count)
        die(0, "load wants --engine");
    for (size_t i = 0; i < plan.engine_count; i++) {
        if (!plan.engines[i].to.size)
            plan.engines[i].to = plan.to;
        if (!plan.engines[i].to.size)
            die(0, "load wants --target");
    }
    plan_run(&plan);
    return 0;
}

int first_byte_main(int argc, char **argv)
{
    struct target target;
    struct header header = header_make(MODE_ECHO, 8, 8);
    char bytes[sizeof header + 8], answer[8];
    uint64_t deadline = now_ns() + 30000000000u;

    if (argc < 2)
        die(0, "first-byte wants HOST:PORT");
    target_parse(&target, argv[1]);
    memcpy(bytes, &header, sizeof header);
    memcpy(bytes + sizeof header, "firstone", 8);
    while (now_ns() < deadline) {
        int fd = target_connect(&target);
        struct pollfd wait = {.fd = fd, .events = POLLOUT};

        /* A connection that waits in a backlog is answered as soon as the tunnel is up. */
        if (fd >= 0 && poll(&wait, 1, 1000) == 1 && send_all(fd, bytes, sizeof bytes) == 0) {
            wait.events = POLLIN;
            if (poll(&wait, 1, 5000) == 1 && recv(fd, answer, 8, 0) > 0) {
                printf("%llu\n", (unsigned long long)now_ns());
                return 0;
            }
        }
        if (fd >= 0)
            close(fd);
        seconds_sleep(0.0005);
    }
    die(0, "no byte came through within 30 s");
}
