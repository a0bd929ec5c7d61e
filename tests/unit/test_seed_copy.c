// SPDX-License-Identifier: GPL-2.0
/*
 * How a seed goes between members in one program: its rate, agreed and changed while
 * it runs, and what it leaves out. DAG_TEST_VERBOSE in the environment shows what the members log.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
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

static int set_copy_rate(struct group_store *st, void *ctx)
{
	st->copies[1].seed_rate = *(uint64_t *)ctx;
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
	/* one that is set beforehand waits for the seed */
	cr_assert_eq(cluster_edit(&cl, set_copy_rate, &fast), 0);
	cluster_nap(1500);
	cr_assert_eq(cluster_store(&cl).copies[1].seed_rate, fast);
	before = seeds();
	cr_assert_eq(cluster_edit(&cl, seed_at_rate, &fast), 0);
	begun(before);
	for (int i = 0; i < 1500 && cluster_store(&cl).copies[1].seed_rate; i++)
		cluster_nap(10);
	cr_assert_eq(cluster_store(&cl).copies[1].seed_rate, 0);
	stop();
}

/* ---- what no file system uses ------------------------------------------------ */

/* Regions of 64 KiB: from here on the device is not used. */
#define UNUSED_FROM	17
#define UNUSED_MIB	(DEV_MIB - UNUSED_FROM)
static uint8_t unused[DEV_MIB * 16 / 8];

static void use_little(bool hangs)
{
	memset(unused + UNUSED_FROM * 16 / 8, 0xff, sizeof(unused) - UNUSED_FROM * 16 / 8);
	tap_mem_unused(dev, unused, hangs);
}

static int seed_whole(struct group_store *st, void *ctx)
{
	st->copies[1].seed_whole = true;
	st->copies[1].seed_request++;
	st->copies[1].in_sync = false;
	return 0;
}

static int seed_again(struct group_store *st, void *ctx)
{
	st->copies[1].seed_request++;
	st->copies[1].in_sync = false;
	return 0;
}

/* One MiB of a copy's device. */
static const uint8_t *device_mib(unsigned node, unsigned mib)
{
	static uint8_t got[1 << 20];
	int fd = open(cl.node[node].device, O_RDONLY | O_CLOEXEC);

	cr_assert_eq(pread(fd, got, sizeof(got), (off_t)mib << 20), (ssize_t)sizeof(got));
	close(fd);
	return got;
}

static bool is_zero(const uint8_t *p)
{
	return !p[0] && !memcmp(p, p + 1, (1 << 20) - 1);
}

static void healthy(void)
{
	cr_assert_eq(cluster_await(&cl, 0, 1, "status", "Healthy", 30000), 0);
	for (int i = 0; i < 1000; i++) {
		if (cluster_u64(&cl, 0, 1, "replayed_lsn") == cluster_u64(&cl, 0, 0, "generated_lsn"))
			return;
		cluster_nap(10);
	}
	cr_assert_fail("it does not replay all");
}

Test(seed_copy, what_is_unused_is_left_out_unless_all_is_asked_for)
{
	uint64_t sent, before;

	start(2, 1);
	use_little(false);
	sent = cluster_u64(&cl, 0, 0, "generated_lsn");
	cr_assert_eq(cluster_add_copy(&cl, 1), 0);
	healthy();
	cr_assert_eq(cluster_u64(&cl, 0, 0, "seed_unused"), UNUSED_MIB << 20);
	cr_assert_eq(cluster_u64(&cl, 0, 0, "seed_done"), DEV_MIB << 20);
	sent = cluster_u64(&cl, 0, 0, "generated_lsn") - sent;
	cr_assert_lt(sent, (DEV_MIB - UNUSED_MIB + 1) << 20);
	for (unsigned i = 0; i < DEV_MIB; i++) {
		cr_assert(i >= UNUSED_FROM ? is_zero(device_mib(1, i)) : !memcmp(device_mib(1, i), noise, 1 << 20),
			  "MiB %u", i);
	}
	before = seeds();
	cr_assert_eq(cluster_edit(&cl, seed_whole, NULL), 0);
	begun(before);
	healthy();
	cr_assert_eq(cluster_u64(&cl, 0, 0, "seed_unused"), 0);
	cr_assert_eq(cluster_equal(&cl, 0, 1, 20000), 0);
	stop();
}

static volatile bool writer_stop;
static bool written[DEV_MIB * 256];

/* Blocks that were free when the file system was asked, taken and written since. */
static void *writer_main(void *arg)
{
	static uint8_t block[4096];
	unsigned *seed = arg;

	while (!writer_stop) {
		unsigned b = UNUSED_FROM * 256 + rand_r(seed) % (UNUSED_MIB * 256);

		memset(block, 1 + rand_r(seed) % 255, sizeof(block));
		if (tap_mem_write(dev, 8 * b, block, sizeof(block), false))
			break;
		written[b] = true;
		cluster_nap(rand_r(seed) % 8);
	}
	return NULL;
}

static void same_where_written(void)
{
	static uint8_t mine[1 << 20];

	for (unsigned mib = 0; mib < DEV_MIB; mib++) {
		const uint8_t *theirs;

		memcpy(mine, device_mib(0, mib), sizeof(mine));
		theirs = device_mib(1, mib);
		for (unsigned b = 0; b < 256; b++)
			if (mib < UNUSED_FROM || written[mib * 256 + b])
				cr_assert(!memcmp(mine + 4096 * b, theirs + 4096 * b, 4096),
					  "MiB %u block %u", mib, b);
	}
}

/* A zero in the wrong place of the log would wipe out what was written. */
Test(seed_copy, what_is_written_meanwhile_is_not_left_out)
{
	bool raced = false;
	uint64_t left_out;
	unsigned seed = 3;
	pthread_t t;

	start(2, 2);
	use_little(false);
	healthy();
	rate(12 << 20);
	for (unsigned round = 0; round < 4; round++) {
		uint64_t before = seeds();

		memset(written, 0, sizeof(written));
		writer_stop = false;
		cr_assert_eq(cluster_edit(&cl, seed_again, NULL), 0);
		begun(before);
		pthread_create(&t, NULL, writer_main, &seed);
		cr_assert_eq(cluster_await(&cl, 0, 1, "status", "Healthy", 30000), 0);
		writer_stop = true;
		pthread_join(t, NULL);
		healthy();
		left_out = cluster_u64(&cl, 0, 0, "seed_unused");
		raced |= left_out && left_out < UNUSED_MIB << 20;
		same_where_written();
	}
	cr_assert(raced, "nothing was written in time, or everywhere");
	stop();
}

/* A file system that hangs keeps nobody from stopping. */
Test(seed_copy, one_that_does_not_answer_does_not_stop_the_end)
{
	uint64_t t0;

	start(2, 1);
	use_little(true);
	cr_assert_eq(cluster_add_copy(&cl, 1), 0);
	begun(0);
	cluster_nap(200);
	cr_assert_eq(seed_done(), 0, "it waits for the answer");
	t0 = now_ms();
	node_stop(&cl.node[0]);
	cr_assert_lt(now_ms() - t0, 5000);
	stop();
}
