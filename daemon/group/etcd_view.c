// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/etcd_view.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/group/lease.h"
#include "daemon/group/state_json.h"
#include "daemon/group/uuid.h"

#define ROOT		"/dag/"

int etcd_view_init(struct etcd_view *vw)
{
	memset(vw, 0, sizeof(*vw));
	vw->hosts = calloc(VIEW_HOSTS_MAX, sizeof(*vw->hosts));
	if (!vw->hosts)
		return -ENOMEM;
	return group_state_init(&vw->gs);
}

void etcd_view_free(struct etcd_view *vw)
{
	group_state_free(&vw->gs);
	free(vw->hosts);
	memset(vw, 0, sizeof(*vw));
}

/* ---- keys and values ------------------------------------------------------ */

void etcd_key(const char *uuid, const char *what, const char *name, char ret[VIEW_KEY_MAX])
{
	snprintf(ret, VIEW_KEY_MAX, ROOT "%.36s/%.16s%s%.64s", uuid, what, name ? "/" : "",
		 name ? name : "");
}

void etcd_key_store(const char *uuid, const uint8_t store[16], char ret[VIEW_KEY_MAX])
{
	char text[UUID_TEXT];

	uuid_format(store, text);
	etcd_key(uuid, "store", text, ret);
}

void etcd_key_range(const char *uuid, const char *what, char from[VIEW_KEY_MAX],
		    char to[VIEW_KEY_MAX])
{
	size_t len;

	if (what)
		etcd_key(uuid, what, "", from);
	else
		snprintf(from, VIEW_KEY_MAX, ROOT "%.36s/", uuid);
	memcpy(to, from, VIEW_KEY_MAX);
	len = strlen(to);
	to[len - 1]++;		/* the '/' */
}

static char *tagged(struct json_object *obj, const char *tag)
{
	const char *text;
	char *copy;

	json_object_object_add(obj, "txn", json_object_new_string(tag));
	text = json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN |
					      JSON_C_TO_STRING_NOSLASHESCAPE);
	copy = text ? strdup(text) : NULL;
	json_object_put(obj);
	return copy;
}

char *etcd_group_value(const struct group_state *gs, const char *tag)
{
	struct group_state part = *gs;

	part.nr_stores = 0;
	return tagged(group_state_to_obj(&part), tag);
}

char *etcd_store_value(const struct group_store *st, const char *tag)
{
	return tagged(group_store_to_obj(st), tag);
}

char *etcd_lease_value(uint64_t count, uint32_t lease_ms, bool released,
		       const struct engine_fact *facts, unsigned nr)
{
	struct json_object *obj = json_object_new_object(), *list = json_object_new_array();
	char text[UUID_TEXT], *copy;
	unsigned i;

	json_object_object_add(obj, "count", json_object_new_int64(count));
	json_object_object_add(obj, "lease_ms", json_object_new_int64(lease_ms));
	json_object_object_add(obj, "released", json_object_new_boolean(released));
	for (i = 0; i < nr && i < GROUP_STORES_MAX; i++) {
		struct json_object *one = json_object_new_object();

		uuid_format(facts[i].store, text);
		json_object_object_add(one, "store", json_object_new_string(text));
		json_object_object_add(one, "lsn", json_object_new_int64(facts[i].commit_lsn));
		json_object_array_add(list, one);
	}
	json_object_object_add(obj, "facts", list);
	copy = strdup(json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN));
	json_object_put(obj);
	return copy;
}

/* ---- hosts ---------------------------------------------------------------- */

struct engine_host *etcd_view_host(struct etcd_view *vw, const char *member)
{
	unsigned i;

	for (i = 0; i < vw->nr_hosts; i++)
		if (!strcmp(vw->hosts[i].member, member))
			return &vw->hosts[i];
	return NULL;
}

/* A place of a former member is taken where there is no other. */
static struct engine_host *add_host(struct etcd_view *vw, const char *member)
{
	struct engine_host *host = etcd_view_host(vw, member);
	unsigned i;

	if (host)
		return host;
	if (vw->nr_hosts < VIEW_HOSTS_MAX)
		host = &vw->hosts[vw->nr_hosts++];
	for (i = 0; !host && i < VIEW_HOSTS_MAX; i++)
		if (!group_find_member(&vw->gs, vw->hosts[i].member))
			host = &vw->hosts[i];
	if (!host)
		return NULL;
	memset(host, 0, sizeof(*host));
	snprintf(host->member, sizeof(host->member), "%s", member);
	return host;
}

static int bad(char *err, size_t errlen, const char *key, const char *what)
{
	snprintf(err, errlen, "engine: key %s: %s", key, what);
	return -EBADMSG;
}

static int take_decimal(const struct etcd_kv *kv, uint64_t *ret, char *err, size_t errlen)
{
	uint64_t n;
	char *end;

	errno = 0;
	n = strtoull(kv->value, &end, 10);
	if (!isdigit((unsigned char)kv->value[0]) || *end || errno || !n || n > INT64_MAX ||
	    strlen(kv->value) != kv->len)
		return bad(err, errlen, kv->key, "is no number");
	*ret = n;
	return 0;
}

