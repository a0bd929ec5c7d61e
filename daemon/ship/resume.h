/* SPDX-License-Identifier: GPL-2.0 */
/*
 * resume - how a passive copy is brought up to date when an active calls. Pure.
 *
 * Both sides know the store's history: a list of (epoch, first LSN). Within one
 * epoch there was one writer, so (epoch, LSN) names a byte of the log. The last
 * common LSN is the end, on the shorter side, of the newest epoch that both
 * lists have in the same place (the scheme of Kafka's leader epochs, KIP-101).
 */
#ifndef DAG_RESUME_H
#define DAG_RESUME_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/ship/frame.h"

struct resume_copy {		/* what the copy has */
	bool have_image;	/* device = log up to have_lsn */
	uint64_t have_lsn;	/* replayed, i.e. on the device */
	uint64_t end_lsn;	/* of its log; >= have_lsn */
	bool seeding;		/* a seed has begun and not ended in its log */
	bool inconsistent;	/* a seed is being applied to the device */
	bool former;		/* it was active last: the device is ahead of have_lsn */
	bool branch;		/* it was active, and was told so: the device is the log up to
				 * have_lsn, but for known regions */
	/* Of either: every change of the device at or after this LSN that may be in no
	 * history is in regions that are known; UINT64_MAX: they are not. */
	uint64_t known_lsn;
	uint32_t nr_history;
	const struct frame_epoch *history;
};

enum resume_verdict {
	RESUME_LOG,		/* stream from from_lsn; log cut there first if shorter */
	RESUME_REGIONS,		/* stream from the active's end; seed since have_lsn */
	RESUME_FULL,		/* stream from the active's end; seed of everything */
	RESUME_BRANCH,		/* as REGIONS, since cut_lsn; and the regions that are known */
	RESUME_STALE,		/* an old call that was long on its way: refuse, change nothing */
};

struct resume_plan {
	enum resume_verdict verdict;
	uint64_t from_lsn;	/* LOG: first byte wanted; else the active's end_lsn */
	uint64_t cut_lsn;	/* log is cut here: the tail behind it has diverged or
				 * is of no use; == end_lsn: nothing to cut */
	uint64_t common_lsn;	/* what its log holds behind is of no history */
	bool diverged;		/* the device itself holds a tail that is not ours */
	char why[96];
};

/* Last LSN that both have in common; 0 if nothing. */
uint64_t resume_common(const struct frame_hello *hello, const struct resume_copy *copy);
void resume_decide(const struct frame_hello *hello, const struct resume_copy *copy,
		   struct resume_plan *ret);

#endif
