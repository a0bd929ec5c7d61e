/* SPDX-License-Identifier: GPL-2.0 */
/*
 * seglog - the segments of one store in one directory.
 *
 * One thread appends; any thread reads; truncation may come from any thread.
 * The log is a contiguous range [first, end) of LSNs. What is appended is
 * durable when seglog_append() returns 0 (RWF_DSYNC over pre-written, recycled
 * files). Format: include/dag/segment.h.
 */
#ifndef DAG_SEGLOG_H
#define DAG_SEGLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seglog;

struct seglog_conf {
	const char *dir;	/* made (0700) if missing; one store only */
	uint8_t uuid[16];	/* another store's segment in dir: -EUCLEAN */
	uint64_t seg_bytes;	/* file size, >= DAG_SEG_BYTES_MIN, multiple of 4096 */
	uint64_t quota_bytes;	/* of all segments and spares; 0: none */
	unsigned spares;	/* files kept ready for the next roll, 0..16 */
	bool read_only;		/* for dump and verify: no recovery writes */
	uint64_t verify_bytes;	/* of older segments to read at open, newest first;
				 * 0: all. Readers verify what they read anyway. */
};

struct seglog_info {
	uint64_t first_lsn;	/* oldest byte that can be read */
	uint64_t end_lsn;	/* first byte that is not there; == first: empty */
	uint32_t end_crc;	/* hdr_crc of the last record, or of the start */
	uint32_t end_seq;	/* seq of the last record */
	uint32_t end_epoch;
	uint64_t end_time_ns;
	uint64_t bytes;		/* on disk, spares included */
	uint64_t segments;
	uint64_t generation;	/* of the newest */
	uint64_t dropped_bytes;	/* cut at recovery behind the last good record */
	bool direct;		/* O_DIRECT in use */
};

/* Bytes of the log that stand in a ring: LSN x at base + (x & (size - 1)). */
struct seglog_ring {
	const void *base;	/* page aligned */
	uint64_t size;		/* power of two */
};

/*
 * seglog_open - open or make the log of a directory and recover it: read forward
 * to the first bad record of the newest segment, which is the end. A bad record
 * or header in an older segment is corruption, not an end: -EBADMSG with its
 * name, LSN and reason in the log, *ret set all the same so that the rest can be
 * read and the caller can seglog_reset() or refetch.
 */
int seglog_open(const struct seglog_conf *conf, struct seglog **ret);
void seglog_close(struct seglog *log);
void seglog_info(struct seglog *log, struct seglog_info *ret);

/*
 * seglog_append - make the whole records [lsn, end) durable; lsn is the end of
 * the log. Only these bytes of the ring are looked at. -ENOSPC, -EDQUOT: nothing
 * appended, the log is as before; -EIO: the log is closed for appends.
 */
int seglog_append(struct seglog *log, const struct seglog_ring *ring, uint64_t lsn, uint64_t end);

/*
 * seglog_piece - where a batch from lsn may end: after the last whole record
 * within max bytes, but after one record at least; end if all fits. A batch is
 * appended whole or not at all, so one that needs more segments than the quota
 * has would never be. The records must have been verified.
 */
uint64_t seglog_piece(const struct seglog_ring *ring, uint64_t lsn, uint64_t end, uint64_t max);

/* seglog_reset - drop everything, begin anew at lsn (chain not checked there). */
int seglog_reset(struct seglog *log, uint64_t lsn);

/*
 * seglog_begin - the log goes on at a higher LSN (a gap): what is there stays
 * readable, the next append starts a segment with DAG_SEGF_START. Reads across
 * the gap return -ENODATA at its lower end; seglog_next_start() gives its upper.
 */
int seglog_begin(struct seglog *log, uint64_t lsn);
int seglog_next_start(struct seglog *log, uint64_t lsn, uint64_t *ret_lsn);

/*
 * seglog_read - up to len bytes of the log at lsn into buf, across segments.
 * Returns the bytes read (> 0), 0 at the end, -ENODATA below first_lsn or at a
 * gap, -errno. buf and len: any, O_DIRECT is not used for reads.
 */
int64_t seglog_read(struct seglog *log, uint64_t lsn, void *buf, size_t len);

/* seglog_truncate_before - recycle segments that lie wholly below lsn. */
int seglog_truncate_before(struct seglog *log, uint64_t lsn);

/*
 * seglog_truncate_aged - the same, but of those that do not lie below free_lsn only
 * such as have no record later than until_ns (UINT64_MAX: all): the time of the first
 * record of the next segment tells. One that cannot be read keeps what is before it.
 */
int seglog_truncate_aged(struct seglog *log, uint64_t lsn, uint64_t free_lsn, uint64_t until_ns);

/*
 * seglog_truncate_after - cut the log at lsn (a record boundary, -EINVAL else);
 * what was behind is gone, durably, when it returns.
 */
int seglog_truncate_after(struct seglog *log, uint64_t lsn);

/* Walk records (headers verified, payload checksums too) of [from, to). */
struct dagtap_rec;
typedef int (*seglog_walk_fn)(void *ctx, const struct dagtap_rec *rec, const void *payload);
int seglog_walk(struct seglog *log, uint64_t from, uint64_t to, seglog_walk_fn fn, void *ctx);

#endif
