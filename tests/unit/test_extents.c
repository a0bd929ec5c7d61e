// SPDX-License-Identifier: GPL-2.0
/* A set of sectors, beside a bitmap that knows it better. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log/extents.h"

TestSuite(extents, .timeout = 60);

Test(extents, empty_and_touching)
{
	struct extents x = { 0 };

	extents_settle(&x);
	cr_assert_eq(x.nr, 0);
	cr_assert_eq(extents_add(&x, 5, 0), 0);
	cr_assert_eq(extents_sectors(&x), 0);
	cr_assert_eq(extents_add(&x, 10, 10), 0);
	cr_assert_eq(extents_add(&x, 30, 10), 0);
	cr_assert_eq(extents_add(&x, 20, 10), 0);
	extents_settle(&x);
	cr_assert_eq(x.nr, 1);
	cr_assert_eq(x.list[0].sector, 10);
	cr_assert_eq(x.list[0].end, 40);
	cr_assert_eq(extents_add(&x, UINT64_MAX - 1, 2), -EINVAL);
	extents_free(&x);
}

Test(extents, regions_are_counted_once)
{
	struct extents x = { 0 };

	extents_add(&x, 0, 1);
	extents_add(&x, 4, 1);
	extents_add(&x, 15, 2);		/* 8..15 and 16..23 */
	extents_add(&x, 40, 17);	/* 40..47, 48..55, 56..63 */
	extents_settle(&x);
	cr_assert_eq(extents_regions(&x, 8), 1 + 2 + 3);
	cr_assert_eq(extents_sectors(&x), 1 + 1 + 2 + 17);
	extents_free(&x);
}

#define SECTORS	20000

/* More pieces than the first allocation has room for, and many overlaps. */
Test(extents, as_a_bitmap)
{
	static bool bits[SECTORS];
	struct extents x = { 0 };
	uint64_t count = 0, at = 0;
	unsigned seed = 7;

	for (int i = 0; i < 6000; i++) {
		unsigned sector = rand_r(&seed) % (SECTORS - 8), n = rand_r(&seed) % 8;

		cr_assert_eq(extents_add(&x, sector, n), 0);
		memset(bits + sector, true, n);
	}
	extents_settle(&x);
	for (size_t i = 0; i < x.nr; i++) {
		cr_assert(!i || x.list[i].sector > x.list[i - 1].end);
		for (; at < x.list[i].sector; at++)
			cr_assert_not(bits[at]);
		for (; at < x.list[i].end; at++, count++)
			cr_assert(bits[at]);
	}
	for (; at < SECTORS; at++)
		cr_assert_not(bits[at]);
	cr_assert_eq(extents_sectors(&x), count);
	extents_free(&x);
}
