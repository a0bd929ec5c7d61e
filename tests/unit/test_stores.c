// SPDX-License-Identifier: GPL-2.0
/*
 * Two or three members in one program: what the daemon is for, without a kernel
 * module. Every test ends with devices that are equal byte for byte.
 * DAG_TEST_VERBOSE in the environment shows what the members log.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "daemon/group/uuid.h"
#include "daemon/ship/frame.h"
#include "daemon/store/stores_metrics.h"
#include "tests/lib/cluster.h"

#define MIB	2048ull		/* sectors */

static struct cluster cl;
static struct tap_mem_dev *dev;

static struct cluster_conf conf_of(unsigned nodes)
{
	return (struct cluster_conf) {
		.nodes = nodes, .sectors = 16 * MIB, .ring_mib = 4, .segment_mib = 4,
		.late_ms_max = 2000, .full_timeout_ms = 2000,
	};
}

static void start(struct cluster_conf conf)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (!getenv("DAG_TEST_VERBOSE"))
		dup2(fd, STDERR_FILENO);
	close(fd);
	cr_assert_eq(cluster_start(&cl, &conf), 0);
	cr_assert_eq(cluster_open(&cl, 0, &dev), 0);
}

static void stop(void)
{
	if (dev)
		tap_mem_dev_close(dev);
	dev = NULL;
	cluster_stop(&cl);
}

TestSuite(stores, .timeout = 110);

static void healthy(unsigned active, unsigned copy)
{
	cr_assert_eq(cluster_await(&cl, active, copy, "status", "Healthy", 20000), 0,
		     "copy %u is not Healthy", copy);
}

static void equal(unsigned a, unsigned b)
{
	cr_assert_eq(cluster_equal(&cl, a, b, 20000), 0, "devices %u and %u differ", a, b);
}

/* ---- load ------------------------------------------------------------------- */

static uint8_t pattern[1 << 17];

static void fill_pattern(unsigned seed)
{
	for (size_t i = 0; i < sizeof(pattern); i++) {
		seed = seed * 1103515245 + 12345;
		pattern[i] = (uint8_t)(seed >> 16);
	}
}

static int write_one(struct tap_mem_dev *d, unsigned *seed)
{
	uint32_t sectors = 1 + rand_r(seed) % 128;
	uint64_t at = rand_r(seed) % (cl.conf.sectors - sectors);

	switch (rand_r(seed) % 24) {
	case 0:
		return tap_mem_flush(d);
	case 1:
		return tap_mem_zeroes(d, at, sectors);
	default:
		return tap_mem_write(d, at, pattern + rand_r(seed) % 65536, sectors * 512,
				     !(rand_r(seed) % 16));
	}
}

static void write_many(unsigned seed, unsigned n)
{
	fill_pattern(seed);
	while (n--)
		cr_assert_eq(write_one(dev, &seed), 0);
}

static _Atomic bool load_stop;
static _Atomic uint64_t load_count, load_failed;

static void *load_main(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	while (!load_stop) {
		if (write_one(dev, &seed))
			load_failed++;
		load_count++;
		if (seed % 4 == 0)
			cluster_nap(1);
	}
	return NULL;
}

static pthread_t load_begin(void)
{
	pthread_t t;

	fill_pattern(99);
	load_stop = false;
	load_count = load_failed = 0;
	pthread_create(&t, NULL, load_main, (void *)(uintptr_t)7);
	return t;
}

static void load_end(pthread_t t)
{
	load_stop = true;
	pthread_join(t, NULL);
	cr_assert_gt(load_count, 0);
}

/* ---- tests --------------------------------------------------------------------- */

Test(stores, random_writes_are_replicated)
{
	start(conf_of(2));
	healthy(0, 1);
	write_many(1, 1500);
	equal(0, 1);
	healthy(0, 1);
	stop();
}

Test(stores, random_writes_are_replicated_in_plain_without_io_uring)
{
	struct cluster_conf c = conf_of(2);

	c.security = STREAM_PLAIN;
	c.backend = LOOP_POSIX;
	start(c);
	healthy(0, 1);
	write_many(2, 1500);
	equal(0, 1);
	stop();
}

