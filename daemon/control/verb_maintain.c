// SPDX-License-Identifier: GPL-2.0
/*
 * verb_maintain - members: their settings, maintenance (semantics 35), and where
 * the stores should be active (semantics 34).
 *
 * Maintenance is a flag beside the member's settings and changes none of them, so
 * what stood before stands again when it ends.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/control_int.h"
#include "daemon/control/history.h"
#include "daemon/control/manager.h"
#include "daemon/group/balance.h"
#include "daemon/group/state_json.h"

#define ERR		call->err, sizeof(call->err)
#define MOVE_MS		60000
#define DEVIATION	20		/* percent */

/* ---- settings --------------------------------------------------------------- */

static const char *const policies[] = { "unrestricted", "intrasite", "blocked" };
static const char *const dials[] = { "good", "lossless", "best", "best-effort" };

static int word(struct rpc_call *call, const char *key, const char *const *words, unsigned nr,
		uint32_t *io)
{
	const char *value = NULL;

	if (rpc_str_opt(call->params, key, &value, ERR))
		return -EINVAL;
	for (unsigned i = 0; value && i < nr; i++) {
		if (strcmp(value, words[i]))
			continue;
		*io = i;
		return 0;
	}
	return value ? call_fail(call, -EINVAL, "%s %s: no such value; see dagctl member set --help",
				 key, value) : 0;
}

struct member_edit {
	struct rpc_call *call;
	bool was;			/* in maintenance, before */
};

static int edit_member(struct group_state *gs, void *ctx)
{
	struct member_edit *me = ctx;
	struct rpc_call *call = me->call;
	const char *name = "", *site;
	struct group_member *mb;
	struct json_object *v;
	uint64_t max, preferred;

	rpc_str(call->params, "name", &name, ERR);
	mb = group_find_member(gs, name);
	if (!mb)
		return call_fail(call, -ENOENT, "member %s: no such member; see dagctl member list",
				 name);
	site = mb->site;
	max = mb->max_active;
	preferred = mb->max_preferred_active;
	if (rpc_str_opt(call->params, "site", &site, ERR) ||
	    rpc_u64_opt(call->params, "max_active", GROUP_STORES_MAX, &max, ERR) ||
	    rpc_u64_opt(call->params, "max_preferred_active", GROUP_STORES_MAX, &preferred, ERR) ||
	    word(call, "policy", policies, 3, &mb->policy) || word(call, "dial", dials, 4, &mb->dial))
		return -EINVAL;
	if (site[0] && !group_name_valid(site, sizeof(mb->site) - 1))
		return call_fail(call, -EINVAL, "site %s: use up to %zu letters, digits, '.', '-' and "
				 "'_'", site, sizeof(mb->site) - 1);
	if (site != mb->site)
		snprintf(mb->site, sizeof(mb->site), "%s", site);
	mb->max_active = max;
	mb->max_preferred_active = preferred;
	me->was = mb->maintenance;
	if (json_object_object_get_ex(call->params, "maintenance", &v))
		mb->maintenance = json_object_get_boolean(v);
	return 0;
}

int verb_member_set(struct rpc_call *call, struct json_object **ret)
{
	struct engine *en = call->ct->engine;
	struct member_edit me = { .call = call };
	struct group_member *mb;
	struct group_state gs;
	char why[ERR_BYTES] = "";
	const char *name;
	int r;

	if (rpc_str(call->params, "name", &name, ERR))
		return -EINVAL;
	r = en->ops->txn_group(en, edit_member, &me, why, sizeof(why));
	if (r && !call->err[0])
		call_fail(call, r, "member %s: %s", name, why[0] ? why : strerror(-r));
	if (r)
		return r;
	control_wait_applied(call->ct);
	history_add(call->ct->history, "member-set", "", json_object_get(call->params), "member %s",
		    name);
	r = control_state(call, &gs);
	if (r)
		return r;
	mb = group_find_member(&gs, name);
	*ret = mb ? group_member_to_obj(mb) : json_object_new_object();
	json_object_object_add(*ret, "maintenance_before", json_object_new_boolean(me.was));
	group_state_free(&gs);
	return 0;
}

/* ---- what the group looks like -------------------------------------------------- */

struct world {
	struct group_state gs;
	struct balance_store stores[GROUP_STORES_MAX];
	const char *names[GROUP_STORES_MAX];
	struct balance_member members[GROUP_MEMBERS_MAX];
	unsigned nr;
};

static const char *text_in(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) && json_object_get_string(v) ?
	       json_object_get_string(v) : "";
}

static unsigned member_index(const struct group_state *gs, const char *name)
{
	unsigned i;

	for (i = 0; i < gs->nr_members && strcmp(gs->members[i].name, name); i++)
		;
	return i;
}

