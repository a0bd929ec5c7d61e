// SPDX-License-Identifier: GPL-2.0
/* What a copy makes of the store's other copies: what they need, and if they are enough. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "daemon/health/others.h"

#define QUOTA	(4ull << 30)
#define HOUR	3600000ull

static struct other_copy list[4];
static struct others o;
static struct lag_copies few;

/* n1 is active, n2 we; n3 replays at once, n4 late. */
static void setup(void)
{
	memset(list, 0, sizeof(list));
	memset(&o, 0, sizeof(o));
	memset(&few, 0, sizeof(few));
	for (unsigned i = 0; i < 4; i++) {
		snprintf(list[i].member, sizeof(list[i].member), "n%u", i + 1);
		list[i].healthy = list[i].answers = list[i].known = true;
	}
	list[0].active = list[1].self = list[3].lagged = true;
	list[0].lsn = 9000;
	list[1].lsn = 10;
	list[2].lsn = 5000;
	list[3].lsn = 8000;
}

TestSuite(others, .init = setup);

Test(others, the_one_furthest_behind_counts)
{
	cr_assert_eq(others_low(&o, list, 4, QUOTA), 5000);
	list[2].lsn = 8500;
	cr_assert_eq(others_low(&o, list, 4, QUOTA), 8000);
}

Test(others, two_members_need_nothing_of_each_other)
{
	cr_assert_eq(others_low(&o, list, 2, QUOTA), UINT64_MAX);
	cr_assert_eq(others_low(&o, list, 0, QUOTA), UINT64_MAX);
}

Test(others, who_is_silent_needs_what_it_needed_last)
{
	cr_assert_eq(others_low(&o, list, 4, QUOTA), 5000);
	list[2].known = list[2].answers = false;
	list[2].lsn = 0;
	list[3].lsn = 8800;
	cr_assert_eq(others_low(&o, list, 4, QUOTA), 5000);
	cr_assert_eq(others_low(&o, list, 4, QUOTA), 5000, "it is remembered for more than one look");
	cr_assert_eq(others_low(&o, list, 4, 0), 8800, "but not for ever without a quota");
	list[2].known = true;
	list[2].lsn = 6000;
	cr_assert_eq(others_low(&o, list, 4, QUOTA), 6000);
}

Test(others, who_never_spoke_needs_nothing_that_is_known)
{
	list[2].known = false;
	cr_assert_eq(others_low(&o, list, 4, QUOTA), 8000);
}

Test(others, a_suspended_copy_counts_up_to_the_quota)
{
	list[2].suspended = true;
	cr_assert_eq(others_low(&o, list, 4, QUOTA), 5000);
	cr_assert_eq(others_low(&o, list, 4, 0), 8000);
}

Test(others, a_copy_that_was_removed_is_forgotten)
{
	cr_assert_eq(others_low(&o, list, 4, QUOTA), 5000);
	list[2] = list[3];
	cr_assert_eq(others_low(&o, list, 3, QUOTA), 8000);
	cr_assert_eq(o.nr, 1);
}

Test(others, too_few_for_a_day)
{
	cr_assert_not(others_few(&few, list, 4, 0, LAG_COPIES_AFTER_MS));
	list[2].healthy = false;
	for (uint64_t h = 1; h <= 30; h++)
		cr_assert_eq(others_few(&few, list, 4, h * HOUR, LAG_COPIES_AFTER_MS), h >= 25, "%lu", h);
	list[2].healthy = true;
	cr_assert_not(others_few(&few, list, 4, 31 * HOUR, LAG_COPIES_AFTER_MS), "and it ends at once");
}

Test(others, a_lagged_copy_replaces_none)
{
	list[3].healthy = false;
	cr_assert_not(others_few(&few, list, 4, 0, 0), "nor does it matter");
	list[3].healthy = true;
	list[2].healthy = false;
	cr_assert(others_few(&few, list, 4, 0, 0));
}

Test(others, who_is_cut_off_counts_nothing)
{
	for (unsigned i = 0; i < 4; i++)
		list[i].healthy = list[i].answers = i == 1;
	cr_assert_not(others_few(&few, list, 4, 0, 0));
	cr_assert_not(others_few(&few, list, 4, 100 * HOUR, LAG_COPIES_AFTER_MS));
	/* the time begins when the others are seen again, and are not healthy */
	list[2].answers = true;
	cr_assert_not(others_few(&few, list, 4, 101 * HOUR, LAG_COPIES_AFTER_MS));
	cr_assert(others_few(&few, list, 4, 125 * HOUR, LAG_COPIES_AFTER_MS));
}
