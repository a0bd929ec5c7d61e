// SPDX-License-Identifier: GPL-2.0
/*
 * Takes bytes away from either end of the log.
 *
 * At the old end whole segments go, oldest first. At the new end segments go
 * newest first, then what stands behind the cut in the segment that stays is
 * wiped, because a record there could follow one that is appended later. A crash
 * in the middle leaves a contiguous log that is cut less far; a wiped header
 * with something behind it is found by recovery (seg_residue).
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/log/segfile.h"
#include "daemon/log/seglog_int.h"

void segment_put(struct seglog *log, struct segment *seg)
{
	if (--seg->refs)
		return;
	if (seg->fd >= 0 && (seg->dead || log->read_fds > READ_FDS_MAX)) {
		close(seg->fd);
		seg->fd = -1;
		log->read_fds--;
	}
	if (seg->dead)
		free(seg);
}

int seglog_drop(struct seglog *log, struct segment *seg, unsigned spares)
{
	char name[SEG_NAME_BYTES], spare[SEG_NAME_BYTES];
	unsigned number = 0;
	bool recycle;
	size_t i = 0;
	int rc;

	pthread_mutex_lock(&log->lock);
	while (log->segs[i] != seg)
		i++;
	memmove(&log->segs[i], &log->segs[i + 1], (log->nr_segs - i - 1) * sizeof(seg));
	log->nr_segs--;
	if (log->tip == seg)
		log->tip = log->nr_segs ? log->segs[log->nr_segs - 1] : NULL;
	log->cuts++;
	seg_name(seg->meta.generation, name);
	recycle = !seg->refs && seg->meta.seg_bytes == log->conf.seg_bytes &&
		  log->nr_spares + log->preparing < spares;
	if (recycle)
		number = log->next_spare++;
	seg->dead = true;
	seg->refs++;
	segment_put(log, seg);
	pthread_mutex_unlock(&log->lock);

	if (recycle) {
		spare_name(number, spare);
		rc = segfile_rename(log->dirfd, name, spare);
	} else {
		rc = segfile_unlink(log->dirfd, name);
	}
	pthread_mutex_lock(&log->lock);
	if (recycle && !rc && log->nr_spares < SPARES_MAX)
		log->spare[log->nr_spares++] = number;
	pthread_cond_signal(&log->wake);
	pthread_mutex_unlock(&log->lock);
	if (rc)
		log_err("log dir=%s cannot remove %s: %s", log->dir, name, strerror(-rc));
	return rc;
}

/* The time of the first record of a segment; UINT64_MAX: it cannot be told. */
static uint64_t first_time(struct seglog *log, const struct seg_meta *meta)
{
	struct rec_cursor cur = segment_start(meta);
	struct dagtap_rec rec;
	uint64_t time_ns = UINT64_MAX;
	int fd = segment_open(log, meta);

	if (fd < 0)
		return UINT64_MAX;
	if (segfile_read(fd, &rec, sizeof(rec), seg_offset(meta->first_lsn, meta->first_lsn)) ==
	    sizeof(rec) && !rec_cursor_check(&cur, &rec))
		time_ns = le64toh(rec.time_ns);
	close(fd);
	return time_ns;
}

int seglog_truncate_before(struct seglog *log, uint64_t lsn)
{
	return seglog_truncate_aged(log, lsn, lsn, UINT64_MAX);
}

int seglog_truncate_aged(struct seglog *log, uint64_t lsn, uint64_t free_lsn, uint64_t until_ns)
{
	unsigned spares;
	int rc = 0;

	if (log->conf.read_only)
		return -EROFS;
	pthread_mutex_lock(&log->dir_lock);
	pthread_mutex_lock(&log->lock);
	spares = spare_worth(log);
	pthread_mutex_unlock(&log->lock);
	for (;;) {
		struct segment *oldest = NULL;
		struct seg_meta next;
		bool aged = true;

		pthread_mutex_lock(&log->lock);
		if (log->nr_segs > 1 && log->segs[0]->end_lsn <= lsn) {
			oldest = log->segs[0];
			aged = oldest->end_lsn > free_lsn;
			next = log->segs[1]->meta;
		}
		pthread_mutex_unlock(&log->lock);
		if (!oldest || rc)
			break;
		/* the clock's last instant is nobody's time */
		if (aged && until_ns != UINT64_MAX && first_time(log, &next) > until_ns)
			break;
		rc = seglog_drop(log, oldest, spares);
	}
	spare_drop_to(log, spares);
	pthread_mutex_unlock(&log->dir_lock);
	return rc;
}

