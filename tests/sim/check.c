// SPDX-License-Identifier: GPL-2.0
/*
 * What must hold, seen from outside: with reference time and every disk in sight.
 * Names in messages: S1-S5 of the design, I1-I14 of the agreement's invariants.
 */
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

#define EPOCHS_MAX	8192

static struct store_check {
	uint8_t claimant[EPOCHS_MAX];	/* host + 1 */
	uint32_t claimed, opened;	/* highest epochs */
	int required;			/* in every later active: acknowledged or shown */
	uint64_t done;			/* last flush that completed */
} st[STORES_MAX];

void check_init(void)
{
	memset(st, 0, sizeof(st));
	for (int i = 0; i < nr_stores; i++) {
		const struct group_store *gst = &engine_truth(0)->stores[i];

		st[i].claimant[gst->epoch] = host_id(gst->active) + 1;
		st[i].claimed = gst->epoch;
	}
}

/* The image that the copy would be opened with; -1: none. */
int check_content(const struct copy *c)
{
	if (c->image >= 0)
		return c->image;
	return c->broken || c->seeding ? -1 : c->log;
}

void check_every(void)
{
	for (int i = 0; i < nr_stores; i++) {
		int open = -1;

		for (int h = 0; h < nr_members; h++) {
			if (!hosts[h].copy[i].tap.active || !tap_gate(&hosts[h], i))
				continue;
			if (open >= 0)
				violation("S1 store %d is open on %s and %s", i, host_name(open),
					  host_name(h));
			open = h;
		}
	}
}

void check_append(int host, int store, uint32_t epoch)
{
	if (st[store].claimant[epoch % EPOCHS_MAX] != host + 1)
		violation("I1 %s writes store %d in epoch %u, which is not its own",
			  host_name(host), store, epoch);
}

static bool waits(int store)
{
	return engine_truth(0)->stores[store].mode != DAGTAP_MODE_ASYNC;
}

void check_open(int host, int store)
{
	const struct tap *t = &hosts[host].copy[store].tap;

	if (t->epoch <= st[store].opened)
		violation("I3 store %d opens epoch %u after %u", store, t->epoch, st[store].opened);
	st[store].opened = t->epoch;
	if (!dac_may_activate(&hosts[host].dac))
		violation("I13 %s opens store %d and may not", host_name(host), store);
	if (waits(store) && !chain_has(store, t->tip, st[store].required))
		violation("S2 store %d epoch %u on %s lacks what was acknowledged at lsn %llu", store,
			  t->epoch, host_name(host),
			  (unsigned long long)chain_end(store, st[store].required));
}

/* W3, I8: each copy of the agreed set really has it. */
static void check_in_sync(int host, int store, uint32_t epoch, int node)
{
	const struct group_store *gst = &engine_truth(hosts[host].engine)->stores[store];

	for (uint32_t i = 0; i < gst->nr_copies && gst->epoch == epoch; i++) {
		int p = host_id(gst->copies[i].member);
		const struct copy *c = &hosts[p].copy[store];
		int has = check_content(c);

		if (p == host || !gst->copies[i].in_sync)
			continue;
		if (!gst->ack_durable && (!hosts[p].daemon || c->unconfirmed))
			continue;	/* it knows that it lost something */
		if (!gst->ack_durable && has == c->log)
			has = c->tip;
		if (has < 0 || !chain_has(store, has, node))
			violation("I8 store %d: %s acknowledges lsn %llu, in-sync %s has %llu (durable %d "
				  "broken %d seeding %d)", store, host_name(host),
				  (unsigned long long)chain_end(store, node), host_name(p),
				  (unsigned long long)chain_end(store, has < 0 ? 0 : has), gst->ack_durable,
				  c->broken, c->seeding);
	}
}

