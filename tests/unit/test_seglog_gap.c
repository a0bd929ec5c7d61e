// SPDX-License-Identifier: GPL-2.0
/*
 * The log of a copy where the active's began anew: GAP records in the segments,
 * from the append over recovery to inspection; and where a batch may end.
 */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/log/segfile.h"
#include "daemon/log/seglog.h"
#include "daemon/log/segment.h"
#include "daemon/ship/inspect.h"
#include "kmod/core/record.h"
#include "tests/lib/logmake.h"
#include "tests/lib/tmpdir.h"

#define MIB	(1u << 20)
#define LSN0	(77777ull * 64)
#define SECTORS	(1u << 20)

static char *dir;
static struct logmake m;
static struct seglog *seglog;
static struct seglog_conf conf;

static void set_up(void)
{
	log_set_level(LOG_LV_ERR - 1);
	dir = tmpdir_make(NULL);
	conf = (struct seglog_conf){ .dir = dir, .uuid = "store with gaps", .seg_bytes = 4 * MIB };
	logmake_init(&m, 16 * MIB, LSN0);
	cr_assert_eq(seglog_open(&conf, &seglog), 0);
	cr_assert_eq(seglog_reset(seglog, LSN0), 0);
}

static void tear_down(void)
{
	seglog_close(seglog);
	logmake_free(&m);
	tmpdir_remove(dir);
}

TestSuite(seglog_gap, .init = set_up, .fini = tear_down);

static struct seglog_info info(void)
{
	struct seglog_info i;

	seglog_info(seglog, &i);
	return i;
}

static void open_again(void)
{
	seglog_close(seglog);
	seglog = NULL;
	cr_assert_eq(seglog_open(&conf, &seglog), 0);
}

static int append(void)
{
	struct seglog_ring ring = logmake_ring(&m);

	return seglog_append(seglog, &ring, info().end_lsn, m.lsn);
}

static void data(unsigned n, uint32_t sectors)
{
	while (n--)
		logmake_extent(&m, DAGTAP_REC_DATA, n * 8, sectors, m.seq);
}

/* As the tap does out of TRACKING: the ring is empty, the chain begins. Its LSN. */
static uint64_t gap_at(uint64_t lsn)
{
	m.lsn = lsn;
	m.prev_crc = 0;
	return logmake_state(&m, DAGTAP_STATE_GAP);
}

/* The inspection of the receiver, over [from, end of the log). */
static struct inspect inspect_from(uint64_t from, uint32_t prev_crc)
{
	return (struct inspect){
		.ring = logmake_ring(&m), .next = from, .sectors = SECTORS, .tag = m.tag,
		.epoch_max = m.epoch, .prev_crc = prev_crc, .any_prev = !prev_crc,
	};
}

struct seen {
	unsigned records, gaps;
	uint64_t gap_lsn, gap_from;
};

static int see(void *ctx, const struct dagtap_rec *rec, const void *payload)
{
	const struct dagtap_state_payload *sp = payload;
	struct seen *s = ctx;

	s->records++;
	if (rec->type == DAGTAP_REC_STATE && rec->kind == DAGTAP_STATE_GAP) {
		s->gaps++;
		s->gap_lsn = le64toh(rec->lsn);
		s->gap_from = le64toh(sp->from_lsn);
	}
	return 0;
}

static struct seen walk(uint64_t from, uint64_t to)
{
	struct seen s = { 0 };

	cr_assert_eq(seglog_walk(seglog, from, to, see, &s), 0);
	return s;
}

static void check_bytes(uint64_t from, uint64_t end)
{
	uint8_t *want = malloc(end - from), *got = malloc(end - from);

	logmake_copy(&m, from, want, end - from);
	cr_assert_eq(seglog_read(seglog, from, got, end - from), (int64_t)(end - from));
	cr_assert_eq(memcmp(want, got, end - from), 0);
	free(want);
	free(got);
}

/* ---- GAP ------------------------------------------------------------------------ */

