// SPDX-License-Identifier: GPL-2.0
/* The log of a store: appends, recovery, cuts, limits, and readers beside them. */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/log/segfile.h"
#include "daemon/log/seglog.h"
#include "daemon/log/segment.h"
#include "tests/lib/logmake.h"
#include "tests/lib/tmpdir.h"

#define MIB (1u << 20)
#define LSN0 (77777ull * 64)

static char *dir;
static struct logmake m;
static struct seglog *seglog;
static struct seglog_conf conf;

static void set_up(void)
{
	log_set_level(LOG_LV_ERR - 1);
	dir = tmpdir_make(NULL);
	conf = (struct seglog_conf){ .dir = dir, .uuid = "store of tests", .seg_bytes = 4 * MIB };
	logmake_init(&m, 16 * MIB, LSN0);
}

static void tear_down(void)
{
	seglog_close(seglog);
	logmake_free(&m);
	tmpdir_remove(dir);
}

static struct seglog_info info(void)
{
	struct seglog_info i;

	seglog_info(seglog, &i);
	return i;
}

static void open_log(int want)
{
	seglog_close(seglog);
	seglog = NULL;
	cr_assert_eq(seglog_open(&conf, &seglog), want);
}

static int append_to(uint64_t end)
{
	struct seglog_ring ring = logmake_ring(&m);

	return seglog_append(seglog, &ring, info().end_lsn, end);
}

static void append_all(void)
{
	cr_assert_eq(append_to(m.lsn), 0);
	cr_assert_eq(info().end_lsn, m.lsn);
	cr_assert_eq(info().end_crc, m.prev_crc);
	cr_assert_eq(info().end_seq, m.seq);
}

static void start_log(void)
{
	open_log(0);
	cr_assert_eq(seglog_reset(seglog, m.lsn), 0);
}

/* The log holds just what the ring holds from `from` on. */
static void check_bytes(uint64_t from, uint64_t end)
{
	uint8_t *want = malloc(end - from), *got = malloc(end - from);

	logmake_copy(&m, from, want, end - from);
	cr_assert_eq(seglog_read(seglog, from, got, end - from), (int64_t)(end - from));
	cr_assert_eq(memcmp(want, got, end - from), 0);
	free(want);
	free(got);
}

static int count(void *ctx, const struct dagtap_rec *rec, const void *payload)
{
	(*(unsigned *)ctx)++;
	return 0;
}

static unsigned records(uint64_t from, uint64_t to)
{
	unsigned n = 0;

	cr_assert_eq(seglog_walk(seglog, from, to, count, &n), 0);
	return n;
}

static void data(unsigned n, uint32_t sectors)
{
	while (n--)
		logmake_extent(&m, DAGTAP_REC_DATA, n * 8, sectors, m.seq);
}

TestSuite(seglog, .init = set_up, .fini = tear_down);

Test(seglog, empty_and_fresh)
{
	uint8_t b[64];

	open_log(0);
	cr_assert_eq(info().first_lsn, 0);
	cr_assert_eq(info().end_lsn, 0);
	cr_assert_eq(info().segments, 0);
	cr_assert_eq(seglog_read(seglog, 0, b, 64), 0);
	m.lsn = 0;
	data(3, 8);
	append_all();
	open_log(0);
	cr_assert_eq(info().end_lsn, m.lsn);
	check_bytes(0, m.lsn);
}

Test(seglog, batches_of_all_sizes_survive_reopening)
{
	unsigned n = 0;

	start_log();
	for (int i = 0; i < 60; i++) {
		unsigned k = 1 + i % 5;

		data(k, 1 + i * 3 % 16);
		if (i % 7 == 0)
			logmake_flush(&m);
		n += k + (i % 7 == 0);
		append_all();
		if (i % 9 == 0)
			open_log(0);
		cr_assert_eq(info().end_lsn, m.lsn);
	}
	check_bytes(LSN0, m.lsn);
	cr_assert_eq(records(LSN0, m.lsn), n);
	cr_assert_eq(info().end_time_ns, m.time_ns);
	cr_assert_eq(info().dropped_bytes, 0);
}

