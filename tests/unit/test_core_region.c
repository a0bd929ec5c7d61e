// SPDX-License-Identifier: GPL-2.0
/* Intent regions: after a crash at any moment the bits cover the truth. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kmod/core/region.h"

#define REGION	(64u << 10)
#define SPR	(REGION / 512)		/* sectors per region */

static struct dagtap_regionmap map;
static void *memory;

static void make(__u64 sectors)
{
	__u64 nr;

	cr_assert_eq(dagtap_region_count(sectors, REGION, &nr), 0);
	memory = calloc(1, dagtap_region_memory(nr));
	dagtap_region_init(&map, memory, sectors, REGION);
	cr_assert_eq(map.nr, nr);
}

static void setup(void)
{
	make(SPR * 100 - 8);	/* the last region is short */
}

static void teardown(void)
{
	free(memory);
}

static void sync_block(__u32 block)
{
	__u8 bits[DAGTAP_BM_BYTES];

	dagtap_region_snapshot(&map, block, bits);
	dagtap_region_written(&map, block, bits);
}

static bool dirty(__u64 r)
{
	__u8 bits[2];

	dagtap_region_get(&map, r & ~7ull, (r & 7) + 1, 0, bits);
	return bits[0] >> (r & 7) & 1;
}

/* A region that is clean keeps its newest LSN, one that is unknown may have any. */
Test(core_region, above_asks_for_what_was_last_written, .init = setup, .fini = teardown)
{
	cr_assert(!dagtap_region_above(&map, 0, SPR * 100 - 8, 0), "never written");
	dagtap_region_mark(&map, SPR * 3, 1);
	dagtap_region_touch(&map, SPR * 3, 1, 640);
	cr_assert(dagtap_region_above(&map, SPR * 3 + 5, 1, 639), "anywhere in the region");
	cr_assert(!dagtap_region_above(&map, SPR * 3, 1, 640));
	cr_assert(dagtap_region_above(&map, 0, SPR * 5, 639), "in any of them");
	cr_assert(!dagtap_region_above(&map, SPR * 4, SPR, 0), "the next one");
	sync_block(0);
	dagtap_region_clear(&map, 0, 640, false);
	cr_assert(!dirty(3));
	cr_assert(dagtap_region_above(&map, SPR * 3, 1, 639), "clean, and written all the same");
	dagtap_region_mark(&map, SPR * 3, 1);
	dagtap_region_unknown(&map, SPR * 3, 1);
	cr_assert(dagtap_region_above(&map, SPR * 3, 1, UINT64_MAX - 1));
	dagtap_region_fail(&map, SPR * 9, 1);
	cr_assert(dagtap_region_above(&map, SPR * 9, 1, UINT64_MAX - 1));
}

Test(core_region, forgets_everything, .init = setup, .fini = teardown)
{
	__u8 bits[DAGTAP_BM_BYTES];

	dagtap_region_mark(&map, 0, 1);
	dagtap_region_mark(&map, SPR * 9, 1);
	dagtap_region_unknown(&map, SPR * 9, 1);
	dagtap_region_fail(&map, SPR * 99, 1);
	sync_block(0);
	cr_assert_eq(dagtap_region_forget(&map, 0), 3);
	cr_assert_eq(map.nr_dirty, 0);
	cr_assert_eq(map.nr_failed, 0);
	cr_assert(map.stale[0], "it must be written");
	dagtap_region_snapshot(&map, 0, bits);
	for (unsigned i = 0; i < sizeof(bits); i++)
		cr_assert_eq(bits[i], 0);
	dagtap_region_written(&map, 0, bits);
	cr_assert_eq(dagtap_region_forget(&map, 0), 0);
	/* A region that was forgotten is dirtied like any other. */
	cr_assert_not(dagtap_region_mark(&map, SPR * 99, 1), "its bit is not on disk");
	dagtap_region_touch(&map, SPR * 99, 1, 640);
	cr_assert_eq(dagtap_region_clear(&map, 0, 640, false), 1);
}

Test(core_region, refuses_bad_sizes)
{
	__u64 nr;

	cr_assert_eq(dagtap_region_count(8, 1000, &nr), -EINVAL);
	cr_assert_eq(dagtap_region_count(8, 3u << 20, &nr), -EINVAL);
	cr_assert_eq(dagtap_region_count(8, 2u << 30, &nr), -EINVAL);
	cr_assert_eq(dagtap_region_count(0, REGION, &nr), -EINVAL);
	cr_assert_eq(dagtap_region_count(1ull << 54, REGION, &nr), -EINVAL);
	cr_assert_eq(dagtap_region_count(8, REGION, &nr), 0);
	cr_assert_eq(nr, 1);
}

