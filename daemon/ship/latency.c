// SPDX-License-Identifier: GPL-2.0
#include "daemon/ship/latency.h"

#define NS_PER_US	1000

static unsigned bucket_of(uint64_t ns)
{
	uint64_t us = ns / NS_PER_US;
	unsigned b = us ? 64 - __builtin_clzll(us) : 0;

	return b < LATENCY_BUCKETS ? b : LATENCY_BUCKETS - 1;
}

/* One writer: no read-modify-write that other processors would have to wait for. */
static void grow(uint64_t *to, uint64_t by)
{
	__atomic_store_n(to, __atomic_load_n(to, __ATOMIC_RELAXED) + by, __ATOMIC_RELAXED);
}

void latency_add(struct latency_hist *h, uint64_t ns)
{
	grow(&h->bucket[bucket_of(ns)], 1);
	grow(&h->sum_ns, ns);
}

void latency_begin(struct latency *l, uint64_t lsn, uint64_t at_ns, unsigned stages)
{
	if (l->waits || !at_ns || lsn <= l->lsn)
		return;
	l->lsn = lsn;
	l->at_ns = at_ns;
	l->waits = stages;
}

bool latency_due(const struct latency *l, enum latency_stage stage, uint64_t lsn)
{
	return l->waits & 1u << stage && lsn >= l->lsn;
}

void latency_pass(struct latency *l, enum latency_stage stage, uint64_t lsn, uint64_t now_ns)
{
	if (!latency_due(l, stage, lsn))
		return;
	l->waits &= ~(1u << stage);
	latency_add(&l->hist[stage], now_ns > l->at_ns ? now_ns - l->at_ns : 0);
}

void latency_forget(struct latency *l)
{
	l->waits = 0;
	l->lsn = 0;
}

void latency_read(const struct latency *l, struct latency_hist ret[LATENCY_STAGES])
{
	for (int s = 0; s < LATENCY_STAGES; s++) {
		for (int i = 0; i < LATENCY_BUCKETS; i++)
			ret[s].bucket[i] = __atomic_load_n(&l->hist[s].bucket[i], __ATOMIC_RELAXED);
		ret[s].sum_ns = __atomic_load_n(&l->hist[s].sum_ns, __ATOMIC_RELAXED);
	}
}
