// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/managership.h"

#include <string.h>

static bool willing(const struct group_member *mb)
{
	return !mb->maintenance && !mb->stopped;
}

static int index_of(const struct group_state *gs, const char *name)
{
	for (uint32_t i = 0; i < gs->nr_members; i++)
		if (!strcmp(gs->members[i].name, name))
			return i;
	return -1;
}

unsigned manager_rank(const struct group_state *gs, const char *self, const bool *live)
{
	int own = index_of(gs, self), manager = index_of(gs, gs->manager);
	unsigned rank = 0;

	if (!strcmp(gs->manager, self))
		return 0;
	rank += manager >= 0 && live[manager];
	for (int i = 0; own >= 0 && i < (int)gs->nr_members; i++) {
		bool first = willing(&gs->members[i]), we = willing(&gs->members[own]);

		if (i == own || i == manager || !live[i])
			continue;
		rank += first != we ? first : i < own;
	}
	return rank;
}

const char *manager_successor(const struct group_state *gs, const char *from, const bool *live)
{
	for (uint32_t i = 0; i < gs->nr_members; i++)
		if (live[i] && willing(&gs->members[i]) && strcmp(gs->members[i].name, from))
			return gs->members[i].name;
	return NULL;
}
