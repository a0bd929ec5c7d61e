// SPDX-License-Identifier: GPL-2.0
/* verb_group - make a group, show it, join it. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "daemon/control/authority.h"
#include "daemon/control/control_int.h"
#include "daemon/control/history.h"
#include "daemon/control/invite.h"
#include "daemon/control/preflight.h"
#include "daemon/group/lease.h"
#include "daemon/group/quorum.h"
#include "daemon/group/state_json.h"
#include "daemon/group/uuid.h"
#include "daemon/net/creds_internal.h"
#include "daemon/net/join.h"
#include "daemon/tap/tap.h"
#include "include/dag/version.h"

#define CA_DAYS		7300
#define CRT_DAYS	3650
#define JOIN_MS		15000
#define CONFIRM_MS	10000
#define QUORUM_MS	2500	/* no majority for so long: there is none */

struct new_group {
	const char *name, *address, *self, *engine, *url;
	struct group_profile profile;	/* of a group with a quorum */
	char heartbeat_key[65];
	char uuid[UUID_TEXT];
	char serial[GROUP_SERIAL_MAX];
	char crl[GROUP_CRL_MAX];
	uint16_t port;
};

static int edit_create(struct group_state *gs, void *ctx)
{
	const struct new_group *ng = ctx;

	if (gs->uuid[0])
		return -EEXIST;
	snprintf(gs->name, sizeof(gs->name), "%s", ng->name);
	snprintf(gs->uuid, sizeof(gs->uuid), "%s", ng->uuid);
	snprintf(gs->founder, sizeof(gs->founder), "%s", ng->self);
	snprintf(gs->engine, sizeof(gs->engine), "%s", ng->engine);
	snprintf(gs->engine_url, sizeof(gs->engine_url), "%s", ng->url);
	snprintf(gs->heartbeat_key, sizeof(gs->heartbeat_key), "%s", ng->heartbeat_key);
	gs->profile = ng->profile;
	gs->generation = 1;
	gs->nr_members = 1;
	snprintf(gs->members[0].name, sizeof(gs->members[0].name), "%s", ng->self);
	snprintf(gs->members[0].address, sizeof(gs->members[0].address), "%s", ng->address);
	gs->members[0].port = ng->port;
	memcpy(gs->members[0].serial, ng->serial, sizeof(ng->serial));
	memcpy(gs->crl, ng->crl, sizeof(ng->crl));
	return 0;
}

/* What an attempt left that did not come to a group belongs to no group. */
static int make_ca(struct control *ct, const char *uuid)
{
	static const char *const files[] = { CREDS_CA_KEY, CREDS_CA_CRT };
	char path[400];
	size_t i;
	int r;

	r = creds_ca_create(ct->creds_dir, uuid, CA_DAYS);
	if (r != -EEXIST)
		return r;
	for (i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", ct->creds_dir, files[i]);
		if (unlink(path) && errno != ENOENT)
			return -errno;
	}
	return creds_ca_create(ct->creds_dir, uuid, CA_DAYS);
}

static int make_creds(struct control *ct, struct new_group *ng)
{
	const char *uuid = ng->uuid, *address = ng->address;
	char *csr = NULL, *crt = NULL, *ca = NULL;
	int r;

	r = make_ca(ct, uuid);
	if (!r)
		r = creds_request(ct->creds_dir, uuid, ct->cf->member, &csr);
	if (!r)
		r = creds_sign(ct->creds_dir, uuid, ct->cf->member, address, csr, CRT_DAYS, &crt);
	if (!r)
		r = creds_ca_pem(ct->creds_dir, &ca);
	if (!r)
		r = creds_install(ct->creds_dir, crt, ca);
	if (!r)
		r = creds_serial(crt, ng->serial);
	if (!r)
		r = creds_crl_add(ct->creds_dir, uuid, "", "", ng->crl, sizeof(ng->crl));
	if (!r)
		r = creds_crl_store(ct->creds_dir, ng->crl);
	free(csr);
	free(crt);
	free(ca);
	return r;
}

