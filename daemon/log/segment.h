/* SPDX-License-Identifier: GPL-2.0 */
/*
 * segment - codec of a segment: name, header, and which LSN stands where. Pure;
 * the format is described in include/dag/segment.h.
 */
#ifndef DAG_LOG_SEGMENT_H
#define DAG_LOG_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/dag/segment.h"

#define SEG_BLOCK	4096u
#define SEG_NAME_BYTES	24	/* 16 digits, ".log", zero */
#define SEG_BYTES_MAX	(1ull << 40)

struct seg_meta {
	uint8_t uuid[16];
	uint64_t generation;
	uint64_t first_lsn;
	uint64_t seg_bytes;
	uint64_t created_ns;
	uint32_t flags;
	uint32_t prev_crc;
};

void seg_name(uint64_t generation, char ret_name[SEG_NAME_BYTES]);
bool seg_name_parse(const char *name, uint64_t *ret_generation);

void seg_hdr_encode(const struct seg_meta *meta, struct dag_seg_hdr *ret_hdr);
/* NULL and *ret_meta, or why it is no header of a segment, in words. */
const char *seg_hdr_decode(const void *block, struct seg_meta *ret_meta);

static inline uint64_t seg_base(uint64_t first_lsn)
{
	return first_lsn & ~(uint64_t)(SEG_BLOCK - 1);
}

/* First LSN that has no place in the segment any more. */
static inline uint64_t seg_limit(const struct seg_meta *meta)
{
	return seg_base(meta->first_lsn) + meta->seg_bytes - DAG_SEG_HDR_BYTES;
}

static inline uint64_t seg_offset(uint64_t first_lsn, uint64_t lsn)
{
	return DAG_SEG_HDR_BYTES + (lsn - seg_base(first_lsn));
}

/*
 * seg_residue - end of the last thing in buf, the log bytes from lsn on, that
 * looks like the header of a record of just that LSN; 0 if there is none. What
 * stands there was written behind a crash or cut, and could one day be taken
 * for the follower of a new record: it has to be wiped.
 */
size_t seg_residue(const uint8_t *buf, size_t len, uint64_t lsn);

#endif
