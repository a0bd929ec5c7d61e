// SPDX-License-Identifier: GPL-2.0
/*
 * verb_lag - the lags of a copy: set with the copy or later, turned off and on, and
 * left out for a while because somebody waits for the copy's replay. `copy set` also
 * changes the rate of the seed that runs, or of the next.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/history.h"
#include "daemon/control/verb_store.h"
#include "daemon/group/state_json.h"
#include "daemon/group/uuid.h"
#include "daemon/replay/lag.h"

#define ERR	call->err, sizeof(call->err)

int copy_take_lag(struct rpc_call *call, struct group_copy *cp)
{
	const char *word = NULL;

	if (rpc_u64_opt(call->params, "replay_lag_ms", LAG_MS_MAX, &cp->replay_lag_ms, ERR) ||
	    rpc_u64_opt(call->params, "truncation_lag_ms", LAG_MS_MAX, &cp->truncation_lag_ms, ERR) ||
	    rpc_str_opt(call->params, "lag", &word, ERR))
		return call_fail(call, -EINVAL, "lag: %.200s; a lag is 0 to 14d", call->err);
	if (word && strcmp(word, "on") && strcmp(word, "off"))
		return call_fail(call, -EINVAL, "lag: neither on nor off");
	if (word)
		cp->lag_off = !strcmp(word, "off");
	return 0;
}

struct lag_edit {
	struct rpc_call *call;
	const char *member;
};

static int take(struct rpc_call *call, const struct group_store *st, struct group_copy *cp)
{
	uint64_t before = cp->seed_rate;
	int r = copy_take_lag(call, cp);

	r = r ? r : copy_take_seed(call, cp);
	if (!r && cp->seed_rate != before && !strcmp(cp->member, st->active))
		return call_fail(call, -EINVAL, "rate: the copy on %s is the active one; see dagctl store "
				 "set %s --seed-rate", cp->member, st->name);
	return r;
}

static int edit_lag(struct group_store *st, void *ctx)
{
	const struct lag_edit *le = ctx;
	struct group_copy *cp = group_find_copy(st, le->member);

	return cp ? take(le->call, st, cp) : -ENOENT;
}

static void record(struct rpc_call *call, const char *store, const struct group_copy *cp)
{
	struct json_object *fields = json_object_new_object();

	log_notice("store=%s member=%s replay_lag_ms=%llu truncation_lag_ms=%llu lag=%s msg=copy-set",
		   store, cp->member, (unsigned long long)cp->replay_lag_ms,
		   (unsigned long long)cp->truncation_lag_ms, cp->lag_off ? "off" : "on");
	json_object_object_add(fields, "of", json_object_new_string(cp->member));
	json_object_object_add(fields, "replay_lag_ms", json_object_new_int64(cp->replay_lag_ms));
	json_object_object_add(fields, "truncation_lag_ms",
			       json_object_new_int64(cp->truncation_lag_ms));
	json_object_object_add(fields, "lag", json_object_new_string(cp->lag_off ? "off" : "on"));
	history_add(call->ct->history, "copy-set", store, fields, "copy on %s: replay lag %llu s, "
		    "truncation lag %llu s, lag %s", cp->member,
		    (unsigned long long)cp->replay_lag_ms / 1000,
		    (unsigned long long)cp->truncation_lag_ms / 1000, cp->lag_off ? "off" : "on");
}

static int set_lag(struct rpc_call *call, struct group_store *st, struct json_object **ret)
{
	struct engine *en = call->ct->engine;
	struct lag_edit le = { .call = call };
	struct group_copy *cp, trial;
	int r;

	if (rpc_str(call->params, "member", &le.member, ERR))
		return -EINVAL;
	r = store_snapshot(call, st);
	if (r)
		return r;
	cp = group_find_copy(st, le.member);
	if (!cp)
		return call_fail(call, -ENOENT, "store %s: has no copy on %s; see dagctl copy status %s",
				 st->name, le.member, st->name);
	/* before the group is asked: what is wrong here has its own words */
	trial = *cp;
	r = take(call, st, &trial);
	if (r)
		return r;
	r = en->ops->txn_store(en, st->uuid, st->epoch, edit_lag, &le, ERR);
	if (r)
		return r;
	record(call, st->name, &trial);
	control_wait_applied(call->ct);
	*ret = group_copy_to_obj(&trial);
	return 0;
}

int verb_copy_set(struct rpc_call *call, struct json_object **ret)
{
	struct group_store *st = calloc(1, sizeof(*st));
	int r;

	if (!st)
		return -ENOMEM;
	r = set_lag(call, st, ret);
	free(st);
	return r;
}

/* From the active member, before a planned move to the copy here. */
int verb_copy_catch_up(struct rpc_call *call, struct json_object **ret)
{
	struct stores *ss;
	const char *text;
	uint8_t uuid[16];
	uint64_t ms;
	int r;

	if (rpc_str(call->params, "uuid", &text, ERR) ||
	    rpc_u64(call->params, "ms", 4 * 86400000ull, &ms, ERR))
		return -EINVAL;
	if (uuid_parse_text(text, uuid))
		return call_fail(call, -EINVAL, "uuid: not a uuid");
	ss = control_use(call);
	if (!ss)
		return -ENOENT;
	r = stores_catch_up(ss, uuid, ms);
	control_unuse(call->ct);
	if (r)
		return call_fail(call, r, "member %s: has no passive copy of the store",
				 call->ct->cf->member);
	*ret = json_object_new_object();
	return 0;
}
