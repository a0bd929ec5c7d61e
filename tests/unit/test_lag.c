// SPDX-License-Identifier: GPL-2.0
/* The lag of a copy: clocks that are stepped, settings that change, what plays it down. */
#include <criterion/criterion.h>
#include <string.h>

#include "daemon/replay/lag.h"

#define S	1000000000ull		/* ns */
#define HOUR	(3600 * S)
#define DAY	(24 * HOUR)
#define T0	(1700000000ull * S)	/* a day in 2023 */
#define MIB	(1ull << 20)
#define GIB	(1ull << 30)

static struct lag_clock lc;
static struct lag_arrivals ar;
static struct lag_rule rule;
static struct lag_view v;
static struct lag_verdict is;

static void setup(void)
{
	memset(&lc, 0, sizeof(lc));
	memset(&ar, 0, sizeof(ar));
	rule = (struct lag_rule){ .replay_ms = 3600000, .truncation_ms = 7200000 };
	v = (struct lag_view){ .rule = &rule, .now_ns = T0, .oldest_lsn = 1000 };
}

TestSuite(lag, .init = setup);

static bool may(uint64_t lsn, uint64_t time_ns)
{
	lag_decide(&v, &is);
	return lag_may_replay(&is.limit, lsn, time_ns);
}

static bool may_go(uint64_t end_lsn, uint64_t next_time_ns)
{
	lag_decide(&v, &is);
	return end_lsn <= is.keep.free_lsn || next_time_ns <= is.keep.until_ns;
}

/* ---- the clock ------------------------------------------------------------------ */

Test(lag, the_clock_follows_the_wall)
{
	for (uint64_t s = 0; s < 1000; s++)
		cr_assert_eq(lag_clock_ns(&lc, T0 + s * S, 50 * S + s * S), T0 + s * S);
}

Test(lag, a_step_ahead_sets_nothing_free_at_once)
{
	uint64_t s;

	lag_clock_ns(&lc, T0, 0);
	/* an hour ahead: each second counts for a little more until it is made up for */
	for (s = 1; s <= 8 * 3600; s++)
		cr_assert_eq(lag_clock_ns(&lc, T0 + HOUR + s * S, s * S), T0 + s * (S + S / 8));
	for (; s <= 9 * 3600; s++)
		cr_assert_eq(lag_clock_ns(&lc, T0 + HOUR + s * S, s * S), T0 + HOUR + s * S);
}

Test(lag, a_step_ahead_that_is_taken_back_costs_little)
{
	lag_clock_ns(&lc, T0, 0);
	cr_assert_eq(lag_clock_ns(&lc, T0 + HOUR + 80 * S, 80 * S), T0 + 90 * S);
	cr_assert_eq(lag_clock_ns(&lc, T0 + 81 * S, 81 * S), T0 + 81 * S);
}

Test(lag, a_step_back_holds_longer)
{
	lag_clock_ns(&lc, T0, 0);
	cr_assert_eq(lag_clock_ns(&lc, T0 - HOUR, S), T0 - HOUR);
	cr_assert_eq(lag_clock_ns(&lc, T0 - HOUR + S, 2 * S), T0 - HOUR + S);
}

/* ---- arrivals --------------------------------------------------------------------- */

Test(lag, what_arrived_is_remembered_finely_enough)
{
	const uint64_t lag = HOUR;

	/* ten hours of one record a second, 100 bytes each */
	for (uint64_t s = 1; s <= 36000; s++) {
		uint64_t by, want;

		lag_arrived(&ar, 100 * s, s * S, lag);
		cr_assert_leq(ar.nr, LAG_ARRIVALS);
		if (s * S < 2 * lag)
			continue;
		by = lag_arrived_by(&ar, s * S - lag);
		want = 100 * (s - 3600);
		cr_assert_leq(by, want, "never earlier than the lag");
		cr_assert_geq(by + 100 * 3600 / 30, want, "and not much later");
	}
}

Test(lag, a_lag_that_grows_and_shrinks)
{
	uint64_t s;

	for (s = 1; s <= 7200; s++)
		lag_arrived(&ar, 100 * s, s * S, HOUR);
	for (; s <= 200000; s++) {
		lag_arrived(&ar, 100 * s, s * S, DAY);
		cr_assert_leq(lag_arrived_by(&ar, s * S - (s * S < DAY ? s * S : DAY)),
			      s <= 86400 ? 0 : 100 * (s - 86400));
	}
	cr_assert_geq(lag_arrived_by(&ar, (s - 86400) * S), 100 * (s - 86400 - 2 * 86400 / 60));
	for (; s <= 210000; s++)
		lag_arrived(&ar, 100 * s, s * S, 60 * S);
	cr_assert_geq(lag_arrived_by(&ar, (s - 60) * S), 100 * (s - 64));
}

