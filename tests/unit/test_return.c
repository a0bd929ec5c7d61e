// SPDX-License-Identifier: GPL-2.0
/*
 * A store changes its place because its active is gone, and the former active
 * comes back: three members in one program. The claim is made here as
 * group/takeover.c makes it: sealed copies, the best of them, its end.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "tests/lib/cluster.h"

#define MIB	2048ull		/* sectors */
#define BLOCK	4096u
#define SLOTS	1024u		/* blocks that the load writes */

static struct cluster cl;
static struct tap_mem_dev *dev;
static unsigned active;

TestSuite(back, .timeout = 110);

static struct cluster_conf conf_of(unsigned nodes, uint32_t mode)
{
	return (struct cluster_conf) {
		.nodes = nodes, .sectors = 16 * MIB, .ring_mib = 4, .segment_mib = 4,
		.late_ms_max = 60000, .full_timeout_ms = 5000, .mode = mode,
		.min_in_sync = mode == DAGTAP_MODE_COMMIT,
	};
}

static void healthy(unsigned copy)
{
	cr_assert_eq(cluster_await(&cl, active, copy, "status", "Healthy", 20000), 0,
		     "copy %u is not Healthy", copy);
	if (cl.conf.mode == DAGTAP_MODE_COMMIT)
		cr_assert_eq(cluster_await(&cl, active, copy, "in_sync", "true", 10000), 0);
}

static void start(struct cluster_conf conf)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (!getenv("DAG_TEST_VERBOSE"))
		dup2(fd, STDERR_FILENO);
	close(fd);
	active = 0;
	cr_assert_eq(cluster_start(&cl, &conf), 0);
	cr_assert_eq(cluster_open(&cl, 0, &dev), 0);
	for (unsigned i = 1; i < conf.copies || (!conf.copies && i < conf.nodes); i++)
		healthy(i);
}

static void stop(void)
{
	if (dev)
		tap_mem_dev_close(dev);
	dev = NULL;
	cluster_stop(&cl);
}

static void reopen(void)
{
	if (dev)
		tap_mem_dev_close(dev);
	dev = NULL;
	cr_assert_eq(cluster_open(&cl, active, &dev), 0);
}

static void all_equal_but(unsigned node)
{
	for (unsigned i = 0; i < cl.conf.nodes; i++)
		if (i != active && i != node)
			cr_assert_eq(cluster_equal(&cl, active, i, 20000), 0, "%u and %u differ",
				     active, i);
}

static void all_equal(void)
{
	all_equal_but(CLUSTER_NODES);
}

/* ---- load: every block says which write it was ------------------------------------ */

static _Atomic uint32_t acked[SLOTS];	/* newest acknowledged write of a block */
static _Atomic uint32_t written[SLOTS];
static _Atomic bool load_stop;
static uint32_t serial;

static int write_slot(unsigned slot, bool fua)
{
	static __thread uint32_t block[BLOCK / 4];
	uint32_t n = ++serial;
	int rc;

	for (unsigned i = 0; i < BLOCK / 4; i++)
		block[i] = n;
	written[slot] = n;
	rc = tap_mem_write(dev, slot * 8, block, BLOCK, fua);
	if (!rc && fua)
		acked[slot] = n;
	return rc;
}

static void *load_main(void *arg)
{
	unsigned seed = 5;

	while (!load_stop && !write_slot(rand_r(&seed) % SLOTS, rand_r(&seed) % 3 == 0))
		;
	return NULL;
}

/* What was acknowledged is there, or something newer that was not. */
static void expect_acked(void)
{
	uint32_t block[BLOCK / 4];
	unsigned n = 0;

	for (unsigned i = 0; i < SLOTS; i++) {
		if (!acked[i])
			continue;
		n++;
		cr_assert_eq(tap_mem_read(dev, i * 8, block, BLOCK), 0);
		cr_assert_geq(block[0], acked[i], "block %u: write %u was acknowledged, found %u", i,
			      acked[i], block[0]);
		cr_assert_leq(block[0], written[i]);
	}
	cr_assert_gt(n, 10, "hardly anything was acknowledged");
}

