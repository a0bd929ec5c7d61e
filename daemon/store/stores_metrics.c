// SPDX-License-Identifier: GPL-2.0
/* What stores_metrics() tells of the stores here; the fields stand in health/metrics.h. */
#include <stdio.h>
#include <string.h>

#include "daemon/store/stores_internal.h"
#include "daemon/store/stores_metrics.h"

static void fill(struct stores *ss, struct local *lo, struct stores_metric *m)
{
	struct tap *tap = lo->tap;

	memset(m, 0, sizeof(*m));
	snprintf(m->st.name, sizeof(m->st.name), "%s", lo->name);
	m->st.activations = lo->activations;
	if (!lo->active)
		return;
	m->st.epoch = lo->epoch;
	active_latency(lo->active, &m->latency);
	m->st.ack = m->latency.ack;
	m->st.tap = tap && !ss->conf.tap->info(tap, &m->st.info);
	for (int i = 0; i < LATENCY_BUCKETS; i++) {
		m->st.write[i] = m->st.info.write_us[i];
		m->st.hold[i] = m->st.info.hold_us[i];
	}
}

unsigned stores_metrics(struct stores *ss, struct stores_metric *ret, unsigned max)
{
	unsigned n = 0;

	pthread_rwlock_rdlock(&ss->lock);
	for (int i = 0; i < GROUP_STORES_MAX && n < max; i++)
		if (ss->local[i])
			fill(ss, ss->local[i], &ret[n++]);
	pthread_rwlock_unlock(&ss->lock);
	return n;
}
