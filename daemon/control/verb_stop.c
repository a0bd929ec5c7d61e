// SPDX-License-Identifier: GPL-2.0
/*
 * verb_stop - group stop and start (semantics 10): take members, or a site, out of
 * service, and back.
 *
 * A stopped member stays in the group and in touch, but holds no lease, no vote and no
 * open copy, and nobody waits for it. One that answers gives its stores away first; one
 * that does not is only written down (--configuration-only), and if that cannot be
 * agreed on for want of a majority, on this host alone, for group restore.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/control_int.h"
#include "daemon/control/history.h"
#include "daemon/control/manager.h"
#include "daemon/control/stopmarks.h"
#include "daemon/group/uuid.h"

#define ERR		call->err, sizeof(call->err)
#define CONFIRM_MS	3000
#define VOTES_MS	90000	/* etcd wants five seconds of health between two changes */
#define LOOK_MS		250

/* Who is meant, by index of the members. */
struct whom {
	struct group_state gs;
	bool is[GROUP_MEMBERS_MAX];
	unsigned nr;
	const char *name, *site;	/* as asked */
};

static int find_whom(struct rpc_call *call, struct whom *w)
{
	int r;

	w->name = w->site = "";
	if (rpc_str_opt(call->params, "name", &w->name, ERR) ||
	    rpc_str_opt(call->params, "site", &w->site, ERR))
		return -EINVAL;
	if (!w->name[0] == !w->site[0])
		return call_fail(call, -EINVAL, "group: name a member, or a site with --site");
	r = control_state(call, &w->gs);
	if (r)
		return r;
	if (strcmp(w->gs.engine, "etcd")) {
		r = call_fail(call, -EOPNOTSUPP, "group %s: its engine is a file: one member decides, and "
			      "none can be stopped; use dagctl member maintenance", w->gs.name);
		goto fail;
	}
	for (uint32_t i = 0; i < w->gs.nr_members; i++) {
		w->is[i] = w->name[0] ? !strcmp(w->gs.members[i].name, w->name) :
					!strcmp(w->gs.members[i].site, w->site);
		w->nr += w->is[i];
	}
	if (w->nr)
		return 0;
	r = w->name[0] ?
		call_fail(call, -ENOENT, "member %s: no such member; see dagctl member list", w->name) :
		call_fail(call, -ENOENT, "site %s: no member is there; see dagctl group show and dagctl "
			  "member set --site", w->site);
fail:
	group_state_free(&w->gs);
	return r;
}

static bool has_majority(struct control *ct)
{
	return !ct->engine->ops->confirm || !ct->engine->ops->confirm(ct->engine, CONFIRM_MS);
}

static struct json_object *names_of(const struct whom *w)
{
	struct json_object *list = json_object_new_array();

	for (uint32_t i = 0; i < w->gs.nr_members; i++)
		if (w->is[i])
			json_object_array_add(list, json_object_new_string(w->gs.members[i].name));
	return list;
}

/* ---- stop ------------------------------------------------------------------- */

static int check_stop(struct rpc_call *call, struct whom *w, bool configuration_only)
{
	unsigned left = 0;

	for (uint32_t i = 0; i < w->gs.nr_members; i++) {
		const struct group_member *mb = &w->gs.members[i];
		bool there = control_reachable(call->ct, mb->name);

		left += !w->is[i] && !mb->stopped;
		if (!w->is[i])
			continue;
		if (mb->stopped && w->name[0])
			return call_fail(call, -EALREADY, "member %s: is stopped already", mb->name);
		if (!there && !configuration_only)
			return call_fail(call, -EHOSTUNREACH, "member %s: does not answer; if it is off, or "
					 "will not be back, pass --configuration-only", mb->name);
		if (there && configuration_only)
			return call_fail(call, -EBUSY, "member %s: answers; stop it without "
					 "--configuration-only, so that its stores are moved, or stop its "
					 "dagd first", mb->name);
	}
	if (!left)
		return call_fail(call, -EINVAL, "group %s: no member would be left", w->gs.name);
	return 0;
}

/* Without a majority: for a restore on this host. */
static int stop_here(struct rpc_call *call, struct whom *w)
{
	bool marked[GROUP_MEMBERS_MAX] = { false };
	int r;

	if (w->gs.unconfirmed)
		call_progress(call, "the state is what this member knew when it was stopped");
	stopmarks_load(call->ct->cf->state_dir, &w->gs, marked);
	for (uint32_t i = 0; i < w->gs.nr_members; i++)
		marked[i] |= w->is[i];
	r = stopmarks_save(call->ct->cf->state_dir, &w->gs, marked);
	if (r)
		return call_fail(call, r, "group stop: not written down in %s: %s",
				 call->ct->cf->state_dir, strerror(-r));
	return 0;
}

