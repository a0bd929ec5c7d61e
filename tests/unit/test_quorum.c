// SPDX-License-Identifier: GPL-2.0
/* quorum: who votes, for every size, and the way there. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "daemon/group/quorum.h"

static struct group_state gs;

static void init(void)
{
	cr_assert_eq(group_state_init(&gs), 0);
}

static void done(void)
{
	group_state_free(&gs);
}

static void members(unsigned n)
{
	gs.nr_members = n;
	for (unsigned i = 0; i < n; i++)
		snprintf(gs.members[i].name, 64, "m%u", i);
}

static bool votes(const struct quorum_plan *p, const char *name)
{
	for (unsigned i = 0; i < p->nr; i++)
		if (!strcmp(p->voter[i], name))
			return true;
	return false;
}

Test(quorum, always_odd_and_at_most_seven, .init = init, .fini = done)
{
	static const unsigned alone[] = { 0, 1, 1, 3, 3, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7 };
	static const unsigned with[] = { 0, 1, 3, 3, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7 };
	struct quorum_plan p;

	for (unsigned n = 0; n <= GROUP_MEMBERS_MAX; n++) {
		members(n);
		gs.witness.name[0] = 0;
		quorum_plan(&gs, &p);
		cr_assert_eq(p.nr, alone[n], "%u members", n);
		cr_assert_eq(p.manual_only, n == 2);
		strcpy(gs.witness.name, "w");
		quorum_plan(&gs, &p);
		cr_assert_eq(p.nr, with[n], "%u members and a witness", n);
		cr_assert_eq(votes(&p, "w"), n == 2 || n == 4 || n == 6, "%u members", n);
		cr_assert_eq(p.model == QUORUM_MAJORITY_AND_WITNESS, votes(&p, "w"));
		cr_assert_not(p.manual_only);
	}
}

Test(quorum, stopped_members_do_not_vote, .init = init, .fini = done)
{
	struct quorum_plan p;

	members(4);
	gs.members[0].stopped = true;
	quorum_plan(&gs, &p);
	cr_assert_eq(p.nr, 3);
	cr_assert_not(votes(&p, "m0"));
}

Test(quorum, voters_keep_their_vote, .init = init, .fini = done)
{
	struct quorum_plan p;

	members(9);
	for (int i = 2; i < 9; i++)
		gs.members[i].voter = true;
	quorum_plan(&gs, &p);
	cr_assert_eq(p.nr, 7);
	cr_assert_not(votes(&p, "m0"));
	cr_assert_not(votes(&p, "m1"));
}

Test(quorum, steps_add_before_they_remove_and_end, .init = init, .fini = done)
{
	char have[16][64] = { "m7", "m1" }, name[64];
	unsigned nr = 2, steps = 0;
	bool removed = false;
	struct quorum_plan p;
	int step;

	members(5);
	quorum_plan(&gs, &p);
	while ((step = quorum_step(&p, have, nr, name)) != 0) {
		cr_assert_lt(steps++, 16, "never ends");
		if (step > 0) {
			cr_assert_not(removed, "%s added after a removal", name);
			strcpy(have[nr++], name);
			continue;
		}
		removed = true;
		cr_assert_str_eq(name, "m7");
		memcpy(have[0], have[--nr], 64);
	}
	cr_assert_eq(nr, p.nr);
	for (unsigned i = 0; i < nr; i++)
		cr_assert(votes(&p, have[i]));
	cr_assert_str_eq(quorum_model_name(p.model), "majority of members");
}
