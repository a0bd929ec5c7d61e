// SPDX-License-Identifier: GPL-2.0
/*
 * verb_mount - take the steps of an activation up and down by a person's wish, on
 * the active member. The wish is agreed, so it holds wherever the store goes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/history.h"
#include "daemon/control/verb_store.h"
#include "daemon/store/steps.h"

#define ERR	call->err, sizeof(call->err)

bool store_has_steps(const struct group_store *st)
{
	return st->mount_point[0] || st->unit[0] || st->exec[0] || st->addresses[0];
}

unsigned store_steps_ms(const struct group_store *st)
{
	unsigned ms = st->step_timeout_ms ? st->step_timeout_ms : STEP_TIMEOUT_MS;
	struct steps_plan *plan = malloc(sizeof(*plan));
	char ignored[200];
	unsigned nr = 0;

	if (plan && !steps_plan_make(st, plan, ignored, sizeof(ignored)))
		nr = plan->nr;
	free(plan);
	/* and once more to undo it; an hour at most */
	nr = 2 * nr + 1;
	return nr > 3600000 / ms ? 3600000 : nr * ms;
}

static int edit_wish(struct group_store *st, void *ctx)
{
	st->dismounted = *(bool *)ctx;
	return 0;
}

static int agree(struct rpc_call *call, const struct group_store *st, bool dismounted)
{
	struct engine *en = call->ct->engine;

	if (st->dismounted == dismounted)
		return 0;
	return en->ops->txn_store(en, st->uuid, st->epoch, edit_wish, &dismounted, ERR);
}

static int settle(struct rpc_call *call, const struct group_store *st, bool up)
{
	struct stores *ss = control_use(call);
	char why[ERR_BYTES] = "";
	int r;

	if (!ss)
		return -ENOENT;
	control_wait_applied(call->ct);
	stores_sync(ss);
	stores_retry(ss, st->uuid, true);
	r = stores_wait_steps(ss, st->uuid, up, store_steps_ms(st), why, sizeof(why));
	control_unuse(call->ct);
	if (r)
		call_fail(call, r, "store %s: %.900s", st->name, why[0] ? why : strerror(-r));
	return r;
}

static int change(struct rpc_call *call, bool up, struct json_object **ret)
{
	struct group_store *st = calloc(1, sizeof(*st));
	char failed[ERR_BYTES];
	int r;

	if (!st)
		return -ENOMEM;
	r = store_snapshot(call, st);
	if (!r && !store_has_steps(st))
		r = call_fail(call, -EINVAL, "store %s: has no mount point, unit, executable or "
			      "address; give it one with dagctl store set", st->name);
	if (!r)
		r = agree(call, st, !up);
	if (r)
		goto out;
	r = settle(call, st, up);
	if (r && !up) {
		/* it is up again, and is to stay so */
		memcpy(failed, call->err, sizeof(failed));
		st->dismounted = true;
		if (!agree(call, st, false))
			memcpy(call->err, failed, sizeof(failed));
		control_wait_applied(call->ct);
	}
	if (!r) {
		*ret = json_object_new_object();
		json_object_object_add(*ret, "store", json_object_new_string(st->name));
		json_object_object_add(*ret, "member", json_object_new_string(st->active));
		json_object_object_add(*ret, "status", json_object_new_string(
				       up ? "Mounted" : "Dismounted"));
	}
out:
	free(st);
	return r;
}

int verb_store_mount(struct rpc_call *call, struct json_object **ret)
{
	return change(call, true, ret);
}

int verb_store_dismount(struct rpc_call *call, struct json_object **ret)
{
	return change(call, false, ret);
}
