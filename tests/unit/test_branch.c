// SPDX-License-Identifier: GPL-2.0
/* Branches: the tail of a log that became no part of the store is kept, whole. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log/branch.h"
#include "daemon/log/branch_content.h"
#include "tests/lib/logmake.h"
#include "tests/lib/tmpdir.h"

#define MIB	(1u << 20)
#define LSN0	(64ull * 5000)

static struct logmake m;
static char *dir;
static struct seglog *seglog;
static uint64_t stored;

static void open_log(uint64_t quota)
{
	struct seglog_conf conf = {
		.dir = dir, .uuid = "store of tests", .seg_bytes = 4 * MIB, .quota_bytes = quota,
	};

	cr_assert_eq(seglog_open(&conf, &seglog), 0);
}

static void set_up(void)
{
	dir = tmpdir_make(NULL);
	logmake_init(&m, 32 * MIB, LSN0);
	logmake_epoch(&m, 3);
	stored = LSN0;
}

static void remove_branches(void)
{
	struct branch list[BRANCHES_MAX];
	unsigned n = branch_list(dir, list, BRANCHES_MAX);
	char name[64];

	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "branch-%u-%llu", list[i].epoch,
			 (unsigned long long)list[i].first_lsn);
		tmpdir_remove(strdup(tmpdir_path(dir, name)));
	}
}

static void tear_down(void)
{
	if (seglog)
		seglog_close(seglog);
	remove_branches();
	tmpdir_remove(dir);
	logmake_free(&m);
}

TestSuite(branch, .init = set_up, .fini = tear_down, .timeout = 60);

static void store(void)
{
	struct seglog_ring ring = logmake_ring(&m);

	if (stored == LSN0)
		cr_assert_eq(seglog_reset(seglog, LSN0), 0);
	cr_assert_eq(seglog_append(seglog, &ring, stored, m.lsn), 0);
	stored = m.lsn;
}

static uint64_t writes(unsigned n)
{
	uint64_t at = m.lsn;

	while (n--)
		logmake_extent(&m, DAGTAP_REC_DATA, n * 8, 64, n);
	return at;
}

/* Is what stands in the branch what was in the log? */
static void expect_same(const struct branch *b)
{
	struct seglog_conf conf = { .uuid = "store of tests", .read_only = true,
				    .seg_bytes = 4 * MIB };
	uint64_t len = b->end_lsn - b->first_lsn;
	uint8_t *is = malloc(len), *was = malloc(len);
	char name[300];
	struct seglog *log;

	snprintf(name, sizeof(name), "%.200s/branch-%u-%llu", dir, b->epoch,
		 (unsigned long long)b->first_lsn);
	conf.dir = name;
	cr_assert_eq(seglog_open(&conf, &log), 0);
	cr_assert_eq(seglog_read(log, b->first_lsn, is, len), (int64_t)len);
	logmake_copy(&m, b->first_lsn, was, len);
	cr_assert_eq(memcmp(is, was, len), 0);
	seglog_close(log);
	free(is);
	free(was);
}

Test(branch, a_tail_over_several_segments)
{
	struct branch list[BRANCHES_MAX];
	uint64_t at;

	open_log(0);
	writes(20);
	at = writes(400);	/* 13 MiB */
	store();
	cr_assert_eq(branch_keep(seglog, at), 1);
	cr_assert_eq(branch_list(dir, list, BRANCHES_MAX), 1);
	cr_assert_eq(list[0].epoch, 3);
	cr_assert_eq(list[0].first_lsn, at);
	cr_assert_eq(list[0].end_lsn, m.lsn);
	cr_assert_geq(list[0].bytes, m.lsn - at);
	expect_same(&list[0]);
	/* A crash before the log was cut: the same again changes nothing. */
	cr_assert_eq(branch_keep(seglog, at), 0);
	cr_assert_eq(branch_list(dir, list, BRANCHES_MAX), 1);
	/* The log does not mind what lies beside it. */
	cr_assert_eq(seglog_truncate_after(seglog, at), 0);
	seglog_close(seglog);
	open_log(0);
	expect_same(&list[0]);
}

Test(branch, what_changes_nothing_makes_none)
{
	struct branch list[BRANCHES_MAX];
	uint64_t at;

	open_log(0);
	writes(5);
	at = m.lsn;
	logmake_flush(&m);
	logmake_state(&m, DAGTAP_STATE_CLOSE);
	logmake_extent(&m, DAGTAP_REC_RESYNC, 0, 64, 1);
	store();
	cr_assert_eq(branch_keep(seglog, at), 0);
	cr_assert_eq(branch_keep(seglog, m.lsn), 0);
	cr_assert_eq(branch_list(dir, list, BRANCHES_MAX), 0);
}

