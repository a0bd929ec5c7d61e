// SPDX-License-Identifier: GPL-2.0
/*
 * Opens a log and recovers it.
 *
 * Headers first: generations below a RESET are void, the rest must follow each
 * other by LSN. Older segments are read as far as conf.verify_bytes reaches; a
 * bad record there is damage, told and returned, but the rest stays readable.
 * The newest is read to its first bad record, which is the end of the log. What
 * still looks like a record behind that was never acknowledged and is wiped.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/log/segfile.h"
#include "daemon/log/seglog_int.h"

struct found {
	uint64_t generation;
	struct seg_meta meta;
	bool good;
};

struct recovery {
	struct seglog *log;
	struct found *found;
	size_t nr, cap;
	uint8_t *buf;
	uint64_t verify_left;
	bool damage;
};

struct rec_cursor segment_start(const struct seg_meta *meta)
{
	return (struct rec_cursor){
		.lsn = meta->first_lsn,
		.prev_crc = meta->prev_crc,
		.any_prev = meta->flags & DAG_SEGF_START,
	};
}

int segment_open(struct seglog *log, const struct seg_meta *meta)
{
	char name[SEG_NAME_BYTES];
	int fd;

	seg_name(meta->generation, name);
	fd = openat(log->dirfd, name, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * Moves cur over the good records below `to`; *ret_why says what stopped it in
 * front of it, NULL if nothing did. buf: SCAN_BYTES.
 */
int segment_scan(int fd, const struct seg_meta *meta, struct rec_cursor *cur, uint64_t to,
		 uint8_t *buf, const char **ret_why)
{
	*ret_why = NULL;
	if (to > seg_limit(meta))
		to = seg_limit(meta);
	while (cur->lsn < to && !*ret_why) {
		uint64_t left = to - cur->lsn;
		ssize_t got = segfile_read(fd, buf, left < SCAN_BYTES ? left : SCAN_BYTES,
					   seg_offset(meta->first_lsn, cur->lsn));
		size_t need;

		if (got < 0)
			return got;
		if (!rec_scan(cur, buf, got, NULL, NULL, &need, ret_why) && !*ret_why)
			*ret_why = "record is cut short";
	}
	return 0;
}

static void tell_damage(struct recovery *r, uint64_t generation, uint64_t lsn, const char *why)
{
	char name[SEG_NAME_BYTES];

	seg_name(generation, name);
	log_err("log dir=%s file=%s lsn=%llu damaged: %s", r->log->dir, name,
		(unsigned long long)lsn, why);
	r->damage = true;
}

/* ---- the directory ------------------------------------------------------ */

static int found_add(struct recovery *r, uint64_t generation)
{
	if (r->nr == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 64;
		struct found *found = realloc(r->found, cap * sizeof(*found));

		if (!found)
			return -ENOMEM;
		r->found = found;
		r->cap = cap;
	}
	r->found[r->nr++] = (struct found){ .generation = generation };
	return 0;
}

static int other_file(struct seglog *log, const char *name)
{
	const size_t len = strlen(name);
	struct stat st;
	unsigned number;
	char again[SEG_NAME_BYTES];

	if (log->conf.read_only)
		return 0;
	if (len > 4 && !strcmp(name + len - 4, ".tmp"))
		return segfile_unlink(log->dirfd, name);
	if (strncmp(name, "spare-", 6) != 0)
		return 0;
	number = strtoul(name + 6, NULL, 10);
	spare_name(number, again);
	if (strcmp(name, again) != 0)
		return 0;
	if (number >= log->next_spare)
		log->next_spare = number + 1;
	if (log->nr_spares >= log->conf.spares || fstatat(log->dirfd, name, &st, 0) ||
	    (uint64_t)st.st_size != log->conf.seg_bytes)
		return segfile_unlink(log->dirfd, name);
	log->spare[log->nr_spares++] = number;
	return 0;
}

static DIR *dir_open(const struct seglog *log)
{
	int fd = openat(log->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir && fd >= 0)
		close(fd);
	return dir;
}

static int by_generation(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return x->generation < y->generation ? -1 : x->generation > y->generation;
}

static int list_files(struct recovery *r)
{
	struct dirent *de;
	uint64_t gen;
	DIR *dir = dir_open(r->log);
	int rc = 0;

	if (!dir)
		return -errno;
	while (!rc && (de = readdir(dir)))
		rc = seg_name_parse(de->d_name, &gen) ? found_add(r, gen)
						      : other_file(r->log, de->d_name);
	closedir(dir);
	if (r->nr)
		qsort(r->found, r->nr, sizeof(*r->found), by_generation);
	return rc;
}

