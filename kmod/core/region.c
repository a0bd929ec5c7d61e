// SPDX-License-Identifier: GPL-2.0
/*
 * Intent regions, see region.h for the states. The caller holds its lock; calls
 * that walk many regions take one block of bits (32256 regions) at a time so
 * that it can let go of the lock in between.
 */
#include "region.h"

static bool bit_get(const __u8 *bits, __u64 n)
{
	return bits[n >> 3] >> (n & 7) & 1;
}

static void bit_set(__u8 *bits, __u64 n)
{
	bits[n >> 3] |= (__u8)(1u << (n & 7));
}

static void bit_clear(__u8 *bits, __u64 n)
{
	bits[n >> 3] &= (__u8)~(1u << (n & 7));
}

/* Number of regions of a device; -EINVAL: sizes out of range. */
int dagtap_region_count(__u64 dev_sectors, __u32 region_bytes, __u64 *ret_nr)
{
	__u64 sectors = region_bytes / DAGTAP_SECTOR;

	if (region_bytes < DAGTAP_REGION_BYTES_MIN ||
	    region_bytes > DAGTAP_REGION_BYTES_MAX ||
	    region_bytes & (region_bytes - 1))
		return -EINVAL;
	if (dev_sectors == 0 || dev_sectors >= 1ull << 54)
		return -EINVAL;
	*ret_nr = (dev_sectors + sectors - 1) / sectors;
	return 0;
}

__u64 dagtap_region_memory(__u64 nr)
{
	__u64 blocks = DAGTAP_BM_BLOCKS(nr);

	return DAGTAP_ROUND_UP(nr * (sizeof(__u64) + sizeof(__u32)), 8) +
	       blocks * (3 * DAGTAP_BM_BYTES + 1);
}

/* zeroed: dagtap_region_memory() bytes, aligned to 8. */
void dagtap_region_init(struct dagtap_regionmap *map, void *zeroed, __u64 dev_sectors,
			__u32 region_bytes)
{
	__u64 sectors = region_bytes / DAGTAP_SECTOR;
	__u8 *p = zeroed;

	memset(map, 0, sizeof(*map));
	map->dev_sectors = dev_sectors;
	while (1ull << map->shift < sectors)
		map->shift++;
	map->nr = (dev_sectors + sectors - 1) >> map->shift;
	map->nr_blocks = (__u32)DAGTAP_BM_BLOCKS(map->nr);

	map->last_lsn = zeroed;
	p += map->nr * sizeof(__u64);
	map->covered = (__u32 *)p;
	p = (__u8 *)zeroed + DAGTAP_ROUND_UP(map->nr * 12, 8);
	map->want = p;
	map->disk = map->want + (__u64)map->nr_blocks * DAGTAP_BM_BYTES;
	map->failed = map->disk + (__u64)map->nr_blocks * DAGTAP_BM_BYTES;
	map->stale = map->failed + (__u64)map->nr_blocks * DAGTAP_BM_BYTES;
}

static __u64 last_of(const struct dagtap_regionmap *map, __u64 sector, __u64 sectors)
{
	return (sector + sectors - 1) >> map->shift;
}

/*
 * Wants the bits of an extent. True: all of them are on disk and a write may be
 * submitted now; false: blocks were marked stale and must be written first. The
 * bit stays until a record above all that are there now has been acked: the one
 * of the write that wants it is still to come.
 */
bool dagtap_region_mark(struct dagtap_regionmap *map, __u64 sector, __u64 sectors)
{
	__u64 r, last = last_of(map, sector, sectors);
	bool durable = true;

	for (r = sector >> map->shift; r <= last; r++) {
		if (!bit_get(map->want, r)) {
			bit_set(map->want, r);
			map->last_lsn[r] = map->newest_lsn + 1;
			map->covered[r] = 0;
			map->nr_dirty++;
		}
		if (!bit_get(map->disk, r)) {
			map->stale[r / DAGTAP_BM_REGIONS] = 1;
			durable = false;
		}
	}
	return durable;
}

/*
 * Is a bit that somebody wants not on disk yet? Stops at the first: an extent that has
 * been marked is looked at again and again until it may go, and may have thousands.
 */