static int check_no_group(struct rpc_call *call)
{
	struct group_state gs;
	int r;

	r = group_state_init(&gs);
	if (r)
		return r;
	r = call->ct->engine->ops->snapshot(call->ct->engine, &gs);
	if (!r && gs.uuid[0])
		r = call_fail(call, -EEXIST, "member %s: is in group %s already; see dagctl group show",
			      call->ct->cf->member, gs.name);
	group_state_free(&gs);
	return r;
}

static bool numeric_address(const char *text)
{
	uint8_t bin[16];

	return inet_pton(AF_INET, text, bin) == 1 || inet_pton(AF_INET6, text, bin) == 1;
}

/* What a group with a quorum has more than one without. */
static int take_quorum(struct rpc_call *call, struct new_group *ng)
{
	uint8_t key[32];
	size_t i;

	ng->engine = "etcd";
	ng->url = "";
	if (rpc_str_opt(call->params, "engine", &ng->engine, call->err, sizeof(call->err)) ||
	    rpc_str_opt(call->params, "engine_url", &ng->url, call->err, sizeof(call->err)))
		return -EINVAL;
	if (ng->url[0] && strcmp(ng->engine, "etcd"))
		return call_fail(call, -EINVAL, "group %s: --engine-url is for --engine etcd", ng->name);
	if (strlen(ng->url) > GROUP_LIST_MAX - 1)
		return call_fail(call, -EINVAL, "group %s: --engine-url is too long", ng->name);
	if (!strcmp(ng->engine, "file"))
		return 0;
	if (strcmp(ng->engine, "etcd"))
		return call_fail(call, -EINVAL, "group %s: no engine '%s'; use etcd or file", ng->name,
				 ng->engine);
	if (lease_profile_named("lan", &ng->profile) || call_profile(call, &ng->profile))
		return -EINVAL;
	if (getrandom(key, sizeof(key), 0) != sizeof(key))
		return -EIO;
	for (i = 0; i < sizeof(key); i++)
		sprintf(ng->heartbeat_key + 2 * i, "%02x", key[i]);
	return 0;
}

/* Without a group: let this kind of engine be the one that gets it. */
static int use_engine(struct rpc_call *call, const char *kind, const char *url)
{
	struct engine *en = call->ct->engine;
	struct engine_health h = { .kind = "" };

	if (en->ops->health)
		en->ops->health(en, &h);
	if (!strcmp(kind, "file") && (!en->ops->use || !strcmp(h.kind, "file")))
		return 0;
	if (!en->ops->use)
		return call_fail(call, -EOPNOTSUPP, "engine %s: not here", kind);
	return en->ops->use(en, kind, url, call->err, sizeof(call->err));
}

int verb_group_create(struct rpc_call *call, struct json_object **ret)
{
	struct control *ct = call->ct;
	struct new_group ng = { .address = ct->cf->address, .self = ct->cf->member,
				.port = ct->cf->port };
	uint8_t uuid[16];
	int r;

	if (rpc_str(call->params, "name", &ng.name, call->err, sizeof(call->err)) ||
	    rpc_str_opt(call->params, "address", &ng.address, call->err, sizeof(call->err)))
		return -EINVAL;
	if (!group_name_valid(ng.name, GROUP_NAME_MAX))
		return call_fail(call, -EINVAL, "group %s: not a name; use up to %d letters, digits, "
				 "'.', '-' and '_'", ng.name, GROUP_NAME_MAX);
	if (!numeric_address(ng.address))
		return call_fail(call, -EINVAL, "group %s: this member's replication address is not "
				 "known; set address in dag.conf or pass --address", ng.name);
	r = check_no_group(call);
	if (!r)
		r = take_quorum(call, &ng);
	if (r)
		return r;
	if (getrandom(uuid, sizeof(uuid), 0) != sizeof(uuid))
		return -EIO;
	uuid_from_random(uuid);
	uuid_format(uuid, ng.uuid);
	r = make_creds(ct, &ng);
	if (r)
		return call_fail(call, r, "group %s: certificates not made in %s: %s; see the log",
				 ng.name, ct->creds_dir, strerror(-r));
	r = use_engine(call, ng.engine, ng.url);
	if (r)
		return r;
	r = ct->engine->ops->txn_group(ct->engine, edit_create, &ng, call->err, sizeof(call->err));
	if (r) {
		char ignored[200];

		if (strcmp(ng.engine, "file"))
			ct->engine->ops->use(ct->engine, "file", "", ignored, sizeof(ignored));
		return r;
	}
	control_wait_applied(ct);
	log_notice("group=%s uuid=%s founder=%s msg=created", ng.name, ng.uuid, ng.self);
	history_add(ct->history, "member-join", "", NULL, "group %s created", ng.name);
	return verb_group_show(call, ret);
}

