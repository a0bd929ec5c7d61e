// SPDX-License-Identifier: GPL-2.0
#include "daemon/log/branch_content.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/log/logdump.h"
#include "include/uapi/dagtap.h"

#define LOOK_AT_CLOCK	256	/* records */
#define ZERO_BYTES	65536

static bool is_write(const struct dagtap_rec *rec)
{
	return rec->type == DAGTAP_REC_DATA || rec->type == DAGTAP_REC_DISCARD ||
	       rec->type == DAGTAP_REC_ZEROES;
}

struct count {
	struct branch_content *to;
	uint64_t deadline_ms;
};

static int count_record(void *ctx, const struct dagtap_rec *rec, const void *payload)
{
	struct count *c = ctx;
	struct branch_content *to = c->to;
	uint64_t ns = le64toh(rec->time_ns);

	if (c->deadline_ms && to->records % LOOK_AT_CLOCK == 0 && now_ms() >= c->deadline_ms)
		return -ETIMEDOUT;
	if (!to->records++)
		to->first_ns = ns;
	to->last_ns = ns;
	if (!is_write(rec))
		return 0;
	to->writes++;
	to->written_bytes += (uint64_t)le32toh(rec->sectors) * 512;
	return extents_add(&to->changed, le64toh(rec->sector), le32toh(rec->sectors));
}

/* Nothing is made or taken away in it since. */
static uint64_t made_ns(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : (uint64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

static int path_of(const char *dir, const struct branch *b, char *ret, size_t len)
{
	char name[BRANCH_NAME_BYTES];

	branch_name(b, name);
	return snprintf(ret, len, "%s/%s", dir, name) >= (int)len ? -ENAMETOOLONG : 0;
}

int branch_content(const char *dir, const struct branch *b, uint64_t deadline_ms,
		   struct branch_content *ret)
{
	struct count c = { .to = ret, .deadline_ms = deadline_ms };
	char path[4096];
	uint64_t end;
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = path_of(dir, b, path, sizeof(path));
	if (rc)
		return rc;
	ret->kept_ns = made_ns(path);
	rc = logdump_walk(path, b->first_lsn, UINT64_MAX, count_record, &c, &end);
	extents_settle(&ret->changed);
	ret->counted = !rc && end == b->end_lsn && !logdump_residue(path, end);
	return rc == -ETIMEDOUT ? 0 : rc;
}

void branch_content_free(struct branch_content *c)
{
	extents_free(&c->changed);
}

/* ---- what it wrote ---------------------------------------------------------- */

struct image {
	int fd;
	uint64_t sectors;
	uint8_t *zeroes;
};

static int write_all(int fd, const uint8_t *data, uint64_t len, uint64_t off)
{
	while (len) {
		ssize_t n = pwrite(fd, data, len, off);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			data += n;
			len -= n;
			off += n;
		}
	}
	return 0;
}

static int zero_range(struct image *im, uint64_t off, uint64_t len)
{
	int rc = 0;

	if (!fallocate(im->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len))
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL)
		return -errno;
	while (len && !rc) {
		uint64_t n = len < ZERO_BYTES ? len : ZERO_BYTES;

		rc = write_all(im->fd, im->zeroes, n, off);
		off += n;
		len -= n;
	}
	return rc;
}

static int extract_record(void *ctx, const struct dagtap_rec *rec, const void *payload)
{
	uint64_t sector = le64toh(rec->sector), sectors = le32toh(rec->sectors);
	struct image *im = ctx;

	if (!is_write(rec))
		return 0;
	if (sector > im->sectors || sectors > im->sectors - sector)
		return -EBADMSG;
	if (rec->type == DAGTAP_REC_DATA)
		return write_all(im->fd, payload, sectors * 512, sector * 512);
	return zero_range(im, sector * 512, sectors * 512);
}

/* A damaged record is the end of a log that is recovered: here it is none. */
static int check_end(const char *dir, const struct branch *b, struct seglog *log)
{
	struct seglog_info info;
	char path[4096];
	int rc = path_of(dir, b, path, sizeof(path));

	if (rc)
		return rc;
	seglog_info(log, &info);
	rc = logdump_residue(path, info.end_lsn);
	return rc > 0 ? -EBADMSG : rc;
}

int branch_extract(const char *dir, const struct branch *b, int fd, uint64_t sectors)
{
	struct image im = { .fd = fd, .sectors = sectors, .zeroes = calloc(1, ZERO_BYTES) };
	struct seglog *log = NULL;
	int rc = im.zeroes ? 0 : -ENOMEM;

	rc = rc ? rc : branch_open(dir, b, &log);
	rc = rc ? rc : seglog_walk(log, b->first_lsn, UINT64_MAX, extract_record, &im);
	rc = rc ? rc : check_end(dir, b, log);
	if (!rc && fsync(fd))
		rc = -errno;
	if (log)
		seglog_close(log);
	free(im.zeroes);
	return rc;
}