Test(stores, an_acked_flush_is_durable_at_the_copy)
{
	struct cluster_conf c = conf_of(2);

	c.mode = DAGTAP_MODE_COMMIT;
	c.ack_durable = true;
	c.min_in_sync = 1;
	c.late_ms_max = 60000;
	start(c);
	healthy(0, 1);
	for (unsigned i = 0; i < 40; i++) {
		uint64_t before;

		cr_assert_eq(tap_mem_write(dev, i * 8, pattern, 4096, false), 0);
		before = cluster_u64(&cl, 0, 0, "generated_lsn");
		cr_assert_eq(tap_mem_flush(dev), 0);
		cr_assert_geq(cluster_u64(&cl, 1, 1, "durable_lsn"), before);
	}
	cluster_await(&cl, 0, 1, "in_sync", "true", 100);
	cr_assert_eq(cluster_u64(&cl, 0, 1, "epoch"), 1);
	equal(0, 1);
	stop();
}

static void *late_flush(void *arg)
{
	*(_Atomic int *)arg = tap_mem_flush(dev);
	return NULL;
}

/* The only copy is gone: with min_in_sync 1 commits wait until it is back. */
Test(stores, commits_wait_for_the_copy)
{
	struct cluster_conf c = conf_of(2);
	_Atomic int rc = 1;
	pthread_t t;

	c.mode = DAGTAP_MODE_COMMIT;
	c.min_in_sync = 1;
	c.late_ms_max = 300;
	start(c);
	healthy(0, 1);
	cr_assert_eq(tap_mem_flush(dev), 0);
	node_stop(&cl.node[1]);
	pthread_create(&t, NULL, late_flush, (void *)&rc);
	cluster_nap(1500);
	cr_assert_eq(rc, 1, "a commit was acked without its copy");
	cr_assert_eq(node_start(&cl.node[1]), 0);
	pthread_join(t, NULL);
	cr_assert_eq(rc, 0);
	equal(0, 1);
	stop();
}

/* With min_in_sync 0 the late copy leaves the set by a transaction, then comes back. */
Test(stores, a_late_copy_leaves_the_set_and_returns)
{
	struct cluster_conf c = conf_of(2);

	c.mode = DAGTAP_MODE_COMMIT;
	c.late_ms_max = 300;
	start(c);
	healthy(0, 1);
	cr_assert_eq(cluster_await(&cl, 0, 1, "in_sync", "true", 10000), 0);
	cr_assert(cluster_store(&cl).copies[1].in_sync);
	node_stop(&cl.node[1]);
	cr_assert_eq(tap_mem_write(dev, 0, pattern, 4096, true), 0);
	cr_assert(!cluster_store(&cl).copies[1].in_sync, "acked before it was agreed");
	cr_assert_eq(node_start(&cl.node[1]), 0);
	cr_assert_eq(cluster_await(&cl, 0, 1, "in_sync", "true", 20000), 0);
	cr_assert(cluster_store(&cl).copies[1].in_sync);
	equal(0, 1);
	stop();
}

static uint64_t counted(const struct latency_hist *h)
{
	uint64_t n = 0;

	for (int i = 0; i < LATENCY_BUCKETS; i++)
		n += h->bucket[i];
	return n;
}

/* Each stage of the log is timed, in a plausible order. */
Test(stores, stages_are_timed)
{
	struct cluster_conf c = conf_of(2);
	struct stores_metric m[2];

	c.mode = DAGTAP_MODE_COMMIT;
	c.min_in_sync = 1;
	c.late_ms_max = 60000;
	start(c);
	healthy(0, 1);
	for (unsigned i = 0; i < 50; i++) {
		cr_assert_eq(tap_mem_write(dev, i * 8, pattern, 4096, false), 0);
		cr_assert_eq(tap_mem_flush(dev), 0);
	}
	equal(0, 1);
	cr_assert_eq(stores_metrics(cl.node[0].ss, m, 2), 1);
	cr_assert_eq(m[0].st.activations, 1);
	cr_assert_eq(m[0].st.epoch, 1);
	cr_assert(m[0].st.tap);
	cr_assert_eq(m[0].latency.nr_peers, 1);
	cr_assert_gt(counted(&m[0].latency.peer[0].ship), 10);
	cr_assert_gt(counted(&m[0].latency.peer[0].durable), 10);
	cr_assert_gt(counted(&m[0].st.ack), 10);
	/* Each probe has both, in this order; the last one may be under way. None took
	 * minutes. */
	cr_assert_leq(counted(&m[0].latency.peer[0].durable), counted(&m[0].latency.peer[0].ship));
	cr_assert_leq(counted(&m[0].latency.peer[0].ship),
		      counted(&m[0].latency.peer[0].durable) + 1);
	cr_assert_gt(m[0].latency.peer[0].durable.sum_ns, m[0].latency.peer[0].ship.sum_ns);
	cr_assert_lt(m[0].latency.peer[0].durable.sum_ns, 60000000000ull);
	cr_assert_eq(stores_metrics(cl.node[1].ss, m, 2), 1);
	cr_assert_eq(m[0].st.activations, 0);
	cr_assert_eq(m[0].st.epoch, 0);
	stop();
}

