// SPDX-License-Identifier: GPL-2.0
/*
 * Appends to the log.
 *
 * Happy path of an append: walk the headers of the batch up to what fits into
 * the newest segment, one pwritev2(RWF_DSYNC) from the ring itself for whole
 * blocks and from two private blocks for the partial ones at both ends, publish
 * the new end. The last block is filled up with zeroes, never with what stands
 * in the ring behind the batch: nothing that was not appended is ever found by
 * recovery.
 *
 * When a segment is full, a spare gets its header, durably, and then its name,
 * durably, before a record goes into it. A failure in the middle of a batch cuts
 * the log back to where it was; if that fails too, it is closed for appends and
 * has to be opened again.
 */
#include "daemon/log/seglog.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/log/segfile.h"
#include "daemon/log/seglog_int.h"
#include "kmod/core/record.h"

int seglog_add_segment(struct seglog *log, const struct seg_meta *meta, uint64_t end_lsn)
{
	struct segment *seg = malloc(sizeof(*seg));

	if (!seg)
		return -ENOMEM;
	*seg = (struct segment){ .meta = *meta, .end_lsn = end_lsn, .fd = -1 };
	pthread_mutex_lock(&log->lock);
	if (log->nr_segs == log->cap_segs) {
		size_t cap = log->cap_segs ? 2 * log->cap_segs : 64;
		struct segment **segs = realloc(log->segs, cap * sizeof(*segs));

		if (!segs) {
			pthread_mutex_unlock(&log->lock);
			free(seg);
			return -ENOMEM;
		}
		log->segs = segs;
		log->cap_segs = cap;
	}
	log->segs[log->nr_segs++] = seg;
	log->tip = seg;
	log->rolling = false;
	pthread_mutex_unlock(&log->lock);
	return 0;
}

/* Names the file of fd as the segment that starts at `start`. */
static int name_segment(struct seglog *log, const char *from, int fd, const struct rec_cursor *start,
			uint32_t flags, struct seg_meta *ret_meta)
{
	struct seg_meta meta = {
		.generation = log->next_generation,
		.first_lsn = start->lsn,
		.seg_bytes = log->conf.seg_bytes,
		.flags = flags | (start->any_prev ? DAG_SEGF_START : 0),
		.prev_crc = start->prev_crc,
	};
	struct iovec iov = { .iov_base = log->scratch, .iov_len = SEG_BLOCK };
	char name[SEG_NAME_BYTES];
	struct timespec now;
	int rc;

	clock_gettime(CLOCK_REALTIME, &now);
	meta.created_ns = now.tv_sec * 1000000000ull + now.tv_nsec;
	memcpy(meta.uuid, log->conf.uuid, sizeof(meta.uuid));
	seg_hdr_encode(&meta, (struct dag_seg_hdr *)log->scratch);
	rc = segfile_write(fd, &iov, 1, 0);
	if (rc)
		return rc;
	seg_name(meta.generation, name);
	rc = segfile_rename(log->dirfd, from, name);
	if (rc) {
		segfile_unlink(log->dirfd, name);
		return rc;
	}
	log->next_generation++;
	*ret_meta = meta;
	return 0;
}

/* Starts a segment at `start` and makes it the one that is appended to. */
static int roll(struct seglog *log, const struct rec_cursor *start, uint32_t flags)
{
	char from[SEG_NAME_BYTES];
	struct seg_meta meta;
	int fd, rc;

	pthread_mutex_lock(&log->dir_lock);
	fd = spare_take(log, flags & DAG_SEGF_RESET, from);
	rc = fd;
	if (fd >= 0) {
		rc = name_segment(log, from, fd, start, flags, &meta);
		if (rc)
			segfile_unlink(log->dirfd, from);
	}
	if (rc >= 0) {
		rc = seglog_add_segment(log, &meta, start->lsn);
		if (rc) {
			seg_name(meta.generation, from);
			segfile_unlink(log->dirfd, from);
		}
	}
	pthread_mutex_lock(&log->lock);
	log->rolling = false;
	pthread_mutex_unlock(&log->lock);
	pthread_mutex_unlock(&log->dir_lock);
	if (rc) {
		if (fd >= 0)
			close(fd);
		return rc;
	}
	if (log->wfd >= 0)
		close(log->wfd);
	log->wfd = fd;
	memset(log->tail, 0, SEG_BLOCK);
	return 0;
}

static const uint8_t *ring_at(const struct seglog_ring *ring, uint64_t lsn)
{
	return (const uint8_t *)ring->base + (lsn & (ring->size - 1));
}