Test(lag, a_log_that_is_cut_takes_its_arrivals_along)
{
	lag_arrived(&ar, 1000, 100 * S, 60 * S);
	lag_arrived(&ar, 2000, 200 * S, 60 * S);
	lag_arrived(&ar, 500, 300 * S, 60 * S);
	cr_assert_eq(lag_arrived_by(&ar, 250 * S), 0);
	cr_assert_eq(lag_arrived_by(&ar, 300 * S), 500);
}

/* ---- what may be replayed ------------------------------------------------------------ */

Test(lag, holds_by_the_time_of_the_record)
{
	cr_assert(may(5000, T0 - HOUR));
	cr_assert_not(may(5000, T0 - HOUR + 1));
	cr_assert_not(may(5000, T0 + DAY));
	cr_assert(is.held);
	cr_assert_eq(is.cause, LAG_NONE);
}

Test(lag, a_record_of_the_future_is_held_from_its_arrival)
{
	v.arrived_lsn = 6000;
	cr_assert(may(5999, T0 + 100 * DAY));
	cr_assert_not(may(6000, T0 + 100 * DAY));
	cr_assert(may(6000, T0 - HOUR));
}

Test(lag, never_stops_within_what_is_no_image)
{
	v.whole_lsn = 9000;
	cr_assert(may(8999, T0));
	cr_assert_not(may(9000, T0));
}

Test(lag, of_none_and_of_fourteen_days)
{
	rule = (struct lag_rule){ 0 };
	cr_assert(may(5000, UINT64_MAX));
	cr_assert_not(is.held);
	cr_assert(may_go(5000, UINT64_MAX));
	rule = (struct lag_rule){ .replay_ms = LAG_MS_MAX, .truncation_ms = LAG_MS_MAX };
	cr_assert(may(5000, T0 - 14 * DAY));
	cr_assert_not(may(5000, T0 - 14 * DAY + 1));
	cr_assert(may_go(5000, T0 - 28 * DAY));
	cr_assert_not(may_go(5000, T0 - 28 * DAY + 1));
	v.now_ns = S;		/* a host without a clock: in 1970 */
	cr_assert_not(may(5000, S));
	cr_assert_not(may_go(5000, S));
}

Test(lag, off_and_on_again)
{
	rule.off = true;
	v.few = v.repair = true;
	cr_assert(may(5000, UINT64_MAX));
	cr_assert_not(is.held);
	cr_assert_eq(is.cause, LAG_NONE, "nothing is played down that is off");
	cr_assert(may_go(5000, UINT64_MAX), "it truncates as a copy without lag");
	rule.off = v.few = v.repair = false;
	cr_assert_not(may(5000, T0));
	cr_assert(is.held);
}

Test(lag, changed_live)
{
	cr_assert(may(5000, T0 - HOUR));
	rule.replay_ms *= 2;
	cr_assert_not(may(5000, T0 - HOUR));
	rule.replay_ms = 1000;
	cr_assert(may(5000, T0 - S));
}

Test(lag, truncation_lag_alone_keeps_what_is_replayed)
{
	rule.replay_ms = 0;
	cr_assert(may(5000, T0));
	cr_assert_not(is.held);
	cr_assert_not(may_go(5000, T0 - 2 * HOUR + 1));
	cr_assert(may_go(5000, T0 - 2 * HOUR));
}

Test(lag, keeps_for_both_lags)
{
	cr_assert_not(may_go(5000, T0 - 3 * HOUR + 1));
	cr_assert(may_go(5000, T0 - 3 * HOUR));
}

/* ---- playing down ----------------------------------------------------------------------- */

Test(lag, each_cause_and_its_end)
{
	bool *const wishes[] = { &v.activation, &v.repair, &v.few };
	static const enum lag_cause causes[] = { LAG_ACTIVATION, LAG_REPAIR, LAG_COPIES };

	for (unsigned i = 0; i < 3; i++) {
		*wishes[i] = true;
		cr_assert(may(5000, UINT64_MAX));
		cr_assert_eq(is.cause, causes[i]);
		cr_assert_not(is.held);
		cr_assert_not(may_go(5000, T0 - HOUR), "the truncation lag stays");
		cr_assert_neq(lag_cause_text(causes[i])[0], '\0');
		*wishes[i] = false;
		cr_assert_not(may(5000, T0));
		cr_assert_eq(is.cause, LAG_NONE);
	}
}