Test(stores, a_restarted_copy_catches_up)
{
	start(conf_of(2));
	healthy(0, 1);
	for (unsigned i = 0; i < 3; i++) {
		write_many(i, 200);
		node_stop(&cl.node[1]);
		write_many(i + 10, 20);
		cr_assert_eq(node_start(&cl.node[1]), 0);
	}
	healthy(0, 1);
	equal(0, 1);
	stop();
}

Test(stores, the_active_daemon_restarts_under_load)
{
	pthread_t t;

	start(conf_of(2));
	healthy(0, 1);
	t = load_begin();
	for (int i = 0; i < 3; i++) {
		cluster_nap(300);
		node_stop(&cl.node[0]);
		cr_assert_eq(node_start(&cl.node[0]), 0);
	}
	load_end(t);
	cr_assert_eq(load_failed, 0, "the store stopped serving");
	healthy(0, 1);
	equal(0, 1);
	stop();
}

Test(stores, a_cut_link_heals)
{
	pthread_t t;

	start(conf_of(2));
	healthy(0, 1);
	t = load_begin();
	for (int i = 0; i < 4; i++) {
		cluster_nap(200);
		node_cut(&cl.node[1], true);
		cluster_nap(200);
		node_cut(&cl.node[1], false);
	}
	load_end(t);
	cr_assert_eq(load_failed, 0);
	healthy(0, 1);
	equal(0, 1);
	stop();
}

/* More than the ring while the copy is away: from the spool, without a seed. */
Test(stores, spool_while_the_copy_is_away)
{
	uint64_t seeds;

	start(conf_of(2));
	healthy(0, 1);
	node_stop(&cl.node[1]);
	seeds = cluster_u64(&cl, 0, 0, "seeds");
	write_many(4, 600);
	cr_assert_gt(cluster_u64(&cl, 0, 0, "generated_lsn"), 12ull << 20);
	cr_assert_eq(node_start(&cl.node[1]), 0);
	healthy(0, 1);
	cr_assert_eq(cluster_u64(&cl, 0, 0, "seeds"), seeds, "it came by a seed");
	equal(0, 1);
	stop();
}

Test(stores, past_the_quota_regions_come)
{
	struct cluster_conf c = conf_of(2);

	c.quota_bytes = 12 << 20;
	start(c);
	healthy(0, 1);
	write_many(3, 100);
	node_stop(&cl.node[1]);
	write_many(5, 1200);
	cr_assert_gt(cluster_u64(&cl, 0, 0, "generated_lsn"), 30ull << 20);
	cr_assert_eq(node_start(&cl.node[1]), 0);
	healthy(0, 1);
	equal(0, 1);
	write_many(6, 100);
	equal(0, 1);
	stop();
}

/* The tap's file stays readable until INFO: who does not ask polls for ever. */
Test(stores, the_ship_thread_sleeps_after_a_change_of_state)
{
	struct cluster_conf c = conf_of(2);
	uint64_t rounds;

	c.quota_bytes = 12 << 20;
	start(c);
	healthy(0, 1);
	node_stop(&cl.node[1]);
	write_many(5, 1200);
	cr_assert_eq(node_start(&cl.node[1]), 0);
	healthy(0, 1);
	equal(0, 1);
	cluster_nap(1500);
	rounds = cluster_u64(&cl, 0, 0, "loop_rounds");
	cr_assert_gt(rounds, 0);
	cluster_nap(1000);
	rounds = cluster_u64(&cl, 0, 0, "loop_rounds") - rounds;
	cr_assert_lt(rounds, 200, "%lu rounds in an idle second", (unsigned long)rounds);
	stop();
}

