/* SPDX-License-Identifier: GPL-2.0 */
/*
 * passive_fork - a passive copy opened at a point of its log, while it follows on.
 *
 * A fork is a snapshot of the device as the replay has it at a checkpoint, B, onto
 * which the records from B to the point are applied. Meanwhile the replay writes
 * through an origin device, which keeps for the snapshots what it overwrites.
 *
 * Invariants:
 *  V1 the device holds what the replay alone makes of it: a fork never writes to it,
 *     and a write through the origin is on the device before it counts as replayed;
 *  V2 a fork is the log up to a record's end, or it is not shown: it is made while
 *     nothing writes (no replay, no log thread), and announced when all is applied;
 *  V3 a fork that lost something (no room for what is overwritten) fails its I/O and
 *     is named as failed; it costs the replay nothing;
 *  V4 no activation waits for a fork: what is under way is given up, what is open gets
 *     errors, and its devices go while the store is opened already;
 *  V5 what a daemon that died has left is removed before any replay starts.
 *
 * Several threads may call; one thing is done at a time. A forks object outlives its
 * passive while somebody holds it: every call then is -ESHUTDOWN.
 */
#ifndef DAG_PASSIVE_FORK_H
#define DAG_PASSIVE_FORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/fork/forkdev.h"

#define FORKS_MAX	4		/* of one copy */
#define FORK_SPACE_MIN	(16ull << 20)

struct forks;
struct passive;

struct fork_ask {
	const char *name;		/* NULL: one is found */
	const char *at;			/* log/point.h */
	bool writable;
	uint64_t space;			/* for what is overwritten; 0: fork_space() */
	/* Now and then while records are applied; may be NULL. */
	void (*progress)(void *ctx, uint64_t done, uint64_t total);
	void *ctx;
};

struct fork_info {
	char name[FORK_NAME_BYTES], path[FORK_NAME_BYTES + 16];
	uint64_t lsn;			/* where its last record ends */
	uint64_t time_ns;		/* of that record; 0: not known */
	uint64_t opened_ns;
	uint64_t space, used;		/* as of the last look, a second ago at most */
	bool writable;
	bool opening;			/* not to be used yet */
	int error;			/* it is lost; to be closed */
};

/* May be a name: letters, digits and . _ - + @, not a path. */
bool fork_name_valid(const char *name);
/* What is taken for a store of so many bytes, unless more is asked for: 1 GiB at most. */
uint64_t fork_space(uint64_t store_bytes);

/*
 * err names object, cause and next step. -EINVAL: no point; -ERANGE: one that cannot be
 * reached (any more, yet); -EUCLEAN: the copy is no image now; -EBUSY: another is being
 * opened or closed; -ENOSPC; -ECANCELED: something more urgent came; -ESHUTDOWN.
 */
int forks_open(struct forks *fk, const struct fork_ask *ask, struct fork_info *ret, char *err,
	       size_t errlen);
/* force: though it is in use. -ENOENT: no such fork; -EBUSY: it is in use. */
int forks_close(struct forks *fk, const char *name, bool force, char *err, size_t errlen);
unsigned forks_list(struct forks *fk, struct fork_info *ret, unsigned max);

/* The passive's, with a reference; NULL: there can be none. */
struct forks *passive_forks(struct passive *p);
void forks_put(struct forks *fk);

#endif
