// SPDX-License-Identifier: GPL-2.0
/*
 * verb_restore - group restore: the majority is lost for good, the members that are
 * left go on in a new generation (semantics 10, group/restore.h).
 *
 * What makes it safe:
 *  - it is refused while a majority answers, while a member that is not called lost is
 *    silent, and while one that is called lost answers;
 *  - a whole lease passes before anything is done, and all of that is looked at again:
 *    nobody here can hold one, and who is lost has had no majority with us since;
 *  - a person has seen what may be lost and typed the group's name;
 *  - who comes back has the former generation: it learns of the later one and keeps
 *    its gates shut, or, out of reach, is held back by the activation mode.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/control_int.h"
#include "daemon/control/history.h"
#include "daemon/control/manager.h"
#include "daemon/control/stopmarks.h"
#include "daemon/control/takeover_rpc.h"
#include "daemon/group/lease.h"
#include "daemon/group/restore.h"
#include "daemon/group/state_json.h"

#define ERR		call->err, sizeof(call->err)
#define CONFIRM_MS	3000
#define SURVEY_MS	5000
#define FOLLOW_MS	30000
#define LOOK_MS		250

struct plan {
	struct group_state gs;		/* newest that anybody left knows; then the next one */
	bool lost[GROUP_MEMBERS_MAX];
	bool witness_lost;
	struct restore_store *chosen;	/* by index of gs.stores */
};

/* ---- what the members know ---------------------------------------------------- */

int verb_group_survey(struct rpc_call *call, struct json_object **ret)
{
	struct engine_health h = { .kind = "" };
	struct group_state gs;
	int r;

	r = control_state(call, &gs);
	if (r)
		return r;
	if (call->ct->engine->ops->health)
		call->ct->engine->ops->health(call->ct->engine, &h);
	*ret = json_object_new_object();
	json_object_object_add(*ret, "revision", json_object_new_int64(h.revision));
	json_object_object_add(*ret, "generation", json_object_new_int64(gs.generation));
	json_object_object_add(*ret, "state", group_state_to_obj(&gs));
	group_state_free(&gs);
	return 0;
}

static int survey(struct rpc_call *call, const char *member, struct json_object **ret,
		  uint64_t *ret_revision, uint64_t *ret_generation)
{
	int r;

	r = peer_call(call, member, "group.survey", NULL, SURVEY_MS, ret);
	if (!r)
		r = rpc_u64(*ret, "revision", INT64_MAX, ret_revision, ERR);
	if (!r)
		r = rpc_u64(*ret, "generation", INT64_MAX, ret_generation, ERR);
	return r;
}

/* The newest state of those that are left: each follows the same log of the engine. */
static int take_newest(struct rpc_call *call, struct plan *p)
{
	struct engine_health h = { .kind = "" };
	char names[GROUP_MEMBERS_MAX][64];
	uint64_t newest, revision, generation;
	unsigned nr = 0;
	int r = 0;

	call->ct->engine->ops->health(call->ct->engine, &h);
	newest = h.revision;
	for (uint32_t i = 0; i < p->gs.nr_members; i++)
		if (!p->lost[i] && strcmp(p->gs.members[i].name, call->ct->cf->member))
			memcpy(names[nr++], p->gs.members[i].name, sizeof(names[0]));
	for (unsigned i = 0; i < nr && !r; i++) {
		struct json_object *obj = NULL, *state;

		r = survey(call, names[i], &obj, &revision, &generation);
		if (!r && generation != p->gs.generation)
			r = call_fail(call, -ESTALE, "member %s: is in generation %llu, this one in %llu; run "
				      "it there, or wait until both are in one", names[i],
				      (unsigned long long)generation,
				      (unsigned long long)p->gs.generation);
		if (!r && revision > newest && json_object_object_get_ex(obj, "state", &state)) {
			struct group_state gs;

			r = group_state_init(&gs);
			if (!r)
				r = group_state_from_obj(state, &gs, ERR);
			/* the same members, or what is lost would have to be said anew */
			if (!r && (gs.nr_members != p->gs.nr_members || strcmp(gs.uuid, p->gs.uuid)))
				r = call_fail(call, -ESTALE, "member %s: knows of other members; run it there",
					      names[i]);
			if (!r)
				r = group_state_copy(&p->gs, &gs);
			newest = r ? newest : revision;
			group_state_free(&gs);
		}
		json_object_put(obj);
	}
	return r;
}

static void report_of(struct rpc_call *call, const struct group_store *st, unsigned k,
		      struct candidate *ret)
{
	struct takeover_action what = { .epoch = st->epoch };

	memset(ret, 0, sizeof(*ret));
	memcpy(what.uuid, st->uuid, 16);
	snprintf(what.member, sizeof(what.member), "%s", st->copies[k].member);
	ret->reachable = !takeover_rpc_report(call->ct, &what, ret);
}

