// SPDX-License-Identifier: GPL-2.0
/* Three real etcds on loopback: voters that come, go, hang and die. */
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

TestSuite(voters, .fini = teardown, .timeout = 110);

/* ---- three voters --------------------------------------------------------------- */

static void three(void)
{
	unsigned i;

	etcdlab_start(&lab, 3);
	etcdlab_found(&lab, 3, "lan");
	etcdlab_join(&lab, 1);
	etcdlab_join(&lab, 2);
	etcdlab_grow(&lab, 3);
	for (i = 0; i < 3; i++)
		cr_assert_neq(etcdlab_pid(&lab, i), 0);
}

/*
 * A lease must outlive the loss of one etcd. A machine that stands still for some 100 ms
 * spoils one round, not three of five; an engine that is too slow spoils them all.
 */
#define ROUNDS	5
#define MOST	3

static bool fits_lease(uint64_t gap_ns, const char *what)
{
	struct group_profile lan;

	lease_profile_named("lan", &lan);
	fprintf(stderr, "longest gap of renewals, %s: %.0f ms\n", what, gap_ns / 1e6);
	return gap_ns < lease_deadline_ns(&lan, 0);
}

Test(voters, leader_killed)
{
	uint64_t fence, deadline;
	int good = 0, round;

	three();
	for (round = 0; round < ROUNDS && good < MOST; round++) {
		int leader = etcdlab_leader(&lab);
		struct engine *en;
		pid_t pid;

		cr_assert_geq(leader, 0);
		pid = etcdlab_wait_pid(&lab, leader, 0);
		/* a member on another host, and the one beside the leader's etcd */
		en = lab.node[round % 2 ? leader : (leader + 1) % 3].en;
		cr_assert_eq(etcdlab_take_lease(en, &fence), 0);
		good += fits_lease(etcdlab_renewal_gap_ns(en, 60, 20, pid, SIGKILL), "leader killed");
		cr_assert_eq(etcdlab_renew(en, &deadline, &fence), 0, "renewals go on");
		etcdlab_wait_pid(&lab, leader, pid);
		etcdlab_wait_whole(&lab);
		cr_assert_eq(en->ops->confirm(en, 30000), 0);
	}
	cr_assert_geq(good, MOST, "%d of %d", good, round);
}

Test(voters, majority_lost)
{
	uint64_t fence, deadline = 7;
	struct store_edit e = { "pg", "node1", 1 };
	struct engine *en;
	bool unconfirmed;
	pid_t pid[2];
	char err[300];
	int i, r;

	three();
	en = lab.node[0].en;
	cr_assert_eq(enginelab_make_store(en, id1, "pg", "node1"), 0);
	cr_assert_eq(etcdlab_take_lease(en, &fence), 0);
	for (i = 0; i < 2; i++) {
		pid[i] = etcdlab_wait_pid(&lab, i + 1, 0);
		kill(pid[i], SIGSTOP);
	}
	etcdlab_nap(400);
	for (i = 0; i < 5; i++)
		cr_assert_eq(en->ops->renew(en, &deadline, &fence), -EAGAIN);
	cr_assert_eq(deadline, 7);
	r = en->ops->txn_store(en, id1, 1, enginelab_edit_store, &e, err, sizeof(err));
	cr_assert(r == -EAGAIN || r == -EHOSTUNREACH);
	cr_assert_eq(enginelab_version(en, &unconfirmed), enginelab_version(en, NULL));
	cr_assert_eq(enginelab_store(en, id1).epoch, 1);
	for (i = 0; i < 2; i++)
		kill(pid[i], SIGCONT);
	cr_assert_eq(en->ops->confirm(en, 30000), 0);
	cr_assert_eq(etcdlab_renew(en, &deadline, &fence), 0);
}

/*
 * node1 tends until etcd counts so many voters by its own account, too: the marks in the
 * state say nothing of one that has left the group. Each step waits for etcd to be healthy.
 */
