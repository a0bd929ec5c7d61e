// SPDX-License-Identifier: GPL-2.0
/* managership: one member acts first, and it is not one that is to hold nothing. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "daemon/group/managership.h"

static struct group_state gs;
static bool live[GROUP_MEMBERS_MAX];

static void setup(void)
{
	cr_assert_eq(group_state_init(&gs), 0);
	gs.nr_members = 4;
	for (int i = 0; i < 4; i++) {
		snprintf(gs.members[i].name, sizeof(gs.members[i].name), "n%d", i + 1);
		live[i] = true;
	}
	strcpy(gs.manager, "n2");
}

static void teardown(void)
{
	group_state_free(&gs);
}

TestSuite(managership, .init = setup, .fini = teardown);

static const char *ranks(void)
{
	static char text[32];

	text[0] = '\0';
	for (int i = 0; i < 4; i++)
		sprintf(text + strlen(text), "%u", manager_rank(&gs, gs.members[i].name, live));
	return text;
}

Test(managership, the_manager_is_first_and_the_others_follow_in_order)
{
	cr_assert_str_eq(ranks(), "1023");
	live[1] = false;	/* the manager is gone, though it does not know */
	cr_assert_str_eq(ranks(), "0012");
	live[0] = false;
	cr_assert_str_eq(ranks(), "0001");
	gs.manager[0] = '\0';
	live[0] = live[1] = true;
	cr_assert_str_eq(ranks(), "0123");
	cr_assert_eq(manager_rank(&gs, "n9", live), 0, "no member: nobody asks");
}

Test(managership, maintenance_comes_last_but_comes)
{
	live[1] = false;
	gs.members[0].maintenance = true;
	cr_assert_str_eq(ranks(), "2001");
	gs.members[2].stopped = true;
	cr_assert_str_eq(ranks(), "1020", "n4, then n1, then n3");
	gs.members[3].maintenance = true;
	cr_assert_str_eq(ranks(), "0012");
}

Test(managership, ranks_of_those_that_live_are_never_equal)
{
	for (unsigned bits = 0; bits < 1u << 12; bits++) {
		unsigned seen = 0, nr = 0;

		for (int i = 0; i < 4; i++) {
			live[i] = bits >> i & 1;
			gs.members[i].maintenance = bits >> (4 + i) & 1;
			gs.members[i].stopped = bits >> (8 + i) & 1;
		}
		for (int i = 0; i < 4; i++) {
			if (!live[i])
				continue;
			seen |= 1u << manager_rank(&gs, gs.members[i].name, live);
			nr++;
		}
		cr_assert_eq(__builtin_popcount(seen), (int)nr, "%x", bits);
	}
}

Test(managership, who_follows)
{
	cr_assert_str_eq(manager_successor(&gs, "n2", live), "n1");
	gs.members[0].maintenance = true;
	cr_assert_str_eq(manager_successor(&gs, "n2", live), "n3");
	live[2] = false;
	gs.members[3].stopped = true;
	cr_assert_null(manager_successor(&gs, "n2", live));
}