Test(seglog, ring_wraps_and_segments_roll)
{
	start_log();
	for (int i = 0; i < 40; i++) {
		uint64_t from = m.lsn;

		data(7, 200);
		data(1, 2048);
		append_all();
		check_bytes(from, m.lsn);
	}
	cr_assert_gt(info().segments, 10);
	open_log(0);
	cr_assert_eq(info().end_lsn, m.lsn);
	cr_assert_eq(records(LSN0, UINT64_MAX), 40 * 8);
}

Test(seglog, one_batch_over_several_segments)
{
	start_log();
	data(1, 3);
	append_all();
	data(14, 2000);
	append_all();
	cr_assert_eq(info().segments, 4);
	open_log(0);
	check_bytes(LSN0, m.lsn);
}

Test(seglog, without_o_direct)
{
	char *shm = tmpdir_make("/dev/shm");

	conf.dir = shm;
	start_log();
	for (int i = 0; i < 20; i++) {
		data(5, 77);
		append_all();
	}
	/* newer kernels have it on tmpfs */
	open_log(0);
	check_bytes(LSN0, m.lsn);
	seglog_close(seglog);
	seglog = NULL;
	tmpdir_remove(shm);
}

Test(seglog, refuses_what_does_not_fit)
{
	struct seglog_ring ring;
	uint64_t last;

	start_log();
	ring = logmake_ring(&m);
	data(2, 8);
	append_all();
	last = m.lsn;
	data(1, 8);
	cr_assert_eq(seglog_append(seglog, &ring, last - 64, m.lsn), -EINVAL);
	cr_assert_eq(seglog_append(seglog, &ring, last, last), -EINVAL);
	cr_assert_eq(seglog_append(seglog, &ring, last, m.lsn - 64), -EINVAL);
	m.base[(last + 20) & (m.size - 1)] ^= 1;
	cr_assert_eq(seglog_append(seglog, &ring, last, m.lsn), -EINVAL);
	m.base[(last + 20) & (m.size - 1)] ^= 1;
	cr_assert_eq(seglog_append(seglog, &ring, last, m.lsn), 0);
	cr_assert_eq(seglog_begin(seglog, m.lsn - 64), -EINVAL);
	cr_assert_eq(seglog_truncate_after(seglog, m.lsn + 64), -EINVAL);
}

Test(seglog, another_store_and_another_daemon)
{
	struct seglog *second;

	start_log();
	data(1, 8);
	append_all();
	cr_assert_eq(seglog_open(&conf, &second), -EBUSY);
	seglog_close(seglog);
	seglog = NULL;
	conf.uuid[0]++;
	cr_assert_eq(seglog_open(&conf, &second), -EUCLEAN);
}

/* Bytes from `off` of the only segment on become garbage. */
static void damage_file(uint64_t generation, off_t off, size_t len, bool zero)
{
	char name[SEG_NAME_BYTES];
	uint8_t *buf = malloc(len);
	int fd;

	seg_name(generation, name);
	fd = open(tmpdir_path(dir, name), O_WRONLY);
	cr_assert_geq(fd, 0);
	memset(buf, zero ? 0 : 0x5a, len);
	cr_assert_eq(pwrite(fd, buf, len, off), (ssize_t)len);
	close(fd);
	free(buf);
}

