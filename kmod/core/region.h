/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Intent regions: which parts of the device may differ from a copy. Two bits
 * per region say what is wanted on the metadata device and what is there:
 *
 *	want disk
 *	  0    0	CLEAN
 *	  1    0	SETTING		no write may be submitted yet
 *	  1    1	DIRTY
 *	  0    1	CLEARING	a new write makes it DIRTY again
 *
 * A block of bits is written from a snapshot; a bit that the snapshot lacks
 * stops counting as on disk before the write is issued, a bit that it has
 * counts only after the write has succeeded. So disk is never more than what
 * a crash would find.
 */
#ifndef DAGTAP_CORE_REGION_H
#define DAGTAP_CORE_REGION_H

#include "port.h"

#define DAGTAP_REGION_BYTES_MIN	(64u << 10)
#define DAGTAP_REGION_BYTES_MAX	(1u << 30)

/* No LSN tells when the region is clean: it must be resynchronised. */
#define DAGTAP_LSN_UNKNOWN	(~0ull)

struct dagtap_regionmap {
	__u64 nr;
	__u64 dev_sectors;
	__u32 shift;		/* sectors of a region = 1 << shift */
	__u32 nr_blocks;
	__u64 nr_dirty;		/* want bits */
	__u64 nr_failed;
	__u64 newest_lsn;	/* end of the log, as far as the map was told */
	__u64 *last_lsn;	/* of a dirty region: end of its newest record */
	__u32 *covered;		/* unknown: leading sectors resynchronised so far */
	__u8  *want;
	__u8  *disk;
	__u8  *failed;		/* sticky: a local write failed */
	__u8  *stale;		/* per block: want differs from what was written */
};

int dagtap_region_count(__u64 dev_sectors, __u32 region_bytes, __u64 *ret_nr);
__u64 dagtap_region_memory(__u64 nr);
void dagtap_region_init(struct dagtap_regionmap *map, void *zeroed, __u64 dev_sectors,
			__u32 region_bytes);

bool dagtap_region_mark(struct dagtap_regionmap *map, __u64 sector, __u64 sectors);
bool dagtap_region_waits(const struct dagtap_regionmap *map, __u64 sector, __u64 sectors);
void dagtap_region_touch(struct dagtap_regionmap *map, __u64 sector, __u64 sectors,
			 __u64 end_lsn);
void dagtap_region_unknown(struct dagtap_regionmap *map, __u64 sector, __u64 sectors);
void dagtap_region_fail(struct dagtap_regionmap *map, __u64 sector, __u64 sectors);
void dagtap_region_resynced(struct dagtap_regionmap *map, __u64 sector, __u64 sectors,
			    __u64 end_lsn);

bool dagtap_region_above(const struct dagtap_regionmap *map, __u64 sector, __u64 sectors,
			 __u64 lsn);

__u64 dagtap_region_clear(struct dagtap_regionmap *map, __u32 block, __u64 lsn,
			  bool dry_run);
__u64 dagtap_region_forget(struct dagtap_regionmap *map, __u32 block);
void dagtap_region_rebase(struct dagtap_regionmap *map, __u32 block, __u64 lsn);
void dagtap_region_snapshot(struct dagtap_regionmap *map, __u32 block, __u8 *bits);
void dagtap_region_written(struct dagtap_regionmap *map, __u32 block, const __u8 *bits);
void dagtap_region_load(struct dagtap_regionmap *map, __u32 block, const __u8 *bits);
__u64 dagtap_region_get(const struct dagtap_regionmap *map, __u64 first, __u64 count,
			__u64 since_lsn, __u8 *bitmap);

#endif
