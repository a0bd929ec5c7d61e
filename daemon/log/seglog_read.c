// SPDX-License-Identifier: GPL-2.0
/* Readers of the log: any number, beside the one who appends. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/log/segfile.h"
#include "daemon/log/seglog_int.h"

static uint64_t readable_end(const struct seglog *log, const struct segment *seg)
{
	return seg->end_lsn < log->end.lsn ? seg->end_lsn : log->end.lsn;
}

/* Under lock: the segment with the byte of lsn, or NULL and why not. */
static struct segment *find(const struct seglog *log, uint64_t lsn, int *ret_why)
{
	size_t low = 0, high = log->nr_segs;

	*ret_why = lsn == log->end.lsn ? 0 : lsn > log->end.lsn ? -EINVAL : -ENODATA;
	if (lsn >= log->end.lsn)
		return NULL;
	while (low < high) {	/* the first that begins above lsn */
		size_t mid = (low + high) / 2;

		if (log->segs[mid]->meta.first_lsn <= lsn)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low)
		return NULL;
	if (lsn < readable_end(log, log->segs[low - 1]))
		return log->segs[low - 1];
	/* behind a segment and not announced as a gap: something is missing */
	if (low < log->nr_segs && !(log->segs[low]->meta.flags & DAG_SEGF_START))
		*ret_why = -EBADMSG;
	return NULL;
}

/* The fd of a segment that the caller holds; opened without the lock. */
static int segment_fd(struct seglog *log, struct segment *seg)
{
	int fd;

	pthread_mutex_lock(&log->lock);
	fd = seg->fd;
	pthread_mutex_unlock(&log->lock);
	if (fd >= 0)
		return fd;
	fd = segment_open(log, &seg->meta);
	if (fd < 0)
		return fd;
	pthread_mutex_lock(&log->lock);
	if (seg->fd < 0) {
		seg->fd = fd;
		log->read_fds++;
	} else {
		close(fd);
	}
	fd = seg->fd;
	pthread_mutex_unlock(&log->lock);
	return fd;
}

/* Bytes of one segment; 0 at the end. */
static int64_t read_some(struct seglog *log, uint64_t lsn, void *buf, size_t len)
{
	for (;;) {
		struct segment *seg;
		uint64_t left, cuts;
		int64_t got;
		bool again;
		int why, fd;

		pthread_mutex_lock(&log->lock);
		seg = find(log, lsn, &why);
		if (!seg) {
			pthread_mutex_unlock(&log->lock);
			return why;
		}
		left = readable_end(log, seg) - lsn;
		cuts = log->cuts;
		seg->refs++;
		pthread_mutex_unlock(&log->lock);

		if (left > len)
			left = len;
		fd = segment_fd(log, seg);
		got = fd;
		if (fd >= 0)
			got = segfile_read(fd, buf, left, seg_offset(seg->meta.first_lsn, lsn));
		if (got >= 0 && (uint64_t)got < left)
			got = -EIO;

		pthread_mutex_lock(&log->lock);
		/* what was read may have been wiped meanwhile */
		again = cuts != log->cuts;
		segment_put(log, seg);
		pthread_mutex_unlock(&log->lock);
		if (!again)
			return got;
	}
}

int64_t seglog_read(struct seglog *log, uint64_t lsn, void *buf, size_t len)
{
	size_t at = 0;

	while (at < len) {
		int64_t got = read_some(log, lsn + at, (uint8_t *)buf + at, len - at);

		if (got < 0)
			return at ? (int64_t)at : got;
		if (!got)
			break;
		at += got;
	}
	return at;
}

/* First LSN above `above` at which a START segment begins; -ENODATA: none. */
static int next_flagged(struct seglog *log, uint64_t above, bool any, uint64_t *ret_lsn)
{
	int rc = -ENODATA;

	pthread_mutex_lock(&log->lock);
	for (size_t i = 0; i < log->nr_segs; i++) {
		const struct seg_meta *meta = &log->segs[i]->meta;

		if (meta->first_lsn > above && (any || (meta->flags & DAG_SEGF_START))) {
			*ret_lsn = meta->first_lsn;
			rc = 0;
			break;
		}
	}
	pthread_mutex_unlock(&log->lock);
	return rc;
}

int seglog_next_start(struct seglog *log, uint64_t lsn, uint64_t *ret_lsn)
{
	bool below;

	pthread_mutex_lock(&log->lock);
	below = log->nr_segs && lsn < log->segs[0]->meta.first_lsn;
	pthread_mutex_unlock(&log->lock);
	/* below the log its first byte is the next, whatever its flag */
	return next_flagged(log, lsn, below, ret_lsn);
}

/* What is known of the record before lsn, if a segment starts there. */
static struct rec_cursor walk_start(struct seglog *log, uint64_t lsn)
{
	struct rec_cursor cur = { .lsn = lsn, .any_prev = true };

	pthread_mutex_lock(&log->lock);
	for (size_t i = 0; i < log->nr_segs; i++)
		if (log->segs[i]->meta.first_lsn == lsn)
			cur = segment_start(&log->segs[i]->meta);
	pthread_mutex_unlock(&log->lock);
	return cur;
}

struct walk {
	seglog_walk_fn fn;
	void *ctx;
	uint64_t to;
	bool done;
	int rc;
};

static int walk_one(void *ctx, const struct dagtap_rec *rec, const void *payload)
{
	struct walk *w = ctx;

	/* a record that begins in the range is in it */
	w->done = le64toh(rec->lsn) >= w->to;
	if (!w->done)
		w->rc = w->fn(w->ctx, rec, payload);
	return w->done || w->rc;
}

static int walk_range(struct seglog *log, uint64_t from, struct walk *w, uint8_t *buf)
{
	struct rec_cursor cur = walk_start(log, from);
	uint64_t start = UINT64_MAX;

	next_flagged(log, from, false, &start);
	while (cur.lsn < w->to) {
		uint64_t most = start - cur.lsn;
		const char *why;
		size_t need;
		int64_t got;

		if (!most) {	/* the chain begins anew without a gap */
			cur = walk_start(log, cur.lsn);
			start = UINT64_MAX;
			next_flagged(log, cur.lsn, false, &start);
			continue;
		}
		got = seglog_read(log, cur.lsn, buf, most < SCAN_BYTES ? most : SCAN_BYTES);
		if (got <= 0)
			return got;
		got = rec_scan(&cur, buf, got, walk_one, w, &need, &why);
		if (w->done || w->rc)
			return w->rc;
		if (!got && !why)
			why = "record is cut short";
		if (why) {
			log_err("log dir=%s lsn=%llu: %s", log->dir, (unsigned long long)cur.lsn, why);
			return -EBADMSG;
		}
	}
	return 0;
}

int seglog_walk(struct seglog *log, uint64_t from, uint64_t to, seglog_walk_fn fn, void *ctx)
{
	struct walk w = { .fn = fn, .ctx = ctx };
	struct seglog_info info;
	uint8_t *buf;
	int rc;

	seglog_info(log, &info);
	w.to = to < info.end_lsn ? to : info.end_lsn;
	if (from >= w.to)
		return from > to ? -EINVAL : 0;
	buf = aligned_alloc(SEG_BLOCK, SCAN_BYTES);
	if (!buf)
		return -ENOMEM;
	rc = walk_range(log, from, &w, buf);
	free(buf);
	return rc;
}