static bool copy_healthy(struct json_object *status, const char *store, const char *member)
{
	for (size_t i = 0; i < json_object_array_length(status); i++) {
		struct json_object *o = json_object_array_get_idx(status, i);

		if (strcmp(text_in(o, "store"), store) || strcmp(text_in(o, "member"), member))
			continue;
		return !strcmp(text_in(o, "role"), "active") || !strcmp(text_in(o, "status"), "Healthy");
	}
	return false;
}

static bool eligible(struct rpc_call *call, const struct group_member *mb, const struct group_copy *cp)
{
	struct peer_view pv;

	if (mb->maintenance || mb->stopped || mb->policy == POLICY_BLOCKED || cp->suspended ||
	    cp->activation_blocked || group_copy_lagged(cp))
		return false;
	if (!strcmp(mb->name, call->ct->cf->member))
		return true;
	peers_view(call->ct, mb->name, &pv);
	return pv.reachable;
}

static void add_store(struct rpc_call *call, struct world *w, struct group_store *st,
		      struct json_object *status)
{
	struct balance_store *bs = &w->stores[w->nr];
	unsigned active = member_index(&w->gs, st->active);

	if (active == w->gs.nr_members)
		return;
	w->names[w->nr++] = st->name;
	bs->active = active;
	w->members[active].active_now++;
	for (uint32_t i = 0; i < st->nr_copies; i++) {
		const struct group_copy *cp = &st->copies[i];
		unsigned m = member_index(&w->gs, cp->member);

		if (m == w->gs.nr_members)
			continue;
		bs->copy[bs->nr].member = m;
		bs->copy[bs->nr].preference = cp->preference;
		bs->copy[bs->nr++].eligible = eligible(call, &w->gs.members[m], cp) &&
					      copy_healthy(status, st->name, cp->member);
	}
}

static int look(struct rpc_call *call, struct world **ret)
{
	struct json_object *params = json_object_new_object(), *status = NULL;
	struct world *w = calloc(1, sizeof(*w));
	int r = w ? dispatch_call(call, "copy.status", params, &status) : -ENOMEM;

	json_object_put(params);
	if (!r)
		r = control_state(call, &w->gs);
	if (r) {
		json_object_put(status);
		free(w);
		return r;
	}
	for (uint32_t i = 0; i < w->gs.nr_members; i++) {
		w->members[i].max_active = w->gs.members[i].max_active;
		w->members[i].max_preferred = w->gs.members[i].max_preferred_active;
	}
	for (uint32_t i = 0; i < w->gs.nr_stores; i++)
		if (!w->gs.stores[i].removed && w->gs.stores[i].epoch)
			add_store(call, w, &w->gs.stores[i], status);
	json_object_put(status);
	*ret = w;
	return 0;
}

static void forget(struct world *w)
{
	if (w)
		group_state_free(&w->gs);
	free(w);
}

static int move(struct rpc_call *call, const char *store, const char *to, const char *comment)
{
	struct json_object *params = json_object_new_object(), *result = NULL;
	int r;

	call_progress(call, "store %s: to %s", store, to);
	json_object_object_add(params, "store", json_object_new_string(store));
	json_object_object_add(params, "to", json_object_new_string(to));
	json_object_object_add(params, "comment", json_object_new_string(comment));
	json_object_object_add(params, "timeout_ms", json_object_new_int64(MOVE_MS));
	r = dispatch_call(call, "store.move", params, &result);
	json_object_put(params);
	json_object_put(result);
	if (r)
		call_progress(call, "%s", call->err);
	return r;
}

static void note_move(struct json_object *list, const char *store, const char *from, const char *to,
		      const char *error)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "store", json_object_new_string(store));
	json_object_object_add(o, "from", json_object_new_string(from));
	json_object_object_add(o, "to", json_object_new_string(to));
	if (error)
		json_object_object_add(o, "error", json_object_new_string(error));
	json_object_array_add(list, o);
}

/* ---- maintenance ------------------------------------------------------------------ */

/* *ret_was: what it was, by the transaction; what this member has heard may be old. */
static int set_flag(struct rpc_call *call, const char *member, bool on, bool *ret_was)
{
	struct json_object *params = json_object_new_object(), *result = NULL, *v;
	int r;

	json_object_object_add(params, "name", json_object_new_string(member));
	json_object_object_add(params, "maintenance", json_object_new_boolean(on));
	r = dispatch_call(call, "member.set", params, &result);
	if (!r && json_object_object_get_ex(result, "maintenance_before", &v))
		*ret_was = json_object_get_boolean(v);
	json_object_put(params);
	json_object_put(result);
	return r;
}

