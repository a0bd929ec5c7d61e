// SPDX-License-Identifier: GPL-2.0
/* The redundancy alert (semantics 37), minute by minute. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "daemon/health/redundancy.h"

#define MIN	60000ull
#define AFTER	(REDUNDANCY_AFTER_S * 1000ull)
#define REPEAT	(REDUNDANCY_REPEAT_S * 1000ull)

static struct redundancy r;

static enum redundancy_event note(unsigned healthy, uint64_t minute, bool speaks)
{
	return redundancy_note(&r, healthy, minute * MIN, AFTER, REPEAT, speaks);
}

static void setup(void)
{
	memset(&r, 0, sizeof(r));
}

TestSuite(redundancy, .init = setup);

Test(redundancy, after_twenty_minutes_and_each_fifteen)
{
	uint64_t m;

	for (m = 100; m <= 200; m++) {
		enum redundancy_event want = m < 120 ? REDUNDANCY_NOTHING : m == 120 ? REDUNDANCY_ALERT :
					     (m - 120) % 15 ? REDUNDANCY_NOTHING : REDUNDANCY_AGAIN;

		cr_assert_eq(note(1, m, true), want, "minute %lu", (unsigned long)m);
		cr_assert_eq(redundancy_alert(&r, m * MIN, AFTER), m >= 120);
	}
	cr_assert_eq(note(2, 201, true), REDUNDANCY_MENDED);
	cr_assert_eq(note(2, 202, true), REDUNDANCY_NOTHING);
	cr_assert_not(redundancy_alert(&r, 300 * MIN, AFTER));
}

Test(redundancy, a_moment_of_health_begins_it_anew)
{
	cr_assert_eq(note(1, 0, true), REDUNDANCY_NOTHING);
	cr_assert_eq(note(2, 19, true), REDUNDANCY_NOTHING);
	cr_assert_eq(note(0, 20, true), REDUNDANCY_NOTHING);
	cr_assert_eq(note(0, 39, true), REDUNDANCY_NOTHING);
	cr_assert_eq(note(0, 40, true), REDUNDANCY_ALERT);
}

/* Who does not speak counts all the same, and goes on where the other stopped. */
Test(redundancy, another_takes_over)
{
	cr_assert_eq(note(1, 0, false), REDUNDANCY_NOTHING);
	cr_assert_eq(note(1, 25, false), REDUNDANCY_NOTHING);
	cr_assert(redundancy_alert(&r, 25 * MIN, AFTER));
	cr_assert_eq(note(1, 26, true), REDUNDANCY_ALERT);
	cr_assert_eq(note(1, 30, false), REDUNDANCY_NOTHING);
	cr_assert_eq(note(2, 31, false), REDUNDANCY_NOTHING, "it is not the one that speaks");
}

static bool answers(void *ctx, const char *member)
{
	return strchr(ctx, member[1]);
}

Test(redundancy, who_speaks)
{
	struct group_store st = { .nr_copies = 3, .active = "n2" };

	for (int i = 0; i < 3; i++)
		snprintf(st.copies[i].member, sizeof(st.copies[i].member), "n%d", i + 1);
	cr_assert_str_eq(redundancy_speaker(&st, answers, "123"), "n2");
	cr_assert_str_eq(redundancy_speaker(&st, answers, "13"), "n1");
	cr_assert_str_eq(redundancy_speaker(&st, answers, "3"), "n3");
	cr_assert_null(redundancy_speaker(&st, answers, ""));
	st.active[0] = '\0';
	cr_assert_str_eq(redundancy_speaker(&st, answers, "123"), "n1");
}
