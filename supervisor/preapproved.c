/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `preapproved` of the configuration: keys that need no operator. What an operator decided about a key before
 * weighs more than a list that was written earlier.
 */
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "supervisor/approvals.h"
#include "supervisor/judge.h"
#include "supervisor/requests.h"

bool preapproved_has(const struct supervisor *s, const char *fingerprint)
{
    const struct config_list *list = &s->config->preapproved;

    for (size_t i = 0; i < list->n_items; i++) {
        if (strncmp(list->items[i], fingerprint, FINGERPRINT_TEXT) == 0)
            return true;
    }
    return false;
}

static void preapprove_one(struct supervisor *s, const char *item)
{
    static const struct store_actor actor = {.kind = "config", .id = "preapproved"};
    char fingerprint[FINGERPRINT_TEXT + 1];
    struct store_peer row;
    const char *name = strchr(item, '=');

    if (name == NULL)
        return; /* without a name it is approved when it shows up */
    (void)snprintf(fingerprint, sizeof fingerprint, "%s", item);
    if (store_peer_by_fingerprint(s->store, fingerprint, &row) == OK) {
        if (row.status == PEER_REVOKED || row.status == PEER_DECLINED || row.status == PEER_SUPERSEDED)
            sup_warn(
                "%s is in preapproved, but was %s by %s: it stays so; `wormhole peers preapprove` changes it",
                fingerprint, peer_status_text(row.status), row.decided_by);
        if (row.status != PEER_PENDING)
            return;
    }
    enum status result = store_preapprove(s->store, fingerprint, name + 1, &actor);
    if (result == OK) {
        s->counters.approvals_auto++;
        sup_info("%s is preapproved as \"%s\"", fingerprint, name + 1);
        approval_forget(s, fingerprint);
        approval_reconsider(s, fingerprint);
    } else if (result != ERR_EXISTS) {
        sup_error("%s cannot be preapproved as \"%s\": %s", fingerprint, name + 1,
                  store_last_error(s->store));
    }
}

void approvals_preapprove(struct supervisor *s)
{
    for (size_t i = 0; i < s->config->preapproved.n_items; i++)
        preapprove_one(s, s->config->preapproved.items[i]);
}
