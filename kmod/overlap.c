// SPDX-License-Identifier: GPL-2.0
/*
 * Extents in use. Two writes to common sectors must reach the disk in the order
 * of their LSNs, so the later waits until the earlier has ended. Every write
 * stands in the interval tree from its arrival to its local end; it is blocked
 * by overlapping ones that arrived before it, which keeps the order fair.
 */
#include <linux/interval_tree_generic.h>

#include "tap.h"

#define START(range)	((range)->start)
#define LAST(range)	((range)->last)

INTERVAL_TREE_DEFINE(struct tap_range, rb, u64, subtree_last, START, LAST,
		     static __maybe_unused, tree)

/* Caller holds s->lock, as for all here. */
void range_insert(struct store *s, struct tap_range *range, u64 sector, u64 sectors)
{
	range->start = sector;
	range->last = sector + sectors - 1;
	range->ticket = s->next_ticket++;
	range->waited = false;
	tree_insert(range, &s->ranges);
}

bool range_blocked(struct store *s, struct tap_range *range)
{
	struct tap_range *other;

	for (other = tree_iter_first(&s->ranges, range->start, range->last); other;
	     other = tree_iter_next(other, range->start, range->last)) {
		if (other->ticket < range->ticket) {
			other->waited = true;
			return true;
		}
	}
	return false;
}

void range_remove(struct store *s, struct tap_range *range)
{
	tree_remove(range, &s->ranges);
	if (range->waited) {
		submit_kick(s);
		wake_up_all(&s->wait_wq);
	}
}
