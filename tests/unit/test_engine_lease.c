// SPDX-License-Identifier: GPL-2.0
/* Leases, fences and claims with a real etcd, and changes while it does not answer. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/group/engine_etcd_tend.h"
#include "daemon/group/lease.h"
#include "tests/lib/enginelab.h"
#include "tests/lib/etcdlab.h"

static struct etcdlab lab;
static const uint8_t id1[16] = { 1 };

static void teardown(void)
{
	if (lab.nr)
		etcdlab_stop(&lab);
}

TestSuite(lease, .fini = teardown, .timeout = 110);

Test(lease, leases_fences_and_claims)
{
	struct engine *a, *b, *c;
	struct engine_claim cl = { .host = "node1", .generation = 1 };
	struct engine_host host;
	struct group_profile lan;
	struct engine_fact fact = { { 1 }, 4096 };
	uint64_t deadline, fence, t0, t1;
	int i;

	etcdlab_start(&lab, 3);
	etcdlab_found(&lab, 3, "lan");
	etcdlab_join(&lab, 1);
	etcdlab_join(&lab, 2);
	a = lab.node[0].en;
	b = lab.node[1].en;
	c = lab.node[2].en;
	cr_assert_eq(enginelab_make_store(a, id1, "pg", "node1"), 0);
	/* no fence was accepted: no lease */
	cr_assert_eq(etcdlab_renew(a, &deadline, &fence), -ESTALE);
	cr_assert_eq(a->ops->accept_fence(a, 1), -ESTALE, "not one that it does not know");
	cr_assert_eq(a->ops->fence(a, &fence), 0);
	cr_assert_eq(fence, 1);
	cr_assert_eq(a->ops->accept_fence(a, fence), 0);
	a->ops->facts(a, &fact, 1);
	lease_profile_named("lan", &lan);
	t0 = etcdlab_now_ns();
	cr_assert_eq(etcdlab_renew(a, &deadline, &fence), 0);
	t1 = etcdlab_now_ns();
	cr_assert(deadline >= lease_deadline_ns(&lan, t0) && deadline <= lease_deadline_ns(&lan, t1));
	/* the others see it, with its facts, and each renewal */
	cr_assert_eq(b->ops->confirm(b, 10000), 0);
	host = enginelab_host(b, "node1");
	cr_assert_eq(host.fence, 1);
	cr_assert_eq(host.nr_facts, 1);
	cr_assert_eq(host.facts[0].commit_lsn, 4096);
	cl.lease_rev = host.lease_rev;
	cl.fence = host.fence;
	cr_assert_eq(etcdlab_renew(a, &deadline, &fence), 0);
	cr_assert_eq(enginelab_claim(b, &cl, id1, "node2"), -ESTALE, "the host lives");
	cr_assert_eq(b->ops->confirm(b, 10000), 0);
	host = enginelab_host(b, "node1");
	cr_assert_gt(host.lease_rev, cl.lease_rev);
	/* a claim that holds, once */
	cl.lease_rev = host.lease_rev;
	cl.generation = 2;
	cr_assert_eq(enginelab_claim(b, &cl, id1, "node2"), -ESTALE, "of another generation");
	cl.generation = 1;
	cr_assert_eq(enginelab_claim(b, &cl, id1, "node2"), 0);
	cr_assert_eq(enginelab_claim(c, &cl, id1, "node3"), -ESTALE);
	cr_assert_str_eq(enginelab_store(b, id1).active, "node2");
	cr_assert_eq(enginelab_store(b, id1).epoch, 2);
	/* the old one is told, and by then it knows what was taken from it */
	for (i = 0; i < 2; i++)
		cr_assert_eq(etcdlab_renew(a, &deadline, &fence), -ESTALE);
	cr_assert_eq(a->ops->fence(a, &fence), 0);
	cr_assert_eq(fence, 2);
	cr_assert_str_eq(enginelab_store(a, id1).active, "node2");
	cr_assert_eq(a->ops->accept_fence(a, fence), 0);
	cr_assert_eq(etcdlab_renew(a, &deadline, &fence), 0);
	cr_assert_eq(fence, 2);
	/* given up in order, and taken up again */
	cr_assert_eq(a->ops->release(a), 0);
	cr_assert_eq(c->ops->confirm(c, 10000), 0);
	cr_assert(enginelab_host(c, "node1").released);
	cr_assert_eq(etcdlab_renew(a, &deadline, &fence), 0);
	cr_assert_eq(c->ops->confirm(c, 10000), 0);
	cr_assert_not(enginelab_host(c, "node1").released);
}

