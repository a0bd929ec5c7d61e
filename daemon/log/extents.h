/* SPDX-License-Identifier: GPL-2.0 */
/*
 * extents - a set of sectors, given piece by piece in any order: what a run of
 * records changes. Pure.
 */
#ifndef DAG_EXTENTS_H
#define DAG_EXTENTS_H

#include <stddef.h>
#include <stdint.h>

struct extent {
	uint64_t sector, end;
};

#define EXTENTS_MAX	(1u << 22)	/* that do not touch; 64 MiB */

struct extents {
	struct extent *list;
	size_t nr, cap;
};

/* 0, -ENOMEM, -E2BIG: more than EXTENTS_MAX. Zeroed memory is the empty set. */
int extents_add(struct extents *x, uint64_t sector, uint64_t sectors);
/* In order, none touching another; afterwards list and nr may be read. */
void extents_settle(struct extents *x);
/* After settling: sectors in all, and how many regions of so many sectors they touch. */
uint64_t extents_sectors(const struct extents *x);
uint64_t extents_regions(const struct extents *x, uint64_t region_sectors);
void extents_free(struct extents *x);

#endif
