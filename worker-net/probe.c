/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The role's frame: reads the target, closes the sandbox, takes the steps in order and stops at the first
 * that fails. What a step does is in probe_steps.c and probe_hello.c.
 */
#include "worker-net/probe.h"

#include <inttypes.h>
#include <nss.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "common/clock.h"
#include "common/sandbox.h"
#include "common/utf8.h"
#include "worker-net/tls.h"

struct step {
    const char *name;
    enum status (*run)(struct probe *p, char *text);
    bool (*wanted)(const struct probe_target *t); /* NULL: always */
};

static bool wants_proxy(const struct probe_target *t)
{
    return t->proxy_host[0] != '\0';
}

static bool wants_tls(const struct probe_target *t)
{
    return t->tls;
}

static bool wants_page(const struct probe_target *t)
{
    return t->http;
}

static bool wants_wormhole(const struct probe_target *t)
{
    return !t->http;
}

static const struct step steps[] = {
    {"dns", probe_resolve, NULL},
    {"tcp", probe_connect, NULL},
    {"proxy", probe_proxy, wants_proxy},
    {"tls", probe_tls, wants_tls},
    {"upgrade", probe_upgrade, wants_wormhole},
    {"hello", probe_hello, wants_wormhole},
    {"answer", probe_answer, wants_page},
};

static bool text_take(char *to, size_t cap, const char *value)
{
    return (size_t)snprintf(to, cap, "%s", value) < cap;
}

static bool number_take(uint32_t *to, uint32_t max, const char *value)
{
    char *end = NULL;
    unsigned long number = strtoul(value, &end, 10);
    *to = (uint32_t)number;
    return value[0] >= '0' && value[0] <= '9' && *end == '\0' && number <= max;
}

static bool target_take(struct probe_target *t, const char *key, const char *value)
{
    uint32_t number = 0;
    if (strcmp(key, "host") == 0)
        return text_take(t->host, sizeof t->host, value);
    if (strcmp(key, "path") == 0)
        return text_take(t->path, sizeof t->path, value);
    if (strcmp(key, "ca_file") == 0)
        return text_take(t->ca_file, sizeof t->ca_file, value);
    if (strcmp(key, "proxy_host") == 0)
        return text_take(t->proxy_host, sizeof t->proxy_host, value);
    if (strcmp(key, "proxy_authorization") == 0)
        return text_take(t->proxy_authorization, sizeof t->proxy_authorization, value);
    if (strcmp(key, "fingerprint") == 0)
        return text_take(t->fingerprint, sizeof t->fingerprint, value);
    if (strcmp(key, "timeout_ms") == 0)
        return number_take(&t->timeout_ms, 300000, value);
    if (strcmp(key, "uid") == 0)
        return number_take(&t->uid, UINT32_MAX - 1, value);
    if (strcmp(key, "gid") == 0)
        return number_take(&t->gid, UINT32_MAX - 1, value);
    if (!number_take(&number, 65535, value))
        return false;
    if (strcmp(key, "port") == 0)
        t->port = (uint16_t)number;
    else if (strcmp(key, "proxy_port") == 0)
        t->proxy_port = (uint16_t)number;
    else if (strcmp(key, "tls") == 0)
        t->tls = number != 0;
    else if (strcmp(key, "http") == 0)
        t->http = number != 0;
    else
        return false;
    return true;
}

/* "key value" lines until the end of standard input. */
static bool target_read(struct probe_target *t)
{
    char line[1200];
    bool ok = true;
    while (ok && fgets(line, sizeof line, stdin) != NULL) {
        char *end = strchr(line, '\n');
        char *blank = strchr(line, ' ');
        ok = end != NULL && blank != NULL;
        if (ok) {
            *end = '\0';
            *blank = '\0';
            ok = target_take(t, line, blank + 1);
        }
    }
    explicit_bzero(line, sizeof line);
    return ok && t->host[0] != '\0' && t->port != 0 && t->timeout_ms != 0;
}

/* text may hold what a server or proxy said: no control character of it gets out. */
static void report(const char *step, const char *result, uint64_t ms, const char *text)
{
    char clean[PROBE_TEXT];
    utf8_clean(clean, sizeof clean, text);
    (void)printf("%s\t%s\t%" PRIu64 "\t%s\n", step, result, ms, clean);
    (void)fflush(stdout);
}

/* What a dialer may do is what is needed here: look up names, connect. Reading and writing it may as well. */
static enum status cage_enter(const struct probe_target *t)
{
    struct sandbox_spec spec;
    struct sandbox_report result;
    sandbox_spec_for_role(&spec, ROLE_DIALER, SIDE_CLIENT);
    spec.mode = SANDBOX_BEST_EFFORT;
    spec.landlock_max = 255;
    spec.uid = (uid_t)t->uid;
    spec.gid = (gid_t)t->gid;
#ifdef WORMHOLE_SANITIZE
    spec.sanitizer = true;
#endif
    spec.restrict_bind = true;
    spec.restrict_connect = true;
    /* Name service stays what it is: no module is loaded for it later, and no name service cache is asked. */
    (void)__nss_configure_lookup("hosts", "files dns");
    enum status st = sandbox_allow_resolver(&spec);
    if (st == OK)
        st = sandbox_allow_connect(&spec, 53); /* long answers of name servers come over TCP */
    if (st == OK)
        st = sandbox_allow_connect(&spec, wants_proxy(t) ? t->proxy_port : t->port);
    return st == OK ? sandbox_enter(&spec, &result) : st;
}

static enum status walk(struct probe *p)
{
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        char text[PROBE_TEXT] = "";
        uint64_t began = clock_mono_ms();
        if (steps[i].wanted != NULL && !steps[i].wanted(&p->target))
            continue;
        p->deadline_ms = began + p->target.timeout_ms;
        enum status st = steps[i].run(p, text);
        report(steps[i].name, st == OK ? "ok" : "failed", clock_mono_ms() - began, text);
        if (st != OK)
            return st;
    }
    return OK;
}

int probe_main(int argc, char **argv)
{
    static struct probe p = {.fd = -1}; /* static: its buffers are large */
    char why[PROBE_TEXT] = "";
    (void)argc;
    (void)argv;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGPIPE, SIG_IGN);
    if (!target_read(&p.target)) {
        (void)fprintf(stderr, "wormhole-net probe is started by `wormhole probe` only\n");
        return 64;
    }
    if (p.target.tls && tls_context_new(p.target.ca_file, &p.authorities, why, sizeof why) != OK) {
        report("tls", "failed", 0, why);
        return 1;
    }
    if (cage_enter(&p.target) != OK) {
        report("sandbox", "failed", 0, "the sandbox could not be closed; nothing was sent");
        return 1;
    }
    enum status st = walk(&p);
    probe_clear(&p);
    return st == OK ? 0 : 1;
}