static void add_reach(struct rpc_call *call, const char *member, struct json_object *obj)
{
	struct peer_view pv;

	if (!strcmp(member, call->ct->cf->member)) {
		json_object_object_add(obj, "reachable", json_object_new_boolean(true));
		json_object_object_add(obj, "age_seconds", json_object_new_double(0));
		json_object_object_add(obj, "version", json_object_new_string(DAG_VERSION));
		json_object_object_add(obj, "authority",
				       json_object_new_boolean(authority_held(call->ct)));
		return;
	}
	peers_view(call->ct, member, &pv);
	json_object_object_add(obj, "reachable", json_object_new_boolean(pv.reachable));
	if (pv.age_seconds >= 0) {
		json_object_object_add(obj, "age_seconds", json_object_new_double(pv.age_seconds));
		json_object_object_add(obj, "rtt_ms", json_object_new_double(pv.rtt_ms));
		json_object_object_add(obj, "version", json_object_new_string(pv.version));
		json_object_object_add(obj, "authority", json_object_new_boolean(pv.authority));
	}
	if (pv.error[0])
		json_object_object_add(obj, "error", json_object_new_string(pv.error));
}

struct json_object *members_obj(struct rpc_call *call, const struct group_state *gs)
{
	struct json_object *list = json_object_new_array();
	uint32_t i;

	for (i = 0; i < gs->nr_members; i++) {
		struct json_object *obj = group_member_to_obj(&gs->members[i]);

		json_object_object_add(obj, "founder", json_object_new_boolean(
				       !strcmp(gs->members[i].name, gs->founder)));
		add_reach(call, gs->members[i].name, obj);
		json_object_array_add(list, obj);
	}
	return list;
}

/* Who votes beside the members. */
static void add_witness(struct rpc_call *call, const struct group_state *gs, struct json_object *obj)
{
	struct json_object *wt;

	if (!gs->witness.name[0])
		return;
	wt = json_object_new_object();
	json_object_object_add(wt, "name", json_object_new_string(gs->witness.name));
	json_object_object_add(wt, "voter", json_object_new_boolean(gs->witness.voter));
	json_object_object_add(wt, "reachable", json_object_new_boolean(
			       control_reachable(call->ct, gs->witness.name)));
	json_object_object_add(obj, "witness", wt);
}

/* What the engine is, and how old what it says may be. */
static void add_engine(struct rpc_call *call, const struct group_state *gs, struct json_object *obj)
{
	struct engine *en = call->ct->engine;
	struct engine_health h = { .confirmed = true };
	struct quorum_plan plan;

	snprintf(h.kind, sizeof(h.kind), "%s", en->ops->name);
	if (en->ops->health)
		en->ops->health(en, &h);
	json_object_object_add(obj, "engine", json_object_new_string(h.kind));
	if (strcmp(h.kind, "etcd"))
		return;
	json_object_object_add(obj, "manager", json_object_new_string(gs->manager));
	json_object_object_add(obj, "address", json_object_new_string(gs->address));
	json_object_object_add(obj, "engine_confirmed", json_object_new_boolean(h.confirmed));
	json_object_object_add(obj, "engine_age_ms", json_object_new_int64(h.age_ms));
	/* a majority is asked each second */
	json_object_object_add(obj, "engine_quorum", json_object_new_boolean(
			       h.confirmed && h.age_ms >= 0 && h.age_ms < QUORUM_MS));
	quorum_plan(gs, &plan);
	json_object_object_add(obj, "quorum_model", json_object_new_string(quorum_model_name(plan.model)));
	add_witness(call, gs, obj);
	json_object_object_add(obj, "engine_voters", json_object_new_int(h.voters));
	json_object_object_add(obj, "engine_learners", json_object_new_int(h.learners));
	json_object_object_add(obj, "engine_connections", json_object_new_int(h.connections));
	json_object_object_add(obj, "engine_ways", json_object_new_int(h.ways));
	if (h.pid)
		json_object_object_add(obj, "engine_pid", json_object_new_int(h.pid));
	if (h.error[0])
		json_object_object_add(obj, "engine_error", json_object_new_string(h.error));
	if (gs->engine_url[0])
		json_object_object_add(obj, "engine_url", json_object_new_string(gs->engine_url));
}

