/* SPDX-License-Identifier: GPL-2.0 */
/*
 * quorum - who votes in the engine (semantics 3, design 8). Pure.
 *
 * Always an odd number, at most 7: all members where they are odd and at most 7;
 * where they are even, the witness is the odd one, or without a witness one member
 * does not vote; members beyond are clients. Voters that work keep their vote, so
 * that joins and leaves move as few votes as can be.
 */
#ifndef DAG_QUORUM_H
#define DAG_QUORUM_H

#include <stdbool.h>

#include "daemon/group/state.h"

#define QUORUM_VOTERS_MAX	7

enum quorum_model { QUORUM_MAJORITY, QUORUM_MAJORITY_AND_WITNESS };

struct quorum_plan {
	enum quorum_model model;
	unsigned nr;
	char voter[QUORUM_VOTERS_MAX][64];	/* names of members, or the witness's */
	bool manual_only;	/* two members without a witness: no automatic activation */
};

void quorum_plan(const struct group_state *gs, struct quorum_plan *ret);
/* The next single change from `have` (nr names) towards the plan: +1 and the name to
 * add, -1 and the name to remove, 0: it is reached. An addition comes before a removal. */
int quorum_step(const struct quorum_plan *plan, const char have[][64], unsigned nr, char ret[64]);
const char *quorum_model_name(enum quorum_model model);

#endif
