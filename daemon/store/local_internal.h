/* SPDX-License-Identifier: GPL-2.0 */
/* What local*.c share. */
#ifndef DAG_LOCAL_INTERNAL_H
#define DAG_LOCAL_INTERNAL_H

#include "daemon/store/local.h"

/* local.c */
void local_no_error(struct local *lo);

/* The gate of the agreed epoch does not open (stores_gate.c). */
void local_gate_failed(struct local *lo, const struct group_store *st);

/* local_epoch.c */
/* Was it never open in this epoch, as far as state and metadata can say? */
bool local_never_opened(const struct local *lo, uint32_t epoch);
void local_become_active(struct local *lo, const struct local_env *env, const struct group_store *st);
/*
 * An active copy finds the next epoch agreed. 0: it goes on, or will after
 * another try; -ESTALE: it cannot, the epoch begins by closing and opening.
 */
int local_continue(struct local *lo, const struct local_env *env, const struct group_store *st);
void local_unfence(struct local *lo, const struct local_env *env, const struct group_store *st);

/* The copy holds more than was claimed for it: its own end becomes the start of another
 * epoch. -EAGAIN: it comes again with that; another error: it was not agreed. */
int local_agree_anew(struct local *lo, const struct local_env *env, const struct group_store *st,
		     uint64_t end_lsn);

/* local_point.c */
/* A daemon that died left a copy that has yet to replay what it is to serve. */
bool local_must_replay(struct local *lo, const struct group_store *st);
/* May the copy be activated where the state says, at a point? As check_whole(). */
int local_point_check(struct local *lo, const struct local_env *env, const struct group_store *st);
/* Its passive goes on to the point. -EAGAIN: it has passed it, another epoch comes. */
int local_point_leave(struct local *lo, const struct local_env *env, const struct group_store *st);
/* Before the passive is stopped: what it was told of the tail. */
void local_point_keep(struct local *lo, const struct group_store *st);
/* Before the gate opens: intent bits for what is given up, durably. */
int local_point_mark(struct local *lo, const struct local_env *env, const struct group_store *st);

/* local_return.c */
/* The store is not active here any more: close, keep what nobody else may have. */
int local_leave_active(struct local *lo, const struct local_env *env, const struct group_store *st);

#endif