static int take_fact(struct json_object *obj, struct engine_fact *ret)
{
	struct json_object *store, *lsn;

	if (!json_object_is_type(obj, json_type_object) ||
	    !json_object_object_get_ex(obj, "store", &store) ||
	    !json_object_is_type(store, json_type_string) ||
	    uuid_parse_text(json_object_get_string(store), ret->store) ||
	    !json_object_object_get_ex(obj, "lsn", &lsn) ||
	    !json_object_is_type(lsn, json_type_int) || json_object_get_int64(lsn) < 0)
		return -EBADMSG;
	ret->commit_lsn = json_object_get_int64(lsn);
	return 0;
}

static int take_lease(struct engine_host *host, const struct etcd_kv *kv, char *err, size_t errlen)
{
	struct json_object *obj = json_parse_strict(kv->value, kv->len, err, errlen), *val;
	struct engine_fact facts[GROUP_STORES_MAX];
	bool released = false;
	int64_t lease_ms = 0;
	size_t i, n = 0;
	int r = obj ? 0 : -EBADMSG;

	if (!r && json_object_object_get_ex(obj, "released", &val))
		released = json_object_get_boolean(val);
	if (!r && json_object_object_get_ex(obj, "lease_ms", &val))
		lease_ms = json_object_get_int64(val);
	if (lease_ms < 0 || lease_ms > LEASE_MS_MAX)
		r = -EBADMSG;
	if (!r && json_object_object_get_ex(obj, "facts", &val) &&
	    json_object_is_type(val, json_type_array))
		n = json_object_array_length(val);
	if (n > GROUP_STORES_MAX)
		r = -EBADMSG;
	for (i = 0; !r && i < n; i++)
		r = take_fact(json_object_array_get_idx(val, i), &facts[i]);
	json_object_put(obj);
	if (r)
		return bad(err, errlen, kv->key, "is no lease");
	host->released = released;
	host->lease_ms = lease_ms;
	host->nr_facts = n;
	memcpy(host->facts, facts, n * sizeof(facts[0]));
	return 0;
}

static int take_host(struct etcd_view *vw, const struct etcd_kv *kv, const char *name, bool lease,
		     uint64_t seen_ns, char *err, size_t errlen)
{
	struct engine_host *host;
	uint64_t fence;
	int r;

	if (!group_name_valid(name, sizeof(host->member) - 1))
		return bad(err, errlen, kv->key, "has no valid name");
	host = add_host(vw, name);
	if (!host)
		return bad(err, errlen, kv->key, "is one host too many");
	if (lease) {
		if (kv->mod <= host->lease_rev)
			return 0;
		r = take_lease(host, kv, err, errlen);
		if (r)
			return r;
		host->lease_rev = kv->mod;
		host->seen_boot_ns = seen_ns;
		return VIEW_LEASES;
	}
	r = take_decimal(kv, &fence, err, errlen);
	if (r)
		return r;
	/* it only grows: an older one comes from a member of etcd that lags */
	if (fence <= host->fence)
		return 0;
	host->fence = fence;
	return VIEW_LEASES;
}

/* ---- group and stores ------------------------------------------------------ */

static int take_group(struct etcd_view *vw, const struct etcd_kv *kv, char *err, size_t errlen)
{
	struct group_store *stores = vw->gs.stores;
	uint32_t nr = vw->gs.nr_stores, room = vw->gs.room;
	struct group_state gs;
	char why[200] = "";
	int r;

	if (kv->mod <= vw->group_mod)
		return 0;
	if (group_state_init(&gs))
		return -ENOMEM;
	r = group_state_from_json(kv->value, &gs, why, sizeof(why));
	if (!r && (strcmp(gs.uuid, vw->uuid) || gs.nr_stores))
		r = -EBADMSG;
	if (!r) {
		free(gs.stores);
		vw->gs = gs;
		vw->gs.stores = stores;
		vw->gs.nr_stores = nr;
		vw->gs.room = room;
		vw->group_mod = kv->mod;
		return VIEW_STATE;
	}
	group_state_free(&gs);
	return bad(err, errlen, kv->key, why[0] ? why : "is of another group");
}

static int take_store(struct etcd_view *vw, const struct etcd_kv *kv, const char *name, char *err,
		      size_t errlen)
{
	struct json_object *obj;
	struct group_store *st, *to;
	char why[200] = "";
	uint8_t uuid[16];
	int r = -EBADMSG;

	if (uuid_parse_text(name, uuid))
		return bad(err, errlen, kv->key, "has no uuid");
	to = group_find_store_uuid(&vw->gs, uuid);
	if (to && kv->mod <= vw->store_mod[to - vw->gs.stores])
		return 0;
	st = calloc(1, sizeof(*st));
	if (!st)
		return -ENOMEM;
	obj = json_parse_strict(kv->value, kv->len, why, sizeof(why));
	if (obj)
		r = group_store_from_obj(obj, st, why, sizeof(why));
	json_object_put(obj);
	if (!r && memcmp(st->uuid, uuid, 16))
		r = -EBADMSG;
	if (!r && !to && st->removed)
		goto out;	/* need not be remembered */
	if (!r && !to)
		to = group_add_store(&vw->gs, uuid);
	if (r || !to) {
		r = bad(err, errlen, kv->key, why[0] ? why : "is not a store that fits");
		goto out;
	}
	*to = *st;
	vw->store_mod[to - vw->gs.stores] = kv->mod;
	r = VIEW_STATE;
out:
	free(st);
	return r;
}

