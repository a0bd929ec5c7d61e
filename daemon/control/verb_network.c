// SPDX-License-Identifier: GPL-2.0
/* verb_network - networks: list and change them, find them anew, figures of each path. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/control_int.h"
#include "daemon/control/history.h"
#include "daemon/control/networks.h"
#include "daemon/group/network.h"
#include "daemon/net/heartbeat_udp.h"
#include "daemon/ship/compress.h"

#define ERR		call->err, sizeof(call->err)
#define RESCAN_MS	5000
#define VIEW_MAX	(GROUP_MEMBERS_MAX * NETWORK_PATHS_MAX)

static const char *const ranks[] = { "replication", "client", "direct", "heartbeats-only" };

/* By enum network_compression. */
static const char *const compressions[] = { "group", "off", "lz4", "zstd" };

static void add_str(struct json_object *obj, const char *key, const char *value)
{
	json_object_object_add(obj, key, json_object_new_string(value));
}

static void add_bool(struct json_object *obj, const char *key, bool value)
{
	json_object_object_add(obj, key, json_object_new_boolean(value));
}

static bool beats_are_on(struct rpc_call *call)
{
	struct heartbeats *hs = control_heartbeats(call->ct);

	return hs && heartbeats_on(hs);
}

/* ---- list ------------------------------------------------------------------- */

struct seen {
	struct heartbeats_path path[VIEW_MAX];
	struct net_result res[VIEW_MAX];
	unsigned nr;
};

static struct seen *look(struct rpc_call *call)
{
	struct heartbeats *hs = control_heartbeats(call->ct);
	struct seen *sn = calloc(1, sizeof(*sn));
	unsigned i;

	if (!sn)
		return NULL;
	sn->nr = hs ? heartbeats_view(hs, sn->path, VIEW_MAX) : 0;
	for (i = 0; i < sn->nr; i++) {
		const struct heartbeats_path *hp = &sn->path[i];

		memcpy(sn->res[i].member, hp->member, sizeof(hp->member));
		sn->res[i].local = hp->at.local;
		sn->res[i].remote = hp->at.remote;
		sn->res[i].known = hp->known;
		sn->res[i].up = hp->up;
	}
	return sn;
}

static struct json_object *interfaces_in(struct rpc_call *call, struct group_state *gs,
					 const struct subnet *sn, const struct seen *seen)
{
	struct json_object *list = json_object_new_array();
	uint32_t i;

	for (i = 0; i < gs->nr_members; i++) {
		struct netif ni[NETIFS_MAX];
		unsigned k, nr = netifs_parse(gs->members[i].addresses, ni, NETIFS_MAX);

		for (k = 0; k < nr; k++) {
			struct json_object *obj;
			char addr[NETADDR_TEXT];

			if (!subnet_has(sn, &ni[k].addr))
				continue;
			obj = json_object_new_object();
			netaddr_format(&ni[k].addr, addr);
			add_str(obj, "member", gs->members[i].name);
			add_str(obj, "interface", ni[k].iface);
			add_str(obj, "address", addr);
			add_str(obj, "state", iface_state_name(network_iface_state(gs,
				call->ct->cf->member, gs->members[i].name, &ni[k], seen->res,
				seen->nr)));
			json_object_array_add(list, obj);
		}
	}
	return list;
}

static struct json_object *subnets_of(struct rpc_call *call, struct group_state *gs,
				      const struct group_network *nw, const struct seen *seen)
{
	struct json_object *list = json_object_new_array();
	struct subnet sn[NETWORK_SUBNETS_MAX];
	unsigned i, nr = subnets_parse(nw->subnets, sn, NETWORK_SUBNETS_MAX);

	for (i = 0; i < nr; i++) {
		struct json_object *obj = json_object_new_object();
		char text[SUBNET_TEXT];

		subnet_format(&sn[i], text);
		add_str(obj, "subnet", text);
		add_str(obj, "state", subnet_state_name(network_subnet_state(gs,
			call->ct->cf->member, &sn[i], seen->res, seen->nr)));
		json_object_object_add(obj, "interfaces", interfaces_in(call, gs, &sn[i], seen));
		json_object_array_add(list, obj);
	}
	return list;
}

int verb_network_list(struct rpc_call *call, struct json_object **ret)
{
	struct json_object *list;
	struct group_state gs;
	struct seen *seen;
	uint32_t i;
	int r;

	r = control_state(call, &gs);
	if (r)
		return r;
	seen = look(call);
	if (!seen) {
		group_state_free(&gs);
		return -ENOMEM;
	}
	list = json_object_new_array();
	for (i = 0; i < gs.nr_networks; i++) {
		struct json_object *obj = json_object_new_object();

		add_str(obj, "name", gs.networks[i].name);
		add_bool(obj, "client", gs.networks[i].client);
		add_bool(obj, "replication", gs.networks[i].replication);
		add_bool(obj, "ignore", gs.networks[i].ignore);
		add_str(obj, "compression", compressions[gs.networks[i].compression & 3]);
		json_object_object_add(obj, "subnets", subnets_of(call, &gs, &gs.networks[i], seen));
		json_object_array_add(list, obj);
	}
	*ret = json_object_new_object();
	add_bool(*ret, "heartbeats", beats_are_on(call));
	add_bool(*ret, "manual", gs.manual_networks);
	add_str(*ret, "seen_by", call->ct->cf->member);
	json_object_object_add(*ret, "networks", list);
	free(seen);
	group_state_free(&gs);
	return 0;
}

