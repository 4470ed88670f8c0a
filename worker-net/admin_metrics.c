/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows as Prometheus text (exposition format 0.0.4). The supervisor sends values in the order of
 * common/metrics.def; names, types and help are put in here, once per family.
 */
#include <stdio.h>
#include <string.h>

#include "common/metrics.h"
#include "worker-net/admin.h"

static const struct {
    const char *name, *suffix;
    enum metric_type type;
    const char *help;
} families[METRIC_FAMILY_COUNT] = {
#define METRIC(ID, name, suffix, TYPE, help) {name, suffix, METRIC_##TYPE, help},
#include "common/metrics.def"
#undef METRIC
};

static void metrics_begin(struct admin_job *job)
{
    job->family = METRIC_FAMILY_COUNT;
}

static void metrics_row(struct admin_job *job, enum message_type type, const union message *row)
{
    static const char *const types[] = {
        [METRIC_GAUGE] = "gauge", [METRIC_COUNTER] = "counter", [METRIC_HISTOGRAM] = "histogram"};
    const struct msg_row_metric *metric = &row->row_metric;
    char text[1024];
    int n = 0;
    if (type != MSG_ROW_METRIC || metric->family >= METRIC_FAMILY_COUNT)
        return;
    unsigned family = metric->family;
    /* The parts of a histogram share one HELP and TYPE. */
    if (job->family == METRIC_FAMILY_COUNT ||
        strcmp(families[job->family].name, families[family].name) != 0) {
        n = snprintf(text, sizeof text, "# HELP %s %s\n# TYPE %s %s\n", families[family].name,
                     families[family].help, families[family].name, types[families[family].type]);
        http_reply_data(job->exchange, text, (size_t)n);
    }
    job->family = (uint16_t)family;
    bool labels = metric->labels[0] != '\0';
    n = snprintf(text, sizeof text, "%s%s%s%s%s %s\n", families[family].name, families[family].suffix,
                 labels ? "{" : "", metric->labels, labels ? "}" : "", metric->value);
    http_reply_data(job->exchange, text, (size_t)n);
}

const struct admin_view admin_view_metrics = {"text/plain; version=0.0.4; charset=utf-8", false,
                                              metrics_begin, metrics_row, NULL};
