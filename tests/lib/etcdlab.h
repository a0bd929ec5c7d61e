/* SPDX-License-Identifier: GPL-2.0 */
/*
 * etcdlab - members with the etcd engine on loopback: real etcd processes, TLS, state
 * directories below a temporary one. Everything ends with etcdlab_stop(), by pid.
 */
#ifndef DAG_ETCDLAB_H
#define DAG_ETCDLAB_H

#include <sys/types.h>

#include "daemon/group/engine_etcd.h"

#define ETCDLAB_NODES	5
#define ETCDLAB_UUID	"01234567-89ab-4cde-8f01-23456789abcd"

struct etcdlab_node {
	char name[16], state_dir[128], creds_dir[160];
	uint16_t port;			/* + 2, + 3 are etcd's */
	struct engine *en;
};

struct etcdlab {
	char dir[64], ca_dir[96];
	unsigned nr;
	struct etcdlab_node node[ETCDLAB_NODES];
};

/* Certificates and directories for nr members; nothing runs yet. Leaves the test on failure. */
void etcdlab_start(struct etcdlab *lab, unsigned nr);
void etcdlab_stop(struct etcdlab *lab);
/* Open the engine of a node, as dagd does at its start. */
struct engine *etcdlab_open(struct etcdlab *lab, unsigned node);
void etcdlab_close(struct etcdlab *lab, unsigned node);		/* in order */
void etcdlab_crash(struct etcdlab *lab, unsigned node);		/* dagd only */
/* Node 0 founds a group of members 0 to members - 1, profile lan; node 0 votes. */
void etcdlab_found(struct etcdlab *lab, unsigned members, const char *profile);
/* The node takes the group over from node 0's snapshot, as a join does. */
void etcdlab_join(struct etcdlab *lab, unsigned node);
/* Make nodes 0 to voters - 1 voters, all opened and joined. */
void etcdlab_grow(struct etcdlab *lab, unsigned voters);
/* One turn of the tender on a node; how many members vote, as a node sees it. */
void etcdlab_tend(struct etcdlab *lab, unsigned node);
unsigned etcdlab_voters(struct etcdlab *lab, unsigned node);
/* The same by the account of its etcd, learners left out; 0: it does not answer. */
unsigned etcdlab_real_voters(struct etcdlab *lab, unsigned node);
/* The pid of a node's etcd; 0: none. */
pid_t etcdlab_pid(struct etcdlab *lab, unsigned node);
/* Which of the nodes is etcd's leader; -1: nobody knows. */
int etcdlab_leader(struct etcdlab *lab);
/* A signal for a node's etcd, which must run. */
void etcdlab_kill(struct etcdlab *lab, unsigned node, int sig);
/* Until a node's etcd runs (and is not the one of before), until it runs no more, until
 * each node's etcd runs and knows a leader: on a busy machine that takes its time. Leave
 * the test after 30 s. */
pid_t etcdlab_wait_pid(struct etcdlab *lab, unsigned node, pid_t before);
void etcdlab_wait_whole(struct etcdlab *lab);
/*
 * Renew, and accept the fence as a daemon does that has closed what it must, and renew.
 * On a busy machine an answer may be late, and extends nothing; the next ones do: asked
 * again on -EAGAIN for 20 s.
 */
int etcdlab_renew(struct engine *en, uint64_t *ret_deadline_ns, uint64_t *ret_fence);
int etcdlab_take_lease(struct engine *en, uint64_t *ret_fence);
/* Renew every 50 ms, rounds times; at the round `at` kill(pid, sig). The longest time from
 * sending a renewal that was answered to sending the next such one. */
uint64_t etcdlab_renewal_gap_ns(struct engine *en, unsigned rounds, unsigned at, pid_t pid, int sig);
uint64_t etcdlab_now_ns(void);
void etcdlab_nap(unsigned ms);

#endif