static void choose_all(struct rpc_call *call, struct plan *p)
{
	for (uint32_t i = 0; i < p->gs.nr_stores; i++) {
		const struct group_store *st = &p->gs.stores[i];
		struct candidate reports[GROUP_MEMBERS_MAX];

		if (st->removed)
			continue;
		for (uint32_t k = 0; k < st->nr_copies; k++) {
			struct group_member *mb = group_find_member(&p->gs, st->copies[k].member);

			memset(&reports[k], 0, sizeof(reports[k]));
			if (mb && !p->lost[mb - p->gs.members] && strcmp(mb->name, st->active))
				report_of(call, st, k, &reports[k]);
		}
		restore_choose(&p->gs, st, p->lost, reports, &p->chosen[i]);
	}
}

/* ---- may it be? ---------------------------------------------------------------- */

static int check_majority(struct rpc_call *call, const struct group_state *gs)
{
	struct engine *en = call->ct->engine;

	if (strcmp(gs->engine, "etcd") || !en->ops->restore || !en->ops->confirm)
		return call_fail(call, -EOPNOTSUPP, "group %s: its engine is a file, there is no majority to "
				 "lose", gs->name);
	if (gs->engine_url[0])
		return call_fail(call, -EOPNOTSUPP, "group %s: its etcd (%.200s) is not dagd's own; restore "
				 "that by its own means", gs->name, gs->engine_url);
	if (!en->ops->confirm(en, CONFIRM_MS))
		return call_fail(call, -EBUSY, "group %s: a majority answers, there is nothing to restore; "
				 "use dagctl group stop, or member remove --configuration-only", gs->name);
	return 0;
}

static int check_members(struct rpc_call *call, struct plan *p)
{
	unsigned lost = 0;

	for (uint32_t i = 0; i < p->gs.nr_members; i++) {
		const char *name = p->gs.members[i].name;
		bool there = control_reachable(call->ct, name);

		lost += p->lost[i];
		if (p->lost[i] && !strcmp(name, call->ct->cf->member))
			return call_fail(call, -EPERM, "member %s: is stopped; run it on one that is not", name);
		if (p->lost[i] && there)
			return call_fail(call, -EBUSY, "member %s: is called stopped, and answers; stop its "
					 "dagd and cut it off first: it may be serving", name);
		if (!p->lost[i] && !there)
			return call_fail(call, -EHOSTUNREACH, "member %s: does not answer, and is not called "
					 "stopped; if it is lost: dagctl group stop %s --configuration-only",
					 name, name);
	}
	p->witness_lost = p->gs.witness.name[0] && !control_reachable(call->ct, p->gs.witness.name);
	if (!lost && !p->witness_lost)
		return call_fail(call, -EBUSY, "group %s: nobody is lost; wait until the engine has its "
				 "majority again, see dagctl status", p->gs.name);
	return 0;
}

/* The lease of whoever had one, by what anybody here may know of it. */
static int wait_leases(struct rpc_call *call, struct plan *p)
{
	uint64_t now = peer_now_ns(), end = lease_claim_ns(&p->gs.profile, now);
	int r = 0;

	call_progress(call, "waits %llu ms, for every lease to end",
		      (unsigned long long)(end - now) / 1000000);
	while (!r && peer_now_ns() < end) {
		if (control_sleep(call->ct, 50))
			return -ESHUTDOWN;
		r = check_members(call, p);
	}
	return r ? r : check_majority(call, &p->gs);
}

/* ---- what it will be ------------------------------------------------------------- */

static struct json_object *members_list(const struct plan *p, bool lost)
{
	struct json_object *list = json_object_new_array();

	for (uint32_t i = 0; i < p->gs.nr_members; i++)
		if (p->lost[i] == lost)
			json_object_array_add(list, json_object_new_string(p->gs.members[i].name));
	return list;
}

static struct json_object *plan_obj(const struct plan *p)
{
	struct json_object *obj = json_object_new_object(), *stores = json_object_new_array();
	const struct group_state *gs = &p->gs;

	json_object_object_add(obj, "group", json_object_new_string(gs->name));
	json_object_object_add(obj, "generation", json_object_new_int64(gs->generation + 1));
	json_object_object_add(obj, "left", members_list(p, false));
	json_object_object_add(obj, "lost", members_list(p, true));
	json_object_object_add(obj, "witness", json_object_new_string(
			       p->witness_lost ? gs->alternate.name : gs->witness.name));
	json_object_object_add(obj, "witness_lost", json_object_new_boolean(p->witness_lost));
	for (uint32_t i = 0; i < gs->nr_stores; i++) {
		const struct group_store *st = &gs->stores[i];
		const struct restore_store *rs = &p->chosen[i];
		struct json_object *o;

		if (st->removed)
			continue;
		o = json_object_new_object();
		json_object_object_add(o, "store", json_object_new_string(st->name));
		json_object_object_add(o, "from", json_object_new_string(st->active));
		json_object_object_add(o, "to", json_object_new_string(
				       rs->copy < 0 ? "" : st->copies[rs->copy].member));
		json_object_object_add(o, "epoch", json_object_new_int64(st->epoch));
		json_object_object_add(o, "end_lsn", json_object_new_int64(rs->end_lsn));
		json_object_object_add(o, "complete", json_object_new_boolean(rs->complete));
		json_object_object_add(o, "why", json_object_new_string(rs->why));
		json_object_array_add(stores, o);
	}
	json_object_object_add(obj, "stores", stores);
	return obj;
}