Test(seglog, torn_at_every_byte, .timeout = 240)
{
	uint64_t bound[16], end;
	unsigned n = 0;

	m.lsn = 4096 * 10 + 3968;	/* records over a block boundary */
	start_log();
	for (; n < 6; n++) {
		bound[n] = m.lsn;
		if (n % 3 == 2)
			logmake_flush(&m);
		else
			logmake_extent(&m, DAGTAP_REC_DATA, n, 1, n);
	}
	bound[n++] = m.lsn;
	append_all();
	end = m.lsn;
	for (uint64_t cut = end; cut >= bound[0]; cut--) {
		uint64_t want = 0, last = 0;

		for (unsigned i = 0; i < n; i++)
			if (bound[i] <= cut)
				want = bound[i];
		damage_file(1, seg_offset(bound[0], cut), end - cut + 1, cut & 1);
		open_log(0);
		cr_assert_eq(info().end_lsn, want, "cut at %lu", (unsigned long)cut);
		last = want;
		cr_assert_eq(records(bound[0], last), (unsigned)(want > bound[0]) * records(bound[0], want));
	}
	/* and it goes on from where it ended */
	m.lsn = bound[0];
	m.prev_crc = 0;
	data(3, 9);
	append_all();
	open_log(0);
	check_bytes(bound[0], m.lsn);
}

Test(seglog, what_stands_behind_a_torn_write_is_wiped)
{
	uint64_t a, b;

	start_log();
	data(1, 8);
	a = m.lsn;
	data(1, 8);
	b = m.lsn;
	data(8, 8);
	append_all();
	damage_file(1, seg_offset(LSN0, a + 64), 100, false);
	open_log(0);
	cr_assert_eq(info().end_lsn, a);
	cr_assert_gt(info().dropped_bytes, 8 * 4096);
	/* the same record again: what followed it must not come back */
	cr_assert_eq(append_to(b), 0);
	open_log(0);
	cr_assert_eq(info().end_lsn, b);
	cr_assert_eq(info().dropped_bytes, 0);
}

Test(seglog, damage_in_an_older_segment_is_told)
{
	uint8_t buf[4096];

	start_log();
	data(10, 2000);
	append_all();
	cr_assert_eq(info().segments, 3);
	damage_file(1, 4096 + 1000000, 10, false);
	open_log(-EBADMSG);
	cr_assert_not_null(seglog);
	cr_assert_eq(info().end_lsn, m.lsn);
	cr_assert_eq(seglog_read(seglog, LSN0, buf, sizeof(buf)), (int64_t)sizeof(buf));
	cr_assert_eq(seglog_walk(seglog, LSN0, UINT64_MAX, count, &(unsigned){ 0 }), -EBADMSG);
	/* the budget for older ones does not reach it */
	conf.verify_bytes = 1;
	open_log(0);
	conf.verify_bytes = 0;
	cr_assert_eq(seglog_reset(seglog, m.lsn), 0);
	open_log(0);
	cr_assert_eq(info().segments, 1);
}

Test(seglog, damaged_header_and_missing_file)
{
	uint64_t second;
	uint8_t b[64];

	start_log();
	data(10, 2000);
	append_all();
	cr_assert_eq(seglog_next_start(seglog, 0, &second), 0);
	cr_assert_eq(second, LSN0);
	damage_file(2, 100, 10, false);
	open_log(-EBADMSG);
	cr_assert_eq(info().segments, 2);
	cr_assert_eq(info().end_lsn, m.lsn);
	cr_assert_eq(seglog_read(seglog, LSN0 + 5 * MIB, b, 64), -EBADMSG);
	data(1, 8);
	append_all();
	/* the newest: nobody knows where the log ended */
	damage_file(3, 100, 10, false);
	open_log(-EBADMSG);
	cr_assert_eq(append_to(m.lsn), -EBADMSG);
	cr_assert_eq(seglog_truncate_after(seglog, info().end_lsn), 0);
	open_log(0);
	m.lsn = info().end_lsn;
	m.prev_crc = info().end_crc;
	data(1, 8);
	append_all();
}