struct claimer {
	struct engine *en;
	const char *who;
	struct engine_claim cl;
	pthread_t thread;
	int r;
};

static void *claim_thread(void *arg)
{
	struct claimer *c = arg;

	c->r = enginelab_claim(c->en, &c->cl, id1, c->who);
	return NULL;
}

Test(lease, one_claim_of_many_wins)
{
	struct claimer c[2];
	uint64_t fence;
	unsigned round;
	int i;

	etcdlab_start(&lab, 3);
	etcdlab_found(&lab, 3, "lan");
	etcdlab_join(&lab, 1);
	etcdlab_join(&lab, 2);
	for (round = 0; round < 20; round++) {
		struct store_edit e = { "pg", "node1", 1 };
		struct engine *a = lab.node[0].en;
		char err[300];
		uint32_t epoch = round ? enginelab_store(a, id1).epoch : 0;

		cr_assert_eq(a->ops->txn_store(a, id1, epoch, enginelab_edit_store, &e, err, sizeof(err)), 0, "%s", err);
		cr_assert_eq(etcdlab_take_lease(a, &fence), 0);
		for (i = 0; i < 2; i++) {
			struct engine_host host;

			c[i].en = lab.node[i + 1].en;
			cr_assert_eq(c[i].en->ops->confirm(c[i].en, 10000), 0);
			host = enginelab_host(c[i].en, "node1");
			c[i].who = lab.node[i + 1].name;
			c[i].cl = (struct engine_claim){ "node1", host.lease_rev, host.fence, 1 };
		}
		for (i = 0; i < 2; i++)
			cr_assert_eq(pthread_create(&c[i].thread, NULL, claim_thread, &c[i]), 0);
		for (i = 0; i < 2; i++)
			pthread_join(c[i].thread, NULL);
		cr_assert((c[0].r == 0) != (c[1].r == 0), "round %u: %d, %d", round, c[0].r, c[1].r);
		cr_assert(c[0].r == 0 || c[0].r == -ESTALE);
		cr_assert(c[1].r == 0 || c[1].r == -ESTALE);
		cr_assert_eq(a->ops->confirm(a, 10000), 0);
		cr_assert_str_eq(enginelab_store(a, id1).active, c[c[1].r == 0].who);
	}
}

/* ---- time-outs ---------------------------------------------------------------- */

