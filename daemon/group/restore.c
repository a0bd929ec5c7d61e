// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/restore.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool is_lost(struct group_state *gs, const bool *lost, const char *member)
{
	const struct group_member *mb = group_find_member(gs, member);

	return !mb || lost[mb - gs->members];
}

static bool more(const struct group_store *st, const struct candidate *reports, unsigned a, unsigned b)
{
	if (reports[a].log_epoch != reports[b].log_epoch)
		return reports[a].log_epoch > reports[b].log_epoch;
	if (reports[a].end_lsn != reports[b].end_lsn)
		return reports[a].end_lsn > reports[b].end_lsn;
	return st->copies[a].preference < st->copies[b].preference;
}

/* Each copy of the in-sync set has what was acknowledged; one that had only received
 * it may have lost it since. */
static bool has_all(const struct group_store *st, const struct group_copy *cp,
		    const struct candidate *report)
{
	return st->mode != DAGTAP_MODE_ASYNC && cp->in_sync &&
	       !(report->unconfirmed && !st->ack_durable);
}

void restore_choose(struct group_state *gs, const struct group_store *st, const bool *lost,
		    const struct candidate *reports, struct restore_store *ret)
{
	bool complete = false;

	memset(ret, 0, sizeof(*ret));
	ret->copy = -1;
	for (unsigned k = 0; k < st->nr_copies; k++) {
		const struct group_copy *cp = &st->copies[k];

		if (is_lost(gs, lost, cp->member))
			continue;
		if (!strcmp(cp->member, st->active)) {
			ret->copy = k;
			ret->stays = ret->complete = true;
			ret->end_lsn = 0;
			snprintf(ret->why, sizeof(ret->why), "it is active there");
			return;
		}
		if (!reports[k].reachable || !reports[k].whole)
			continue;
		complete |= has_all(st, cp, &reports[k]);
		if (ret->copy < 0 || more(st, reports, k, ret->copy))
			ret->copy = k;
	}
	if (ret->copy < 0) {
		snprintf(ret->why, sizeof(ret->why), "no whole copy is left");
		return;
	}
	ret->end_lsn = reports[ret->copy].end_lsn;
	ret->complete = complete;
	snprintf(ret->why, sizeof(ret->why), "%s, its log ends at lsn=%llu",
		 complete ? "of the copies in sync" : "not known to be in sync: what was acknowledged "
		 "last may be lost", (unsigned long long)ret->end_lsn);
}

static void restore_one(struct group_store *st, const struct restore_store *rs)
{
	if (!st->epoch)
		return;
	st->epoch += GROUP_EPOCHS_LOST;
	st->version++;
	for (uint32_t k = 0; k < st->nr_copies; k++)
		st->copies[k].in_sync = (int)k == rs->copy;
	/* without a copy: fenced, and nobody's until the lost one is back */
	st->start_lsn = rs->stays || rs->copy < 0 ? 0 : rs->end_lsn;
	st->point_lsn = 0;
	if (rs->copy >= 0)
		memcpy(st->active, st->copies[rs->copy].member, sizeof(st->active));
}

int restore_state(struct group_state *gs, const char *self, const bool *lost, bool witness_lost,
		  const struct restore_store *chosen)
{
	if (is_lost(gs, lost, self))
		return -EINVAL;
	for (uint32_t i = 0; i < gs->nr_stores; i++)
		if (!gs->stores[i].removed && gs->stores[i].epoch > UINT32_MAX - 2 * GROUP_EPOCHS_LOST)
			return -EINVAL;
	gs->generation++;
	gs->version++;
	for (uint32_t i = 0; i < gs->nr_members; i++) {
		struct group_member *mb = &gs->members[i];

		mb->stopped = lost[i];
		mb->voter = !strcmp(mb->name, self);
	}
	gs->witness.voter = false;
	if (witness_lost) {
		gs->witness = gs->alternate;
		gs->witness.voter = false;
		memset(&gs->alternate, 0, sizeof(gs->alternate));
	}
	snprintf(gs->manager, sizeof(gs->manager), "%s", self);
	for (uint32_t i = 0; i < gs->nr_stores; i++)
		if (!gs->stores[i].removed)
			restore_one(&gs->stores[i], &chosen[i]);
	return 0;
}
