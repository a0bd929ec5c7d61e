// SPDX-License-Identifier: GPL-2.0
/* freemap: a region of which anything is used, or may be, is never named. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/tap/freemap.h"

#define R	65536u
#define REGIONS	20
#define BYTES	(REGIONS * (uint64_t)R - 4096)	/* the last one is short */

static uint8_t bits[(REGIONS + 7) / 8 + 1];
static struct freemap fm;

static void setup(void)
{
	memset(bits, 0, sizeof(bits));
	freemap_init(&fm, bits, BYTES, R);
}

TestSuite(freemap, .init = setup);

static bool is_free(unsigned r)
{
	return bits[r / 8] >> r % 8 & 1;
}

static unsigned count(void)
{
	unsigned n = 0;

	for (unsigned r = 0; r < 8 * sizeof(bits); r++)
		n += is_free(r);
	return n;
}

Test(freemap, only_whole_regions)
{
	freemap_add(&fm, 2 * R + 1, 3 * R - 2);
	freemap_end(&fm);
	cr_assert_eq(count(), 1);
	cr_assert(is_free(3));
	setup();
	freemap_add(&fm, 2 * R, 3 * R);
	freemap_end(&fm);
	cr_assert_eq(count(), 3);
	cr_assert(is_free(2) && is_free(3) && is_free(4));
}

Test(freemap, extents_that_meet_are_one)
{
	freemap_add(&fm, 5 * R, R / 2);
	freemap_add(&fm, 5 * R + R / 2, R / 2);
	freemap_add(&fm, 7 * R, R / 2);
	freemap_add(&fm, 7 * R + R / 2 + 512, R / 2 - 512);
	freemap_end(&fm);
	cr_assert_eq(count(), 1);
	cr_assert(is_free(5));
}

Test(freemap, the_short_end_counts_and_nothing_behind_it)
{
	freemap_add(&fm, (REGIONS - 1) * (uint64_t)R, R - 4096);
	freemap_end(&fm);
	cr_assert_eq(count(), 1);
	cr_assert(is_free(REGIONS - 1));
	setup();
	freemap_add(&fm, (REGIONS - 1) * (uint64_t)R, R - 8192);
	freemap_end(&fm);
	cr_assert_eq(count(), 0, "not to the end");
	setup();
	freemap_add(&fm, 0, UINT64_MAX);
	freemap_add(&fm, BYTES, R);
	freemap_add(&fm, UINT64_MAX - 5, UINT64_MAX);
	freemap_end(&fm);
	cr_assert_eq(count(), REGIONS);
}

Test(freemap, nothing_is_nothing)
{
	freemap_end(&fm);
	freemap_add(&fm, 0, 0);
	freemap_add(&fm, 3 * R, 0);
	freemap_end(&fm);
	cr_assert_eq(count(), 0);
}

/* Against a map of sectors, in any order, some of them twice. */
Test(freemap, at_random_it_names_no_region_that_is_used)
{
	static uint8_t unused[BYTES / 512];
	unsigned seed = 3, named = 0;

	for (unsigned round = 0; round < 2000; round++) {
		uint64_t at = 0;

		setup();
		memset(unused, 0, sizeof(unused));
		for (unsigned i = 0; i < 12; i++) {
			uint64_t n = (rand_r(&seed) % (4 * R / 512)) * 512;

			if (rand_r(&seed) % 3)
				at = (rand_r(&seed) % (BYTES / 512)) * 512;
			freemap_add(&fm, at, n);
			for (uint64_t s = at / 512; s < (at + n) / 512 && s < BYTES / 512; s++)
				unused[s] = 1;
			at += n;
		}
		freemap_end(&fm);
		for (unsigned r = 0; r < REGIONS; r++) {
			uint64_t to = (r + 1) * (uint64_t)R < BYTES ? (r + 1) * (uint64_t)R : BYTES;

			if (!is_free(r))
				continue;
			named++;
			for (uint64_t s = r * (R / 512); s < to / 512; s++)
				cr_assert(unused[s], "round %u region %u", round, r);
		}
	}
	cr_assert_gt(named, 2000);
}
