/* SPDX-License-Identifier: GPL-2.0 */
/*
 * passive_point - a point of a passive copy's log that its replay has not reached yet:
 * found, held, and what lies behind it told and kept, so that the copy can be activated
 * there (store/local_point.c) or opened there (passive_fork_open.c).
 *
 * Invariants:
 *  Q1 a point is the end of a record that is inspected and not replayed, and of a copy
 *     that is whole; a hold that is agreed to is never passed by the replay;
 *  Q2 a hold ends by itself: who asked for it may be gone. Nothing is lost by that, the
 *     copy goes on as its lag says;
 *  Q3 what decides whether the copy stands at the point is its state when the replay has
 *     ended, never the hold.
 */
#ifndef DAG_PASSIVE_POINT_H
#define DAG_PASSIVE_POINT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/group/state.h"
#include "daemon/log/branch.h"
#include "daemon/log/point.h"
#include "daemon/ship/regionset.h"

struct passive;

/* Which points there are, and where to look for them without holding any lock. */
struct point_range {
	char name[STORE_NAME_MAX], dir[GROUP_PATH_MAX + 1];
	uint8_t uuid[16];
	uint64_t from, to;		/* replayed, durable */
	uint64_t from_ns, known_ns;	/* log/point.h */
	uint64_t cuts;			/* of the log */
};

/* As of one hold; in struct passive, under its lock. */
struct passive_point {
	uint64_t hold;			/* PASSIVE_NONE: there is none */
	uint64_t until_ms;		/* CLOCK_BOOTTIME */
	uint64_t end_lsn;		/* of the tail that is told below; 0: it is not */
	struct regionset tail;		/* regions that it changes */
	struct branch kept;		/* it is kept as this one; first_lsn 0: it is not */
};

struct point_status {
	uint64_t lsn, time_ns;		/* the point, and its record's; 0: not known */
	uint64_t replayed_lsn;
	uint64_t end_lsn, end_ns;	/* of the log that is inspected */
};

/* Lock held. Is the device an image, and the log its continuation? -EUCLEAN. */
int point_check_whole(const struct passive *p, char *err, size_t errlen);
/* Lock held. */
void point_range_fill(const struct passive *p, struct point_range *ret);
/* -ERANGE with what can be reached. */
int point_out_of_range(const struct point_range *r, const char *at, const char *why, char *err,
		       size_t errlen);
/*
 * Walk the log for what a person wrote; takes seconds. -EINVAL: it is no point, -ERANGE:
 * it cannot be reached, -ETIMEDOUT, -ECANCELED: *hurry was set meanwhile.
 */
int point_find(const struct point_range *r, const char *at, const atomic_bool *hurry,
	       struct point_pick *ret, char *err, size_t errlen);

/* ---- the hold ---- */
/* The replay stops where it is, for as long as a walk may take. */
int passive_point_look(struct passive *p, struct point_range *ret, char *err, size_t errlen);
/*
 * It goes on to the point, without a lag, and not beyond. r NULL: the point is held
 * already, for longer now (-ENOENT: it is not). -ERANGE: it was passed.
 */
int passive_point_hold(struct passive *p, const struct point_range *r, uint64_t lsn, unsigned ms,
		       struct point_status *ret, char *err, size_t errlen);
/*
 * The replay stands at lsn, and end_lsn is all that the copy will ever get: fill *r for
 * point_tail(). -EAGAIN: it does not stand there, -ERANGE: it was passed.
 */
int passive_point_stands(struct passive *p, uint64_t lsn, uint64_t end_lsn, struct point_range *ret,
			 char *err, size_t errlen);
/* What was told of the tail; takes tail->bits over. -EXDEV: another log by now. */
int passive_point_told(struct passive *p, const struct point_range *r, struct regionset *tail,
		       const struct branch *kept);
void passive_point_release(struct passive *p);
void passive_point_tick(struct passive *p);	/* once a second */
/* An activation at lsn: as a hold, renewed. -ERANGE: it was passed. */
int passive_point_go(struct passive *p, uint64_t lsn);
/* What was told of [lsn, end_lsn), for the caller to free; bits NULL: nothing. */
void passive_point_take(struct passive *p, uint64_t lsn, uint64_t end_lsn, struct regionset *ret);

/* ---- the tail; no lock, no passive ---- */
/*
 * Regions that the records of [from, to) change. -ENODATA: the log does not tell, a gap
 * or a damage is in between.
 */
int point_tail(const char *dir, uint64_t from, uint64_t to, uint64_t sectors, uint32_t region_bytes,
	       struct regionset *ret);

#endif
