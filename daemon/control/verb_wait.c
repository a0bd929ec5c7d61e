// SPDX-License-Identifier: GPL-2.0
/*
 * verb_wait - on the target of a planned move: take the agreed state from the former
 * active, and answer when this member serves the store (verb_move.c there).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/control/handover.h"
#include "daemon/control/verb_store.h"
#include "daemon/group/state_json.h"
#include "daemon/group/uuid.h"

#define ERR		call->err, sizeof(call->err)
#define SPARE_MS	3600000		/* until the steps have ended, whatever they take */

static int take_state(struct rpc_call *call)
{
	struct engine *en = call->ct->engine;
	struct json_object *obj;
	struct group_state gs;
	int r;

	if (!json_object_object_get_ex(call->params, "state", &obj))
		return 0;
	r = group_state_init(&gs);
	if (r)
		return r;
	r = group_state_from_obj(obj, &gs, ERR);
	if (!r)
		r = en->ops->learn(en, &gs);
	group_state_free(&gs);
	return r;
}

/* The store serves: are its steps up, as agreed? */
static int wait_steps(struct rpc_call *call, struct stores *ss, const uint8_t uuid[16], char *why,
		      size_t len)
{
	struct group_store *st;
	struct group_state gs;
	unsigned ms = 0;
	bool up = true;
	int r;

	r = control_state(call, &gs);
	if (r)
		return r;
	st = group_find_store_uuid(&gs, uuid);
	if (st) {
		ms = store_steps_ms(st);
		up = !st->dismounted;
	}
	group_state_free(&gs);
	return stores_wait_steps(ss, uuid, up, ms, why, len);
}

/* It serves: at the point, or because that was passed, everything? */
static int check_point(struct rpc_call *call, const uint8_t uuid[16], uint64_t epoch)
{
	struct group_store *st;
	struct group_state gs;
	uint64_t lsn = 0;
	bool missed;
	int r;

	if (rpc_u64_opt(call->params, "point_lsn", INT64_MAX, &lsn, ERR))
		return -EINVAL;
	r = lsn ? control_state(call, &gs) : 0;
	if (r || !lsn)
		return r;
	st = group_find_store_uuid(&gs, uuid);
	missed = !st || (st->point_lsn != lsn && st->epoch == epoch + 1 && st->start_lsn);
	group_state_free(&gs);
	return missed ? call_fail(call, -ESTALE, "the replay had passed the point when it was activated: it "
				  "serves all of its log, nothing was given up") : 0;
}

/* From the former active: take its state, answer when this member serves the store. */
int verb_store_wait_active(struct rpc_call *call, struct json_object **ret)
{
	uint64_t epoch, wait_ms;
	char why[ERR_BYTES] = "";
	struct stores *ss;
	const char *text;
	uint8_t uuid[16];
	bool spare;
	int r;

	if (rpc_str(call->params, "uuid", &text, ERR) ||
	    rpc_u64(call->params, "epoch", UINT32_MAX, &epoch, ERR) ||
	    rpc_u64(call->params, "wait_ms", 86400000, &wait_ms, ERR))
		return -EINVAL;
	if (uuid_parse_text(text, uuid))
		return call_fail(call, -EINVAL, "uuid: not a uuid");
	r = take_state(call);
	if (r)
		return r;
	/* A planned move whose steps fail is taken back by the former active. */
	spare = call->ct->handover && rpc_bool(call->params, "handover", ERR) <= 0;
	if (spare)
		handover_spare(call->ct->handover, uuid, SPARE_MS);
	control_wait_applied(call->ct);
	ss = control_use(call);
	if (!ss)
		return -ENOENT;
	r = stores_wait_active(ss, uuid, epoch, wait_ms, why, sizeof(why));
	if (!r && rpc_bool(call->params, "steps", ERR) > 0)
		r = wait_steps(call, ss, uuid, why, sizeof(why));
	control_unuse(call->ct);
	if (spare)
		handover_spare(call->ct->handover, uuid, r ? MOVE_BACK_MS + MOVE_MARGIN_MS : 0);
	if (r)
		return call_fail(call, r, "member %s: %s", call->ct->cf->member,
				 why[0] ? why : strerror(-r));
	r = check_point(call, uuid, epoch);
	if (!r)
		*ret = json_object_new_object();
	return r;
}