int seglog_sweep(struct seglog *log, uint64_t above, uint64_t below)
{
	struct dirent *de;
	uint64_t gen;
	DIR *dir = dir_open(log);
	int rc = 0;

	if (!dir)
		return -errno;
	while (!rc && (de = readdir(dir)))
		if (seg_name_parse(de->d_name, &gen) && gen >= above && gen < below &&
		    gen != log->tip->meta.generation)
			rc = segfile_unlink(log->dirfd, de->d_name);
	closedir(dir);
	return rc;
}

/* ---- headers ------------------------------------------------------------ */

static int read_header(struct recovery *r, struct found *f)
{
	struct seg_meta want = { .generation = f->generation };
	const char *why = NULL;
	struct stat st;
	ssize_t got = 0;
	int fd;

	fd = segment_open(r->log, &want);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		st.st_size = 0;
	got = segfile_read(fd, r->buf, DAG_SEG_HDR_BYTES, 0);
	close(fd);
	if (got < 0)
		return got;
	if (got < (ssize_t)DAG_SEG_HDR_BYTES)
		why = "file is too short for a header";
	if (!why)
		why = seg_hdr_decode(r->buf, &f->meta);
	if (!why && memcmp(f->meta.uuid, r->log->conf.uuid, sizeof(f->meta.uuid)) != 0) {
		log_err("log dir=%s generation=%llu is of another store", r->log->dir,
			(unsigned long long)f->generation);
		return -EUCLEAN;
	}
	if (!why && f->meta.generation != f->generation)
		why = "header of another generation";
	if (!why && (uint64_t)st.st_size < f->meta.seg_bytes)
		why = "file is shorter than its header says";
	f->good = !why;
	if (why)
		tell_damage(r, f->generation, 0, why);
	return 0;
}

static int drop_void_generations(struct recovery *r)
{
	size_t first = 0;
	int rc = 0;

	for (size_t i = 0; i < r->nr; i++)
		if (r->found[i].good && (r->found[i].meta.flags & DAG_SEGF_RESET))
			first = i;
	for (size_t i = 0; i < first && !r->log->conf.read_only && !rc; i++) {
		char name[SEG_NAME_BYTES];

		seg_name(r->found[i].generation, name);
		rc = segfile_unlink(r->log->dirfd, name);
	}
	r->nr -= first;
	if (first)
		memmove(r->found, r->found + first, r->nr * sizeof(*r->found));
	return rc;
}

static int read_headers(struct recovery *r)
{
	size_t kept = 0;
	int rc;

	for (size_t i = r->nr; i-- > 0;) {
		rc = read_header(r, &r->found[i]);
		if (rc)
			return rc;
		/* nothing below a RESET counts, not even its damage */
		if (r->found[i].good && (r->found[i].meta.flags & DAG_SEGF_RESET))
			break;
	}
	rc = drop_void_generations(r);
	if (rc)
		return rc;
	if (r->nr)
		r->log->next_generation = r->found[r->nr - 1].generation + 1;
	for (size_t i = 0; i < r->nr; i++) {
		struct found *f = &r->found[i];

		if (f->good && kept && f->meta.first_lsn < r->found[kept - 1].meta.first_lsn) {
			tell_damage(r, f->generation, f->meta.first_lsn, "begins below the one before");
			f->good = false;
		}
		if (f->good)
			r->found[kept++] = *f;
		else
			r->log->damaged = true;
	}
	/* where the log ends is not known then */
	if (r->nr && !r->found[r->nr - 1].good)
		r->log->error = -EBADMSG;
	r->nr = kept;
	return 0;
}

/* ---- records ------------------------------------------------------------ */

static int scan_one(struct recovery *r, size_t i, uint64_t to, struct rec_cursor *cur,
		    const char **ret_why)
{
	int fd = segment_open(r->log, &r->found[i].meta), rc;

	if (fd < 0)
		return fd;
	*cur = segment_start(&r->found[i].meta);
	rc = segment_scan(fd, &r->found[i].meta, cur, to, r->buf, ret_why);
	close(fd);
	return rc;
}

