// SPDX-License-Identifier: GPL-2.0
/*
 * dispatch - from a line of the protocol to the handler, here or on the member
 * that can do it.
 *
 * Any member answers for the group: what changes the group is done here where a quorum
 * agrees, else by the founder; what needs the group's authority goes to one that holds
 * it, what changes a store to its active member, what concerns a copy's host to that
 * host. A request is passed on twice at most; more means that the members do not
 * yet agree on who that is.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/authority.h"
#include "daemon/control/control_int.h"
#include "daemon/group/uuid.h"

#define HOPS_MAX		2
#define FORWARD_TIMEOUT_MS	30000
#define FORWARD_EXTRA_MS	60000	/* beyond the request's own timeout_ms */
#define FORWARD_LONG_MS		3600000

enum where {
	W_HERE, W_ACTIVE, W_MEMBER,
	W_GROUP,	/* here where a quorum agrees, else the founder */
	W_AUTHORITY,	/* here, or who holds the authority; the founder without a quorum */
	W_STORE,	/* its active member; here, if that is silent and a quorum agrees */
};

#define M_READ		0x1	/* allowed on the read-only socket */
#define M_PEER		0x2	/* only from members */
#define M_LOCAL		0x4	/* only from the UNIX socket */
#define M_LONG		0x8	/* runs programs: an hour of their own */

static const struct method {
	const char *name;
	enum where where;
	unsigned flags;
	rpc_handler handler;
} methods[] = {
	{ "group.create", W_HERE, M_LOCAL, verb_group_create },
	{ "group.join", W_HERE, M_LOCAL, verb_group_join },
	{ "group.set", W_GROUP, 0, verb_group_set },
	{ "group.show", W_HERE, M_READ, verb_group_show },
	{ "witness.set", W_AUTHORITY, 0, verb_witness_set },
	{ "witness.show", W_HERE, M_READ, verb_witness_show },
	{ "witness.remove", W_AUTHORITY, 0, verb_witness_remove },
	{ "member.add", W_AUTHORITY, 0, verb_member_add },
	{ "member.list", W_HERE, M_READ, verb_member_list },
	{ "member.remove", W_AUTHORITY, 0, verb_member_remove },
	{ "member.set", W_GROUP, 0, verb_member_set },
	{ "member.maintenance", W_HERE, 0, verb_member_maintenance },
	{ "group.stop", W_HERE, M_LONG, verb_group_stop },
	{ "group.start", W_HERE, 0, verb_group_start },
	{ "group.restore", W_HERE, M_LOCAL | M_LONG, verb_group_restore },
	{ "group.survey", W_HERE, M_PEER, verb_group_survey },
	{ "group.redistribute", W_HERE, 0, verb_group_redistribute },
	{ "events.local", W_HERE, M_READ, verb_events_local },
	{ "events.list", W_HERE, M_READ, verb_events_list },
	{ "events.follow", W_HERE, M_READ | M_LOCAL, verb_events_follow },
	{ "store.create", W_MEMBER, 0, verb_store_create },
	{ "store.list", W_HERE, M_READ, verb_store_list },
	{ "store.show", W_HERE, M_READ, verb_store_show },
	{ "store.set", W_STORE, 0, verb_store_set },
	{ "store.move", W_ACTIVE, M_LONG, verb_store_move },
	{ "store.mount", W_ACTIVE, M_LONG, verb_store_mount },
	{ "store.dismount", W_ACTIVE, M_LONG, verb_store_dismount },
	{ "store.remove", W_ACTIVE, 0, verb_store_remove },
	{ "store.mark", W_ACTIVE, 0, verb_store_mark },
	{ "store.wait_active", W_HERE, M_PEER, verb_store_wait_active },
	{ "copy.add", W_MEMBER, 0, verb_copy_add },
	{ "copy.commit", W_ACTIVE, M_PEER, verb_copy_commit },
	{ "copy.forget", W_HERE, M_PEER, verb_copy_forget },
	{ "copy.suspend", W_STORE, 0, verb_copy_suspend },
	{ "copy.resume", W_STORE, 0, verb_copy_resume },
	{ "copy.retry", W_HERE, M_PEER, verb_copy_retry },
	{ "copy.catch_up", W_HERE, M_PEER, verb_copy_catch_up },
	{ "point.hold", W_HERE, M_PEER, verb_point_hold },
	{ "point.keep", W_HERE, M_PEER, verb_point_keep },
	{ "point.release", W_HERE, M_PEER, verb_point_release },
	{ "copy.set", W_STORE, 0, verb_copy_set },
	{ "copy.remove", W_ACTIVE, 0, verb_copy_remove },
	{ "copy.seed", W_STORE, 0, verb_copy_seed },
	{ "copy.open", W_HERE, M_LOCAL | M_LONG, verb_copy_open },
	{ "copy.close", W_HERE, M_LOCAL, verb_copy_close },
	{ "copy.local", W_HERE, M_READ, verb_copy_local },
	{ "copy.status", W_HERE, M_READ, verb_copy_status },
	{ "copy.seal", W_HERE, M_PEER, verb_copy_seal },
	{ "copy.report", W_HERE, M_PEER, verb_copy_report },
	{ "copy.fetch", W_HERE, M_PEER, verb_copy_fetch },
	{ "branch.local", W_HERE, M_READ, verb_branch_local },
	{ "branch.list", W_HERE, M_READ, verb_branch_list },
	{ "branch.drop", W_MEMBER, 0, verb_branch_drop },
	{ "metrics", W_HERE, M_READ, verb_metrics },
	{ "health.test", W_HERE, M_READ, verb_health_test },
	{ "health.local", W_HERE, M_READ, verb_health_local },
	{ "network.list", W_HERE, M_READ, verb_network_list },
	{ "network.set", W_GROUP, 0, verb_network_set },
	{ "network.rediscover", W_HERE, 0, verb_network_rediscover },
	{ "network.rescan", W_HERE, M_PEER, verb_network_rescan },
	{ "network.status", W_MEMBER, M_READ, verb_network_status },
	{ "status", W_HERE, M_READ, verb_status },
	{ "peer.heartbeat", W_HERE, M_PEER, verb_peer_heartbeat },
	{ "peer.state", W_HERE, M_PEER, verb_peer_state },
	{ "peer.authority", W_HERE, M_PEER, verb_peer_authority },
};

