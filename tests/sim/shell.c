// SPDX-License-Identifier: GPL-2.0
/* Carries out what takeover.c wishes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

#define HEARD_BEATS	5

/* The question whose answer counts, as a call over a connection would know it. */
static uint64_t expected[HOSTS_MAX][HOSTS_MAX][STORES_MAX][HOSTS_MAX];
static uint64_t rounds;

void shell_lease(struct host *h, const struct lease_rec *leases)
{
	for (int v = 0; v < nr_members; v++) {
		struct engine_host eh = { .fence = leases[v].fence, .lease_rev = leases[v].rev,
					  .released = leases[v].released,
					  .nr_facts = leases[v].nr_facts };

		if (v == h->id)
			continue;
		memcpy(eh.facts, leases[v].facts, sizeof(leases[v].facts));
		takeover_lease(&h->to[v], &eh, host_now(h));
	}
}

static void recheck_done(struct ereq *r)
{
	struct host *h = &hosts[r->host];
	struct takeover *t = &h->to[r->victim];

	if (r->rc)
		return;
	shell_lease(h, r->leases);
	host_set_state(h, snap_get(r->snap));
	takeover_state(t, &r->snap->gs);
}

static void claim_done(struct ereq *r)
{
	struct host *h = &hosts[r->host];

	trace("%s claim of %s: %d", host_name(h->id), host_name(r->victim), r->rc);
	takeover_claimed(&h->to[r->victim], r->rc, host_now(h));
	host_read(h);
}

static void claim(struct host *h, int victim)
{
	struct takeover *t = &h->to[victim];
	const struct snap *s = engine_peek(h->id);
	struct group_state gs;
	struct ereq *r;
	int rc;

	if (!s) {
		takeover_claimed(t, -EAGAIN, host_now(h));
		return;
	}
	r = ereq_new(EREQ_CLAIM, h->id, claim_done);
	gs = s->gs;
	gs.stores = r->next;
	memcpy(r->next, s->stores, sizeof(r->next));
	rc = takeover_edit(&gs, t);
	if (rc) {
		takeover_claimed(t, rc, host_now(h));
		return;
	}
	r->victim = victim;
	r->victim_rev = t->claim_rev;
	r->victim_fence = t->claim_fence;
	r->generation = t->generation;
	for (int i = 0; i < nr_stores; i++) {
		r->expect_version[i] = s->stores[i].version;
		r->changed[i] = r->next[i].epoch != s->stores[i].epoch;
	}
	trace("%s claims %s rev=%llu fence=%llu", host_name(h->id), host_name(victim),
	      (unsigned long long)r->victim_rev, (unsigned long long)r->victim_fence);
	engine_ask(r);
}

static void ask_copy(struct host *h, int victim, const struct takeover_action *act)
{
	int store = act->uuid[0] - 1, member = host_id(act->member);
	struct msg m = { .type = act->wish == WISH_SEAL ? MSG_SEAL : MSG_FETCH, .store = store,
			 .epoch = act->epoch, .about = victim, .round = ++rounds,
			 .generation = h->snap->gs.generation };

	if (act->wish == WISH_FETCH)
		m.peer = host_id(act->from);
	trace("%s asks %s to %s store %d epoch %u", host_name(h->id), act->member,
	      act->wish == WISH_SEAL ? "seal" : "fetch", store, act->epoch);
	expected[h->id][victim][store][member] = m.round;
	net_send(h->id, member, &m);
}

static void carry_out(struct host *h, int victim, const struct takeover_action *act)
{
	struct ereq *r;

	switch (act->wish) {
	case WISH_RECHECK:
		r = ereq_new(EREQ_READ, h->id, recheck_done);
		r->victim = victim;
		engine_ask(r);
		break;
	case WISH_CLAIM:
		claim(h, victim);
		break;
	default:
		ask_copy(h, victim, act);
	}
}

static bool heard(const struct host *h, int other)
{
	uint64_t beats = HEARD_BEATS * h->snap->gs.profile.heartbeat_ms * MS;

	return h->heard[other] && host_now(h) < h->heard[other] + beats;
}

void shell_tick(struct host *h)
{
	struct takeover_view v = { 0 };
	struct takeover_action act;
	uint32_t rank = 0;

	if (!h)
		return;
	v.gs = &h->snap->gs;
	v.self = host_name(h->id);
	v.may_activate = h->ready && dac_may_activate(&h->dac) && host_leased(h);
	for (int i = 0; i < nr_members; i++)
		v.reachable[i] = heard(h, i);
	for (int victim = 0; victim < nr_members; victim++) {
		rank = 0;
		if (victim == h->id)
			continue;
		for (int i = 0; i < h->id; i++)
			rank += i != victim && v.reachable[i];
		v.rank = rank;
		for (int i = 0; i < 100; i++) {
			takeover_step(&h->to[victim], &v, host_now(h), &act);
			if (act.wish == WISH_NONE)
				break;
			carry_out(h, victim, &act);
		}
	}
}

void shell_recv(struct host *h, const struct msg *m)
{
	struct takeover *t = &h->to[m->about];
	uint64_t *want = &expected[h->id][m->about][m->store][m->from];
	uint8_t uuid[16];

	if (m->round != *want)
		return;
	*want = 0;
	store_uuid(m->store, uuid);
	trace("%s hears %s %s store %d: %d end=%llu epoch=%u", host_name(h->id), host_name(m->from),
	      m->type == MSG_SEALED ? "sealed" : "fetched", m->store, m->rc,
	      (unsigned long long)m->report.end_lsn, m->report.log_epoch);
	if (m->type == MSG_SEALED) {
		if (!m->rc)
			check_report(m->from, m->store, m->epoch);
		takeover_sealed(t, uuid, host_name(m->from), m->rc, &m->report, host_now(h));
	} else {
		takeover_fetched(t, uuid, m->rc, &m->report, host_now(h));
	}
}
