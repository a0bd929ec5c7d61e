// SPDX-License-Identifier: GPL-2.0
/*
 * A process that works on a log ends before, or in the middle of, its nth system
 * call that changes something, for every n. Each time the log opens without
 * damage, ends at one of the records where it may end, and goes on from there.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/log/segfile.h"
#include "daemon/log/seglog.h"
#include "tests/lib/logmake.h"
#include "tests/lib/tmpdir.h"

#define MIB	(1u << 20)
#define LSN0	(77777ull * 64)
#define POINTS	64

enum how { BEFORE, FIRST_HALF, SECOND_HALF, HOWS };

/* Where the log may end, shared with the process that dies. */
struct shared {
	unsigned nr;
	struct { uint64_t lsn; uint32_t crc; } point[POINTS];
	bool done;
	bool was_write;		/* the call that was not made */
};

static struct shared *shared;
static int left;
static enum how how;

static ssize_t half_write(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	for (int i = 0; i < n; i++) {
		size_t first = iov[i].iov_len / 2 & ~4095ul;
		struct iovec part = { iov[i].iov_base, first };

		if (how == SECOND_HALF) {
			part.iov_base = (uint8_t *)iov[i].iov_base + first;
			part.iov_len = iov[i].iov_len - first;
		}
		/* of several parts the odd ones are lost */
		if (part.iov_len && (n == 1 || i % 2 == (how == SECOND_HALF)))
			segfile_posix.pwritev2(fd, &part, 1, off + (how == SECOND_HALF ? first : 0),
					       flags);
		off += iov[i].iov_len;
	}
	_exit(0);
}

static bool last(void)
{
	return __atomic_sub_fetch(&left, 1, __ATOMIC_RELAXED) == 0;
}

static ssize_t c_pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	if (last()) {
		shared->was_write = true;
		if (how == BEFORE)
			_exit(0);
		half_write(fd, iov, n, off, flags);
	}
	return segfile_posix.pwritev2(fd, iov, n, off, flags);
}

static int c_allocate(int fd, off_t len)
{
	if (last())
		_exit(0);
	return segfile_posix.allocate(fd, len);
}

static int c_sync(int fd)
{
	if (last())
		_exit(0);
	return segfile_posix.sync(fd);
}

static int c_rename(int dfd, const char *from, const char *to)
{
	if (last())
		_exit(0);
	return segfile_posix.rename(dfd, from, to);
}

static int c_unlink(int dfd, const char *name)
{
	if (last())
		_exit(0);
	return segfile_posix.unlink(dfd, name);
}

static const struct segfile_ops crashing = { c_pwritev2, c_allocate, c_sync, c_rename, c_unlink };

static void may_end(uint64_t lsn, uint32_t crc)
{
	shared->point[shared->nr].lsn = lsn;
	shared->point[shared->nr].crc = crc;
	__atomic_store_n(&shared->nr, shared->nr + 1, __ATOMIC_RELEASE);
}

static void must_end(uint64_t lsn, uint32_t crc)
{
	unsigned i = 0;

	while (shared->point[i].lsn != lsn || shared->point[i].crc != crc)
		i++;
	shared->point[0] = shared->point[i];
	__atomic_store_n(&shared->nr, 1, __ATOMIC_RELEASE);
}

static void need(bool ok)
{
	if (!ok)
		_exit(2);
}

static void append(struct seglog *log, struct logmake *m, unsigned n, uint32_t sectors)
{
	struct seglog_ring ring = logmake_ring(m);
	uint64_t from = m->lsn;

	while (n--) {
		logmake_extent(m, DAGTAP_REC_DATA, n, sectors, n);
		may_end(m->lsn, m->prev_crc);
	}
	need(!seglog_append(log, &ring, from, m->lsn));
	must_end(m->lsn, m->prev_crc);
}

static void jump(struct logmake *m, uint64_t lsn)
{
	m->lsn = lsn;
	m->prev_crc = 0;
	may_end(lsn, 0);
}

