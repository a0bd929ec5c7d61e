// SPDX-License-Identifier: GPL-2.0
/*
 * verb_status - the state of copies and of the whole, put together from what the
 * members report; and what members ask each other for it.
 *
 * Of a copy the active member's report counts (it knows what was generated); if
 * the link is down or the active silent, the copy's own member is believed; if
 * nobody answers, the copy is ServiceDown and the reason stands beside it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/authority.h"
#include "daemon/control/ask_all.h"
#include "daemon/control/health_watch.h"
#include "daemon/control/manager.h"
#include "daemon/control/verb_store.h"
#include "daemon/group/state_json.h"
#include "daemon/health/copystatus.h"
#include "include/dag/version.h"

#define ERR	call->err, sizeof(call->err)

int verb_copy_local(struct rpc_call *call, struct json_object **ret)
{
	struct stores *ss = control_use(call);

	if (!ss)
		return -ENOENT;
	*ret = stores_status(ss);
	control_unuse(call->ct);
	return *ret ? 0 : -ENOMEM;
}

static const char *get_str(struct json_object *obj, const char *key)
{
	struct json_object *val;

	if (!json_object_object_get_ex(obj, key, &val) || !json_object_is_type(val, json_type_string))
		return "";
	return json_object_get_string(val);
}

/* What `member` says of a copy. */
static struct json_object *said_by(struct ask_report *reports, struct group_state *gs,
				   const char *member, const char *store, const char *copy)
{
	uint32_t i;
	size_t k;

	for (i = 0; i < gs->nr_members; i++) {
		if (strcmp(reports[i].member, member) || !reports[i].result)
			continue;
		for (k = 0; k < json_object_array_length(reports[i].result); k++) {
			struct json_object *obj = json_object_array_get_idx(reports[i].result, k);

			if (!strcmp(get_str(obj, "store"), store) &&
			    !strcmp(get_str(obj, "member"), copy))
				return obj;
		}
	}
	return NULL;
}

static const char *silence_of(struct ask_report *reports, struct group_state *gs, const char *member)
{
	uint32_t i;

	for (i = 0; i < gs->nr_members; i++)
		if (!strcmp(reports[i].member, member))
			return reports[i].result ? "" : reports[i].call.err;
	return "not a member";
}

/* All keys of `from`, also where `to` has them, or only where it has not. */
static void lay_over(struct json_object *to, struct json_object *from, bool replace)
{
	json_object_object_foreach(from, key, val) {
		if (replace || !json_object_object_get_ex(to, key, NULL))
			json_object_object_add(to, key, json_object_get(val));
	}
}

static struct json_object *merge_copy(struct ask_report *reports, struct group_state *gs,
				      const struct group_store *st, const struct group_copy *cp)
{
	struct json_object *from_active, *own, *obj = json_object_new_object();
	bool passive = strcmp(cp->member, st->active);
	char why[400];

	json_object_object_add(obj, "store", json_object_new_string(st->name));
	json_object_object_add(obj, "member", json_object_new_string(cp->member));
	from_active = said_by(reports, gs, st->active, st->name, cp->member);
	own = said_by(reports, gs, cp->member, st->name, cp->member);
	if (from_active)
		lay_over(obj, from_active, true);
	if (own && own != from_active)
		lay_over(obj, own, !from_active || !strcmp(get_str(from_active, "link"), "down"));
	if (from_active && own && own != from_active)	/* queues: only the active knows */
		lay_over(obj, from_active, false);
	json_object_object_add(obj, "role", json_object_new_string(passive ? "passive" : "active"));
	json_object_object_add(obj, "preference", json_object_new_int64(cp->preference));
	json_object_object_add(obj, "mode", json_object_new_string(group_mode_name(st->mode)));
	if (!json_object_object_get_ex(obj, "status", NULL)) {
		json_object_object_add(obj, "status", json_object_new_string(
				       copy_status_name(COPY_SERVICE_DOWN)));
		snprintf(why, sizeof(why), "member %s: %.300s", cp->member,
			 silence_of(reports, gs, cp->member));
		json_object_object_add(obj, "error", json_object_new_string(why));
	}
	json_object_object_add(obj, "stale", json_object_new_boolean(!from_active));
	if (cp->comment[0])
		json_object_object_add(obj, "comment", json_object_new_string(cp->comment));
	return obj;
}

struct json_object *copies_obj(struct rpc_call *call, struct group_state *gs, const char *only)
{
	struct ask_report *reports = calloc(GROUP_MEMBERS_MAX, sizeof(*reports));
	struct json_object *list = json_object_new_array();
	uint32_t i, k;

