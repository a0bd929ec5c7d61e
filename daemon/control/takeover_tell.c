// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/takeover_tell.h"

#include <json-c/json.h>

#include "daemon/control/history.h"
#include "daemon/group/state.h"
#include "daemon/group/takeover.h"
#include "daemon/log.h"

static struct json_object *times_obj(const struct takeover_times *tm)
{
	const struct { const char *key; uint64_t at; } steps[] = {
		{ "lease_ended_ms", tm->over }, { "sealed_ms", tm->sealed },
		{ "fetched_ms", tm->fetched }, { "agreed_ms", tm->claimed },
	};
	struct json_object *obj = json_object_new_object();

	/* counted from the last sign of life */
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (steps[i].at >= tm->seen)
			json_object_object_add(obj, steps[i].key,
					       json_object_new_int64((steps[i].at - tm->seen) / 1000000));
	return obj;
}

static struct json_object *candidates_obj(const struct takeover_store *ts)
{
	struct json_object *list = json_object_new_array();

	for (unsigned k = 0; k < ts->nr; k++) {
		const struct candidate_verdict *v = &ts->verdict[k];
		struct json_object *obj = json_object_new_object();

		if (v->index >= ts->nr)
			continue;
		json_object_object_add(obj, "member",
				       json_object_new_string(ts->cand[v->index].member));
		json_object_object_add(obj, "eligible", json_object_new_boolean(v->eligible));
		json_object_object_add(obj, "end_lsn",
				       json_object_new_int64(ts->cand[v->index].end_lsn));
		json_object_object_add(obj, "why", json_object_new_string(v->why));
		json_object_array_add(list, obj);
	}
	return list;
}

void takeover_tell(struct history *h, struct group_state *gs, const struct takeover *t,
		   const struct takeover_store *ts)
{
	const struct group_store *st = group_find_store_uuid(gs, ts->uuid);
	const char *name = st ? st->name : "?";
	struct json_object *fields = json_object_new_object();

	json_object_object_add(fields, "from", json_object_new_string(t->host));
	json_object_object_add(fields, "candidates", candidates_obj(ts));
	json_object_object_add(fields, "times", times_obj(&t->times));
	if (ts->winner < 0) {
		log_err("store=%s host=%s msg=\"no copy may be activated\" next=\"dagctl events list\"",
			name, t->host);
		history_add(h, "activation", name, fields,
			    "the lease of %s ended, no copy may be activated", t->host);
		return;
	}
	json_object_object_add(fields, "to", json_object_new_string(ts->cand[ts->winner].member));
	json_object_object_add(fields, "epoch", json_object_new_int64(ts->epoch + 1));
	json_object_object_add(fields, "start_lsn",
			       json_object_new_int64(ts->cand[ts->winner].end_lsn));
	json_object_object_add(fields, "lost_bytes", json_object_new_int64(ts->lost_bytes));
	log_notice("store=%s active=%s epoch=%u lost_bytes=%llu", name, ts->cand[ts->winner].member,
		   ts->epoch + 1, (unsigned long long)ts->lost_bytes);
	history_add(h, "activation", name, fields,
		    "the lease of %s ended, %s takes over in epoch %u", t->host,
		    ts->cand[ts->winner].member, ts->epoch + 1);
}
