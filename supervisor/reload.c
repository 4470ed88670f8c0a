/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See reload.h.
 */
#include "supervisor/reload.h"

#include "common/log.h"
#include "supervisor/approvals.h"
#include "supervisor/client_events.h"
#include "supervisor/limits.h"
#include "supervisor/notify.h"
#include "supervisor/worker_process.h"

static enum status config_read(struct supervisor *s, struct config **fresh, struct config_error *error)
{
    int exit_code;
    enum status result =
        config_load(s->side, s->config->config_file, s->argc, s->argv, fresh, error, &exit_code);

    if (result != OK)
        return result;
    result = config_check_reload(s->config, *fresh, error);
    if (result == OK && s->side == SIDE_SERVER)
        result = admin_token_load(&s->admin_token, (*fresh)->admin_token_file, error);
    if (result != OK) {
        config_free(*fresh);
        *fresh = NULL;
    }
    return result;
}

static void take_effect(struct supervisor *s)
{
    enum log_level level;

    if (log_level_parse(s->config->log_level, &level) && level != log_get_level()) {
        log_set_level(level);
        workers_log_level(s, level);
    }
    if (s->side == SIDE_SERVER) {
        limits_configure(s);
        approvals_preapprove(s);
    } else {
        client_apps_reload(s);
    }
}

void supervisor_reload(struct supervisor *s)
{
    struct config_error error = {.text = ""};
    struct config *fresh = NULL;

    if (s->draining || s->exiting)
        return;
    notify_reloading(s->notify);
    if (config_read(s, &fresh, &error) != OK) {
        s->counters.reloads_failed++;
        sup_error("the configuration stays as it was: %s", error.text);
    } else {
        struct config *old = s->config;
        s->config = fresh;
        config_free(old);
        s->counters.reloads++;
        take_effect(s);
        sup_info("the configuration was read again");
    }
    notify_ready(s->notify);
}
