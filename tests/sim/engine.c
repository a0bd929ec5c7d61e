// SPDX-License-Identifier: GPL-2.0
/*
 * The engine as its users see it: linearizable, available while a leader reaches a
 * majority of the voters and the caller reaches the leader. A question may be lost,
 * be applied long after the caller has given up, or be applied and its answer lost.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define TICK		(50 * MS)
#define TIMEOUT		(400 * MS)
#define REQUESTS_MAX	4096

static struct engine_model {
	bool exists;
	struct snap *cur;
	struct lease_rec lease[HOSTS_MAX];
	uint64_t rev;
	bool voter[HOSTS_MAX];
	unsigned nr_voters;
	int leader;			/* -1: none */
	uint64_t elect_at;
	struct replica {
		struct snap *snap;
		struct lease_rec lease[HOSTS_MAX];
	} replica[HOSTS_MAX];
} engines[ENGINES];

static struct ereq *requests[REQUESTS_MAX];
static unsigned nr_requests;

struct snap *snap_get(struct snap *s)
{
	s->refs++;
	return s;
}

void snap_put(struct snap *s)
{
	if (s && !--s->refs)
		free(s);
}

static struct snap *snap_new(const struct group_state *gs, const struct group_store *stores)
{
	struct snap *s = malloc(sizeof(*s));

	s->refs = 1;
	s->gs = *gs;
	s->gs.stores = s->stores;
	memcpy(s->stores, stores, sizeof(s->stores));
	return s;
}

/* ---- who can be reached ---------------------------------------------------------- */

static bool alive(int h)
{
	return hosts[h].up && hosts[h].paused_until <= now;
}

static bool leads(const struct engine_model *en, int h)
{
	unsigned n = 0;

	if (h < 0 || !alive(h))
		return false;
	for (int v = 0; v < nr_hosts; v++)
		n += en->voter[v] && alive(v) && net_up(h, v);
	return 2 * n > en->nr_voters;
}

static bool reaches(const struct engine_model *en, int h)
{
	return en->exists && alive(h) && leads(en, en->leader) && net_up(h, en->leader);
}

static void replicate(struct engine_model *en)
{
	for (int v = 0; v < nr_hosts; v++) {
		struct replica *r = &en->replica[v];

		if (!en->voter[v] || !alive(v) || !net_up(v, en->leader))
			continue;
		if (r->snap != en->cur) {
			snap_put(r->snap);
			r->snap = snap_get(en->cur);
		}
		memcpy(r->lease, en->lease, sizeof(r->lease));
	}
}

static void tick(int e, void *arg, uint64_t a, uint64_t b)
{
	struct engine_model *en = &engines[e];
	uint64_t election = en->cur->gs.profile.engine_election_ms * MS;

	at(now + TICK, SCOPE_WORLD, e, tick, NULL, 0, 0);
	if (leads(en, en->leader)) {
		replicate(en);
		return;
	}
	if (en->leader >= 0) {
		en->leader = -1;
		en->elect_at = now + election + chance(election);
		return;
	}
	if (now < en->elect_at)
		return;
	for (int i = 0, v = chance(nr_hosts); i < nr_hosts; i++, v = (v + 1) % nr_hosts) {
		if (!en->voter[v] || !leads(en, v))
			continue;
		en->leader = v;
		trace("engine %d: %s leads", e, host_name(v));
		return;
	}
	en->elect_at = now + election;
}

/* ---- transactions -------------------------------------------------------------------- */

static int apply_store(struct engine_model *en, struct ereq *r, struct snap **ret)
{
	const struct group_store *st = &en->cur->stores[r->store];

	if (st->epoch != r->expect_epoch)
		return -ESTALE;
	if (st->version != r->expect_version[r->store])
		return -EBUSY;
	*ret = snap_new(&en->cur->gs, en->cur->stores);
	(*ret)->stores[r->store] = r->next[r->store];
	(*ret)->stores[r->store].version = st->version + 1;
	return 0;
}

static int apply_claim(struct engine_model *en, struct ereq *r, struct snap **ret)
{
	struct lease_rec *l = &en->lease[r->victim];

	if (l->rev != r->victim_rev || l->fence != r->victim_fence ||
	    en->cur->gs.generation != r->generation)
		return -ESTALE;
	for (int i = 0; i < nr_stores; i++)
		if (r->changed[i] && en->cur->stores[i].version != r->expect_version[i])
			return -ESTALE;
	*ret = snap_new(&en->cur->gs, en->cur->stores);
	for (int i = 0; i < nr_stores; i++) {
		if (!r->changed[i])
			continue;
		(*ret)->stores[i] = r->next[i];
		(*ret)->stores[i].version = en->cur->stores[i].version + 1;
	}
	l->fence++;
	return 0;
}

static int apply_lease(struct engine_model *en, const struct ereq *r)
{
	struct lease_rec *l = &en->lease[r->host];

	if (l->fence != r->fence || (r->kind == EREQ_RELEASE && l->rev != r->victim_rev))
		return -ESTALE;
	l->rev = ++en->rev;
	l->released = r->kind == EREQ_RELEASE;
	l->nr_facts = r->nr_facts;
	memcpy(l->facts, r->facts, sizeof(l->facts));
	return 0;
}

static int apply(struct engine_model *en, struct ereq *r)
{
	struct snap *next = NULL;
	int rc = 0;

	switch (r->kind) {
	case EREQ_RENEW:
	case EREQ_RELEASE:
		return apply_lease(en, r);
	case EREQ_STORE:
		rc = apply_store(en, r, &next);
		break;
	case EREQ_CLAIM:
		rc = apply_claim(en, r, &next);
		break;
	default:
		r->snap = snap_get(en->cur);
		memcpy(r->leases, en->lease, sizeof(r->leases));
		return 0;
	}
	if (rc)
		return rc;
	check_committed(r->engine, en->cur, next, r);
	snap_put(en->cur);
	en->cur = next;
	return 0;
}

