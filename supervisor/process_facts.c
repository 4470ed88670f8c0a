/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See process_facts.h. A process may end between two reads; then what is not known stays 0.
 */
#include "supervisor/process_facts.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads at most cap - 1 bytes of a file below /proc. */
static enum status slurp(const char *path, char *out, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ERR_NOT_FOUND;
    size_t used = 0;
    ssize_t n = 0;
    while (used < cap - 1 && (n = read(fd, out + used, cap - 1 - used)) > 0)
        used += (size_t)n;
    (void)close(fd);
    out[used] = '\0';
    return n < 0 || used == 0 ? ERR_NOT_FOUND : OK;
}

/* The text after "Name:" and blanks on its own line; NULL when there is no such line. */
static const char *line_value(const char *text, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) == 0 && line[len] == ':')
            return line + len + 1 + strspn(line + len + 1, " \t");
    }
    return NULL;
}

static bool number_of(const char *text, const char *name, int base, uint64_t *out)
{
    const char *value = line_value(text, name);
    char *end = NULL;
    if (value == NULL)
        return false;
    *out = strtoull(value, &end, base);
    return end != value;
}

/* The effective id: the second of four. */
static bool id_of(const char *text, const char *name, uint32_t *out)
{
    const char *value = line_value(text, name);
    uint32_t real = 0;
    uint32_t effective = 0;
    if (value == NULL || sscanf(value, "%" SCNu32 " %" SCNu32, &real, &effective) != 2)
        return false;
    *out = effective;
    return true;
}

enum status process_facts_parse(const char *text, struct process_facts *out)
{
    struct process_facts facts = {0};
    uint64_t value = 0;
    bool ok = id_of(text, "Uid", &facts.uid) && id_of(text, "Gid", &facts.gid) &&
              number_of(text, "CapEff", 16, &facts.cap_effective) &&
              number_of(text, "CapPrm", 16, &facts.cap_permitted) &&
              number_of(text, "CapBnd", 16, &facts.cap_bounding);
    if (!ok)
        return ERR_FORMAT;
    if (number_of(text, "NoNewPrivs", 10, &value))
        facts.no_new_privs = value != 0;
    if (number_of(text, "Seccomp", 10, &value))
        facts.seccomp_mode = (uint8_t)value;
    if (number_of(text, "Seccomp_filters", 10, &value))
        facts.seccomp_filters = (uint32_t)value;
    if (number_of(text, "VmRSS", 10, &value))
        facts.rss_kib = (uint32_t)value;
    if (number_of(text, "Threads", 10, &value))
        facts.threads = (uint32_t)value;
    *out = facts;
    return OK;
}

/* Since Linux 6.2 the directory's size is the count, which anybody may see; before, only its owner may list
 * it. */
static uint32_t count_descriptors(pid_t pid)
{
    char path[40];
    struct stat st;
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    if (stat(path, &st) == 0 && st.st_size > 0)
        return (uint32_t)st.st_size;
    DIR *dir = opendir(path);
    uint32_t n = 0;
    for (const struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        n += entry->d_name[0] != '.';
    if (dir != NULL)
        (void)closedir(dir);
    /* Listing one's own needs a descriptor more. */
    return n > 0 && pid == getpid() ? n - 1 : n;
}

/* Fields 14 and 15 of /proc/PID/stat, counted after the name, which may hold blanks and brackets. */
static double cpu_seconds(pid_t pid)
{
    char path[40];
    char text[1024];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (slurp(path, text, sizeof text) != OK)
        return 0;
    const char *p = strrchr(text, ')');
    uint64_t user = 0;
    uint64_t system = 0;
    if (p == NULL || sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64, &user,
                            &system) != 2)
        return 0;
    long ticks = sysconf(_SC_CLK_TCK);
    return ticks > 0 ? (double)(user + system) / (double)ticks : 0;
}

enum status process_facts_read(pid_t pid, struct process_facts *out)
{
    char path[40];
    char text[4096];
    struct process_facts facts;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    enum status status = slurp(path, text, sizeof text);
    if (status == OK)
        status = process_facts_parse(text, &facts);
    if (status != OK)
        return ERR_NOT_FOUND;
    facts.descriptors = count_descriptors(pid);
    facts.cpu_seconds = cpu_seconds(pid);
    *out = facts;
    return OK;
}
