// SPDX-License-Identifier: GPL-2.0
/*
 * The module's part of a store and an application on it: writes that complete by
 * themselves, flushes that wait for acks. The gate is looked at when something is
 * submitted and again before it completes.
 */
#include <string.h>

#include "tests/sim/sim.h"

#define LSN_STEP	(1u << 20)	/* of the upper bound, after a crash */

static uint32_t mode_of(int store)
{
	return engine_truth(0)->stores[store].mode;
}

bool tap_gate(const struct host *h, int store)
{
	const struct tap *t = &h->copy[store].tap;

	return h->up && t->active && !t->shut && host_leased(h);
}

/* A flush is done when all before it is on the local disk and acknowledged. */
static void complete_flushes(struct host *h, int store)
{
	struct tap *t = &h->copy[store].tap;
	unsigned kept = 0;

	if (!tap_gate(h, store))
		return;
	for (unsigned i = 0; i < t->nr_flush; i++) {
		int node = t->flush[i];
		bool there = chain_has(store, t->settled, node);

		if (mode_of(store) != DAGTAP_MODE_ASYNC)
			there = there && t->acked >= chain_end(store, node);
		if (there)
			check_complete(h->id, store, t->epoch, node, mode_of(store) != DAGTAP_MODE_ASYNC);
		else
			t->flush[kept++] = node;
	}
	t->nr_flush = kept;
}

static void settled(int id, void *arg, uint64_t node, uint64_t b)
{
	struct host *h = &hosts[id];
	int store = b >> 48;
	struct tap *t = &h->copy[store].tap;

	if (!t->active || t->life != (b & 0xffffffffffff))
		return;
	t->settled = chain_has(store, node, t->settled) ? (int)node : t->settled;
	complete_flushes(h, store);
}

static void write_done(int id, void *arg, uint64_t node, uint64_t b)
{
	struct host *h = &hosts[id];
	int store = b >> 48;
	struct tap *t = &h->copy[store].tap;

	if (!t->active || t->life != (b & 0xffffffffffff))
		return;
	if (!tap_gate(h, store)) {	/* parked */
		at(now + 100 * MS, SCOPE_MODULE, id, write_done, NULL, node, b);
		return;
	}
	check_complete(id, store, t->epoch, node, false);
}

static int submit(struct host *h, int store, uint64_t bytes)
{
	struct tap *t = &h->copy[store].tap;

	t->tip = chain_append(store, t->tip, t->epoch, chain_end(store, t->tip), bytes);
	check_append(h->id, store, t->epoch);
	return t->tip;
}

static void app(int id, void *arg, uint64_t a, uint64_t b)
{
	struct host *h = &hosts[id];
	int store = b >> 48;
	struct tap *t = &h->copy[store].tap;
	bool flush = percent(35), sync = mode_of(store) == DAGTAP_MODE_SYNC;
	int node;

	if (!t->active || t->life != (b & 0xffffffffffff))
		return;
	at(now + between(5 * MS, 90 * MS), SCOPE_MODULE, id, app, NULL, 0, b);
	complete_flushes(h, store);
	if (!tap_gate(h, store) || ((flush || sync) && t->nr_flush == 4))
		return;
	node = submit(h, store, 64 * between(1, 64));
	if (flush || sync) {
		t->flush[t->nr_flush++] = node;
		at(now + disk_ns(id), SCOPE_MODULE, id, settled, NULL, node, b);
	} else {
		at(now + disk_ns(id), SCOPE_MODULE, id, write_done, NULL, node, b);
	}
}

void tap_open(struct host *h, int store, uint32_t epoch, int log, uint64_t start)
{
	struct copy *c = &h->copy[store];
	uint64_t life = c->tap.life + 1;

	c->tap = (struct tap){ .active = true, .epoch = epoch, .life = life, .acked = start };
	/* The record that begins an epoch; what was there before is on the disk. */
	c->tap.tip = chain_append(store, log, epoch, start, 64);
	c->tap.settled = log;
	check_append(h->id, store, epoch);
	trace("%s opens store %d epoch %u at lsn %llu", host_name(h->id), store, epoch,
	      (unsigned long long)start);
	check_open(h->id, store);
	at(now + chance(20 * MS), SCOPE_MODULE, h->id, app, NULL, 0, life | (uint64_t)store << 48);
}

void tap_close(struct host *h, int store)
{
	struct copy *c = &h->copy[store];

	if (!c->tap.active)
		return;
	trace("%s closes store %d epoch %u at lsn %llu", host_name(h->id), store, c->tap.epoch,
	      (unsigned long long)chain_end(store, c->tap.tip));
	c->tap.active = false;
	c->tap.life++;
	active_stop(c);
	passive_demoted(h, store);
}

void tap_ack(struct host *h, int store, uint64_t lsn)
{
	struct tap *t = &h->copy[store].tap;

	if (lsn > t->acked)
		t->acked = lsn;
	complete_flushes(h, store);
}
