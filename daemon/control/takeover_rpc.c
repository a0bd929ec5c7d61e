// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/takeover_rpc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/control/clientwatch.h"
#include "daemon/control/control_int.h"
#include "daemon/group/uuid.h"

#define ASK_MS		2000
#define FETCH_MS	TAKEOVER_FETCH_MS
#define ERR		call->err, sizeof(call->err)

struct json_object *candidate_to_obj(const struct candidate *cand)
{
	struct json_object *obj = json_object_new_object();

	json_object_object_add(obj, "whole", json_object_new_boolean(cand->whole));
	json_object_object_add(obj, "unconfirmed", json_object_new_boolean(cand->unconfirmed));
	json_object_object_add(obj, "blocked", json_object_new_boolean(cand->blocked));
	json_object_object_add(obj, "failed", json_object_new_boolean(cand->failed));
	json_object_object_add(obj, "client", json_object_new_int(cand->client));
	json_object_object_add(obj, "status", json_object_new_int(cand->status));
	json_object_object_add(obj, "log_epoch", json_object_new_int64(cand->log_epoch));
	json_object_object_add(obj, "end_lsn", json_object_new_int64(cand->end_lsn));
	json_object_object_add(obj, "copy_queue", json_object_new_int64(cand->copy_queue));
	json_object_object_add(obj, "replay_queue", json_object_new_int64(cand->replay_queue));
	return obj;
}

int candidate_from_obj(struct json_object *obj, struct candidate *ret, char *err, size_t errlen)
{
	uint64_t status, log_epoch, client = CLIENT_NONE;
	int whole, unconfirmed, blocked, failed;

	if (!json_object_is_type(obj, json_type_object)) {
		snprintf(err, errlen, "report: not an object");
		return -EINVAL;
	}
	whole = rpc_bool(obj, "whole", err, errlen);
	unconfirmed = rpc_bool(obj, "unconfirmed", err, errlen);
	blocked = rpc_bool(obj, "blocked", err, errlen);
	failed = rpc_bool(obj, "failed", err, errlen);	/* an older member says nothing: no */
	if (whole < 0 || unconfirmed < 0 || blocked < 0 || failed < 0 ||
	    rpc_u64_opt(obj, "client", CLIENT_UP, &client, err, errlen) ||
	    rpc_u64(obj, "status", CAND_OTHER, &status, err, errlen) ||
	    rpc_u64(obj, "log_epoch", UINT32_MAX, &log_epoch, err, errlen) ||
	    rpc_u64(obj, "end_lsn", INT64_MAX, &ret->end_lsn, err, errlen) ||
	    rpc_u64(obj, "copy_queue", INT64_MAX, &ret->copy_queue, err, errlen) ||
	    rpc_u64(obj, "replay_queue", INT64_MAX, &ret->replay_queue, err, errlen))
		return -EINVAL;
	ret->whole = whole;
	ret->unconfirmed = unconfirmed;
	ret->blocked = blocked;
	ret->failed = failed;
	ret->status = status;
	ret->client = client;
	ret->log_epoch = log_epoch;
	return 0;
}

/* ---- asking ---------------------------------------------------------------- */

static struct json_object *params_of(const struct takeover_action *what)
{
	struct json_object *obj = json_object_new_object();
	char text[UUID_TEXT];

	uuid_format(what->uuid, text);
	json_object_object_add(obj, "uuid", json_object_new_string(text));
	json_object_object_add(obj, "epoch", json_object_new_int64(what->epoch));
	json_object_object_add(obj, "from", json_object_new_string(what->from));
	json_object_object_add(obj, "lsn", json_object_new_int64(what->lsn));
	return obj;
}

static int ask(struct control *ct, const char *method, const struct takeover_action *what,
	       unsigned timeout_ms, rpc_handler here, struct candidate *ret)
{
	struct rpc_request rq = { .id = 1 };
	struct json_object *result = NULL;
	struct rpc_call call = { .ct = ct, .rq = &rq, .peer = ct->cf->member };
	int r;

	call.params = rq.params = params_of(what);
	if (!strcmp(what->member, ct->cf->member))
		r = here(&call, &result);
	else
		r = peer_call(&call, what->member, method, call.params, timeout_ms, &result);
	if (!r)
		r = candidate_from_obj(result, ret, call.err, sizeof(call.err));
	if (r)
		log_warn("member=%s %s: %s", what->member, method,
			 call.err[0] ? call.err : strerror(-r));
	json_object_put(result);
	json_object_put(rq.params);
	return r;
}