Test(lease, silence_extends_nothing)
{
	struct store_edit e = { "pg", "node1", 1 };
	uint64_t deadline = 7, fence, t0;
	struct engine_claim cl = { .host = "node1", .generation = 1, .fence = 1 };
	struct engine *en;
	bool unconfirmed;
	char err[300];
	pid_t pid;
	int r;

	etcdlab_start(&lab, 1);
	etcdlab_found(&lab, 1, "lan");
	en = lab.node[0].en;
	cr_assert_eq(enginelab_make_store(en, id1, "pg", "node1"), 0);
	cr_assert_eq(etcdlab_take_lease(en, &fence), 0);
	pid = etcdlab_wait_pid(&lab, 0, 0);
	kill(pid, SIGSTOP);
	etcdlab_nap(300);	/* a thread of it may still be answering */
	t0 = etcdlab_now_ns();
	r = en->ops->renew(en, &deadline, &fence);
	cr_assert_eq(r, -EAGAIN, "%d", r);
	cr_assert_eq(deadline, 7, "untouched");
	/* it gives up within a lease; the machine may have held it up, but not for so long */
	cr_assert_lt(etcdlab_now_ns() - t0, 5000000000ull, "within a lease");
	/* a change is not made, and nobody says that it is */
	r = en->ops->txn_store(en, id1, 1, enginelab_edit_store, &e, err, sizeof(err));
	cr_assert(r == -EAGAIN || r == -EHOSTUNREACH, "%d", r);
	cl.lease_rev = enginelab_host(en, "node1").lease_rev;
	r = enginelab_claim(en, &cl, id1, "node2");
	cr_assert(r == -EAGAIN || r == -EHOSTUNREACH, "%d", r);
	cr_assert_lt(en->ops->confirm(en, 500), 0);
	/* and yet it says what it knows */
	cr_assert_eq(enginelab_version(en, &unconfirmed), 0);
	cr_assert_eq(enginelab_store(en, id1).epoch, 1);
	kill(pid, SIGCONT);
	cr_assert_eq(en->ops->confirm(en, 30000), 0);
	cr_assert_eq(enginelab_store(en, id1).epoch, 1, "what was refused did not come in late");
	cr_assert_eq(etcdlab_renew(en, &deadline, &fence), 0);
}

/* etcd is stopped and let go at random moments under changes: what was said to be done
 * is there, and what was said not to be done is not. */
struct stopper {
	pid_t pid;
	volatile bool end;
};

static void *stop_and_go(void *arg)
{
	struct stopper *s = arg;
	unsigned seed = 7;

	while (!s->end) {
		etcdlab_nap(20 + rand_r(&seed) % 200);
		kill(s->pid, SIGSTOP);
		etcdlab_nap(rand_r(&seed) % 16 ? 30 + rand_r(&seed) % 300 : 5500);
		kill(s->pid, SIGCONT);
	}
	return NULL;
}

Test(lease, says_the_truth_about_changes)
{
	unsigned done = 0, not_done = 0, unknown = 0;
	struct stopper s = { .end = false };
	struct engine *en;
	pthread_t thread;
	bool late = false;	/* a change of unknown end may still come in */
	uint64_t end;
	uint32_t epoch = 1;

	etcdlab_start(&lab, 1);
	etcdlab_found(&lab, 1, "lan");
	en = lab.node[0].en;
	cr_assert_eq(enginelab_make_store(en, id1, "pg", "node1"), 0);
	s.pid = etcdlab_wait_pid(&lab, 0, 0);
	cr_assert_eq(pthread_create(&thread, NULL, stop_and_go, &s), 0);
	for (end = etcdlab_now_ns() + 30000000000ull; etcdlab_now_ns() < end;) {
		struct store_edit e = { "pg", "node1", 1 };
		char err[300];
		uint32_t now;
		int r = en->ops->txn_store(en, id1, epoch, enginelab_edit_store, &e, err, sizeof(err));

		while (en->ops->confirm(en, 10000))
			;
		now = enginelab_store(en, id1).epoch;
		cr_assert(now == epoch || now == epoch + 1);
		if (!r) {
			cr_assert_eq(now, epoch + 1, "said to be done, and is not");
			done++;
		} else if (r == -EAGAIN) {
			unknown++;
		} else {
			cr_assert(now == epoch || late, "said not to be done (%d), and is", r);
			not_done++;
		}
		/* it compares what it read: once the store has changed it is too late for it */
		late = now == epoch && (late || r == -EAGAIN);
		epoch = now;
	}
	s.end = true;
	pthread_join(thread, NULL);
	fprintf(stderr, "changes: %u done, %u not, %u unknown\n", done, not_done, unknown);
	cr_assert_gt(done, 10);
}
