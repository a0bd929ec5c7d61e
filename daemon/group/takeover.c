// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/takeover_int.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MS		1000000ull

static void say(struct takeover *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void say(struct takeover *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(t->why, sizeof(t->why), fmt, ap);
	va_end(ap);
}

static unsigned stores_on(const struct group_state *gs, const char *host)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < gs->nr_stores; i++)
		n += takeover_lives_on(&gs->stores[i], host);
	return n;
}

/* ---- phases -------------------------------------------------------------- */

/* Begin anew in WATCH or RANK; what was sealed stays sealed, which is harmless. */
static void back_to(struct takeover *t, enum takeover_phase phase, uint64_t now_ns)
{
	t->phase = phase;
	t->since_ns = now_ns;
	t->checked = false;
	t->asked_ns = 0;
	t->claim_sent = t->ambiguous = t->stale = t->landed = false;
	t->nr_stores = 0;
}

static void enter(struct takeover *t, enum takeover_phase phase, uint64_t now_ns)
{
	t->phase = phase;
	t->since_ns = now_ns;
}

static bool passed(const struct takeover *t, uint64_t now_ns, uint64_t ms)
{
	return now_ns >= t->since_ns + ms * MS;
}

void takeover_init(struct takeover *t, const char *host, struct takeover_store *stores)
{
	memset(t, 0, sizeof(*t));
	snprintf(t->host, sizeof(t->host), "%s", host);
	t->stores = stores;
	say(t, "its lease was not read yet");
}

void takeover_lease(struct takeover *t, const struct engine_host *host, uint64_t now_ns)
{
	bool same_fence = t->watch.known && host->fence == t->watch.fence;

	if (!lease_watch_note(&t->watch, host->lease_rev, host->fence, host->released, now_ns))
		return;
	t->watch.lease_ms = host->lease_ms;
	t->nr_facts = host->nr_facts < GROUP_STORES_MAX ? host->nr_facts : GROUP_STORES_MAX;
	memcpy(t->facts, host->facts, t->nr_facts * sizeof(t->facts[0]));
	/* The answer to a claim that is under way decides. One of which nobody knows
	 * the end has failed for certain when the host renewed under the old fence. */
	if (t->phase == TAKEOVER_CLAIM && (t->claim_sent || (t->ambiguous && !same_fence)))
		return;
	memset(&t->times, 0, sizeof(t->times));
	t->times.seen = now_ns;
	if (t->phase != TAKEOVER_WATCH)
		say(t, "its lease was renewed");
	back_to(t, TAKEOVER_WATCH, now_ns);
}

/* ---- seal ---------------------------------------------------------------- */

static void begin_seal(struct takeover *t, const struct takeover_view *v, uint64_t now_ns)
{
	t->nr_stores = 0;
	for (uint32_t i = 0; i < v->gs->nr_stores; i++) {
		const struct group_store *st = &v->gs->stores[i];
		struct takeover_store *ts = &t->stores[t->nr_stores];

		if (!takeover_lives_on(st, t->host))
			continue;
		takeover_fill(t, ts, v, st);
		t->nr_stores++;
	}
	t->generation = v->gs->generation;
	t->claim_rev = t->watch.rev;
	t->claim_fence = t->watch.fence;
	say(t, "asks the copies of %u stores", t->nr_stores);
	enter(t, TAKEOVER_SEAL, now_ns);
}

/* The host's own copy may have more than any other, but only a lease that was
 * given up in order says that it is closed. */
static bool to_be_asked(const struct takeover *t, const struct takeover_store *ts, unsigned k)
{
	const struct candidate *c = &ts->cand[k];

	if (!c->reachable || c->stopped || ts->held)
		return false;
	return strcmp(c->member, t->host) || t->watch.released;
}

static void wish_store(const struct takeover *t, unsigned i, enum takeover_wish wish, const char *member,
		       struct takeover_action *ret)
{
	ret->wish = wish;
	ret->store = i;
	memcpy(ret->uuid, t->stores[i].uuid, 16);
	snprintf(ret->member, sizeof(ret->member), "%s", member);
	ret->epoch = t->stores[i].epoch + 1;
}

