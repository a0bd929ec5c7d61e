/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of seglog share.
 *
 * Locks, in this order:
 *   append_lock  append, begin, reset, truncate_after: who moves the end
 *   dir_lock     names in the directory
 *   lock         the list and what is published; never held over I/O
 * A reader takes a reference on a segment under lock and reads without it. A
 * segment that is dropped while it is referenced is unlinked instead of
 * recycled, so nobody reads bytes that are being overwritten; after a cut the
 * reader finds `cuts` changed and looks again.
 */
#ifndef DAG_SEGLOG_INT_H
#define DAG_SEGLOG_INT_H

#include <pthread.h>

#include "daemon/log/record_walk.h"
#include "daemon/log/seglog.h"
#include "daemon/log/segment.h"

#define SPARES_MAX	16
#define SCAN_BYTES	(4u << 20)	/* > REC_BYTES_MAX */
#define READ_FDS_MAX	64

struct segment {
	struct seg_meta meta;
	uint64_t end_lsn;	/* of the records in it; the newest: log->end.lsn */
	int fd;			/* for reading, -1: not open */
	unsigned refs;
	bool dead;		/* out of the list: the last reader frees it */
};

struct seglog {
	struct seglog_conf conf;
	char *dir;
	int dirfd;
	bool direct;
	bool damaged;		/* a file could not be taken into the list */
	uint64_t dropped_bytes;

	pthread_mutex_t append_lock;
	int error;		/* why nothing can be appended; 0: it can */
	struct segment *tip;	/* the newest segment, NULL: there is none */
	int wfd;		/* it, open for writing */
	uint8_t *tail;		/* its last, partial block up to the end */
	uint8_t *scratch;	/* one block */

	pthread_mutex_t dir_lock;
	uint64_t next_generation;

	pthread_mutex_t lock;
	struct segment **segs;	/* by LSN */
	size_t nr_segs, cap_segs;
	struct rec_cursor end;	/* behind the last durable record */
	uint64_t cuts;		/* +1 when bytes that were readable go away */
	unsigned read_fds;
	unsigned spare[SPARES_MAX];	/* numbers of the files */
	unsigned nr_spares, next_spare;
	unsigned taken;		/* files, since the old end was looked at last */
	bool preparing;		/* one more is being written */
	bool rolling;		/* one was taken and is no segment yet */
	bool stop;
	pthread_cond_t wake;	/* of the preparing thread */
	pthread_cond_t prepared;
	pthread_t thread;
	bool has_thread;
};

/* seglog_open.c */
int segment_scan(int fd, const struct seg_meta *meta, struct rec_cursor *cur, uint64_t to,
		 uint8_t *buf, const char **ret_why);
struct rec_cursor segment_start(const struct seg_meta *meta);
/* Makes seg, whose end is at `end`, the one that is appended to. */
int seglog_load_tail(struct seglog *log, const struct segment *seg, uint64_t end);

int segment_open(struct seglog *log, const struct seg_meta *meta);
/* Unlinks files of segments with a generation in (above, below). */
int seglog_sweep(struct seglog *log, uint64_t above, uint64_t below);

/* seglog.c */
int seglog_add_segment(struct seglog *log, const struct seg_meta *meta, uint64_t end_lsn);
/* Under lock: takes a reference away, frees what is dead. */
void segment_put(struct seglog *log, struct segment *seg);

/* seglog_cut.c */
/* Under dir_lock: takes seg out of the list; its file goes, or is one of `spares`. */
int seglog_drop(struct seglog *log, struct segment *seg, unsigned spares);
/*
 * Under append_lock: makes `to` the end; dirty: end of what may have been
 * written behind it.
 */
int seglog_cut(struct seglog *log, const struct rec_cursor *to, uint64_t dirty);

/* seglog_spare.c */
void spare_name(unsigned number, char ret_name[SEG_NAME_BYTES]);
int spare_thread_start(struct seglog *log);
void spare_thread_stop(struct seglog *log);
/*
 * Under dir_lock: an fd of a file for the next segment, its name in ret_name.
 * reset: all others go right after, so there is neither quota nor haste.
 */
int spare_take(struct seglog *log, bool reset, char ret_name[SEG_NAME_BYTES]);
void spare_drop_all(struct seglog *log);
/*
 * Under lock: how many files of the old end are worth keeping, from what was taken
 * since the last time that this was asked.
 */
unsigned spare_worth(struct seglog *log);
/* Under dir_lock: all but so many go. */
void spare_drop_to(struct seglog *log, unsigned keep);
uint64_t seglog_bytes(const struct seglog *log);	/* under lock */

#endif