/* The copy kept up: the new chain begins just where its log ends, in one batch. */
Test(seglog_gap, in_the_middle_of_a_segment)
{
	struct inspect in = inspect_from(LSN0, 0);
	struct seen s, i = { 0 };
	uint64_t gap;

	data(5, 77);
	gap = gap_at(m.lsn);
	data(6, 99);
	cr_assert_eq(inspect_feed(&in, m.lsn, see, &i), 0, "%s", in.why);
	cr_assert_eq(in.next, m.lsn);
	cr_assert_eq(in.records, 12);
	cr_assert_eq(i.gap_lsn, gap);
	cr_assert_eq(append(), 0);
	for (int round = 0; round < 2; round++) {
		cr_assert_eq(info().segments, 1);
		cr_assert_eq(info().end_lsn, m.lsn);
		cr_assert_eq(info().end_crc, m.prev_crc);
		cr_assert_eq(info().end_seq, m.seq);
		s = walk(LSN0, UINT64_MAX);
		cr_assert_eq(s.records, 12);
		cr_assert_eq(s.gaps, 1);
		cr_assert_eq(s.gap_lsn, gap);
		cr_assert_eq(s.gap_from, gap);
		check_bytes(LSN0, m.lsn);
		open_again();
		cr_assert_eq(info().dropped_bytes, 0);
	}
	/* and a walk or an inspection may begin at it */
	cr_assert_eq(walk(gap, UINT64_MAX).records, 7);
	in = inspect_from(gap, 0);
	cr_assert_eq(inspect_feed(&in, m.lsn, NULL, NULL), 0);
	data(1, 1);
	cr_assert_eq(append(), 0);
}

/* With ROLEF_GAP it is the second record of an epoch, chained to the first. */
Test(seglog_gap, behind_an_epoch)
{
	struct inspect in = inspect_from(LSN0, 0);
	struct seen s;

	data(3, 8);
	logmake_epoch(&m, 2);
	in.epoch_max = 2;
	logmake_state(&m, DAGTAP_STATE_GAP);
	data(3, 8);
	cr_assert_eq(inspect_feed(&in, m.lsn, NULL, NULL), 0, "%s", in.why);
	cr_assert_eq(append(), 0);
	open_again();
	cr_assert_eq(info().end_epoch, 2);
	s = walk(LSN0, UINT64_MAX);
	cr_assert_eq(s.records, 8);
	cr_assert_eq(s.gaps, 1);
}

/* The copy lost the log between: the GAP stands first behind a jump. */
Test(seglog_gap, behind_a_jump)
{
	uint64_t low, gap = LSN0 + 100 * MIB, next;
	uint8_t b[64];

	data(5, 2000);
	cr_assert_eq(append(), 0);
	low = m.lsn;
	gap_at(gap);
	cr_assert_eq(append(), -EINVAL, "the log has not jumped yet");
	cr_assert_eq(seglog_begin(seglog, gap), 0);
	data(5, 2000);
	cr_assert_eq(append(), 0);
	for (int round = 0; round < 2; round++) {
		cr_assert_eq(info().end_lsn, m.lsn);
		cr_assert_eq(info().first_lsn, LSN0);
		cr_assert_eq(seglog_read(seglog, low, b, sizeof(b)), -ENODATA);
		cr_assert_eq(seglog_next_start(seglog, low, &next), 0);
		cr_assert_eq(next, gap);
		cr_assert_eq(walk(LSN0, low).gaps, 0);
		cr_assert_eq(walk(gap, UINT64_MAX).records, 6);
		cr_assert_eq(walk(gap, UINT64_MAX).gap_lsn, gap);
		check_bytes(gap, m.lsn);
		open_again();
	}
}

