// SPDX-License-Identifier: GPL-2.0
/*
 * Metadata blocks. Version v of a block is written to slot v & 1, so the slot
 * with the version before is whole while the new one is under way: a torn write
 * leaves a slot with a wrong crc beside a valid older one.
 */
#include "metablock.h"

#define CRC_FROM	8u	/* magic and crc themselves are left out */

static __u32 block_crc(const void *block)
{
	return dag_crc32c(0, (const __u8 *)block + CRC_FROM, DAGTAP_BLOCK - CRC_FROM);
}

void dagtap_sb_seal(struct dagtap_sb *sb)
{
	sb->magic = cpu_to_le32(DAGTAP_SB_MAGIC);
	sb->format = cpu_to_le32(DAGTAP_SB_VERSION);
	sb->crc = cpu_to_le32(block_crc(sb));
}

/* 0; -EUCLEAN: not one of ours or damaged; -EILSEQ: of another store. */
int dagtap_sb_verify(const struct dagtap_sb *sb, const __u8 *uuid)
{
	if (le32_to_cpu(sb->magic) != DAGTAP_SB_MAGIC ||
	    le32_to_cpu(sb->crc) != block_crc(sb) ||
	    le32_to_cpu(sb->format) != DAGTAP_SB_VERSION ||
	    le32_to_cpu(sb->clean) > 1)
		return -EUCLEAN;
	if (uuid && memcmp(sb->uuid, uuid, DAGTAP_UUID_BYTES))
		return -EILSEQ;
	return 0;
}

/* Which of two slots counts: 0 or 1, or why neither does. */
static int pick(int rc_a, int rc_b, __u64 version_a, __u64 version_b)
{
	if (rc_a && rc_b)
		return rc_a == -EILSEQ || rc_b == -EILSEQ ? -EILSEQ : -EUCLEAN;
	if (rc_a)
		return 1;
	if (rc_b)
		return 0;
	return version_b > version_a;
}

int dagtap_sb_pick(const struct dagtap_sb *a, const struct dagtap_sb *b,
		   const __u8 *uuid)
{
	return pick(dagtap_sb_verify(a, uuid), dagtap_sb_verify(b, uuid),
		    le64_to_cpu(a->version), le64_to_cpu(b->version));
}

void dagtap_bm_seal(struct dagtap_bm *bm, const __u8 *uuid, __u64 index, __u64 version)
{
	bm->magic = cpu_to_le32(DAGTAP_BM_MAGIC);
	memcpy(bm->uuid, uuid, DAGTAP_UUID_BYTES);
	bm->version = cpu_to_le64(version);
	bm->index = cpu_to_le64(index);
	memset(bm->rsvd, 0, sizeof(bm->rsvd));
	bm->crc = cpu_to_le32(block_crc(bm));
}

int dagtap_bm_verify(const struct dagtap_bm *bm, const __u8 *uuid, __u64 index)
{
	if (le32_to_cpu(bm->magic) != DAGTAP_BM_MAGIC ||
	    le32_to_cpu(bm->crc) != block_crc(bm))
		return -EUCLEAN;
	if (memcmp(bm->uuid, uuid, DAGTAP_UUID_BYTES))
		return -EILSEQ;
	return le64_to_cpu(bm->index) == index ? 0 : -EUCLEAN;
}

int dagtap_bm_pick(const struct dagtap_bm *a, const struct dagtap_bm *b,
		   const __u8 *uuid, __u64 index)
{
	return pick(dagtap_bm_verify(a, uuid, index), dagtap_bm_verify(b, uuid, index),
		    le64_to_cpu(a->version), le64_to_cpu(b->version));
}
