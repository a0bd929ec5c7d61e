// SPDX-License-Identifier: GPL-2.0
/* verb_group_set - settings of a group: times, encryption, compression, DAC. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/control_int.h"
#include "daemon/control/history.h"
#include "daemon/group/lease.h"
#include "daemon/net/heartbeat_udp.h"
#include "daemon/net/service_addr.h"

#define ERR		call->err, sizeof(call->err)
#define VIEW_MAX	(GROUP_MEMBERS_MAX * NETWORK_PATHS_MAX)

static const char *const wires[] = { "inter-subnet", "disabled", "enabled", "seed-only" };
static const char *const codecs[] = { "lz4", "zstd" };

/* The longest round trip to a member over the path that is taken now, from here. */
static uint32_t round_trip_ms(struct control *ct)
{
	struct heartbeats *hs = control_heartbeats(ct);
	struct heartbeats_path *hp = calloc(VIEW_MAX, sizeof(*hp));
	unsigned i, nr = hs && hp ? heartbeats_view(hs, hp, VIEW_MAX) : 0;
	double most = 0;

	for (i = 0; i < nr; i++)
		if (hp[i].chosen && hp[i].rtt_ms > most)
			most = hp[i].rtt_ms;
	free(hp);
	return most + 1;
}

int call_profile(struct rpc_call *call, struct group_profile *p)
{
	static const struct {
		const char *key;
		size_t off;
	} times[] = {
		{ "engine_heartbeat_ms", offsetof(struct group_profile, engine_heartbeat_ms) },
		{ "engine_election_ms", offsetof(struct group_profile, engine_election_ms) },
		{ "lease_period_ms", offsetof(struct group_profile, lease_period_ms) },
		{ "lease_ms", offsetof(struct group_profile, lease_ms) },
		{ "heartbeat_ms", offsetof(struct group_profile, heartbeat_ms) },
	};
	struct group_profile before = *p;
	const char *name = NULL;
	char why[ERR_BYTES];
	size_t i;

	if (rpc_str_opt(call->params, "profile", &name, ERR))
		return -EINVAL;
	if (name && lease_profile_named(name, p))
		return call_fail(call, -EINVAL, "profile %s: use lan, wan or fast", name);
	for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		uint32_t *at = (uint32_t *)((char *)p + times[i].off);
		uint64_t ms = *at;

		if (rpc_u64_opt(call->params, times[i].key, 60000, &ms, ERR))
			return -EINVAL;
		*at = ms;
	}
	if (!memcmp(&before, p, sizeof(before)))
		return 0;
	if (lease_profile_check(p, round_trip_ms(call->ct), why, sizeof(why)))
		return call_fail(call, -EINVAL, "profile: %s", why);
	return 0;
}

static int take_wire(struct rpc_call *call, const char *key, uint32_t *io)
{
	const char *value = NULL;
	uint32_t i;

	if (rpc_str_opt(call->params, key, &value, ERR))
		return -EINVAL;
	for (i = 0; value && i < 4; i++) {
		if (strcmp(value, wires[i]))
			continue;
		*io = i;
		return 0;
	}
	return value ? call_fail(call, -EINVAL, "%s %s: use disabled, enabled, inter-subnet or "
				 "seed-only", key, value) : 0;
}

static int take_codec(struct rpc_call *call, uint32_t *io)
{
	const char *value = NULL;

	if (rpc_str_opt(call->params, "codec", &value, ERR))
		return -EINVAL;
	if (value && strcmp(value, codecs[CODEC_LZ4]) && strcmp(value, codecs[CODEC_ZSTD]))
		return call_fail(call, -EINVAL, "codec %s: use lz4 or zstd", value);
	if (value)
		*io = strcmp(value, codecs[CODEC_ZSTD]) ? CODEC_LZ4 : CODEC_ZSTD;
	return 0;
}

/* [IFACE=]ADDRESS[/PREFIX], one; "none" takes it away. */
static int take_address(struct rpc_call *call, struct group_state *gs, const char *text)
{
	struct service_addr sa;
	char why[200];
	int n;

	if (text == gs->address)
		return 0;
	n = strcmp(text, "none") ? service_addr_parse(text, &sa, 1, why, sizeof(why)) : 0;
	if (n < 0)
		return call_fail(call, -EINVAL, "group set: address: %s", why);
	if (n && strlen(sa.text) >= sizeof(gs->address))
		return call_fail(call, -EINVAL, "group set: address %s: too long", text);
	snprintf(gs->address, sizeof(gs->address), "%.*s", (int)sizeof(gs->address) - 1,
		 n ? sa.text : "");
	return 0;
}

