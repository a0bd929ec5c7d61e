// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/quorum.h"

#include <stdio.h>
#include <string.h>

static bool is_in(const char names[][64], unsigned nr, const char *name)
{
	for (unsigned i = 0; i < nr; i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

static void add(struct quorum_plan *p, const char *name)
{
	snprintf(p->voter[p->nr++], sizeof(p->voter[0]), "%s", name);
}

/* Who votes stays a voter; then the others in the order of the group. */
static void add_members(struct quorum_plan *p, const struct group_state *gs, unsigned want)
{
	for (int voters = 1; voters >= 0; voters--)
		for (uint32_t i = 0; i < gs->nr_members && p->nr < want; i++)
			if (!gs->members[i].stopped && gs->members[i].voter == (bool)voters)
				add(p, gs->members[i].name);
}

void quorum_plan(const struct group_state *gs, struct quorum_plan *ret)
{
	unsigned members = 0, want;
	bool witness;

	memset(ret, 0, sizeof(*ret));
	for (uint32_t i = 0; i < gs->nr_members; i++)
		members += !gs->members[i].stopped;
	/* Beyond seven the votes are odd without it. */
	witness = gs->witness.name[0] && members && members % 2 == 0 && members < QUORUM_VOTERS_MAX;
	want = members < QUORUM_VOTERS_MAX ? members : QUORUM_VOTERS_MAX;
	if (want && want % 2 == 0 && !witness)
		want--;
	add_members(ret, gs, want);
	if (witness)
		add(ret, gs->witness.name);
	ret->model = witness ? QUORUM_MAJORITY_AND_WITNESS : QUORUM_MAJORITY;
	ret->manual_only = members == 2 && !witness;
}

int quorum_step(const struct quorum_plan *plan, const char have[][64], unsigned nr, char ret[64])
{
	for (unsigned i = 0; i < plan->nr; i++) {
		if (is_in(have, nr, plan->voter[i]))
			continue;
		memcpy(ret, plan->voter[i], 64);
		return 1;
	}
	for (unsigned i = 0; i < nr; i++) {
		if (is_in(plan->voter, plan->nr, have[i]))
			continue;
		memcpy(ret, have[i], 64);
		return -1;
	}
	return 0;
}

const char *quorum_model_name(enum quorum_model model)
{
	return model == QUORUM_MAJORITY_AND_WITNESS ? "majority of members and witness" :
						      "majority of members";
}