/* What is there now is the new truth: what was not acknowledged may be gone. */
static void forget_unacked(void)
{
	uint32_t block[BLOCK / 4];

	for (unsigned i = 0; i < SLOTS; i++)
		if (!tap_mem_read(dev, i * 8, block, BLOCK))
			written[i] = acked[i] = block[0];
}

/* ---- the claim ------------------------------------------------------------------- */

struct claim {
	const char *to;
	uint64_t start;
	bool in_sync[CLUSTER_NODES];
};

static int edit_claim(struct group_store *st, void *ctx)
{
	const struct claim *c = ctx;

	st->epoch++;
	st->start_lsn = c->start;
	snprintf(st->active, sizeof(st->active), "%s", c->to);
	for (unsigned i = 0; i < st->nr_copies; i++)
		st->copies[i].in_sync = c->in_sync[st->copies[i].member[0] - 'a'];
	return 0;
}

static void claim_for(unsigned node, uint64_t start)
{
	struct claim c = { .to = cl.node[node].name, .start = start };

	cr_assert_eq(cluster_edit(&cl, edit_claim, &c), 0);
	active = node;
}

static uint64_t sealed_ms, serves_ms;	/* sums of what take-overs took */

/* Seals everyone but these two, claims for the best copy. Returns its start LSN. */
static uint64_t take_over_from(unsigned without, unsigned nor)
{
	uint32_t epoch = cluster_store(&cl).epoch + 1;
	struct candidate cand[CLUSTER_NODES] = { 0 };
	struct claim c = { 0 };
	uint64_t ms = now_ms();
	int best = -1;

	for (unsigned i = 0; i < cl.conf.nodes; i++) {
		if (i == without || i == nor || !cl.node[i].ss ||
		    stores_seal(cl.node[i].ss, cl.uuid, epoch, &cand[i]) || !cand[i].whole)
			continue;
		if (best < 0 || cand[i].end_lsn > cand[best].end_lsn)
			best = (int)i;
	}
	sealed_ms += now_ms() - ms;
	cr_assert_geq(best, 0, "nobody can take over");
	c.to = cl.node[best].name;
	c.start = cand[best].end_lsn;
	for (unsigned i = 0; i < cl.conf.nodes; i++)
		c.in_sync[i] = (int)i != best && cand[i].sealed && cand[i].end_lsn == c.start;
	cr_assert_eq(cluster_edit(&cl, edit_claim, &c), 0);
	active = (unsigned)best;
	return c.start;
}

static uint64_t take_over(unsigned without)
{
	return take_over_from(without, without);
}

static void serves(void)
{
	uint64_t ms = now_ms();
	char err[256] = "";

	cr_assert_eq(stores_wait_active(cl.node[active].ss, cl.uuid, cluster_store(&cl).epoch, 10000,
					err, sizeof(err)), 0, "%s", err);
	serves_ms += now_ms() - ms;
	reopen();
}

static struct json_object *branches(unsigned node, struct json_object **ret_all)
{
	struct json_object *o, *list;

	*ret_all = stores_status(cl.node[node].ss);
	for (size_t i = 0; i < json_object_array_length(*ret_all); i++) {
		o = json_object_array_get_idx(*ret_all, i);
		if (!strcmp(json_object_get_string(json_object_object_get(o, "member")),
			    cl.node[node].name) &&
		    json_object_object_get_ex(o, "branches", &list))
			return list;
	}
	return NULL;
}

static uint64_t branch_u64(unsigned node, unsigned index, const char *field)
{
	struct json_object *all, *list = branches(node, &all);
	uint64_t v = UINT64_MAX;

	if (list && index < json_object_array_length(list))
		v = json_object_get_int64(json_object_object_get(
			json_object_array_get_idx(list, index), field));
	json_object_put(all);
	return v;
}