static int maintain(struct rpc_call *call, const char *name, const char *action)
{
	struct json_object *params = json_object_new_object(), *result = NULL;
	int r;

	json_object_object_add(params, "action", json_object_new_string(action));
	json_object_object_add(params, "name", json_object_new_string(name));
	r = dispatch_call(call, "member.maintenance", params, &result);
	json_object_put(params);
	json_object_put(result);
	return r;
}

static int block(struct rpc_call *call, const char *name)
{
	struct json_object *params = json_object_new_object(), *result = NULL;
	int r;

	json_object_object_add(params, "name", json_object_new_string(name));
	json_object_object_add(params, "maintenance", json_object_new_boolean(true));
	r = dispatch_call(call, "member.set", params, &result);
	json_object_put(params);
	json_object_put(result);
	return r;
}

/* Blocks on all of them first: none is moved to another that is to be stopped. */
static int give_away(struct rpc_call *call, struct whom *w, bool force)
{
	char why[ERR_BYTES];
	int r = 0;

	for (uint32_t i = 0; !r && i < w->gs.nr_members; i++)
		if (w->is[i] && !w->gs.members[i].maintenance)
			r = block(call, w->gs.members[i].name);
	for (uint32_t i = 0; !r && i < w->gs.nr_members; i++) {
		if (!w->is[i])
			continue;
		r = maintain(call, w->gs.members[i].name, "start");
		if (!r || !force)
			continue;
		call_progress(call, "%s; stopped all the same", call->err);
		r = 0;
	}
	if (!r)
		return 0;
	snprintf(why, sizeof(why), "%s", call->err);
	for (uint32_t i = 0; i < w->gs.nr_members; i++)
		if (w->is[i] && !w->gs.members[i].maintenance)
			maintain(call, w->gs.members[i].name, "stop");
	return call_fail(call, r, "group stop: nothing is stopped: %.700s; --force stops all the same, and "
			 "the stores that are active there come up elsewhere or are down", why);
}

static int edit_stop(struct group_state *gs, void *ctx)
{
	const struct whom *w = ctx;

	for (uint32_t i = 0; i < w->gs.nr_members; i++) {
		struct group_member *mb = group_find_member(gs, w->gs.members[i].name);

		if (!w->is[i] || !mb)
			continue;
		mb->stopped = true;
		mb->maintenance = w->gs.members[i].maintenance;
	}
	return 0;
}

static int edit_out_of_sync(struct group_store *st, void *ctx)
{
	struct group_copy *cp = group_find_copy(st, ctx);

	if (!cp || !strcmp(st->active, ctx) || !cp->in_sync)
		return -ENOENT;
	cp->in_sync = false;
	return 0;
}

/* Commits need not find out that nobody answers there any more. */
static void leave_sets(struct rpc_call *call, struct whom *w)
{
	struct engine *en = call->ct->engine;
	struct group_state gs;
	char ignored[200];

	if (control_state(call, &gs))
		return;
	for (uint32_t k = 0; k < gs.nr_stores; k++)
		for (uint32_t i = 0; i < w->gs.nr_members; i++)
			if (w->is[i] && !gs.stores[k].removed &&
			    group_find_copy(&gs.stores[k], w->gs.members[i].name))
				en->ops->txn_store(en, gs.stores[k].uuid, gs.stores[k].epoch,
						   edit_out_of_sync, w->gs.members[i].name, ignored,
						   sizeof(ignored));
	group_state_free(&gs);
}

static bool still_vote(struct rpc_call *call, struct whom *w)
{
	struct group_state gs;
	bool any = false;

	if (control_state(call, &gs))
		return false;
	for (uint32_t i = 0; i < w->gs.nr_members; i++) {
		struct group_member *mb = group_find_member(&gs, w->gs.members[i].name);

		any |= w->is[i] && mb && mb->voter;
	}
	group_state_free(&gs);
	return any;
}

/* While they vote, the group counts on them: they may be switched off after that. */
static bool await_votes(struct rpc_call *call, struct whom *w)
{
	unsigned ms;

	if (still_vote(call, w))
		call_progress(call, "votes are being taken away; do not switch them off yet");
	for (ms = 0; ms < VOTES_MS && still_vote(call, w); ms += LOOK_MS)
		if (control_sleep(call->ct, LOOK_MS))
			return false;
	return !still_vote(call, w);
}

