// SPDX-License-Identifier: GPL-2.0
/*
 * verb_member - invite hosts, as members or as the witness; list and remove them.
 *
 * The witness is a host without copies that votes in the engine (semantics 4). It
 * joins with a token as a member does, and stands in the group as witness instead.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/control/control_int.h"
#include "daemon/control/history.h"
#include "daemon/control/invite.h"
#include "daemon/group/quorum.h"
#include "daemon/group/state_json.h"
#include "daemon/net/creds_internal.h"

static bool numeric_address(const char *text)
{
	uint8_t bin[16];

	return inet_pton(AF_INET, text, bin) == 1 || inet_pton(AF_INET6, text, bin) == 1;
}

/* ---- members ------------------------------------------------------------ */

static int member_from_params(struct rpc_call *call, struct group_member *ret)
{
	const char *name, *address, *site = "";
	uint64_t port = call->ct->cf->port;

	if (rpc_str(call->params, "name", &name, call->err, sizeof(call->err)) ||
	    rpc_str(call->params, "address", &address, call->err, sizeof(call->err)) ||
	    rpc_str_opt(call->params, "site", &site, call->err, sizeof(call->err)) ||
	    rpc_u64_opt(call->params, "port", 65534, &port, call->err, sizeof(call->err)))
		return -EINVAL;
	memset(ret, 0, sizeof(*ret));
	if (!group_name_valid(name, sizeof(ret->name) - 1))
		return call_fail(call, -EINVAL, "member %s: not a name; use the host's name", name);
	if (!numeric_address(address) || strlen(address) >= sizeof(ret->address))
		return call_fail(call, -EINVAL, "member %s: '%s' is not a numeric address", name,
				 address);
	if (!port || strlen(site) >= sizeof(ret->site))
		return call_fail(call, -EINVAL, "member %s: port or site is not valid", name);
	strcpy(ret->name, name);
	strcpy(ret->address, address);
	strcpy(ret->site, site);
	ret->port = port;
	return 0;
}

static int check_invitable(struct rpc_call *call, struct group_state *gs,
			   const struct group_member *mb)
{
	struct peer_view pv;
	uint32_t i;

	peers_view(call->ct, mb->name, &pv);
	if (!strcmp(mb->name, call->ct->cf->member) ||
	    (group_find_member(gs, mb->name) && pv.reachable))
		return call_fail(call, -EEXIST, "member %s: is a member and answers; nothing to do",
				 mb->name);
	for (i = 0; i < gs->nr_members; i++)
		if (strcmp(gs->members[i].name, mb->name) &&
		    !strcmp(gs->members[i].address, mb->address) && gs->members[i].port == mb->port)
			return call_fail(call, -EADDRINUSE, "member %s: %s port %u is member %s; "
					 "give it an address of its own", mb->name, mb->address,
					 mb->port, gs->members[i].name);
	if (!group_find_member(gs, mb->name) && gs->nr_members == GROUP_MEMBERS_MAX)
		return call_fail(call, -ENOSPC, "group %s: has %d members, the most there can be",
				 gs->name, GROUP_MEMBERS_MAX);
	return 0;
}

/* Answers with the token; its host joins as a member, or as the witness. */
static int invite(struct rpc_call *call, struct group_state *gs, const struct group_member *mb,
		  bool witness, struct json_object **ret)
{
	struct group_member *self = group_find_member(gs, call->ct->cf->member);
	char token[INVITE_TOKEN_MAX], *ca = NULL;
	struct invite_token tk = { .port = 0 };
	int r;

	r = creds_ca_pem(call->ct->creds_dir, &ca);
	if (!r)
		r = creds_ca_fingerprint(ca, tk.fingerprint);
	if (!r)
		r = invite_make(call, mb, witness, tk.secret);
	if (!r && self) {
		strcpy(tk.group, gs->uuid);
		strcpy(tk.member, mb->name);
		strcpy(tk.address, self->address);
		tk.port = self->port + 1;
		invite_token_format(&tk, token);
		*ret = group_member_to_obj(mb);
		json_object_object_add(*ret, "token", json_object_new_string(token));
		json_object_object_add(*ret, "expires",
				       json_object_new_int64(time(NULL) + INVITE_SECONDS));
		log_notice("%s=%s address=%s msg=invited", witness ? "witness" : "member", mb->name,
			   mb->address);
	}
	free(ca);
	return r;
}

int verb_member_add(struct rpc_call *call, struct json_object **ret)
{
	struct group_member mb;
	struct group_state gs;
	int r;

	r = member_from_params(call, &mb);
	if (!r)
		r = control_state(call, &gs);
	if (r)
		return r;
	r = check_invitable(call, &gs, &mb);
	if (!r)
		r = invite(call, &gs, &mb, false, ret);
	group_state_free(&gs);
	return r;
}

int verb_member_list(struct rpc_call *call, struct json_object **ret)
{
	struct json_object *obj, *invited;
	struct group_state gs;
	int r;

	r = control_state(call, &gs);
	if (r)
		return r;
	obj = json_object_new_object();
	json_object_object_add(obj, "members", members_obj(call, &gs));
	/* only the founder knows the invitations */
	if (!strcmp(gs.founder, call->ct->cf->member)) {
		invited = json_object_new_array();
		invite_list(call->ct, invited);
		json_object_object_add(obj, "invited", invited);
	}
	group_state_free(&gs);
	*ret = obj;
	return 0;
}

