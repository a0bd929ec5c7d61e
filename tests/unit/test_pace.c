// SPDX-License-Identifier: GPL-2.0
/* pace: a seed goes as fast as it may and no faster, and says how fast it went. */
#include <criterion/criterion.h>
#include <string.h>

#include "daemon/store/pace.h"

#define MIB	(1ull << 20)

static struct pace p;
static uint64_t now;

static void setup(void)
{
	memset(&p, 0, sizeof(p));
	now = 1000000;
}

TestSuite(pace, .init = setup);

/* Take pieces as a seeder does for so long; how many bytes. */
static uint64_t run(uint64_t ms, uint64_t max)
{
	uint64_t end = now + ms, taken = 0;

	while (now < end) {
		uint64_t wait = pace_wait_ms(&p, now), n = pace_piece(&p, max);

		if (wait) {
			now += wait;
			continue;
		}
		pace_take(&p, n);
		taken += n;
		if (!p.rate)
			now++;
	}
	return taken;
}

Test(pace, no_limit_is_none)
{
	cr_assert_eq(pace_wait_ms(&p, now), 0);
	cr_assert_eq(pace_piece(&p, MIB), MIB);
	pace_take(&p, 1ull << 40);
	cr_assert_eq(pace_wait_ms(&p, now), 0);
	pace_set(&p, INT64_MAX, now);
	pace_take(&p, 1ull << 40);
	cr_assert_eq(pace_wait_ms(&p, now), 0, "as fast as that is no limit");
}

Test(pace, never_faster_than_it_may)
{
	static const uint64_t rates[] = { 1, 1000, 64 << 10, 100000, MIB, 50 * MIB, 10240 * MIB };

	for (unsigned i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		uint64_t rate = rates[i], taken, piece;

		setup();
		pace_set(&p, rate, now);
		piece = pace_piece(&p, MIB);
		cr_assert_eq(piece % 4096, 0);
		taken = run(10000, MIB);
		cr_assert_leq(taken, rate * 10 + rate / 10 + piece, "%llu of %llu",
			      (unsigned long long)taken, (unsigned long long)rate);
		cr_assert_geq(taken + piece, rate * 10 - rate / 10, "%llu of %llu",
			      (unsigned long long)taken, (unsigned long long)rate);
	}
}

Test(pace, a_pause_is_not_made_good)
{
	pace_set(&p, MIB, now);
	run(1000, MIB);
	now += 3600000;
	cr_assert_leq(run(1000, MIB), MIB + MIB / 10 + 2 * pace_piece(&p, MIB));
}

Test(pace, a_change_counts_at_once)
{
	pace_set(&p, 1000, now);
	pace_take(&p, pace_piece(&p, MIB));
	cr_assert_gt(pace_wait_ms(&p, now), 60000, "64 KiB at 1000 bytes a second");
	pace_set(&p, MIB, now);
	cr_assert_leq(pace_wait_ms(&p, now), 100, "the debt is paid at the new rate");
	pace_set(&p, 0, now);
	cr_assert_eq(pace_wait_ms(&p, now), 0);
	pace_set(&p, MIB, now);
	cr_assert_leq(run(1000, MIB), MIB + MIB / 10 + pace_piece(&p, MIB),
		      "what went without a limit is no debt");
}

Test(pace, the_same_again_changes_nothing)
{
	pace_set(&p, MIB, now);
	for (unsigned i = 0; i < 1000; i++) {
		pace_set(&p, MIB, now);
		if (pace_wait_ms(&p, now))
			break;
		pace_take(&p, MIB);
		cr_assert_lt(i, 5);
	}
}

Test(pace, a_clock_that_goes_back_brings_nothing)
{
	pace_set(&p, MIB, now);
	pace_take(&p, MIB);
	pace_wait_ms(&p, now - 5000);
	cr_assert_gt(pace_wait_ms(&p, now - 5000), 800);
}

Test(pace, pieces_are_small_where_it_is_slow)
{
	pace_set(&p, 1, now);
	cr_assert_eq(pace_piece(&p, MIB), 64 << 10);
	pace_set(&p, 5 * MIB, now);
	cr_assert_eq(pace_piece(&p, MIB), MIB / 2);
	pace_set(&p, 10 * MIB, now);
	cr_assert_eq(pace_piece(&p, MIB), MIB);
}

Test(pace, the_meter_forgets)
{
	struct meter m;
	uint64_t at = 0;

	meter_begin(&m, now);
	cr_assert_eq(meter_rate(&m, 0, now), 0);
	cr_assert_float_eq(meter_rate(&m, 500, now + 1000), 500, 1e-6);
	for (unsigned s = 1; s <= 60; s++) {
		at += s <= 30 ? 1000000 : 10;
		meter_note(&m, at, now + 1000 * s);
	}
	cr_assert_float_eq(meter_rate(&m, at, now + 60000), 10, 1e-6);
	cr_assert_eq(meter_rate(&m, 0, now + 60000), 0, "a new one has begun");
}