int verb_group_stop(struct rpc_call *call, struct json_object **ret)
{
	struct whom w = { .nr = 0 };
	struct engine *en = call->ct->engine;
	int only = rpc_bool(call->params, "configuration_only", ERR);
	int force = rpc_bool(call->params, "force", ERR), r;
	char why[ERR_BYTES] = "";
	bool agreed = true, votes = false;

	if (only < 0 || force < 0)
		return -EINVAL;
	r = find_whom(call, &w);
	if (r)
		return r;
	r = check_stop(call, &w, only);
	if (!r)
		agreed = has_majority(call->ct);
	if (!r && !agreed)
		r = only ? stop_here(call, &w) :
			   call_fail(call, -EAGAIN, "group %s: no majority answers, nothing can be agreed "
				     "on; see dagctl status", w.gs.name);
	if (!r && agreed && !only)
		r = give_away(call, &w, force);
	if (!r && agreed) {
		r = en->ops->txn_group(en, edit_stop, &w, why, sizeof(why));
		if (r)
			call_fail(call, r, "group stop: %s", why[0] ? why : strerror(-r));
	}
	if (!r && agreed) {
		leave_sets(call, &w);
		votes = !await_votes(call, &w);
	}
	if (!r) {
		*ret = json_object_new_object();
		json_object_object_add(*ret, "stopped", names_of(&w));
		json_object_object_add(*ret, "agreed", json_object_new_boolean(agreed));
		json_object_object_add(*ret, "still_vote", json_object_new_boolean(votes));
		history_add(call->ct->history, "group-stop", "", json_object_get(*ret), "stopped: %s%s%s",
			    w.name, w.site[0] ? "site " : "", w.site);
	}
	group_state_free(&w.gs);
	return r;
}

/* ---- start ------------------------------------------------------------------ */

static int edit_start(struct group_state *gs, void *ctx)
{
	const struct whom *w = ctx;

	for (uint32_t i = 0; i < w->gs.nr_members; i++) {
		struct group_member *mb = group_find_member(gs, w->gs.members[i].name);

		if (w->is[i] && mb)
			mb->stopped = false;
	}
	return 0;
}

static int check_start(struct rpc_call *call, struct whom *w)
{
	for (uint32_t i = 0; i < w->gs.nr_members; i++) {
		const struct group_member *mb = &w->gs.members[i];

		if (!w->is[i])
			continue;
		if (!mb->stopped && w->name[0])
			return call_fail(call, -EALREADY, "member %s: is not stopped", mb->name);
		w->is[i] = mb->stopped;
		if (mb->stopped && !control_reachable(call->ct, mb->name))
			return call_fail(call, -EHOSTUNREACH, "member %s: does not answer; start its dagd "
					 "first", mb->name);
	}
	return 0;
}

/* A person says that the group has not gone on elsewhere (group/dac.h). */
static int confirm(struct rpc_call *call, struct json_object **ret)
{
	struct control *ct = call->ct;
	uint64_t generation;
	bool bit = false;

	if (!ct->manager)
		return call_fail(call, -EOPNOTSUPP, "group start: this group has no activation mode");
	manager_confirm(ct->manager);
	manager_dac(ct->manager, &generation, &bit);
	if (!bit)
		return call_fail(call, -EPERM, "member %s: the group has gone on in a later generation, or "
				 "this member does not know its group yet; see dagctl status",
				 ct->cf->member);
	*ret = json_object_new_object();
	json_object_object_add(*ret, "confirmed", json_object_new_boolean(true));
	history_add(ct->history, "group-start", "", NULL, "activation on %s confirmed by a person",
		    ct->cf->member);
	return 0;
}

int verb_group_start(struct rpc_call *call, struct json_object **ret)
{
	struct engine *en = call->ct->engine;
	int activate = rpc_bool(call->params, "activate", ERR), r;
	char why[ERR_BYTES] = "";
	struct whom w = { .nr = 0 };

	if (activate < 0)
		return -EINVAL;
	if (activate)
		return confirm(call, ret);
	r = find_whom(call, &w);
	if (r)
		return r;
	if (!has_majority(call->ct))
		r = call_fail(call, -EAGAIN, "group %s: no majority answers, nothing can be agreed on; see "
			      "dagctl status, and dagctl group restore --help where it is lost for good",
			      w.gs.name);
	if (!r)
		r = check_start(call, &w);
	if (!r) {
		r = en->ops->txn_group(en, edit_start, &w, why, sizeof(why));
		if (r)
			call_fail(call, r, "group start: %s", why[0] ? why : strerror(-r));
	}
	if (!r) {
		control_wait_applied(call->ct);
		*ret = json_object_new_object();
		json_object_object_add(*ret, "started", names_of(&w));
		history_add(call->ct->history, "group-start", "", json_object_get(*ret), "started: %s%s%s",
			    w.name, w.site[0] ? "site " : "", w.site);
	}
	group_state_free(&w.gs);
	return r;
}
