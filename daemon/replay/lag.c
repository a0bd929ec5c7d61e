// SPDX-License-Identifier: GPL-2.0
#include "daemon/replay/lag.h"

#include <string.h>

#define NS_PER_MS	1000000ull
#define SHARE_MAX	(1ull << 30)	/* of a file system */

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

const char *lag_cause_name(enum lag_cause cause)
{
	static const char *const names[LAG_CAUSES] = {
		"none", "activation", "repair", "copies", "space",
	};

	return cause < LAG_CAUSES ? names[cause] : "unknown";
}

const char *lag_cause_text(enum lag_cause cause)
{
	static const char *const texts[LAG_CAUSES] = {
		"",
		"it is about to be activated",
		"it has to be repaired",
		"too few healthy copies without lag",
		"space is short on its log directory",
	};

	return cause < LAG_CAUSES ? texts[cause] : "unknown";
}

uint64_t lag_clock_ns(struct lag_clock *c, uint64_t wall_ns, uint64_t boot_ns)
{
	uint64_t passed = minus(boot_ns, c->boot_ns);

	if (!c->runs)
		c->ns = wall_ns;
	else
		c->ns = min64(wall_ns, c->ns + passed + passed / LAG_CLOCK_GAIN);
	c->runs = true;
	c->boot_ns = boot_ns;
	return c->ns;
}

void lag_arrived(struct lag_arrivals *a, uint64_t lsn, uint64_t boot_ns, uint64_t lag_ns)
{
	/* A log that was cut: what stood behind its end is not there any more. */
	while (a->nr && a->at[a->nr - 1].lsn > lsn)
		a->nr--;
	if (a->nr && (a->at[a->nr - 1].lsn == lsn ||
		      boot_ns - a->at[a->nr - 1].boot_ns < lag_ns / (LAG_ARRIVALS - 2)))
		return;
	if (a->nr == LAG_ARRIVALS) {
		/* The lag is longer than the points reach: the oldest are past it, or the
		 * lag was raised, and every second one will do. */
		if (boot_ns - a->at[1].boot_ns >= lag_ns) {
			memmove(&a->at[0], &a->at[1], (a->nr - 1) * sizeof(a->at[0]));
			a->nr--;
		} else {
			for (unsigned i = 0; i < a->nr / 2; i++)
				a->at[i] = a->at[2 * i + 1];
			a->nr /= 2;
		}
	}
	a->at[a->nr].lsn = lsn;
	a->at[a->nr++].boot_ns = boot_ns;
}

uint64_t lag_arrived_by(const struct lag_arrivals *a, uint64_t boot_ns)
{
	uint64_t lsn = 0;

	for (unsigned i = 0; i < a->nr && a->at[i].boot_ns <= boot_ns; i++)
		lsn = a->at[i].lsn;
	return lsn;
}

/* Bytes that are missing to what there must be left. */
static uint64_t missing(uint64_t left, uint64_t reserve, bool was)
{
	uint64_t enough = reserve + reserve / 2;

	if (left >= (was ? enough : reserve))
		return 0;
	return enough - left;
}

uint64_t lag_space_short(const struct lag_space *s, bool was)
{
	uint64_t two = 2 * s->segment_bytes, need = s->full ? 1 : 0;

	if (s->quota_bytes)
		need = max64(need, missing(minus(s->quota_bytes, s->log_bytes),
					   min64(max64(s->quota_bytes / 5, two), s->quota_bytes / 2),
					   was));
	if (s->total_bytes)
		need = max64(need, missing(s->left_bytes,
					   min64(two + min64(s->total_bytes / 20, SHARE_MAX),
						 s->total_bytes / 2), was));
	return need ? need + s->segment_bytes : 0;
}

bool lag_copies_few(struct lag_copies *c, unsigned healthy, unsigned configured, uint64_t now_ms,
		    uint64_t after_ms)
{
	if (healthy >= (configured < LAG_COPIES_MIN ? configured : LAG_COPIES_MIN)) {
		c->below = false;
		return false;
	}
	if (!c->below)
		c->since_ms = now_ms;
	c->below = true;
	return now_ms - c->since_ms >= after_ms;
}

static enum lag_cause cause_of(const struct lag_view *v)
{
	if (v->activation)
		return LAG_ACTIVATION;
	if (v->repair)
		return LAG_REPAIR;
	if (v->few)
		return LAG_COPIES;
	return v->short_bytes ? LAG_SPACE : LAG_NONE;
}

void lag_decide(const struct lag_view *v, struct lag_verdict *ret)
{
	uint64_t replay_ns = v->rule->replay_ms * NS_PER_MS;
	uint64_t both_ns = replay_ns + v->rule->truncation_ms * NS_PER_MS, in_the_way = 0;

	memset(ret, 0, sizeof(*ret));
	ret->limit = ret->keep = LAG_NO_LIMIT;
	if (v->rule->off || !both_ns)
		return;
	ret->cause = cause_of(v);
	/* Where space is short the oldest go, as many as are in the way and no more. */
	if (v->short_bytes)
		in_the_way = v->oldest_lsn + v->short_bytes;
	ret->keep.until_ns = minus(v->now_ns, both_ns);
	ret->keep.free_lsn = in_the_way;
	if (!replay_ns || (ret->cause != LAG_NONE && ret->cause != LAG_SPACE))
		return;
	ret->held = true;
	ret->limit.until_ns = minus(v->now_ns, replay_ns);
	ret->limit.free_lsn = max64(in_the_way, max64(v->arrived_lsn, v->whole_lsn));
}
