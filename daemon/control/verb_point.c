// SPDX-License-Identifier: GPL-2.0
/*
 * verb_point - on the target of a move to a point of its log, for the active member that
 * moves the store (control/move_point.c): hold the replay there, keep what will be given
 * up, let go.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/control/verb_store.h"
#include "daemon/group/uuid.h"
#include "daemon/store/passive_point.h"

#define ERR		call->err, sizeof(call->err)
#define HOLD_MS_MAX	(4 * 86400000ull)

static int take_uuid(struct rpc_call *call, uint8_t ret[16])
{
	const char *text;

	if (rpc_str(call->params, "uuid", &text, ERR))
		return -EINVAL;
	return uuid_parse_text(text, ret) ? call_fail(call, -EINVAL, "uuid: not a uuid") : 0;
}

int verb_point_hold(struct rpc_call *call, struct json_object **ret)
{
	struct point_status ps;
	struct stores *ss;
	const char *at;
	uint8_t uuid[16];
	uint64_t ms;
	int r = take_uuid(call, uuid);

	if (r || rpc_str(call->params, "at", &at, ERR) ||
	    rpc_u64(call->params, "ms", HOLD_MS_MAX, &ms, ERR))
		return -EINVAL;
	ss = control_use(call);
	if (!ss)
		return -ENOENT;
	r = stores_point_hold(ss, uuid, at, ms, &ps, ERR);
	control_unuse(call->ct);
	if (r)
		return call->err[0] ? r : call_fail(call, r, "member %s: %s", call->ct->cf->member,
						    strerror(-r));
	*ret = json_object_new_object();
	json_object_object_add(*ret, "lsn", json_object_new_int64(ps.lsn));
	json_object_object_add(*ret, "time_ns", json_object_new_int64(ps.time_ns));
	json_object_object_add(*ret, "replayed_lsn", json_object_new_int64(ps.replayed_lsn));
	json_object_object_add(*ret, "end_lsn", json_object_new_int64(ps.end_lsn));
	json_object_object_add(*ret, "end_ns", json_object_new_int64(ps.end_ns));
	return 0;
}

int verb_point_keep(struct rpc_call *call, struct json_object **ret)
{
	struct stores *ss;
	uint8_t uuid[16];
	uint64_t lsn, end;
	int r = take_uuid(call, uuid);

	if (r || rpc_u64(call->params, "lsn", INT64_MAX, &lsn, ERR) ||
	    rpc_u64(call->params, "end_lsn", INT64_MAX, &end, ERR))
		return -EINVAL;
	ss = control_use(call);
	if (!ss)
		return -ENOENT;
	r = stores_point_keep(ss, uuid, lsn, end, ERR);
	control_unuse(call->ct);
	if (!r)
		*ret = json_object_new_object();
	return r;
}

int verb_point_release(struct rpc_call *call, struct json_object **ret)
{
	struct stores *ss;
	uint8_t uuid[16];
	int r = take_uuid(call, uuid);

	if (r)
		return r;
	ss = control_use(call);
	if (!ss)
		return -ENOENT;
	stores_point_release(ss, uuid);
	control_unuse(call->ct);
	*ret = json_object_new_object();
	return 0;
}