uint64_t seglog_piece(const struct seglog_ring *ring, uint64_t lsn, uint64_t end, uint64_t max)
{
	uint64_t at = lsn;

	if (end - lsn <= max)
		return end;
	while (at < end) {
		const struct dagtap_rec *rec = (const void *)ring_at(ring, at);
		uint64_t next = at + dagtap_rec_bytes(le32toh(rec->payload));

		if (next > end || (at > lsn && next - lsn > max))
			break;
		at = next;
	}
	return at > lsn ? at : end;
}

/* Puts ring bytes [from, to), which lie in one block, into their place in it. */
static void block_put(uint8_t *block, const struct seglog_ring *ring, uint64_t from, uint64_t to)
{
	memcpy(block + from % SEG_BLOCK, ring_at(ring, from), to - from);
	if (to % SEG_BLOCK)
		memset(block + to % SEG_BLOCK, 0, SEG_BLOCK - to % SEG_BLOCK);
}

static void iov_add(struct iovec *iov, int *n, const void *base, size_t len)
{
	iov[*n].iov_base = (void *)base;
	iov[*n].iov_len = len;
	(*n)++;
}

/* Writes [from, to), which lies in the newest segment; from is its end. */
static int write_piece(struct seglog *log, const struct seglog_ring *ring, uint64_t from, uint64_t to)
{
	uint64_t at = seg_base(from), last = seg_base(to);
	off_t off = seg_offset(log->tip->meta.first_lsn, at);
	struct iovec iov[4];
	int n = 0, rc;

	if (from % SEG_BLOCK) {
		uint64_t stop = to < at + SEG_BLOCK ? to : at + SEG_BLOCK;

		block_put(log->tail, ring, from, stop);
		iov_add(iov, &n, log->tail, SEG_BLOCK);
		at += SEG_BLOCK;
	}
	if (at < last) {
		uint64_t left = ring->size - (at & (ring->size - 1));
		uint64_t first = last - at < left ? last - at : left;

		iov_add(iov, &n, ring_at(ring, at), first);
		if (last - at > first)
			iov_add(iov, &n, ring->base, last - at - first);
	}
	if (at <= last && to % SEG_BLOCK) {
		block_put(log->scratch, ring, last, to);
		iov_add(iov, &n, log->scratch, SEG_BLOCK);
	}
	rc = segfile_write(log->wfd, iov, n, off);
	if (!rc && at <= last && to % SEG_BLOCK) {
		uint8_t *swap = log->tail;

		log->tail = log->scratch;
		log->scratch = swap;
	}
	return rc;
}

/*
 * Moves cur over the whole records of the ring that end at or below limit. A
 * second look at the headers, but it costs one cache line a record, and what is
 * written here must be readable for ever.
 */
static int walk_piece(const struct seglog_ring *ring, struct rec_cursor *cur, uint64_t end,
		      uint64_t limit)
{
	while (cur->lsn < end) {
		const struct dagtap_rec *rec = (const void *)ring_at(ring, cur->lsn);
		const char *why = rec_cursor_check(cur, rec);

		if (!why && rec_bytes(rec) > end - cur->lsn)
			why = "only a part of the record";
		if (why) {
			log_err("log append lsn=%llu: %s", (unsigned long long)cur->lsn, why);
			return -EINVAL;
		}
		if (cur->lsn + rec_bytes(rec) > limit)
			break;
		rec_cursor_advance(cur, rec);
	}
	return 0;
}

/* *ret_dirty is moved to where bytes may have been written. */
static int append_pieces(struct seglog *log, const struct seglog_ring *ring, struct rec_cursor *cur,
			 uint64_t end, uint64_t *ret_dirty)
{
	while (cur->lsn < end) {
		struct segment *seg = log->tip;
		struct rec_cursor next = *cur;
		int rc = 0;

		if (seg)
			rc = walk_piece(ring, &next, end, seg_limit(&seg->meta));
		if (rc)
			return rc;
		if (next.lsn == cur->lsn) {
			/* full: a segment holds the largest record, so once is enough */
			rc = roll(log, cur, 0);
		} else {
			*ret_dirty = next.lsn;
			rc = write_piece(log, ring, cur->lsn, next.lsn);
		}
		if (rc)
			return rc;
		pthread_mutex_lock(&log->lock);
		log->tip->end_lsn = next.lsn;
		pthread_mutex_unlock(&log->lock);
		*cur = next;
	}
	return 0;
}

