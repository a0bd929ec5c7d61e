// SPDX-License-Identifier: GPL-2.0
/*
 * peer_line - a connection to another member, on which requests go out and
 * answers come back, one at a time. Requests that are passed on for a caller have
 * connections of their own, apart from those of the heartbeat (peers.c).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "daemon/control/control_int.h"
#include "daemon/control/networks.h"
#include "daemon/group/state_json.h"
#include "daemon/group/uuid.h"
#include "daemon/ship/frame.h"

#define CONNECT_MS	5000
#define ANSWER_MS	5000

uint64_t peer_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec;
}

/* Hello and welcome of an RPC connection. */
static int greet(struct control *ct, struct stream *st, const char *member, char *err, size_t errlen)
{
	struct frame_hello hello = { .kind = DAG_KIND_RPC };
	struct frame_welcome fw;
	struct dag_welcome welcome;
	struct dag_hello raw;
	int r;

	if (strcmp(stream_peer(st), member)) {
		snprintf(err, errlen, "answers as %s", stream_peer(st));
		return -EKEYREJECTED;
	}
	r = uuid_parse_text(creds_group(ct->creds), hello.group);
	if (!r && getrandom(&hello.nonce, sizeof(hello.nonce), 0) < 0)
		r = -errno;
	if (r)
		return r;
	frame_hello_encode(&hello, &raw);
	r = stream_write_full(st, &raw, sizeof(raw), ANSWER_MS);
	if (!r)
		r = stream_read_full(st, &welcome, sizeof(welcome), ANSWER_MS);
	if (!r)
		r = frame_welcome_decode(&welcome, &fw);
	if (r)
		return r;
	if (fw.refusal) {
		snprintf(err, errlen, "refuses us: %s", frame_refusal_text(fw.refusal));
		return -ECONNREFUSED;
	}
	return fw.nonce == hello.nonce ? 0 : -EPROTO;
}

/* how: insist and revoked_ok of a stream_conf. */
static int open_as(struct control *ct, const struct group_member *mb, const struct stream_conf *how,
		   struct stream **ret, char *err, size_t errlen)
{
	struct stream_conf conf = { .timeout_ms = CONNECT_MS, .ktls = ct->cf->ktls,
				    .insist = how->insist, .revoked_ok = how->revoked_ok };
	struct stream *st = NULL;
	struct way way;
	int r;

	err[0] = '\0';
	r = networks_way(ct, mb, &way);
	if (r)
		return r;
	conf.security = way.security;
	pthread_rwlock_rdlock(&ct->use);
	conf.creds = ct->creds;
	r = !conf.creds ? -ENOENT :
	    stream_connect(&conf, (struct sockaddr *)&way.to, way.tolen,
			   way.fromlen ? (struct sockaddr *)&way.from : NULL, way.fromlen, &st);
	if (!r)
		r = greet(ct, st, mb->name, err, errlen);
	pthread_rwlock_unlock(&ct->use);
	if (!r) {
		*ret = st;
		return 0;
	}
	if (st)
		stream_close(st);
	if (!err[0])
		snprintf(err, errlen, "%s", strerror(-r));
	return r;
}

int peer_open(struct control *ct, const struct group_member *mb, struct stream **ret, char *err,
	      size_t errlen)
{
	const struct stream_conf how = { .insist = false };

	return open_as(ct, mb, &how, ret, err, errlen);
}

int peer_open_sealed(struct control *ct, const struct group_member *mb, struct stream **ret,
		     char *err, size_t errlen)
{
	const struct stream_conf how = { .insist = true };

	return open_as(ct, mb, &how, ret, err, errlen);
}

/*
 * One request, one answer; progress lines are passed to call's asker. Returns 0
 * with the result, or the other side's error with its message in err.
 */
int peer_transact(struct stream *st, const char *request, unsigned timeout_ms,
		    struct rpc_call *call, struct json_object **ret, char *err, size_t errlen)
{
	const uint64_t end = peer_now_ns() + (uint64_t)timeout_ms * 1000000u;
	struct rpc_answer an = { .value = NULL };
	char *buf = malloc(RPC_LINE_MAX);
	int r = buf ? 0 : -ENOMEM, n;

	err[0] = '\0';
	if (!r)
		r = stream_write_full(st, request, strlen(request), ANSWER_MS);
	while (!r) {
		uint64_t now = peer_now_ns();

		if (now >= end) {
			r = -ETIMEDOUT;
			break;
		}
		n = stream_read_line(st, buf, RPC_LINE_MAX, (end - now) / 1000000u + 1);
		r = n > 0 ? rpc_answer_parse(buf, n, &an, err, errlen) : n ? n : -ECONNRESET;
		if (r || an.kind != RPC_PROGRESS)
			break;
		if (call && call->send) {
			char *line = rpc_progress_line(an.value, call->rq->id);

			r = line ? call->send(call->out, line) : -ENOMEM;
			free(line);
		}
		json_object_put(an.value);
	}
	free(buf);
	if (!r && an.kind == RPC_ERROR) {
		snprintf(err, errlen, "%s", an.message);
		return an.code;
	}
	if (!r)
		*ret = an.value;
	else if (!err[0])
		snprintf(err, errlen, "%s", strerror(-r));
	return r;
}