static unsigned nr_branches(unsigned node)
{
	struct json_object *all, *list = branches(node, &all);
	unsigned n = list ? json_object_array_length(list) : 0;

	json_object_put(all);
	return n;
}

/* ---- tests ------------------------------------------------------------------------ */

Test(back, the_active_dies_under_load_again_and_again)
{
	pthread_t t;

	start(conf_of(3, DAGTAP_MODE_COMMIT));
	for (unsigned round = 0; round < 4; round++) {
		unsigned dead = active;

		load_stop = false;
		pthread_create(&t, NULL, load_main, NULL);
		cluster_nap(400);
		node_crash(&cl.node[dead]);
		load_stop = true;
		pthread_join(t, NULL);
		take_over(dead);
		serves();
		expect_acked();
		forget_unacked();
		cr_assert_eq(write_slot(3, true), 0);
		/* Who returned once is as good as any: its bits cost nobody a seed. */
		healthy(3 - dead - active);
		cr_assert_eq(cluster_u64(&cl, active, 3 - dead - active, "seed_total"), 0);
		cr_assert_eq(node_start(&cl.node[dead]), 0);
		for (unsigned i = 0; i < 3; i++)
			if (i != active)
				healthy(i);
		expect_acked();
		all_equal();
		cluster_nap(1100);	/* a tick, which drops the bits */
	}
	cr_assert_eq(cluster_store(&cl).epoch, 5);
	cr_log_info("4 take-overs: sealed in %llu ms, claim to gate %llu ms",
		    (unsigned long long)sealed_ms, (unsigned long long)serves_ms);
	stop();
}

/* Two members: the second keeps up alone, the first comes back and follows. */
Test(back, two_members_take_turns)
{
	pthread_t t;

	start(conf_of(2, DAGTAP_MODE_ASYNC));
	for (unsigned round = 0; round < 4; round++) {
		unsigned dead = active;

		load_stop = false;
		pthread_create(&t, NULL, load_main, NULL);
		cluster_nap(200);
		node_cut(&cl.node[dead], true);
		cluster_nap(50);
		node_crash(&cl.node[dead]);
		load_stop = true;
		pthread_join(t, NULL);
		node_cut(&cl.node[dead], false);
		take_over(dead);
		serves();
		forget_unacked();
		for (unsigned i = 0; i < 50; i++)
			cr_assert_eq(write_slot(i * 7 % SLOTS, false), 0);
		cr_assert_eq(node_start(&cl.node[dead]), 0);
		healthy(dead);
		all_equal();
	}
	stop();
}

/* Cut off, it goes on for a while, as one does whose lease has not ended. */
Test(back, a_paused_active_returns_with_a_branch)
{
	uint64_t common, end;

	start(conf_of(3, DAGTAP_MODE_ASYNC));
	for (unsigned i = 0; i < 50; i++)
		cr_assert_eq(write_slot(i, false), 0);
	all_equal();
	node_cut(&cl.node[0], true);
	cluster_nap(100);
	for (unsigned i = 30; i < 90; i++)
		cr_assert_eq(write_slot(i, false), 0);
	common = cluster_u64(&cl, 1, 1, "durable_lsn");
	end = cluster_u64(&cl, 0, 0, "generated_lsn");
	cr_assert_gt(end, common);
	/* It does not hear of it: its daemon is stopped, its module goes on. */
	node_stop(&cl.node[0]);
	cr_assert_eq(take_over(0), common);
	serves();
	for (unsigned i = 60; i < 120; i++)
		cr_assert_eq(write_slot(i, false), 0);
	node_cut(&cl.node[0], false);
	cr_assert_eq(node_start(&cl.node[0]), 0);
	healthy(0);
	healthy(2);
	all_equal();
	cluster_nap(1500);
	cr_assert_eq(nr_branches(0), 1);
	cr_assert_eq(branch_u64(0, 0, "epoch"), 1);
	cr_assert_eq(branch_u64(0, 0, "first_lsn"), common);
	cr_assert_geq(branch_u64(0, 0, "end_lsn"), end);
	cr_assert_eq(nr_branches(1), 0);
	/* It outlives a restart. */
	node_stop(&cl.node[0]);
	cr_assert_eq(node_start(&cl.node[0]), 0);
	healthy(0);
	cluster_nap(1500);
	cr_assert_eq(nr_branches(0), 1);
	stop();
}