int verb_group_show(struct rpc_call *call, struct json_object **ret)
{
	struct json_object *obj;
	struct group_state gs;
	uint32_t i, stores = 0;
	int r;

	r = control_state(call, &gs);
	if (r)
		return r;
	for (i = 0; i < gs.nr_stores; i++)
		stores += !gs.stores[i].removed;
	obj = json_object_new_object();
	json_object_object_add(obj, "name", json_object_new_string(gs.name));
	json_object_object_add(obj, "uuid", json_object_new_string(gs.uuid));
	json_object_object_add(obj, "founder", json_object_new_string(gs.founder));
	json_object_object_add(obj, "generation", json_object_new_int64(gs.generation));
	json_object_object_add(obj, "version", json_object_new_int64(gs.version));
	add_engine(call, &gs, obj);
	json_object_object_add(obj, "answered_by", json_object_new_string(call->ct->cf->member));
	group_settings_add(&gs, obj);
	json_object_object_add(obj, "members", members_obj(call, &gs));
	json_object_object_add(obj, "stores", json_object_new_int64(stores));
	group_state_free(&gs);
	*ret = obj;
	return 0;
}

/* ---- join --------------------------------------------------------------- */

static int resolve(const struct invite_token *tk, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	struct sockaddr_in *in4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, tk->address, &in4->sin_addr) == 1) {
		in4->sin_family = AF_INET;
		in4->sin_port = htons(tk->port);
		*ret_len = sizeof(*in4);
	} else {
		inet_pton(AF_INET6, tk->address, &in6->sin6_addr);
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(tk->port);
		*ret_len = sizeof(*in6);
	}
	return 0;
}

/* Ask who gave the token: its answer, or -errno with a message. */
static int ask_inviter(struct rpc_call *call, const struct invite_token *tk, const char *csr,
		       struct rpc_answer *ret)
{
	struct json_object *rq = json_object_new_object();
	struct sockaddr_storage to;
	struct join_conn *jc = NULL;
	socklen_t tolen;
	char why[256] = "", *buf = malloc(RPC_LINE_MAX);
	int r, n;

	resolve(tk, &to, &tolen);
	json_object_object_add(rq, "secret", json_object_new_string(tk->secret));
	json_object_object_add(rq, "member", json_object_new_string(tk->member));
	json_object_object_add(rq, "address", json_object_new_string(call->ct->cf->address));
	json_object_object_add(rq, "csr", json_object_new_string(csr));
	r = buf ? join_connect((struct sockaddr *)&to, tolen, tk->fingerprint, JOIN_MS, &jc) : -ENOMEM;
	if (!r)
		r = join_write(jc, json_object_to_json_string_ext(rq, JSON_C_TO_STRING_PLAIN));
	if (!r)
		r = join_write(jc, "\n");
	if (!r) {
		n = join_read_line(jc, buf, RPC_LINE_MAX);
		r = n > 0 ? rpc_answer_parse(buf, n, ret, why, sizeof(why)) : n ? n : -ECONNRESET;
	}
	join_close(jc);
	json_object_put(rq);
	free(buf);
	if (r == -EKEYREJECTED)
		return call_fail(call, r, "group join: %s port %u is not the member that gave the "
				 "token; make a new one with dagctl member add", tk->address, tk->port);
	if (r)
		return call_fail(call, r, "group join: member at %s port %u: %s; is its dagd running "
				 "and the token less than 24 hours old?", tk->address, tk->port,
				 why[0] ? why : strerror(-r));
	if (ret->kind == RPC_ERROR)
		return call_fail(call, ret->code, "group join: refused: %s",
				 ret->message);
	return 0;
}