static int take_generation(struct etcd_view *vw, const struct etcd_kv *kv, char *err, size_t errlen)
{
	uint64_t g;
	int r;

	r = take_decimal(kv, &g, err, errlen);
	if (r)
		return r;
	if (g < vw->generation) {
		snprintf(err, errlen, "engine: is of generation %" PRIu64 ", the group is at %" PRIu64,
			 g, vw->generation);
		return -ESTALE;
	}
	if (g == vw->generation)
		return 0;
	vw->generation = g;
	return VIEW_STATE;
}

int etcd_view_take(struct etcd_view *vw, const struct etcd_kv *kv, uint64_t seen_ns, char *err,
		   size_t errlen)
{
	char root[VIEW_KEY_MAX], ignored[VIEW_KEY_MAX];
	const char *rest;
	size_t len;

	etcd_key_range(vw->uuid, NULL, root, ignored);
	len = strlen(root);
	if (strncmp(kv->key, root, len))
		return 0;
	rest = kv->key + len;
	if (!strcmp(rest, "generation"))
		return take_generation(vw, kv, err, errlen);
	if (!strcmp(rest, "group"))
		return take_group(vw, kv, err, errlen);
	if (!strncmp(rest, "store/", 6))
		return take_store(vw, kv, rest + 6, err, errlen);
	if (!strncmp(rest, "fence/", 6))
		return take_host(vw, kv, rest + 6, false, seen_ns, err, errlen);
	if (!strncmp(rest, "lease/", 6))
		return take_host(vw, kv, rest + 6, true, seen_ns, err, errlen);
	return 0;
}

/* What an incomplete copy had (a cache, another cluster) does not count any more. */
static void forget_all(struct etcd_view *vw)
{
	vw->gs.nr_stores = 0;
	memset(vw->store_mod, 0, sizeof(vw->store_mod));
	vw->group_mod = 0;
	vw->revision = 0;
	vw->nr_hosts = 0;
}

static int check_full(struct etcd_view *vw, const struct etcd_reply *rp, char *err, size_t errlen)
{
	char key[VIEW_KEY_MAX], group[VIEW_KEY_MAX];
	const struct etcd_kv *kv;
	uint64_t g;
	int r;

	etcd_key(vw->uuid, "generation", NULL, key);
	etcd_key(vw->uuid, "group", NULL, group);
	kv = etcd_reply_find(rp, key);
	if (!kv || !etcd_reply_find(rp, group)) {
		snprintf(err, errlen, "engine: does not hold this group");
		return -ENODATA;
	}
	r = take_decimal(kv, &g, err, errlen);
	if (!r && (g < vw->generation || g < vw->least ||
		   (vw->cluster && rp->cluster != vw->cluster && g == vw->generation))) {
		snprintf(err, errlen, "engine: another cluster of generation %" PRIu64
			 ", the group is at %" PRIu64, g,
			 vw->least > vw->generation ? vw->least : vw->generation);
		r = -ESTALE;
	}
	return r;
}

int etcd_view_read(struct etcd_view *vw, const struct etcd_reply *rp, bool full, uint64_t seen_ns,
		   char *err, size_t errlen)
{
	int r = 0, changed = 0;
	unsigned i;

	if (!full && (vw->generation < vw->least ||
		      (vw->cluster && rp->cluster != vw->cluster)))
		return -EREMCHG;
	if (full) {
		r = check_full(vw, rp, err, errlen);
		if (r)
			return r;
		/* one that lags behind what is known: nothing new in it */
		if (rp->cluster == vw->cluster && rp->revision < vw->revision)
			return 0;
		forget_all(vw);
	}
	/* the group first: hosts are told by their membership */
	for (i = 0; r >= 0 && i < 2 * rp->nr; i++) {
		const struct etcd_kv *kv = &rp->kv[i % rp->nr];
		bool host = strstr(kv->key, "/lease/") || strstr(kv->key, "/fence/");

		if (host != (i >= rp->nr))
			continue;
		r = etcd_view_take(vw, kv, seen_ns, err, errlen);
		changed |= r > 0 ? r : 0;
	}
	if (r < 0)
		return r;
	vw->cluster = rp->cluster;
	if (rp->revision > vw->revision)
		vw->revision = rp->revision;
	return changed;
}

uint64_t etcd_view_store_mod(struct etcd_view *vw, const uint8_t uuid[16])
{
	struct group_store *st = group_find_store_uuid(&vw->gs, uuid);

	return st ? vw->store_mod[st - vw->gs.stores] : 0;
}