Test(stores, a_new_copy_is_seeded_under_load)
{
	struct cluster_conf c = conf_of(2);
	pthread_t t;

	c.copies = 1;
	start(c);
	write_many(8, 500);
	t = load_begin();
	cr_assert_eq(cluster_add_copy(&cl, 1), 0);
	healthy(0, 1);
	load_end(t);
	cr_assert_eq(load_failed, 0);
	equal(0, 1);
	stop();
}

/* One copy is past the quota: the other keeps its place, also when it lags a little. */
Test(stores, past_the_quota_the_others_keep_their_place)
{
	struct cluster_conf c = conf_of(3);
	char status[64];

	c.quota_bytes = 24 << 20;
	start(c);
	healthy(0, 1);
	healthy(0, 2);
	node_stop(&cl.node[2]);
	for (unsigned i = 0; i < 40; i++) {
		write_many(i, 40);
		cluster_text(&cl, 0, 1, "status", status, sizeof(status));
		cr_assert_str_eq(status, "Healthy", "after %u rounds", i);
	}
	cr_assert_gt(cluster_u64(&cl, 0, 0, "generated_lsn"), 48ull << 20);
	equal(0, 1);
	cr_assert_eq(node_start(&cl.node[2]), 0);
	healthy(0, 2);
	equal(0, 2);
	stop();
}

/* 12 MiB/s: the ring is full twice before a slow copy has answered. */
static void *trickle_main(void *arg)
{
	for (unsigned i = 0; !load_stop; i++) {
		if (tap_mem_write(dev, i * 128 % cl.conf.sectors, pattern, 65536, false))
			load_failed++;
		load_count++;
		cluster_nap(5);
	}
	return NULL;
}

/* It was given up; what it is told when it is called is still there when it answers. */
Test(stores, a_copy_that_is_slow_to_answer_gets_in_under_load)
{
	struct cluster_conf c = conf_of(2);
	pthread_t t;

	c.quota_bytes = 16 << 20;
	c.answer_ms = 800;
	start(c);
	healthy(0, 1);
	node_stop(&cl.node[1]);
	write_many(23, 1000);
	load_stop = false;
	load_count = load_failed = 0;
	pthread_create(&t, NULL, trickle_main, NULL);
	cr_assert_eq(node_start(&cl.node[1]), 0);
	healthy(0, 1);
	load_end(t);
	cr_assert_eq(load_failed, 0);
	equal(0, 1);
	stop();
}

/* The log must not run away from a copy that calls again. */
Test(stores, a_seed_ends_with_the_copy_that_it_is_for)
{
	struct cluster_conf c = conf_of(2);
	uint64_t end, after;

	c.copies = 1;
	c.sectors = 96 * MIB;
	c.quota_bytes = 12 << 20;
	start(c);
	cr_assert_eq(cluster_add_copy(&cl, 1), 0);
	for (int i = 0; i < 2000 && cluster_u64(&cl, 0, 0, "generated_lsn") < 4 << 20; i++)
		cluster_nap(5);
	node_stop(&cl.node[1]);
	cluster_nap(500);
	end = cluster_u64(&cl, 0, 0, "generated_lsn");
	cr_assert_lt(end, 80 << 20, "the seed was over before the copy had gone");
	cluster_nap(500);
	after = cluster_u64(&cl, 0, 0, "generated_lsn");
	cr_assert_eq(end, after, "a seed goes on for nobody");
	write_many(21, 1000);	/* beyond the quota: the copy is given up */
	cluster_nap(500);
	end = cluster_u64(&cl, 0, 0, "generated_lsn");
	cluster_nap(500);
	after = cluster_u64(&cl, 0, 0, "generated_lsn");
	cr_assert_eq(end, after, "a seed goes on for a copy that was given up");
	cr_assert_eq(node_start(&cl.node[1]), 0);
	healthy(0, 1);
	equal(0, 1);
	stop();
}