/* The next copy to ask, or false. */
static bool wish_seal(struct takeover *t, struct takeover_action *ret)
{
	for (unsigned i = 0; i < t->nr_stores; i++) {
		struct takeover_store *ts = &t->stores[i];

		for (unsigned k = 0; k < ts->nr; k++) {
			if (ts->asked[k] || !to_be_asked(t, ts, k))
				continue;
			ts->asked[k] = true;
			wish_store(t, i, WISH_SEAL, ts->cand[k].member, ret);
			return true;
		}
	}
	return false;
}

static bool all_answered(const struct takeover *t)
{
	for (unsigned i = 0; i < t->nr_stores; i++)
		for (unsigned k = 0; k < t->stores[i].nr; k++)
			if (t->stores[i].asked[k] && !t->stores[i].answered[k])
				return false;
	return true;
}

static int find_store(const struct takeover *t, const uint8_t uuid[16])
{
	for (unsigned i = 0; i < t->nr_stores; i++)
		if (!memcmp(t->stores[i].uuid, uuid, 16))
			return i;
	return -1;
}

void takeover_sealed(struct takeover *t, const uint8_t uuid[16], const char *member, int rc,
		     const struct candidate *report, uint64_t now_ns)
{
	int i = find_store(t, uuid);
	struct takeover_store *ts;

	/* Who comes too late is not in the claim. */
	if (t->phase != TAKEOVER_SEAL || i < 0)
		return;
	ts = &t->stores[i];
	for (unsigned k = 0; k < ts->nr; k++) {
		if (strcmp(ts->cand[k].member, member) || !ts->asked[k] || ts->answered[k])
			continue;
		ts->answered[k] = true;
		if (!rc)
			takeover_report(&ts->cand[k], report);
	}
}

/* ---- fetch ---------------------------------------------------------------- */

static uint64_t fetch_ms(const struct takeover_store *ts)
{
	return ts->rule.mode == DAGTAP_MODE_ASYNC ? TAKEOVER_FETCH_MS : TAKEOVER_FETCH_SYNC_MS;
}

static bool wish_fetch(struct takeover *t, struct takeover_action *ret)
{
	for (unsigned i = 0; i < t->nr_stores; i++) {
		struct takeover_store *ts = &t->stores[i];

		if (ts->source < 0 || ts->fetching || ts->fetched)
			continue;
		ts->fetching = true;
		wish_store(t, i, WISH_FETCH, ts->cand[ts->winner].member, ret);
		snprintf(ret->from, sizeof(ret->from), "%s", ts->cand[ts->source].member);
		ret->lsn = ts->cand[ts->source].end_lsn;
		return true;
	}
	return false;
}

void takeover_fetched(struct takeover *t, const uint8_t uuid[16], int rc, const struct candidate *report,
		      uint64_t now_ns)
{
	int i = find_store(t, uuid);
	struct takeover_store *ts;

	if (t->phase != TAKEOVER_FETCH || i < 0)
		return;
	ts = &t->stores[i];
	if (!ts->fetching)
		return;
	ts->fetching = false;
	ts->fetched = !rc;
	if (!rc)
		takeover_report(&ts->cand[ts->winner], report);
}

static bool fetches_run(const struct takeover *t, uint64_t now_ns)
{
	for (unsigned i = 0; i < t->nr_stores; i++)
		if (t->stores[i].fetching && !passed(t, now_ns, fetch_ms(&t->stores[i])))
			return true;
	return false;
}

/*
 * A fetch that failed has left the winner's log somewhere. Ask the winner again,
 * which ends the fetch, and do without that source. True: there is one to ask.
 */
static bool give_up_fetches(struct takeover *t)
{
	bool again = false;

	for (unsigned i = 0; i < t->nr_stores; i++) {
		struct takeover_store *ts = &t->stores[i];

		if (ts->source < 0 || ts->fetched)
			continue;
		ts->cand[ts->source].reachable = false;
		ts->cand[ts->winner].sealed = false;
		ts->asked[ts->winner] = ts->answered[ts->winner] = false;
		ts->source = -1;
		again = true;
	}
	return again;
}

