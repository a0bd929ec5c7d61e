// SPDX-License-Identifier: GPL-2.0
/*
 * A store moved to a point of a lagged copy's log, as members in one program live it: the
 * device is what the active's was at that point, every other copy is made equal to it, by
 * the regions that were given up, and whatever dies on the way, the store is the one or
 * the other, whole.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/store/passive_point.h"
#include "tests/lib/cluster.h"

#define MIB		2048ull		/* sectors */
#define SECTORS		(64 * MIB)
#define HOUR_MS		3600000ull
#define WAIT_MS		60000
#define HOLD_MS		60000

TestSuite(point_move, .timeout = 240);

static struct cluster cl;
static struct tap_mem_dev *dev;
static uint8_t block[65536];
static uint8_t then[SECTORS * 512], now[SECTORS * 512];	/* the device at the point, and later */
static uint64_t point, end_lsn;

static int edit_lag(struct group_store *st, void *ctx)
{
	st->copies[1].replay_lag_ms = *(uint64_t *)ctx;
	return 0;
}

static void set_lag(uint64_t ms)
{
	cr_assert_eq(cluster_edit(&cl, edit_lag, &ms), 0);
	if (ms)
		cr_assert_eq(cluster_await(&cl, 1, 1, "lag_state", "held", WAIT_MS), 0);
}

static void load(unsigned node, uint8_t *to)
{
	int fd = open(cl.node[node].device, O_RDONLY | O_CLOEXEC);

	cr_assert_eq(pread(fd, to, SECTORS * 512, 0), (ssize_t)(SECTORS * 512));
	close(fd);
}

/* n blocks of 64 KiB from the given MiB on. */
static void put(uint64_t at_mib, unsigned n, uint8_t value)
{
	for (unsigned i = 0; i < n; i++) {
		memset(block, value + i, sizeof(block));
		cr_assert_eq(tap_mem_write(dev, at_mib * MIB + i * 128ull, block, sizeof(block), false),
			     0);
	}
	cr_assert_eq(tap_mem_flush(dev), 0);
}

static void arrived(unsigned node)
{
	for (unsigned ms = 0; cluster_u64(&cl, node, node, "durable_lsn") <
	     cluster_u64(&cl, 0, 0, "generated_lsn"); ms += 10) {
		cr_assert_lt(ms, WAIT_MS);
		cluster_nap(10);
	}
}

/*
 * Three members, the second replays an hour late: content, the point, and what comes
 * after it over a part of it and elsewhere.
 */
static void begin(unsigned nodes, enum dagtap_mode mode)
{
	struct cluster_conf conf = {
		.nodes = nodes, .sectors = SECTORS, .ring_mib = 4, .segment_mib = 4, .mode = mode,
		.ack_durable = true, .late_ms_max = 5000, .full_timeout_ms = 20000,
	};
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (!getenv("DAG_TEST_VERBOSE"))
		dup2(fd, STDERR_FILENO);
	close(fd);
	cr_assert_eq(cluster_start(&cl, &conf), 0);
	cr_assert_eq(cluster_open(&cl, 0, &dev), 0);
	for (unsigned i = 1; i < nodes; i++)
		cr_assert_eq(cluster_await(&cl, i, i, "status", "Healthy", WAIT_MS), 0);
	put(0, 32, 1);
	for (unsigned i = 1; i < nodes; i++)
		cr_assert_eq(cluster_equal(&cl, 0, i, WAIT_MS), 0);
	set_lag(HOUR_MS);
	put(1, 16, 50);
	put(20, 16, 60);
	load(0, then);
	point = cluster_u64(&cl, 0, 0, "generated_lsn");
	put(0, 8, 100);
	put(20, 8, 110);
	put(40, 16, 120);
	arrived(1);
}

static void stop(void)
{
	if (dev)
		tap_mem_dev_close(dev);
	dev = NULL;
	cluster_stop(&cl);
}

