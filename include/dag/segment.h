/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Format of a segment, the file that holds a part of a store's log.
 *
 * Name: 16 hexadecimal digits of the generation, ".log". Block 0 (4 KiB) is the
 * header below, record bytes follow: LSN x stands at file offset
 *     4096 + (x - (first_lsn & ~4095))
 * so that file offset, ring offset and LSN are congruent modulo 4096 and a
 * batch goes from the ring to the disk with O_DIRECT as it is. Bytes between
 * the start of the first block and first_lsn have no meaning. A record never
 * stands in two segments. The first record that does not verify (LSN, chain,
 * checksum) is the end of the segment.
 */
#ifndef DAG_SEGMENT_H
#define DAG_SEGMENT_H

#include <stdint.h>
#include <linux/types.h>

#define DAG_SEG_MAGIC		0x31474553474144ull	/* "DAGSEG1" */
#define DAG_SEG_VERSION		1u
#define DAG_SEG_HDR_BYTES	4096u
#define DAG_SEG_BYTES_MIN	(4u << 20)
#define DAG_SEG_BYTES_DEFAULT	(64u << 20)

/* The records do not follow those of the segment before: the log starts anew. */
#define DAG_SEGF_START		0x1u
/* Segments of lower generations are void; they may still stand after a crash. */
#define DAG_SEGF_RESET		0x2u

struct dag_seg_hdr {
	__le64 magic;
	__le32 version;
	__le32 hdr_crc;		/* crc32c of the 4096 bytes with this field zero */
	__u8   uuid[16];	/* store */
	__le64 generation;
	__le64 first_lsn;
	__le64 seg_bytes;	/* size of the file */
	__le64 created_ns;	/* CLOCK_REALTIME */
	__le32 flags;		/* DAG_SEGF_* */
	__le32 prev_crc;	/* hdr_crc of the record before first_lsn; not checked
				 * on the first record when DAG_SEGF_START is set */
	__u8   rsvd[4096 - 72];
};

_Static_assert(sizeof(struct dag_seg_hdr) == 4096, "segment header");

#endif
