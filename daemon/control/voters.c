// SPDX-License-Identifier: GPL-2.0
/*
 * voters - a thread that looks after the engine's voters: this host's own etcd on every
 * member, and on the manager who of the members votes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/authority.h"
#include "daemon/control/control_int.h"
#include "daemon/group/engine_etcd_tend.h"
#include "daemon/group/engine_switch.h"

#define TURN_MS_MIN	1000
#define TURN_MS_MAX	5000

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

/*
 * What this host is in the group: its manager, or not in it any more. And when to look
 * again: each turn asks the engine some questions, none more urgent than a lease.
 */
static void look(struct control *ct, bool *ret_manager, bool *ret_left, unsigned *ret_ms)
{
	const char *self = ct->cf->member;
	struct group_state gs;

	*ret_manager = *ret_left = false;
	*ret_ms = TURN_MS_MIN;
	if (group_state_init(&gs))
		return;
	if (!ct->engine->ops->snapshot(ct->engine, &gs) && !gs.unconfirmed && gs.uuid[0]) {
		*ret_left = !group_find_member(&gs, self) && strcmp(gs.witness.name, self) &&
			    strcmp(gs.alternate.name, self);
		*ret_manager = !*ret_left && !strcmp(gs.manager, self);
		if (gs.profile.lease_ms > TURN_MS_MIN)
			*ret_ms = gs.profile.lease_ms < TURN_MS_MAX ? gs.profile.lease_ms :
								     TURN_MS_MAX;
	}
	group_state_free(&gs);
}

/* One turn for this host's etcd, and what it refuses. True: more is to be done soon. */
static bool keep_revoked(struct control *ct, struct engine *en)
{
	struct group_state gs;
	bool busy;

	if (group_state_init(&gs))
		return true;
	if (ct->engine->ops->snapshot(ct->engine, &gs))
		gs.crl[0] = '\0';
	busy = engine_etcd_care(en);
	authority_store(ct, &gs, engine_etcd_settled(en, &gs));
	group_state_free(&gs);
	return busy;
}

static void *voters_main(void *arg)
{
	struct control *ct = arg;
	unsigned ms = TURN_MS_MIN;

	while (!control_sleep(ct, ms)) {
		struct engine *en = engine_switch_get(ct->engine, "etcd");
		bool manager, left, busy;

		if (!en)
			continue;
		/* the list that is kept, then who votes: whom it names may have gone since */
		busy = keep_revoked(ct, en);
		look(ct, &manager, &left, &ms);
		if (manager)
			busy |= engine_etcd_tend(en, alive, ct);
		if (busy)
			ms = TURN_MS_MIN;	/* more is to be done, or could not be */
		engine_switch_put(ct->engine);
		if (left || __atomic_load_n(&ct->refused, __ATOMIC_ACQUIRE))
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