Test(core_region, write_waits_for_the_bit, .init = setup, .fini = teardown)
{
	cr_assert_not(dagtap_region_mark(&map, 0, 8));
	cr_assert_eq(map.stale[0], 1);
	cr_assert_not(dagtap_region_mark(&map, 0, 8), "not before it is written");
	sync_block(0);
	cr_assert(dagtap_region_mark(&map, 0, 8));
	cr_assert_not(dagtap_region_mark(&map, SPR - 1, 2), "the next region too");
	cr_assert_eq(map.nr_dirty, 2);
}

Test(core_region, says_what_still_waits, .init = setup, .fini = teardown)
{
	cr_assert_not(dagtap_region_waits(&map, 0, SPR * 4), "nobody wants it");
	dagtap_region_mark(&map, SPR * 2, SPR * 2);
	cr_assert(dagtap_region_waits(&map, 0, SPR * 4));
	cr_assert_not(dagtap_region_waits(&map, 0, SPR * 2), "not those before");
	sync_block(0);
	cr_assert_not(dagtap_region_waits(&map, 0, SPR * 4));
	/* What was let go meanwhile is not waited for, but must be marked again. */
	dagtap_region_touch(&map, SPR * 2, SPR * 2, 640);
	cr_assert_eq(dagtap_region_clear(&map, 0, 640, false), 2);
	sync_block(0);
	cr_assert_not(dagtap_region_waits(&map, 0, SPR * 4));
	cr_assert_not(dagtap_region_mark(&map, SPR * 2, 8));
	cr_assert(dagtap_region_waits(&map, 0, SPR * 4));
}

Test(core_region, mark_during_a_block_write_waits_for_the_next, .init = setup,
     .fini = teardown)
{
	__u8 bits[DAGTAP_BM_BYTES];

	dagtap_region_mark(&map, 0, 8);
	dagtap_region_snapshot(&map, 0, bits);
	cr_assert_not(dagtap_region_mark(&map, SPR, 8));
	dagtap_region_written(&map, 0, bits);
	cr_assert(dagtap_region_mark(&map, 0, 8));
	cr_assert_not(dagtap_region_mark(&map, SPR, 8));
	cr_assert_eq(map.stale[0], 1);
}

Test(core_region, write_during_a_clear_waits, .init = setup, .fini = teardown)
{
	__u8 bits[DAGTAP_BM_BYTES];

	dagtap_region_mark(&map, 0, 8);
	sync_block(0);
	dagtap_region_touch(&map, 0, 8, 640);
	cr_assert_eq(dagtap_region_clear(&map, 0, 639, false), 0);
	cr_assert_eq(dagtap_region_clear(&map, 0, 640, true), 1);
	cr_assert(dirty(0), "a dry run changes nothing");
	cr_assert_eq(dagtap_region_clear(&map, 0, 640, false), 1);
	cr_assert(dagtap_region_mark(&map, 0, 8), "not on its way yet: dirty again");
	dagtap_region_touch(&map, 0, 8, 700);
	dagtap_region_clear(&map, 0, 700, false);
	dagtap_region_snapshot(&map, 0, bits);
	cr_assert_not(dagtap_region_mark(&map, 0, 8), "the clearing write is under way");
	dagtap_region_written(&map, 0, bits);
	cr_assert_not(dagtap_region_mark(&map, 0, 8));
	sync_block(0);
	cr_assert(dagtap_region_mark(&map, 0, 8));
}

Test(core_region, a_write_that_waits_keeps_its_bit, .init = setup, .fini = teardown)
{
	dagtap_region_mark(&map, 0, 8);
	sync_block(0);
	dagtap_region_touch(&map, 0, 8, 640);
	dagtap_region_mark(&map, SPR, 8);
	sync_block(0);
	cr_assert_eq(dagtap_region_clear(&map, 0, 640, false), 1);
	cr_assert(dirty(1), "its record is not in the log yet");
	dagtap_region_touch(&map, SPR, 8, 704);
	cr_assert_eq(dagtap_region_clear(&map, 0, 704, false), 1);
}

Test(core_region, unknown_needs_a_whole_resync, .init = setup, .fini = teardown)
{
	dagtap_region_fail(&map, 10, 1);
	sync_block(0);
	cr_assert_eq(map.nr_failed, 1);
	dagtap_region_touch(&map, 10, 1, 64);
	cr_assert_eq(dagtap_region_clear(&map, 0, 1ull << 60, false), 0);
	dagtap_region_resynced(&map, SPR / 2, SPR / 2, 128);
	cr_assert_eq(dagtap_region_clear(&map, 0, 1ull << 60, false), 0, "not from its start");
	dagtap_region_resynced(&map, 0, SPR / 2, 256);
	dagtap_region_fail(&map, 10, 1);
	dagtap_region_resynced(&map, SPR / 2, SPR / 2, 320);
	cr_assert_eq(dagtap_region_clear(&map, 0, 1ull << 60, false), 0, "failed between");
	dagtap_region_resynced(&map, 0, SPR / 2, 384);
	dagtap_region_resynced(&map, SPR / 2, SPR / 2, 448);
	cr_assert_eq(map.nr_failed, 0);
	cr_assert_eq(dagtap_region_clear(&map, 0, 447, false), 0);
	cr_assert_eq(dagtap_region_clear(&map, 0, 448, false), 1);
}

