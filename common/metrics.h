/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers of the metric families in common/metrics.def. No values and no text format here.
 */
#ifndef WORMHOLE_COMMON_METRICS_H
#define WORMHOLE_COMMON_METRICS_H

enum metric_type { METRIC_GAUGE, METRIC_COUNTER, METRIC_HISTOGRAM };

enum metric_family {
#define METRIC(ID, name, suffix, TYPE, help) METRIC_FAMILY_##ID,
#include "common/metrics.def"
#undef METRIC
    METRIC_FAMILY_COUNT
};

#endif
