// SPDX-License-Identifier: GPL-2.0
/* The etcd engine with a real etcd on loopback, over TLS: changes. */
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
static const uint8_t id1[16] = { 1 }, id2[16] = { 2 };

static void teardown(void)
{
	if (lab.nr)
		etcdlab_stop(&lab);
}

TestSuite(etcd, .fini = teardown, .timeout = 110);

/* ---- one voter ------------------------------------------------------------ */

Test(etcd, founds_a_group_and_remembers)
{
	struct engine_health h;
	struct engine *en;
	bool unconfirmed;
	char err[300];
	int n = 0;

	etcdlab_start(&lab, 1);
	etcdlab_found(&lab, 1, "lan");
	en = lab.node[0].en;
	cr_assert_eq(enginelab_make_store(en, id1, "pg", "node1"), 0);
	cr_assert_eq(en->ops->txn_group(en, enginelab_edit_group, &n, err, sizeof(err)), 0, "%s", err);
	cr_assert_eq(n, 1);
	cr_assert_eq(enginelab_version(en, &unconfirmed), 1);
	cr_assert_not(unconfirmed);
	en->ops->health(en, &h);
	cr_assert(h.confirmed && h.pid && h.age_ms >= 0);
	/* an orderly stop ends etcd, a start brings all of it back */
	etcdlab_close(&lab, 0);
	cr_assert_eq(kill(h.pid, 0), -1);
	en = etcdlab_open(&lab, 0);
	cr_assert_eq(enginelab_version(en, &unconfirmed), 1);
	en->ops->health(en, &h);
	cr_assert(unconfirmed || h.age_ms >= 0, "what is on disk is no news");
	cr_assert_eq(en->ops->confirm(en, 30000), 0);
	cr_assert_eq(enginelab_version(en, &unconfirmed), 1);
	cr_assert_not(unconfirmed);
	cr_assert_str_eq(enginelab_store(en, id1).name, "pg");
}

Test(etcd, goes_on_with_an_etcd_of_before)
{
	struct engine *en;
	uint64_t deadline, fence;
	pid_t pid;

	etcdlab_start(&lab, 1);
	etcdlab_found(&lab, 1, "lan");
	en = lab.node[0].en;
	cr_assert_eq(etcdlab_take_lease(en, &fence), 0);
	pid = etcdlab_pid(&lab, 0);
	etcdlab_crash(&lab, 0);
	cr_assert_eq(kill(pid, 0), 0, "etcd outlives dagd");
	en = etcdlab_open(&lab, 0);
	cr_assert_eq(en->ops->confirm(en, 5000), 0);
	cr_assert_eq(etcdlab_wait_pid(&lab, 0, 0), pid, "the same etcd");
	/* nothing is accepted from a former process */
	cr_assert_eq(en->ops->renew(en, &deadline, &fence), -ESTALE);
	cr_assert_eq(etcdlab_take_lease(en, &fence), 0);
	/* it dies: another is started */
	kill(pid, SIGKILL);
	etcdlab_wait_pid(&lab, 0, pid);
	cr_assert_eq(en->ops->confirm(en, 30000), 0);
	cr_assert_eq(etcdlab_renew(en, &deadline, &fence), 0);
}

Test(etcd, refuses_what_does_not_fit)
{
	struct store_edit e = { "pg", "node1", 1 };
	struct group_state gs;
	struct engine *en;
	char err[300];

	etcdlab_start(&lab, 1);
	etcdlab_found(&lab, 1, "lan");
	en = lab.node[0].en;
	cr_assert_eq(enginelab_make_store(en, id1, "pg", "node1"), 0);
	cr_assert_eq(enginelab_make_store(en, id2, "pg", "node1"), -EEXIST, "the name is taken");
	cr_assert_eq(enginelab_make_store(en, id1, "pg", "node1"), -ESTALE, "it is there");
	cr_assert_eq(en->ops->txn_store(en, id1, 2, enginelab_edit_store, &e, err, sizeof(err)), -ESTALE);
	cr_assert_eq(en->ops->txn_store(en, id2, 2, enginelab_edit_store, &e, err, sizeof(err)), -ENOENT);
	e.epoch_add = 2;
	cr_assert_eq(en->ops->txn_store(en, id1, 1, enginelab_edit_store, &e, err, sizeof(err)), -EINVAL);
	e.epoch_add = 0;
	e.active = "node9";	/* without a copy: could not be read again */
	cr_assert_eq(en->ops->txn_store(en, id1, 1, enginelab_edit_store, &e, err, sizeof(err)), -EINVAL);
	cr_assert_eq(enginelab_store(en, id1).version, 1);
	/* another group's state is not for here; one's own neither, once in a group */
	cr_assert_eq(group_state_init(&gs), 0);
	cr_assert_eq(en->ops->snapshot(en, &gs), 0);
	gs.version += 5;
	cr_assert_eq(en->ops->learn(en, &gs), 0);
	cr_assert_eq(enginelab_version(en, NULL), 0);
	gs.uuid[0] = '9';
	cr_assert_eq(en->ops->learn(en, &gs), -EXDEV);
	cr_assert_eq(en->ops->forget(en, false), -EBUSY);
	group_state_free(&gs);
}

