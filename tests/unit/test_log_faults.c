// SPDX-License-Identifier: GPL-2.0
/*
 * Segments that are not what they were: each kind of fault, in each position of a passive
 * copy's log and of an active's spool. It is named, nothing of it reaches the device, and
 * the copy becomes Healthy and equal, by the log or by a seed, without a hand.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log/segfile.h"
#include "daemon/log/segment.h"
#include "tests/lib/cluster.h"

#define MIB		2048ull		/* sectors */
#define HOUR_MS		3600000ull
#define WAIT_MS		60000
#define SEGMENTS_MAX	64
#define FILE_BYTES	(4u << 20)

TestSuite(log_faults, .timeout = 290);

static struct cluster cl;
static struct tap_mem_dev *dev;
static uint8_t block[65536], bytes[FILE_BYTES + 4096];
static char said_path[64];

enum position { FIRST, MIDDLE, LAST, OPEN, POSITIONS };
static const char *const position_names[] = { "first", "middle", "last", "open" };

enum fault { CORRUPT, TRUNCATED, DUPLICATED, MISSING, FOREIGN, FAULTS };
static const char *const fault_names[] = { "corrupt", "truncated", "duplicated", "missing", "foreign" };

/* ---- what the daemon says ------------------------------------------------------- */

static void listen_in(void)
{
	int fd;

	snprintf(said_path, sizeof(said_path), "/tmp/dag-log-faults-XXXXXX");
	fd = mkstemp(said_path);
	cr_assert_geq(fd, 0);
	dup2(fd, STDERR_FILENO);
	close(fd);
}

static void forget_what_was_said(void)
{
	cr_assert_eq(ftruncate(STDERR_FILENO, 0), 0);
	lseek(STDERR_FILENO, 0, SEEK_SET);
}

/*
 * A line of level warning or worse that names the directory. A log whose newest segment is
 * gone looks like one that ends earlier, until the active says that it has been longer;
 * one whose oldest is gone like one that was truncated, until somebody misses it.
 */
