// SPDX-License-Identifier: GPL-2.0
/* lease: the rule that the claim comes after the last write, whatever the clocks do. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/group/lease.h"

#define MS 1000000ull

static struct group_profile lan(void)
{
	struct group_profile p;

	cr_assert_eq(lease_profile_named("lan", &p), 0);
	return p;
}

Test(lease, named_profiles_are_valid_and_found_again)
{
	static const char *const names[] = { "lan", "wan", "fast" };
	struct group_profile p = { .lease_ms = 7 };
	char err[160];

	cr_assert_eq(lease_profile_named("moon", &p), -EINVAL);
	cr_assert_eq(p.lease_ms, 7, "untouched on failure");
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(lease_profile_named(names[i], &p), 0);
		cr_assert_str_eq(lease_profile_name(&p), names[i]);
		cr_assert_eq(lease_profile_check(&p, 50, err, sizeof(err)), 0, "%s", err);
	}
	p.heartbeat_ms++;
	cr_assert_str_eq(lease_profile_name(&p), "custom");
}

Test(lease, combinations_that_cannot_be_safe_are_refused_with_a_value_that_is)
{
	struct group_profile p = lan();
	char err[160];
	unsigned least;

	p.lease_ms = 540;
	cr_assert_eq(lease_profile_check(&p, 20, err, sizeof(err)), -EINVAL);
	cr_assert_eq(sscanf(strrchr(err, ':'), ": %u ms", &least), 1, "%s", err);
	p.lease_ms = least;
	cr_assert_eq(lease_profile_check(&p, 20, err, sizeof(err)), 0, "the value that it named does");
	cr_assert_gt(lease_deadline_ns(&p, 0), (500 + 100 + 20) * MS, "L(1-rho) > E + P + R");
	p.lease_ms = least - 1;
	cr_assert_eq(lease_profile_check(&p, 20, err, sizeof(err)), -EINVAL, "and no less");

	p = lan();
	cr_assert_eq(lease_profile_check(&p, 940, err, sizeof(err)), -EINVAL, "round trip counts");
	p = lan();
	p.engine_heartbeat_ms = 61;
	cr_assert_eq(lease_profile_check(&p, 0, err, sizeof(err)), -EINVAL);
	cr_assert(strstr(err, "305 ms"), "%s", err);
	p = lan();
	p.lease_period_ms = 501;
	cr_assert_eq(lease_profile_check(&p, 0, err, sizeof(err)), -EINVAL, "three periods");
	for (int i = 0; i < 5; i++) {
		p = lan();
		(&p.engine_heartbeat_ms)[i] = 0;
		cr_assert_eq(lease_profile_check(&p, 0, err, sizeof(err)), -EINVAL, "value %d", i);
	}
}

Test(lease, long_leases_do_not_overflow)
{
	struct group_profile p = { .lease_ms = UINT32_MAX };
	uint64_t t0 = 1ull << 60;

	cr_assert_gt(lease_deadline_ns(&p, t0), t0);
	cr_assert_gt(lease_claim_ns(&p, t0), lease_deadline_ns(&p, t0));
}

/* Real time of a local span, for a clock that is fast or slow by ppm. */
static long double real(uint64_t local_ns, int ppm)
{
	return local_ns / (1.0L + ppm / 1000000.0L);
}

Test(lease, the_claim_comes_after_the_last_write_for_all_rates)
{
	struct group_profile p = lan();

	for (int holder = -LEASE_RHO_PPM; holder <= LEASE_RHO_PPM; holder += 1000) {
		for (int observer = -LEASE_RHO_PPM; observer <= LEASE_RHO_PPM; observer += 1000) {
			/* sent, committed and seen in the same instant: the worst case */
			long double last = real(lease_deadline_ns(&p, 0), holder);
			long double claim = real(lease_claim_ns(&p, 0), observer);

			cr_assert_gt(claim, last, "holder %d observer %d", holder, observer);
		}
	}
}

Test(lease, watch_counts_from_the_first_sight)
{
	struct group_profile p = lan();
	struct lease_watch w = { 0 };
	uint64_t t = 5000 * MS, claim = lease_claim_ns(&p, t);

	cr_assert_not(lease_watch_over(&w, &p, UINT64_MAX), "never read: never over");
	cr_assert(lease_watch_note(&w, 10, 1, false, t));
	cr_assert_not(lease_watch_over(&w, &p, claim - 1));
	cr_assert(lease_watch_over(&w, &p, claim));
	cr_assert_not(lease_watch_note(&w, 10, 1, false, claim), "read again is not renewed");
	cr_assert_eq(w.seen_ns, t);
	cr_assert_not(lease_watch_note(&w, 9, 1, true, claim), "a stale read");
	cr_assert_not(w.released);
	cr_assert(lease_watch_note(&w, 11, 1, false, claim));
	cr_assert_not(lease_watch_over(&w, &p, claim + 1), "renewed");
	cr_assert_eq(lease_deadline_ns(&p, 0), 841500000ull);
	cr_assert_eq(lease_claim_ns(&p, 0), 868500000ull);
}

Test(lease, a_released_lease_is_not_waited_for)
{
	struct group_profile p = lan();
	struct lease_watch w = { 0 };

	lease_watch_note(&w, 10, 1, false, 0);
	cr_assert(lease_watch_note(&w, 11, 1, true, MS));
	cr_assert(lease_watch_over(&w, &p, MS));
	cr_assert(lease_watch_note(&w, 12, 1, false, 2 * MS), "taken up again");
	cr_assert_not(lease_watch_over(&w, &p, 2 * MS));
}

Test(lease, a_new_fence_is_news_whatever_the_revision_is)
{
	struct group_profile p = lan();
	struct lease_watch w = { 0 };

	lease_watch_note(&w, 10, 1, true, 0);
	cr_assert(lease_watch_note(&w, 9, 2, false, MS));
	cr_assert_eq(w.fence, 2);
	cr_assert_eq(w.rev, 10);
	cr_assert(lease_watch_over(&w, &p, MS), "the release was of a newer revision");
}

/* The group goes from a long lease to a short one while a host holds the long one. */
Test(lease, a_shorter_profile_does_not_shorten_what_was_given)
{
	struct group_profile wan, fast;
	struct lease_watch w = { .known = false };

	lease_profile_named("wan", &wan);
	lease_profile_named("fast", &fast);
	lease_watch_note(&w, 10, 1, false, 0);
	w.lease_ms = wan.lease_ms;
	cr_assert_not(lease_watch_over(&w, &fast, lease_deadline_ns(&wan, 0)));
	cr_assert(lease_watch_over(&w, &fast, lease_claim_ns(&wan, 0)));
	/* and the longer one of a profile counts from the moment it is known */
	w.lease_ms = fast.lease_ms;
	cr_assert_not(lease_watch_over(&w, &wan, lease_claim_ns(&wan, 0) - 1));
}