/* ---- change ------------------------------------------------------------------ */

static int flag_of(struct rpc_call *call, const char *key, int *ret)
{
	const char *value = NULL;

	*ret = -1;
	if (rpc_str_opt(call->params, key, &value, ERR))
		return -EINVAL;
	if (!value)
		return 0;
	if (strcmp(value, "on") && strcmp(value, "off"))
		return call_fail(call, -EINVAL, "%s: on or off, not '%s'", key, value);
	*ret = !strcmp(value, "on");
	return 0;
}

static int compression_of(struct rpc_call *call, int *ret)
{
	const char *value = NULL;

	*ret = -1;
	if (rpc_str_opt(call->params, "compression", &value, ERR))
		return -EINVAL;
	while (value && ++*ret < 4)
		if (!strcmp(value, compressions[*ret]))
			return 0;
	return value ? call_fail(call, -EINVAL, "compression: group, off, lz4 or zstd, not '%s'",
				 value) : 0;
}

static int edit_network(struct group_state *gs, void *ctx)
{
	struct network_change ch = { .name = NULL };
	struct rpc_call *call = ctx;

	if (rpc_str(call->params, "name", &ch.name, ERR) ||
	    rpc_str_opt(call->params, "rename", &ch.rename, ERR) ||
	    rpc_str_opt(call->params, "subnets", &ch.subnets, ERR) ||
	    flag_of(call, "client", &ch.client) || flag_of(call, "replication", &ch.replication) ||
	    flag_of(call, "ignore", &ch.ignore) || compression_of(call, &ch.compression))
		return -EINVAL;
	return network_edit(gs, &ch, ERR);
}

int verb_network_set(struct rpc_call *call, struct json_object **ret)
{
	struct engine *en = call->ct->engine;
	char why[ERR_BYTES] = "";
	const char *name;
	int r;

	if (!beats_are_on(call))
		return call_fail(call, -EOPNOTSUPP, "network set: this group has no heartbeats, so "
				 "there are no networks; it takes a group with an engine that votes");
	if (rpc_str(call->params, "name", &name, ERR))
		return -EINVAL;
	r = en->ops->txn_group(en, edit_network, call, why, sizeof(why));
	if (r && !call->err[0])
		call_fail(call, r, "network %s: %s", name, why[0] ? why : strerror(-r));
	if (r)
		return r;
	control_wait_applied(call->ct);
	history_add(call->ct->history, "network", "", json_object_get(call->params), "network %s set",
		    name);
	return verb_network_list(call, ret);
}

/* ---- find anew ------------------------------------------------------------------ */

int verb_network_rescan(struct rpc_call *call, struct json_object **ret)
{
	char why[ERR_BYTES] = "";
	int r = networks_rediscover(call->ct->networks, why, sizeof(why));

	return r ? call_fail(call, r, "member %s: addresses not published: %s", call->ct->cf->member,
			     why[0] ? why : strerror(-r)) : 0;
}

static int edit_auto(struct group_state *gs, void *ctx)
{
	gs->manual_networks = false;
	network_discover(gs, true);
	return 0;
}

/* Every member looks at its interfaces; who does not answer keeps its former list. */
static void rescan_others(struct rpc_call *call, struct group_state *gs, struct json_object *silent)
{
	struct json_object *none = json_object_new_object();
	uint32_t i;

	for (i = 0; i < gs->nr_members; i++) {
		struct json_object *res = NULL;
		const char *name = gs->members[i].name;

		if (!strcmp(name, call->ct->cf->member))
			continue;
		if (!control_reachable(call->ct, name) ||
		    peer_call(call, name, "network.rescan", none, RESCAN_MS, &res))
			json_object_array_add(silent, json_object_new_string(name));
		json_object_put(res);
	}
	call->err[0] = '\0';
	json_object_put(none);
}