/* The first record of a segment that is full of others: recovery reads both. */
Test(seglog_gap, at_the_border_of_segments)
{
	uint64_t limit = seg_base(LSN0) + 4 * MIB - DAG_SEG_HDR_BYTES;
	uint64_t gap;

	while (m.lsn + 2 * (64 + 512 * 512) <= limit)
		data(1, 512);
	/* the rest, but for less than a GAP with its payload */
	logmake_extent(&m, DAGTAP_REC_DATA, 0, (limit - m.lsn - 64) / 512, 1);
	while (limit - m.lsn >= 128)
		logmake_flush(&m);
	cr_assert_eq(append(), 0);
	cr_assert_eq(info().segments, 1);
	gap = gap_at(m.lsn);
	data(3, 9);
	cr_assert_eq(append(), 0);
	cr_assert_eq(info().segments, 2);
	open_again();
	cr_assert_eq(info().end_lsn, m.lsn);
	cr_assert_eq(info().dropped_bytes, 0);
	cr_assert_eq(walk(LSN0, UINT64_MAX).gap_lsn, gap);
	check_bytes(LSN0, m.lsn);
	/* the older segment goes, the GAP stays the first that can be read */
	cr_assert_eq(seglog_truncate_before(seglog, gap), 0);
	open_again();
	cr_assert_eq(info().first_lsn, gap);
	cr_assert_eq(walk(gap, UINT64_MAX).records, 4);
}

/* A power cut tears it: the log ends before it, and takes it again. */
Test(seglog_gap, torn)
{
	char name[SEG_NAME_BYTES];
	struct logmake whole;
	uint64_t gap;
	int fd;

	data(4, 33);
	gap = gap_at(m.lsn);
	cr_assert_eq(append(), 0);
	whole = m;
	seg_name(info().generation, name);
	for (uint64_t at = gap; at < m.lsn; at += 8) {
		uint8_t junk = 0x5a, was;
		off_t off = seg_offset(LSN0, at);

		seglog_close(seglog);
		seglog = NULL;
		fd = open(tmpdir_path(dir, name), O_RDWR | O_CLOEXEC);
		cr_assert_eq(pread(fd, &was, 1, off), 1);
		logmake_copy(&m, at, &junk, 1);
		cr_assert_eq(was, junk, "the record does not stand where it is looked for");
		junk ^= 0x5a;
		cr_assert_eq(pwrite(fd, &junk, 1, off), 1);
		close(fd);
		cr_assert_eq(seglog_open(&conf, &seglog), 0);
		cr_assert_eq(info().end_lsn, gap, "byte %lu", at - gap);
		cr_assert_eq(walk(LSN0, UINT64_MAX).gaps, 0);
		cr_assert_eq(append(), 0);
		cr_assert_eq(info().end_lsn, whole.lsn);
		cr_assert_eq(walk(LSN0, UINT64_MAX).gaps, 1);
	}
}

/* Nothing else may drop the chain, and a GAP may not name a wrong record. */
Test(seglog_gap, what_may_not_begin_a_chain)
{
	static const uint8_t kinds[] = { DAGTAP_STATE_CLOSE, DAGTAP_STATE_SEED_BEGIN,
					 DAGTAP_STATE_SEED_END };
	struct logmake before;
	struct inspect in;

	data(4, 33);
	cr_assert_eq(append(), 0);
	before = m;
	for (size_t i = 0; i < sizeof(kinds) + 2; i++) {
		m = before;
		m.prev_crc = 0;
		if (i < sizeof(kinds))
			logmake_state(&m, kinds[i]);
		else if (i == sizeof(kinds))
			data(1, 8);
		else
			logmake_flush(&m);
		in = inspect_from(before.lsn, before.prev_crc);
		cr_assert_eq(inspect_feed(&in, m.lsn, NULL, NULL), -EBADMSG, "case %zu", i);
		cr_assert_eq(append(), -EINVAL, "case %zu", i);
		cr_assert_eq(info().end_lsn, before.lsn);
	}
	m = before;
	m.prev_crc ^= 1;
	logmake_state(&m, DAGTAP_STATE_GAP);
	in = inspect_from(before.lsn, before.prev_crc);
	cr_assert_eq(inspect_feed(&in, m.lsn, NULL, NULL), -EBADMSG);
	cr_assert_eq(append(), -EINVAL);
	/* as it should be, all goes on */
	m = before;
	gap_at(m.lsn);
	cr_assert_eq(append(), 0);
}