static void tend_until(unsigned voters)
{
	uint64_t end = etcdlab_now_ns() + 60000000000ull;

	while (etcdlab_real_voters(&lab, 0) != voters || etcdlab_voters(&lab, 0) != voters) {
		cr_assert_lt(etcdlab_now_ns(), end, "%u voters", etcdlab_real_voters(&lab, 0));
		etcdlab_tend(&lab, 0);
		etcdlab_nap(200);
	}
}

/* Whether etcd still counts on a host is asked of etcd, which may be slow to answer. */
static int forget_soon(struct engine *en)
{
	uint64_t end = etcdlab_now_ns() + 20000000000ull;
	int r;

	while ((r = en->ops->forget(en, false)) == -EBUSY && etcdlab_now_ns() < end)
		etcdlab_nap(50);
	return r;
}

Test(voters, voters_follow_the_group)
{
	struct engine *en;
	uint64_t end;
	char err[300], path[160];
	pid_t pid;

	three();
	en = lab.node[0].en;
	/* node3 leaves: two members have one vote */
	pid = etcdlab_wait_pid(&lab, 2, 0);
	cr_assert_eq(en->ops->txn_group(en, enginelab_edit_remove, "node3", err, sizeof(err)), 0, "%s", err);
	tend_until(1);
	cr_assert_eq(etcdlab_voters(&lab, 0), 1);
	/* a member that is in the group but votes no more ends its etcd and data */
	end = etcdlab_now_ns() + 30000000000ull;
	snprintf(path, sizeof(path), "%s/engine/member.json", lab.node[1].state_dir);
	while (!access(path, F_OK)) {
		cr_assert_lt(etcdlab_now_ns(), end);
		etcdlab_tend(&lab, 0);
		etcdlab_nap(200);
	}
	cr_assert_eq(etcdlab_pid(&lab, 1), 0);
	/* the one that left sees it, and can go, now that its vote is not needed */
	cr_assert_eq(lab.node[2].en->ops->confirm(lab.node[2].en, 30000), 0);
	cr_assert_eq(forget_soon(lab.node[2].en), 0);
	cr_assert_eq(kill(pid, 0), -1);
	cr_assert_eq(lab.node[1].en->ops->confirm(lab.node[1].en, 30000), 0);
}

/* A voter that has lost its data gives its vote up, and gets a new one: under the old
 * id it could deny what it has promised. */
Test(voters, lost_data_is_not_voted_with)
{
	struct engine *en;
	char cmd[200];
	uint64_t end;
	pid_t pid;

	three();
	en = lab.node[0].en;
	/* it is noted that there is data */
	snprintf(cmd, sizeof(cmd), "%s/engine/begun", lab.node[2].state_dir);
	end = etcdlab_now_ns() + 30000000000ull;
	while (access(cmd, F_OK)) {
		cr_assert_lt(etcdlab_now_ns(), end);
		etcdlab_nap(50);
	}
	pid = etcdlab_wait_pid(&lab, 2, 0);
	snprintf(cmd, sizeof(cmd), "rm -rf %s/engine/data", lab.node[2].state_dir);
	kill(pid, SIGSTOP);
	cr_assert_eq(system(cmd), 0);
	kill(pid, SIGKILL);
	etcdlab_nap(1000);
	cr_assert_eq(etcdlab_pid(&lab, 2), 0, "not started without its data");
	end = etcdlab_now_ns() + 60000000000ull;
	while (!etcdlab_pid(&lab, 2) && etcdlab_now_ns() < end) {
		etcdlab_tend(&lab, 0);
		etcdlab_nap(200);
	}
	cr_assert_neq(etcdlab_pid(&lab, 2), 0);
	etcdlab_grow(&lab, 3);
	cr_assert_eq(en->ops->confirm(en, 30000), 0);
}

