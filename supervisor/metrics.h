/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of the metric families in common/metrics.def, collected from the supervisor's state. Their text form
 * is the admin worker's. Nothing is counted here but what no other module counts.
 */
#ifndef WORMHOLE_SUPERVISOR_METRICS_H
#define WORMHOLE_SUPERVISOR_METRICS_H

#include <stddef.h>

/*
 * One label of a Prometheus series, escaped: name="value", with a comma before it when out already holds one.
 * What does not fit is left out whole.
 */
void metrics_label(char *out, size_t cap, const char *name, const char *value);

#endif