	if (!reports)
		return list;
	ask_all(call, gs, "copy.local", verb_copy_local, reports);
	for (i = 0; i < gs->nr_members; i++) {
		if (json_object_is_type(reports[i].result, json_type_array))
			continue;
		json_object_put(reports[i].result);
		reports[i].result = NULL;
	}
	for (i = 0; i < gs->nr_stores; i++) {
		struct group_store *st = &gs->stores[i];

		if (st->removed || (only && strcmp(only, st->name)))
			continue;
		for (k = 0; k < st->nr_copies; k++)
			json_object_array_add(list, merge_copy(reports, gs, st, &st->copies[k]));
	}
	for (i = 0; i < gs->nr_members; i++)
		json_object_put(reports[i].result);
	free(reports);
	return list;
}

int verb_copy_status(struct rpc_call *call, struct json_object **ret)
{
	const char *store = NULL;
	struct group_store *st = NULL;
	struct group_state gs;
	int r;

	r = control_state(call, &gs);
	if (r)
		return r;
	r = rpc_str_opt(call->params, "store", &store, ERR);
	if (!r && store) {
		st = call_store(call, &gs);
		r = st ? 0 : -ENOENT;
	}
	if (!r)
		*ret = copies_obj(call, &gs, st ? st->name : NULL);
	group_state_free(&gs);
	return r;
}

int verb_status(struct rpc_call *call, struct json_object **ret)
{
	struct json_object *group = NULL, *obj, *stores = NULL;
	struct group_state gs;
	int r;

	r = verb_group_show(call, &group);
	if (!r)
		r = verb_store_list(call, &stores);
	if (!r)
		r = control_state(call, &gs);
	if (r) {
		json_object_put(group);
		json_object_put(stores);
		return r;
	}
	obj = json_object_new_object();
	json_object_object_add(obj, "group", group);
	json_object_object_add(obj, "stores", stores);
	json_object_object_add(obj, "copies", copies_obj(call, &gs, NULL));
	if (call->ct->health_watch)
		json_object_object_add(obj, "redundancy", health_watch_obj(call->ct->health_watch));
	if (call->ct->manager)
		json_object_object_add(obj, "manager", manager_status(call->ct->manager));
	group_state_free(&gs);
	*ret = obj;
	return 0;
}

/* ---- between members ---------------------------------------------------- */

static int digest_obj(struct rpc_call *call, struct group_state *gs, struct json_object **ret)
{
	struct json_object *obj = json_object_new_object();
	char text[24];

	snprintf(text, sizeof(text), "%016llx", (unsigned long long)group_state_digest(gs));
	json_object_object_add(obj, "digest", json_object_new_string(text));
	json_object_object_add(obj, "version", json_object_new_string(DAG_VERSION));
	*ret = obj;
	return 0;
}

int verb_peer_heartbeat(struct rpc_call *call, struct json_object **ret)
{
	struct group_state gs;
	int r;

	r = control_state(call, &gs);
	if (r)
		return r;
	r = digest_obj(call, &gs, ret);
	if (!r)
		json_object_object_add(*ret, "authority",
				       json_object_new_boolean(authority_held(call->ct)));
	if (!r && call->ct->manager) {
		uint64_t generation;
		bool bit;

		manager_dac(call->ct->manager, &generation, &bit);
		json_object_object_add(*ret, "generation", json_object_new_int64(generation));
		json_object_object_add(*ret, "dac", json_object_new_boolean(bit));
	}
	group_state_free(&gs);
	return r;
}

/* Take what is newer there, answer with what is here after that. */
int verb_peer_state(struct rpc_call *call, struct json_object **ret)
{
	struct engine *en = call->ct->engine;
	struct json_object *obj;
	struct group_state gs;
	int r;

	if (!json_object_object_get_ex(call->params, "state", &obj))
		return call_fail(call, -EINVAL, "state: missing");
	r = group_state_init(&gs);
	if (r)
		return r;
	r = group_state_from_obj(obj, &gs, ERR);
	if (!r)
		r = en->ops->learn(en, &gs);
	if (!r)
		r = en->ops->snapshot(en, &gs);
	if (!r) {
		r = digest_obj(call, &gs, ret);
		/* not a member any more: the state is being forgotten */
		if (group_find_member(&gs, call->ct->cf->member))
			json_object_object_add(*ret, "state", group_state_to_obj(&gs));
	}
	group_state_free(&gs);
	return r;
}
