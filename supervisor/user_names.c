/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See user_names.h. Only the local file: directory services would need sockets, which the supervisor does not
 * open.
 */
#include "supervisor/user_names.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/utf8.h"

#define USERS_MAX 4096u

struct user_name {
    uid_t uid;
    char name[33];
};

static int by_uid(const void *a, const void *b)
{
    const struct user_name *x = a;
    const struct user_name *y = b;
    return (x->uid > y->uid) - (x->uid < y->uid);
}

void user_names_load(struct user_names *names, const char *path)
{
    names->entries = calloc(USERS_MAX, sizeof *names->entries);
    names->n = 0;
    FILE *file = names->entries == NULL ? NULL : fopen(path, "re");
    const struct passwd *line = NULL;
    while (file != NULL && names->n < USERS_MAX && (line = fgetpwent(file)) != NULL) {
        struct user_name *entry = &names->entries[names->n++];
        entry->uid = line->pw_uid;
        utf8_clean(entry->name, sizeof entry->name, line->pw_name);
    }
    if (file != NULL)
        (void)fclose(file);
    if (names->n == 0) {
        user_names_clear(names);
        return;
    }
    qsort(names->entries, names->n, sizeof *names->entries, by_uid);
    struct user_name *less = reallocarray(names->entries, names->n, sizeof *names->entries);
    if (less != NULL)
        names->entries = less;
}

void user_names_clear(struct user_names *names)
{
    free(names->entries);
    names->entries = NULL;
    names->n = 0;
}

const char *user_names_find(const struct user_names *names, uid_t uid)
{
    const struct user_name key = {.uid = uid};
    const struct user_name *found =
        names->n == 0 ? NULL : bsearch(&key, names->entries, names->n, sizeof *names->entries, by_uid);
    return found == NULL ? NULL : found->name;
}
