// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/ask_all.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define ASK_MS	3000

static void *ask_thread(void *arg)
{
	struct ask_report *rp = arg;

	clock_gettime(CLOCK_REALTIME, &rp->sent);
	if (peer_call(&rp->call, rp->member, rp->method, NULL, ASK_MS, &rp->result)) {
		json_object_put(rp->result);
		rp->result = NULL;
	}
	clock_gettime(CLOCK_REALTIME, &rp->came);
	return NULL;
}

void ask_all(struct rpc_call *call, struct group_state *gs, const char *method, rpc_handler here,
	     struct ask_report *reports)
{
	struct peer_view pv;
	uint32_t i;

	for (i = 0; i < gs->nr_members; i++) {
		struct ask_report *rp = &reports[i];

		rp->member = gs->members[i].name;
		rp->method = method;
		rp->call = *call;
		rp->call.send = NULL;
		rp->call.err[0] = '\0';
		if (!strcmp(rp->member, call->ct->cf->member)) {
			clock_gettime(CLOCK_REALTIME, &rp->sent);
			rp->came = rp->sent;
			here(&rp->call, &rp->result);
			continue;
		}
		peers_view(call->ct, rp->member, &pv);
		snprintf(rp->call.err, sizeof(rp->call.err), "%s",
			 pv.error[0] ? pv.error : "not heard of yet");
		if (pv.reachable)
			rp->asked = !pthread_create(&rp->thread, NULL, ask_thread, rp);
	}
	for (i = 0; i < gs->nr_members; i++)
		if (reports[i].asked)
			pthread_join(reports[i].thread, NULL);
}
