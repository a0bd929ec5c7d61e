// SPDX-License-Identifier: GPL-2.0
/* Branches: the tail of a log that became no part of the store is kept, whole. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log/branch.h"
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
