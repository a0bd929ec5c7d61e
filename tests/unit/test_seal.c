// SPDX-License-Identifier: GPL-2.0
/*
 * Promises before a take-over: members in one program, as in test_stores.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "tests/lib/cluster.h"

#define MIB	2048ull		/* sectors */

static struct cluster cl;
static struct tap_mem_dev *dev;
static uint8_t block[65536];

TestSuite(seal, .timeout = 110);

static void start(unsigned nodes, uint32_t mode)
{
	struct cluster_conf conf = {
		.nodes = nodes, .sectors = 16 * MIB, .ring_mib = 4, .segment_mib = 4,
		.late_ms_max = 60000, .full_timeout_ms = 2000, .mode = mode,
		.min_in_sync = mode == DAGTAP_MODE_COMMIT,
	};
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (!getenv("DAG_TEST_VERBOSE"))
		dup2(fd, STDERR_FILENO);
	close(fd);
	cr_assert_eq(cluster_start(&cl, &conf), 0);
	cr_assert_eq(cluster_open(&cl, 0, &dev), 0);
	for (unsigned i = 1; i < nodes; i++)
		cr_assert_eq(cluster_await(&cl, 0, i, "status", "Healthy", 20000), 0);
}

static void stop(void)
{
	tap_mem_dev_close(dev);
	cluster_stop(&cl);
}

static void write_some(unsigned n)
{
	static unsigned count;

	while (n--) {
		memset(block, (int)++count, sizeof(block));
		cr_assert_eq(tap_mem_write(dev, count * 97 % (15 * MIB), block, 8192, false), 0);
	}
}

Test(seal, a_report_says_what_the_copy_has)
{
	struct candidate c;
	uint64_t end;

	start(2, DAGTAP_MODE_ASYNC);
	write_some(50);
	cr_assert_eq(cluster_equal(&cl, 0, 1, 20000), 0);
	end = cluster_u64(&cl, 0, 0, "generated_lsn");
	for (int i = 0; i < 250 && cluster_u64(&cl, 1, 1, "replayed_lsn") < end; i++)
		cluster_nap(20);
	cr_assert_eq(stores_report(cl.node[1].ss, cl.uuid, &c), 0);
	cr_assert_str_eq(c.member, cl.node[1].name);
	cr_assert(c.reachable && c.whole && !c.sealed && !c.blocked);
	cr_assert_eq(c.status, CAND_HEALTHY);
	cr_assert_eq(c.log_epoch, 1);
	cr_assert_eq(c.end_lsn, end);
	cr_assert_eq(c.copy_queue, 0);
	cr_assert_eq(c.replay_queue, 0);
	cr_assert_eq(stores_report(cl.node[0].ss, cl.uuid, &c), -EBUSY);
	cr_assert_eq(stores_seal(cl.node[0].ss, cl.uuid, 2, &c), -EBUSY);
	cr_assert_eq(stores_report(cl.node[1].ss, (uint8_t[16]){ 9 }, &c), -ENOENT);
	stop();
}

static void *keep_writing(void *arg)
{
	_Atomic bool *end = arg;

	while (!*end)
		write_some(1);
	return NULL;
}

Test(seal, a_sealed_copy_takes_nothing_of_a_lower_epoch)
{
	struct candidate c, again;
	_Atomic bool end = false;
	pthread_t t;
	uint64_t ms;

	start(2, DAGTAP_MODE_ASYNC);
	pthread_create(&t, NULL, keep_writing, &end);
	cluster_nap(300);
	/* The engine does not agree to anything: the active has no way around it. */
	cl.em.refuse = 1u << 30;
	ms = now_ms();
	cr_assert_eq(stores_seal(cl.node[1].ss, cl.uuid, 3, &c), 0);
	ms = now_ms() - ms;
	cr_assert(c.sealed && c.whole);
	cr_assert_eq(c.status, CAND_DISCONNECTED_HEALTHY);
	cr_assert_lt(ms, 1000, "sealed in %llu ms", (unsigned long long)ms);
	cluster_nap(1200);
	cr_assert_eq(stores_report(cl.node[1].ss, cl.uuid, &again), 0);
	cr_assert_eq(again.end_lsn, c.end_lsn, "something came after the seal");
	cr_assert_gt(cluster_u64(&cl, 0, 0, "generated_lsn"), c.end_lsn);
	cr_assert_leq(cluster_u64(&cl, 0, 1, "inspected_lsn"), c.end_lsn, "acked more than it has");
	cr_assert_eq(stores_seal(cl.node[1].ss, cl.uuid, 2, &again), -ESTALE);
	cr_assert_eq(stores_seal(cl.node[1].ss, cl.uuid, 3, &again), 0);
	cr_assert_eq(again.end_lsn, c.end_lsn);
	/* The promise outlives the daemon. */
	node_stop(&cl.node[1]);
	cr_assert_eq(node_start(&cl.node[1]), 0);
	cluster_nap(1200);
	cr_assert_eq(stores_seal(cl.node[1].ss, cl.uuid, 2, &again), -ESTALE);
	cr_assert_eq(stores_report(cl.node[1].ss, cl.uuid, &again), 0);
	cr_assert_eq(again.end_lsn, c.end_lsn);
	end = true;
	pthread_join(t, NULL);
	stop();
}