static bool was_named(const char *dir)
{
	static char text[1 << 20];
	int fd = open(said_path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	bool named = false;

	close(fd);
	text[got > 0 ? got : 0] = '\0';
	for (char *line = strtok(text, "\n"); line && !named; line = strtok(NULL, "\n"))
		named = ((!strncmp(line, "<3>", 3) || !strncmp(line, "<4>", 4)) &&
			 (strstr(line, dir) || strstr(line, "had acknowledged"))) ||
			strstr(line, "the log that this copy misses is gone");
	return named;
}

/* ---- segments --------------------------------------------------------------------- */

static void log_dir(unsigned node, char ret[200])
{
	snprintf(ret, 200, "%.100s/log", cl.node[node].dir);
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void path_of(const char *dir, uint64_t generation, char ret[240])
{
	char name[SEG_NAME_BYTES];

	seg_name(generation, name);
	snprintf(ret, 240, "%s/%s", dir, name);
}

static size_t load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = read(fd, bytes, sizeof(bytes));

	close(fd);
	cr_assert_gt(got, DAG_SEG_HDR_BYTES, "%s", path);
	return got;
}

static void store(const char *path, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert_eq(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

/* Those that begin at or behind an LSN. */
static unsigned segments(const char *dir, uint64_t from, uint64_t *ret)
{
	DIR *d = opendir(dir);
	struct seg_meta meta;
	struct dirent *e;
	unsigned n = 0;
	char path[240];

	while (d && n < SEGMENTS_MAX && (e = readdir(d))) {
		if (!seg_name_parse(e->d_name, &ret[n]))
			continue;
		path_of(dir, ret[n], path);
		load(path);
		n += !seg_hdr_decode(bytes, &meta) && meta.first_lsn >= from;
	}
	if (d)
		closedir(d);
	qsort(ret, n, sizeof(*ret), by_value);
	return n;
}

/* Behind the header, in the first record's payload: there is one in each. */
#define SPOT	(DAG_SEG_HDR_BYTES + 8192u)

static void put_some(unsigned round, unsigned n);

/* There is something in the newest segment to be damaged. */
static void fill_newest(const char *dir, unsigned round)
{
	uint64_t gens[SEGMENTS_MAX];
	char path[240];
	bool empty = true;

	for (unsigned i = 0; i < 40 && empty; i++) {
		unsigned n = segments(dir, 0, gens);

		path_of(dir, gens[n - 1], path);
		load(path);
		for (unsigned k = 0; k < 131072; k++)
			empty &= !bytes[SPOT + k];
		if (!empty)
			break;
		put_some(round, 4);
		cluster_nap(100);
	}
}

/* Only segments that are needed still: from that LSN on. */
static void do_fault(const char *dir, uint64_t from, enum fault fault, enum position at)
{
	uint64_t gens[SEGMENTS_MAX];
	unsigned n = segments(dir, from, gens), i;
	struct seg_meta meta;
	char path[240], other[240];
	size_t len;

	cr_assert_geq(n, 4, "%u segments", n);
	i = at == FIRST ? 0 : at == MIDDLE ? n / 2 : at == LAST ? n - 2 : n - 1;
	path_of(dir, gens[i], path);
	len = load(path);
	switch (fault) {
	case CORRUPT:
		bytes[SPOT] ^= 0x10;
		store(path, len);
		break;
	case TRUNCATED:
		cr_assert_eq(truncate(path, SPOT + 4096), 0);
		break;
	case DUPLICATED:	/* over the one before, or behind all */
		path_of(dir, i ? gens[i - 1] : gens[n - 1] + 1, other);
		store(other, len);
		break;
	case MISSING:
		cr_assert_eq(unlink(path), 0);
		break;
	case FOREIGN:
		cr_assert_null(seg_hdr_decode(bytes, &meta));
		meta.uuid[3] ^= 0x55;
		seg_hdr_encode(&meta, (struct dag_seg_hdr *)bytes);
		store(path, len);
		break;
	case FAULTS:
		break;
	}
}

/* ---- the copies --------------------------------------------------------------------- */

static int edit_lag(struct group_store *st, void *ctx)
{
	st->copies[1].replay_lag_ms = *(uint64_t *)ctx;
	return 0;
}

static void set_lag(uint64_t ms)
{
	cr_assert_eq(cluster_edit(&cl, edit_lag, &ms), 0);
}

static void begin(void)
{
	struct cluster_conf conf = {
		.nodes = 2, .sectors = 32 * MIB, .ring_mib = 4, .segment_mib = 4,
		.late_ms_max = 5000, .full_timeout_ms = 20000,
	};

	listen_in();
	cr_assert_eq(cluster_start(&cl, &conf), 0);
	cr_assert_eq(cluster_open(&cl, 0, &dev), 0);
	cr_assert_eq(cluster_await(&cl, 1, 1, "status", "Healthy", WAIT_MS), 0);
	cr_assert_eq(cluster_equal(&cl, 0, 1, WAIT_MS), 0);
}

static void end(void)
{
	tap_mem_dev_close(dev);
	cluster_stop(&cl);
	if (!getenv("DAG_TEST_VERBOSE"))
		unlink(said_path);
}

/* Every block is another each time. */
static void put_some(unsigned round, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		memset(block, round * 7 + i, sizeof(block));
		memcpy(block, &round, sizeof(round));
		cr_assert_eq(tap_mem_write(dev, i * 128ull % (31 * MIB), block, sizeof(block), false), 0);
	}
	cr_assert_eq(tap_mem_flush(dev), 0);
}

/* 24 MiB: six segments of the log. */
static void put(unsigned round)
{
	put_some(round, 384);
}

static void arrived(void)
{
	for (unsigned ms = 0; cluster_u64(&cl, 1, 1, "durable_lsn") <
	     cluster_u64(&cl, 0, 0, "generated_lsn"); ms += 10) {
		cr_assert_lt(ms, WAIT_MS);
		cluster_nap(10);
	}
}

/* Another store's is nothing to be dropped by a daemon: it is named, and a person's. */
static void take_away_foreign(unsigned node, const char *dir)
{
	uint64_t gens[SEGMENTS_MAX];
	struct seg_meta meta;
	char path[240];
	unsigned n;

	cr_assert_eq(cluster_await(&cl, node, node, "status", "Misconfigured", WAIT_MS), 0);
	n = segments(dir, 0, gens);
	for (unsigned i = 0; i < n; i++) {
		path_of(dir, gens[i], path);
		load(path);
		cr_assert_null(seg_hdr_decode(bytes, &meta));
		if (memcmp(meta.uuid, cl.uuid, 16))
			unlink(path);
	}
}

static void becomes_equal(enum fault fault, enum position at)
{
	cr_assert_eq(cluster_await(&cl, 1, 1, "status", "Healthy", WAIT_MS), 0, "%s %s", fault_names[fault],
		     position_names[at]);
	cr_assert_eq(cluster_equal(&cl, 0, 1, WAIT_MS), 0, "%s %s", fault_names[fault],
		     position_names[at]);
	arrived();
}

static void passive_log(enum fault fault)
{
	uint64_t replayed;
	char dir[200];

	begin();
	log_dir(1, dir);
	for (unsigned at = FIRST; at < POSITIONS; at++) {
		/* held, so that all of it is in the log and not on the device */
		set_lag(HOUR_MS);
		cr_assert_eq(cluster_await(&cl, 1, 1, "lag_state", "held", WAIT_MS), 0);
		put(at);
		arrived();
		fill_newest(dir, at);
		arrived();
		replayed = cluster_u64(&cl, 1, 1, "replayed_lsn");
		node_stop(&cl.node[1]);
		forget_what_was_said();
		do_fault(dir, replayed, fault, at);
		cr_assert_eq(node_start(&cl.node[1]), 0);
		if (fault == FOREIGN)
			take_away_foreign(1, dir);
		set_lag(0);
		becomes_equal(fault, at);
		cr_assert(was_named(dir), "%s %s", fault_names[fault], position_names[at]);
	}
	end();
}

#define PASSIVE(name, fault) Test(log_faults, passive_##name) { passive_log(fault); }

PASSIVE(corrupt, CORRUPT)
PASSIVE(truncated, TRUNCATED)
PASSIVE(duplicated, DUPLICATED)
PASSIVE(missing, MISSING)
PASSIVE(foreign, FOREIGN)

/* What the ring cannot hold goes to the spool while the copy is cut off. */
static void active_spool(enum fault fault)
{
	uint64_t had;
	char dir[200];

	begin();
	log_dir(0, dir);
	for (unsigned at = FIRST; at < POSITIONS; at++) {
		node_cut(&cl.node[1], true);
		had = cluster_u64(&cl, 1, 1, "durable_lsn");
		put(at);
		fill_newest(dir, at);
		tap_mem_dev_close(dev);
		node_stop(&cl.node[0]);
		forget_what_was_said();
		do_fault(dir, had, fault, at);
		cr_assert_eq(node_start(&cl.node[0]), 0);
		if (fault == FOREIGN)
			take_away_foreign(0, dir);
		cr_assert_eq(cluster_open(&cl, 0, &dev), 0);
		node_cut(&cl.node[1], false);
		becomes_equal(fault, at);
		cr_assert(was_named(dir), "%s %s", fault_names[fault], position_names[at]);
	}
	end();
}

#define SPOOL(name, fault) Test(log_faults, spool_##name) { active_spool(fault); }

SPOOL(corrupt, CORRUPT)
SPOOL(truncated, TRUNCATED)
SPOOL(duplicated, DUPLICATED)
SPOOL(missing, MISSING)
SPOOL(foreign, FOREIGN)
