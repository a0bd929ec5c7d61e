// SPDX-License-Identifier: GPL-2.0
/*
 * A copy that replays late, as two members in one program live it: what it holds back,
 * that it lets go, what its log keeps, and what plays the lag down.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/health/copystatus.h"
#include "tests/lib/cluster.h"

#define MIB		2048ull		/* sectors */
#define HOUR_MS		3600000ull
#define WAIT_MS		60000

TestSuite(lag_copy, .timeout = 180);

static struct cluster cl;
static struct tap_mem_dev *dev;
static uint8_t block[65536], image[65536];

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int edit_lag(struct group_store *st, void *ctx)
{
	const struct group_copy *lag = ctx;

	st->copies[1].replay_lag_ms = lag->replay_lag_ms;
	st->copies[1].truncation_lag_ms = lag->truncation_lag_ms;
	st->copies[1].lag_off = lag->lag_off;
	return 0;
}

static void set_lag(uint64_t replay_ms, uint64_t truncation_ms, bool off)
{
	struct group_copy lag = { .replay_lag_ms = replay_ms, .truncation_lag_ms = truncation_ms,
				  .lag_off = off };

	cr_assert_eq(cluster_edit(&cl, edit_lag, &lag), 0);
	if (replay_ms && !off)	/* what is written from here on is held */
		cr_assert_eq(cluster_await(&cl, 1, 1, "lag_state", "held", WAIT_MS), 0);
}

static void begin(uint64_t quota)
{
	struct cluster_conf conf = {
		.nodes = 2, .sectors = 64 * MIB, .ring_mib = 4, .segment_mib = 4,
		.late_ms_max = 5000, .full_timeout_ms = 20000, .quota_bytes = quota,
	};
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (!getenv("DAG_TEST_VERBOSE"))
		dup2(fd, STDERR_FILENO);
	close(fd);
	cr_assert_eq(cluster_start(&cl, &conf), 0);
	cr_assert_eq(cluster_open(&cl, 0, &dev), 0);
	cr_assert_eq(cluster_await(&cl, 1, 1, "status", "Healthy", WAIT_MS), 0);
	cr_assert_eq(cluster_equal(&cl, 0, 1, WAIT_MS), 0);
}

static void end(void)
{
	tap_mem_dev_close(dev);
	cluster_stop(&cl);
}

static void put(unsigned n, uint8_t value)
{
	for (unsigned i = 0; i < n; i++) {
		memset(block, value + i, sizeof(block));
		cr_assert_eq(tap_mem_write(dev, i * 128ull % (63 * MIB), block, sizeof(block), false), 0);
	}
	cr_assert_eq(tap_mem_flush(dev), 0);
}

static uint64_t of_copy(const char *field)
{
	return cluster_u64(&cl, 1, 1, field);
}

/* Everything is in the copy's segments. */
static void arrived(void)
{
	uint64_t until = now_ms() + WAIT_MS;

	while (of_copy("durable_lsn") < cluster_u64(&cl, 0, 0, "generated_lsn")) {
		cr_assert_lt(now_ms(), until);
		cluster_nap(10);
	}
}

static void first_of(unsigned node, uint8_t *ret)
{
	int fd = open(cl.node[node].device, O_RDONLY | O_CLOEXEC);

	cr_assert_eq(pread(fd, ret, sizeof(image), 0), (ssize_t)sizeof(image));
	close(fd);
}

static void is_held(void)
{
	arrived();
	cluster_nap(1500);	/* more than one look of the copy */
	first_of(1, image);
	first_of(0, block);
	cr_assert_neq(memcmp(image, block, sizeof(image)), 0);
	cr_assert_lt(of_copy("replayed_lsn"), of_copy("durable_lsn"));
	cr_assert_eq(cluster_await(&cl, 1, 1, "lag_state", "held", WAIT_MS), 0);
	cr_assert_eq(cluster_await(&cl, 0, 1, "status", "Healthy", WAIT_MS), 0);
}

Test(lag_copy, holds_as_long_as_it_shall_and_is_equal_then)
{
	uint64_t began;

	begin(0);
	set_lag(4000, 0, false);
	began = now_ms();
	put(20, 7);
	arrived();
	first_of(1, image);
	if (now_ms() - began < 4000)	/* a machine that sleeps proves nothing */
		cr_assert_neq(image[0], 7);
	cr_assert_eq(cluster_equal(&cl, 0, 1, WAIT_MS), 0);
	cr_assert_geq(now_ms() - began, 4000);
	end();
}

Test(lag_copy, off_on_and_changed_while_it_runs)
{
	begin(0);
	set_lag(HOUR_MS, 0, false);
	put(20, 1);
	is_held();
	set_lag(HOUR_MS, 0, true);
	cr_assert_eq(cluster_equal(&cl, 0, 1, WAIT_MS), 0);
	cr_assert_eq(cluster_await(&cl, 1, 1, "lag_state", "none", WAIT_MS), 0);
	set_lag(HOUR_MS, 0, false);
	put(20, 2);
	is_held();
	set_lag(1, 0, false);
	cr_assert_eq(cluster_equal(&cl, 0, 1, WAIT_MS), 0);
	end();
}

Test(lag_copy, a_restart_lets_nothing_go)
{
	begin(0);
	set_lag(HOUR_MS, 0, false);
	put(20, 3);
	is_held();
	node_stop(&cl.node[1]);
	cr_assert_eq(node_start(&cl.node[1]), 0);
	cr_assert_eq(cluster_await(&cl, 1, 1, "status", "Healthy", WAIT_MS), 0);
	is_held();
	node_crash(&cl.node[1]);
	cr_assert_eq(node_start(&cl.node[1]), 0);
	cr_assert_eq(cluster_await(&cl, 1, 1, "status", "Healthy", WAIT_MS), 0);
	is_held();
	end();
}

