// SPDX-License-Identifier: GPL-2.0
/* Where stores should be active: by preference, within a deviation, within limits. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/group/balance.h"

#define STORES	12

static struct balance_store stores[STORES];
static struct balance_member members[4];
static unsigned target[STORES];

/* Copies on these members, the first the most preferred; all eligible. */
static void store(unsigned s, unsigned active, const char *copies)
{
	stores[s].active = active;
	stores[s].nr = 0;
	for (; *copies; copies++) {
		struct balance_copy *c = &stores[s].copy[stores[s].nr++];

		c->member = (unsigned)(*copies - '0');
		c->preference = stores[s].nr;
		c->eligible = true;
	}
}

static void setup(void)
{
	memset(stores, 0, sizeof(stores));
	memset(members, 0, sizeof(members));
}

TestSuite(balance, .init = setup);

Test(balance, everything_to_preference_one)
{
	store(0, 1, "012");
	store(1, 1, "120");
	store(2, 0, "201");
	balance_plan(stores, 3, members, 3, -1, target);
	cr_assert_eq(target[0], 0);
	cr_assert_eq(target[1], 1);
	cr_assert_eq(target[2], 2);
}

Test(balance, not_to_a_copy_that_cannot)
{
	store(0, 2, "012");
	stores[0].copy[0].eligible = false;
	store(1, 0, "10");
	stores[1].copy[0].eligible = stores[1].copy[1].eligible = false;
	balance_plan(stores, 2, members, 3, -1, target);
	cr_assert_eq(target[0], 1);
	cr_assert_eq(target[1], 0, "nobody can: it stays");
}

Test(balance, a_deviation_spreads_them)
{
	for (unsigned s = 0; s < 6; s++)
		store(s, 0, "012");
	balance_plan(stores, 6, members, 3, -1, target);
	for (unsigned s = 0; s < 6; s++)
		cr_assert_eq(target[s], 0);
	balance_plan(stores, 6, members, 3, 0, target);
	for (unsigned m = 0; m < 3; m++) {
		unsigned n = 0;

		for (unsigned s = 0; s < 6; s++)
			n += target[s] == m;
		cr_assert_eq(n, 2, "member %u has %u", m, n);
	}
	/* 100 % more than the mean of 2: four may stay together */
	balance_plan(stores, 6, members, 3, 100, target);
	unsigned n = 0;

	for (unsigned s = 0; s < 6; s++)
		n += target[s] == 0;
	cr_assert_eq(n, 4);
}

Test(balance, members_may_be_full)
{
	members[0].max_active = 1;
	for (unsigned s = 0; s < 3; s++)
		store(s, 1, "01");
	balance_plan(stores, 3, members, 2, -1, target);
	cr_assert_eq(target[0], 0);
	cr_assert_eq(target[1], 1);
	cr_assert_eq(target[2], 1);
}

/* Whatever the input: a target is the active or an eligible copy, and it ends. */
Test(balance, random_plans_hold)
{
	srand(5);
	for (int round = 0; round < 3000; round++) {
		unsigned n = (unsigned)rand() % (STORES + 1), dev = (unsigned)rand() % 120, count[4] = { 0 };

		setup();
		for (unsigned m = 0; m < 4; m++)
			members[m].max_active = (uint32_t)rand() % 4;
		for (unsigned s = 0; s < n; s++) {
			stores[s].active = (unsigned)rand() % 4;
			stores[s].nr = 1 + (unsigned)rand() % 4;
			for (unsigned i = 0; i < stores[s].nr; i++)
				stores[s].copy[i] = (struct balance_copy){ i, 1 + (uint32_t)rand() % 4,
									   rand() % 3 };
		}
		balance_plan(stores, n, members, 4, (int)dev - 10, target);
		for (unsigned s = 0; s < n; s++) {
			bool ok = target[s] == stores[s].active;

			for (unsigned i = 0; i < stores[s].nr; i++)
				ok |= stores[s].copy[i].eligible && stores[s].copy[i].member == target[s];
			cr_assert(ok, "round %d store %u", round, s);
			if (target[s] != stores[s].active)
				count[target[s]]++;
		}
		for (unsigned m = 0; m < 4; m++)
			cr_assert(!members[m].max_active || count[m] <= members[m].max_active);
	}
}

Test(balance, order_for_one)
{
	unsigned order[GROUP_MEMBERS_MAX];

	store(0, 0, "0123");
	members[1].max_preferred = 1;
	members[1].active_now = 1;
	members[2].max_active = 2;
	members[2].active_now = 1;
	cr_assert_eq(balance_order(&stores[0], members, order), 3);
	cr_assert_eq(order[0], 2);
	cr_assert_eq(order[1], 3);
	cr_assert_eq(order[2], 1, "above its preferred number: last");
	members[2].active_now = 2;
	stores[0].copy[3].eligible = false;
	cr_assert_eq(balance_order(&stores[0], members, order), 1);
	cr_assert_eq(order[0], 1);
}
