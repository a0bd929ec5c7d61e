// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/route.h"

#define HOLD_BEATS	20
#define HOLD_NS_MIN	1000000000ull
#define DOUBLINGS_MAX	6
#define SOON		10		/* holds: failed that soon after it was gone back to */
#define SETTLE_BEATS	5		/* at first, for the best one to come up */
#define GIVE_UP_NS	10000000000ull	/* all down: no path is better than another */

void route_init(struct route *r)
{
	*r = (struct route){ .at = -1 };
}

uint64_t route_hold_ns(const struct route *r, uint64_t interval_ns)
{
	uint64_t hold = HOLD_BEATS * interval_ns;

	return (hold > HOLD_NS_MIN ? hold : HOLD_NS_MIN) << r->doublings;
}

/* Lower is better: a client network is not taken because a better one loses some. */
static unsigned cost(const struct route_option *opt)
{
	return opt->rank * 2 + opt->lossy;
}

static bool usable(const struct route_option *opt)
{
	return opt->up && opt->rank != PATH_BEATS_ONLY;
}

static void move(struct route *r, int to, bool back, uint64_t now_ns)
{
	r->at = to;
	r->since_ns = now_ns;
	r->back = back;
}

/* Nothing is chosen yet and the best of all may be about to come up: a moment's
 * patience saves the log from moving right after its start. */
static bool settling(struct route *r, const struct route_option *opt, unsigned nr, int best,
		     uint64_t now_ns, uint64_t interval_ns)
{
	unsigned i;

	if (!r->first_ns)
		r->first_ns = now_ns;
	if (now_ns - r->first_ns >= SETTLE_BEATS * interval_ns)
		return false;
	for (i = 0; i < nr; i++)
		if (!opt[i].up && opt[i].rank < opt[best].rank)
			return true;
	return false;
}

int route_choose(struct route *r, const struct route_option *opt, unsigned nr, uint64_t now_ns,
		 uint64_t interval_ns)
{
	uint64_t hold = route_hold_ns(r, interval_ns);
	int best = -1, ready = -1;
	unsigned i;

	for (i = 0; i < nr; i++) {
		if (!usable(&opt[i]))
			continue;
		if (best < 0 || cost(&opt[i]) < cost(&opt[best]))
			best = i;
		if (now_ns - opt[i].up_since_ns >= hold &&
		    (ready < 0 || cost(&opt[i]) < cost(&opt[ready])))
			ready = i;
	}
	if (r->at >= (int)nr || (r->at >= 0 && opt[r->at].rank == PATH_BEATS_ONLY))
		r->at = -1;
	if (best < 0) {
		if (!r->down_ns)
			r->down_ns = now_ns;
		if (now_ns - r->down_ns > GIVE_UP_NS)
			r->at = -1;
		return r->at;
	}
	r->down_ns = 0;
	if (r->at < 0) {
		if (settling(r, opt, nr, best, now_ns, interval_ns))
			return -1;
		r->first_ns = 0;
		move(r, best, false, now_ns);
	} else if (!opt[r->at].up) {
		if (r->back && now_ns - r->since_ns < SOON * hold && r->doublings < DOUBLINGS_MAX)
			r->doublings++;
		move(r, best, false, now_ns);
	} else if (ready >= 0 && cost(&opt[ready]) < cost(&opt[r->at])) {
		move(r, ready, true, now_ns);
	} else if (r->back && now_ns - r->since_ns >= SOON * hold) {
		r->doublings = 0;
	}
	return r->at;
}