int verb_network_rediscover(struct rpc_call *call, struct json_object **ret)
{
	struct engine *en = call->ct->engine;
	struct json_object *silent;
	char why[ERR_BYTES] = "";
	struct group_state gs;
	int r;

	if (!beats_are_on(call))
		return call_fail(call, -EOPNOTSUPP, "network rediscover: this group has no heartbeats, "
				 "so there are no networks; it takes a group with an engine that votes");
	r = rpc_bool(call->params, "auto", ERR);
	if (r < 0)
		return r;
	if (r) {
		r = en->ops->txn_group(en, edit_auto, call, why, sizeof(why));
		if (r)
			return call_fail(call, r, "network rediscover: %s", why[0] ? why : strerror(-r));
	}
	r = verb_network_rescan(call, ret);
	if (!r)
		r = control_state(call, &gs);
	if (r)
		return r;
	silent = json_object_new_array();
	rescan_others(call, &gs, silent);
	group_state_free(&gs);
	control_wait_applied(call->ct);
	r = verb_network_list(call, ret);
	if (!r)
		json_object_object_add(*ret, "silent", silent);
	else
		json_object_put(silent);
	return r;
}

/* ---- figures ---------------------------------------------------------------------- */

static const char *path_word(const struct heartbeats_path *hp)
{
	if (hp->up)
		return hp->lossy ? "up, loses" : "up";
	if (!hp->known)
		return "unknown";
	if (hp->heard)
		return "one way: not heard there";
	return "down";
}

/* What the log that goes by this path is compressed with, if the copy there can. */
static void add_compression(struct json_object *obj, struct group_state *gs,
			    const struct net_path *at)
{
	bool seed_only;
	enum dag_codec codec = network_codec(gs, &at->local, &at->remote, &seed_only);

	add_str(obj, "compression", compress_name(codec));
	if (codec != DAG_CODEC_NONE)
		add_bool(obj, "compression_seed_only", seed_only);
}

static struct json_object *path_obj(struct group_state *gs, const struct heartbeats_path *hp)
{
	struct json_object *obj = json_object_new_object();
	char local[NETADDR_TEXT], remote[NETADDR_TEXT];

	netaddr_format(&hp->at.local, local);
	netaddr_format(&hp->at.remote, remote);
	add_str(obj, "member", hp->member);
	add_str(obj, "network", hp->at.network);
	add_str(obj, "use", ranks[hp->at.rank]);
	add_str(obj, "interface", hp->at.iface);
	add_str(obj, "local", local);
	add_str(obj, "remote", remote);
	add_str(obj, "state", path_word(hp));
	add_compression(obj, gs, &hp->at);
	add_bool(obj, "up", hp->up);
	add_bool(obj, "chosen", hp->chosen);
	add_bool(obj, "same_subnet", hp->at.same_subnet);
	json_object_object_add(obj, "since_seconds", json_object_new_double(hp->since_seconds));
	if (hp->age_seconds >= 0) {
		json_object_object_add(obj, "age_seconds", json_object_new_double(hp->age_seconds));
		json_object_object_add(obj, "loss_percent",
				       json_object_new_double(hp->loss_permille / 10.0));
	}
	if (hp->rtt_ms >= 0)
		json_object_object_add(obj, "rtt_ms", json_object_new_double(hp->rtt_ms));
	json_object_object_add(obj, "received", json_object_new_int64(hp->received));
	json_object_object_add(obj, "late", json_object_new_int64(hp->late));
	json_object_object_add(obj, "replayed", json_object_new_int64(hp->replayed));
	return obj;
}

static struct json_object *counters(struct heartbeats *hs)
{
	struct json_object *obj = json_object_new_object();
	struct heartbeats_stats st;

	heartbeats_stats(hs, &st);
#define COUNT(name)	json_object_object_add(obj, #name, json_object_new_int64(st.name))
	COUNT(sent);
	COUNT(not_sent);
	COUNT(taken);
	COUNT(late);
	COUNT(unproven);
	COUNT(stray);
	COUNT(malformed);
	COUNT(forged);
	COUNT(foreign);
	COUNT(replayed);
#undef COUNT
	return obj;
}

int verb_network_status(struct rpc_call *call, struct json_object **ret)
{
	struct heartbeats *hs = control_heartbeats(call->ct);
	struct json_object *list;
	struct group_state gs;
	struct seen *seen;
	unsigned i;
	int r;

	if (!hs || !heartbeats_on(hs))
		return call_fail(call, -EOPNOTSUPP, "network status: member %s sends no heartbeats; it "
				 "takes a group with an engine that votes", call->ct->cf->member);
	r = control_state(call, &gs);
	if (r)
		return r;
	seen = look(call);
	if (!seen) {
		group_state_free(&gs);
		return -ENOMEM;
	}
	list = json_object_new_array();
	for (i = 0; i < seen->nr; i++)
		json_object_array_add(list, path_obj(&gs, &seen->path[i]));
	*ret = json_object_new_object();
	add_str(*ret, "seen_by", call->ct->cf->member);
	json_object_object_add(*ret, "paths", list);
	json_object_object_add(*ret, "heartbeats", counters(hs));
	free(seen);
	group_state_free(&gs);
	return 0;
}
