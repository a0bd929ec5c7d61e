/* SPDX-License-Identifier: GPL-2.0 */
/*
 * engine - where the agreed state lives, behind an ops table.
 *
 * `file`: one administrator, planned moves only, no quorum. The founder changes
 * group and members; the active member of a store changes that store's part,
 * and a move is its last change: it is durable here before the target sees it,
 * so at most one member can write the next version.
 *
 * `etcd`: any member changes anything by a transaction that compares what it
 * read; leases are real, and the stores of a host whose lease ended can be claimed.
 */
#ifndef DAG_ENGINE_H
#define DAG_ENGINE_H

#include <stdint.h>

#include "daemon/group/state.h"

struct engine;

/* What this member tells the group with each renewal. */
struct engine_fact {
	uint8_t store[16];
	uint64_t commit_lsn;		/* end of the log of a store that is active here */
};

/* The lease of a member as this host last saw it. */
struct engine_host {
	char member[64];
	uint64_t fence;
	uint64_t lease_rev;		/* grows with each renewal or release, by nothing else */
	uint64_t seen_boot_ns;		/* when this host first saw lease_rev */
	bool released;			/* given up: its module has ended, nothing to wait for */
	uint32_t lease_ms;		/* that it may count on by lease_rev; 0: as the profile says */
	uint32_t nr_facts;
	struct engine_fact facts[GROUP_STORES_MAX];
};

/* IF all of this still holds … */
struct engine_claim {
	const char *host;		/* whose stores are taken over */
	uint64_t lease_rev, fence;	/* as seen */
	uint64_t generation;
};

/* For status: what is stale, and since when. */
struct engine_health {
	char kind[16];			/* "file", "etcd" */
	bool confirmed;			/* the state was, since this daemon started */
	int64_t age_ms;			/* since a majority answered; -1: never yet */
	uint64_t revision;
	int pid;			/* of the engine's own process here, 0: none */
	unsigned voters, learners;	/* as it counts them itself; 0: not known */
	unsigned connections, ways;	/* of the engines here, and over how many networks in all */
	char error[320];		/* "": none */
};

struct engine_ops {
	const char *name;
	/* Latest state known here; never waits for anybody. */
	int (*snapshot)(struct engine *en, struct group_state *ret);
	/*
	 * Commit edit() against the newest state: durable when 0 is returned.
	 * edit() returns 0 or -errno, which is passed on. -EPERM: this member may
	 * not change that part (err names who may); -EAGAIN: ambiguous.
	 */
	int (*txn_group)(struct engine *en, int (*edit)(struct group_state *gs, void *ctx), void *ctx,
			 char *err, size_t errlen);
	/*
	 * IF epoch is still expect_epoch THEN edit the store's part. -ESTALE else.
	 * A uuid that nobody knows and expect_epoch 0: edit() fills in a new store.
	 */
	int (*txn_store)(struct engine *en, const uint8_t uuid[16], uint32_t expect_epoch,
			 int (*edit)(struct group_store *st, void *ctx), void *ctx,
			 char *err, size_t errlen);
	/* What another member sent; higher versions are taken and made durable. */
	int (*learn)(struct engine *en, const struct group_state *from);
	/* This member is in no group any more: forget it. -EBUSY: it is still in one, as far
	 * as is known; refused: the others let it ask no more, it is out. */
	int (*forget)(struct engine *en, bool refused);
	/*
	 * Renew the host's lease: deadline in CLOCK_BOOTTIME ns, counted from before
	 * the question was sent. -EAGAIN: ambiguous, nothing is extended. -ESTALE:
	 * this host has been fenced since; it must take up the state (snapshot), close
	 * what is not its own any more, and say so (accept_fence) before it renews.
	 * -ENODATA: it is in no group.
	 */
	int (*renew)(struct engine *en, uint64_t *ret_deadline_boot_ns, uint64_t *ret_fence);

	/* The rest needs a quorum; NULL where there is none (file). */

	/* What the next renewals tell. */
	void (*facts)(struct engine *en, const struct engine_fact *facts, unsigned nr);
	/*
	 * The fence of this host that a snapshot() of now, or a newer one, knows of:
	 * whatever was claimed under it stands in that snapshot. At start none is
	 * accepted: what a former daemon left open must be closed first.
	 */
	int (*fence)(struct engine *en, uint64_t *ret);
	/* The stores that were taken away are closed: go on under this fence. */
	int (*accept_fence)(struct engine *en, uint64_t fence);
	/* Give the lease up: the module completes nothing any more (renewal.h, R3). */
	int (*release)(struct engine *en);
	/* Leases of all members; returns how many, at most max. Never waits. */
	unsigned (*hosts)(struct engine *en, struct engine_host *ret, unsigned max);
	/*
	 * One transaction IF the claim holds AND no part that edit() saw has changed
	 * THEN the edited stores, fence + 1. edit() may change stores that are active on
	 * claim->host and nothing else. -ESTALE: somebody was faster, or the host lives;
	 * -EAGAIN: ambiguous: look at the state.
	 */
	int (*claim)(struct engine *en, const struct engine_claim *claim,
		     int (*edit)(struct group_state *gs, void *ctx), void *ctx, char *err,
		     size_t errlen);
	/* Is the newest state known, confirmed by a majority? 0, or -errno. May wait. */
	int (*confirm)(struct engine *en, unsigned timeout_ms);
	/*
	 * The majority is lost for good: begin a new engine here with this state, of a
	 * later generation. Each host's fence is raised. Done again after a crash it
	 * goes on. May take half a minute; the caller has made sure that nobody holds a
	 * lease in the former generation. -EOPNOTSUPP: the engine is the user's.
	 */
	int (*restore)(struct engine *en, const struct group_state *gs, char *err, size_t errlen);
	/* How the engine is, for people; never waits. */
	void (*health)(struct engine *en, struct engine_health *ret);
	/* A daemon without a group: take this kind of engine from now on. -EBUSY: it is
	 * in one. NULL: it can only be what it is. */
	int (*use)(struct engine *en, const char *kind, const char *url, char *err, size_t errlen);
	/* Set changed and ctx below; returns when no former call is running any more. NULL:
	 * changes are told by whoever makes them, set the fields. */
	void (*listen)(struct engine *en, void (*changed)(void *ctx), void *ctx);
	void (*close)(struct engine *en);
};

struct engine {
	const struct engine_ops *ops;
	/* Called after each change, from the thread that made it. */
	void (*changed)(void *ctx);
	void *ctx;
};

/*
 * The file is written anew and renamed for each change. Where it cannot be told
 * whether a change is durable (the directory's fsync failed), the process ends:
 * going on with either version could make two members active.
 */
struct engine_file_conf {
	const char *path;		/* state file, e.g. /var/lib/dag/group.json */
	const char *self;		/* this member's name */
	uint32_t lease_ms;		/* 0: no lease (DAGTAP_LEASE_FOREVER) */
};
int engine_file_open(const struct engine_file_conf *conf, struct engine **ret);

#endif
