/* SPDX-License-Identifier: GPL-2.0 */
/* stores_metrics - figures of the stores of this member, beside stores_status(). */
#ifndef DAG_STORES_METRICS_H
#define DAG_STORES_METRICS_H

#include "daemon/health/metrics.h"
#include "daemon/store/active.h"
#include "daemon/store/stores.h"

struct stores_metric {
	struct metrics_store st;
	struct active_latency latency;	/* of its copies, where it is active here */
};

/* How many, at most max. A call into the module per active store; no data waits for it. */
unsigned stores_metrics(struct stores *ss, struct stores_metric *ret, unsigned max);

#endif