static int edit_witness(struct group_state *gs, void *ctx)
{
	if (!ctx) {
		memset(&gs->witness, 0, sizeof(gs->witness));
		return 0;
	}
	strcpy(gs->witness.name, lab.node[2].name);
	strcpy(gs->witness.address, "127.0.0.1");
	gs->witness.port = lab.node[2].port;
	return 0;
}

Test(voters, witness_votes_where_members_are_even)
{
	struct engine *en;
	struct engine_health h;
	uint64_t fence;
	char err[300];

	etcdlab_start(&lab, 3);
	etcdlab_found(&lab, 2, "lan");
	etcdlab_join(&lab, 1);
	en = lab.node[0].en;
	cr_assert_eq(en->ops->txn_group(en, edit_witness, &lab, err, sizeof(err)), 0, "%s", err);
	etcdlab_join(&lab, 2);
	etcdlab_grow(&lab, 3);
	cr_assert_neq(etcdlab_pid(&lab, 2), 0);
	/* with it, one member is enough */
	cr_assert_eq(etcdlab_take_lease(lab.node[1].en, &fence), 0);
	etcdlab_close(&lab, 0);
	cr_assert_eq(lab.node[1].en->ops->confirm(lab.node[1].en, 30000), 0);
	cr_assert_eq(etcdlab_take_lease(lab.node[1].en, &fence), 0);
	en = etcdlab_open(&lab, 0);
	cr_assert_eq(en->ops->confirm(en, 30000), 0);
	/* taken away: its etcd ends, and it is in no group */
	cr_assert_eq(lab.node[2].en->ops->forget(lab.node[2].en, false), -EBUSY);
	cr_assert_eq(en->ops->txn_group(en, edit_witness, NULL, err, sizeof(err)), 0, "%s", err);
	cr_assert_eq(lab.node[2].en->ops->confirm(lab.node[2].en, 30000), 0);
	cr_assert_eq(lab.node[2].en->ops->forget(lab.node[2].en, false), -EBUSY, "its vote is needed yet");
	tend_until(1);
	cr_assert_eq(etcdlab_voters(&lab, 0), 1);
	lab.node[2].en->ops->health(lab.node[2].en, &h);
	cr_assert_eq(lab.node[2].en->ops->confirm(lab.node[2].en, 30000), 0, "%s", h.error);
	cr_assert_eq(forget_soon(lab.node[2].en), 0);
}

/* An etcd that is cut off from the others goes on answering its own host's reads. The
 * host must not cling to it. */
Test(voters, cut_off_voter_is_passed_over)
{
	uint64_t fence, deadline;
	int good = 0, round, i;
	struct engine *en;
	pid_t pid[2];

	three();
	/* seen from node1, node2 and node3 are gone; node1's etcd answers stale reads */
	en = lab.node[0].en;
	for (i = 0; i < 2; i++) {
		pid[i] = etcdlab_wait_pid(&lab, i + 1, 0);
		kill(pid[i], SIGSTOP);
	}
	etcdlab_nap(1500);
	for (i = 0; i < 2; i++)
		kill(pid[i], SIGCONT);
	cr_assert_eq(en->ops->confirm(en, 30000), 0);
	/* node1's etcd without its cluster: the others go on, and node1's host with them */
	for (round = 0; round < ROUNDS && good < MOST; round++) {
		etcdlab_wait_whole(&lab);
		cr_assert_eq(etcdlab_take_lease(en, &fence), 0);
		pid[0] = etcdlab_wait_pid(&lab, 0, 0);
		good += fits_lease(etcdlab_renewal_gap_ns(en, 40, 0, pid[0], SIGSTOP),
				   "own etcd hanging");
		cr_assert_eq(etcdlab_renew(en, &deadline, &fence), 0, "renewals go on");
		kill(pid[0], SIGCONT);
	}
	cr_assert_geq(good, MOST, "%d of %d", good, round);
}
