// SPDX-License-Identifier: GPL-2.0
/* regionset: what is taken from a peer, and what becomes of other region sizes. */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ship/regionset.h"
#include "include/dag/crc32c.h"

#define KIB	1024u
#define SECTORS	((100ull << 20) / 512 + 1)	/* 1601 regions of 64 KiB, the last of 512 bytes */
#define REGIONS	1601u

static struct regionset set;
static struct dag_region_set head;

static void setup(void)
{
	set = (struct regionset){ .id = 99, .regions = REGIONS, .region_bytes = 64 * KIB };
	set.bits = calloc(1, regionset_bytes(REGIONS));
	set.bits[0] = 0x81;
	set.bits[200] = 1;
	regionset_encode(&set, &head);
}

static void teardown(void)
{
	regionset_free(&set);
}

TestSuite(regionset, .init = setup, .fini = teardown);

Test(regionset, what_is_sent_arrives)
{
	struct regionset got;

	cr_assert_eq(regionset_decode(&head, SECTORS, &got), 0);
	cr_assert(got.id == 99 && got.regions == REGIONS && got.region_bytes == 64 * KIB);
	cr_assert_null(got.bits);
	got.bits = set.bits;
	cr_assert_eq(regionset_check(&got), 0);
	cr_assert_eq(regionset_count(&got), 3);
}

static int refusal(uint64_t sectors)
{
	struct regionset got = { .id = 5 };
	int rc = regionset_decode(&head, sectors, &got);

	cr_assert(!rc || got.id == 5, "touched on failure");
	regionset_encode(&set, &head);
	return rc;
}

#define MEND() (head.crc = htole32(dag_crc32c(0, &head, offsetof(struct dag_region_set, crc))))

Test(regionset, hostile_heads_are_refused)
{
	cr_assert_eq(refusal(SECTORS), 0);
	cr_assert_eq(refusal(SECTORS - 1), -EINVAL, "fewer regions than that are there");
	cr_assert_eq(refusal(SECTORS + 128), -EINVAL, "some are missing");
	head.magic++;
	cr_assert_eq(refusal(SECTORS), -EPROTO);
	for (size_t bit = 32; bit < sizeof(head) * 8; bit++) {
		((uint8_t *)&head)[bit / 8] ^= 1 << bit % 8;
		cr_assert_eq(refusal(SECTORS), -EBADMSG, "bit %zu", bit);
	}
	head.rsvd[31] = 1;
	MEND();
	cr_assert_eq(refusal(SECTORS), -EPROTO);
	head.id = 0;
	MEND();
	cr_assert_eq(refusal(SECTORS), -EINVAL);
	/* What would make the reader take more than the device can need. */
	head.regions = htole64(UINT64_MAX);
	MEND();
	cr_assert_eq(refusal(SECTORS), -EINVAL);
	for (uint32_t bytes = 0; bytes < 64 * KIB; bytes += 512) {
		head.region_bytes = htole32(bytes);
		head.regions = htole64(bytes ? (SECTORS * 512 + bytes - 1) / bytes : 0);
		MEND();
		cr_assert_eq(refusal(SECTORS), -EINVAL, "regions of %u bytes", bytes);
	}
	head.region_bytes = htole32(96 * KIB);
	head.regions = htole64((SECTORS * 512 + 96 * KIB - 1) / (96 * KIB));
	MEND();
	cr_assert_eq(refusal(SECTORS), -EINVAL, "no power of two");
}

Test(regionset, bits_that_are_not_the_heads_are_refused)
{
	struct regionset got;

	cr_assert_eq(regionset_decode(&head, SECTORS, &got), 0);
	got.bits = set.bits;
	set.bits[7] ^= 4;
	cr_assert_eq(regionset_check(&got), -EBADMSG);
	set.bits[7] ^= 4;
	set.bits[200] = 3;	/* behind the last region */
	regionset_encode(&set, &head);
	cr_assert_eq(regionset_decode(&head, SECTORS, &got), 0);
	got.bits = set.bits;
	cr_assert_eq(regionset_check(&got), -EINVAL);
}

/* Nothing of a region may get lost, whatever sizes the two sides have. */
Test(regionset, regions_of_every_size_cover_each_other)
{
	for (uint32_t mine = 64 * KIB; mine <= 1024 * KIB; mine *= 2) {
		for (uint32_t his = 64 * KIB; his <= 1024 * KIB; his *= 2) {
			uint64_t n = (SECTORS * 512 + mine - 1) / mine;
			uint64_t to = (SECTORS * 512 + his - 1) / his, most;
			struct regionset s = { .id = 1, .regions = n, .region_bytes = mine };

			s.bits = calloc(1, regionset_bytes(n));
			for (uint64_t r = 0; r < n; r += 1 + r % 37)
				s.bits[r / 8] |= 1 << r % 8;
			s.bits[(n - 1) / 8] |= 1 << (n - 1) % 8;
			struct regionset got = { .regions = to, .region_bytes = his,
						 .bits = calloc(1, regionset_bytes(to)) };

			regionset_merge(&s, got.bits, to, his);
			for (uint64_t kib = 0; kib < SECTORS / 2; kib += 64) {
				uint64_t r = kib * KIB / mine, h = kib * KIB / his;

				if (s.bits[r / 8] >> r % 8 & 1)
					cr_assert(got.bits[h / 8] >> h % 8 & 1);
			}
			most = regionset_count(&s) * (mine > his ? mine / his : 1);
			cr_assert_leq(regionset_count(&got), most);
			cr_assert_gt(regionset_count(&got), 0);
			if (to % 8)
				cr_assert_eq(got.bits[to / 8] >> to % 8, 0);
			regionset_free(&s);
			regionset_free(&got);
		}
	}
}