#define REGION_SLOTS	16u	/* 64 KiB */
#define REGION_BYTES	65536u

/* Writes into some regions, one block each; counts those that `touched` did not have. */
static unsigned touch_regions(bool *touched, unsigned first, unsigned n)
{
	unsigned fresh = 0;

	for (unsigned r = first; r < first + n; r++) {
		cr_assert_eq(write_slot(r * REGION_SLOTS + r % REGION_SLOTS, false), 0);
		fresh += !touched[r];
		touched[r] = true;
	}
	return fresh;
}

/* Its tail is no part of the history: what has to travel is what either has changed. */
static void returns_cheaply(bool power_cut)
{
	bool touched[SLOTS / REGION_SLOTS] = { false };
	unsigned regions;
	uint64_t seeds;

	start(conf_of(3, DAGTAP_MODE_ASYNC));
	for (unsigned i = 0; i < SLOTS; i++)
		cr_assert_eq(write_slot(i, false), 0);
	all_equal();
	cluster_nap(1000);	/* the bits of that are cleared */
	node_cut(&cl.node[0], true);
	cluster_nap(100);
	regions = touch_regions(touched, 5, 4);
	if (power_cut)
		node_crash(&cl.node[0]);
	else
		node_stop(&cl.node[0]);
	take_over(0);
	serves();
	healthy(3 - active);
	seeds = cluster_u64(&cl, active, active, "seeds");
	regions += touch_regions(touched, 7, 5);
	node_cut(&cl.node[0], false);
	cr_assert_eq(node_start(&cl.node[0]), 0);
	healthy(0);
	all_equal();
	cr_assert_eq(cluster_u64(&cl, active, active, "seeds"), seeds + 1);
	cr_assert_eq(cluster_u64(&cl, active, active, "seed_done"), regions * REGION_BYTES,
		     "%u regions were touched", regions);
	/* Whole again, it owes nothing: the next move seeds nobody. */
	cluster_nap(1500);
	node_stop(&cl.node[3 - active]);
	cr_assert_eq(node_start(&cl.node[3 - active]), 0);
	healthy(3 - active);
	cr_assert_eq(cluster_u64(&cl, active, active, "seeds"), seeds + 1);
	stop();
}

Test(back, a_return_costs_what_both_have_touched)
{
	returns_cheaply(true);
}

Test(back, a_return_of_a_running_host_costs_no_more)
{
	returns_cheaply(false);
}

