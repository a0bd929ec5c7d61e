/* SPDX-License-Identifier: GPL-2.0 */
/*
 * balance - where stores should be active, by preference and with an even hand
 * (semantics 34), and where one may go (semantics 35). Pure.
 */
#ifndef DAG_BALANCE_H
#define DAG_BALANCE_H

#include <stdbool.h>

#include "daemon/group/state.h"

struct balance_copy {
	unsigned member;		/* index */
	uint32_t preference;		/* 1: first */
	bool eligible;			/* may be active: Healthy, not blocked … */
};

struct balance_store {
	unsigned active;		/* member */
	unsigned nr;
	struct balance_copy copy[GROUP_MEMBERS_MAX];
};

struct balance_member {
	uint32_t max_active, max_preferred;	/* stores; 0: no limit */
	unsigned active_now;
};

/*
 * Where each of n stores should be active: at its most preferred eligible copy,
 * but at no member more than deviation percent above the mean of all (< 0: no
 * limit) or more than it may have. A store with no such place stays where it is.
 */
void balance_plan(const struct balance_store *stores, unsigned n, const struct balance_member *members,
		  unsigned nr_members, int deviation, unsigned *ret_target);
/*
 * Where one store may go, best first: by preference, members below their preferred
 * number before others, none that is full. Returns how many.
 */
unsigned balance_order(const struct balance_store *store, const struct balance_member *members,
		       unsigned ret_members[GROUP_MEMBERS_MAX]);

#endif
