/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsing of `--expose` and of the entries of the YAML list `expose`. It must not resolve names: the dialer
 * does, each time that it connects.
 */
#include "supervisor/config/expose.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/names.h"

static enum status wrong(char *why, size_t cap, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static enum status wrong(char *why, size_t cap, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, cap, format, args);
    va_end(args);
    return ERR_CONFIG;
}

bool label_from_text(const char *text, char label[64])
{
    size_t used = 0;
    for (; *text != '\0' && used < NAME_MAX_BYTES; text++) {
        char c = *text;
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!fine && (used == 0 || label[used - 1] == '-'))
            continue;
        label[used++] = fine ? c : '-';
    }
    while (used > 0 && label[used - 1] == '-')
        used--;
    label[used] = '\0';
    return used > 0;
}

enum status expose_make(const char *name, const char *address, struct config_app *out, char *why,
                        size_t why_cap)
{
    struct config_app app = {.port = 0};
    if (address_split(address, 0, app.host, sizeof app.host, &app.port) != OK || app.port == 0)
        return wrong(why, why_cap, "the address must be host:port or [IPv6]:port, not \"%.100s\"", address);
    for (const char *p = app.host; *p != '\0'; p++)
        if ((unsigned char)*p <= 0x20 || *p == 0x7f || strchr("/\\\"'@,=", *p) != NULL)
            return wrong(why, why_cap, "\"%.100s\" is not a host name or address", app.host);
    if (name == NULL) {
        if (!label_from_text(address, app.name))
            return wrong(why, why_cap, "no name can be made of \"%.100s\"; write name=NAME,address=%.60s",
                         address, address);
    } else if (!name_is_valid(name)) {
        return wrong(why, why_cap,
                     "the name must be 1 to 63 lower-case letters, digits and inner dashes, not \"%.80s\"",
                     name);
    } else {
        (void)snprintf(app.name, sizeof app.name, "%s", name);
    }
    *out = app;
    return OK;
}

/* Takes the value of "key=value" up to the next comma; false when it does not fit. */
static bool part_copy(const char *from, size_t len, char *out, size_t cap)
{
    if (len >= cap)
        return false;
    memcpy(out, from, len);
    out[len] = '\0';
    return true;
}

enum status expose_parse(const char *text, struct config_app *out, char *why, size_t why_cap)
{
    char name[128] = "", address[300] = "";
    if (strchr(text, '=') == NULL)
        return expose_make(NULL, text, out, why, why_cap);
    for (const char *p = text; *p != '\0';) {
        size_t len = strcspn(p, ",");
        const char *equals = memchr(p, '=', len);
        size_t key_len = equals != NULL ? (size_t)(equals - p) : len;
        char *into = NULL;
        size_t cap = 0;
        if (key_len == 4 && memcmp(p, "name", 4) == 0) {
            into = name;
            cap = sizeof name;
        } else if (key_len == 7 && memcmp(p, "address", 7) == 0) {
            into = address;
            cap = sizeof address;
        }
        if (into == NULL || equals == NULL)
            return wrong(why, why_cap, "expected name=NAME or address=HOST:PORT, not \"%.*s\"",
                         (int)(len > 80 ? 80 : len), p);
        if (into[0] != '\0')
            return wrong(why, why_cap, "%.*s is given twice in \"%.80s\"", (int)key_len, p, text);
        if (len == key_len + 1)
            return wrong(why, why_cap, "the %.*s is empty", (int)key_len, p);
        if (!part_copy(equals + 1, len - key_len - 1, into, cap))
            return wrong(why, why_cap, "the %.*s is too long", (int)key_len, p);
        p += len;
        p += *p == ',' ? 1 : 0;
    }
    if (address[0] == '\0')
        return wrong(why, why_cap, "has no address; write name=NAME,address=HOST:PORT");
    return expose_make(name[0] != '\0' ? name : NULL, address, out, why, why_cap);
}

enum status expose_append(struct config_apps *apps, const struct config_app *app, char *why, size_t why_cap)
{
    for (size_t i = 0; i < apps->n_items; i++)
        if (strcmp(apps->items[i].name, app->name) == 0)
            return wrong(why, why_cap, "there are two apps named \"%s\"; give each its own name=", app->name);
    struct config_app *items = reallocarray(apps->items, apps->n_items + 1, sizeof *items);
    if (items == NULL)
        return wrong(why, why_cap, "out of memory");
    apps->items = items;
    items[apps->n_items++] = *app;
    return OK;
}
