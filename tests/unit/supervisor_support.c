/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See supervisor_support.h.
 */
#include "supervisor_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "supervisor/config/config_loader.h"
#include "supervisor/connections.h"

static struct config *config_make(enum side side, const char *yaml)
{
    struct config_error error = {.text = ""};
    struct config *config = NULL;
    int exit_code;

    if (config_load_text(side, "test.yaml", (const unsigned char *)yaml, strlen(yaml), &config, &error,
                         &exit_code) != OK)
        fail_msg("%s", error.text);
    return config;
}

struct supervisor *supervisor_make(enum side side, const char *yaml)
{
    struct supervisor *s = calloc(1, sizeof *s);
    char path[300];

    assert_non_null(s);
    s->side = side;
    s->config = config_make(side, yaml);
    s->tunnel_fd = s->admin_fd = s->metrics_fd = s->lock_fd = -1;
    TAILQ_INIT(&s->workers);
    TAILQ_INIT(&s->connections);
    TAILQ_INIT(&s->peers);
    s->base = event_base_new();
    assert_non_null(s->base);
    (void)snprintf(s->state_dir, sizeof s->state_dir, "/tmp/wormhole-unit-XXXXXX");
    assert_non_null(mkdtemp(s->state_dir));
    if (side == SIDE_SERVER) {
        struct store_error error;
        (void)snprintf(path, sizeof path, "%s/wormhole.db", s->state_dir);
        assert_int_equal(store_open(path, false, &s->store, &error), OK);
    }
    return s;
}

void supervisor_configure(struct supervisor *s, const char *yaml)
{
    struct config *old = s->config;

    s->config = config_make(s->side, yaml);
    config_free(old);
}

void supervisor_unmake(struct supervisor *s)
{
    static const char *const files[] = {"wormhole.db", "wormhole.db-wal", "wormhole.db-shm"};
    struct connection *c;
    char path[300];

    while ((c = TAILQ_FIRST(&s->connections)) != NULL)
        connection_free(c);
    store_close(s->store);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", s->state_dir, files[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(s->state_dir), 0);
    event_base_free(s->base);
    config_free(s->config);
    free(s);
}