/* In the midst of it either side dies, or the line, or another member takes over. */
Test(back, a_return_that_is_disturbed_ends_equal)
{
	unsigned seed = 11;

	start(conf_of(3, DAGTAP_MODE_ASYNC));
	for (unsigned round = 0; round < 6; round++) {
		unsigned old = active, ms = rand_r(&seed) % 150;

		node_cut(&cl.node[old], true);
		cluster_nap(50);
		for (unsigned i = 0; i < 60; i++)
			cr_assert_eq(write_slot(rand_r(&seed) % SLOTS, false), 0);
		node_crash(&cl.node[old]);
		take_over(old);
		serves();
		for (unsigned i = 0; i < 60; i++)
			cr_assert_eq(write_slot(rand_r(&seed) % SLOTS, false), 0);
		healthy(3 - old - active);
		all_equal_but(old);
		node_cut(&cl.node[old], false);
		cr_assert_eq(node_start(&cl.node[old]), 0);
		cluster_nap(ms);
		switch (round % 4) {
		case 0:
			node_crash(&cl.node[old]);
			cr_assert_eq(node_start(&cl.node[old]), 0);
			break;
		case 1:
			node_cut(&cl.node[old], true);
			cluster_nap(100);
			node_cut(&cl.node[old], false);
			break;
		case 2: {
			unsigned second = active;

			node_crash(&cl.node[second]);
			take_over_from(second, old);
			serves();
			for (unsigned i = 0; i < 20; i++)
				cr_assert_eq(write_slot(rand_r(&seed) % SLOTS, false), 0);
			cr_assert_eq(node_start(&cl.node[second]), 0);
			healthy(second);
			break;
		}
		case 3:
			node_stop(&cl.node[active]);
			cr_assert_eq(node_start(&cl.node[active]), 0);
			reopen();
			break;
		}
		healthy(old);
		all_equal();
		cluster_nap(1100);
	}
	stop();
}

static void *late_commit(void *arg)
{
	*(_Atomic int *)arg = write_slot(200, true);
	return NULL;
}

/* Its daemon lives, its copies do not answer it: what waits fails, nothing is lost. */
Test(back, a_fenced_active_fails_its_commits)
{
	_Atomic int rc = 1;
	struct tap_mem_dev *old;
	pthread_t t;

	start(conf_of(3, DAGTAP_MODE_COMMIT));
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(write_slot(i, true), 0);
	node_cut(&cl.node[0], true);
	pthread_create(&t, NULL, late_commit, (void *)&rc);
	cluster_nap(300);
	cr_assert_eq(rc, 1, "a commit ended without its copies");
	old = dev;
	dev = NULL;
	take_over(0);
	pthread_join(t, NULL);
	cr_assert_eq(rc, -EIO, "a commit of the fenced one must fail");
	dev = old;
	cr_assert_eq(write_slot(201, false), -EIO);
	serves();
	expect_acked();
	cr_assert_eq(write_slot(202, true), 0, "the new active's set answers");
	node_cut(&cl.node[0], false);
	healthy(0);
	all_equal();
	stop();
}

/* ---- the last logs ------------------------------------------------------------------ */

static int fetch(unsigned to, unsigned from, uint64_t up_to)
{
	return stores_fetch(cl.node[to].ss, cl.uuid, &cl.em.gs.members[from], up_to, 5000);
}

Test(back, who_has_less_fetches_the_rest)
{
	struct cluster_conf conf = conf_of(3, DAGTAP_MODE_ASYNC);
	struct candidate less, more, now;
	int rc;

	conf.ring_mib = 16;	/* so much is kept for the one that is away */
	start(conf);
	for (unsigned i = 0; i < 50; i++)
		cr_assert_eq(write_slot(i, false), 0);
	all_equal();
	node_cut(&cl.node[2], true);
	cr_assert_eq(cluster_await(&cl, 0, 2, "link", "down", 5000), 0);
	/* More than a receive ring, and more than one segment. */
	for (unsigned i = 0; i < 3000; i++)
		cr_assert_eq(write_slot(i % SLOTS, false), 0);
	cr_assert_eq(cluster_equal(&cl, 0, 1, 20000), 0);
	node_crash(&cl.node[0]);
	node_cut(&cl.node[2], false);
	cr_assert_eq(stores_seal(cl.node[2].ss, cl.uuid, 2, &less), 0);
	cr_assert_eq(fetch(2, 1, less.end_lsn + 64), -ECONNREFUSED, "the source has not promised");
	cr_assert_eq(stores_seal(cl.node[1].ss, cl.uuid, 3, &more), 0);
	cr_assert_eq(fetch(2, 1, less.end_lsn + 64), -ECONNREFUSED, "it promised more");
	cr_assert_eq(stores_seal(cl.node[2].ss, cl.uuid, 3, &less), 0);
	cr_assert_gt(more.end_lsn, less.end_lsn + (8 << 20));
	cr_assert_eq(fetch(2, 1, more.end_lsn + 64), -ENODATA, "nobody has that");
	cr_assert_eq(fetch(1, 2, more.end_lsn), 0, "it has it all");
	rc = fetch(2, 1, more.end_lsn);
	cr_assert_eq(rc, 0, "%s", strerror(-rc));
	cr_assert_eq(stores_report(cl.node[2].ss, cl.uuid, &now), 0);
	cr_assert_eq(now.end_lsn, more.end_lsn);
	cr_assert(now.whole);
	cr_assert_eq(now.log_epoch, 1);
	/* It survives the daemon, and serves. */
	node_stop(&cl.node[2]);
	cr_assert_eq(node_start(&cl.node[2]), 0);
	cluster_nap(300);
	cr_assert_eq(stores_report(cl.node[2].ss, cl.uuid, &now), 0);
	cr_assert_eq(now.end_lsn, more.end_lsn);
	claim_for(2, now.end_lsn);
	serves();
	cr_assert_eq(write_slot(5, false), 0);
	healthy(1);
	cr_assert_eq(node_start(&cl.node[0]), 0);
	healthy(0);
	all_equal();
	forget_unacked();
	stop();
}