int call_fail(struct rpc_call *call, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(call->err, sizeof(call->err), fmt, ap);
	va_end(ap);
	return code;
}

int call_progress(struct rpc_call *call, const char *fmt, ...)
{
	struct json_object *obj;
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	obj = json_object_new_object();
	json_object_object_add(obj, "text", json_object_new_string(text));
	return call_progress_obj(call, obj);
}

int call_progress_obj(struct rpc_call *call, struct json_object *obj)
{
	char *line = call->send ? rpc_progress_line(obj, call->rq->id) : NULL;
	int r = call->send && !line ? -ENOMEM : 0;

	json_object_put(obj);
	if (line)
		r = call->send(call->out, line);
	free(line);
	return r;
}

struct group_store *call_store(struct rpc_call *call, struct group_state *gs)
{
	struct group_store *st = NULL;
	const char *name;
	uint8_t uuid[16];

	if (rpc_str(call->params, "store", &name, call->err, sizeof(call->err)))
		return NULL;
	st = group_find_store(gs, name);
	if (!st && !uuid_parse_text(name, uuid))
		st = group_find_store_uuid(gs, uuid);
	if (!st || st->removed) {
		call_fail(call, -ENOENT, "store %s: no such store; see dagctl store list", name);
		return NULL;
	}
	return st;
}

static const struct method *find_method(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (!strcmp(methods[i].name, name))
			return &methods[i];
	return NULL;
}

static int check_allowed(struct rpc_call *call, const struct method *m)
{
	if (call->read_only && !(m->flags & M_READ))
		return call_fail(call, -EPERM, "%s: not on the read-only socket; run it as root",
				 m->name);
	if ((m->flags & M_LOCAL) && call->peer)
		return call_fail(call, -EPERM, "%s: only on the member itself", m->name);
	if ((m->flags & M_PEER) && !call->peer)
		return call_fail(call, -EPERM, "%s: only between members", m->name);
	return 0;
}

