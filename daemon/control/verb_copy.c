// SPDX-License-Identifier: GPL-2.0
/*
 * verb_copy - add, suspend, resume, remove and seed copies.
 *
 * `add` runs on the member that gets the copy: devices are measured and
 * formatted there, then the active member agrees to it (copy.commit). The other
 * verbs run on the active member, which owns the store's part of the state.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/history.h"
#include "daemon/control/verb_store.h"
#include "daemon/group/state_json.h"
#include "daemon/group/uuid.h"

#define ERR		call->err, sizeof(call->err)
#define COMMIT_MS	20000

int copy_take_seed(struct rpc_call *call, struct group_copy *cp)
{
	const char *whole = NULL;
	uint64_t rate = UINT64_MAX;

	if (rpc_str_opt(call->params, "whole", &whole, ERR) ||
	    rpc_u64_opt(call->params, "rate", INT64_MAX, &rate, ERR))
		return -EINVAL;
	if (rate != UINT64_MAX)
		cp->seed_rate = rate ? rate : GROUP_RATE_NONE;
	if (whole && strcmp(whole, "on") && strcmp(whole, "off"))
		return call_fail(call, -EINVAL, "whole: neither on nor off");
	if (whole)
		cp->seed_whole = !strcmp(whole, "on");
	return 0;
}

static int new_copy(struct rpc_call *call, struct group_store *st, struct group_copy *cp)
{
	uint64_t preference = st->nr_copies + 1;
	int r;

	if (rpc_u64_opt(call->params, "preference", 1000, &preference, ERR))
		return -EINVAL;
	if (!preference)
		return call_fail(call, -EINVAL, "preference: begins with 1");
	memset(cp, 0, sizeof(*cp));
	cp->preference = preference;
	r = copy_take_lag(call, cp);
	r = r ? r : copy_take_seed(call, cp);
	r = r ? r : store_copy_paths(call, st->name, cp);
	if (r)
		return r;
	if (group_find_copy(st, cp->member))
		return call_fail(call, -EEXIST, "store %s: has a copy on %s already", st->name,
				 cp->member);
	if (st->nr_copies == GROUP_MEMBERS_MAX)
		return call_fail(call, -ENOSPC, "store %s: has %d copies, the most there can be",
				 st->name, GROUP_MEMBERS_MAX);
	return 0;
}

static int commit_copy(struct rpc_call *call, const struct group_store *st,
		       const struct group_copy *cp)
{
	struct json_object *params = json_object_new_object(), *result = NULL;
	char uuid[UUID_TEXT];
	int r;

	uuid_format(st->uuid, uuid);
	json_object_object_add(params, "store", json_object_new_string(uuid));
	json_object_object_add(params, "copy", group_copy_to_obj(cp));
	r = peer_call(call, st->active, "copy.commit", params, COMMIT_MS, &result);
	json_object_put(params);
	json_object_put(result);
	return r;
}

static int add_here(struct rpc_call *call, const struct group_store *st, struct group_copy *cp,
		    bool force)
{
	struct stores *ss = control_use(call);
	char ignored[ERR_BYTES];
	int r;

	if (!ss)
		return -ENOENT;
	r = stores_prepare_copy(ss, st, cp, force, ERR);
	if (!r) {
		r = commit_copy(call, st, cp);
		if (r)
			stores_forget_copy(ss, st->uuid, ignored, sizeof(ignored));
	}
	control_unuse(call->ct);
	return r;
}

int verb_copy_add(struct rpc_call *call, struct json_object **ret)
{
	struct group_store *st = calloc(1, sizeof(*st));
	int force = rpc_bool(call->params, "force", ERR), r;
	struct group_copy cp;
	uint64_t sectors;

	if (!st)
		return -ENOMEM;
	r = force < 0 ? force : store_snapshot(call, st);
	if (!r)
		r = new_copy(call, st, &cp);
	if (!r)
		r = store_measure(call, &cp, st->region_bytes, st->sectors, force, &sectors);
	if (!r)
		r = add_here(call, st, &cp, force);
	if (!r) {
		log_notice("store=%s device=%s msg=\"copy added\"", st->name, cp.device);
		history_add(call->ct->history, "copy-add", st->name, NULL, "copy added on %s",
			    cp.device);
		*ret = group_copy_to_obj(&cp);
	}
	free(st);
	return r;
}

static int edit_add(struct group_store *st, void *ctx)
{
	const struct group_copy *cp = ctx;

	if (group_find_copy(st, cp->member))
		return -EEXIST;
	if (st->nr_copies == GROUP_MEMBERS_MAX)
		return -ENOSPC;
	st->copies[st->nr_copies++] = *cp;
	return 0;
}

/* From the member that has prepared a copy of its own. */
int verb_copy_commit(struct rpc_call *call, struct json_object **ret)
{
	struct engine *en = call->ct->engine;
	struct group_store *st = calloc(1, sizeof(*st));
	struct json_object *obj;
	struct group_copy cp;
	int r;

	if (!st)
		return -ENOMEM;
	r = store_snapshot(call, st);
	if (!r && !json_object_object_get_ex(call->params, "copy", &obj))
		r = call_fail(call, -EINVAL, "copy: missing");
	if (!r)
		r = group_copy_from_obj(obj, &cp, ERR);
	if (!r && strcmp(cp.member, call->peer))
		r = call_fail(call, -EPERM, "copy: member %s may add its own copies only", call->peer);
	if (!r) {
		cp.in_sync = false;
		r = en->ops->txn_store(en, st->uuid, st->epoch, edit_add, &cp, ERR);
	}
	if (!r) {
		log_notice("store=%s member=%s msg=\"copy added\"", st->name, cp.member);
		*ret = json_object_new_object();
	}
	free(st);
	return r;
}