/* No copy, so no seed; the commits of the time without a log end all the same. */
Test(stores, commits_end_after_a_gap_without_a_copy)
{
	struct cluster_conf c = conf_of(2);
	_Atomic int rc = 1;
	pthread_t t;

	c.copies = 1;
	c.mode = DAGTAP_MODE_COMMIT;
	start(c);
	node_stop(&cl.node[0]);
	/* More than the ring holds: the tap gives the log up. */
	for (unsigned i = 0; i < 128; i++)
		cr_assert_eq(tap_mem_write(dev, i * 128, pattern, 65536, false), 0);
	pthread_create(&t, NULL, late_flush, (void *)&rc);
	cluster_nap(300);
	cr_assert_eq(rc, 1, "a commit was acked that nobody settled");
	cr_assert_eq(node_start(&cl.node[0]), 0);
	pthread_join(t, NULL);
	cr_assert_eq(rc, 0);
	cr_assert_eq(cluster_add_copy(&cl, 1), 0);
	healthy(0, 1);
	equal(0, 1);
	stop();
}

Test(stores, the_active_loses_its_power)
{
	start(conf_of(2));
	healthy(0, 1);
	write_many(11, 300);
	node_cut(&cl.node[1], true);
	write_many(12, 30);	/* that nobody else has */
	node_crash(&cl.node[0]);
	tap_mem_dev_close(dev);
	dev = NULL;
	node_cut(&cl.node[1], false);
	cr_assert_eq(node_start(&cl.node[0]), 0);
	for (int i = 0; i < 500 && (!dev || tap_mem_flush(dev)); i++) {
		if (!dev)
			cluster_open(&cl, 0, &dev);
		cluster_nap(20);
	}
	cr_assert_eq(cluster_store(&cl).epoch, 2, "a lost ring cannot go on under its epoch");
	healthy(0, 1);
	equal(0, 1);
	write_many(13, 100);
	equal(0, 1);
	stop();
}

/* The agreed state says that it is the active one; whether that is still so, it must
 * learn from others first (group/dac.h). */
Test(stores, an_active_that_starts_is_held_back)
{
	struct tap_mem_dev *late = NULL;

	start(conf_of(2));
	healthy(0, 1);
	write_many(31, 100);
	node_crash(&cl.node[0]);
	tap_mem_dev_close(dev);
	dev = NULL;
	cl.node[0].held_back = true;
	cr_assert_eq(node_start(&cl.node[0]), 0);
	cluster_nap(1500);
	if (!cluster_open(&cl, 0, &late)) {
		cr_assert_neq(tap_mem_write(late, 0, pattern, 4096, true), 0, "it serves");
		tap_mem_dev_close(late);
	}
	cr_assert_eq(cluster_store(&cl).epoch, 1, "an epoch was agreed for what must not open");
	stores_allow(cl.node[0].ss, true);
	for (int i = 0; i < 500 && (!dev || tap_mem_flush(dev)); i++) {
		if (!dev)
			cluster_open(&cl, 0, &dev);
		cluster_nap(20);
	}
	healthy(0, 1);
	write_many(32, 100);
	equal(0, 1);
	stop();
}

Test(stores, the_copy_loses_its_power_under_load)
{
	pthread_t t;

	start(conf_of(2));
	healthy(0, 1);
	t = load_begin();
	for (int i = 0; i < 3; i++) {
		cluster_nap(300);
		node_crash(&cl.node[1]);
		cr_assert_eq(node_start(&cl.node[1]), 0);
	}
	load_end(t);
	cr_assert_eq(load_failed, 0);
	healthy(0, 1);
	equal(0, 1);
	stop();
}

Test(stores, ten_moves_there_and_back)
{
	char err[256] = "";

	start(conf_of(2));
	healthy(0, 1);
	for (unsigned i = 0; i < 10; i++) {
		unsigned from = i % 2, to = !from;

		write_many(i, 60);
		healthy(from, to);
		cr_assert_eq(cluster_move(&cl, from, to, err, sizeof(err)), 0, "move %u: %s", i, err);
		cr_assert_eq(tap_mem_write(dev, 0, pattern, 512, false), -EIO,
			     "the old active still takes writes");
		equal(0, 1);
		tap_mem_dev_close(dev);
		cr_assert_eq(cluster_open(&cl, to, &dev), 0);
		healthy(to, from);
	}
	write_many(77, 60);
	equal(0, 1);
	cr_assert_eq(cluster_store(&cl).epoch, 11);
	stop();
}

