/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What options must be to each other. Runs after everything was read; points at the value that a person set.
 * Single values were judged when they were read (options_check.c).
 */
#include <inttypes.h>
#include <string.h>

#include "supervisor/config/config_loader.h"
#include "supervisor/config/netmask.h"

static const struct option *named(const char *flag)
{
    return option_find(flag, strlen(flag), WHERE_ANY);
}

/* Both exist on this side, and the first must not be above the second (or must be below it). */
struct ordered {
    const char *low, *high;
    size_t low_offset, high_offset; /* of 64-bit fields */
    bool equal_is_fine;
    unsigned where;
};

#define ORDERED(low_flag, low_field, high_flag, high_field, equal, place)                                    \
    {                                                                                                        \
        low_flag, high_flag, offsetof(struct config, low_field), offsetof(struct config, high_field), equal, \
            place                                                                                            \
    }

static const struct ordered ordered[] = {
    ORDERED("port-range-min", port_range_min, "port-range-max", port_range_max, true, WHERE_SERVER),
    ORDERED("max-pending-per-source", max_pending_per_source, "max-pending", max_pending, true, WHERE_SERVER),
    ORDERED("reconnect-min", reconnect_min_ms, "reconnect-max", reconnect_max_ms, true, WHERE_CLIENT),
    ORDERED("ping-interval", ping_ms, "dead-after", dead_ms, false, WHERE_BOTH),
    ORDERED("stream-window", stream_window, "stream-window-max", stream_window_max, true, WHERE_BOTH),
    ORDERED("connection-window", connection_window, "connection-window-max", connection_window_max, true,
            WHERE_BOTH),
};

static enum status check_order(struct config_loader *loader, const struct ordered *pair)
{
    const char *base = (const char *)loader->config;
    int64_t low = 0, high = 0;
    memcpy(&low, base + pair->low_offset, sizeof low);
    memcpy(&high, base + pair->high_offset, sizeof high);
    if (low < high || (low == high && pair->equal_is_fine))
        return OK;
    const struct option *a = named(pair->low), *b = named(pair->high);
    const struct origin *a_from = &loader->origins[option_index(a)],
                        *b_from = &loader->origins[option_index(b)];
    char a_text[32], b_text[32];
    option_format(a, loader->config, a_text, sizeof a_text);
    option_format(b, loader->config, b_text, sizeof b_text);
    if (a_from->kind != ORIGIN_DEFAULT)
        return loader_fail(loader, a_from, a, "%s is %s %s, which is %s", a_text,
                           pair->equal_is_fine ? "above" : "not below", b->flag, b_text);
    return loader_fail(loader, b_from, b, "%s is %s %s, which is %s", b_text,
                       pair->equal_is_fine ? "below" : "not above", a->flag, a_text);
}

static bool is_loopback(const char *address)
{
    struct netmask v4, v6;
    return (netmask_parse("127.0.0.0/8", &v4) == OK && netmask_has_text(&v4, address)) ||
           (netmask_parse("::1", &v6) == OK && netmask_has_text(&v6, address));
}

static enum status check_admin(struct config_loader *loader)
{
    struct config *config = loader->config;
    const struct option *option = named("admin-host");
    if (is_loopback(config->admin_host) || config->admin_token_file != NULL)
        return OK;
    return loader_fail(
        loader, &loader->origins[option_index(option)], option,
        "%s is not loopback, and there is no token: set admin-token-file to a file with a long random "
        "text, or keep the admin API on 127.0.0.1",
        config->admin_host);
}

enum status config_check(struct config_loader *loader)
{
    unsigned side = loader->config->side == SIDE_SERVER ? WHERE_SERVER : WHERE_CLIENT;
    for (size_t i = 0; i < sizeof ordered / sizeof ordered[0]; i++)
        if ((ordered[i].where & side) != 0 && check_order(loader, &ordered[i]) != OK)
            return ERR_CONFIG;
    return side == WHERE_SERVER ? check_admin(loader) : OK;
}