/* ---- where a batch may end --------------------------------------------------------- */

static uint64_t piece(uint64_t lsn, uint64_t end, uint64_t max)
{
	struct seglog_ring ring = logmake_ring(&m);

	return seglog_piece(&ring, lsn, end, max);
}

/* Against the plainest way to find it, from every border and for every max. */
Test(seglog_gap, pieces_end_at_records)
{
	static const uint32_t sizes[] = { 1, 8, 3, 128, 0, 1, 64 };
	uint64_t border[64], sum;
	unsigned n = 0;

	/* over the end of the ring, so that headers and payloads wrap */
	m.lsn = LSN0 + m.size - (LSN0 & (m.size - 1)) - 70000;
	for (unsigned i = 0; i < 40; i++) {
		uint32_t sectors = sizes[i % 7];

		border[n++] = m.lsn;
		if (sectors)
			data(1, sectors);
		else if (i % 2)
			logmake_flush(&m);
		else
			logmake_mark(&m, "a payload that needs padding");
	}
	border[n] = m.lsn;
	for (unsigned from = 0; from < n; from++) {
		for (uint64_t max = 0; max < 200000; max += 64 + max / 9) {
			unsigned to = from + 1;

			while (to < n && border[to + 1] - border[from] <= max)
				to++;
			cr_assert_eq(piece(border[from], m.lsn, max), border[to], "from %u max %lu",
				     from, max);
		}
	}
	/* piece by piece it is the whole, once */
	sum = border[0];
	for (unsigned steps = 0; sum < m.lsn; steps++) {
		uint64_t next = piece(sum, m.lsn, 10000);

		cr_assert_gt(next, sum);
		cr_assert_leq(steps, n);
		sum = next;
	}
	cr_assert_eq(sum, m.lsn);
	cr_assert_eq(piece(m.lsn, m.lsn, 10000), m.lsn, "of nothing");
}

/* A batch larger than the quota would never be written; in pieces it is. */
Test(seglog_gap, pieces_fit_under_the_quota)
{
	struct seglog_ring ring = logmake_ring(&m);
	uint64_t at = LSN0;

	conf.quota_bytes = 8 * MIB;
	open_again();
	data(11, 2000);		/* 10.7 MiB: three segments */
	cr_assert_eq(append(), -EDQUOT);
	cr_assert_eq(info().end_lsn, LSN0);
	while (at < m.lsn) {
		uint64_t to = piece(at, m.lsn, 2 * MIB);
		int rc = seglog_append(seglog, &ring, at, to);

		/* what is replayed goes, as the log thread lets it */
		if (rc == -EDQUOT) {
			cr_assert_eq(seglog_truncate_before(seglog, at), 0);
			rc = seglog_append(seglog, &ring, at, to);
		}
		cr_assert_eq(rc, 0, "at %lu", at - LSN0);
		cr_assert_leq(info().bytes, conf.quota_bytes);
		at = to;
	}
	open_again();
	cr_assert_eq(info().end_lsn, m.lsn);
	check_bytes(info().first_lsn, m.lsn);
}

/* Over the end of a segment: the append divides it, and recovery finds it whole. */
Test(seglog_gap, pieces_over_the_end_of_a_segment)
{
	struct seglog_ring ring = logmake_ring(&m);
	uint64_t at = LSN0;

	data(12, 1999);
	while (at < m.lsn) {
		uint64_t to = piece(at, m.lsn, 3 * MIB);

		cr_assert_eq(seglog_append(seglog, &ring, at, to), 0);
		at = to;
	}
	cr_assert_gt(info().segments, 2);
	open_again();
	cr_assert_eq(info().dropped_bytes, 0);
	cr_assert_eq(walk(LSN0, UINT64_MAX).records, 12);
	check_bytes(LSN0, m.lsn);
}