static void close_dev(void)
{
	tap_mem_dev_close(dev);
	dev = NULL;
}

/* As verb_move.c does it: hold, replay to it, shut the gate, keep. */
static void hold(void)
{
	struct point_status ps = { 0 };
	char at[24], err[400] = "";

	snprintf(at, sizeof(at), "%llu", (unsigned long long)point);
	for (unsigned ms = 0; ps.replayed_lsn != point; ms += 20) {
		cr_assert_eq(stores_point_hold(cl.node[1].ss, cl.uuid, at, HOLD_MS, &ps, err,
					       sizeof(err)), 0, "%s", err);
		cr_assert_eq(ps.lsn, point, "it is the end of a record");
		cr_assert_leq(ps.replayed_lsn, point);
		cr_assert_lt(ms, WAIT_MS);
		cluster_nap(20);
	}
	load(1, now);
	cr_assert_eq(memcmp(now, then, sizeof(now)), 0, "it is the store as it was");
}

static void drain(void)
{
	char err[400] = "";

	close_dev();
	cr_assert_eq(stores_drain(cl.node[0].ss, cl.uuid, cl.node[1].name, point, 20000, &end_lsn, err,
				  sizeof(err)), 0, "%s", err);
	cr_assert_gt(end_lsn, point);
}

static void keep(void)
{
	char err[400] = "";

	cr_assert_eq(stores_point_keep(cl.node[1].ss, cl.uuid, point, end_lsn, err, sizeof(err)), 0, "%s",
		     err);
}

static int edit_move(struct group_store *st, void *ctx)
{
	st->epoch++;
	st->start_lsn = end_lsn;
	st->point_lsn = point;
	for (uint32_t i = 0; i < st->nr_copies; i++)
		st->copies[i].in_sync = i == 1;
	snprintf(st->active, sizeof(st->active), "%s", cl.node[1].name);
	return 0;
}

static void agree(void)
{
	cr_assert_eq(cluster_edit(&cl, edit_move, NULL), 0);
}

static void serves(unsigned node)
{
	char err[400] = "";

	cr_assert_eq(stores_wait_active(cl.node[node].ss, cl.uuid, 2, 20000, err, sizeof(err)), 0, "%s",
		     err);
	cr_assert_eq(cluster_open(&cl, node, &dev), 0);
}

/* What it serves is what was at the point. */
static void serves_the_point(void)
{
	serves(1);
	cr_assert_eq(tap_mem_read(dev, 0, now, 1 << 20), 0);
	cr_assert_eq(memcmp(now, then, 1 << 20), 0);
	load(1, now);
	cr_assert_eq(memcmp(now, then, sizeof(now)), 0, "no more, no less");
}

static void all_equal(unsigned nodes, uint8_t value)
{
	put(30, 4, value);
	for (unsigned i = 0; i < nodes; i++) {
		if (i == 1)
			continue;
		cr_assert_eq(cluster_await(&cl, i, i, "status", "Healthy", WAIT_MS), 0);
		cr_assert_eq(cluster_equal(&cl, 1, i, WAIT_MS), 0);
	}
	load(1, now);
	memcpy(then + 30 * MIB * 512, now + 30 * MIB * 512, 4 * sizeof(block));
	cr_assert_eq(memcmp(now, then, sizeof(now)), 0, "nothing of what was given up came back");
}

/* 32 blocks of 64 KiB were given up; nothing near the whole store is sent for them. */
static void few_bytes(void)
{
	uint64_t total = cluster_u64(&cl, 1, 1, "seed_total");

	cr_assert_leq(total, 2 * 36 * sizeof(block), "%llu bytes were seeded", (unsigned long long)total);
}

