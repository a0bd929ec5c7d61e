// SPDX-License-Identifier: GPL-2.0
#include "daemon/log/extents.h"

#include <errno.h>
#include <stdlib.h>

static int by_sector(const void *a, const void *b)
{
	const struct extent *x = a, *y = b;

	return x->sector < y->sector ? -1 : x->sector > y->sector;
}

void extents_settle(struct extents *x)
{
	size_t to = 0;

	if (!x->nr)
		return;
	qsort(x->list, x->nr, sizeof(*x->list), by_sector);
	for (size_t i = 1; i < x->nr; i++) {
		struct extent *last = &x->list[to], *e = &x->list[i];

		if (e->sector > last->end)
			x->list[++to] = *e;
		else if (e->end > last->end)
			last->end = e->end;
	}
	x->nr = to + 1;
}

/* Settle what is there; grow only where that has not made room for as much again. */
static int make_room(struct extents *x)
{
	struct extent *grown;
	size_t cap;

	extents_settle(x);
	if (x->nr <= x->cap / 2 && x->cap)
		return 0;
	cap = x->cap ? 2 * x->cap : 1024;
	if (cap > EXTENTS_MAX)
		return x->nr < x->cap ? 0 : -E2BIG;
	grown = realloc(x->list, cap * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	x->list = grown;
	x->cap = cap;
	return 0;
}

int extents_add(struct extents *x, uint64_t sector, uint64_t sectors)
{
	struct extent *last = x->nr ? &x->list[x->nr - 1] : NULL;
	int rc;

	if (!sectors)
		return 0;
	if (sectors > UINT64_MAX - sector)
		return -EINVAL;
	/* most writes go on where the one before ended */
	if (last && sector >= last->sector && sector <= last->end) {
		if (sector + sectors > last->end)
			last->end = sector + sectors;
		return 0;
	}
	if (x->nr == x->cap) {
		rc = make_room(x);
		if (rc)
			return rc;
	}
	x->list[x->nr++] = (struct extent){ sector, sector + sectors };
	return 0;
}

uint64_t extents_sectors(const struct extents *x)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < x->nr; i++)
		sum += x->list[i].end - x->list[i].sector;
	return sum;
}

uint64_t extents_regions(const struct extents *x, uint64_t region_sectors)
{
	uint64_t count = 0, below = 0;

	for (size_t i = 0; i < x->nr; i++) {
		uint64_t first = x->list[i].sector / region_sectors;
		uint64_t end = (x->list[i].end - 1) / region_sectors + 1;

		if (first < below)
			first = below;
		if (end > first)
			count += end - first;
		if (end > below)
			below = end;
	}
	return count;
}

void extents_free(struct extents *x)
{
	free(x->list);
	*x = (struct extents){ 0 };
}