/* Both promised, but their logs part before the puller's end: it must not be joined. */
Test(back, no_logs_are_fetched_from_another_history)
{
	struct candidate a, b;
	uint64_t at;

	start(conf_of(3, DAGTAP_MODE_ASYNC));
	all_equal();
	node_cut(&cl.node[2], true);
	cr_assert_eq(cluster_await(&cl, 0, 2, "link", "down", 5000), 0);
	at = cluster_u64(&cl, 2, 2, "durable_lsn");
	for (unsigned i = 0; i < 20; i++)
		cr_assert_eq(write_slot(i, false), 0);
	cr_assert_eq(cluster_equal(&cl, 0, 1, 20000), 0);
	node_cut(&cl.node[1], true);
	node_crash(&cl.node[0]);
	/* The one with less goes on alone, the returned one follows it. */
	cr_assert_eq(stores_seal(cl.node[2].ss, cl.uuid, 2, &a), 0);
	cr_assert_eq(a.end_lsn, at);
	node_cut(&cl.node[2], false);
	claim_for(2, at);
	serves();
	for (unsigned i = 0; i < 200; i++)
		cr_assert_eq(write_slot(i, false), 0);
	cr_assert_eq(node_start(&cl.node[0]), 0);
	healthy(0);
	cr_assert_eq(cluster_equal(&cl, 2, 0, 20000), 0);
	node_crash(&cl.node[2]);
	node_cut(&cl.node[1], false);
	cr_assert_eq(stores_seal(cl.node[0].ss, cl.uuid, 3, &a), 0);
	cr_assert_eq(stores_seal(cl.node[1].ss, cl.uuid, 3, &b), 0);
	cr_assert_eq(a.log_epoch, 2);
	cr_assert_eq(b.log_epoch, 1);
	cr_assert_gt(a.end_lsn, b.end_lsn);
	cr_assert_eq(fetch(1, 0, a.end_lsn), -EXDEV);
	cr_assert_eq(stores_report(cl.node[1].ss, cl.uuid, &a), 0);
	cr_assert_eq(a.end_lsn, b.end_lsn);
	/* The newer epoch wins; the other's tail is gone from the device, and kept. */
	cr_assert_eq(take_over(1), cluster_store(&cl).start_lsn);
	cr_assert_eq(active, 0);
	serves();
	healthy(1);
	cr_assert_eq(cluster_equal(&cl, 0, 1, 20000), 0);
	cluster_nap(1500);
	cr_assert_eq(nr_branches(1), 1);
	cr_assert_eq(branch_u64(1, 0, "epoch"), 1);
	cr_assert_eq(branch_u64(1, 0, "first_lsn"), at);
	cr_assert_eq(node_start(&cl.node[2]), 0);
	healthy(2);
	all_equal();
	stop();
}

