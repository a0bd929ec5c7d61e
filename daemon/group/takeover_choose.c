// SPDX-License-Identifier: GPL-2.0
/*
 * Who wins a store: the candidates as agreed and as they report, the choice, and
 * what the claim's transaction writes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/group/takeover_int.h"

#define SEGMENT_MIB	64	/* of a store that names none */

bool takeover_lives_on(const struct group_store *st, const char *host)
{
	return !st->removed && st->epoch && !strcmp(st->active, host);
}

static void fill_candidate(struct candidate *c, const struct takeover_view *v,
			   const struct group_store *st, const struct group_copy *cp)
{
	const struct group_state *gs = v->gs;

	memset(c, 0, sizeof(*c));
	snprintf(c->member, sizeof(c->member), "%s", cp->member);
	c->blocked = cp->activation_blocked;
	c->preference = cp->preference;
	c->lagged = group_copy_lagged(cp);
	c->in_sync = cp->in_sync;
	c->status = CAND_OTHER;
	c->stopped = true;	/* who is no member takes no part */
	for (uint32_t i = 0; i < gs->nr_members; i++) {
		const struct group_member *m = &gs->members[i];

		if (strcmp(m->name, cp->member))
			continue;
		memcpy(c->site, m->site, sizeof(c->site));
		c->reachable = v->reachable[i] || !strcmp(m->name, v->self);
		c->policy = m->policy;
		c->dial = m->dial;
		c->maintenance = m->maintenance;
		c->stopped = m->stopped;
		c->max_active = m->max_active;
		c->max_preferred = m->max_preferred_active;
	}
}

static void fill_rule(const struct takeover *t, struct candidate_rule *r, const struct takeover_view *v,
		      const struct group_store *st)
{
	const struct group_member *host = group_find_member((struct group_state *)v->gs, t->host);

	memset(r, 0, sizeof(*r));
	r->mode = st->mode;
	r->failed_too = true;
	r->ack_durable = st->ack_durable;
	r->epoch = st->epoch;
	/* A copy that does not know an epoch that began at a point has what was given up. */
	r->start_lsn = group_store_at_point(st) ? 0 : st->start_lsn;
	r->segment_bytes = (uint64_t)(st->segment_mib ? st->segment_mib : SEGMENT_MIB) << 20;
	if (host)
		memcpy(r->old_site, host->site, sizeof(r->old_site));
	for (unsigned i = 0; i < t->nr_facts; i++)
		if (!memcmp(t->facts[i].store, st->uuid, 16))
			r->known_lsn = t->facts[i].commit_lsn;
}

void takeover_fill(const struct takeover *t, struct takeover_store *ts, const struct takeover_view *v,
		   const struct group_store *st)
{
	memset(ts, 0, sizeof(*ts));
	memcpy(ts->uuid, st->uuid, 16);
	ts->epoch = st->epoch;
	ts->held = st->manual || st->dismounted;
	ts->winner = ts->source = -1;
	fill_rule(t, &ts->rule, v, st);
	for (uint32_t k = 0; k < st->nr_copies && ts->nr < GROUP_MEMBERS_MAX; k++)
		fill_candidate(&ts->cand[ts->nr++], v, st, &st->copies[k]);
}

/* What a copy says of itself; what is agreed about it stays. */
void takeover_report(struct candidate *c, const struct candidate *report)
{
	c->sealed = true;
	c->whole = report->whole && report->end_lsn % DAGTAP_ALIGN == 0;
	c->unconfirmed = report->unconfirmed;
	c->blocked = c->blocked || report->blocked;
	c->failed = report->failed;
	c->status = report->status;
	c->log_epoch = report->log_epoch;
	c->end_lsn = report->end_lsn;
	c->copy_queue = report->copy_queue;
	c->replay_queue = report->replay_queue;
	c->active_now = report->active_now;
}

/* ---- choose --------------------------------------------------------------- */

/* Does the source have what would go on where the winner's log ends? */
static bool worth_fetching(const struct takeover_store *ts)
{
	const struct candidate *w = &ts->cand[ts->winner], *s = &ts->cand[ts->source];
	uint64_t have, most;

	return ts->source != ts->winner && candidate_position(w, &ts->rule, &have) &&
	       candidate_position(s, &ts->rule, &most) && have == w->end_lsn && most > have;
}