bool dagtap_region_waits(const struct dagtap_regionmap *map, __u64 sector, __u64 sectors)
{
	__u64 r, last = last_of(map, sector, sectors);

	for (r = sector >> map->shift; r <= last; r++)
		if (bit_get(map->want, r) && !bit_get(map->disk, r))
			return true;
	return false;
}

/* A record that ends at end_lsn changes the extent; its bits are on disk. */
void dagtap_region_touch(struct dagtap_regionmap *map, __u64 sector, __u64 sectors,
			 __u64 end_lsn)
{
	__u64 r, last = last_of(map, sector, sectors);

	map->newest_lsn = end_lsn;
	for (r = sector >> map->shift; r <= last; r++)
		if (map->last_lsn[r] != DAGTAP_LSN_UNKNOWN)
			map->last_lsn[r] = end_lsn;
}

/* The extent changes without a record: only a resynchronisation helps. */
void dagtap_region_unknown(struct dagtap_regionmap *map, __u64 sector, __u64 sectors)
{
	__u64 r, last = last_of(map, sector, sectors);

	for (r = sector >> map->shift; r <= last; r++) {
		map->last_lsn[r] = DAGTAP_LSN_UNKNOWN;
		map->covered[r] = 0;
	}
}

void dagtap_region_fail(struct dagtap_regionmap *map, __u64 sector, __u64 sectors)
{
	__u64 r, last = last_of(map, sector, sectors);

	dagtap_region_mark(map, sector, sectors);
	dagtap_region_unknown(map, sector, sectors);
	for (r = sector >> map->shift; r <= last; r++) {
		if (!bit_get(map->failed, r)) {
			bit_set(map->failed, r);
			map->nr_failed++;
		}
	}
}

/* One region of a RESYNC record that covers [from, to) of it, in sectors. */
static void resynced_one(struct dagtap_regionmap *map, __u64 r, __u64 from, __u64 to,
			 __u64 size, __u64 end_lsn)
{
	if (map->last_lsn[r] != DAGTAP_LSN_UNKNOWN) {
		map->last_lsn[r] = end_lsn;
		return;
	}
	if (from <= map->covered[r] && to > map->covered[r])
		map->covered[r] = (__u32)to;
	if (map->covered[r] < size)
		return;
	map->last_lsn[r] = end_lsn;
	map->covered[r] = 0;
	if (bit_get(map->failed, r)) {
		bit_clear(map->failed, r);
		map->nr_failed--;
	}
}

/*
 * A RESYNC record carries the extent. An unknown region becomes known when such
 * records have covered it from its first sector to its last, in that order.
 */
void dagtap_region_resynced(struct dagtap_regionmap *map, __u64 sector, __u64 sectors,
			    __u64 end_lsn)
{
	__u64 end = sector + sectors, last = last_of(map, sector, sectors), r;

	for (r = sector >> map->shift; r <= last; r++) {
		__u64 start = r << map->shift;
		__u64 size = 1ull << map->shift;
		__u64 from = sector > start ? sector - start : 0;
		__u64 to;

		if (start + size > map->dev_sectors)
			size = map->dev_sectors - start;
		to = end < start + size ? end - start : size;
		if (bit_get(map->want, r))
			resynced_one(map, r, from, to, size, end_lsn);
	}
}

/*
 * May a region of the extent have changed behind lsn? It keeps the end of its newest
 * record when it is clean.
 */
bool dagtap_region_above(const struct dagtap_regionmap *map, __u64 sector, __u64 sectors,
			 __u64 lsn)
{
	__u64 r, last = last_of(map, sector, sectors);

	for (r = sector >> map->shift; r <= last; r++)
		if (map->last_lsn[r] > lsn)
			return true;
	return false;
}

static __u64 block_end(const struct dagtap_regionmap *map, __u32 block)
{
	__u64 end = (__u64)(block + 1) * DAGTAP_BM_REGIONS;

	return end < map->nr ? end : map->nr;
}

/* First region from r on, below end, whose bit in bits is set; end if none. */
static __u64 next_set(const __u8 *bits, __u64 r, __u64 end)
{
	while (r < end) {
		if (!(r & 7) && !bits[r >> 3])
			r += 8;
		else if (bit_get(bits, r))
			return r;
		else
			r++;
	}
	return end;
}