/* An older segment; its end is the start of the next unless a gap follows. */
static int recover_older(struct recovery *r, size_t i, bool need)
{
	const struct seg_meta *meta = &r->found[i].meta, *next = &r->found[i + 1].meta;
	bool gap = next->flags & DAG_SEGF_START;
	uint64_t end = next->first_lsn;
	struct rec_cursor cur;
	const char *why;
	int rc;

	if (!gap && !need && r->verify_left < meta->seg_bytes && end <= seg_limit(meta))
		return seglog_add_segment(r->log, meta, end);
	r->verify_left -= r->verify_left < meta->seg_bytes ? r->verify_left : meta->seg_bytes;
	rc = scan_one(r, i, end, &cur, &why);
	if (rc)
		return rc;
	r->log->end = cur;
	if (gap || (cur.lsn == end && cur.prev_crc == next->prev_crc))
		return seglog_add_segment(r->log, meta, cur.lsn);
	if (end > seg_limit(meta)) {
		tell_damage(r, meta->generation, cur.lsn, "the records behind it are missing");
		return seglog_add_segment(r->log, meta, cur.lsn);
	}
	tell_damage(r, meta->generation, cur.lsn, why ? why : "the next does not follow it");
	return seglog_add_segment(r->log, meta, end);
}

/* End of what looks like records in [from, limit) of the newest. */
static int find_residue(struct recovery *r, int fd, const struct seg_meta *meta, uint64_t from,
			uint64_t *ret_end)
{
	const uint64_t limit = seg_limit(meta);
	uint64_t end = from;

	for (uint64_t at = from; at < limit; at += SCAN_BYTES) {
		size_t len = limit - at < SCAN_BYTES ? limit - at : SCAN_BYTES, last;
		ssize_t got = segfile_read(fd, r->buf, len, seg_offset(meta->first_lsn, at));

		if (got < 0)
			return got;
		last = seg_residue(r->buf, got, at);
		if (last)
			end = at + last;
	}
	*ret_end = end;
	return 0;
}

static int recover_newest(struct recovery *r)
{
	const struct seg_meta *meta = &r->found[r->nr - 1].meta;
	struct rec_cursor before = r->log->end, cur;
	struct seglog *log = r->log;
	uint64_t residue = 0;
	const char *why;
	int fd, rc;

	rc = scan_one(r, r->nr - 1, UINT64_MAX, &cur, &why);
	if (rc)
		return rc;
	if (!cur.any && r->nr > 1) {
		/* empty: number and time of the last record are in the one before */
		cur.epoch = before.epoch;
		cur.seq = before.seq;
		cur.time_ns = before.time_ns;
		cur.tag = before.tag;
		cur.any = before.any && !cur.any_prev;
	}
	log->end = cur;
	rc = seglog_add_segment(log, meta, cur.lsn);
	if (rc)
		return rc;
	fd = segment_open(log, meta);
	if (fd < 0)
		return fd;
	rc = find_residue(r, fd, meta, cur.lsn, &residue);
	close(fd);
	if (rc || log->conf.read_only || log->error)
		return rc;
	if (residue > cur.lsn) {
		log->dropped_bytes = residue - cur.lsn;
		log_warn("log dir=%s lsn=%llu dropped_bytes=%llu behind the end: %s", log->dir,
			 (unsigned long long)cur.lsn, (unsigned long long)log->dropped_bytes,
			 why ? why : "full");
	}
	return seglog_cut(log, &cur, residue);
}

static int recover(struct recovery *r)
{
	int rc = list_files(r);

	if (!rc)
		rc = read_headers(r);
	if (rc || !r->nr)
		return rc;
	for (size_t i = 0; i + 1 < r->nr; i++) {
		uint64_t newer = 0;

		/* the budget goes to the newest: they are the likeliest to be torn */
		for (size_t k = i + 1; k + 1 < r->nr; k++)
			newer += r->found[k].meta.seg_bytes;
		r->verify_left = r->log->conf.verify_bytes ? r->log->conf.verify_bytes : UINT64_MAX;
		r->verify_left -= newer < r->verify_left ? newer : r->verify_left;
		rc = recover_older(r, i, i + 2 == r->nr);
		if (rc)
			return rc;
	}
	return recover_newest(r);
}

/* Empty START segments were overtaken by another seglog_begin(). */
static int drop_empty(struct seglog *log)
{
	int rc = 0;

	for (size_t i = 0; !rc && i + 1 < log->nr_segs;) {
		if (log->segs[i]->end_lsn == log->segs[i]->meta.first_lsn)
			rc = seglog_drop(log, log->segs[i], 0);
		else
			i++;
	}
	return rc;
}