/* ---- questions and answers -------------------------------------------------------------- */

struct ereq *ereq_new(enum ereq_kind kind, int host, void (*done)(struct ereq *r))
{
	struct ereq *r = NULL;

	for (unsigned i = 0; i < nr_requests && !r; i++)
		if (!requests[i]->refs)
			r = requests[i];
	if (!r && nr_requests == REQUESTS_MAX) {
		fprintf(stderr, "sim: too many questions to the engine\n");
		exit(2);
	}
	if (!r) {
		r = calloc(1, sizeof(*r));
		requests[nr_requests++] = r;
	}
	r->kind = kind;
	r->host = host;
	r->engine = hosts[host].engine;
	r->done = done;
	r->rc = -EAGAIN;
	r->answered = false;
	r->snap = NULL;
	r->nr_facts = 0;
	memset(r->changed, 0, sizeof(r->changed));
	r->dinc = hosts[host].dinc;
	r->sent_local = host_now(&hosts[host]);
	return r;
}

static void drop(struct ereq *r)
{
	if (--r->refs)
		return;
	snap_put(r->snap);
	r->snap = NULL;
}

static void answer(int h, void *arg, uint64_t p, uint64_t rc)
{
	struct ereq *r = (struct ereq *)(uintptr_t)p;

	if (!r->answered && r->dinc == hosts[h].dinc) {
		r->answered = true;
		r->rc = (int)(int64_t)rc;
		r->done(r);
	}
	drop(r);
}

static void arrive(int h, void *arg, uint64_t p, uint64_t b)
{
	struct ereq *r = (struct ereq *)(uintptr_t)p;
	struct engine_model *en = &engines[r->engine];

	if (reaches(en, r->host)) {
		int rc = apply(en, r);

		if (!permille(net_loss)) {
			r->refs++;
			at(now + between(100000, 3 * MS), SCOPE_DAEMON, r->host, answer, NULL,
			   (uintptr_t)r, (uint64_t)(int64_t)rc);
		}
	}
	drop(r);
}

void engine_ask(struct ereq *r)
{
	uint64_t when = now + between(200000, 4 * MS);

	/* Lands when nobody waits any more: what is got wrong most easily. */
	if (permille(r->kind == EREQ_STORE ? 5 * net_slow : net_slow))
		when += between(20 * MS, 3000 * MS);
	r->refs = 2;
	if (permille(net_loss))
		r->refs--;
	else
		at(when, SCOPE_WORLD, r->host, arrive, NULL, (uintptr_t)r, 0);
	at(now + TIMEOUT, SCOPE_DAEMON, r->host, answer, NULL, (uintptr_t)r,
	   (uint64_t)(int64_t)-EAGAIN);
}

const struct snap *engine_peek(int host)
{
	const struct engine_model *en = &engines[hosts[host].engine];

	return reaches(en, host) ? en->cur : NULL;
}

const struct snap *engine_truth(int e)
{
	return engines[e].exists ? engines[e].cur : NULL;
}

bool engine_stale(int host, struct snap **ret, struct lease_rec leases[HOSTS_MAX])
{
	struct engine_model *en = &engines[hosts[host].engine];

	for (int i = 0, v = host; i < nr_hosts; i++, v = (v + 1) % nr_hosts) {
		if (!en->voter[v] || !alive(v) || !net_up(host, v) || !en->replica[v].snap)
			continue;
		*ret = snap_get(en->replica[v].snap);
		memcpy(leases, en->replica[v].lease, sizeof(en->replica[v].lease));
		return true;
	}
	return false;
}

void engine_start_member(int e, int host)
{
	struct engine_model *en = &engines[e];
	struct snap *next = snap_new(&en->cur->gs, en->cur->stores);
	struct group_member *m = group_find_member(&next->gs, host_name(host));

	m->stopped = false;
	next->gs.version++;
	snap_put(en->cur);
	en->cur = next;
}

/* ---- life ------------------------------------------------------------------------------ */

static void forget(struct engine_model *en)
{
	snap_put(en->cur);
	for (int i = 0; i < HOSTS_MAX; i++)
		snap_put(en->replica[i].snap);
	memset(en, 0, sizeof(*en));
}

static void forget_all(void)
{
	for (unsigned i = 0; i < nr_requests; i++) {
		if (requests[i]->refs)
			snap_put(requests[i]->snap);
		requests[i]->refs = 0;
		requests[i]->snap = NULL;
	}
	for (int e = 0; e < ENGINES; e++)
		forget(&engines[e]);
}

static void begin(int e, const struct group_state *gs, const struct group_store *stores)
{
	struct engine_model *en = &engines[e];
	struct quorum_plan plan;

	en->exists = true;
	en->leader = -1;
	en->elect_at = now;
	en->cur = snap_new(gs, stores);
	quorum_plan(gs, &plan);
	en->nr_voters = plan.nr;
	for (unsigned i = 0; i < plan.nr; i++)
		en->voter[host_id(plan.voter[i])] = true;
	for (int i = 0; i < HOSTS_MAX; i++) {
		en->lease[i].rev = ++en->rev;
		en->lease[i].fence = 1;
		en->replica[i].snap = snap_get(en->cur);
	}
	at(now + TICK, SCOPE_WORLD, e, tick, NULL, 0, 0);
}

void engine_init(int e, const struct group_state *gs, const struct group_store *stores)
{
	if (!e)
		forget_all();
	begin(e, gs, stores);
}
