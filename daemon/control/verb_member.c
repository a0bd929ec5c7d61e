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

#include "daemon/control/authority.h"
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
		  enum invite_as as, struct json_object **ret)
{
	struct group_member *self = group_find_member(gs, call->ct->cf->member);
	char token[INVITE_TOKEN_MAX], *ca = NULL;
	struct invite_token tk = { .port = 0 };
	int r;

	if (!authority_held(call->ct))
		return call_fail(call, -ENOKEY, "%s %s: no member that holds the group's authority answers; "
				 "dagctl member list shows who does", as == INVITE_MEMBER ? "member" :
				 "witness", mb->name);
	r = creds_ca_pem(call->ct->creds_dir, &ca);
	if (!r)
		r = creds_ca_fingerprint(ca, tk.fingerprint);
	if (!r)
		r = invite_make(call, mb, as, tk.secret);
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
		log_notice("%s=%s address=%s msg=invited", as == INVITE_MEMBER ? "member" : "witness", mb->name,
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
		r = invite(call, &gs, &mb, INVITE_MEMBER, ret);
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
	/* each knows those that it has given out */
	if (authority_held(call->ct)) {
		invited = json_object_new_array();
		invite_list(call->ct, invited);
		json_object_object_add(obj, "invited", invited);
	}
	group_state_free(&gs);
	*ret = obj;
	return 0;
}

/* How a member is to be removed. */
struct removal {
	struct control *ct;
	const char *name;
	bool dead;			/* --configuration-only: with its copies */
	bool force;			/* and with stores that nobody else has */
	int revoked;			/* 0, or why its certificate is not */
};

/* That it cannot be revoked does not keep it in: our ports go by the members. */
static int edit_remove(struct group_state *gs, void *ctx)
{
	struct removal *rm = ctx;
	struct group_member *mb = group_find_member(gs, rm->name);
	size_t after;

	if (!mb)
		return -ENOENT;
	rm->revoked = authority_revoke(rm->ct, gs, mb->serial);
	after = gs->nr_members - (mb - gs->members) - 1;
	memmove(mb, mb + 1, after * sizeof(*mb));
	gs->nr_members--;
	memset(&gs->members[gs->nr_members], 0, sizeof(*mb));
	return 0;
}

/* Of a member that is dead: what may go with it. */
static int check_copy(struct rpc_call *call, const struct group_store *st, const struct removal *rm)
{
	if (!rm->dead)
		return call_fail(call, -EBUSY, "member %s: holds a copy of store %s; remove it "
				 "with dagctl copy remove %s --member %s, or, if it is dead, pass "
				 "--configuration-only", rm->name, st->name, st->name, rm->name);
	if (strcmp(st->active, rm->name))
		return 0;
	if (st->nr_copies > 1)
		return call_fail(call, -EBUSY, "store %s: is agreed to be active on %s, and no other copy has "
				 "taken over; see why with dagctl events list --store %s", st->name,
				 rm->name, st->name);
	if (!rm->force)
		return call_fail(call, -EBUSY, "store %s: its only copy is on %s; --force removes the store "
				 "with it", st->name, rm->name);
	return 0;
}

static int check_removable(struct rpc_call *call, struct group_state *gs, const struct removal *rm)
{
	uint32_t i;
	int r = 0;

	if (!strcmp(rm->name, gs->founder) && strcmp(gs->engine, "etcd"))
		return call_fail(call, -EBUSY, "member %s: is the founder of a group whose engine is a file: "
				 "only it changes the members; it cannot be removed", rm->name);
	if (rm->dead && control_reachable(call->ct, rm->name))
		return call_fail(call, -EBUSY, "member %s: answers; remove it without "
				 "--configuration-only, or stop its dagd first", rm->name);
	for (i = 0; i < gs->nr_stores && !r; i++)
		if (!gs->stores[i].removed && group_find_copy(&gs->stores[i], rm->name))
			r = check_copy(call, &gs->stores[i], rm);
	return r;
}

/* The store goes with its only copy; else the copy alone. */
static int edit_drop_copy(struct group_store *st, void *ctx)
{
	const struct removal *rm = ctx;
	struct group_copy *cp = group_find_copy(st, rm->name);
	size_t after;

	if (!cp)
		return -ENOENT;
	if (!strcmp(st->active, rm->name)) {
		if (st->nr_copies > 1)
			return -EBUSY;
		st->removed = true;
		return 0;
	}
	after = st->nr_copies - (cp - st->copies) - 1;
	memmove(cp, cp + 1, after * sizeof(*cp));
	st->nr_copies--;
	memset(&st->copies[st->nr_copies], 0, sizeof(*cp));
	return 0;
}

/* Its copies first: the group forgets no member that a store counts on. */
static int drop_copies(struct rpc_call *call, struct group_state *gs, struct removal *rm)
{
	struct engine *en = call->ct->engine;
	uint32_t i;
	int r = 0;

	for (i = 0; i < gs->nr_stores && !r; i++) {
		struct group_store *st = &gs->stores[i];

		if (st->removed || !group_find_copy(st, rm->name))
			continue;
		r = en->ops->txn_store(en, st->uuid, st->epoch, edit_drop_copy, rm, call->err,
				       sizeof(call->err));
		if (r && !call->err[0])
			call_fail(call, r, "store %s: the copy on %s is not removed: %s", st->name, rm->name,
				  strerror(-r));
		if (!r)
			history_add(call->ct->history, "copy-remove", st->name, NULL,
				    "copy on %s, which is dead", rm->name);
	}
	return r;
}

/* For the history and who asked: what its certificate is good for from now on. */
static void say_revoked(struct control *ct, const char *name, int revoked)
{
	if (!revoked)
		return;
	log_warn("member=%s msg=\"certificate not revoked\" err=\"%s\"", name, strerror(-revoked));
	history_add(ct->history, "alert", "", NULL, "the certificate of %s is not revoked: %s; the "
		    "engine's etcd takes it until it ends", name, revoked == -ENODATA ?
		    "its serial number is not known" : revoked == -ENOENT ?
		    "no member that holds the group's authority answers" : strerror(-revoked));
}

int verb_member_remove(struct rpc_call *call, struct json_object **ret)
{
	struct engine *en = call->ct->engine;
	struct group_state gs;
	struct group_member *mb;
	struct removal rm;
	const char *name;
	int r, told = -ENOENT;
	int dead = rpc_bool(call->params, "configuration_only", call->err, sizeof(call->err));
	int force = rpc_bool(call->params, "force", call->err, sizeof(call->err));

	if (dead < 0 || force < 0 || rpc_str(call->params, "name", &name, call->err, sizeof(call->err)))
		return -EINVAL;
	if (force && !dead)
		return call_fail(call, -EINVAL, "member %s: --force goes with --configuration-only", name);
	rm = (struct removal){ call->ct, name, dead, force, 0 };
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
	r = mb ? check_removable(call, &gs, &rm) :
		 call_fail(call, -ENOENT, "member %s: no such member, and not invited by %s: an invitation is taken "
			   "back where it was given out; see dagctl member list", name,
			   call->ct->cf->member);
	if (!r && dead)
		r = drop_copies(call, &gs, &rm);
	if (!r)
		r = en->ops->txn_group(en, edit_remove, &rm, call->err, sizeof(call->err));
	if (!r) {
		control_wait_applied(call->ct);
		/* its own thread of ours is gone with the membership: tell it ourselves */
		told = dead ? -EHOSTUNREACH : peer_tell_removed(call, mb);
		call->err[0] = '\0';
		log_notice("member=%s msg=removed told=%s", name, told ? "no" : "yes");
		history_add(call->ct->history, "member-remove", "", NULL, "%s removed", name);
		say_revoked(call->ct, name, rm.revoked);
		*ret = json_object_new_object();
		json_object_object_add(*ret, "told", json_object_new_boolean(!told));
		json_object_object_add(*ret, "revoked", json_object_new_boolean(!rm.revoked));
	}
	group_state_free(&gs);
	return r;
}

/* ---- witness ------------------------------------------------------------ */

static int check_witness(struct rpc_call *call, struct group_state *gs, bool alternate,
			 const struct group_member *mb)
{
	const struct group_witness *there = alternate ? &gs->alternate : &gs->witness;
	const struct group_witness *other = alternate ? &gs->witness : &gs->alternate;
	uint32_t i;

	if (strcmp(gs->engine, "etcd") || gs->engine_url[0])
		return call_fail(call, -EOPNOTSUPP, "group %s: a witness votes in an etcd of dagd's own; "
				 "this group has none", gs->name);
	if (there->name[0] && strcmp(there->name, mb->name))
		return call_fail(call, -EEXIST, "group %s: %s is its %s; take it away first with "
				 "dagctl witness remove%s", gs->name, there->name, alternate ?
				 "alternate witness" : "witness", alternate ? " --alternate" : "");
	if (!strcmp(other->name, mb->name))
		return call_fail(call, -EEXIST, "group %s: %s is its %s; it cannot be both", gs->name,
				 mb->name, alternate ? "witness" : "alternate witness");
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
	int alternate = rpc_bool(call->params, "alternate", call->err, sizeof(call->err)), r;

	if (alternate < 0)
		return -EINVAL;
	r = member_from_params(call, &mb);
	if (!r)
		r = control_state(call, &gs);
	if (r)
		return r;
	r = check_witness(call, &gs, alternate, &mb);
	if (!r)
		r = invite(call, &gs, &mb, alternate ? INVITE_ALTERNATE : INVITE_WITNESS, ret);
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
	if (gs.witness.name[0] && strcmp(gs.witness.name, call->ct->cf->member))
		json_object_object_add(obj, "reachable", json_object_new_boolean(
				       control_reachable(call->ct, gs.witness.name)));
	json_object_object_add(obj, "alternate", json_object_new_string(gs.alternate.name));
	if (gs.alternate.name[0])
		json_object_object_add(obj, "alternate_address",
				       json_object_new_string(gs.alternate.address));
	group_state_free(&gs);
	*ret = obj;
	return 0;
}

struct dismissal {
	struct control *ct;
	bool alternate;
	int revoked;
	char name[64];
};

static int edit_no_witness(struct group_state *gs, void *ctx)
{
	struct dismissal *di = ctx;
	struct group_witness *wt = di->alternate ? &gs->alternate : &gs->witness;

	if (!wt->name[0])
		return -ENOENT;
	memcpy(di->name, wt->name, sizeof(di->name));
	di->revoked = authority_revoke(di->ct, gs, wt->serial);
	memset(wt, 0, sizeof(*wt));
	return 0;
}

int verb_witness_remove(struct rpc_call *call, struct json_object **ret)
{
	struct engine *en = call->ct->engine;
	struct dismissal di = { .ct = call->ct };
	int alternate = rpc_bool(call->params, "alternate", call->err, sizeof(call->err)), r;

	if (alternate < 0)
		return -EINVAL;
	di.alternate = alternate;
	r = en->ops->txn_group(en, edit_no_witness, &di, call->err, sizeof(call->err));
	if (r == -ENOENT && !call->err[0])
		call_fail(call, r, "the group has no %switness", alternate ? "alternate " : "");
	if (!r) {
		log_notice("witness msg=removed");
		history_add(call->ct->history, "witness-remove", "", NULL, "%switness removed",
			    alternate ? "alternate " : "");
		say_revoked(call->ct, di.name, di.revoked);
		*ret = json_object_new_object();
	}
	return r;
}