/* ---- a copy outside the set holds no commit (A1) ------------------------------------- */

static struct cluster_conf shrinking(void)
{
	struct cluster_conf c = conf_of(2, DAGTAP_MODE_COMMIT);

	c.min_in_sync = 0;
	c.late_ms_max = 300;
	return c;
}

static bool agreed_in_sync(unsigned copy)
{
	return cluster_store(&cl).copies[copy].in_sync;
}

/* The copy is gone and must leave the set; a commit waits. The set is left intact as
 * long as the test holds it; then everything goes on. */
static pthread_t commit_without_the_copy(_Atomic int *rc)
{
	pthread_t t;

	for (int i = 0; i < 500 && !agreed_in_sync(1); i++)
		cluster_nap(20);
	cr_assert(agreed_in_sync(1));
	*rc = 1;
	node_stop(&cl.node[1]);
	pthread_create(&t, NULL, late_commit, (void *)rc);
	return t;
}

Test(back, a_slow_engine_holds_commits_and_nothing_else)
{
	_Atomic int rc;
	pthread_t t;

	start(shrinking());
	cl.em.slow_ms = 3000;
	t = commit_without_the_copy(&rc);
	/* More than the ring meanwhile: the spool does not wait for the engine. */
	for (unsigned i = 0; i < 2000; i++)
		cr_assert_eq(write_slot(i % SLOTS, false), 0);
	cluster_nap(500);
	cr_assert_eq(rc, 1);
	cr_assert(agreed_in_sync(1));
	pthread_join(t, NULL);
	cr_assert_eq(rc, 0);
	cr_assert_not(agreed_in_sync(1), "acked before it was agreed");
	cl.em.slow_ms = 0;
	cr_assert_eq(node_start(&cl.node[1]), 0);
	healthy(1);
	cr_assert_eq(cluster_u64(&cl, 0, 1, "seed_total"), 0, "the log was given up");
	all_equal();
	stop();
}

Test(back, an_engine_that_does_not_answer_holds_commits)
{
	_Atomic int rc;
	pthread_t t;

	start(shrinking());
	cl.em.refuse = 1u << 30;
	t = commit_without_the_copy(&rc);
	cluster_nap(2000);
	cr_assert_eq(rc, 1, "acked without an answer");
	cr_assert(agreed_in_sync(1));
	cl.em.refuse = 0;
	pthread_join(t, NULL);
	cr_assert_eq(rc, 0);
	cr_assert_not(agreed_in_sync(1));
	/* The change happens, the answer is lost, several times: both out and in. */
	cl.em.ambiguous = 3;
	cr_assert_eq(node_start(&cl.node[1]), 0);
	healthy(1);
	for (int i = 0; i < 500 && !agreed_in_sync(1); i++)
		cluster_nap(20);
	cl.em.ambiguous = 3;
	t = commit_without_the_copy(&rc);
	pthread_join(t, NULL);
	cr_assert_eq(rc, 0);
	cr_assert_not(agreed_in_sync(1));
	stop();
}

/* Another was made active and this one has not heard of it: its set is not its any
 * more. The engine says so, and the commit stays held. */
Test(back, a_fenced_active_cannot_shrink_the_set)
{
	_Atomic int rc;
	pthread_t t;

	start(shrinking());
	t = commit_without_the_copy(&rc);
	cl.em.silent = true;
	claim_for(1, cluster_u64(&cl, 0, 0, "generated_lsn"));
	cluster_nap(2000);
	cr_assert_eq(rc, 1, "acked by one that was fenced");
	active = 0;
	tap_mem_crash_host(0);
	pthread_join(t, NULL);
	cr_assert_eq(rc, -EIO);
	stop();
}