Test(seglog, quota_leaves_everything_as_it_was)
{
	uint64_t end;
	int rc;

	conf.quota_bytes = 2 * conf.seg_bytes;
	conf.spares = 2;
	start_log();
	data(3, 2000);
	append_all();
	end = m.lsn;
	data(6, 2000);
	rc = append_to(m.lsn);
	cr_assert_eq(rc, -EDQUOT, "%d bytes=%lu", rc, (unsigned long)info().bytes);
	cr_assert_eq(info().end_lsn, end);
	check_bytes(LSN0, end);
	cr_assert_leq(info().bytes, conf.quota_bytes);
	open_log(0);
	cr_assert_eq(info().end_lsn, end);
	cr_assert_eq(info().dropped_bytes, 0);
	/* a full log can always be begun anew */
	m.lsn = end;
	data(4, 2000);
	cr_assert_eq(seglog_reset(seglog, m.lsn), 0);
}

/* ---- failing system calls ----------------------------------------------- */

static struct {
	int at, n, error;
} fault;

static int fault_hit(void)
{
	return ++fault.n == fault.at ? -fault.error : 0;
}

static ssize_t f_pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	struct iovec half = { .iov_base = iov->iov_base, .iov_len = iov->iov_len & ~4095ul };
	int rc = fault_hit();

	/* what was written before there was no space any more */
	if (rc)
		segfile_posix.pwritev2(fd, &half, 1, off, flags);
	return rc ? rc : segfile_posix.pwritev2(fd, iov, n, off, flags);
}

static int f_allocate(int fd, off_t len)
{
	int rc = fault_hit();

	return rc ? rc : segfile_posix.allocate(fd, len);
}

static int f_sync(int fd)
{
	int rc = fault_hit();

	return rc ? rc : segfile_posix.sync(fd);
}

static int f_rename(int dfd, const char *from, const char *to)
{
	int rc = fault_hit();

	return rc ? rc : segfile_posix.rename(dfd, from, to);
}

static int f_unlink(int dfd, const char *name)
{
	int rc = fault_hit();

	return rc ? rc : segfile_posix.unlink(dfd, name);
}

static const struct segfile_ops faulty = { f_pwritev2, f_allocate, f_sync, f_rename, f_unlink };

static bool append_with_fault(int at, int error, int want)
{
	uint64_t before, end;
	struct logmake old;
	int rc;

	open_log(0);
	cr_assert_eq(seglog_reset(seglog, LSN0), 0);
	logmake_free(&m);
	logmake_init(&m, 16 * MIB, LSN0);
	data(3, 1999);
	append_all();
	before = m.lsn;
	old = m;
	data(6, 1999);
	end = m.lsn;
	fault.at = at;
	fault.n = 0;
	fault.error = error;
	segfile_set_ops(&faulty);
	rc = append_to(end);
	segfile_set_ops(NULL);
	if (fault.n < at) {
		cr_assert_eq(rc, 0);
		return false;
	}
	cr_assert_eq(rc, want, "call %d: %d", at, rc);
	cr_assert_eq(info().end_lsn, before);
	cr_assert_eq(info().end_crc, old.prev_crc);
	cr_assert_eq(append_to(end), want == -EIO ? -EIO : 0);
	open_log(0);
	if (want != -EIO) {
		cr_assert_eq(info().end_lsn, end);
		check_bytes(LSN0, end);
	} else {
		/* of what failed, some whole records may have reached the disk */
		cr_assert_geq(info().end_lsn, before);
		cr_assert_eq(records(LSN0, UINT64_MAX) >= 3, 1);
	}
	return true;
}

Test(seglog, no_space_at_every_call)
{
	int n = 1;

	while (append_with_fault(n, ENOSPC, -ENOSPC))
		n++;
	cr_assert_gt(n, 8);
}

