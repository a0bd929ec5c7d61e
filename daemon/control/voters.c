// SPDX-License-Identifier: GPL-2.0
/*
 * voters - a thread that looks after the engine's voters: this host's own etcd on every
 * member, and on the manager who of the members votes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/control_int.h"
#include "daemon/group/engine_etcd_tend.h"
#include "daemon/group/engine_switch.h"

#define TURN_MS		1000

/* The witness has no heartbeat: it is taken at its word (a learner that does not come
 * along loses its place again). */
static bool alive(void *ctx, const char *name)
{
	struct control *ct = ctx;
	struct group_state gs;
	bool member = true;

	if (!group_state_init(&gs)) {
		if (!ct->engine->ops->snapshot(ct->engine, &gs))
			member = group_find_member(&gs, name);
		group_state_free(&gs);
	}
	return !member || control_reachable(ct, name);
}

/* What this host is in the group: its manager, or not in it any more. */
static void look(struct control *ct, bool *ret_manager, bool *ret_left)
{
	const char *self = ct->cf->member;
	struct group_state gs;

	*ret_manager = *ret_left = false;
	if (group_state_init(&gs))
		return;
	if (!ct->engine->ops->snapshot(ct->engine, &gs) && !gs.unconfirmed && gs.uuid[0]) {
		*ret_left = !group_find_member(&gs, self) && strcmp(gs.witness.name, self) &&
			    strcmp(gs.alternate.name, self);
		*ret_manager = !*ret_left && !strcmp(gs.manager, self);
	}
	group_state_free(&gs);
}

static void *voters_main(void *arg)
{
	struct control *ct = arg;

	while (!control_sleep(ct, TURN_MS)) {
		struct engine *en = engine_switch_get(ct->engine, "etcd");

		bool manager, left;

		if (!en)
			continue;
		engine_etcd_care(en);
		look(ct, &manager, &left);
		if (manager)
			engine_etcd_tend(en, alive, ct);
		engine_switch_put(ct->engine);
		if (left)
			control_changed(ct);
	}
	return NULL;
}

int voters_start(struct control *ct)
{
	return -pthread_create(&ct->voters_thread, NULL, voters_main, ct);
}

void voters_stop(struct control *ct)
{
	pthread_join(ct->voters_thread, NULL);
}
