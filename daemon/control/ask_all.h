/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ask_all - one question to all members at once. Those that do not answer are known
 * to be so, and are not waited for.
 */
#ifndef DAG_ASK_ALL_H
#define DAG_ASK_ALL_H

#include "daemon/control/control_int.h"

struct ask_report {
	struct rpc_call call;		/* of its own: asked for in a thread; err: why not */
	const char *member;
	const char *method;
	pthread_t thread;
	bool asked;
	struct json_object *result;	/* NULL: no answer; the caller's to put */
	struct timespec sent, came;	/* CLOCK_REALTIME, around the question */
};

/*
 * reports: room for GROUP_MEMBERS_MAX, zeroed; one for each member of gs, in its order,
 * is filled. here: what answers for this member.
 */
void ask_all(struct rpc_call *call, struct group_state *gs, const char *method, rpc_handler here,
	     struct ask_report *reports);

#endif
