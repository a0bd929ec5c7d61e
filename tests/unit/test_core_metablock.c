// SPDX-License-Identifier: GPL-2.0
/* Metadata blocks: the newer valid slot counts, and only ours. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "kmod/core/metablock.h"

static const __u8 ours[16] = "0123456789abcde", theirs[16] = "x123456789abcde";
static struct dagtap_sb sb[2];
static struct dagtap_bm bm[2];

static void make_sb(struct dagtap_sb *s, const __u8 *uuid, __u64 version)
{
	memset(s, 0, sizeof(*s));
	memcpy(s->uuid, uuid, 16);
	s->version = cpu_to_le64(version);
	dagtap_sb_seal(s);
}

static void setup(void)
{
	make_sb(&sb[0], ours, 4);
	make_sb(&sb[1], ours, 5);
	memset(bm, 0, sizeof(bm));
	dagtap_bm_seal(&bm[0], ours, 3, 8);
	dagtap_bm_seal(&bm[1], ours, 3, 7);
}

Test(core_metablock, newer_slot_counts, .init = setup)
{
	cr_assert_eq(dagtap_sb_pick(&sb[0], &sb[1], ours), 1);
	cr_assert_eq(dagtap_sb_pick(&sb[1], &sb[0], ours), 0);
	cr_assert_eq(dagtap_bm_pick(&bm[0], &bm[1], ours, 3), 0);
}

Test(core_metablock, torn_slot_leaves_the_older, .init = setup)
{
	memset((char *)&sb[1] + 512, 0xff, 512);
	cr_assert_eq(dagtap_sb_pick(&sb[0], &sb[1], ours), 0);
	memset((char *)&bm[0] + 3000, 0xff, 100);
	cr_assert_eq(dagtap_bm_pick(&bm[0], &bm[1], ours, 3), 1);
	memset((char *)&bm[1] + 3000, 0xff, 100);
	cr_assert_eq(dagtap_bm_pick(&bm[0], &bm[1], ours, 3), -EUCLEAN);
}

Test(core_metablock, each_byte_is_guarded, .init = setup)
{
	for (unsigned int i = 0; i < DAGTAP_BLOCK; i++) {
		((__u8 *)&sb[0])[i] ^= 0x40;
		cr_assert_lt(dagtap_sb_verify(&sb[0], ours), 0, "byte %u", i);
		((__u8 *)&sb[0])[i] ^= 0x40;
		((__u8 *)&bm[0])[i] ^= 0x40;
		cr_assert_lt(dagtap_bm_verify(&bm[0], ours, 3), 0, "byte %u", i);
		((__u8 *)&bm[0])[i] ^= 0x40;
	}
	cr_assert_eq(dagtap_sb_verify(&sb[0], ours), 0);
}

Test(core_metablock, foreign_uuid_is_told_apart, .init = setup)
{
	cr_assert_eq(dagtap_sb_pick(&sb[0], &sb[1], theirs), -EILSEQ);
	make_sb(&sb[1], theirs, 9);
	cr_assert_eq(dagtap_sb_pick(&sb[0], &sb[1], ours), 0, "a foreign one never counts");
	memset(&sb[0], 0, sizeof(sb[0]));
	cr_assert_eq(dagtap_sb_pick(&sb[0], &sb[1], ours), -EILSEQ);
	memset(&sb[1], 0, sizeof(sb[1]));
	cr_assert_eq(dagtap_sb_pick(&sb[0], &sb[1], ours), -EUCLEAN);
	cr_assert_eq(dagtap_bm_verify(&bm[0], theirs, 3), -EILSEQ);
	cr_assert_eq(dagtap_bm_verify(&bm[0], ours, 2), -EUCLEAN, "another block");
}

Test(core_metablock, writes_alternate)
{
	cr_assert_eq(dagtap_sb_block(6), 0);
	cr_assert_eq(dagtap_sb_block(7), 1);
	cr_assert_eq(dagtap_bm_block(0, 0), 2);
	cr_assert_eq(dagtap_bm_block(5, 3), 13);
	cr_assert_lt(dagtap_bm_block(DAGTAP_BM_BLOCKS(100000) - 1, 1),
		     DAGTAP_META_BLOCKS(100000));
}
