/* SPDX-License-Identifier: GPL-2.0 */
/*
 * snapshot - all that the health checks look at, as one member saw the group at one
 * moment: plain values, filled by whoever can ask (control/verb_health.c) or by a test.
 */
#ifndef DAG_HEALTH_SNAPSHOT_H
#define DAG_HEALTH_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/group/state.h"
#include "daemon/health/copystatus.h"

#define HEALTH_COPIES_MAX	(GROUP_STORES_MAX * GROUP_MEMBERS_MAX)
#define HEALTH_SUBNETS_MAX	64
#define HEALTH_TEXT_MAX		200

struct health_member {
	char name[64];
	bool reachable;			/* answers calls */
	bool beats;			/* its heartbeats come, whatever it answers */
	char why[HEALTH_TEXT_MAX];	/* it does not answer */
	bool voter;
	bool maintenance, stopped, blocked;	/* by a person; blocked: activation policy */
	/* what it said of itself; only if `said` */
	bool said;
	char version[32];
	bool listens;			/* its replication port is open */
	bool module;			/* the tap is there, or not needed */
	bool clock_synced;
	double clock_ahead_s;		/* of ours; the way there and back is within */
	double clock_within_s;
	int64_t cert_left_s;
	uint64_t space_left;		/* of its state directory */
	int64_t lease_ms;		/* left; meaningful only with quorum */
	bool may_activate;
	char dac[HEALTH_TEXT_MAX];	/* why not */
	bool engine_confirmed;
	int64_t engine_age_ms;		/* since a majority answered it; < 0: never */
	char engine_error[HEALTH_TEXT_MAX];
};

struct health_subnet {
	char network[32], subnet[64];
	char state[20];			/* "Up", "Partitioned", … */
	bool replication, client, ignored;
};

struct health_store {
	char name[STORE_NAME_MAX];
	char active[64];		/* "": nowhere */
	bool commits;			/* mode commit or sync: writers wait for copies */
	uint32_t min_in_sync;
	bool dismounted, manual;	/* by a person's wish */
	uint64_t segment_bytes, quota_bytes;
	uint32_t nr_copies;		/* configured */
};

struct health_copy {
	char store[STORE_NAME_MAX], member[64];
	bool active;
	enum copy_status status;
	char error[HEALTH_TEXT_MAX], comment[HEALTH_TEXT_MAX];
	bool activation_blocked, in_sync;
	bool queues;			/* the six below are known */
	uint64_t copy_records, copy_bytes, replay_records, replay_bytes;
	double copy_seconds, replay_seconds;
	double lag_seconds;		/* as agreed, also while it is off */
	double late_seconds;		/* what may be replayed has waited; told by its member */
	uint64_t space_left;		/* of its log directory; 0: not known */
	double seed_done;		/* 0..1 */
	/* of the active copy */
	bool tracking, steps_failed;
	uint64_t spool_bytes;
	unsigned branches;		/* tails that became no part of the store */
};

struct health_snapshot {
	bool service;			/* the daemon that was asked answered */
	char service_why[HEALTH_TEXT_MAX];
	char self[64];			/* who answered */
	bool quorum;			/* the engine agrees by majority: leases, take-overs */
	bool etcd_outside;		/* … one that is not ours: its voters are not known */
	char manager[64];
	unsigned planned_voters;	/* of the quorum model, the witness included */
	bool model_differs;		/* another set votes than the model says */
	bool manual_only;		/* two members without a witness */
	unsigned holders;		/* members that hold the group's authority, as they say */
	char holder[64];		/* one of them */
	char witness[64];		/* "": none */
	bool witness_votes, witness_answers, witness_needed;
	unsigned nr_members, nr_subnets, nr_stores, nr_copies;
	struct health_member members[GROUP_MEMBERS_MAX];
	struct health_subnet subnets[HEALTH_SUBNETS_MAX];
	struct health_store stores[GROUP_STORES_MAX];
	struct health_copy copies[HEALTH_COPIES_MAX];
};

const struct health_member *health_member(const struct health_snapshot *s, const char *name);
const struct health_copy *health_copy(const struct health_snapshot *s, const char *store,
				      const char *member);
/* Copies of the store that are healthy, the active one included (semantics 37). */
unsigned health_redundancy(const struct health_snapshot *s, const char *store);

#endif
