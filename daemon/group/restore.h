/* SPDX-License-Identifier: GPL-2.0 */
/*
 * restore - what a group becomes whose majority is lost for good: a later generation,
 * with the members that are left. Pure.
 *
 * The engine of the former generation may come back, and may have agreed on more than
 * anybody here knows. So nothing of it may be taken for the new one's:
 *  - the generation grows: leases, transactions and connections compare it;
 *  - each store's epoch leaves out GROUP_EPOCHS_LOST: no copy's history can mistake
 *    the log of a lost active for that of the one which is chosen here;
 *  - in-sync sets begin anew: the active alone;
 *  - who is lost stays a member, and stopped, until a person lets it in again.
 */
#ifndef DAG_RESTORE_H
#define DAG_RESTORE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/group/candidate.h"
#include "daemon/group/state.h"

struct restore_store {
	int copy;			/* index of the copy that is to be active; -1: none */
	bool stays;			/* it is active already */
	bool complete;			/* as far as is known here it has all that was acknowledged */
	uint64_t end_lsn;		/* of its log; 0 where it stays */
	char why[160];
};

/*
 * Whom to activate. lost: by index of gs->members; reports: by index of the store's
 * copies, reachable where the copy answered. The active, if it is left; else the whole
 * copy with the most log, then the lower preference.
 */
void restore_choose(struct group_state *gs, const struct group_store *st, const bool *lost,
		    const struct candidate *reports, struct restore_store *ret);

/*
 * The next generation. self: where the new engine begins, its first voter. chosen: by
 * index of gs->stores. The alternate becomes the witness where the witness is lost.
 * -EINVAL: nobody, or not self, is left.
 */
int restore_state(struct group_state *gs, const char *self, const bool *lost, bool witness_lost,
		  const struct restore_store *chosen);

#endif