static unsigned branches(unsigned node)
{
	char dir[200];
	struct branch list[BRANCHES_MAX];
	unsigned n;

	snprintf(dir, sizeof(dir), "%.100s/log", cl.node[node].dir);
	n = branch_list(dir, list, BRANCHES_MAX);
	if (n) {
		cr_assert_eq(list[0].first_lsn, point);
		cr_assert_eq(list[0].end_lsn, end_lsn);
	}
	return n;
}

Test(point_move, every_copy_becomes_what_was_at_the_point)
{
	begin(3, DAGTAP_MODE_ASYNC);
	hold();
	drain();
	keep();
	agree();
	serves_the_point();
	all_equal(3, 7);
	few_bytes();
	cr_assert_eq(branches(1), 1, "what was given up is kept");
	stop();
}

Test(point_move, commits_wait_for_a_copy_that_is_equal)
{
	begin(3, DAGTAP_MODE_COMMIT);
	hold();
	drain();
	keep();
	agree();
	serves_the_point();
	all_equal(3, 8);
	cr_assert_eq(cluster_await(&cl, 1, 0, "in_sync", "true", WAIT_MS), 0);
	stop();
}

/* The daemon there dies between the agreement and the activation. */
Test(point_move, the_target_dies_when_it_is_agreed)
{
	begin(3, DAGTAP_MODE_ASYNC);
	hold();
	drain();
	keep();
	node_crash(&cl.node[1]);
	agree();
	cr_assert_eq(node_start(&cl.node[1]), 0);
	serves_the_point();
	all_equal(3, 9);
	few_bytes();
	stop();
}

/* Its host dies when it serves, before any other copy has heard of that. */
Test(point_move, the_target_dies_when_it_serves)
{
	begin(3, DAGTAP_MODE_ASYNC);
	hold();
	drain();
	keep();
	node_cut(&cl.node[0], true);
	node_cut(&cl.node[2], true);
	agree();
	serves_the_point();
	close_dev();
	node_crash(&cl.node[1]);
	node_cut(&cl.node[0], false);
	node_cut(&cl.node[2], false);
	cr_assert_eq(node_start(&cl.node[1]), 0);
	serves_the_point();
	all_equal(3, 10);
	stop();
}

/* Its daemon starts anew when it serves, and a copy calls only then. */
Test(point_move, the_daemon_restarts_before_a_copy_has_met_the_gap)
{
	begin(3, DAGTAP_MODE_ASYNC);
	hold();
	drain();
	keep();
	node_cut(&cl.node[0], true);
	node_cut(&cl.node[2], true);
	agree();
	serves_the_point();
	put(50, 100, 1);	/* more than the ring holds: the gap stands in segments only */
	load(1, then);
	close_dev();
	node_stop(&cl.node[1]);
	cr_assert_eq(node_start(&cl.node[1]), 0);
	node_cut(&cl.node[0], false);
	node_cut(&cl.node[2], false);
	serves(1);
	all_equal(3, 11);
	stop();
}

Test(point_move, the_former_active_dies_when_it_is_agreed)
{
	begin(3, DAGTAP_MODE_ASYNC);
	hold();
	drain();
	keep();
	node_crash(&cl.node[0]);
	agree();
	serves_the_point();
	put(10, 4, 12);
	load(1, then);
	cr_assert_eq(node_start(&cl.node[0]), 0);
	all_equal(3, 13);
	stop();
}

/* The hold was lost, and the replay has gone on: nothing is given up, nothing is stuck. */
static void passed(bool restart)
{
	begin(3, DAGTAP_MODE_ASYNC);
	hold();
	drain();
	keep();
	load(0, then);
	if (restart) {
		node_stop(&cl.node[1]);
		cr_assert_eq(node_start(&cl.node[1]), 0);
	} else {
		stores_point_release(cl.node[1].ss, cl.uuid);
		cr_assert_eq(branches(1), 0, "it was kept for nothing");
	}
	set_lag(0);
	cr_assert_eq(cluster_equal(&cl, 0, 1, WAIT_MS), 0);
	agree();
	serves(1);
	load(1, now);
	cr_assert_eq(memcmp(now, then, sizeof(now)), 0, "all of it");
	cr_assert_eq(cluster_store(&cl).point_lsn, 0);
	cr_assert_eq(cluster_store(&cl).epoch, 3);
	all_equal(3, 14);
	stop();
}