/* A file system that is really full, and then has room again. */
Test(seglog, full_file_system)
{
	char *full = tmpdir_make("/dev/shm");
	uint64_t end;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", full, "tmpfs", 0, "size=10m")) {
		tmpdir_remove(full);
		cr_skip("not allowed to mount");
	}
	conf.dir = full;
	start_log();
	data(3, 2000);
	append_all();
	end = m.lsn;
	data(6, 2000);
	cr_assert_eq(append_to(m.lsn), -ENOSPC);
	cr_assert_eq(info().end_lsn, end);
	cr_assert_eq(mount("none", full, "tmpfs", MS_REMOUNT, "size=20m"), 0);
	cr_assert_eq(append_to(m.lsn), 0);
	open_log(0);
	check_bytes(LSN0, m.lsn);
	seglog_close(seglog);
	seglog = NULL;
	umount(full);
	tmpdir_remove(full);
}

Test(seglog, io_error_at_every_call)
{
	int n = 1;

	while (append_with_fault(n, EIO, -EIO))
		n++;
	cr_assert_gt(n, 8);
}

/* ---- both ends ---------------------------------------------------------- */

Test(seglog, old_end_is_recycled_and_never_parsed)
{
	uint8_t b[64];
	uint64_t first;

	conf.spares = 2;
	start_log();
	for (int i = 0; i < 60; i++) {
		data(3, 1000);
		append_all();
		if (m.lsn > LSN0 + 9 * MIB)
			cr_assert_eq(seglog_truncate_before(seglog, m.lsn - 9 * MIB), 0);
		cr_assert_leq(info().segments, 4);
		if (i % 11 == 0)
			open_log(0);
		cr_assert_eq(info().end_lsn, m.lsn);
		cr_assert_eq(info().dropped_bytes, 0);
	}
	first = info().first_lsn;
	cr_assert_gt(first, LSN0);
	cr_assert_eq(seglog_read(seglog, first - 64, b, 64), -ENODATA);
	check_bytes(first, m.lsn);
	/* the newest stays */
	cr_assert_eq(seglog_truncate_before(seglog, UINT64_MAX), 0);
	cr_assert_eq(info().segments, 1);
	data(1, 8);
	append_all();
}

static uint64_t spares_now(void)
{
	struct seglog_info i = info();

	return i.bytes / conf.seg_bytes - i.segments;
}

/* A log that is busy keeps the files it will need next, one at rest gives them back. */
static uint64_t spares_of_busy_log(uint64_t quota_segments)
{
	uint64_t kept;

	conf.spares = 1;
	conf.quota_bytes = quota_segments * conf.seg_bytes;
	start_log();
	while (info().segments < 7) {
		data(3, 1000);
		append_all();
	}
	cr_assert_eq(seglog_truncate_before(seglog, m.lsn), 0);
	cr_assert_eq(info().segments, 1);
	kept = spares_now();
	/* what they hold is never found again */
	open_log(0);
	cr_assert_eq(info().end_lsn, m.lsn);
	cr_assert_eq(info().dropped_bytes, 0);
	cr_assert_leq(spares_now(), 2);
	return kept;
}

Test(seglog, busy_log_keeps_what_falls_out)
{
	cr_assert_geq(spares_of_busy_log(0), 6);
	while (info().segments < 7) {
		data(3, 1000);
		append_all();
	}
	cr_assert_eq(seglog_truncate_before(seglog, m.lsn), 0);
	cr_assert_geq(spares_now(), 6);
	cr_assert_eq(seglog_truncate_before(seglog, m.lsn), 0);
	cr_assert_leq(spares_now(), 2);	/* one more may be in the making */
	check_bytes(info().first_lsn, m.lsn);
}

Test(seglog, narrow_quota_is_not_filled_with_spares)
{
	cr_assert_leq(spares_of_busy_log(10), 2);
}