Test(core_region, short_last_region, .init = setup, .fini = teardown)
{
	__u64 last = SPR * 99;

	dagtap_region_mark(&map, last, SPR - 8);
	dagtap_region_unknown(&map, last, SPR - 8);
	dagtap_region_resynced(&map, last, SPR - 8, 64);
	cr_assert_eq(dagtap_region_clear(&map, 0, 64, false), 1);
}

Test(core_region, rebase, .init = setup, .fini = teardown)
{
	dagtap_region_mark(&map, 0, SPR * 2);
	dagtap_region_touch(&map, 0, 8, 64);
	dagtap_region_unknown(&map, SPR, 8);
	dagtap_region_rebase(&map, 0, 6400);
	cr_assert_eq(dagtap_region_clear(&map, 0, 6399, false), 0);
	cr_assert_eq(dagtap_region_clear(&map, 0, 6400, false), 1);
	cr_assert(dirty(1) && !dirty(0));
}

Test(core_region, get_since, .init = setup, .fini = teardown)
{
	__u8 bits[16];

	dagtap_region_mark(&map, 0, SPR * 3);
	dagtap_region_touch(&map, 0, 8, 64);
	dagtap_region_touch(&map, SPR, 8, 128);
	dagtap_region_unknown(&map, SPR * 2, 8);
	cr_assert_eq(dagtap_region_get(&map, 0, 100, 0, bits), 3);
	cr_assert_eq(dagtap_region_get(&map, 0, 100, 64, bits), 2);
	cr_assert_eq(bits[0], 6);
	cr_assert_eq(dagtap_region_get(&map, 8, 92, 0, bits), 0);
}

/*
 * Random writes, block writes that succeed, fail or are torn by a crash, and
 * clears. truth: regions with a write that no copy has acked. At every moment
 * what a crash would find on disk must cover it.
 */
Test(core_region, random_model)
{
	static __u8 on_disk[2][DAGTAP_BM_BYTES], bits[2][DAGTAP_BM_BYTES];
	const __u64 nr = DAGTAP_BM_REGIONS + 50;	/* two blocks */
	static __u64 last[DAGTAP_BM_REGIONS + 50];
	bool writing[2] = { false, false };
	__u64 lsn = 64, acked = 0;

	make(nr * SPR);
	cr_assert_eq(map.nr_blocks, 2);
	srand(5);
	for (int step = 0; step < 200000; step++) {
		__u64 r = (__u64)rand() % 40 + (rand() & 1 ? DAGTAP_BM_REGIONS - 20 : 0);
		__u32 b = (__u32)rand() % 2;

		switch (rand() % 6) {
		case 0:
		case 1:
			if (!dagtap_region_mark(&map, r * SPR + 3, 2))
				break;
			lsn += 64;
			dagtap_region_touch(&map, r * SPR + 3, 2, lsn);
			last[r] = lsn;
			break;
		case 2:
			if (writing[b] || !map.stale[b])
				break;
			dagtap_region_snapshot(&map, b, bits[b]);
			writing[b] = true;
			break;
		case 3:
			if (!writing[b])
				break;
			writing[b] = false;
			memcpy(on_disk[b], bits[b], DAGTAP_BM_BYTES);
			if (rand() % 8)
				dagtap_region_written(&map, b, bits[b]);
			else
				map.stale[b] = 1;	/* error, though it reached the disk */
			break;
		case 4:
			acked += (__u64)rand() % (lsn - acked + 1) & ~63ull;
			break;
		default:
			dagtap_region_clear(&map, b, acked, false);
		}
		for (r = 0; r < nr; r++) {
			const __u8 *d = on_disk[r / DAGTAP_BM_REGIONS];
			__u64 i = r % DAGTAP_BM_REGIONS;

			if (last[r] > acked)
				cr_assert(d[i / 8] >> (i % 8) & 1, "region %llu", r);
			if (r == 60)	/* none between is ever written */
				r = DAGTAP_BM_REGIONS - 25;
		}
	}
	free(memory);
}

Test(core_region, load_is_unknown, .init = setup, .fini = teardown)
{
	__u8 bits[DAGTAP_BM_BYTES] = { 0x81 };

	bits[99 / 8] |= 0x10;	/* region 100: beyond the device */
	dagtap_region_load(&map, 0, bits);
	cr_assert_eq(map.nr_dirty, 2);
	cr_assert(dagtap_region_mark(&map, 0, 8), "it stands on disk");
	cr_assert_eq(dagtap_region_clear(&map, 0, 1ull << 60, false), 0);
}
