// SPDX-License-Identifier: GPL-2.0
/*
 * How a seed goes between members in one program: its rate, agreed and changed while
 * it runs. DAG_TEST_VERBOSE in the environment shows what the members log.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "tests/lib/cluster.h"

#define MIB	2048ull		/* sectors */
#define DEV_MIB	32

static struct cluster cl;
static struct tap_mem_dev *dev;
static uint8_t noise[1 << 20];

static void start(unsigned nodes, unsigned copies)
{
	struct cluster_conf conf = {
		.nodes = nodes, .copies = copies, .sectors = DEV_MIB * MIB, .ring_mib = 8,
		.segment_mib = 4, .late_ms_max = 2000, .full_timeout_ms = 2000,
	};
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	unsigned state = 7;

	if (!getenv("DAG_TEST_VERBOSE"))
		dup2(fd, STDERR_FILENO);
	close(fd);
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)rand_r(&state);
	cr_assert_eq(cluster_start(&cl, &conf), 0);
	cr_assert_eq(cluster_open(&cl, 0, &dev), 0);
	for (unsigned i = 0; i < DEV_MIB; i++)
		cr_assert_eq(tap_mem_write(dev, i * MIB, noise, sizeof(noise), false), 0);
}

static void stop(void)
{
	tap_mem_dev_close(dev);
	cluster_stop(&cl);
}

TestSuite(seed_copy, .timeout = 110);

static int set_store_rate(struct group_store *st, void *ctx)
{
	st->seed_rate = *(uint64_t *)ctx;
	return 0;
}

static int seed_at_rate(struct group_store *st, void *ctx)
{
	st->copies[1].seed_rate = *(uint64_t *)ctx;
	st->copies[1].seed_request++;
	st->copies[1].in_sync = false;
	return 0;
}

static void rate(uint64_t bytes)
{
	cr_assert_eq(cluster_edit(&cl, set_store_rate, &bytes), 0);
}

static uint64_t seed_done(void)
{
	return cluster_u64(&cl, 0, 0, "seed_done");
}

static uint64_t seeds(void)
{
	return cluster_u64(&cl, 0, 0, "seeds");
}

static uint64_t begun(uint64_t before)
{
	for (int i = 0; i < 2000 && seeds() == before; i++)
		cluster_nap(5);
	cr_assert_gt(seeds(), before, "no seed begins");
	return now_ms();
}

/* Each look at the seed is within what the rate allows at that time. */
static void watch(uint64_t t0, uint64_t bytes_s, uint64_t before, unsigned ms)
{
	for (unsigned t = 0; t < ms; t += 50) {
		uint64_t done = seed_done() - before, t1 = now_ms() - t0;

		cr_assert_leq(done, bytes_s * (t1 + 200) / 1000 + (1 << 20),
			      "%llu bytes after %llu ms", (unsigned long long)done,
			      (unsigned long long)t1);
		cluster_nap(50);
	}
}

Test(seed_copy, a_seed_keeps_to_its_rate_and_follows_its_changes)
{
	uint64_t t0, before;

	start(2, 1);
	rate(4 << 20);
	cr_assert_eq(cluster_add_copy(&cl, 1), 0);
	t0 = begun(0);
	watch(t0, 4 << 20, 0, 1500);
	cr_assert_geq(seed_done(), 2 << 20, "slower than it may");
	cr_assert_eq(cluster_u64(&cl, 0, 1, "seed_rate_limit"), 4 << 20);
	rate(1 << 20);
	cluster_nap(200);
	before = seed_done();
	watch(now_ms(), 1 << 20, before, 1000);
	rate(0);
	t0 = now_ms();
	cr_assert_eq(cluster_await(&cl, 0, 1, "status", "Healthy", 20000), 0);
	cr_assert_lt(now_ms() - t0, 15000, "the rest at 1 MiB/s takes longer");
	cr_assert_eq(cluster_equal(&cl, 0, 1, 20000), 0);
	stop();
}

/* What was asked for of one seed is forgotten when the copy is whole. */
Test(seed_copy, the_rate_of_one_seed_ends_with_it)
{
	uint64_t fast = 16 << 20, t0, before;
	struct group_store st;

	start(2, 2);
	cr_assert_eq(cluster_await(&cl, 0, 1, "status", "Healthy", 20000), 0);
	rate(64 << 10);
	before = seeds();
	cr_assert_eq(cluster_edit(&cl, seed_at_rate, &fast), 0);
	t0 = begun(before);
	watch(t0, fast, 0, 500);
	cr_assert_eq(cluster_u64(&cl, 0, 1, "seed_rate_limit"), fast);
	cr_assert_eq(cluster_await(&cl, 0, 1, "status", "Healthy", 20000), 0);
	cr_assert_lt(now_ms() - t0, 20000, "at the store's rate it takes 500 s");
	for (int i = 0; i < 500 && cluster_store(&cl).copies[1].seed_rate; i++)
		cluster_nap(10);
	st = cluster_store(&cl);
	cr_assert_eq(st.copies[1].seed_rate, 0);
	cr_assert_eq(st.seed_rate, 64 << 10);
	cr_assert_eq(cluster_equal(&cl, 0, 1, 20000), 0);
	stop();
}