/* Durably zeroes the log bytes [from, to) of the newest segment; log->tail is its. */
static int wipe(struct seglog *log, uint64_t from, uint64_t to)
{
	uint64_t first = log->tip->meta.first_lsn;
	uint64_t at = seg_base(from);
	int rc;

	if (from % SEG_BLOCK) {
		struct iovec iov = { .iov_base = log->tail, .iov_len = SEG_BLOCK };

		memset(log->tail + from % SEG_BLOCK, 0, SEG_BLOCK - from % SEG_BLOCK);
		rc = segfile_write(log->wfd, &iov, 1, seg_offset(first, at));
		if (rc)
			return rc;
		at += SEG_BLOCK;
	}
	to = seg_base(to + SEG_BLOCK - 1);
	if (at >= to)
		return 0;
	return segfile_zero(log->wfd, seg_offset(first, at), seg_offset(first, to));
}

int seglog_cut(struct seglog *log, const struct rec_cursor *to, uint64_t dirty)
{
	struct segment *seg;
	uint64_t upto;
	int rc = 0;

	pthread_mutex_lock(&log->lock);
	log->end = *to;
	log->cuts++;
	pthread_mutex_unlock(&log->lock);

	pthread_mutex_lock(&log->dir_lock);
	for (;;) {
		/* a START segment may begin just where the one before it ends: the
		 * cut keeps it when it is empty by itself */
		seg = log->tip;
		if (rc || !seg || seg->meta.first_lsn < to->lsn || log->nr_segs == 1 ||
		    (seg->meta.first_lsn == to->lsn && (seg->meta.flags & DAG_SEGF_START)))
			break;
		rc = seglog_drop(log, seg, 0);
	}
	if (!rc && seg && log->damaged)
		rc = seglog_sweep(log, seg->meta.generation, UINT64_MAX);
	pthread_mutex_unlock(&log->dir_lock);
	if (rc || !seg)
		return rc;
	if (to->lsn < seg->meta.first_lsn)
		return -EINVAL;
	upto = seg->end_lsn > dirty ? seg->end_lsn : dirty;
	if (upto > seg_limit(&seg->meta))
		upto = seg_limit(&seg->meta);
	rc = seglog_load_tail(log, seg, to->lsn);
	if (!rc && upto > to->lsn)
		rc = wipe(log, to->lsn, upto);
	pthread_mutex_lock(&log->lock);
	if (!rc)
		seg->end_lsn = to->lsn;
	pthread_mutex_unlock(&log->lock);
	return rc;
}

/* The cursor at lsn, -EINVAL if no record ends (or the log begins) there. */
static int find_boundary(struct seglog *log, uint64_t lsn, struct rec_cursor *ret_cur)
{
	struct seg_meta meta = { 0 };
	struct rec_cursor cur;
	bool found = false;
	const char *why;
	uint8_t *buf;
	int fd, rc;

	/* the oldest that reaches it: it has the record that ends there */
	pthread_mutex_lock(&log->lock);
	for (size_t i = 0; i < log->nr_segs && !found; i++) {
		found = log->segs[i]->end_lsn >= lsn;
		meta = log->segs[i]->meta;
	}
	pthread_mutex_unlock(&log->lock);
	if (!found || lsn < meta.first_lsn)
		return -EINVAL;
	buf = aligned_alloc(SEG_BLOCK, SCAN_BYTES);
	if (!buf)
		return -ENOMEM;
	cur = segment_start(&meta);
	fd = segment_open(log, &meta);
	rc = fd;
	if (fd >= 0) {
		rc = segment_scan(fd, &meta, &cur, lsn, buf, &why);
		close(fd);
		if (!rc && cur.lsn != lsn)
			rc = -EINVAL;
	}
	free(buf);
	if (!rc)
		*ret_cur = cur;
	return rc;
}

int seglog_truncate_after(struct seglog *log, uint64_t lsn)
{
	struct rec_cursor cur;
	int rc = 0;

	pthread_mutex_lock(&log->append_lock);
	if (log->conf.read_only)
		rc = -EROFS;
	else if (lsn > log->end.lsn || lsn % DAGTAP_ALIGN)
		rc = -EINVAL;
	if (rc || (lsn == log->end.lsn && !log->error))
		goto out;
	rc = find_boundary(log, lsn, &cur);
	if (rc)
		goto out;
	rc = seglog_cut(log, &cur, 0);
	log->error = rc ? -EIO : 0;
out:
	pthread_mutex_unlock(&log->append_lock);
	return rc;
}