void check_complete(int host, int store, uint32_t epoch, int node, bool commit)
{
	struct store_check *s = &st[store];

	if (epoch < s->claimed)
		violation("I9 %s completes a write of store %d in epoch %u, %u is claimed",
			  host_name(host), store, epoch, s->claimed);
	if (!commit) {
		s->done = waits(store) ? s->done : now;
		return;
	}
	s->done = now;
	check_in_sync(host, store, epoch, node);
	if (chain_has(store, s->required, node))
		return;
	if (!chain_has(store, node, s->required))
		violation("S2 store %d: %s acknowledges beside what was acknowledged", store,
			  host_name(host));
	s->required = node;
}

/* I7: the promise is durable before any ack under it, and no lower epoch is taken. */
void check_ack_sent(int host, int store)
{
	const struct copy *c = &hosts[host].copy[store];

	if (c->slots.promised != c->conn_epoch)
		violation("I7 %s acks store %d in epoch %u, its durable promise is %u",
			  host_name(host), store, c->conn_epoch, c->slots.promised);
}

void check_report(int host, int store, uint32_t epoch)
{
	if (hosts[host].copy[store].slots.promised < epoch)
		violation("I7 %s said it had sealed store %d for epoch %u, durable is %u",
			  host_name(host), store, epoch, hosts[host].copy[store].slots.promised);
}

/* ---- the agreed state changes ------------------------------------------------------ */

/*
 * T2, T4: whoever is in the new set has all up to its start, and promised. But for one
 * that crashed while its move was on the way: it comes back as a former active, which is
 * no prefix of anything and no candidate before it is whole.
 */
static void check_set(int store, const struct group_store *gst, int begin, bool sealed, int gone)
{
	for (uint32_t i = 0; i < gst->nr_copies; i++) {
		int p = host_id(gst->copies[i].member);
		const struct copy *c = &hosts[p].copy[store];
		int has = c->tap.active ? c->tap.tip : check_content(c);

		if (!gst->copies[i].in_sync || p == gone)
			continue;
		if (sealed && c->slots.promised < gst->epoch)
			violation("T4 store %d epoch %u: %s is in-sync and not sealed", store, gst->epoch,
				  host_name(p));
		if (has < 0 || !chain_has(store, has, begin))
			violation("T4 store %d epoch %u: %s is in-sync and lacks its beginning", store,
				  gst->epoch, host_name(p));
	}
}

static void check_moved(int store, const struct group_store *was, const struct group_store *is,
			const struct ereq *r)
{
	bool claimed = r->kind == EREQ_CLAIM;
	int w = host_id(is->active), from = host_id(was->active);
	/* A move may land after the crash of who asked: then only the target can tell. */
	bool late = !claimed && hosts[from].copy[store].tap.life != r->tag;
	const struct copy *c = claimed || late ? &hosts[w].copy[store] : &hosts[from].copy[store];
	int has = c->tap.active ? c->tap.tip : check_content(c), begin;

	begin = has < 0 ? 0 : chain_cut(store, has, is->start_lsn);
	if (has < 0 || chain_end(store, begin) != is->start_lsn)
		violation("T2 store %d epoch %u begins at lsn %llu where %s does not end", store,
			  is->epoch, (unsigned long long)is->start_lsn, host_name(w));
	if (claimed && hosts[w].copy[store].slots.promised < is->epoch)
		violation("T2 store %d epoch %u: %s was not sealed", store, is->epoch, host_name(w));
	for (int i = 0; i < nr_members; i++)
		if (tap_gate(&hosts[i], store))
			violation("I9 store %d epoch %u is agreed while %s is open for %llu us more", store,
				  is->epoch, host_name(i),
				  (unsigned long long)(hosts[i].deadline - host_now(&hosts[i])) / 1000);
	if (!waits(store))
		return;
	if (!chain_has(store, begin, st[store].required))
		violation("S2 store %d epoch %u begins without what was acknowledged", store, is->epoch);
	check_set(store, is, begin, claimed, late ? from : -1);
	/* What the new active shows to its readers must not vanish again either. */
	st[store].required = begin;
}