/* Certificates first: a state without them could not be used. */
static int install(struct rpc_call *call, struct json_object *answer)
{
	struct control *ct = call->ct;
	struct json_object *crt, *ca, *state;
	struct group_state gs;
	int r;

	if (!json_object_object_get_ex(answer, "crt", &crt) ||
	    !json_object_object_get_ex(answer, "ca", &ca) ||
	    !json_object_object_get_ex(answer, "state", &state))
		return call_fail(call, -EPROTO, "group join: the answer is not complete");
	r = group_state_init(&gs);
	if (r)
		return r;
	r = group_state_from_obj(state, &gs, call->err, sizeof(call->err));
	if (!r)
		r = creds_install(ct->creds_dir, json_object_get_string(crt),
				  json_object_get_string(ca));
	if (!r && gs.crl[0])
		r = creds_crl_store(ct->creds_dir, gs.crl);
	if (!r)
		r = use_engine(call, gs.engine[0] ? gs.engine : "file", gs.engine_url);
	if (!r)
		r = ct->engine->ops->learn(ct->engine, &gs);
	/* in the group by now; without the engine there is just nothing to do yet */
	if (!r && ct->engine->ops->confirm && ct->engine->ops->confirm(ct->engine, CONFIRM_MS))
		log_warn("group=%s msg=\"joined, but the engine does not answer yet\"", gs.name);
	if (r && !call->err[0])
		call_fail(call, r, "group join: certificate or state not stored in %s: %s",
			  ct->cf->state_dir, strerror(-r));
	group_state_free(&gs);
	return r;
}

/* A host that is not fit would be trouble for the group: not without force. */
static int check_fit(struct rpc_call *call)
{
	struct control *ct = call->ct;
	struct preflight_conf conf = { .cf = ct->cf, .serving = true,
				       .no_module = strcmp(ct->tap->name, "module") };
	struct preflight pf;
	unsigned i;
	int r;

	r = rpc_bool(call->params, "force", call->err, sizeof(call->err));
	if (r)
		return r < 0 ? r : 0;
	if (preflight_run(&conf, &pf) != PREFLIGHT_FAIL)
		return 0;
	for (i = 0; i < pf.nr && pf.res[i].level != PREFLIGHT_FAIL; i++)
		;
	return call_fail(call, -EPERM, "group join: this host is not fit: %s: %s; %s (dagctl preflight "
			 "shows all, --force joins anyway)", pf.res[i].name, pf.res[i].text,
			 pf.res[i].next);
}

int verb_group_join(struct rpc_call *call, struct json_object **ret)
{
	struct control *ct = call->ct;
	struct rpc_answer an = { .kind = RPC_ERROR };
	struct invite_token tk;
	const char *token;
	char *csr = NULL;
	int r;

	if (rpc_str(call->params, "token", &token, call->err, sizeof(call->err)))
		return -EINVAL;
	if (invite_token_parse(token, &tk))
		return call_fail(call, -EINVAL, "group join: that is not a token; copy the whole line "
				 "that dagctl member add printed");
	r = check_no_group(call);
	if (!r)
		r = check_fit(call);
	if (r)
		return r;
	if (strcmp(tk.member, ct->cf->member))
		return call_fail(call, -EINVAL, "group join: the token is for member %s, this one is "
				 "%s; invite this name or set member in dag.conf", tk.member,
				 ct->cf->member);
	r = creds_request(ct->creds_dir, tk.group, tk.member, &csr);
	if (r)
		return call_fail(call, r, "group join: no key in %s: %s", ct->creds_dir, strerror(-r));
	r = ask_inviter(call, &tk, csr, &an);
	free(csr);
	if (r)
		return r;
	r = install(call, an.value);
	json_object_put(an.value);
	if (r)
		return r;
	control_wait_applied(ct);
	return verb_group_show(call, ret);
}
