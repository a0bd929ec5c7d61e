/* SPDX-License-Identifier: GPL-2.0 */
/*
 * others - what the copy of a store on this member makes of the other copies: how
 * much of its log they still need (semantics 22), and whether too few of those without
 * lag are healthy (23). Pure.
 */
#ifndef DAG_OTHERS_H
#define DAG_OTHERS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/group/state.h"
#include "daemon/replay/lag.h"

struct other_copy {
	char member[64];
	bool self, active, healthy, answers, suspended;
	bool lagged;			/* never the active: it has everything */
	bool known;			/* it, or its active, says where it is: */
	uint64_t lsn;			/* inspected durably, if it is lagged, else replayed */
};

struct others {
	unsigned nr;			/* as they were known last */
	struct {
		char member[64];
		uint64_t lsn;
	} last[GROUP_MEMBERS_MAX];
};

/*
 * others_low - the others need the log from here on: all without lag have replayed
 * what is below, all lagged ones have inspected it. UINT64_MAX: nobody needs anything.
 *
 * A copy that is silent or suspended needs the log from where it was last known to be;
 * the quota says for how long that counts, so without a quota it does not.
 */
uint64_t others_low(struct others *o, const struct other_copy *list, unsigned n, uint64_t quota_bytes);
/*
 * others_few - lag_copies_few() of these. While no other member answers, it is
 * this one that is cut off, and nothing is counted.
 */
bool others_few(struct lag_copies *c, const struct other_copy *list, unsigned n, uint64_t now_ms,
		uint64_t after_ms);

#endif
