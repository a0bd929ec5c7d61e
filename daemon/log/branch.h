/* SPDX-License-Identifier: GPL-2.0 */
/*
 * branch - a tail of a log that is no part of the store's history any more, kept
 * beside the log: DIR/branch-<epoch>-<first lsn>/ with segments of its own, which
 * every reader of segments can read. None goes away by itself; the log's quota
 * bounds what all of them take, the oldest makes room. A branch holds what was
 * written, not what was overwritten: branch_content.h tells what can be had of it.
 */
#ifndef DAG_BRANCH_H
#define DAG_BRANCH_H

#include <stdint.h>

#include "daemon/log/seglog.h"

#define BRANCHES_MAX	32	/* in one directory; the oldest makes room */
#define BRANCH_NAME_BYTES 64

struct branch {
	uint32_t epoch;		/* that wrote its first record */
	uint64_t first_lsn, end_lsn;
	uint64_t bytes;		/* on disk */
};

/*
 * branch_keep - copy the records from `from` to the end of the log into a branch,
 * durably; a gap begins another. Records that change nothing on the device make
 * none, nor do damaged ones. The log may be open read-only, of a directory that another
 * appends to. Calling again after a crash is harmless. Returns how
 * many were made, or -errno: what was made stays, the rest is missing.
 */
int branch_keep(struct seglog *log, uint64_t from);

/* Branches in a log directory, oldest first; returns how many, at most max. */
unsigned branch_list(const char *dir, struct branch *ret, unsigned max);
/* Bring what branch_list() gave up to date: cheap when nothing has changed. */
void branch_refresh(const char *dir, struct branch *list, unsigned *nr);

/* branch-<epoch>-<first lsn>, and back: -EINVAL where it is not just that. */
void branch_name(const struct branch *b, char ret[BRANCH_NAME_BYTES]);
int branch_parse(const char *name, struct branch *ret);

/* Its segments, read-only; as seglog_open(). Only its name is looked at. */
int branch_open(const char *dir, const struct branch *b, struct seglog **ret);

/* For good. -ENOENT: there is none; another error: what is left can be dropped again. */
int branch_drop(const char *dir, const struct branch *b);

#endif