int seglog_load_tail(struct seglog *log, const struct segment *seg, uint64_t end)
{
	char name[SEG_NAME_BYTES];
	ssize_t got = SEG_BLOCK;
	bool direct;
	int fd;

	seg_name(seg->meta.generation, name);
	fd = segfile_open(log->dirfd, name, false, &direct);
	if (fd < 0)
		return fd;
	if (end < seg_limit(&seg->meta))
		got = segfile_read(fd, log->tail, SEG_BLOCK, seg_offset(seg->meta.first_lsn, seg_base(end)));
	if (got < (ssize_t)SEG_BLOCK) {
		close(fd);
		return got < 0 ? (int)got : -EIO;
	}
	if (log->wfd >= 0)
		close(log->wfd);
	log->wfd = fd;
	return 0;
}

/* ---- open and close ----------------------------------------------------- */

static int log_init(struct seglog *log, const struct seglog_conf *conf)
{
	pthread_condattr_t attr;

	log->conf = *conf;
	log->dirfd = log->wfd = -1;
	log->next_generation = 1;
	log->end = (struct rec_cursor){ .any_prev = true };
	pthread_mutex_init(&log->append_lock, NULL);
	pthread_mutex_init(&log->dir_lock, NULL);
	pthread_mutex_init(&log->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&log->wake, &attr);
	pthread_cond_init(&log->prepared, &attr);
	pthread_condattr_destroy(&attr);
	log->dir = strdup(conf->dir);
	log->tail = aligned_alloc(SEG_BLOCK, SEG_BLOCK);
	log->scratch = aligned_alloc(SEG_BLOCK, SEG_BLOCK);
	if (!log->dir || !log->tail || !log->scratch)
		return -ENOMEM;
	log->conf.dir = log->dir;
	memset(log->tail, 0, SEG_BLOCK);
	return 0;
}

static int dir_take(struct seglog *log)
{
	const char probe[] = "direct.tmp";
	int fd;

	if (!log->conf.read_only && mkdir(log->dir, 0700) && errno != EEXIST)
		return -errno;
	log->dirfd = open(log->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (log->dirfd < 0)
		return -errno;
	if (log->conf.read_only) {
		log->error = -EROFS;
		return 0;
	}
	/* two daemons on one log would each wipe what the other appends */
	if (flock(log->dirfd, LOCK_EX | LOCK_NB))
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	fd = segfile_open(log->dirfd, probe, true, &log->direct);
	if (fd < 0)
		return fd;
	close(fd);
	return segfile_unlink(log->dirfd, probe);
}

int seglog_open(const struct seglog_conf *conf, struct seglog **ret)
{
	struct recovery r = { 0 };
	struct seglog *log;
	int rc;

	if (conf->seg_bytes < DAG_SEG_BYTES_MIN || conf->seg_bytes > SEG_BYTES_MAX ||
	    conf->seg_bytes % SEG_BLOCK || conf->spares > SPARES_MAX)
		return -EINVAL;
	log = calloc(1, sizeof(*log));
	if (!log)
		return -ENOMEM;
	r.log = log;
	rc = log_init(log, conf);
	r.buf = aligned_alloc(SEG_BLOCK, SCAN_BYTES);
	if (!rc && !r.buf)
		rc = -ENOMEM;
	if (!rc)
		rc = dir_take(log);
	if (!rc)
		rc = recover(&r);
	if (!rc && !conf->read_only)
		rc = drop_empty(log);
	if (!rc && !conf->read_only)
		rc = spare_thread_start(log);
	free(r.found);
	free(r.buf);
	if (rc) {
		seglog_close(log);
		return rc;
	}
	*ret = log;
	return r.damage ? -EBADMSG : 0;
}

void seglog_close(struct seglog *log)
{
	if (!log)
		return;
	spare_thread_stop(log);
	for (size_t i = 0; i < log->nr_segs; i++) {
		if (log->segs[i]->fd >= 0)
			close(log->segs[i]->fd);
		free(log->segs[i]);
	}
	if (log->wfd >= 0)
		close(log->wfd);
	if (log->dirfd >= 0)
		close(log->dirfd);
	pthread_mutex_destroy(&log->append_lock);
	pthread_mutex_destroy(&log->dir_lock);
	pthread_mutex_destroy(&log->lock);
	pthread_cond_destroy(&log->wake);
	pthread_cond_destroy(&log->prepared);
	free(log->segs);
	free(log->dir);
	free(log->tail);
	free(log->scratch);
	free(log);
}