/* Where the dial allows a loss only after a fetch, it was fetched by now. */
static void accept_fetches(struct takeover *t)
{
	for (unsigned i = 0; i < t->nr_stores; i++) {
		struct takeover_store *ts = &t->stores[i];
		int was = ts->winner;

		if (!ts->fetched)
			continue;
		takeover_choose(t, i);
		/* Another one is no better now, and has not fetched. */
		if (ts->winner != was || ts->source >= 0)
			ts->winner = ts->source = -1;
		ts->fetched = true;
	}
}

/* ---- claim ---------------------------------------------------------------- */

static bool worth_claiming(const struct takeover *t)
{
	for (unsigned i = 0; i < t->nr_stores; i++)
		if (t->stores[i].winner >= 0 ||
		    (t->stores[i].held && t->fenced_rev != t->claim_rev))
			return true;
	return false;
}

static void claim_landed(struct takeover *t, uint64_t now_ns)
{
	t->times.claimed = now_ns;
	t->fenced_rev = t->claim_rev;
	say(t, "claimed");
	enter(t, TAKEOVER_DONE, now_ns);
}

void takeover_claimed(struct takeover *t, int rc, uint64_t now_ns)
{
	if (t->phase != TAKEOVER_CLAIM || !t->claim_sent)
		return;
	t->claim_sent = false;
	if (!rc) {
		claim_landed(t, now_ns);
	} else if (rc == -ESTALE && !t->ambiguous) {
		say(t, "another member was faster, or it lives");
		back_to(t, TAKEOVER_RANK, now_ns);
	} else {
		say(t, "does not know yet whether the claim landed");
		t->ambiguous = true;
		t->stale = rc == -ESTALE;
		t->checked = false;
		t->asked_ns = 0;
	}
}

/* ---- the state as read anew -------------------------------------------------- */

static bool is_ours(const struct takeover_store *ts, const struct group_store *st)
{
	return st && !st->removed && st->epoch == ts->epoch + 1 &&
	       !strcmp(st->active, ts->cand[ts->winner].member);
}

static bool unchanged(const struct takeover *t, const struct takeover_store *ts,
		      const struct group_store *st)
{
	return st && takeover_lives_on(st, t->host) && st->epoch == ts->epoch;
}

void takeover_state(struct takeover *t, const struct group_state *gs)
{
	unsigned ours = 0, same = 0, won = 0;

	t->profile = gs->profile;
	t->checked = true;
	if (t->phase < TAKEOVER_SEAL || t->phase == TAKEOVER_DONE || t->claim_sent)
		return;		/* the answer to a claim comes first */
	for (unsigned i = 0; i < t->nr_stores; i++) {
		const struct takeover_store *ts = &t->stores[i];
		const struct group_store *st = group_find_store_uuid((struct group_state *)gs, ts->uuid);

		won += ts->winner >= 0;
		ours += ts->winner >= 0 && is_ours(ts, st);
		same += unchanged(t, ts, st);
	}
	if (t->ambiguous && won && ours == won) {
		t->landed = true;
	} else if (same != t->nr_stores || gs->generation != t->generation || t->stale) {
		say(t, "the agreed state has changed");
		back_to(t, TAKEOVER_RANK, t->since_ns);
	}
	/* Else an ambiguous claim is sent again as it was: one at most can land. */
}

/* ---- time passes --------------------------------------------------------------- */

static void wish_recheck(struct takeover *t, uint64_t now_ns, struct takeover_action *ret)
{
	if (t->asked_ns && now_ns < t->asked_ns + TAKEOVER_RECHECK_MS * MS)
		return;
	t->asked_ns = now_ns;
	ret->wish = WISH_RECHECK;
}

/* Each returns true when the next phase is to be looked at in the same step. */

static bool step_watch(struct takeover *t, const struct takeover_view *v, uint64_t now_ns)
{
	if (!stores_on(v->gs, t->host)) {
		say(t, "it holds no store");
		return false;
	}
	if (!lease_watch_over(&t->watch, &t->profile, now_ns)) {
		say(t, t->watch.known ? "its lease has not certainly ended" :
		       "its lease was not read yet");
		return false;
	}
	t->times.over = now_ns;
	back_to(t, TAKEOVER_RANK, now_ns);
	return true;
}