/* Everything that changes a log, once. */
static void work(const struct seglog_conf *conf)
{
	struct logmake m, middle;
	struct seglog *log;

	logmake_init(&m, 8 * MIB, LSN0);
	may_end(0, 0);
	need(!seglog_open(conf, &log));
	may_end(LSN0, 0);
	need(!seglog_reset(log, LSN0));
	must_end(LSN0, 0);
	append(log, &m, 3, 777);
	append(log, &m, 7, 2001);	/* over a roll or two */
	append(log, &m, 1, 1);
	append(log, &m, 5, 1777);
	need(!seglog_truncate_before(log, LSN0 + 9 * MIB));
	middle = m;
	append(log, &m, 2, 300);
	append(log, &m, 6, 2000);
	/* cut off: any record from there to the end may be the last for a while */
	may_end(middle.lsn, middle.prev_crc);
	for (struct logmake it = middle; it.lsn < m.lsn;) {
		const struct dagtap_rec *rec = (void *)(m.base + (it.lsn & (m.size - 1)));

		it.lsn += 64 + le32toh(rec->payload);
		it.prev_crc = le32toh(rec->hdr_crc);
		may_end(it.lsn, it.prev_crc);
	}
	need(!seglog_truncate_after(log, middle.lsn));
	must_end(middle.lsn, middle.prev_crc);
	m = middle;
	append(log, &m, 4, 2048);	/* another history */
	jump(&m, m.lsn + 50 * MIB);
	need(!seglog_begin(log, m.lsn));
	must_end(m.lsn, 0);
	jump(&m, m.lsn + MIB);
	need(!seglog_begin(log, m.lsn));
	must_end(m.lsn, 0);
	append(log, &m, 3, 2000);
	jump(&m, LSN0);			/* the same numbers again */
	need(!seglog_reset(log, LSN0));
	must_end(LSN0, 0);
	append(log, &m, 5, 2001);
	seglog_close(log);
	logmake_free(&m);
}

static int ignore(void *ctx, const struct dagtap_rec *rec, const void *payload)
{
	return 0;
}

static void walk_everything(struct seglog *log)
{
	struct seglog_info i;
	uint64_t from;
	int rc;

	seglog_info(log, &i);
	from = i.first_lsn;
	for (;;) {
		rc = seglog_walk(log, from, UINT64_MAX, ignore, NULL);
		if (rc != -ENODATA || seglog_next_start(log, from + 1, &from))
			break;
	}
	cr_assert_eq(rc, 0);
}

static void check(const struct seglog_conf *conf, int n)
{
	struct seglog_ring ring;
	struct seglog *log;
	struct seglog_info i;
	bool found = false;
	struct logmake m;

	cr_assert_eq(seglog_open(conf, &log), 0, "call %d how %d", n, how);
	seglog_info(log, &i);
	for (unsigned k = 0; k < shared->nr; k++)
		found |= shared->point[k].lsn == i.end_lsn && shared->point[k].crc == i.end_crc;
	cr_assert(found, "call %d how %d: ends at %lu", n, how, (unsigned long)i.end_lsn);
	walk_everything(log);
	logmake_init(&m, MIB, i.end_lsn);
	m.epoch = 9;
	logmake_epoch(&m, 9);
	ring = logmake_ring(&m);
	cr_assert_eq(seglog_append(log, &ring, i.end_lsn, m.lsn), 0);
	seglog_close(log);
	cr_assert_eq(seglog_open(conf, &log), 0);
	seglog_info(log, &i);
	cr_assert_eq(i.end_lsn, m.lsn, "call %d how %d", n, how);
	cr_assert_eq(i.dropped_bytes, 0);
	seglog_close(log);
	logmake_free(&m);
}

/* Returns false when the work was done before the nth call. */
static bool crash_at(int n, unsigned spares)
{
	char *dir = tmpdir_make("/dev/shm");
	struct seglog_conf conf = {
		.dir = dir, .uuid = "crashing", .seg_bytes = 4 * MIB, .spares = spares,
	};
	int status;
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	pid = fork();
	if (!pid) {
		left = n;
		segfile_set_ops(&crashing);
		work(&conf);
		shared->done = true;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	cr_assert(WIFEXITED(status) && !WEXITSTATUS(status), "call %d how %d", n, how);
	check(&conf, n);
	tmpdir_remove(dir);
	return !shared->done;
}

/* Every other call from the first on: in halves each has time enough on a busy machine. */
static void crash_everywhere(unsigned spares, int first)
{
	log_set_level(LOG_LV_ERR - 1);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int n = first;; n += 2) {
		how = BEFORE;
		if (!crash_at(n, spares)) {
			cr_assert_gt(n, 50);
			return;
		}
		if (!shared->was_write)
			continue;
		how = FIRST_HALF;
		crash_at(n, spares);
		how = SECOND_HALF;
		crash_at(n, spares);
	}
}

Test(seglog_crash, at_every_odd_call)
{
	crash_everywhere(0, 1);
}

Test(seglog_crash, at_every_even_call)
{
	crash_everywhere(0, 2);
}

Test(seglog_crash, at_every_odd_call_with_spares)
{
	crash_everywhere(2, 1);
}

Test(seglog_crash, at_every_even_call_with_spares)
{
	crash_everywhere(2, 2);
}