/*
 * Lets go of the bits of a block whose last record is at or below lsn, and
 * returns how many; dry_run: counts only.
 */
__u64 dagtap_region_clear(struct dagtap_regionmap *map, __u32 block, __u64 lsn,
			  bool dry_run)
{
	__u64 end = block_end(map, block), cleared = 0, r;

	for (r = next_set(map->want, (__u64)block * DAGTAP_BM_REGIONS, end); r < end;
	     r = next_set(map->want, r + 1, end)) {
		if (map->last_lsn[r] > lsn)
			continue;
		cleared++;
		if (dry_run)
			continue;
		bit_clear(map->want, r);
		map->nr_dirty--;
		map->stale[block] = 1;
	}
	return cleared;
}

/* Lets go of every bit of a block, failed ones too. Returns how many. */
__u64 dagtap_region_forget(struct dagtap_regionmap *map, __u32 block)
{
	__u64 end = block_end(map, block), found = 0, r;

	for (r = next_set(map->want, (__u64)block * DAGTAP_BM_REGIONS, end); r < end;
	     r = next_set(map->want, r + 1, end)) {
		found++;
		bit_clear(map->want, r);
		map->nr_dirty--;
		map->stale[block] = 1;
		if (bit_get(map->failed, r)) {
			bit_clear(map->failed, r);
			map->nr_failed--;
		}
	}
	return found;
}

/*
 * A new part of the log begins. lsn: everything known is in it when it reaches
 * there; DAGTAP_LSN_UNKNOWN: what is dirty must be resynchronised.
 */
void dagtap_region_rebase(struct dagtap_regionmap *map, __u32 block, __u64 lsn)
{
	__u64 end = block_end(map, block), r;

	for (r = next_set(map->want, (__u64)block * DAGTAP_BM_REGIONS, end); r < end;
	     r = next_set(map->want, r + 1, end)) {
		map->covered[r] = 0;
		if (map->last_lsn[r] != DAGTAP_LSN_UNKNOWN)
			map->last_lsn[r] = lsn;
	}
}

/* The bits of a block as they are to be written now. */
void dagtap_region_snapshot(struct dagtap_regionmap *map, __u32 block, __u8 *bits)
{
	__u64 at = (__u64)block * DAGTAP_BM_BYTES;
	__u32 i;

	memcpy(bits, map->want + at, DAGTAP_BM_BYTES);
	for (i = 0; i < DAGTAP_BM_BYTES; i++)
		map->disk[at + i] &= bits[i];
	map->stale[block] = 0;
}

/* That snapshot is durable. */
void dagtap_region_written(struct dagtap_regionmap *map, __u32 block, const __u8 *bits)
{
	memcpy(map->disk + (__u64)block * DAGTAP_BM_BYTES, bits, DAGTAP_BM_BYTES);
}

/* Bits found on the metadata device: dirty, by unknown writes. */
void dagtap_region_load(struct dagtap_regionmap *map, __u32 block, const __u8 *bits)
{
	__u64 first = (__u64)block * DAGTAP_BM_REGIONS;
	__u64 n = block_end(map, block) - first, i;

	for (i = next_set(bits, 0, n); i < n; i = next_set(bits, i + 1, n)) {
		if (!bit_get(map->want, first + i))
			map->nr_dirty++;
		bit_set(map->want, first + i);
		bit_set(map->disk, first + i);
		map->last_lsn[first + i] = DAGTAP_LSN_UNKNOWN;
		map->covered[first + i] = 0;
	}
}

/*
 * Dirty regions of [first, first + count) as a bitmap of their own, first being
 * a multiple of 8; only those changed after since_lsn. Returns how many.
 */
__u64 dagtap_region_get(const struct dagtap_regionmap *map, __u64 first, __u64 count,
			__u64 since_lsn, __u8 *bitmap)
{
	__u64 end = first + count, found = 0, r;

	memset(bitmap, 0, (count + 7) / 8);
	for (r = next_set(map->want, first, end); r < end;
	     r = next_set(map->want, r + 1, end)) {
		if (since_lsn && map->last_lsn[r] <= since_lsn)
			continue;
		bit_set(bitmap, r - first);
		found++;
	}
	return found;
}
