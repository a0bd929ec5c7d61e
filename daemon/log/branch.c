// SPDX-License-Identifier: GPL-2.0
#include "daemon/log/branch.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/log/seglog_int.h"
#include "daemon/safefile.h"

#define COPY_BYTES	(4u << 20)	/* a power of two, > REC_BYTES_MAX */
#define TMP_NAME	"branch-new"

void branch_name(const struct branch *b, char ret[BRANCH_NAME_BYTES])
{
	snprintf(ret, BRANCH_NAME_BYTES, "branch-%u-%llu", b->epoch,
		 (unsigned long long)b->first_lsn);
}

int branch_parse(const char *name, struct branch *ret)
{
	char again[BRANCH_NAME_BYTES];
	unsigned long long first;

	memset(ret, 0, sizeof(*ret));
	if (sscanf(name, "branch-%u-%llu", &ret->epoch, &first) != 2)
		return -EINVAL;
	ret->first_lsn = first;
	branch_name(ret, again);
	return strcmp(name, again) ? -EINVAL : 0;
}

static char *path_of(const char *dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

/* ---- listing ---------------------------------------------------------------- */

static int by_age(const void *a, const void *b)
{
	const struct branch *x = a, *y = b;

	if (x->epoch != y->epoch)
		return x->epoch < y->epoch ? -1 : 1;
	return x->first_lsn < y->first_lsn ? -1 : x->first_lsn > y->first_lsn;
}

/* The names alone; end_lsn and bytes stay zero. */
static unsigned list_names(const char *dir, struct branch *ret, unsigned max)
{
	DIR *d = opendir(dir);
	struct branch b;
	struct dirent *e;
	unsigned n = 0;

	while (d && n < max && (e = readdir(d)))
		if (!branch_parse(e->d_name, &b))
			ret[n++] = b;
	if (d)
		closedir(d);
	qsort(ret, n, sizeof(*ret), by_age);
	return n;
}

static uint64_t disk_bytes(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	uint64_t sum = 0;
	struct stat st;

	while (d && (e = readdir(d)))
		if (!fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_blocks * 512;
	if (d)
		closedir(d);
	return sum;
}

/* Its first segment tells whose it is: the uuid is not asked for here. */
static int first_uuid(const char *path, uint8_t ret[16])
{
	static const char *const suffix = ".log";
	DIR *d = opendir(path);
	struct dag_seg_hdr hdr;
	struct dirent *e;
	int rc = -ENOENT;

	while (d && rc && (e = readdir(d))) {
		size_t n = strlen(e->d_name);
		struct seg_meta meta;
		int fd;

		if (n < 4 || strcmp(e->d_name + n - 4, suffix))
			continue;
		fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (pread(fd, &hdr, sizeof(hdr), 0) == sizeof(hdr) && !seg_hdr_decode(&hdr, &meta)) {
			memcpy(ret, meta.uuid, 16);
			rc = 0;
		}
		close(fd);
	}
	if (d)
		closedir(d);
	return rc;
}

int branch_open(const char *dir, const struct branch *b, struct seglog **ret)
{
	struct seglog_conf conf = {
		.read_only = true, .verify_bytes = 4096, .seg_bytes = DAG_SEG_BYTES_MIN,
	};
	char name[BRANCH_NAME_BYTES], *path;
	int rc;

	branch_name(b, name);
	path = path_of(dir, name);
	if (!path)
		return -ENOMEM;
	*ret = NULL;
	conf.dir = path;
	rc = first_uuid(path, conf.uuid);
	rc = rc ? rc : seglog_open(&conf, ret);
	free(path);
	return rc;
}

static void fill(const char *dir, struct branch *b)
{
	char name[BRANCH_NAME_BYTES], *path;
	struct seglog_info info;
	struct seglog *log = NULL;

	branch_name(b, name);
	path = path_of(dir, name);
	if (!path)
		return;
	b->bytes = disk_bytes(path);
	b->end_lsn = b->first_lsn;
	branch_open(dir, b, &log);
	if (log) {
		seglog_info(log, &info);
		b->end_lsn = info.end_lsn;
		seglog_close(log);
	}
	free(path);
}

unsigned branch_list(const char *dir, struct branch *ret, unsigned max)
{
	unsigned n = list_names(dir, ret, max);

	for (unsigned i = 0; i < n; i++)
		fill(dir, &ret[i]);
	return n;
}

void branch_refresh(const char *dir, struct branch *list, unsigned *nr)
{
	struct branch now[BRANCHES_MAX];
	unsigned n = list_names(dir, now, BRANCHES_MAX), i;

	for (i = 0; i < n && n == *nr; i++)
		if (by_age(&now[i], &list[i]))
			break;
	if (n == *nr && i == n)
		return;
	*nr = branch_list(dir, list, BRANCHES_MAX);
}

/* ---- removing --------------------------------------------------------------- */

static int remove_dir(const char *dir, const char *name)
{
	char *path = path_of(dir, name);
	struct dirent *e;
	int rc = 0;
	DIR *d;

	if (!path)
		return -ENOMEM;
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") &&
		    unlinkat(dirfd(d), e->d_name, 0) && errno != ENOENT)
			rc = -errno;
	if (d)
		closedir(d);
	if (rmdir(path) && errno != ENOENT)
		rc = -errno;
	free(path);
	return rc;
}

int branch_drop(const char *dir, const struct branch *b)
{
	char name[BRANCH_NAME_BYTES], *path;
	struct stat st;
	int rc;

	branch_name(b, name);
	path = path_of(dir, name);
	if (!path)
		return -ENOMEM;
	rc = stat(path, &st) ? -errno : 0;
	free(path);
	rc = rc ? rc : remove_dir(dir, name);
	return rc ? rc : safefile_sync_dir(dir);
}

static void make_room(struct seglog *log, uint64_t bytes)
{
	struct branch old[BRANCHES_MAX];
	unsigned n = branch_list(log->dir, old, BRANCHES_MAX), i;
	uint64_t sum = bytes, quota = log->conf.quota_bytes;
	char name[BRANCH_NAME_BYTES];

	for (i = 0; i < n; i++)
		sum += old[i].bytes;
	for (i = 0; i < n && ((quota && sum > quota) || n - i >= BRANCHES_MAX); i++) {
		branch_name(&old[i], name);
		log_warn("log dir=%s %s makes room for a newer branch, its lsn=%llu..%llu are gone",
			 log->dir, name, (unsigned long long)old[i].first_lsn,
			 (unsigned long long)old[i].end_lsn);
		if (remove_dir(log->dir, name))
			break;
		sum -= old[i].bytes;
	}
}

/* ---- keeping ---------------------------------------------------------------- */

static int is_change(void *ctx, const struct dagtap_rec *rec, const void *payload)
{
	*(uint32_t *)ctx = *(uint32_t *)ctx ? *(uint32_t *)ctx : le32toh(rec->epoch);
	return rec->type == DAGTAP_REC_DATA || rec->type == DAGTAP_REC_DISCARD ||
	       rec->type == DAGTAP_REC_ZEROES;
}

static int last_begin(void *ctx, const struct dagtap_rec *rec, const void *payload)
{
	*(uint64_t *)ctx = le64toh(rec->lsn);
	return 0;
}

/* Is there something to keep from b->first_lsn on? Moves it to the begin of a record. */
static int look(struct seglog *log, struct branch *b)
{
	uint64_t first = b->first_lsn;
	struct seglog_info info;
	int rc = seglog_walk(log, first, b->end_lsn, is_change, &b->epoch);

	if (rc >= 0)
		return rc;
	/* Histories that part in the middle of a record: it goes with the tail. */
	seglog_info(log, &info);
	b->epoch = 0;
	if (!seglog_walk(log, info.first_lsn, first, last_begin, &first) && first < b->first_lsn) {
		b->first_lsn = first;
		rc = seglog_walk(log, first, b->end_lsn, is_change, &b->epoch);
	}
	if (rc >= 0)
		return rc;
	log_err("log dir=%s lsn=%llu..%llu cannot be read, no branch is made of it: %s", log->dir,
		(unsigned long long)b->first_lsn, (unsigned long long)b->end_lsn, strerror(-rc));
	return 0;	/* what is damaged must not keep the copy from coming back */
}

struct copy {
	struct seglog *from, *to;
	uint8_t *buf;
	uint64_t at, have;	/* whole records are copied below at, read below have */
};

/* Reads what fits behind have; 0: nothing more. */
static int64_t read_more(struct copy *c)
{
	uint64_t off = c->have & (COPY_BYTES - 1), room = COPY_BYTES - (c->have - c->at);
	int64_t got;

	if (room > COPY_BYTES - off)
		room = COPY_BYTES - off;
	got = seglog_read(c->from, c->have, c->buf + off, room);
	if (got == -ENODATA)
		return 0;	/* a gap */
	if (got > 0)
		c->have += got;
	return got;
}

static int copy_part(struct copy *c)
{
	struct seglog_ring ring = { .base = c->buf, .size = COPY_BYTES };
	struct rec_cursor cur = { .lsn = c->at, .any_prev = true };
	int64_t got;
	int rc = 0;

	while (!rc && (got = read_more(c)) > 0) {
		while (c->have - cur.lsn >= sizeof(struct dagtap_rec)) {
			struct dagtap_rec rec;

			memcpy(&rec, c->buf + (cur.lsn & (COPY_BYTES - 1)), sizeof(rec));
			if (rec_cursor_check(&cur, &rec))
				return -EBADMSG;
			if (c->have - cur.lsn < rec_bytes(&rec))
				break;
			rec_cursor_advance(&cur, &rec);
		}
		/* The log's own quota does not bind here: make_room() did. */
		if (cur.lsn > c->at)
			rc = seglog_append(c->to, &ring, c->at, cur.lsn);
		if (!rc)
			c->at = cur.lsn;
	}
	return rc ? rc : got < 0 ? (int)got : 0;
}

static uint64_t segment_size(const struct seglog *log, uint64_t bytes)
{
	uint64_t want = (bytes + 2 * DAG_SEG_HDR_BYTES + SEG_BLOCK - 1) & ~(uint64_t)(SEG_BLOCK - 1);

	if (want < DAG_SEG_BYTES_MIN)
		want = DAG_SEG_BYTES_MIN;
	return want < log->conf.seg_bytes ? want : log->conf.seg_bytes;
}

static int write_part(struct seglog *log, const struct branch *b)
{
	struct seglog_conf conf = log->conf;
	struct copy c = { .from = log, .at = b->first_lsn, .have = b->first_lsn };
	char *path = path_of(log->dir, TMP_NAME);
	int rc = -ENOMEM;

	remove_dir(log->dir, TMP_NAME);
	c.buf = aligned_alloc(SEG_BLOCK, COPY_BYTES);
	if (!path || !c.buf)
		goto out;
	conf.dir = path;
	conf.read_only = false;
	conf.quota_bytes = 0;
	conf.spares = 0;
	conf.seg_bytes = segment_size(log, b->end_lsn - b->first_lsn);
	rc = seglog_open(&conf, &c.to);
	rc = rc ? rc : seglog_reset(c.to, b->first_lsn);
	rc = rc ? rc : copy_part(&c);
	if (c.to)
		seglog_close(c.to);
out:
	free(c.buf);
	free(path);
	return rc;
}

/* [b->first_lsn, b->end_lsn) without a gap. 1: kept, 0: it was not worth it. */
static int keep_part(struct seglog *log, struct branch *b)
{
	char name[BRANCH_NAME_BYTES], *from = NULL, *to = NULL;
	struct stat st;
	int rc;

	rc = look(log, b);
	if (rc <= 0)
		return rc;
	branch_name(b, name);
	from = path_of(log->dir, TMP_NAME);
	to = path_of(log->dir, name);
	rc = -ENOMEM;
	if (!from || !to)
		goto out;
	rc = 0;
	if (!stat(to, &st))
		goto out;	/* kept before a crash */
	make_room(log, segment_size(log, b->end_lsn - b->first_lsn));
	rc = write_part(log, b);
	if (!rc && rename(from, to))
		rc = -errno;
	rc = rc ? rc : safefile_sync_dir(log->dir);
	if (rc) {
		remove_dir(log->dir, TMP_NAME);
		goto out;
	}
	rc = 1;
	log_warn("log dir=%s lsn=%llu..%llu of epoch %u is kept as %s", log->dir,
		 (unsigned long long)b->first_lsn, (unsigned long long)b->end_lsn, b->epoch, name);
out:
	free(from);
	free(to);
	return rc;
}

int branch_keep(struct seglog *log, uint64_t from)
{
	struct seglog_info info;
	int made = 0, rc = 0;

	seglog_info(log, &info);
	if (from < info.first_lsn)
		from = info.first_lsn;
	while (from < info.end_lsn && rc >= 0) {
		struct branch b = { .first_lsn = from, .end_lsn = info.end_lsn };
		uint64_t next;

		if (!seglog_next_start(log, from, &next) && next < info.end_lsn && next > from)
			b.end_lsn = next;
		rc = keep_part(log, &b);
		made += rc > 0;
		from = b.end_lsn;
	}
	return rc < 0 ? rc : made;
}
