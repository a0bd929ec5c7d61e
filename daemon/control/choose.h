/* SPDX-License-Identifier: GPL-2.0 */
/*
 * choose - where a store should go while its active member lives: asks every copy
 * for a report, then group/candidate.h decides.
 */
#ifndef DAG_CHOOSE_H
#define DAG_CHOOSE_H

#include <json-c/json.h>

#include "daemon/group/candidate.h"
#include "daemon/group/state.h"

struct control;

/*
 * The best target for st but its active member. rule: mode, known_lsn, segment_bytes
 * and old_site are filled in here. *ret_verdicts (may be NULL): an array of {member,
 * eligible, why}, best first. -ENOENT: nobody is eligible. Waits for answers, 3 s.
 */
int choose_target(struct control *ct, const struct group_state *gs, const struct group_store *st,
		  const struct candidate_rule *rule, char ret[64], struct json_object **ret_verdicts);

/*
 * Who has all that the store's epoch begins with and no more, for a store that was never
 * opened in it: asks every copy but the active's to promise the next epoch. member[0] is
 * the best of them that may be activated, then all others that are in the same place.
 */
struct choose_equal {
	unsigned nr;
	char member[GROUP_MEMBERS_MAX][64];
};
int choose_equal(struct control *ct, const struct group_state *gs, const struct group_store *st,
		 struct choose_equal *ret, struct json_object **ret_verdicts);

#endif