static bool step_rank(struct takeover *t, const struct takeover_view *v, uint64_t now_ns,
		      struct takeover_action *ret)
{
	if (!lease_watch_over(&t->watch, &t->profile, now_ns)) {
		back_to(t, TAKEOVER_WATCH, now_ns);
		return false;
	}
	if (!v->may_activate) {
		say(t, "this member may not activate anything");
		return false;
	}
	if (!passed(t, now_ns, (uint64_t)v->rank * TAKEOVER_RANK_MS)) {
		say(t, "%u members come before this one", v->rank);
		return false;
	}
	if (!t->checked) {
		say(t, "reads the agreed state anew");
		wish_recheck(t, now_ns, ret);
		return false;
	}
	if (!stores_on(v->gs, t->host)) {
		back_to(t, TAKEOVER_WATCH, now_ns);
		return false;
	}
	begin_seal(t, v, now_ns);
	return true;
}

static bool step_seal(struct takeover *t, uint64_t now_ns, struct takeover_action *ret)
{
	if (wish_seal(t, ret))
		return false;
	if (!all_answered(t) && !passed(t, now_ns, TAKEOVER_SEAL_MS))
		return false;
	t->times.sealed = now_ns;
	for (unsigned i = 0; i < t->nr_stores; i++)
		t->stores[i].winner = -1;
	for (unsigned i = 0; i < t->nr_stores; i++)
		takeover_choose(t, i);
	say(t, "fetches the last logs");
	enter(t, TAKEOVER_FETCH, now_ns);
	return true;
}

static bool step_fetch(struct takeover *t, uint64_t now_ns, struct takeover_action *ret)
{
	if (wish_fetch(t, ret) || fetches_run(t, now_ns))
		return false;
	if (give_up_fetches(t)) {
		say(t, "could not fetch the last logs, does without");
		enter(t, TAKEOVER_SEAL, now_ns);
		return true;
	}
	accept_fetches(t);
	t->times.fetched = now_ns;
	enter(t, TAKEOVER_CLAIM, now_ns);
	return true;
}

static bool step_claim(struct takeover *t, uint64_t now_ns, struct takeover_action *ret)
{
	if (t->claim_sent)
		return false;
	if (t->landed) {
		claim_landed(t, now_ns);
		return false;
	}
	if (t->ambiguous && !t->checked) {
		wish_recheck(t, now_ns, ret);
		return false;
	}
	if (!worth_claiming(t)) {
		say(t, "no copy can be activated");
		enter(t, TAKEOVER_DONE, now_ns);
		return false;
	}
	say(t, "claims");
	t->claim_sent = true;
	ret->wish = WISH_CLAIM;
	return false;
}

static bool step_done(struct takeover *t, const struct takeover_view *v, uint64_t now_ns)
{
	if (!passed(t, now_ns, TAKEOVER_RETRY_MS))
		return false;
	back_to(t, stores_on(v->gs, t->host) ? TAKEOVER_RANK : TAKEOVER_WATCH, now_ns);
	return false;
}

void takeover_step(struct takeover *t, const struct takeover_view *v, uint64_t now_ns,
		   struct takeover_action *ret)
{
	bool again = true;

	memset(ret, 0, sizeof(*ret));
	t->profile = v->gs->profile;
	/* Who may not activate any more stops asking; a claim that is out is settled. */
	if (!v->may_activate && (t->phase == TAKEOVER_SEAL || t->phase == TAKEOVER_FETCH ||
				 (t->phase == TAKEOVER_CLAIM && !t->claim_sent && !t->ambiguous)))
		back_to(t, TAKEOVER_RANK, now_ns);
	while (again) {
		switch (t->phase) {
		case TAKEOVER_WATCH: again = step_watch(t, v, now_ns); break;
		case TAKEOVER_RANK: again = step_rank(t, v, now_ns, ret); break;
		case TAKEOVER_SEAL: again = step_seal(t, now_ns, ret); break;
		case TAKEOVER_FETCH: again = step_fetch(t, now_ns, ret); break;
		case TAKEOVER_CLAIM: again = step_claim(t, now_ns, ret); break;
		default: again = step_done(t, v, now_ns); break;
		}
	}
}
