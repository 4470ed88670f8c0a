/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of queries share: the page under way. Rows have a key that rises and is never reused; a page
 * takes those above the asker's cursor until it is full. Private to queries*.c and metrics.c.
 */
#ifndef WORMHOLE_SUPERVISOR_QUERIES_PAGE_H
#define WORMHOLE_SUPERVISOR_QUERIES_PAGE_H

#include <stdio.h>

#include "supervisor/queries.h"

struct app;

/* Workers of which a supervisor has one each: crypto, dialer, admin, k8s. */
#define SLOTS 4

/* Text into a row's field; what is too long (it never should be) is cut. */
#define ROW_COPY(to, from) (void)snprintf((to), sizeof(to), "%.*s", (int)sizeof(to) - 1, (from))

struct page {
    struct supervisor *supervisor;
    const struct msg_query *query;
    const struct query_sink *sink;
    unsigned room;    /* rows that may still follow */
    uint64_t cursor;  /* key of the last row that was sent or skipped */
    bool more;        /* a row did not fit any more */
    enum status sent; /* what the sink gave; not OK: stop */
    enum outcome outcome;
    char text[512]; /* for the asker when outcome is not DONE */
};

/* Is this row after the cursor and is there room? False also marks the page as full, so that callers may
 * stop. */
bool page_wants(struct page *page, uint64_t key);
/* Sends a row that page_wants() wanted. */
void page_row(struct page *page, uint64_t key, enum message_type type, const void *row);
/* No row can follow any more. */
bool page_over(const struct page *page);
void page_fail(struct page *page, enum outcome outcome, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The apps of all peers by number (server). *list is the caller's to free; NULL when there are none. */
enum status query_apps_sorted(const struct supervisor *s, struct app ***list, size_t *n);

void query_apps(struct page *page);    /* queries_live.c */
void query_status(struct page *page);  /* queries_status.c */
void query_metrics(struct page *page); /* metrics.c */

#endif