/* Stores before this one that the member wins in this very round. */
static uint32_t wins_before(const struct takeover *t, unsigned store, const char *member)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < store; i++) {
		const struct takeover_store *ts = &t->stores[i];

		n += ts->winner >= 0 && !strcmp(ts->cand[ts->winner].member, member);
	}
	return n;
}

void takeover_choose(struct takeover *t, unsigned i)
{
	struct takeover_store *ts = &t->stores[i];
	struct candidate cands[GROUP_MEMBERS_MAX];
	unsigned n;

	memcpy(cands, ts->cand, sizeof(cands));
	for (unsigned k = 0; k < ts->nr; k++) {
		cands[k].active_now += wins_before(t, i, cands[k].member);
		/* The old host is the source of the last logs at best. */
		cands[k].ended = !strcmp(cands[k].member, t->host);
	}
	n = candidate_rank(cands, ts->nr, &ts->rule, ts->verdict);
	ts->winner = ts->source = -1;
	ts->fetching = ts->fetched = false;
	if (!n || ts->held)
		return;
	ts->winner = ts->verdict[0].index;
	ts->lost_bytes = ts->verdict[0].lost_bytes;
	ts->source = candidate_source(ts->cand, ts->nr, &ts->rule);
	if (ts->source >= 0 && !worth_fetching(ts))
		ts->source = -1;
}

/* ---- the claim's transaction ------------------------------------------------ */

static bool same_place(const struct candidate *c, const struct candidate *w,
		       const struct candidate_rule *rule)
{
	uint64_t pc, pw;

	/* Equal ends are equal logs only on the same history. */
	return c->sealed && c->whole && c->end_lsn == w->end_lsn &&
	       candidate_position(c, rule, &pc) && candidate_position(w, rule, &pw) &&
	       pc == c->end_lsn && pw == w->end_lsn;
}

static void edit_store(struct group_store *st, const struct takeover_store *ts)
{
	const struct candidate *w = &ts->cand[ts->winner];

	st->epoch = ts->epoch + 1;
	snprintf(st->active, sizeof(st->active), "%s", w->member);
	st->start_lsn = w->end_lsn;
	st->point_lsn = 0;
	for (uint32_t i = 0; i < st->nr_copies; i++) {
		struct group_copy *cp = &st->copies[i];

		cp->in_sync = false;
		for (unsigned k = 0; k < ts->nr; k++)
			if (!strcmp(ts->cand[k].member, cp->member))
				cp->in_sync = (int)k == ts->winner ||
					      same_place(&ts->cand[k], w, &ts->rule);
	}
}

int takeover_edit(struct group_state *gs, void *takeover)
{
	const struct takeover *t = takeover;

	if (gs->generation != t->generation)
		return -ESTALE;
	for (unsigned i = 0; i < t->nr_stores; i++) {
		const struct takeover_store *ts = &t->stores[i];
		struct group_store *st = group_find_store_uuid(gs, ts->uuid);

		if (ts->winner < 0)
			continue;
		if (!st || !takeover_lives_on(st, t->host) || st->epoch != ts->epoch ||
		    !group_find_copy(st, ts->cand[ts->winner].member))
			return -ESTALE;
	}
	for (unsigned i = 0; i < t->nr_stores; i++)
		if (t->stores[i].winner >= 0)
			edit_store(group_find_store_uuid(gs, t->stores[i].uuid), &t->stores[i]);
	return 0;
}

/* ---- the winner opens ------------------------------------------------------------ */

int takeover_fit(uint64_t start_lsn, uint64_t end_lsn)
{
	if (end_lsn == start_lsn)
		return 0;
	return end_lsn > start_lsn ? -EAGAIN : -ENODATA;
}

int takeover_edit_anew(struct group_store *st, void *end_lsn)
{
	st->epoch++;
	st->start_lsn = *(const uint64_t *)end_lsn;
	st->point_lsn = 0;
	for (uint32_t i = 0; i < st->nr_copies; i++)
		st->copies[i].in_sync = false;
	return 0;
}
