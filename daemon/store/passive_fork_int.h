/* SPDX-License-Identifier: GPL-2.0 */
/* What passive_fork.c and passive_fork_open.c share. */
#ifndef DAG_PASSIVE_FORK_INT_H
#define DAG_PASSIVE_FORK_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "daemon/store/passive_fork.h"
#include "daemon/store/passive_internal.h"

struct fork {
	struct fork_info info;
	struct forkdev *dev;
};

struct forks {
	const struct forkdev_ops *ops;
	struct passive *p;
	uint8_t uuid[16];
	unsigned refs;			/* under lock, as all below */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool busy;			/* one call is at work: what follows is its own */
	bool shut;			/* the passive is going … */
	bool ended;			/* … and so are its devices */
	unsigned nr;
	struct fork *list[FORKS_MAX];	/* changed by who is busy, under lock */
	bool origin;			/* it is up, the replay writes to it */
	bool stuck;			/* the replay did not go on after our last visit */
	char origin_path[128];
	uint64_t cuts;			/* of the log, when the point was looked for */
	atomic_bool holds;		/* the replay waits for us */
	atomic_bool hurry;		/* it must not */
};

/* passive_fork.c; all by the one caller that is busy */
struct fork *forks_find(struct forks *fk, const char *name);
void forks_unlist(struct forks *fk, struct fork *f);
void fork_free(struct forks *fk, struct fork *f);	/* with its device */
/*
 * Stop what writes to the device; conn_lock and lock are held when it returns true, and
 * the log thread waits. wait: for those who have the locks.
 */
bool forks_freeze(struct passive *p, bool wait);
/* The replay goes on, to the origin if there is one. */
int forks_thaw(struct forks *fk);
/*
 * Without forks the replay writes to the device itself again. wait: for a log thread
 * that is at work, or somebody who calls; else the next tick sees to it.
 */
void forks_settle(struct forks *fk, bool wait);

/* passive_fork_open.c */
int fork_open_one(struct forks *fk, const struct fork_ask *ask, struct fork_info *ret, char *err,
		  size_t errlen);

#endif