/* One store away from the member, wherever it can go. */
static int move_away(struct rpc_call *call, struct world *w, unsigned s, struct json_object *moved)
{
	unsigned order[GROUP_MEMBERS_MAX], n = balance_order(&w->stores[s], w->members, order);
	const char *from = w->gs.members[w->stores[s].active].name;
	char comment[128];
	int r;

	r = call_fail(call, -EBUSY, "store %s: no other copy can be active now; see dagctl copy status",
		      w->names[s]);
	snprintf(comment, sizeof(comment), "maintenance of %s", from);
	for (unsigned i = 0; i < n; i++) {
		const char *to = w->gs.members[order[i]].name;

		r = move(call, w->names[s], to, comment);
		if (r)
			continue;
		w->members[order[i]].active_now++;
		note_move(moved, w->names[s], from, to, NULL);
		return 0;
	}
	return r;
}

static int move_all_away(struct rpc_call *call, const char *member, struct json_object *moved)
{
	struct world *w;
	int r = look(call, &w);

	if (r)
		return r;
	for (unsigned s = 0; s < w->nr && !r; s++)
		if (!strcmp(w->gs.members[w->stores[s].active].name, member))
			r = move_away(call, w, s, moved);
	forget(w);
	return r;
}

static int begin_maintenance(struct rpc_call *call, const char *member, struct json_object *moved)
{
	bool was = false, ignored;
	char why[ERR_BYTES] = "";
	int r, undone;

	/* first the block, or what is moved away could come back */
	r = set_flag(call, member, true, &was);
	if (!r)
		r = move_all_away(call, member, moved);
	if (!r && call->ct->manager) {
		r = manager_give(call->ct->manager, member, why, sizeof(why));
		if (r)
			call_fail(call, r, "the manager's role is not given on: %.700s",
				  why[0] ? why : strerror(-r));
	}
	if (!r)
		return 0;
	snprintf(why, sizeof(why), "%s", call->err);
	undone = was ? 0 : set_flag(call, member, false, &ignored);
	return call_fail(call, r, "member %s: maintenance %s: %.700s; %zu stores were moved before%s%s",
			 member, was ? "goes on" : "not started", why, json_object_array_length(moved),
			 undone ? "; the block is still on, run dagctl member maintenance stop " : "",
			 undone ? member : "");
}

int verb_member_maintenance(struct rpc_call *call, struct json_object **ret)
{
	const char *action, *name = call->ct->cf->member;
	struct json_object *moved, *fields;
	bool start, was;
	int r;

	if (rpc_str(call->params, "action", &action, ERR) ||
	    rpc_str_opt(call->params, "name", &name, ERR))
		return -EINVAL;
	start = !strcmp(action, "start");
	if (!start && strcmp(action, "stop"))
		return call_fail(call, -EINVAL, "maintenance %s: not start or stop", action);
	moved = json_object_new_array();
	r = start ? begin_maintenance(call, name, moved) : set_flag(call, name, false, &was);
	fields = json_object_new_object();
	json_object_object_add(fields, "of", json_object_new_string(name));
	json_object_object_add(fields, "action", json_object_new_string(action));
	json_object_object_add(fields, "moved", json_object_get(moved));
	history_add(call->ct->history, "maintenance", "", json_object_get(fields), "%s of %s%s%s", action,
		    name, r ? " failed: " : "", r ? call->err : "");
	json_object_put(moved);
	if (r)
		json_object_put(fields);
	else
		*ret = fields;
	return r;
}

/* ---- redistribution ------------------------------------------------------------------ */

int verb_group_redistribute(struct rpc_call *call, struct json_object **ret)
{
	int dry = rpc_bool(call->params, "dry_run", ERR), r;
	unsigned target[GROUP_STORES_MAX], failed = 0;
	struct json_object *moves, *fields;
	uint64_t deviation = DEVIATION;
	struct world *w;

	if (dry < 0 || rpc_u64_opt(call->params, "deviation", 10000, &deviation, ERR))
		return -EINVAL;
	r = look(call, &w);
	if (r)
		return r;
	balance_plan(w->stores, w->nr, w->members, w->gs.nr_members, (int)deviation, target);
	moves = json_object_new_array();
	for (unsigned s = 0; s < w->nr; s++) {
		const char *from = w->gs.members[w->stores[s].active].name;
		const char *to = w->gs.members[target[s]].name;

		if (target[s] == w->stores[s].active)
			continue;
		r = dry ? 0 : move(call, w->names[s], to, "redistribution");
		note_move(moves, w->names[s], from, to, r ? call->err : NULL);
		failed += r != 0;
	}
	forget(w);
	fields = json_object_new_object();
	json_object_object_add(fields, "moves", moves);
	json_object_object_add(fields, "failed", json_object_new_int64(failed));
	json_object_object_add(fields, "dry_run", json_object_new_boolean(dry));
	if (!dry)
		history_add(call->ct->history, "redistribute", "", json_object_get(fields),
			    "%zu moves, %u failed", json_object_array_length(moves), failed);
	*ret = fields;
	return 0;
}