static int edit_group(struct group_state *gs, void *ctx)
{
	struct rpc_call *call = ctx;
	const char *dac = NULL, *address = gs->address;

	if (call_profile(call, &gs->profile) || take_wire(call, "encryption", &gs->encryption) ||
	    take_wire(call, "compression", &gs->compression) || take_codec(call, &gs->codec) ||
	    rpc_str_opt(call->params, "dac", &dac, ERR) ||
	    rpc_str_opt(call->params, "address", &address, ERR))
		return -EINVAL;
	if (take_address(call, gs, address))
		return -EINVAL;
	if (dac && strcmp(dac, "on") && strcmp(dac, "off"))
		return call_fail(call, -EINVAL, "dac: on or off, not '%s'", dac);
	if (dac)
		gs->no_dac = !strcmp(dac, "off");
	return 0;
}

/* What can be stored but would do nothing is refused. */
static int check_built(struct rpc_call *call)
{
	const char *value = NULL;

	if (rpc_str_opt(call->params, "encryption", &value, ERR))
		return -EINVAL;
	if (value && !strcmp(value, wires[WIRE_SEED_ONLY]))
		return call_fail(call, -EOPNOTSUPP, "group set: log and seed share a connection, so "
				 "encryption cannot be for the seed only; use enabled or inter-subnet");
	return 0;
}

static int check_engine(struct rpc_call *call)
{
	static const char *const keys[] = { "profile", "engine_heartbeat_ms", "engine_election_ms",
					    "lease_period_ms", "lease_ms", "heartbeat_ms", "dac",
					    "encryption" };
	struct group_state gs;
	bool votes;
	size_t i;

	if (control_state(call, &gs))
		return -ENOENT;
	votes = gs.heartbeat_key[0];
	group_state_free(&gs);
	for (i = 0; !votes && i < sizeof(keys) / sizeof(keys[0]); i++)
		if (json_object_object_get_ex(call->params, keys[i], NULL))
			return call_fail(call, -EOPNOTSUPP, "group set: %s means nothing in a group whose "
					 "engine is a file", keys[i]);
	return 0;
}

void group_settings_add(const struct group_state *gs, struct json_object *obj)
{
	const struct group_profile *p = &gs->profile;
	struct json_object *times;

	json_object_object_add(obj, "compression", json_object_new_string(wires[gs->compression & 3]));
	json_object_object_add(obj, "codec", json_object_new_string(codecs[gs->codec & 1]));
	if (!gs->heartbeat_key[0])
		return;
	times = json_object_new_object();
	json_object_object_add(times, "name", json_object_new_string(lease_profile_name(p)));
	json_object_object_add(times, "engine_heartbeat_ms", json_object_new_int64(p->engine_heartbeat_ms));
	json_object_object_add(times, "engine_election_ms", json_object_new_int64(p->engine_election_ms));
	json_object_object_add(times, "lease_period_ms", json_object_new_int64(p->lease_period_ms));
	json_object_object_add(times, "lease_ms", json_object_new_int64(p->lease_ms));
	json_object_object_add(times, "heartbeat_ms", json_object_new_int64(p->heartbeat_ms));
	json_object_object_add(obj, "times", times);
	json_object_object_add(obj, "encryption", json_object_new_string(wires[gs->encryption & 3]));
	json_object_object_add(obj, "dac", json_object_new_boolean(!gs->no_dac));
}

int verb_group_set(struct rpc_call *call, struct json_object **ret)
{
	struct engine *en = call->ct->engine;
	char why[ERR_BYTES] = "";
	int r;

	r = check_built(call);
	if (!r)
		r = check_engine(call);
	if (r)
		return r;
	r = en->ops->txn_group(en, edit_group, call, why, sizeof(why));
	if (r && !call->err[0])
		call_fail(call, r, "group set: %s", why[0] ? why : strerror(-r));
	if (r)
		return r;
	control_wait_applied(call->ct);
	history_add(call->ct->history, "group-set", "", json_object_get(call->params), "group set");
	return verb_group_show(call, ret);
}
