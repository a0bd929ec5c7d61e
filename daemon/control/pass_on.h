/* SPDX-License-Identifier: GPL-2.0 */
/*
 * pass_on - a store whose gate does not open at its new member goes on to another.
 *
 * Nothing is drained, because nothing was written: the epoch has begun in the agreed
 * state alone. In this order:
 *
 *  P1  this member bars its own gate for the epoch (stores_bar): it was never opened, and
 *      is not while the next may be agreed, also where the answer of that is unknown;
 *  P2  each other copy that answers promises the next epoch, durably, and says where its
 *      log ends: who served before can not change it any more;
 *  P3  only a copy whose log is whole and ends just where the epoch begins is taken: it
 *      has all that this member has, so nothing is lost in any mode, dial or not;
 *  P4  one transaction IF the epoch still stands.
 *
 * An epoch that began by itself here (start LSN 0: the host had served before) has no such
 * copy, and stays.
 */
#ifndef DAG_PASS_ON_H
#define DAG_PASS_ON_H

#include <json-c/json.h>

#include "daemon/group/state.h"

struct control;

/* 0: it is another's; -ENOENT: nobody may have it, *ret_verdicts says why of each. */
int pass_on(struct control *ct, const struct group_state *gs, const struct group_store *st,
	    const char *reason, struct json_object **ret_verdicts);

#endif