/* The former owner of a removed copy cleans up. */
int verb_copy_forget(struct rpc_call *call, struct json_object **ret)
{
	struct group_store *st;
	struct group_state gs;
	struct stores *ss;
	const char *text;
	uint8_t uuid[16];
	int r;

	if (rpc_str(call->params, "uuid", &text, ERR))
		return -EINVAL;
	if (uuid_parse_text(text, uuid))
		return call_fail(call, -EINVAL, "uuid: not a uuid");
	r = control_state(call, &gs);
	if (r)
		return r;
	st = group_find_store_uuid(&gs, uuid);
	if (st && !st->removed && group_find_copy(st, call->ct->cf->member))
		r = call_fail(call, -EBUSY, "store %s: the copy on %s is still agreed", st->name,
			      call->ct->cf->member);
	group_state_free(&gs);
	if (r)
		return r;
	control_wait_applied(call->ct);
	ss = control_use(call);
	if (!ss)
		return -ENOENT;
	r = stores_forget_copy(ss, uuid, ERR);
	control_unuse(call->ct);
	if (!r)
		*ret = json_object_new_object();
	return r;
}

/* ---- changes of one copy, on the active --------------------------------- */

struct copy_edit {
	const char *member;
	const char *comment;
	bool activation_only, replication_only;
	struct rpc_call *call;
};

static int edit_suspend(struct group_store *st, void *ctx)
{
	const struct copy_edit *ce = ctx;
	struct group_copy *cp = group_find_copy(st, ce->member);

	if (!cp)
		return -ENOENT;
	cp->activation_blocked = true;
	if (!ce->activation_only) {
		cp->suspended = true;
		cp->in_sync = false;	/* no commit waits for it any more */
	}
	snprintf(cp->comment, sizeof(cp->comment), "%s", ce->comment);
	return 0;
}

static int edit_resume(struct group_store *st, void *ctx)
{
	const struct copy_edit *ce = ctx;
	struct group_copy *cp = group_find_copy(st, ce->member);

	if (!cp)
		return -ENOENT;
	cp->suspended = false;
	if (!ce->replication_only) {
		cp->activation_blocked = false;
		cp->comment[0] = '\0';
	}
	return 0;
}

static int edit_drop(struct group_store *st, void *ctx)
{
	const struct copy_edit *ce = ctx;
	struct group_copy *cp = group_find_copy(st, ce->member);
	size_t after;

	if (!cp)
		return -ENOENT;
	after = st->nr_copies - (cp - st->copies) - 1;
	memmove(cp, cp + 1, after * sizeof(*cp));
	st->nr_copies--;
	memset(&st->copies[st->nr_copies], 0, sizeof(*cp));
	return 0;
}

static int edit_seed(struct group_store *st, void *ctx)
{
	const struct copy_edit *ce = ctx;
	struct group_copy *cp = group_find_copy(st, ce->member);

	if (!cp)
		return -ENOENT;
	cp->seed_request++;
	cp->seed_rate = 0;
	cp->in_sync = false;
	return copy_take_seed(ce->call, cp);
}

static int take_edit(struct rpc_call *call, struct copy_edit *ce)
{
	int ao = rpc_bool(call->params, "activation_only", ERR);
	int ro = rpc_bool(call->params, "replication_only", ERR);
	struct group_copy trial = { .seed_rate = 0 };

	ce->comment = "";
	if (ao < 0 || ro < 0 || rpc_str(call->params, "member", &ce->member, ERR) ||
	    rpc_str_opt(call->params, "comment", &ce->comment, ERR))
		return -EINVAL;
	/* before the group is asked: what is wrong here has its own words */
	if (copy_take_seed(call, &trial))
		return -EINVAL;
	ce->call = call;
	ce->activation_only = ao;
	ce->replication_only = ro;
	if (strlen(ce->comment) > GROUP_COMMENT_MAX)
		return call_fail(call, -EINVAL, "comment: longer than %d characters",
				 GROUP_COMMENT_MAX);
	return 0;
}