Test(point_move, a_hold_that_was_let_go)
{
	passed(false);
}

Test(point_move, a_hold_that_a_restart_has_lost)
{
	passed(true);
}

/* It passes the point while nobody looks, and dies with the rest to be replayed. */
Test(point_move, passed_and_died_before_it_had_replayed_the_rest)
{
	begin(2, DAGTAP_MODE_ASYNC);
	hold();
	drain();
	keep();
	load(0, then);
	node_crash(&cl.node[1]);
	point -= 64 * 1024;	/* as if it had gone on by some records */
	agree();
	cr_assert_eq(node_start(&cl.node[1]), 0);
	serves(1);
	load(1, now);
	cr_assert_eq(memcmp(now, then, sizeof(now)), 0, "all of it");
	stop();
}

/* A copy that was away is fed from the target's segments, and seeded by regions. */
Test(point_move, a_copy_that_was_away_is_fed_and_seeded_by_regions)
{
	begin(3, DAGTAP_MODE_ASYNC);
	node_cut(&cl.node[2], true);
	put(44, 16, 130);
	arrived(1);
	hold();
	drain();
	keep();
	agree();
	serves_the_point();
	put(10, 4, 15);
	load(1, then);
	node_cut(&cl.node[2], false);
	all_equal(3, 16);
	cr_assert_lt(cluster_u64(&cl, 1, 1, "seed_total"), SECTORS * 512 / 2, "not all of it");
	stop();
}

Test(point_move, what_cannot_be_reached_is_refused_with_what_can)
{
	struct point_status ps;
	char err[400] = "", at[32];

	begin(2, DAGTAP_MODE_ASYNC);
	snprintf(at, sizeof(at), "%llu", (unsigned long long)cluster_u64(&cl, 1, 1, "replayed_lsn") - 64);
	cr_assert_eq(stores_point_hold(cl.node[1].ss, cl.uuid, at, HOLD_MS, &ps, err, sizeof(err)),
		     -ERANGE);
	cr_assert(strstr(err, "is replayed already") && strstr(err, "can be reached"), "%s", err);
	snprintf(at, sizeof(at), "%llu", (unsigned long long)(point + (1ull << 30)));
	cr_assert_eq(stores_point_hold(cl.node[1].ss, cl.uuid, at, HOLD_MS, &ps, err, sizeof(err)),
		     -ERANGE);
	cr_assert(strstr(err, "is not here yet"), "%s", err);
	cr_assert_eq(stores_point_hold(cl.node[1].ss, cl.uuid, "no-such-mark", HOLD_MS, &ps, err,
				       sizeof(err)), -ERANGE);
	cr_assert_eq(stores_point_hold(cl.node[0].ss, cl.uuid, "1", HOLD_MS, &ps, err, sizeof(err)),
		     -ENOENT, "the active has no such points");
	/* a hold that nobody renews ends, and the lag goes on as before */
	snprintf(at, sizeof(at), "%llu", (unsigned long long)point);
	cr_assert_eq(stores_point_hold(cl.node[1].ss, cl.uuid, at, 500, &ps, err, sizeof(err)), 0);
	cluster_nap(3000);
	cr_assert_eq(cluster_await(&cl, 1, 1, "lag_state", "held", WAIT_MS), 0);
	cr_assert_eq(stores_point_keep(cl.node[1].ss, cl.uuid, point, point, err, sizeof(err)), -EAGAIN, "%s",
		     err);
	set_lag(0);
	cr_assert_eq(cluster_equal(&cl, 0, 1, WAIT_MS), 0);
	stop();
}
