// SPDX-License-Identifier: GPL-2.0
/* dac: who may activate after a start. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "daemon/group/dac.h"

static struct group_state gs;

static void group_of(unsigned members, bool witness)
{
	cr_assert_eq(group_state_init(&gs), 0);
	gs.generation = 1;
	gs.nr_members = members;
	for (unsigned i = 0; i < members; i++)
		snprintf(gs.members[i].name, 64, "m%u", i);
	if (witness)
		strcpy(gs.witness.name, "w");
}

static void done(void)
{
	group_state_free(&gs);
}

static struct dac started(void)
{
	struct dac d;

	dac_init(&d, 1, false);
	dac_update(&d, &gs, "m0");
	return d;
}

Test(dac, a_group_of_one_needs_nobody, .fini = done)
{
	struct dac d;

	group_of(1, false);
	dac_init(&d, 1, false);
	cr_assert_not(dac_may_activate(&d), "not before it knows its group");
	dac_update(&d, &gs, "m0");
	cr_assert(dac_may_activate(&d));
}

Test(dac, a_member_that_may_is_enough, .fini = done)
{
	struct dac d;

	group_of(3, false);
	d = started();
	cr_assert_not(dac_may_activate(&d));
	dac_heard(&d, "m1", 1, false);
	dac_update(&d, &gs, "m0");
	cr_assert_not(dac_may_activate(&d), "one that may not does not help");
	dac_heard(&d, "m1", 1, true);
	cr_assert(dac_may_activate(&d), "%s", d.why);
}

Test(dac, all_members_and_the_witness_are_enough, .fini = done)
{
	struct dac d;

	group_of(2, true);
	d = started();
	dac_heard(&d, "m1", 1, false);
	dac_update(&d, &gs, "m0");
	cr_assert_not(dac_may_activate(&d), "the witness may know of another activation");
	cr_assert(strstr(d.why, "w"));
	dac_heard(&d, "w", 1, false);
	dac_update(&d, &gs, "m0");
	cr_assert(dac_may_activate(&d), "%s", d.why);

	gs.members[1].stopped = true;
	d = started();
	dac_heard(&d, "w", 1, false);
	dac_update(&d, &gs, "m0");
	cr_assert(dac_may_activate(&d), "stopped members are not waited for: %s", d.why);
}

Test(dac, a_later_generation_shuts_it_for_good, .fini = done)
{
	struct dac d;

	group_of(3, false);
	d = started();
	dac_heard(&d, "m1", 1, true);
	dac_heard(&d, "m2", 2, true);
	cr_assert_not(dac_may_activate(&d));
	dac_heard(&d, "m1", 1, true);
	dac_update(&d, &gs, "m0");
	cr_assert_not(dac_may_activate(&d), "nobody of the old generation can open it again");
	dac_confirm(&d);
	cr_assert_not(dac_may_activate(&d), "nor a person, before it has rejoined");
	d.off = true;
	cr_assert_not(dac_may_activate(&d), "nor the switch");
	gs.generation = 2;
	dac_update(&d, &gs, "m0");
	cr_assert_not(dac_may_activate(&d), "what was heard before does not count");
	dac_heard(&d, "m2", 2, true);
	cr_assert(dac_may_activate(&d));
}

Test(dac, an_older_generation_opens_nothing, .fini = done)
{
	struct dac d;

	group_of(3, false);
	gs.generation = 5;
	dac_init(&d, 5, false);
	dac_heard(&d, "m1", 4, true);
	dac_update(&d, &gs, "m0");
	cr_assert_not(dac_may_activate(&d));
}

Test(dac, switched_off_or_confirmed, .fini = done)
{
	struct dac d;

	group_of(3, false);
	d = started();
	dac_confirm(&d);
	cr_assert(dac_may_activate(&d));
	d = started();
	gs.no_dac = true;
	dac_update(&d, &gs, "m0");
	cr_assert(dac_may_activate(&d));
}

Test(dac, strangers_do_not_fill_the_list, .fini = done)
{
	struct dac d;
	char name[64];

	group_of(3, false);
	d = started();
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "x%d", i);
		dac_heard(&d, name, 1, false);
	}
	dac_update(&d, &gs, "m0");
	dac_heard(&d, "m1", 1, false);
	dac_heard(&d, "m2", 1, false);
	dac_update(&d, &gs, "m0");
	cr_assert(dac_may_activate(&d), "%s", d.why);
}