/* A segment goes when the record behind it is old enough, and not before. */
Test(seglog, old_end_goes_by_age)
{
	uint64_t bound[8], t[8], first;

	start_log();
	for (int i = 0; i < 8; i++) {
		m.time_ns = (i + 1) * 1000000000ull;
		data(2, 1999);		/* half a segment */
		append_all();
		bound[i] = m.lsn;
		t[i] = m.time_ns;
	}
	first = info().first_lsn;
	cr_assert_geq(info().segments, 4);
	cr_assert_eq(seglog_truncate_aged(seglog, m.lsn, 0, t[0] - 1), 0);
	cr_assert_eq(info().first_lsn, first);
	cr_assert_eq(seglog_truncate_aged(seglog, first, 0, UINT64_MAX - 1), 0);
	cr_assert_eq(info().first_lsn, first, "not beyond the LSN, however old");
	cr_assert_eq(seglog_truncate_aged(seglog, m.lsn, 0, t[3]), 0);
	cr_assert_gt(info().first_lsn, first);
	cr_assert_leq(info().first_lsn, bound[3]);
	first = info().first_lsn;
	check_bytes(first, m.lsn);
	/* below free_lsn the time does not matter */
	cr_assert_eq(seglog_truncate_aged(seglog, m.lsn, bound[5], 0), 0);
	cr_assert_gt(info().first_lsn, first);
	cr_assert_leq(info().first_lsn, bound[5]);
	cr_assert_eq(seglog_truncate_aged(seglog, m.lsn, 0, UINT64_MAX), 0);
	cr_assert_eq(info().segments, 1);
	conf.read_only = true;
	open_log(0);
	cr_assert_eq(seglog_truncate_aged(seglog, m.lsn, 0, UINT64_MAX), -EROFS);
}

Test(seglog, cut_at_every_boundary)
{
	uint64_t bound[13];

	for (int cut = 12; cut >= 0; cut--) {
		open_log(0);
		cr_assert_eq(seglog_reset(seglog, LSN0), 0);
		logmake_free(&m);
		logmake_init(&m, 16 * MIB, LSN0);
		for (int i = 0; i < 12; i++) {
			bound[i] = m.lsn;
			data(1, 1999 - (i == 5) * 1990);
		}
		bound[12] = m.lsn;
		append_all();
		cr_assert_eq(seglog_truncate_after(seglog, bound[cut] + 64),
			     cut == 12 || bound[cut] + 64 > m.lsn ? -EINVAL : -EINVAL);
		cr_assert_eq(seglog_truncate_after(seglog, bound[cut]), 0);
		cr_assert_eq(info().end_lsn, bound[cut]);
		if (cut & 1)
			open_log(0);
		cr_assert_eq(info().end_lsn, bound[cut]);
		cr_assert_eq(records(LSN0, UINT64_MAX), (unsigned)cut);
		/* another history from here on; the old one does not shine through */
		m.lsn = bound[cut];
		logmake_epoch(&m, 2);
		append_all();
		open_log(0);
		cr_assert_eq(info().end_lsn, m.lsn);
		cr_assert_eq(info().end_epoch, 2);
		cr_assert_eq(info().dropped_bytes, 0);
	}
}

Test(seglog, gaps)
{
	uint64_t low, next, high = LSN0 + 100 * MIB;
	uint8_t b[4096];

	start_log();
	data(5, 2000);
	append_all();
	low = m.lsn;
	/* begun twice: the first never got a record */
	cr_assert_eq(seglog_begin(seglog, high - 6400), 0);
	cr_assert_eq(seglog_begin(seglog, high), 0);
	cr_assert_eq(info().end_lsn, high);
	m.lsn = high;
	m.prev_crc = 0;
	data(5, 2000);
	append_all();
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(seglog_read(seglog, low, b, 64), -ENODATA);
		cr_assert_eq(seglog_read(seglog, low - 4096, b, sizeof(b)), 4096);
		cr_assert_eq(seglog_next_start(seglog, low, &next), 0);
		cr_assert_eq(next, high);
		cr_assert_eq(seglog_next_start(seglog, high, &next), -ENODATA);
		cr_assert_eq(records(LSN0, low), 5);
		cr_assert_eq(records(high, UINT64_MAX), 5);
		cr_assert_eq(seglog_walk(seglog, LSN0, UINT64_MAX, count, &(unsigned){ 0 }), -ENODATA);
		cr_assert_eq(info().first_lsn, LSN0);
		open_log(0);
	}
	/* no gap but a new chain */
	cr_assert_eq(seglog_begin(seglog, m.lsn), 0);
	m.prev_crc = 0;
	data(3, 7);
	append_all();
	open_log(0);
	cr_assert_eq(records(high, UINT64_MAX), 8);
	cr_assert_eq(seglog_truncate_after(seglog, low), 0);
	cr_assert_eq(info().end_lsn, low);
	cr_assert_eq(info().segments, 2);
}