Test(branch, a_fork_within_a_record_keeps_it_whole)
{
	struct branch list[BRANCHES_MAX];
	uint64_t at;

	open_log(0);
	writes(5);
	at = writes(5);
	store();
	cr_assert_eq(branch_keep(seglog, at + 64), 1);
	cr_assert_eq(branch_list(dir, list, BRANCHES_MAX), 1);
	cr_assert_eq(list[0].first_lsn, at);
	expect_same(&list[0]);
}

Test(branch, a_gap_begins_another)
{
	struct branch list[BRANCHES_MAX];
	uint64_t at, jump;

	open_log(0);
	writes(5);
	at = writes(5);
	store();
	jump = m.lsn + 64 * 1000;
	cr_assert_eq(seglog_begin(seglog, jump), 0);
	m.lsn = stored = jump;
	logmake_epoch(&m, 4);
	writes(5);
	store();
	cr_assert_eq(branch_keep(seglog, at), 2);
	cr_assert_eq(branch_list(dir, list, BRANCHES_MAX), 2);
	cr_assert_eq(list[0].first_lsn, at);
	cr_assert_eq(list[0].end_lsn, jump - 64 * 1000);
	cr_assert_eq(list[1].epoch, 4);
	cr_assert_eq(list[1].first_lsn, jump);
	expect_same(&list[0]);
	expect_same(&list[1]);
}

Test(branch, past_the_quota_the_oldest_goes)
{
	struct branch list[BRANCHES_MAX];
	uint64_t at[4];

	open_log(24 * MIB);
	for (unsigned i = 0; i < 4; i++) {
		at[i] = writes(130);	/* 4 MiB, in a file of more */
		store();
		cr_assert_eq(branch_keep(seglog, at[i]), 1);
		seglog_truncate_before(seglog, m.lsn);
	}
	unsigned n = branch_list(dir, list, BRANCHES_MAX);

	cr_assert_gt(n, 1);
	cr_assert_lt(n, 4, "nothing made room");
	cr_assert_eq(list[n - 1].first_lsn, at[3], "the newest stays");
	cr_assert_eq(list[0].first_lsn, at[4 - n], "the oldest goes first");
	for (unsigned i = 0; i < n; i++)
		expect_same(&list[i]);
}

/* Names that are not ours, and a branch that is none, harm nobody. */
Test(branch, strange_names)
{
	struct branch list[BRANCHES_MAX];
	unsigned n = 0;

	open_log(0);
	mkdir(tmpdir_path(dir, "branch-1-64"), 0700);
	mkdir(tmpdir_path(dir, "branch-01-64"), 0700);
	mkdir(tmpdir_path(dir, "branch-1-64x"), 0700);
	mkdir(tmpdir_path(dir, "branch-"), 0700);
	cr_assert_eq(branch_list(dir, list, BRANCHES_MAX), 1);
	cr_assert_eq(list[0].end_lsn, 64);
	branch_refresh(dir, list, &n);
	cr_assert_eq(n, 1);
	rmdir(tmpdir_path(dir, "branch-1-64"));
	branch_refresh(dir, list, &n);
	cr_assert_eq(n, 0);
	rmdir(tmpdir_path(dir, "branch-01-64"));
	rmdir(tmpdir_path(dir, "branch-1-64x"));
	rmdir(tmpdir_path(dir, "branch-"));
}

/* ---- what a branch holds ------------------------------------------------------ */

/* DATA over DATA, a discard in the middle, and what is no change. */
static struct branch known_branch(void)
{
	struct branch list[BRANCHES_MAX];
	uint64_t at;

	open_log(0);
	writes(3);
	at = m.lsn;
	logmake_extent(&m, DAGTAP_REC_DATA, 100, 16, 1);
	logmake_extent(&m, DAGTAP_REC_DATA, 108, 16, 2);
	logmake_flags(&m, DAGTAP_REC_DISCARD, 0, 104, 4);
	logmake_extent(&m, DAGTAP_REC_RESYNC, 900, 8, 3);
	logmake_extent(&m, DAGTAP_REC_DATA, 4096, 8, 4);
	logmake_flush(&m);
	store();
	cr_assert_eq(branch_keep(seglog, at), 1);
	cr_assert_eq(branch_list(dir, list, BRANCHES_MAX), 1);
	return list[0];
}