/* The log has a write that the disk has refused: the device is not the log up to its end
 * then, however orderly the log ended. It must be made equal before it counts as whole. */
Test(stores, a_move_away_from_a_disk_that_failed)
{
	char err[256] = "";

	start(conf_of(2));
	healthy(0, 1);
	write_many(3, 60);
	for (unsigned i = 0; i < 3; i++) {
		tap_mem_fail_writes(dev, 1);
		memset(pattern, 0xa0 + i, 4096);
		cr_assert_eq(tap_mem_write(dev, 800 * i, pattern, 4096, false), -EIO);
	}
	write_many(4, 20);
	healthy(0, 1);
	cr_assert_eq(cluster_move(&cl, 0, 1, err, sizeof(err)), 0, "%s", err);
	tap_mem_dev_close(dev);
	cr_assert_eq(cluster_open(&cl, 1, &dev), 0);
	healthy(1, 0);
	equal(0, 1);
	stop();
}

/* A target that is not there: nothing happens, the store goes on. */
Test(stores, a_move_to_an_absent_copy_is_refused)
{
	char err[256] = "";

	start(conf_of(2));
	healthy(0, 1);
	node_cut(&cl.node[1], true);
	cr_assert_eq(cluster_await(&cl, 0, 1, "link", "down", 5000), 0);
	cr_assert_lt(cluster_move(&cl, 0, 1, err, sizeof(err)), 0);
	cr_assert_gt(strlen(err), 0);
	cr_assert_eq(tap_mem_write(dev, 0, pattern, 512, false), 0);
	node_cut(&cl.node[1], false);
	healthy(0, 1);
	equal(0, 1);
	stop();
}

Test(stores, three_copies)
{
	char err[256] = "";
	pthread_t t;

	start(conf_of(3));
	healthy(0, 1);
	healthy(0, 2);
	t = load_begin();
	cluster_nap(300);
	node_cut(&cl.node[2], true);
	cluster_nap(500);
	node_cut(&cl.node[2], false);
	load_end(t);
	healthy(0, 1);
	healthy(0, 2);
	equal(0, 1);
	equal(0, 2);
	/* The third follows the new active although it missed the move. */
	node_stop(&cl.node[2]);
	cr_assert_eq(cluster_move(&cl, 0, 1, err, sizeof(err)), 0, "%s", err);
	tap_mem_dev_close(dev);
	cr_assert_eq(cluster_open(&cl, 1, &dev), 0);
	write_many(5, 50);
	cr_assert_eq(node_start(&cl.node[2]), 0);
	healthy(1, 0);
	healthy(1, 2);
	equal(1, 0);
	equal(1, 2);
	stop();
}

/*
 * The third copy lags when the store moves. What it misses stands in segments that
 * the new active wrote while it was passive, in the old epoch: no seed is needed.
 */
static void lagging_third(void (*away)(bool), uint32_t segment_mib)
{
	struct cluster_conf c = conf_of(3);
	uint64_t third_has, start_lsn;
	char err[256] = "";

	c.segment_mib = segment_mib;
	start(c);
	healthy(0, 1);
	healthy(0, 2);
	write_many(1, 50);
	equal(0, 2);
	third_has = cluster_u64(&cl, 2, 2, "durable_lsn");
	away(true);
	write_many(2, 100);
	healthy(0, 1);
	cr_assert_eq(cluster_move(&cl, 0, 1, err, sizeof(err)), 0, "%s", err);
	start_lsn = cluster_store(&cl).start_lsn;
	cr_assert_gt(start_lsn, third_has + MIB * 512, "it did not lag");
	tap_mem_dev_close(dev);
	cr_assert_eq(cluster_open(&cl, 1, &dev), 0);
	write_many(3, 30);
	away(false);
	healthy(1, 2);
	healthy(1, 0);
	cr_assert_eq(cluster_u64(&cl, 2, 2, "epoch"), 2);
	write_many(4, 30);
	equal(1, 2);
	equal(1, 0);
	cr_assert_eq(cluster_u64(&cl, 1, 1, "seeds"), 0, "it came by a seed");
	stop();
}

