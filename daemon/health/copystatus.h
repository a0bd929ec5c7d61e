/* SPDX-License-Identifier: GPL-2.0 */
/*
 * copystatus - which of the sixteen statuses a copy has (semantics 25). Pure: the
 * facts come from whoever looks at it, and so does the answer whether he can.
 *
 * One status is shown where several would fit, in this order: what a person asked
 * for (Suspended, and FailedAndSuspended, which waits for one), what is broken
 * (Misconfigured, Failed), what is under way, and only then Healthy.
 */
#ifndef DAG_COPYSTATUS_H
#define DAG_COPYSTATUS_H

#include <stdbool.h>

#include "daemon/store/steps.h"
#include "include/dag/wire.h"

enum copy_status {
	COPY_MOUNTED,
	COPY_DISMOUNTED,
	COPY_MOUNTING,
	COPY_DISMOUNTING,
	COPY_HEALTHY,
	COPY_INITIALIZING,
	COPY_RESYNCHRONIZING,
	COPY_SEEDING,
	COPY_SEEDING_SOURCE,
	COPY_SUSPENDED,
	COPY_FAILED,
	COPY_FAILED_AND_SUSPENDED,
	COPY_DISCONNECTED_AND_HEALTHY,
	COPY_DISCONNECTED_AND_RESYNCHRONIZING,
	COPY_SERVICE_DOWN,
	COPY_MISCONFIGURED,
	COPY_STATUSES
};

/* What is known of a copy, and by whom. */
struct copy_view {
	bool active;			/* role here */
	bool running;			/* its threads run */
	bool own;			/* told by the member that holds it */
	bool suspended;			/* as agreed */
	int error;			/* why it does not run, or runs badly; 0 */
	bool unfit;			/* … and trying again mends nothing */
	/* active */
	enum steps_state steps;		/* STEPS_MOUNTED where it has none */
	bool tap_failed, seeds_others;
	/* passive */
	enum dag_copy_state state;	/* as it says itself */
	bool connected;
};

enum copy_status copy_status_of(const struct copy_view *v);
const char *copy_status_name(enum copy_status status);	/* "Mounted", … */
/* COPY_STATUSES: no such name. */
enum copy_status copy_status_parse(const char *name);
/* Does the store have its data there, up to date: for the redundancy (semantics 37). */
bool copy_status_healthy(enum copy_status status);

/* Does the error of opening a copy say that what the configuration names is not there
 * or not ours? Trying again mends nothing then. */
bool copy_error_unfit(int error);

#endif