/* Send all we have, take what comes back. */
int peer_swap_states(struct control *ct, struct stream *st, unsigned timeout_ms, char *err,
		       size_t errlen)
{
	struct json_object *params, *result = NULL, *obj;
	struct group_state gs;
	char *line;
	int r;

	r = group_state_init(&gs);
	if (!r)
		r = ct->engine->ops->snapshot(ct->engine, &gs);
	if (r)
		return r;
	params = json_object_new_object();
	json_object_object_add(params, "state", group_state_to_obj(&gs));
	line = rpc_request_line("peer.state", params, 1, 0);
	json_object_put(params);
	r = line ? peer_transact(st, line, timeout_ms, NULL, &result, err, errlen) : -ENOMEM;
	free(line);
	/* no state: we just told it that it is a member no more */
	if (!r && json_object_object_get_ex(result, "state", &obj)) {
		r = group_state_from_obj(obj, &gs, err, errlen);
		if (!r)
			r = ct->engine->ops->learn(ct->engine, &gs);
	}
	json_object_put(result);
	group_state_free(&gs);
	return r;
}

/* ---- requests that are passed on ---------------------------------------- */

static int find_member(struct rpc_call *call, const char *name, struct group_member *ret)
{
	struct group_member *mb;
	struct group_state gs;
	int r;

	r = control_state(call, &gs);
	if (r)
		return r;
	mb = group_find_member(&gs, name);
	if (mb)
		*ret = *mb;
	else
		r = call_fail(call, -ENOENT, "member %s: no such member; see dagctl member list",
			      name);
	group_state_free(&gs);
	return r;
}

static int open_for_call(struct rpc_call *call, const char *member, struct stream **ret)
{
	char why[256];
	struct group_member mb;
	int r;

	r = find_member(call, member, &mb);
	if (r)
		return r;
	r = peer_open(call->ct, &mb, ret, why, sizeof(why));
	if (r)
		return call_fail(call, r, "member %s: unreachable at %s port %u: %s; check dagd "
				 "and the network there", member, mb.address, mb.port, why);
	return 0;
}

struct peer_line {
	struct stream *st;
	int slot;
	char member[64];
};

int peer_line_open(struct rpc_call *call, const char *member, struct peer_line **ret)
{
	struct peer_line *pl = calloc(1, sizeof(*pl));
	int r;

	if (!pl)
		return -ENOMEM;
	snprintf(pl->member, sizeof(pl->member), "%s", member);
	r = open_for_call(call, member, &pl->st);
	if (r) {
		free(pl);
		return r;
	}
	pl->slot = conns_enter(&call->ct->rpcs, stream_fd(pl->st));
	if (pl->slot < 0) {
		r = call_fail(call, pl->slot, "member %s: %s", call->ct->cf->member,
			      strerror(-pl->slot));
		stream_close(pl->st);
		free(pl);
		return r;
	}
	*ret = pl;
	return 0;
}

int peer_line_call(struct peer_line *pl, struct rpc_call *call, const char *method,
		   struct json_object *params, unsigned timeout_ms, struct json_object **ret)
{
	char why[ERR_BYTES] = "", *line;
	int r;

	line = rpc_request_line(method, params, 1, call->rq->hops + 1);
	r = line ? peer_transact(pl->st, line, timeout_ms, call, ret, why, sizeof(why)) : -ENOMEM;
	free(line);
	if (r == -ETIMEDOUT || r == -ECONNRESET || r == -EPIPE)
		call_fail(call, r, "member %s: no answer to %s: %.700s", pl->member, method, why);
	else if (r)
		call_fail(call, r, "%s", why);
	return r;
}

void peer_line_close(struct control *ct, struct peer_line *pl)
{
	if (!pl)
		return;
	conns_leave(&ct->rpcs, pl->slot);
	stream_close(pl->st);
	free(pl);
}

int peer_call(struct rpc_call *call, const char *member, const char *method,
	      struct json_object *params, unsigned timeout_ms, struct json_object **ret)
{
	struct peer_line *pl;
	int r;

	r = peer_line_open(call, member, &pl);
	if (r)
		return r;
	r = peer_line_call(pl, call, method, params, timeout_ms, ret);
	peer_line_close(call->ct, pl);
	return r;
}

int peer_tell_removed(struct rpc_call *call, const struct group_member *mb)
{
	const struct stream_conf how = { .revoked_ok = true };
	char why[ERR_BYTES];
	struct stream *st;
	int r;

	r = open_as(call->ct, mb, &how, &st, why, sizeof(why));
	if (r)
		return r;
	r = peer_swap_states(call->ct, st, ANSWER_MS, why, sizeof(why));
	stream_close(st);
	return r;
}

int peer_exchange(struct rpc_call *call, const char *member, unsigned timeout_ms)
{
	char why[ERR_BYTES] = "";
	struct stream *st;
	int r;

	r = open_for_call(call, member, &st);
	if (r)
		return r;
	r = peer_swap_states(call->ct, st, timeout_ms, why, sizeof(why));
	stream_close(st);
	if (r)
		call_fail(call, r, "member %s: did not take the state: %s", member,
			  why[0] ? why : strerror(-r));
	return r;
}