int seglog_append(struct seglog *log, const struct seglog_ring *ring, uint64_t lsn, uint64_t end)
{
	uint64_t dirty = lsn;
	struct rec_cursor cur;
	struct segment *tip;
	int rc, undo;

	pthread_mutex_lock(&log->append_lock);
	tip = log->tip;		/* only who holds append_lock changes these */
	cur = log->end;
	rc = log->error;
	if (!rc && (lsn != cur.lsn || end <= lsn || end - lsn > ring->size))
		rc = -EINVAL;
	if (rc)
		goto out;
	rc = append_pieces(log, ring, &cur, end, &dirty);
	if (!rc) {
		pthread_mutex_lock(&log->lock);
		log->end = cur;
		pthread_mutex_unlock(&log->lock);
		goto out;
	}
	cur = log->end;
	if (rc == -EIO)
		undo = -EIO;
	else if (dirty == lsn && log->tip == tip)
		undo = 0;
	else
		undo = seglog_cut(log, &cur, dirty);
	if (undo) {
		log_err("log dir=%s closed for appends: %s", log->dir, strerror(-rc));
		log->error = -EIO;
		rc = -EIO;
	}
out:
	pthread_mutex_unlock(&log->append_lock);
	return rc;
}

/* Everything but the newest goes; its header has made the rest void already. */
static int drop_void(struct seglog *log)
{
	int rc = 0;

	pthread_mutex_lock(&log->dir_lock);
	while (!rc && log->segs[0] != log->tip)
		rc = seglog_drop(log, log->segs[0], 0);
	if (!rc && log->damaged)
		rc = seglog_sweep(log, 0, log->tip->meta.generation);
	pthread_mutex_unlock(&log->dir_lock);
	return rc;
}

int seglog_reset(struct seglog *log, uint64_t lsn)
{
	struct rec_cursor start = { .lsn = lsn, .any_prev = true };
	int rc = -EROFS;

	if (lsn % DAGTAP_ALIGN)
		return -EINVAL;
	pthread_mutex_lock(&log->append_lock);
	if (log->conf.read_only)
		goto out;
	/* what they hold must not be found again at an LSN that is given anew */
	pthread_mutex_lock(&log->dir_lock);
	spare_drop_all(log);
	pthread_mutex_unlock(&log->dir_lock);
	rc = roll(log, &start, DAG_SEGF_RESET);
	if (rc)
		goto out;
	pthread_mutex_lock(&log->lock);
	log->end = start;
	log->cuts++;
	pthread_mutex_unlock(&log->lock);
	rc = drop_void(log);
	log->error = rc;
out:
	pthread_mutex_unlock(&log->append_lock);
	return rc;
}

int seglog_begin(struct seglog *log, uint64_t lsn)
{
	struct rec_cursor start = { .lsn = lsn, .any_prev = true };
	struct segment *old;
	int rc;

	pthread_mutex_lock(&log->append_lock);
	rc = log->error;
	if (!rc && (lsn < log->end.lsn || lsn % DAGTAP_ALIGN))
		rc = -EINVAL;
	if (rc)
		goto out;
	old = log->tip;
	rc = roll(log, &start, 0);
	if (rc)
		goto out;
	pthread_mutex_lock(&log->lock);
	log->end = start;
	pthread_mutex_unlock(&log->lock);
	if (old && old->end_lsn == old->meta.first_lsn) {
		pthread_mutex_lock(&log->dir_lock);
		rc = seglog_drop(log, old, 0);
		pthread_mutex_unlock(&log->dir_lock);
	}
	log->error = rc;
out:
	pthread_mutex_unlock(&log->append_lock);
	return rc;
}

void seglog_info(struct seglog *log, struct seglog_info *ret)
{
	struct seglog_info info = { 0 };

	pthread_mutex_lock(&log->lock);
	info.end_lsn = log->end.lsn;
	info.first_lsn = log->nr_segs ? log->segs[0]->meta.first_lsn : info.end_lsn;
	info.end_crc = log->end.any_prev ? 0 : log->end.prev_crc;
	info.end_seq = log->end.seq;
	info.end_epoch = log->end.epoch;
	info.end_time_ns = log->end.time_ns;
	info.bytes = seglog_bytes(log);
	info.segments = log->nr_segs;
	info.generation = log->tip ? log->tip->meta.generation : 0;
	info.dropped_bytes = log->dropped_bytes;
	info.direct = log->direct;
	pthread_mutex_unlock(&log->lock);
	*ret = info;
}
