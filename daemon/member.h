/* SPDX-License-Identifier: GPL-2.0 */
/*
 * member - all that a member of a group runs: engine, lease, control. What a
 * process around it must do (signals, memory, priority) is main.c's.
 */
#ifndef DAG_MEMBER_H
#define DAG_MEMBER_H

#include "daemon/config.h"

struct member;
struct engine;
struct history;
struct renewal;
struct tap_ops;

struct member_conf {
	const struct config *cf;	/* must outlive the member */
	const struct tap_ops *tap;	/* the module's, or memory */
};

/* -EWOULDBLOCK: another daemon uses this state directory. Failures are logged. */
int member_start(const struct member_conf *conf, struct member **ret);
/* In order: stores are closed under a lease that still runs. */
void member_stop(struct member *mb);
/* NULL: none is kept. */
struct history *member_history(struct member *mb);
struct engine *member_engine(struct member *mb);
struct renewal *member_renewal(struct member *mb);

#endif
