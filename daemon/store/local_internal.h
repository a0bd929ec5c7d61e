/* SPDX-License-Identifier: GPL-2.0 */
/* What local*.c share. */
#ifndef DAG_LOCAL_INTERNAL_H
#define DAG_LOCAL_INTERNAL_H

#include "daemon/store/local.h"

/* local.c */
void local_no_error(struct local *lo);

/* local_epoch.c */
void local_become_active(struct local *lo, const struct local_env *env, const struct group_store *st);
/*
 * An active copy finds the next epoch agreed. 0: it goes on, or will after
 * another try; -ESTALE: it cannot, the epoch begins by closing and opening.
 */
int local_continue(struct local *lo, const struct local_env *env, const struct group_store *st);
void local_unfence(struct local *lo, const struct local_env *env, const struct group_store *st);

/* local_return.c */
/* The store is not active here any more: close, keep what nobody else may have. */
int local_leave_active(struct local *lo, const struct local_env *env, const struct group_store *st);

#endif