static int make_plan(struct rpc_call *call, struct plan *p)
{
	int r = control_state(call, &p->gs);

	if (r)
		return r;
	p->chosen = calloc(GROUP_STORES_MAX, sizeof(*p->chosen));
	if (!p->chosen)
		return -ENOMEM;
	r = check_majority(call, &p->gs);
	if (r)
		return r;
	for (uint32_t i = 0; i < p->gs.nr_members; i++)
		p->lost[i] = p->gs.members[i].stopped;
	stopmarks_load(call->ct->cf->state_dir, &p->gs, p->lost);
	r = check_members(call, p);
	if (!r)
		r = take_newest(call, p);
	if (!r)
		choose_all(call, p);
	return r;
}

/* ---- and is ------------------------------------------------------------------------ */

/* Until everybody who is left is in the new generation. */
static bool await_followers(struct rpc_call *call, struct plan *p)
{
	for (uint32_t i = 0; i < p->gs.nr_members; i++) {
		const char *name = p->gs.members[i].name;
		uint64_t revision, generation = 0;
		unsigned ms;

		if (p->lost[i] || !strcmp(name, call->ct->cf->member))
			continue;
		for (ms = 0; ms < FOLLOW_MS; ms += LOOK_MS) {
			struct json_object *obj = NULL;

			if (!peer_exchange(call, name, SURVEY_MS) &&
			    !survey(call, name, &obj, &revision, &generation) &&
			    generation >= p->gs.generation)
				ms = FOLLOW_MS;
			json_object_put(obj);
			if (ms < FOLLOW_MS && control_sleep(call->ct, LOOK_MS))
				return false;
		}
		if (generation < p->gs.generation)
			return false;
		call_progress(call, "member %s: is in generation %llu", name,
			      (unsigned long long)generation);
	}
	return true;
}

static int carry_out(struct rpc_call *call, struct plan *p)
{
	struct engine *en = call->ct->engine;
	char why[ERR_BYTES] = "";
	int r;

	r = restore_state(&p->gs, call->ct->cf->member, p->lost, p->witness_lost, p->chosen);
	if (r)
		return call_fail(call, r, "group restore: this member is not one of those that are left");
	call_progress(call, "begins the engine of generation %llu",
		      (unsigned long long)p->gs.generation);
	r = en->ops->restore(en, &p->gs, why, sizeof(why));
	if (r)
		return call_fail(call, r, "group restore: not done: %s; run it again", why[0] ? why :
				 strerror(-r));
	control_changed(call->ct);
	control_wait_applied(call->ct);
	/* the person has said so */
	if (call->ct->manager)
		manager_confirm(call->ct->manager);
	stopmarks_clear(call->ct->cf->state_dir);
	return 0;
}

int verb_group_restore(struct rpc_call *call, struct json_object **ret)
{
	struct plan p = { .witness_lost = false };
	int dry = rpc_bool(call->params, "dry_run", ERR), r;
	struct json_object *obj = NULL;
	const char *confirm = "";

	if (dry < 0 || rpc_str_opt(call->params, "confirm", &confirm, ERR))
		return -EINVAL;
	r = make_plan(call, &p);
	if (!r)
		obj = plan_obj(&p);
	if (!r && !dry && strcmp(confirm, p.gs.name))
		r = call_fail(call, -EPERM, "group restore: to be confirmed by the group's name, %s",
			      p.gs.name);
	if (!r && !dry)
		r = wait_leases(call, &p);
	/* what was received meanwhile counts */
	if (!r && !dry)
		choose_all(call, &p);
	if (!r && !dry) {
		json_object_put(obj);
		obj = plan_obj(&p);
		r = carry_out(call, &p);
		history_add(call->ct->history, "group-restore", "", json_object_get(obj), "%s%s",
			    r ? "failed: " : "the group goes on in a later generation", r ? call->err : "");
	}
	if (!r && !dry)
		json_object_object_add(obj, "all_follow", json_object_new_boolean(
				       await_followers(call, &p)));
	if (!r)
		*ret = obj;
	else
		json_object_put(obj);
	if (!r)
		call->err[0] = '\0';
	if (p.gs.stores)
		group_state_free(&p.gs);
	free(p.chosen);
	return r;
}