/* A person took the loss: what is there now is what counts from here on. */
void check_restored(int store, const struct group_store *gst, int begin)
{
	st[store].required = begin;
	st[store].claimed = gst->epoch;
	st[store].claimant[gst->epoch % EPOCHS_MAX] = host_id(gst->active) + 1;
}

void check_committed(int engine, const struct snap *was, const struct snap *is, const struct ereq *r)
{
	bool alive = r->dinc == hosts[r->host].dinc;	/* else it was long on its way */

	if (engine != newest_engine && alive)
		violation("I13 %s changes the state of an older generation (kind %d, %s)",
			  host_name(r->host), r->kind, hosts[r->host].dac.why);
	if (engine != newest_engine)
		return;
	for (int i = 0; i < nr_stores; i++) {
		const struct group_store *a = &was->stores[i], *b = &is->stores[i];

		if (a->epoch == b->epoch) {
			if (strcmp(a->active, b->active))
				violation("I3 store %d changes hands within epoch %u", i, a->epoch);
			continue;
		}
		trace("agreed: store %d epoch %u on %s from lsn %llu", i, b->epoch, b->active,
		      (unsigned long long)b->start_lsn);
		if (b->epoch < a->epoch || st[i].claimant[b->epoch % EPOCHS_MAX])
			violation("I3 store %d: epoch %u after %u", i, b->epoch, a->epoch);
		st[i].claimant[b->epoch % EPOCHS_MAX] = host_id(b->active) + 1;
		st[i].claimed = b->epoch;
		if (strcmp(a->active, b->active))
			check_moved(i, a, b, r);
	}
	if (r->kind == EREQ_CLAIM && alive && !dac_may_activate(&hosts[r->host].dac))
		violation("I13 %s claims and may not", host_name(r->host));
}

/* ---- whole again --------------------------------------------------------------------- */

static bool store_whole(int store, char *why, unsigned len)
{
	const struct snap *s = engine_truth(newest_engine);
	const struct group_store *gst = &s->stores[store];
	int a = host_id(gst->active);
	const struct copy *c = &hosts[a].copy[store];

	if (!tap_gate(&hosts[a], store) || !c->run || now > st[store].done + 2 * SEC) {
		snprintf(why, len, "store %d epoch %u does not serve on %s (tap %d shut %d run %d "
			 "leased %d ready %d dac %d broken %d opening %d)", store, gst->epoch,
			 host_name(a), c->tap.active, c->tap.shut, c->run, host_leased(&hosts[a]),
			 hosts[a].ready, dac_may_activate(&hosts[a].dac), c->broken, c->opening);
		return false;
	}
	for (uint32_t i = 0; i < gst->nr_copies; i++) {
		int p = host_id(gst->copies[i].member);
		const struct copy *pc = &hosts[p].copy[store];

		if (p == a)
			continue;
		if (check_content(pc) < 0 || !chain_has(store, c->tap.tip, check_content(pc)) ||
		    chain_len(store, check_content(pc), c->tap.tip) > 100 ||
		    (waits(store) && !gst->copies[i].in_sync)) {
			snprintf(why, len, "store %d epoch %u: copy on %s is not whole (peer %d in-sync "
				 "%d txn %d %d seeding %d broken %d behind %u)", store, gst->epoch,
				 host_name(p), c->peers[p].state, gst->copies[i].in_sync, c->peers[p].txn,
				 c->peers[p].txn_out, pc->seeding, pc->broken,
				 check_content(pc) < 0 ? 0 : chain_len(store, check_content(pc), c->tap.tip));
			return false;
		}
	}
	return true;
}

bool check_whole(char *why, unsigned len)
{
	for (int i = 0; i < nr_stores; i++)
		if (!store_whole(i, why, len))
			return false;
	return true;
}