/* What a move asks first; the rest of it is a move like any other. */
Test(lag_copy, catches_up_for_a_move_and_serves_it_all)
{
	char err[200] = "";

	begin(0);
	set_lag(HOUR_MS, 0, false);
	put(20, 4);
	is_held();
	tap_mem_dev_close(dev);
	cr_assert_eq(stores_catch_up(cl.node[1].ss, cl.uuid, 60000), 0);
	cr_assert_eq(cluster_await(&cl, 1, 1, "lag_cause", "activation", WAIT_MS), 0);
	cr_assert_eq(cluster_move(&cl, 0, 1, err, sizeof(err)), 0, "%s", err);
	cr_assert_eq(cluster_open(&cl, 1, &dev), 0);
	cr_assert_eq(tap_mem_read(dev, 0, image, sizeof(image)), 0);
	cr_assert_eq(image[0], 4);
	end();
}

Test(lag_copy, short_of_space_it_gives_up_as_much_as_it_must)
{
	uint64_t quota = 32ull << 20, seeds;

	begin(quota);
	seeds = cluster_u64(&cl, 0, 0, "seeds");
	set_lag(HOUR_MS, 0, false);
	for (unsigned i = 0; i < 16; i++) {	/* twice the quota */
		put(64, i);
		cluster_nap(200);
	}
	arrived();
	cr_assert_leq(of_copy("log_bytes"), quota);
	cr_assert_lt(of_copy("replayed_lsn"), of_copy("durable_lsn"), "the newest are held still");
	cr_assert_gt(of_copy("durable_lsn") - of_copy("replayed_lsn"), quota / 4);
	cr_assert_eq(cluster_await(&cl, 0, 1, "status", "Healthy", WAIT_MS), 0);
	cr_assert_eq(cluster_u64(&cl, 0, 0, "seeds"), seeds, "it was never given up");
	set_lag(0, 0, false);
	cr_assert_eq(cluster_equal(&cl, 0, 1, WAIT_MS), 0);
	end();
}

Test(lag_copy, keeps_its_log_by_age)
{
	uint64_t until, all;

	begin(0);
	set_lag(0, HOUR_MS, false);
	put(400, 5);		/* 25 MiB */
	cr_assert_eq(cluster_equal(&cl, 0, 1, WAIT_MS), 0);
	cluster_nap(2500);
	all = of_copy("log_bytes");
	cr_assert_gt(all, 24ull << 20, "replayed, and kept");
	set_lag(0, HOUR_MS, true);
	until = now_ms() + WAIT_MS;
	while (of_copy("log_bytes") >= all - (8u << 20)) {
		cr_assert_lt(now_ms(), until, "off: it truncates as a copy without lag");
		cluster_nap(50);
	}
	end();
}

/* As the member says that looks at the other copies (health_watch). */
Test(lag_copy, keeps_what_the_others_need_where_it_has_no_lag)
{
	uint64_t until, all;

	begin(0);
	cr_assert_eq(stores_others(cl.node[1].ss, cl.uuid, false, of_copy("replayed_lsn")), 0);
	put(400, 5);
	cr_assert_eq(cluster_equal(&cl, 0, 1, WAIT_MS), 0);
	cluster_nap(2500);
	all = of_copy("log_bytes");
	cr_assert_gt(all, 24ull << 20);
	cr_assert_eq(stores_others(cl.node[1].ss, cl.uuid, false, UINT64_MAX), 0);
	until = now_ms() + WAIT_MS;
	while (of_copy("log_bytes") >= all - (8u << 20)) {
		cr_assert_lt(now_ms(), until, "nobody needs it any more");
		cluster_nap(50);
	}
	end();
}

Test(lag_copy, too_few_others_take_the_lag_away_for_as_long)
{
	begin(0);
	set_lag(HOUR_MS, 0, false);
	put(20, 9);
	is_held();
	cr_assert_eq(stores_others(cl.node[1].ss, cl.uuid, true, UINT64_MAX), 0);
	cr_assert_eq(cluster_equal(&cl, 0, 1, WAIT_MS), 0);
	cr_assert_eq(cluster_await(&cl, 1, 1, "lag_cause", "copies", WAIT_MS), 0);
	cr_assert_eq(stores_others(cl.node[1].ss, cl.uuid, false, UINT64_MAX), 0);
	put(20, 10);
	is_held();
	end();
}

static int edit_seed(struct group_store *st, void *ctx)
{
	st->copies[1].seed_request++;
	return 0;
}

Test(lag_copy, is_repaired_without_its_lag_and_holds_again)
{
	begin(0);
	set_lag(HOUR_MS, 0, false);
	put(20, 6);
	is_held();
	cr_assert_eq(cluster_edit(&cl, edit_seed, NULL), 0);
	/* the seed is as young as what was held; the copy is no image without it */
	cr_assert_eq(cluster_equal(&cl, 0, 1, WAIT_MS), 0);
	cr_assert_eq(cluster_await(&cl, 1, 1, "status", "Healthy", WAIT_MS), 0);
	cr_assert_eq(cluster_await(&cl, 1, 1, "lag_state", "held", WAIT_MS), 0);
	put(20, 8);
	is_held();
	end();
}