static int edit_remove(struct group_state *gs, void *ctx)
{
	struct group_member *mb = group_find_member(gs, ctx);
	size_t after;

	if (!mb)
		return -ENOENT;
	after = gs->nr_members - (mb - gs->members) - 1;
	memmove(mb, mb + 1, after * sizeof(*mb));
	gs->nr_members--;
	memset(&gs->members[gs->nr_members], 0, sizeof(*mb));
	return 0;
}

static int check_removable(struct rpc_call *call, struct group_state *gs, const char *name)
{
	uint32_t i;

	if (!strcmp(name, gs->founder))
		return call_fail(call, -EBUSY, "member %s: is the founder, which keeps the group's "
				 "authority; it cannot be removed", name);
	for (i = 0; i < gs->nr_stores; i++)
		if (!gs->stores[i].removed && group_find_copy(&gs->stores[i], name))
			return call_fail(call, -EBUSY, "member %s: holds a copy of store %s; remove it "
					 "with dagctl copy remove %s --member %s", name,
					 gs->stores[i].name, gs->stores[i].name, name);
	return 0;
}

int verb_member_remove(struct rpc_call *call, struct json_object **ret)
{
	struct engine *en = call->ct->engine;
	struct group_state gs;
	struct group_member *mb;
	const char *name;
	int r, told = -ENOENT;

	if (rpc_str(call->params, "name", &name, call->err, sizeof(call->err)))
		return -EINVAL;
	r = control_state(call, &gs);
	if (r)
		return r;
	mb = group_find_member(&gs, name);
	if (!mb && !invite_drop(call->ct, name)) {
		group_state_free(&gs);
		*ret = json_object_new_object();
		json_object_object_add(*ret, "invitation", json_object_new_boolean(true));
		return 0;
	}
	r = mb ? check_removable(call, &gs, name) :
		 call_fail(call, -ENOENT, "member %s: no such member; see dagctl member list", name);
	if (!r)
		r = en->ops->txn_group(en, edit_remove, (void *)name, call->err, sizeof(call->err));
	if (!r) {
		control_wait_applied(call->ct);
		/* its own thread of ours is gone with the membership: tell it ourselves */
		told = peer_tell_removed(call, mb);
		call->err[0] = '\0';
		log_notice("member=%s msg=removed told=%s", name, told ? "no" : "yes");
		history_add(call->ct->history, "member-remove", "", NULL, "%s removed", name);
		*ret = json_object_new_object();
		json_object_object_add(*ret, "told", json_object_new_boolean(!told));
	}
	group_state_free(&gs);
	return r;
}

/* ---- witness ------------------------------------------------------------ */

static int check_witness(struct rpc_call *call, struct group_state *gs,
			 const struct group_member *mb)
{
	uint32_t i;

	if (strcmp(gs->engine, "etcd") || gs->engine_url[0])
		return call_fail(call, -EOPNOTSUPP, "group %s: a witness votes in an etcd of dagd's own; "
				 "this group has none", gs->name);
	if (gs->witness.name[0] && strcmp(gs->witness.name, mb->name))
		return call_fail(call, -EEXIST, "group %s: %s is its witness; take it away first with "
				 "dagctl witness remove", gs->name, gs->witness.name);
	if (group_find_member(gs, mb->name))
		return call_fail(call, -EEXIST, "member %s: a member cannot be the witness", mb->name);
	for (i = 0; i < gs->nr_members; i++)
		if (!strcmp(gs->members[i].address, mb->address) && gs->members[i].port == mb->port)
			return call_fail(call, -EADDRINUSE, "witness %s: %s port %u is member %s",
					 mb->name, mb->address, mb->port, gs->members[i].name);
	return 0;
}

int verb_witness_set(struct rpc_call *call, struct json_object **ret)
{
	struct group_member mb;
	struct group_state gs;
	int r;

	r = member_from_params(call, &mb);
	if (!r)
		r = control_state(call, &gs);
	if (r)
		return r;
	r = check_witness(call, &gs, &mb);
	if (!r)
		r = invite(call, &gs, &mb, true, ret);
	group_state_free(&gs);
	return r;
}

int verb_witness_show(struct rpc_call *call, struct json_object **ret)
{
	struct quorum_plan plan;
	struct json_object *obj;
	struct group_state gs;
	int r;

	r = control_state(call, &gs);
	if (r)
		return r;
	quorum_plan(&gs, &plan);
	obj = json_object_new_object();
	json_object_object_add(obj, "quorum", json_object_new_string(quorum_model_name(plan.model)));
	json_object_object_add(obj, "manual_only", json_object_new_boolean(plan.manual_only));
	json_object_object_add(obj, "witness", json_object_new_string(gs.witness.name));
	if (gs.witness.name[0]) {
		json_object_object_add(obj, "address", json_object_new_string(gs.witness.address));
		json_object_object_add(obj, "port", json_object_new_int(gs.witness.port));
		json_object_object_add(obj, "voter", json_object_new_boolean(gs.witness.voter));
	}
	group_state_free(&gs);
	*ret = obj;
	return 0;
}

static int edit_no_witness(struct group_state *gs, void *ctx)
{
	if (!gs->witness.name[0])
		return -ENOENT;
	memset(&gs->witness, 0, sizeof(gs->witness));
	return 0;
}

int verb_witness_remove(struct rpc_call *call, struct json_object **ret)
{
	struct engine *en = call->ct->engine;
	int r;

	r = en->ops->txn_group(en, edit_no_witness, NULL, call->err, sizeof(call->err));
	if (r == -ENOENT && !call->err[0])
		call_fail(call, r, "the group has no witness");
	if (!r) {
		log_notice("witness msg=removed");
		*ret = json_object_new_object();
	}
	return r;
}
