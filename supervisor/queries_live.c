/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of apps: on a server where each listens and what flows, on a client what it offers and what the server
 * said.
 */
#include "supervisor/queries_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/names.h"
#include "supervisor/apps.h"
#include "supervisor/client.h"

static int by_number(const void *a, const void *b)
{
    const struct app *x = *(struct app *const *)a;
    const struct app *y = *(struct app *const *)b;
    return (x->number > y->number) - (x->number < y->number);
}

enum status query_apps_sorted(const struct supervisor *s, struct app ***list, size_t *n)
{
    const struct peer *peer;
    struct app *app;
    size_t count = 0;
    TAILQ_FOREACH(peer, &s->peers, link)
    count += peer->n_apps;
    *list = NULL;
    *n = 0;
    if (count == 0)
        return OK;
    struct app **apps = calloc(count, sizeof(struct app *));
    if (apps == NULL)
        return ERR_NOMEM;
    TAILQ_FOREACH(peer, &s->peers, link)
    {
        TAILQ_FOREACH(app, &peer->apps, link)
        {
            if (*n < count)
                apps[(*n)++] = app;
        }
    }
    qsort(apps, *n, sizeof(struct app *), by_number);
    *list = apps;
    return OK;
}

static void fill_totals(struct msg_row_app *row, const struct app_totals *totals)
{
    row->streams = totals->streams;
    row->streams_total = totals->streams_total;
    row->refused = totals->refused;
    row->bytes_in = totals->bytes_in;
    row->bytes_out = totals->bytes_out;
}

static void server_apps(struct page *page)
{
    struct app **apps = NULL;
    size_t n = 0;
    if (query_apps_sorted(page->supervisor, &apps, &n) != OK)
        page_fail(page, OUTCOME_FAILED, "out of memory");
    for (size_t i = 0; i < n && !page_over(page); i++) {
        const struct app *app = apps[i];
        const char *filter = page->query->filter;
        if ((filter[0] != '\0' && strcmp(filter, app->peer->name) != 0) || !page_wants(page, app->number))
            continue;
        struct msg_row_app row = {.request = page->query->request, .port = app->port};
        struct app_totals totals;
        app_totals(app, &totals);
        fill_totals(&row, &totals);
        row.connected = !TAILQ_EMPTY(&app->offers);
        ROW_COPY(row.peer, app->peer->name);
        ROW_COPY(row.app, app->name);
        ROW_COPY(row.endpoint, app->endpoint);
        address_join(row.address, sizeof row.address, page->supervisor->config->app_host, app->port);
        app_state_text(app, row.state, sizeof row.state);
        page_row(page, app->number, MSG_ROW_APP, &row);
    }
    free(apps);
}

static void client_state(const struct client_app *app, bool connected, char *out, size_t cap)
{
    if (app->answered && app->code != REFUSAL_NONE)
        (void)snprintf(out, cap, "refused: %.110s", app->text[0] == '\0' ? "no reason given" : app->text);
    else if (!connected)
        (void)snprintf(out, cap, "not connected");
    else
        (void)snprintf(out, cap, "%s", app->answered ? "exposed" : "offered");
}

static void client_apps(struct page *page)
{
    const struct supervisor *s = page->supervisor;
    const struct client_app *app;
    bool connected = s->client != NULL && client_phase(s) == CLIENT_OPEN;
    if (s->client == NULL)
        return;
    TAILQ_FOREACH(app, &s->client->apps, link)
    {
        if (!page_wants(page, app->id))
            continue;
        struct msg_row_app row = {.request = page->query->request, .port = app->port};
        struct app_totals totals;
        client_app_totals(s, app, &totals);
        fill_totals(&row, &totals);
        row.connected = connected && app->answered && app->code == REFUSAL_NONE;
        ROW_COPY(row.peer, s->config->name == NULL ? "" : s->config->name);
        ROW_COPY(row.app, app->name);
        ROW_COPY(row.endpoint, app->endpoint);
        address_join(row.address, sizeof row.address, app->host, app->port);
        client_state(app, connected, row.state, sizeof row.state);
        page_row(page, app->id, MSG_ROW_APP, &row);
    }
}

void query_apps(struct page *page)
{
    if (page->supervisor->side == SIDE_SERVER)
        server_apps(page);
    else
        client_apps(page);
}