static void third_stops(bool away)
{
	if (away)
		node_stop(&cl.node[2]);
	else
		cr_assert_eq(node_start(&cl.node[2]), 0);
}

static void third_is_cut(bool away)
{
	node_cut(&cl.node[2], away);
}

Test(stores, a_lagging_third_is_fed_from_segments_before_the_move)
{
	lagging_third(third_stops, 16);
}

Test(stores, a_cut_off_third_is_fed_from_segments_before_the_move)
{
	lagging_third(third_is_cut, 16);
}

/* What it misses was recycled with its segment: regions come, and it is whole. */
Test(stores, a_third_too_far_behind_a_move_is_seeded)
{
	char err[256] = "";

	start(conf_of(3));
	healthy(0, 1);
	healthy(0, 2);
	write_many(1, 50);
	equal(0, 2);
	node_stop(&cl.node[2]);
	write_many(2, 400);
	healthy(0, 1);
	equal(0, 1);
	cluster_nap(2500);	/* the second copy's ticks */
	cr_assert_eq(cluster_move(&cl, 0, 1, err, sizeof(err)), 0, "%s", err);
	tap_mem_dev_close(dev);
	cr_assert_eq(cluster_open(&cl, 1, &dev), 0);
	write_many(3, 30);
	cr_assert_eq(node_start(&cl.node[2]), 0);
	healthy(1, 2);
	cr_assert_gt(cluster_u64(&cl, 1, 1, "seeds"), 0, "it came without a seed");
	equal(1, 2);
	equal(1, 0);
	stop();
}

/* ---- refusals ------------------------------------------------------------------- */

/* A connection as member `as` would make it; the refusal that it gets. */
static int knock(unsigned as, uint32_t epoch, uint64_t generation, uint8_t store0)
{
	struct stream_conf sc = { .creds = cl.node[as].creds, .security = cl.conf.security,
				  .timeout_ms = 3000 };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(cl.node[1].port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct frame_hello h = { .kind = DAG_KIND_LOG, .group_generation = generation,
				 .epoch = epoch, .nonce = 4711 };
	struct frame_welcome w;
	struct dag_welcome frame;
	struct dag_hello raw;
	struct stream *st;

	uuid_parse_text(cl.em.gs.uuid, h.group);
	memcpy(h.store, cl.uuid, 16);
	h.store[0] ^= store0;
	cr_assert_eq(stream_connect(&sc, (struct sockaddr *)&to, sizeof(to), NULL, 0, &st), 0);
	frame_hello_encode(&h, &raw);
	cr_assert_eq(stream_write_full(st, &raw, sizeof(raw), 3000), 0);
	cr_assert_eq(stream_read_full(st, &frame, sizeof(frame), 3000), 0);
	stream_close(st);
	cr_assert_eq(frame_welcome_decode(&frame, &w), 0);
	cr_assert_eq(w.nonce, 4711);
	return w.refusal;
}

static int edit_epoch(struct group_store *st, void *ctx)
{
	st->epoch = 5;
	return 0;
}

Test(stores, wrong_callers_are_refused_and_change_nothing)
{
	start(conf_of(3));
	healthy(0, 1);
	write_many(1, 50);
	cr_assert_eq(knock(2, 1, 1, 0), DAG_REFUSE_MEMBER);
	cr_assert_eq(knock(0, 0, 1, 0), DAG_REFUSE_EPOCH);
	cr_assert_eq(knock(0, 2, 1, 0), DAG_REFUSE_NOT_READY);
	cr_assert_eq(knock(0, 1, 2, 0), DAG_REFUSE_GROUP);
	cr_assert_eq(knock(0, 1, 1, 1), DAG_REFUSE_STORE);
	cr_assert_eq(tap_mem_write(dev, 0, pattern, 4096, false), 0);
	equal(0, 1);
	healthy(0, 1);
	/* Once a higher epoch is agreed, the old one's active is fenced off. */
	node_stop(&cl.node[0]);
	cr_assert_eq(cluster_edit(&cl, edit_epoch, NULL), 0);
	cluster_nap(200);
	cr_assert_eq(knock(0, 1, 1, 0), DAG_REFUSE_EPOCH);
	stop();
}