Test(branch, content_is_counted)
{
	struct branch b = known_branch();
	struct branch_content c;

	cr_assert_eq(branch_content(dir, &b, 0, &c), 0);
	cr_assert(c.counted);
	cr_assert_eq(c.records, 6);
	cr_assert_eq(c.writes, 4);
	cr_assert_eq(c.written_bytes, (16 + 16 + 4 + 8) * 512);
	cr_assert_eq(c.changed.nr, 2);
	cr_assert_eq(c.changed.list[0].sector, 100);
	cr_assert_eq(c.changed.list[0].end, 124);
	cr_assert_eq(c.changed.list[1].sector, 4096);
	cr_assert(c.kept_ns);
	branch_content_free(&c);
	/* a deadline that has passed: said so, and no error */
	cr_assert_eq(branch_content(dir, &b, 1, &c), 0);
	cr_assert_not(c.counted);
	branch_content_free(&c);
}

Test(branch, a_branch_without_its_segments_is_not_counted)
{
	struct branch b = { .epoch = 9, .first_lsn = 64 };
	struct branch_content c;

	cr_assert_eq(branch_content(dir, &b, 0, &c), -ENOENT);
	cr_assert_not(c.counted);
	branch_content_free(&c);
	b = known_branch();
	b.end_lsn += 64;	/* as if its last segment were gone */
	cr_assert_eq(branch_content(dir, &b, 0, &c), 0);
	cr_assert_not(c.counted);
	branch_content_free(&c);
}

static void read_at(int fd, uint64_t sector, uint8_t *to, unsigned sectors)
{
	cr_assert_eq(pread(fd, to, sectors * 512, sector * 512), sectors * 512);
}

Test(branch, extract_writes_what_it_wrote_and_nothing_else)
{
	struct branch b = known_branch();
	int fd = open(tmpdir_path(dir, "image"), O_RDWR | O_CREAT, 0600);
	uint8_t got[32 * 512], want[16 * 512], before[512];

	cr_assert_eq(ftruncate(fd, 8192 * 512), 0);
	memset(before, 0x5a, sizeof(before));
	cr_assert_eq(pwrite(fd, before, 512, 99 * 512), 512);
	cr_assert_eq(pwrite(fd, before, 512, 900 * 512), 512);
	cr_assert_eq(branch_extract(dir, &b, fd, 8192), 0);
	read_at(fd, 99, got, 1);
	cr_assert_arr_eq(got, before, 512);
	read_at(fd, 900, got, 1);
	cr_assert_arr_eq(got, before, 512, "a resync changes nothing");
	/* the second write stands over the first, the discard over the first only */
	logmake_copy(&m, b.first_lsn + 64, want, 4 * 512);
	read_at(fd, 100, got, 4);
	cr_assert_arr_eq(got, want, 4 * 512);
	memset(want, 0, 4 * 512);
	read_at(fd, 104, got, 4);
	cr_assert_arr_eq(got, want, 4 * 512);
	logmake_copy(&m, b.first_lsn + 2 * 64 + 16 * 512, want, 16 * 512);
	read_at(fd, 108, got, 16);
	cr_assert_arr_eq(got, want, 16 * 512);
	/* a store that is smaller than what was written is another one */
	cr_assert_eq(branch_extract(dir, &b, fd, 4000), -EBADMSG);
	close(fd);
	unlink(tmpdir_path(dir, "image"));
}

Test(branch, extract_tells_damage)
{
	struct branch b = known_branch();
	char name[BRANCH_NAME_BYTES], path[512];
	struct dirent *e;
	int fd, image;
	DIR *d;

	branch_name(&b, name);
	snprintf(path, sizeof(path), "%.200s/%s", dir, name);
	d = opendir(path);
	while ((e = readdir(d)) && !strstr(e->d_name, ".log"))
		;
	cr_assert_not_null(e);
	fd = openat(dirfd(d), e->d_name, O_WRONLY);
	cr_assert_eq(pwrite(fd, "damage", 6, 4096 + (b.first_lsn & 4095) + 64 + 300), 6);
	close(fd);
	closedir(d);
	image = open(tmpdir_path(dir, "image"), O_RDWR | O_CREAT, 0600);
	cr_assert_eq(branch_extract(dir, &b, image, 8192), -EBADMSG);
	close(image);
	unlink(tmpdir_path(dir, "image"));
}

Test(branch, drop_removes_one_and_tells_when_there_is_none)
{
	struct branch b = known_branch(), list[BRANCHES_MAX], other = b;

	other.first_lsn += 64;
	cr_assert_eq(branch_drop(dir, &other), -ENOENT);
	cr_assert_eq(branch_list(dir, list, BRANCHES_MAX), 1);
	cr_assert_eq(branch_drop(dir, &b), 0);
	cr_assert_eq(branch_list(dir, list, BRANCHES_MAX), 0);
	cr_assert_eq(branch_drop(dir, &b), -ENOENT);
}
