// SPDX-License-Identifier: GPL-2.0
/*
 * In some groups a majority loses power and is cut off, and a person restores the
 * group on the rest: a new generation with an engine of its own, and the copies that
 * are left, whatever that loses. The lost side starts again while it is still cut
 * off, with the majority of the old engine. Only the datacenter activation mode keeps
 * it from serving. When it is in reach again it waits to be told to rejoin.
 */
#include <string.h>

#include "tests/sim/sim.h"

#define EPOCHS	1000		/* ahead of what the lost side may have agreed on */

int newest_engine;
static bool lost[HOSTS_MAX], isolated, over;
static struct group_state gs;
static struct group_store stores[STORES_MAX];

void restore_cut(void)
{
	for (int a = 0; isolated && a < nr_hosts; a++)
		for (int b = 0; b < nr_hosts; b++)
			if (lost[a] != lost[b])
				net_cut(a, b, true);
}

/* The copy that ends last among those that are left; -1: none is whole. */
static int best_copy(const struct group_store *st)
{
	int best = -1, store = st->uuid[0] - 1;

	for (uint32_t i = 0; i < st->nr_copies; i++) {
		int p = host_id(st->copies[i].member);
		const struct copy *c = &hosts[p].copy[store];

		if (lost[p] || check_content(c) < 0 || c->was_active || c->tap.active)
			continue;
		if (best < 0 || chain_end(store, check_content(c)) >
				chain_end(store, check_content(&hosts[best].copy[store])))
			best = p;
	}
	return best;
}

static void restore_store(int store)
{
	struct group_store *st = &stores[store];
	int p = best_copy(st), active = host_id(st->active);

	st->epoch += EPOCHS;
	/* Who was active and is left has everything. */
	if (!lost[active])
		p = active;
	if (p < 0) {
		check_restored(store, st, 0);
		return;
	}
	strcpy(st->active, host_name(p));
	st->start_lsn = p == active ? 0 : chain_end(store, check_content(&hosts[p].copy[store]));
	for (uint32_t i = 0; i < st->nr_copies; i++)
		st->copies[i].in_sync = false;
	check_restored(store, st, p == active ? 0 : check_content(&hosts[p].copy[store]));
}

static void take_over(int h)
{
	host_kill_daemon(&hosts[h]);
	hosts[h].engine = 1;
	snap_put(hosts[h].snap);
	hosts[h].snap = snap_get((struct snap *)engine_truth(1));
	for (int i = 0; i < nr_stores; i++)
		tap_close(&hosts[h], i);
	hosts[h].deadline = 0;
	if (!hosts[h].up)
		return;
	host_start_daemon(&hosts[h]);
}

static void restore(void)
{
	const struct snap *s = engine_truth(0);

	trace("a person restores the group as generation 2");
	gs = s->gs;
	memcpy(stores, s->stores, sizeof(stores));
	gs.generation = 2;
	gs.version++;
	for (int i = 0; i < nr_members; i++)
		gs.members[i].stopped = lost[i];
	if (nr_hosts > nr_members && lost[nr_members])
		gs.witness.name[0] = 0;
	for (int i = 0; i < nr_stores; i++)
		restore_store(i);
	newest_engine = 1;
	engine_init(1, &gs, stores);
	for (int i = 0; i < nr_members; i++) {
		if (lost[i])
			continue;
		take_over(i);
		dac_confirm(&hosts[i].dac);
	}
	if (nr_hosts > nr_members && !lost[nr_members])
		take_over(nr_members);
}

/* The person waits until nothing serves any more. */
static void try_restore(int x, void *arg, uint64_t a, uint64_t b)
{
	if (!isolated)		/* they are back: there is nothing to restore */
		return;
	for (int h = 0; h < nr_hosts; h++)
		for (int i = 0; i < nr_stores; i++)
			if (!lost[h] && hosts[h].copy[i].tap.active && host_leased(&hosts[h])) {
				at(now + 100 * MS, SCOPE_WORLD, 0, try_restore, NULL, 0, 0);
				return;
			}
	restore();
}

static void boot_again(int h, void *arg, uint64_t a, uint64_t b)
{
	if (!hosts[h].up)
		host_boot(&hosts[h]);
}

static bool pick_lost(void)
{
	unsigned voters = 0, left = 0, members = 0;
	struct quorum_plan plan;

	quorum_plan(&engine_truth(0)->gs, &plan);
	for (int i = 0; i < nr_hosts; i++)
		lost[i] = percent(60);
	for (int i = 0; i < nr_members; i++)
		members += !lost[i];
	for (unsigned i = 0; i < plan.nr; i++) {
		voters++;
		left += !lost[host_id(plan.voter[i])];
	}
	return members && 2 * left < voters;
}

static void begin(int x, void *arg, uint64_t a, uint64_t b)
{
	if (over || !pick_lost())
		return;
	trace("the majority is lost");
	isolated = true;
	for (int h = 0; h < nr_hosts; h++)
		if (lost[h])
			host_crash(&hosts[h]);
	restore_cut();
	at(now + between(100 * MS, 2 * SEC), SCOPE_WORLD, 0, try_restore, NULL, 0, 0);
	for (int h = 0; h < nr_hosts; h++)
		if (lost[h])
			at(now + between(1 * SEC, 3 * SEC), SCOPE_WORLD, h, boot_again, NULL, 0, 0);
}

static void rejoin(int h, void *arg, uint64_t a, uint64_t b)
{
	trace("%s rejoins", host_name(h));
	engine_start_member(1, h);
	lost[h] = false;
	take_over(h);
}

void restore_init(void)
{
	newest_engine = 0;
	over = isolated = false;
	memset(lost, 0, sizeof(lost));
	if (percent(15))
		at(now + between(3 * SEC, 15 * SEC), SCOPE_WORLD, 0, begin, NULL, 0, 0);
}

void restore_end(void)
{
	over = true;
	isolated = false;
	for (int h = 0; newest_engine && h < nr_members; h++)
		if (lost[h])
			at(now + between(1 * SEC, 5 * SEC), SCOPE_WORLD, h, rejoin, NULL, 0, 0);
}
