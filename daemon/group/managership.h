/* SPDX-License-Identifier: GPL-2.0 */
/*
 * managership - which member acts first, and who follows the manager (semantics 7,
 * 35). Pure. A member that is stopped or in maintenance comes after all others: it is
 * to hold nothing, but a group of such members is not to be without a manager.
 */
#ifndef DAG_MANAGERSHIP_H
#define DAG_MANAGERSHIP_H

#include "daemon/group/state.h"

/* live: by member of gs, its lease holds. 0: self is the manager, or the first of those
 * that live where it is gone. */
unsigned manager_rank(const struct group_state *gs, const char *self, const bool *live);
/* Who shall follow `from`, which gives the role up; NULL: nobody is there to. */
const char *manager_successor(const struct group_state *gs, const char *from, const bool *live);

#endif