Test(seglog, reset_to_a_lower_lsn)
{
	start_log();
	data(10, 2000);
	append_all();
	m.lsn = 640;
	cr_assert_eq(seglog_reset(seglog, 640), 0);
	open_log(0);
	cr_assert_eq(info().first_lsn, 640);
	cr_assert_eq(info().end_lsn, 640);
	cr_assert_eq(info().segments, 1);
	m.prev_crc = 123;
	data(4, 2000);
	append_all();
	open_log(0);
	check_bytes(640, m.lsn);
}

Test(seglog, read_only_changes_nothing)
{
	start_log();
	data(3, 8);
	append_all();
	seglog_close(seglog);
	seglog = NULL;
	conf.read_only = true;
	open_log(0);
	cr_assert_eq(info().end_lsn, m.lsn);
	cr_assert_eq(seglog_truncate_after(seglog, LSN0), -EROFS);
	cr_assert_eq(seglog_truncate_before(seglog, m.lsn), -EROFS);
	cr_assert_eq(seglog_reset(seglog, LSN0), -EROFS);
	cr_assert_eq(seglog_begin(seglog, m.lsn), -EROFS);
	data(1, 8);
	cr_assert_eq(append_to(m.lsn), -EROFS);
}

/* ---- several threads ---------------------------------------------------- */

static bool finished;
static uint64_t seen;

static void *reader(void *arg)
{
	uint64_t bytes = 0;

	while (!__atomic_load_n(&finished, __ATOMIC_ACQUIRE)) {
		struct seglog_info i = info();
		unsigned n = 0;
		int rc;

		/* -ENODATA: was recycled before it was read */
		rc = seglog_walk(seglog, i.first_lsn, i.end_lsn, count, &n);
		if (rc && rc != -ENODATA)
			return (void *)1;
		bytes += n;
	}
	__atomic_add_fetch(&seen, bytes, __ATOMIC_RELAXED);
	return NULL;
}

static void *truncator(void *arg)
{
	while (!__atomic_load_n(&finished, __ATOMIC_ACQUIRE)) {
		uint64_t end = info().end_lsn;

		if (end > LSN0 + 6 * MIB && seglog_truncate_before(seglog, end - 6 * MIB))
			return (void *)1;
		usleep(500);
	}
	return NULL;
}

Test(seglog, readers_and_truncation_beside_appends, .timeout = 100)
{
	pthread_t t[4];
	void *bad;

	conf.spares = 1;
	start_log();
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, reader, NULL);
	pthread_create(&t[3], NULL, truncator, NULL);
	for (int i = 0; i < 400; i++) {
		uint64_t keep = m.lsn;
		struct logmake old = m;

		data(1 + i % 9, 40);
		append_all();
		if (i % 50 == 49) {	/* a tail that is cut off and written anew */
			cr_assert_eq(seglog_truncate_after(seglog, keep), 0);
			m = old;
			data(1, 90);
			append_all();
		}
	}
	__atomic_store_n(&finished, true, __ATOMIC_RELEASE);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &bad);
		cr_assert_null(bad);
	}
	cr_assert_gt(seen, 1000);
	check_bytes(info().first_lsn, m.lsn);
}