/* ---- several members, one voter -------------------------------------------- */

/* unknown: the engine could not say in time whether it was done. */
struct racer {
	struct engine *en;
	pthread_t thread;
	int wins, losses, unknown, other;
};

static void *race_epochs(void *arg)
{
	struct racer *rc = arg;
	struct store_edit e = { "pg", rc->en == lab.node[0].en ? "node1" : "node2", 1 };
	char err[300];
	uint32_t epoch;

	for (epoch = 1; epoch <= 30; epoch++) {
		bool unsure = false;
		int r;

		/* both want to be the one that ends this epoch */
		while (enginelab_store(rc->en, id1).epoch < epoch)
			etcdlab_nap(1);
		while ((r = rc->en->ops->txn_store(rc->en, id1, epoch, enginelab_edit_store, &e, err,
						   sizeof(err))) == -EAGAIN || r == -EHOSTUNREACH)
			unsure |= r == -EAGAIN;
		if (!r)
			rc->wins++;
		else if (r != -ESTALE)
			rc->other++;
		else if (unsure)
			rc->unknown++;
		else
			rc->losses++;
	}
	return NULL;
}

Test(etcd, one_of_two_wins)
{
	struct racer rc[2] = { { .wins = 0 }, { .wins = 0 } };
	int i;

	etcdlab_start(&lab, 2);
	etcdlab_found(&lab, 2, "lan");
	etcdlab_join(&lab, 1);
	cr_assert_eq(enginelab_make_store(lab.node[0].en, id1, "pg", "node1"), 0);
	cr_assert_eq(lab.node[1].en->ops->confirm(lab.node[1].en, 10000), 0);
	for (i = 0; i < 2; i++) {
		rc[i].en = lab.node[i].en;
		cr_assert_eq(pthread_create(&rc[i].thread, NULL, race_epochs, &rc[i]), 0);
	}
	for (i = 0; i < 2; i++)
		pthread_join(rc[i].thread, NULL);
	for (i = 0; i < 2; i++) {
		cr_assert_eq(rc[i].other, 0);
		cr_assert_eq(rc[i].wins + rc[i].losses + rc[i].unknown, 30);
	}
	/* each epoch has one winner; one that was not answered may be it */
	cr_assert_leq(rc[0].wins + rc[1].wins, 30, "%d + %d", rc[0].wins, rc[1].wins);
	cr_assert_geq(rc[0].wins + rc[1].wins + rc[0].unknown + rc[1].unknown, 30);
	cr_assert_eq(enginelab_store(lab.node[0].en, id1).epoch, 31);
}

static void *race_group(void *arg)
{
	struct racer *rc = arg;
	char err[300];
	int i, n = 0;

	for (i = 0; i < 20; i++) {
		int r;

		/* the other one may be faster ten times: it says so, and nothing is done */
		while ((r = rc->en->ops->txn_group(rc->en, enginelab_edit_group, &n, err,
						   sizeof(err))) == -EBUSY || r == -EHOSTUNREACH)
			rc->losses++;
		if (!r)
			rc->wins++;
		else if (r == -EAGAIN)
			rc->unknown++;
		else
			rc->other++;
	}
	return NULL;
}

Test(etcd, no_change_of_the_group_is_lost)
{
	struct racer rc[2] = { { .wins = 0 }, { .wins = 0 } };
	uint64_t version;
	int i;

	etcdlab_start(&lab, 2);
	etcdlab_found(&lab, 2, "lan");
	etcdlab_join(&lab, 1);
	for (i = 0; i < 2; i++) {
		rc[i].en = lab.node[i].en;
		cr_assert_eq(pthread_create(&rc[i].thread, NULL, race_group, &rc[i]), 0);
	}
	for (i = 0; i < 2; i++)
		pthread_join(rc[i].thread, NULL);
	cr_assert_eq(lab.node[0].en->ops->confirm(lab.node[0].en, 10000), 0);
	version = enginelab_version(lab.node[0].en, NULL);
	cr_assert_geq(version, (uint64_t)(rc[0].wins + rc[1].wins));
	cr_assert_leq(version, (uint64_t)(rc[0].wins + rc[1].wins + rc[0].unknown + rc[1].unknown));
	cr_assert_eq(rc[0].other + rc[1].other, 0);
	cr_assert_gt(rc[0].wins + rc[1].wins, 0);
}