int takeover_rpc_seal(struct control *ct, const struct takeover_action *what, struct candidate *ret)
{
	return ask(ct, "copy.seal", what, ASK_MS, verb_copy_seal, ret);
}

int takeover_rpc_fetch(struct control *ct, const struct takeover_action *what, struct candidate *ret)
{
	return ask(ct, "copy.fetch", what, FETCH_MS + ASK_MS, verb_copy_fetch, ret);
}

int takeover_rpc_report(struct control *ct, const struct takeover_action *what, struct candidate *ret)
{
	return ask(ct, "copy.report", what, ASK_MS, verb_copy_report, ret);
}

/* ---- answering --------------------------------------------------------------- */

static int take_params(struct rpc_call *call, uint8_t uuid[16], uint64_t *ret_epoch)
{
	const char *text;

	if (rpc_str(call->params, "uuid", &text, ERR) ||
	    rpc_u64(call->params, "epoch", UINT32_MAX, ret_epoch, ERR))
		return -EINVAL;
	if (uuid_parse_text(text, uuid))
		return call_fail(call, -EINVAL, "uuid: not a uuid");
	return 0;
}

static int client_here(struct rpc_call *call, const uint8_t uuid[16], struct candidate *report)
{
	struct clientwatch *cw;
	struct group_store *st;
	struct group_state gs;
	int r = control_state(call, &gs);

	if (r)
		return r;
	st = group_find_store_uuid(&gs, uuid);
	cw = clientwatch_look(call->ct);
	if (st)
		report->client = clientwatch_state(cw, &gs, st, NULL);
	clientwatch_free(cw);
	group_state_free(&gs);
	return 0;
}

/* What the copy of a store here says of itself, having promised the epoch or not. */
static int answer(struct rpc_call *call, bool seal, struct json_object **ret)
{
	struct candidate report = { .status = CAND_OTHER };
	struct stores *ss;
	uint64_t epoch;
	uint8_t uuid[16];
	int r;

	r = take_params(call, uuid, &epoch);
	if (r)
		return r;
	ss = control_use(call);
	if (!ss)
		return -ENOENT;
	r = seal ? stores_seal(ss, uuid, epoch, &report) : stores_report(ss, uuid, &report);
	control_unuse(call->ct);
	if (!r && !seal)
		r = client_here(call, uuid, &report);
	if (r && seal)
		return call_fail(call, r, "member %s: epoch %llu is not promised: %s",
				 call->ct->cf->member, (unsigned long long)epoch, strerror(-r));
	if (r)
		return call_fail(call, r, "member %s: no report: %s", call->ct->cf->member,
				 strerror(-r));
	*ret = candidate_to_obj(&report);
	return 0;
}

/* From a member that takes over: promise the epoch, say where the log ends. */
int verb_copy_seal(struct rpc_call *call, struct json_object **ret)
{
	return answer(call, true, ret);
}

/* From the active, which looks for somebody to hand over to. */
int verb_copy_report(struct rpc_call *call, struct json_object **ret)
{
	return answer(call, false, ret);
}

/* Fetch from a better copy what this one lacks, up to an LSN. */
int verb_copy_fetch(struct rpc_call *call, struct json_object **ret)
{
	struct candidate report = { .status = CAND_OTHER };
	struct group_member from, *mb;
	struct group_state gs;
	const char *name;
	struct stores *ss;
	uint64_t epoch, lsn;
	uint8_t uuid[16];
	int r;

	r = take_params(call, uuid, &epoch);
	if (r || rpc_str(call->params, "from", &name, ERR) ||
	    rpc_u64(call->params, "lsn", INT64_MAX, &lsn, ERR))
		return -EINVAL;
	r = control_state(call, &gs);
	if (r)
		return r;
	mb = group_find_member(&gs, name);
	if (mb)
		from = *mb;
	group_state_free(&gs);
	if (!mb)
		return call_fail(call, -ENOENT, "member %s: no such member", name);
	ss = control_use(call);
	if (!ss)
		return -ENOENT;
	r = stores_fetch(ss, uuid, &from, lsn, FETCH_MS);
	if (!r)
		r = stores_seal(ss, uuid, epoch, &report);
	control_unuse(call->ct);
	if (r)
		return call_fail(call, r, "member %s: last logs of %s not fetched: %s",
				 call->ct->cf->member, from.name, strerror(-r));
	*ret = candidate_to_obj(&report);
	return 0;
}