Test(lag, space_takes_the_oldest_and_no_more)
{
	v.short_bytes = 3000;
	cr_assert(may(3999, T0));
	cr_assert_not(may(4000, T0));
	cr_assert_eq(is.cause, LAG_SPACE);
	cr_assert(may_go(4000, T0));
	cr_assert_not(may_go(4001, T0));
	v.repair = true;
	cr_assert(may(UINT64_MAX, UINT64_MAX), "another cause takes all");
	cr_assert_eq(is.cause, LAG_REPAIR);
}

Test(lag, short_of_quota)
{
	struct lag_space s = { .quota_bytes = 4 * GIB, .segment_bytes = 64 * MIB };

	s.log_bytes = 3 * GIB;
	cr_assert_eq(lag_space_short(&s, false), 0);
	s.log_bytes = 4 * GIB - 4 * GIB / 5 + 1;
	cr_assert_gt(lag_space_short(&s, false), 4 * GIB / 10, "to where it ends");
	s.log_bytes = 3 * GIB;
	cr_assert_gt(lag_space_short(&s, true), 0, "it lasts until there is half as much again");
	s.log_bytes = 4 * GIB - 3 * (4 * GIB / 5) / 2;
	cr_assert_eq(lag_space_short(&s, true), 0);
	s.log_bytes = 5 * GIB;
	cr_assert_gt(lag_space_short(&s, true), GIB);
}

Test(lag, a_quota_of_few_segments)
{
	struct lag_space s = { .quota_bytes = 256 * MIB, .segment_bytes = 64 * MIB };

	s.log_bytes = 64 * MIB;
	cr_assert_eq(lag_space_short(&s, false), 0);
	s.log_bytes = 192 * MIB;
	cr_assert_geq(lag_space_short(&s, false), 64 * MIB, "a whole segment at least");
}

Test(lag, short_of_file_system)
{
	struct lag_space s = { .total_bytes = 10 * GIB, .left_bytes = GIB, .segment_bytes = 64 * MIB };

	cr_assert_eq(lag_space_short(&s, false), 0);
	s.left_bytes = 600 * MIB;
	cr_assert_gt(lag_space_short(&s, false), 0);
	s.total_bytes = 10000 * GIB;
	s.left_bytes = 2 * GIB;
	cr_assert_eq(lag_space_short(&s, false), 0, "of a large one no twentieth is asked for");
	s.left_bytes = 1100 * MIB;
	cr_assert_gt(lag_space_short(&s, false), 0);
	s.total_bytes = s.left_bytes = 0;
	cr_assert_eq(lag_space_short(&s, false), 0, "what cannot be told is not short");
}

Test(lag, an_append_without_room_is_short)
{
	struct lag_space s = { .full = true, .segment_bytes = 64 * MIB };

	cr_assert_gt(lag_space_short(&s, false), 64 * MIB);
}

Test(lag, all_copies_that_there_are_may_be_enough)
{
	struct lag_copies c = { 0 };

	cr_assert_not(lag_copies_few(&c, 2, 2, 0, 0), "a group of three: two and a lagged one");
	cr_assert_not(lag_copies_few(&c, 3, 5, 0, 0));
	cr_assert(lag_copies_few(&c, 2, 5, 0, 0));
	cr_assert(lag_copies_few(&c, 1, 2, 0, 0));
	cr_assert_not(lag_copies_few(&c, 0, 0, 0, 0));
}

Test(lag, a_moment_of_health_begins_the_day_anew)
{
	struct lag_copies c = { 0 };
	const uint64_t after = LAG_COPIES_AFTER_MS;

	cr_assert_not(lag_copies_few(&c, 2, 3, 1000, after));
	cr_assert_not(lag_copies_few(&c, 2, 3, 1000 + after - 1, after));
	cr_assert_not(lag_copies_few(&c, 3, 3, 1000 + after, after));
	cr_assert_not(lag_copies_few(&c, 2, 3, 1001 + after, after));
	cr_assert(lag_copies_few(&c, 2, 3, 1001 + 2 * after, after));
}
