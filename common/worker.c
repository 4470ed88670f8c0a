/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of every worker: boot, preload, sandbox, READY, loop, exit. See worker.h for the order. Must not
 * know what any role does, and must not read anything from the network.
 */
#include "common/worker.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/worker_private.h"
#ifdef WORMHOLE_PROBES
#include "common/worker_probe.h"
#endif

#define FLUSH_MS 2000
#define EXIT_CONFIG 78 /* the same as the command line's: the supervisor passes it on */

static struct {
    struct worker worker;
    const struct worker_role *role;
    bool exiting;
    int exit_code;
} self;

static void end_process(int code) __attribute__((noreturn));

/* A sanitizer reports at exit(); otherwise nothing of the libraries is worth running any more. */
static void end_process(int code)
{
    struct worker *w = &self.worker;
    if (w->supervisor != NULL)
        (void)ipc_channel_flush(w->supervisor, FLUSH_MS);
    if (self.role->finish != NULL)
        self.role->finish(w);
    if (w->sanitizer_build)
        exit(code);
    _exit(code);
}

void worker_exit(struct worker *w, int code)
{
    if (self.exiting)
        return;
    self.exiting = true;
    self.exit_code = code;
    if (w->base != NULL)
        (void)event_base_loopbreak(w->base);
}

static void fail(const char *what, const char *why) __attribute__((noreturn));

static void fail(const char *what, const char *why)
{
    worker_log(LEVEL_ERROR, "%s: %s", what, why);
    end_process(1);
}

static void on_message(void *arg, enum message_type type, const union message *m, int fd)
{
    struct worker *w = arg;
    if (worker_common_message(w, type, m))
        return;
    if (type == MSG_WORKER_STOP) {
        if (self.role->stop != NULL)
            self.role->stop(w, &m->worker_stop);
        else
            worker_exit(w, 0);
        return;
    }
    if (self.role->message != NULL)
        self.role->message(w, type, m, fd);
    else if (fd >= 0)
        (void)close(fd);
}

/* Without a supervisor there is nothing to work for; what breaks the rules on this channel is no supervisor.
 */
static void on_closed(void *arg, const char *reason)
{
    struct worker *w = arg;
    ipc_channel_free(w->supervisor);
    w->supervisor = NULL;
    worker_exit(w, reason == NULL ? 0 : 1);
}

static const struct ipc_handlers supervisor_handlers = {.message = on_message, .closed = on_closed};

/* The loop's own descriptors must exist before the filter closes; what environment variables say is not
 * asked. */
static struct event_base *loop_new(void)
{
    struct event_config *config = event_config_new();
    if (config == NULL)
        return NULL;
    (void)event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV);
    (void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

/* From here on what comes on standard error could only be an attacker's; --trace wants the messages there. */
static void silence_stderr(const struct sandbox_spec *spec)
{
    if (!spec->sanitizer && !worker_log_enabled(LEVEL_TRACE))
        (void)dup2(STDOUT_FILENO, STDERR_FILENO);
}

static void close_cage(struct worker *w, struct sandbox_spec *spec)
{
    struct sandbox_report report;
    enum status ready_for_cage = self.role->preload != NULL ? self.role->preload(w, spec) : OK;
    if (ready_for_cage == ERR_CONFIG)
        end_process(EXIT_CONFIG); /* the role has said what is wrong, and trying again would not help */
    if (ready_for_cage != OK)
        fail("preload", "cannot get ready");
    silence_stderr(spec);
    enum status status = sandbox_enter(spec, &report);
    if (status != OK)
        fail("sandbox", report.missing[0] != '\0' ? report.missing : status_text(status));
    if (!worker_boot_parent_lives())
        fail("supervisor", "gone");

    struct msg_worker_ready ready = {.layers = report.layers, .landlock_abi = report.landlock_abi};
    memcpy(ready.missing, report.missing, sizeof ready.missing);
    if (worker_channel_send(w, MSG_WORKER_READY, &ready) != OK)
        fail("supervisor", "does not listen");
}

int worker_main(int argc, char **argv, const struct worker_role *role)
{
    struct worker *w = &self.worker;
    struct sandbox_spec spec;
    const char *why;
    (void)argc;
    (void)argv;
    self.role = role;
    if (worker_boot_process(&why) != OK) {
        (void)fprintf(stderr, "wormhole-%s: %s\n", role->name, why);
        return 64;
    }
    w->role = role->role;
    worker_log_open(w, role->name);
    enum status status = worker_boot_messages(w, role, &spec, &why);
    if (status == ERR_EOF)
        end_process(0);
    if (status != OK)
        fail("setting up", why);
    w->base = loop_new();
    if (w->base == NULL)
        fail("event loop", "out of memory or descriptors");
    close_cage(w, &spec);
#ifdef WORMHOLE_PROBES
    if (w->test_probe != 0) {
        char line[128];
        probe_try(w->test_probe, line, sizeof line);
        worker_log(LEVEL_ERROR, "%s", line);
        end_process(0);
    }
#endif
    w->supervisor = ipc_channel_new(w->base, IPC_WORKER_FD, role->kind, IPC_LOWER, role->run_state,
                                    "supervisor", &supervisor_handlers, w);
    if (w->supervisor == NULL)
        fail("channel", "out of memory");
    if (role->start != NULL && role->start(w) != OK && !self.exiting)
        fail("start", "cannot begin to work");
    while (!self.exiting)
        if (event_base_loop(w->base, EVLOOP_NO_EXIT_ON_EMPTY) != 0)
            break;
    end_process(self.exiting ? self.exit_code : 1);
}