/* Who is to do it: the name, or "" for this member. */
static int resolve(struct rpc_call *call, const struct method *m, char ret[64])
{
	const char *name = NULL;
	struct group_store *st;
	struct group_state gs;
	bool quorum;
	int r;

	ret[0] = '\0';
	if (m->where == W_HERE)
		return 0;
	r = control_state(call, &gs);
	if (r)
		return r;
	quorum = !strcmp(gs.engine, "etcd");
	if (m->where == W_GROUP) {
		name = quorum ? NULL : gs.founder;
	} else if (m->where == W_AUTHORITY) {
		authority_place(call->ct, &gs, ret);
	} else if (m->where == W_ACTIVE || m->where == W_STORE) {
		st = call_store(call, &gs);
		name = st ? st->active : NULL;
		r = st ? 0 : -ENOENT;
		if (name && m->where == W_STORE && quorum && !control_reachable(call->ct, name))
			name = NULL;
	} else {
		r = rpc_str_opt(call->params, "member", &name, call->err, sizeof(call->err));
		if (!r && name && !group_find_member(&gs, name))
			r = call_fail(call, -ENOENT, "member %s: no such member; see dagctl member "
				      "list", name);
	}
	if (!r && name && strcmp(name, call->ct->cf->member))
		snprintf(ret, 64, "%s", name);
	group_state_free(&gs);
	return r;
}

static int forward(struct rpc_call *call, const struct method *m, const char *member,
		   struct json_object **ret)
{
	uint64_t timeout_ms = 0;

	if (call->rq->hops >= HOPS_MAX)
		return call_fail(call, -ELOOP, "%s: the members do not agree yet on who is to do it; "
				 "try again in some seconds", call->rq->method);
	rpc_u64_opt(call->params, "timeout_ms", 86400000, &timeout_ms, call->err, sizeof(call->err));
	if (timeout_ms)
		timeout_ms += FORWARD_EXTRA_MS;
	else
		timeout_ms = FORWARD_TIMEOUT_MS;
	if (m->flags & M_LONG)
		timeout_ms += FORWARD_LONG_MS;
	return peer_call(call, member, call->rq->method, call->params, timeout_ms, ret);
}

static int run(struct rpc_call *call, struct json_object **ret)
{
	const struct method *m = find_method(call->rq->method);
	char member[64];
	int r;

	if (!m)
		return call_fail(call, -EOPNOTSUPP, "%s: no such method; tool and daemon are of "
				 "different versions", call->rq->method);
	r = check_allowed(call, m);
	if (!r)
		r = resolve(call, m, member);
	if (r)
		return r;
	if (member[0])
		return forward(call, m, member, ret);
	return m->handler(call, ret);
}

int dispatch_call(struct rpc_call *call, const char *method, struct json_object *params,
		  struct json_object **ret)
{
	struct rpc_request rq = *call->rq;
	struct rpc_call sub = *call;
	int r;

	snprintf(rq.method, sizeof(rq.method), "%s", method);
	rq.params = sub.params = params;
	sub.rq = &rq;
	sub.err[0] = '\0';
	r = run(&sub, ret);
	if (r)
		call_fail(call, r, "%s", sub.err[0] ? sub.err : strerror(-r));
	return r;
}

int dispatch_line(struct control *ct, const char *line, size_t len, const char *peer,
		  bool read_only, bool sealed, int (*send)(void *out, const char *line), void *out)
{
	struct json_object *result = NULL;
	struct rpc_request rq = { .id = 0 };
	struct rpc_call call = { .ct = ct, .rq = &rq, .peer = peer, .read_only = read_only,
				 .sealed = sealed, .send = send, .out = out };
	char *answer;
	int r;

	r = rpc_request_parse(line, len, &rq, call.err, sizeof(call.err));
	if (!r) {
		call.params = rq.params;
		r = run(&call, &result);
	}
	if (r > 0)
		r = -EIO;
	if (r && !call.err[0])
		call_fail(&call, r, "%s: %s", rq.method, strerror(-r));
	answer = r ? rpc_error_line(r, call.err, rq.id) : rpc_result_line(result, rq.id);
	json_object_put(result);
	if (rq.params)
		rpc_request_free(&rq);
	if (!answer)
		return -ENOMEM;
	r = send(out, answer);
	free(answer);
	return r;
}
