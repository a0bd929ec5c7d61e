/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Blocks of the metadata device: superblock and region bits, each in two slots
 * that are written in turn.
 */
#ifndef DAGTAP_CORE_METABLOCK_H
#define DAGTAP_CORE_METABLOCK_H

#include "port.h"

void dagtap_sb_seal(struct dagtap_sb *sb);
int dagtap_sb_verify(const struct dagtap_sb *sb, const __u8 *uuid);
int dagtap_sb_pick(const struct dagtap_sb *a, const struct dagtap_sb *b,
		   const __u8 *uuid);

void dagtap_bm_seal(struct dagtap_bm *bm, const __u8 *uuid, __u64 index, __u64 version);
int dagtap_bm_verify(const struct dagtap_bm *bm, const __u8 *uuid, __u64 index);
int dagtap_bm_pick(const struct dagtap_bm *a, const struct dagtap_bm *b,
		   const __u8 *uuid, __u64 index);

/* 4 KiB block on the metadata device, counted from its start. */
static inline __u64 dagtap_sb_block(__u64 version)
{
	return version & 1;
}

static inline __u64 dagtap_bm_block(__u64 index, __u64 version)
{
	return 2 + 2 * index + (version & 1);
}

#endif
