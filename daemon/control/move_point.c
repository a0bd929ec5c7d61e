// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/move_point.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/control/verb_store.h"
#include "daemon/group/uuid.h"

#define ANSWER_MS	30000	/* the walk for a point takes 20 s at most */
#define LOOK_MS		200

static struct json_object *params_for(const uint8_t uuid[16])
{
	struct json_object *params = json_object_new_object();
	char text[UUID_TEXT];

	uuid_format(uuid, text);
	json_object_object_add(params, "uuid", json_object_new_string(text));
	return params;
}

static uint64_t number_in(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) ? (uint64_t)json_object_get_int64(v) : 0;
}

static int hold(struct rpc_call *call, struct peer_line *line, const uint8_t uuid[16],
		struct move_point *mp, const char *at, uint64_t ms, uint64_t *ret_replayed)
{
	struct json_object *params = params_for(uuid), *said = NULL;
	int r;

	json_object_object_add(params, "at", json_object_new_string(at));
	json_object_object_add(params, "ms", json_object_new_int64(ms));
	r = peer_line_call(line, call, "point.hold", params, ANSWER_MS, &said);
	json_object_put(params);
	if (!r) {
		mp->held = true;
		mp->lsn = number_in(said, "lsn");
		if (number_in(said, "time_ns"))
			mp->time_ns = number_in(said, "time_ns");
		mp->end_lsn = number_in(said, "end_lsn");
		mp->end_ns = number_in(said, "end_ns");
		*ret_replayed = number_in(said, "replayed_lsn");
	}
	json_object_put(said);
	return r;
}

int move_point_hold(struct rpc_call *call, struct peer_line *line, const uint8_t uuid[16],
		    struct move_point *mp, uint64_t ms)
{
	uint64_t replayed;

	return hold(call, line, uuid, mp, mp->at, ms, &replayed);
}

int move_point_reach(struct rpc_call *call, struct peer_line *line, const uint8_t uuid[16],
		     struct move_point *mp, uint64_t ms, uint64_t timeout_ms)
{
	uint64_t until = now_ms() + timeout_ms, replayed = 0;
	char at[24];
	int r;

	snprintf(at, sizeof(at), "%llu", (unsigned long long)mp->lsn);
	for (;;) {
		r = hold(call, line, uuid, mp, at, ms, &replayed);
		if (r || replayed == mp->lsn)
			return r;
		if (now_ms() >= until)
			return call_fail(call, -ETIMEDOUT, "the copy there has %llu MiB left to replay to the "
					 "point; try again, with a longer --timeout",
					 (unsigned long long)(mp->lsn - replayed) >> 20);
		if (control_sleep(call->ct, LOOK_MS))
			return -ECANCELED;
	}
}

int move_point_keep(struct rpc_call *call, struct peer_line *line, const uint8_t uuid[16],
		    struct move_point *mp, uint64_t timeout_ms)
{
	struct json_object *params = params_for(uuid), *said = NULL;
	int r;

	json_object_object_add(params, "lsn", json_object_new_int64(mp->lsn));
	json_object_object_add(params, "end_lsn", json_object_new_int64(mp->end_lsn));
	r = peer_line_call(line, call, "point.keep", params, ANSWER_MS + timeout_ms, &said);
	json_object_put(params);
	json_object_put(said);
	return r;
}

void move_point_release(struct rpc_call *call, struct peer_line *line, const uint8_t uuid[16],
			struct move_point *mp)
{
	struct json_object *params, *said = NULL;
	char before[ERR_BYTES];

	if (!mp->held || !line)
		return;
	mp->held = false;
	snprintf(before, sizeof(before), "%s", call->err);
	params = params_for(uuid);
	if (peer_line_call(line, call, "point.release", params, ANSWER_MS, &said))
		log_warn("msg=\"the hold at a point ends by itself\" err=\"%s\"", call->err);
	json_object_put(params);
	json_object_put(said);
	snprintf(call->err, sizeof(call->err), "%s", before);
}

double move_point_seconds(const struct move_point *mp)
{
	return mp->time_ns && mp->end_ns > mp->time_ns ? (mp->end_ns - mp->time_ns) / 1e9 : 0;
}

void move_point_fields(struct json_object *obj, const struct move_point *mp)
{
	json_object_object_add(obj, "point_lsn", json_object_new_int64(mp->lsn));
	store_put_time(obj, "point_time", mp->time_ns);
	json_object_object_add(obj, "given_up_bytes",
			       json_object_new_int64(mp->end_lsn > mp->lsn ? mp->end_lsn - mp->lsn : 0));
	json_object_object_add(obj, "given_up_seconds", json_object_new_double(move_point_seconds(mp)));
}