/* ---- a take-over that does not happen ---------------------------------------- */

static void *hold_one(void *arg)
{
	*(_Atomic int *)arg = tap_mem_write(dev, 4096, block, 8192, true);
	return NULL;
}

static void await_epoch(uint32_t epoch)
{
	for (int i = 0; i < 500 && cluster_store(&cl).epoch < epoch; i++)
		cluster_nap(20);
	cr_assert_eq(cluster_store(&cl).epoch, epoch);
	cr_assert_str_eq(cluster_store(&cl).active, cl.node[0].name);
}

/* Both copies promised, nobody claimed: the active asks for that epoch and goes on;
 * a commit that waited meanwhile ends well. */
Test(seal, without_a_claim_the_active_goes_on)
{
	_Atomic int rc = 1;
	struct candidate c;
	pthread_t t;

	start(3, DAGTAP_MODE_COMMIT);
	for (unsigned i = 1; i < 3; i++)
		cr_assert_eq(cluster_await(&cl, 0, i, "in_sync", "true", 10000), 0);
	write_some(20);
	cl.em.refuse = 1u << 30;
	cr_assert_eq(stores_seal(cl.node[1].ss, cl.uuid, 2, &c), 0);
	cr_assert_eq(stores_seal(cl.node[2].ss, cl.uuid, 2, &c), 0);
	pthread_create(&t, NULL, hold_one, (void *)&rc);
	cluster_nap(1000);
	cr_assert_eq(rc, 1, "a commit ended without its copies");
	cl.em.refuse = 0;
	await_epoch(2);
	pthread_join(t, NULL);
	cr_assert_eq(rc, 0);
	write_some(20);
	cr_assert_eq(tap_mem_flush(dev), 0);
	for (unsigned i = 1; i < 3; i++) {
		cr_assert_eq(cluster_await(&cl, 0, i, "status", "Healthy", 20000), 0);
		cr_assert_eq(cluster_equal(&cl, 0, i, 20000), 0);
		cr_assert_eq(cluster_u64(&cl, 0, i, "seed_total"), 0, "the log did not go on");
		cr_assert_eq(cluster_u64(&cl, i, i, "epoch"), 2);
	}
	stop();
}

/* One copy promised much more than the next epoch: step by step, under load. */
Test(seal, the_active_climbs_to_what_was_promised)
{
	_Atomic bool end = false;
	struct candidate c;
	pthread_t t;

	start(3, DAGTAP_MODE_ASYNC);
	pthread_create(&t, NULL, keep_writing, &end);
	cluster_nap(200);
	cr_assert_eq(stores_seal(cl.node[2].ss, cl.uuid, 4, &c), 0);
	await_epoch(4);
	cluster_nap(300);
	end = true;
	pthread_join(t, NULL);
	for (unsigned i = 1; i < 3; i++) {
		cr_assert_eq(cluster_await(&cl, 0, i, "status", "Healthy", 20000), 0);
		cr_assert_eq(cluster_equal(&cl, 0, i, 20000), 0);
		cr_assert_eq(cluster_u64(&cl, 0, i, "seed_total"), 0, "the log did not go on");
	}
	/* A daemon that restarts finds the epochs in its state. */
	node_stop(&cl.node[0]);
	cr_assert_eq(node_start(&cl.node[0]), 0);
	write_some(10);
	for (unsigned i = 1; i < 3; i++) {
		cr_assert_eq(cluster_await(&cl, 0, i, "status", "Healthy", 20000), 0);
		cr_assert_eq(cluster_equal(&cl, 0, i, 20000), 0);
		cr_assert_eq(cluster_u64(&cl, 0, i, "seed_total"), 0, "it came by a seed");
	}
	cr_assert_eq(cluster_store(&cl).epoch, 4);
	stop();
}

static int edit_bump(struct group_store *st, void *ctx)
{
	st->epoch++;
	st->start_lsn = 0;
	return 0;
}

/* The daemon died between the agreement and the module: it begins the epoch later. */
Test(seal, an_epoch_that_was_agreed_before_a_restart)
{
	start(2, DAGTAP_MODE_ASYNC);
	write_some(20);
	node_stop(&cl.node[0]);
	cr_assert_eq(cluster_edit(&cl, edit_bump, NULL), 0);
	write_some(20);
	cr_assert_eq(node_start(&cl.node[0]), 0);
	cr_assert_eq(cluster_await(&cl, 0, 0, "epoch", "2", 10000), 0);
	write_some(20);
	cr_assert_eq(cluster_await(&cl, 0, 1, "status", "Healthy", 20000), 0);
	cr_assert_eq(cluster_equal(&cl, 0, 1, 20000), 0);
	cr_assert_eq(cluster_u64(&cl, 0, 1, "seed_total"), 0, "the log did not go on");
	stop();
}