static void record(struct rpc_call *call, const char *store, const char *kind,
		   const struct copy_edit *ce)
{
	struct json_object *fields = json_object_new_object();

	log_notice("store=%s member=%s msg=%s comment=\"%s\"", store, ce->member, kind, ce->comment);
	json_object_object_add(fields, "of", json_object_new_string(ce->member));
	if (ce->comment[0])
		json_object_object_add(fields, "comment", json_object_new_string(ce->comment));
	history_add(call->ct->history, kind, store, fields, "copy on %s", ce->member);
}

/* One edit of a passive copy; *ret_st, if wanted, gets the store before it. */
static int change_copy(struct rpc_call *call, int (*edit)(struct group_store *st, void *ctx),
		       const char *kind, struct group_store *ret_st)
{
	struct engine *en = call->ct->engine;
	struct copy_edit ce;
	int r;

	r = take_edit(call, &ce);
	if (!r)
		r = store_snapshot(call, ret_st);
	if (r)
		return r;
	if (!group_find_copy(ret_st, ce.member))
		return call_fail(call, -ENOENT, "store %s: has no copy on %s; see dagctl copy status %s",
				 ret_st->name, ce.member, ret_st->name);
	if (!strcmp(ce.member, ret_st->active))
		return call_fail(call, -EBUSY, "store %s: the copy on %s is the active one; move the "
				 "store first", ret_st->name, ce.member);
	r = en->ops->txn_store(en, ret_st->uuid, ret_st->epoch, edit, &ce, ERR);
	if (!r)
		record(call, ret_st->name, kind, &ce);
	return r;
}

static int simple_change(struct rpc_call *call, int (*edit)(struct group_store *st, void *ctx),
			 const char *kind, struct json_object **ret)
{
	struct group_store *st = calloc(1, sizeof(*st));
	int r;

	if (!st)
		return -ENOMEM;
	r = change_copy(call, edit, kind, st);
	if (!r) {
		control_wait_applied(call->ct);
		*ret = json_object_new_object();
	}
	free(st);
	return r;
}

int verb_copy_suspend(struct rpc_call *call, struct json_object **ret)
{
	return simple_change(call, edit_suspend, "copy-suspend", ret);
}

/*
 * A copy that gave up by itself (FailedAndSuspended) is not suspended in the agreed
 * state: its member is told. One that does not answer keeps what it has decided.
 */
static void tell_retry(struct rpc_call *call, const struct group_store *st)
{
	struct json_object *params, *result = NULL;
	const char *member = "";
	char uuid[UUID_TEXT];
	struct stores *ss;

	rpc_str(call->params, "member", &member, ERR);
	if (!strcmp(member, call->ct->cf->member)) {
		ss = control_use(call);
		if (ss) {
			stores_retry_copy(ss, st->uuid);
			control_unuse(call->ct);
		}
		return;
	}
	if (!control_reachable(call->ct, member))
		return;
	params = json_object_new_object();
	uuid_format(st->uuid, uuid);
	json_object_object_add(params, "uuid", json_object_new_string(uuid));
	if (peer_call(call, member, "copy.retry", params, COMMIT_MS, &result))
		call_progress(call, "member %s was not told to try again: %s", member, call->err);
	call->err[0] = '\0';
	json_object_put(params);
	json_object_put(result);
}

int verb_copy_resume(struct rpc_call *call, struct json_object **ret)
{
	struct group_store *st = calloc(1, sizeof(*st));
	int r;

	if (!st)
		return -ENOMEM;
	r = change_copy(call, edit_resume, "copy-resume", st);
	if (!r) {
		control_wait_applied(call->ct);
		tell_retry(call, st);
		*ret = json_object_new_object();
	}
	free(st);
	return r;
}

int verb_copy_retry(struct rpc_call *call, struct json_object **ret)
{
	struct stores *ss;
	const char *text;
	uint8_t uuid[16];
	int r;

	if (rpc_str(call->params, "uuid", &text, ERR))
		return -EINVAL;
	if (uuid_parse_text(text, uuid))
		return call_fail(call, -EINVAL, "uuid: not a uuid");
	ss = control_use(call);
	if (!ss)
		return -ENOENT;
	r = stores_retry_copy(ss, uuid);
	control_unuse(call->ct);
	if (!r)
		*ret = json_object_new_object();
	return r;
}

int verb_copy_seed(struct rpc_call *call, struct json_object **ret)
{
	return simple_change(call, edit_seed, "copy-seed", ret);
}

int verb_copy_remove(struct rpc_call *call, struct json_object **ret)
{
	struct group_store *st = calloc(1, sizeof(*st));
	const char *member;
	int r, clean;

	if (!st)
		return -ENOMEM;
	r = change_copy(call, edit_drop, "copy-remove", st);
	if (!r) {
		control_wait_applied(call->ct);
		rpc_str(call->params, "member", &member, ERR);
		clean = store_forget_on(call, member, st->uuid);
		if (clean)
			call_progress(call, "copy on %s not cleaned up: %s", member, call->err);
		call->err[0] = '\0';
		*ret = json_object_new_object();
		json_object_object_add(*ret, "cleaned_up", json_object_new_boolean(!clean));
	}
	free(st);
	return r;
}
