// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/state_json.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/group/uuid.h"
#include "daemon/refuse.h"
#include "daemon/replay/lag.h"

#define JSON_DEPTH_MAX	16

enum field_type { F_STR, F_U16, F_U32, F_U64, F_BOOL, F_UUID, F_MODE };

/* One member of a struct and its key; size counts the NUL of a string. */
struct field {
	const char *key;
	enum field_type type;
	bool required;
	size_t off, size;
	uint64_t max;
};

#define STR(s, f)	{ #f, F_STR, false, offsetof(struct s, f), sizeof(((struct s *)0)->f), 0 }
#define STR_REQ(s, f)	{ #f, F_STR, true, offsetof(struct s, f), sizeof(((struct s *)0)->f), 0 }
#define NUM(s, f, t, m)	{ #f, t, false, offsetof(struct s, f), 0, m }
#define NUM_REQ(s, f, t, m) { #f, t, true, offsetof(struct s, f), 0, m }
#define BOOL(s, f)	{ #f, F_BOOL, false, offsetof(struct s, f), 0, 0 }
#define END		{ NULL, F_STR, false, 0, 0, 0 }

static const struct field member_fields[] = {
	STR_REQ(group_member, name),
	STR_REQ(group_member, address),
	NUM_REQ(group_member, port, F_U16, UINT16_MAX),
	STR(group_member, site),
	STR(group_member, serial),
	STR(group_member, addresses),
	BOOL(group_member, voter),
	NUM(group_member, policy, F_U32, POLICY_BLOCKED),
	NUM(group_member, dial, F_U32, DIAL_BEST_EFFORT),
	NUM(group_member, max_active, F_U32, GROUP_STORES_MAX),
	NUM(group_member, max_preferred_active, F_U32, GROUP_STORES_MAX),
	BOOL(group_member, maintenance),
	BOOL(group_member, stopped),
	END
};

static const struct field witness_fields[] = {
	STR_REQ(group_witness, name),
	STR_REQ(group_witness, address),
	NUM_REQ(group_witness, port, F_U16, UINT16_MAX),
	STR_REQ(group_witness, directory),
	STR(group_witness, serial),
	BOOL(group_witness, voter),
	END
};

static const struct field network_fields[] = {
	STR_REQ(group_network, name),
	STR_REQ(group_network, subnets),
	BOOL(group_network, client),
	BOOL(group_network, replication),
	BOOL(group_network, ignore),
	NUM(group_network, compression, F_U32, COMPRESS_ZSTD),
	END
};

static const struct field profile_fields[] = {
	NUM_REQ(group_profile, engine_heartbeat_ms, F_U32, 60000),
	NUM_REQ(group_profile, engine_election_ms, F_U32, 60000),
	NUM_REQ(group_profile, lease_period_ms, F_U32, 60000),
	NUM_REQ(group_profile, lease_ms, F_U32, 600000),
	NUM_REQ(group_profile, heartbeat_ms, F_U32, 60000),
	END
};

static const struct field copy_fields[] = {
	STR_REQ(group_copy, member),
	STR_REQ(group_copy, device),
	STR_REQ(group_copy, meta_device),
	NUM_REQ(group_copy, meta_block, F_U64, INT64_MAX / DAGTAP_BLOCK),
	STR_REQ(group_copy, log_dir),
	NUM(group_copy, preference, F_U32, 1000),
	NUM(group_copy, replay_lag_ms, F_U64, LAG_MS_MAX),
	NUM(group_copy, truncation_lag_ms, F_U64, LAG_MS_MAX),
	BOOL(group_copy, lag_off),
	BOOL(group_copy, suspended),
	BOOL(group_copy, activation_blocked),
	STR(group_copy, comment),
	BOOL(group_copy, in_sync),
	NUM(group_copy, seed_request, F_U32, UINT32_MAX),
	NUM(group_copy, seed_rate, F_U64, INT64_MAX),
	BOOL(group_copy, seed_whole),
	END
};

static const struct field store_fields[] = {
	STR_REQ(group_store, name),
	{ "uuid", F_UUID, true, offsetof(struct group_store, uuid), 16, 0 },
	NUM_REQ(group_store, sectors, F_U64, INT64_MAX / DAGTAP_SECTOR),
	NUM_REQ(group_store, region_bytes, F_U32, 1u << 30),
	NUM_REQ(group_store, ring_mib, F_U32, 1024),
	NUM_REQ(group_store, segment_mib, F_U32, 65536),
	NUM(group_store, quota_bytes, F_U64, INT64_MAX),
	NUM_REQ(group_store, mode, F_MODE, 0),
	BOOL(group_store, ack_durable),
	NUM(group_store, min_in_sync, F_U32, GROUP_MEMBERS_MAX - 1),
	NUM(group_store, late_ms_max, F_U32, 3600 * 1000),
	NUM(group_store, full_timeout_ms, F_U32, 60000),
	NUM(group_store, keep_bytes, F_U64, INT64_MAX),
	NUM(group_store, seed_rate, F_U64, INT64_MAX),
	BOOL(group_store, manual),
	BOOL(group_store, dismounted),
	BOOL(group_store, client_stays),
	STR(group_store, fs_type),
	STR(group_store, mount_point),
	STR(group_store, mount_options),
	STR(group_store, unit),
	STR(group_store, exec),
	NUM(group_store, step_timeout_ms, F_U32, 3600 * 1000),
	STR(group_store, addresses),
	NUM_REQ(group_store, epoch, F_U32, UINT32_MAX),
	STR(group_store, active),
	NUM_REQ(group_store, start_lsn, F_U64, INT64_MAX),
	NUM(group_store, point_lsn, F_U64, INT64_MAX),
	NUM_REQ(group_store, version, F_U64, INT64_MAX),
	BOOL(group_store, removed),
	END
};

static const struct field state_fields[] = {
	STR_REQ(group_state, name),
	STR_REQ(group_state, uuid),
	NUM_REQ(group_state, generation, F_U64, INT64_MAX),
	NUM_REQ(group_state, version, F_U64, INT64_MAX),
	STR_REQ(group_state, founder),
	STR(group_state, crl),
	STR(group_state, engine),
	STR(group_state, engine_url),
	STR(group_state, manager),
	STR(group_state, address),
	STR(group_state, heartbeat_key),
	BOOL(group_state, no_dac),
	NUM(group_state, encryption, F_U32, WIRE_SEED_ONLY),
	NUM(group_state, compression, F_U32, WIRE_SEED_ONLY),
	NUM(group_state, codec, F_U32, CODEC_ZSTD),
	BOOL(group_state, manual_networks),
	END
};

static const char *const mode_names[] = { "async", "commit", "sync" };

const char *group_mode_name(uint32_t mode)
{
	return mode < 3 ? mode_names[mode] : "unknown";
}

int group_mode_parse(const char *name, uint32_t *ret)
{
	uint32_t i;

	for (i = 0; i < 3; i++) {
		if (strcmp(name, mode_names[i]))
			continue;
		*ret = i;
		return 0;
	}
	return -EINVAL;
}

static struct json_object *field_to_obj(const struct field *f, const void *base)
{
	const char *p = (const char *)base + f->off;
	char text[UUID_TEXT];

	switch (f->type) {
	case F_STR:
		return json_object_new_string(p);
	case F_U16:
		return json_object_new_int64(*(const uint16_t *)p);
	case F_U32:
		return json_object_new_int64(*(const uint32_t *)p);
	case F_U64:
		return json_object_new_int64(*(const uint64_t *)p);
	case F_BOOL:
		return json_object_new_boolean(*(const bool *)p);
	case F_UUID:
		uuid_format((const uint8_t *)p, text);
		return json_object_new_string(text);
	case F_MODE:
		return json_object_new_string(group_mode_name(*(const uint32_t *)p));
	}
	return NULL;
}

static struct json_object *fields_to_obj(const struct field *f, const void *base)
{
	struct json_object *obj = json_object_new_object();

	for (; f->key; f++)
		json_object_object_add(obj, f->key, field_to_obj(f, base));
	return obj;
}

/* Text that may go to a terminal: no control characters, no NUL within. */
static int take_string(const struct field *f, struct json_object *val, char *to, char *err,
		       size_t errlen)
{
	const char *s;
	size_t i, len;

	if (!json_object_is_type(val, json_type_string))
		return refuse(err, errlen, "%s is not a string", f->key);
	s = json_object_get_string(val);
	len = json_object_get_string_len(val);
	if (len >= f->size)
		return refuse(err, errlen, "%s is longer than %zu characters", f->key, f->size - 1);
	for (i = 0; i < len; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return refuse(err, errlen, "%s has a control character", f->key);
	memset(to, 0, f->size);
	memcpy(to, s, len);
	return 0;
}

static int take_number(const struct field *f, struct json_object *val, char *to, char *err,
		       size_t errlen)
{
	int64_t n;

	if (!json_object_is_type(val, json_type_int))
		return refuse(err, errlen, "%s is not an integer", f->key);
	n = json_object_get_int64(val);
	if (n < 0 || (uint64_t)n > f->max || json_object_get_uint64(val) != (uint64_t)n)
		return refuse(err, errlen, "%s is not within 0..%" PRIu64, f->key, f->max);
	if (f->type == F_U16)
		*(uint16_t *)to = n;
	else if (f->type == F_U32)
		*(uint32_t *)to = n;
	else
		*(uint64_t *)to = n;
	return 0;
}

static int take_field(const struct field *f, struct json_object *val, char *to, char *err,
		      size_t errlen)
{
	switch (f->type) {
	case F_STR:
		return take_string(f, val, to, err, errlen);
	case F_U16:
	case F_U32:
	case F_U64:
		return take_number(f, val, to, err, errlen);
	case F_BOOL:
		if (!json_object_is_type(val, json_type_boolean))
			return refuse(err, errlen, "%s is not true or false", f->key);
		*(bool *)to = json_object_get_boolean(val);
		return 0;
	case F_UUID:
		if (!json_object_is_type(val, json_type_string) ||
		    uuid_parse_text(json_object_get_string(val), (uint8_t *)to))
			return refuse(err, errlen, "%s is not a uuid", f->key);
		return 0;
	case F_MODE:
		if (!json_object_is_type(val, json_type_string) ||
		    group_mode_parse(json_object_get_string(val), (uint32_t *)to))
			return refuse(err, errlen, "%s is not async, commit or sync", f->key);
		return 0;
	}
	return -EINVAL;
}

static int fields_from_obj(const struct field *f, struct json_object *obj, void *base, char *err,
			   size_t errlen)
{
	if (!json_object_is_type(obj, json_type_object))
		return refuse(err, errlen, "not an object");
	for (; f->key; f++) {
		struct json_object *val = NULL;
		int r;

		if (!json_object_object_get_ex(obj, f->key, &val) || !val) {
			if (f->required)
				return refuse(err, errlen, "%s is missing", f->key);
			continue;
		}
		r = take_field(f, val, (char *)base + f->off, err, errlen);
		if (r)
			return r;
	}
	return 0;
}

struct json_object *group_member_to_obj(const struct group_member *mb)
{
	return fields_to_obj(member_fields, mb);
}

struct json_object *group_copy_to_obj(const struct group_copy *cp)
{
	return fields_to_obj(copy_fields, cp);
}

struct json_object *group_store_to_obj(const struct group_store *st)
{
	struct json_object *obj = fields_to_obj(store_fields, st);
	struct json_object *copies = json_object_new_array();
	uint32_t i;

	for (i = 0; i < st->nr_copies; i++)
		json_object_array_add(copies, group_copy_to_obj(&st->copies[i]));
	json_object_object_add(obj, "copies", copies);
	return obj;
}

struct json_object *group_state_to_obj(const struct group_state *gs)
{
	struct json_object *obj = fields_to_obj(state_fields, gs);
	struct json_object *members = json_object_new_array();
	struct json_object *networks = json_object_new_array();
	struct json_object *stores = json_object_new_array();
	uint32_t i;

	json_object_object_add(obj, "profile", fields_to_obj(profile_fields, &gs->profile));
	if (gs->witness.name[0])
		json_object_object_add(obj, "witness", fields_to_obj(witness_fields, &gs->witness));
	if (gs->alternate.name[0])
		json_object_object_add(obj, "alternate",
				       fields_to_obj(witness_fields, &gs->alternate));
	for (i = 0; i < gs->nr_networks; i++)
		json_object_array_add(networks, fields_to_obj(network_fields, &gs->networks[i]));
	json_object_object_add(obj, "networks", networks);
	for (i = 0; i < gs->nr_members; i++)
		json_object_array_add(members, group_member_to_obj(&gs->members[i]));
	for (i = 0; i < gs->nr_stores; i++)
		json_object_array_add(stores, group_store_to_obj(&gs->stores[i]));
	json_object_object_add(obj, "members", members);
	json_object_object_add(obj, "stores", stores);
	return obj;
}

int group_member_from_obj(struct json_object *obj, struct group_member *ret, char *err,
			  size_t errlen)
{
	struct group_member mb = { 0 };
	uint8_t bin[16];
	int r;

	r = fields_from_obj(member_fields, obj, &mb, err, errlen);
	if (r)
		return r;
	if (!group_name_valid(mb.name, sizeof(mb.name) - 1))
		return refuse(err, errlen, "member name is not valid");
	if (inet_pton(AF_INET, mb.address, bin) != 1 && inet_pton(AF_INET6, mb.address, bin) != 1)
		return refuse(err, errlen, "member %s: address is not numeric", mb.name);
	if (!mb.port)
		return refuse(err, errlen, "member %s: port is 0", mb.name);
	*ret = mb;
	return 0;
}

static int check_copy(const struct group_copy *cp, char *err, size_t errlen)
{
	if (!group_name_valid(cp->member, sizeof(cp->member) - 1))
		return refuse(err, errlen, "copy: name of the member is not valid");
	if (cp->device[0] != '/' || cp->meta_device[0] != '/' || cp->log_dir[0] != '/')
		return refuse(err, errlen, "copy on %s: a path is not absolute", cp->member);
	return 0;
}

int group_copy_from_obj(struct json_object *obj, struct group_copy *ret, char *err, size_t errlen)
{
	struct group_copy cp = { 0 };
	int r;

	r = fields_from_obj(copy_fields, obj, &cp, err, errlen);
	if (!r)
		r = check_copy(&cp, err, errlen);
	if (!r)
		*ret = cp;
	return r;
}

static bool power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

static int check_store(struct group_store *st, char *err, size_t errlen)
{
	uint32_t i, j;

	if (!group_name_valid(st->name, STORE_NAME_MAX - 1))
		return refuse(err, errlen, "store name is not valid");
	if (!power_of_two(st->region_bytes) || st->region_bytes < DAGTAP_BLOCK)
		return refuse(err, errlen, "store %s: region_bytes is not a power of two from 4096",
			      st->name);
	if (!power_of_two(st->ring_mib) || st->ring_mib < 4)
		return refuse(err, errlen, "store %s: ring_mib is not a power of two from 4 to 1024",
			      st->name);
	if (!st->sectors || st->sectors % (DAGTAP_BLOCK / DAGTAP_SECTOR))
		return refuse(err, errlen, "store %s: size is not a multiple of 4 KiB", st->name);
	if (!st->segment_mib)
		return refuse(err, errlen, "store %s: segment_mib is 0", st->name);
	for (i = 0; i < st->nr_copies; i++)
		for (j = 0; j < i; j++)
			if (!strcmp(st->copies[i].member, st->copies[j].member))
				return refuse(err, errlen, "store %s: two copies on %s", st->name,
					      st->copies[i].member);
	if (st->epoch && !st->removed && !group_find_copy(st, st->active))
		return refuse(err, errlen, "store %s: the active member has no copy", st->name);
	return 0;
}

static int get_array(struct json_object *obj, const char *key, size_t max,
		     struct json_object **ret, char *err, size_t errlen)
{
	if (!json_object_object_get_ex(obj, key, ret) ||
	    !json_object_is_type(*ret, json_type_array))
		return refuse(err, errlen, "%s is not an array", key);
	if (json_object_array_length(*ret) > max)
		return refuse(err, errlen, "%s has more than %zu entries", key, max);
	return 0;
}

int group_store_from_obj(struct json_object *obj, struct group_store *ret, char *err, size_t errlen)
{
	struct group_store *st = calloc(1, sizeof(*st));
	struct json_object *copies;
	int r;

	if (!st)
		return -ENOMEM;
	r = fields_from_obj(store_fields, obj, st, err, errlen);
	if (!r)
		r = get_array(obj, "copies", GROUP_MEMBERS_MAX, &copies, err, errlen);
	for (; !r && st->nr_copies < json_object_array_length(copies); st->nr_copies++)
		r = group_copy_from_obj(json_object_array_get_idx(copies, st->nr_copies),
					&st->copies[st->nr_copies], err, errlen);
	if (!r)
		r = check_store(st, err, errlen);
	if (!r)
		*ret = *st;
	free(st);
	return r;
}

static int take_members(struct json_object *obj, struct group_state *gs, char *err, size_t errlen)
{
	struct json_object *members;
	size_t i, n;
	int r;

	r = get_array(obj, "members", GROUP_MEMBERS_MAX, &members, err, errlen);
	if (r)
		return r;
	n = json_object_array_length(members);
	for (i = 0; i < n; i++) {
		struct group_member mb;

		r = group_member_from_obj(json_object_array_get_idx(members, i), &mb, err, errlen);
		if (r)
			return r;
		if (group_find_member(gs, mb.name))
			return refuse(err, errlen, "member %s is there twice", mb.name);
		gs->members[gs->nr_members++] = mb;
	}
	return 0;
}

/* All of these may be absent: a file engine's group has none of them. */
static int take_settings(struct json_object *obj, struct group_state *gs, char *err, size_t errlen)
{
	struct json_object *val;
	size_t i, n;
	int r = 0;

	if (json_object_object_get_ex(obj, "profile", &val))
		r = fields_from_obj(profile_fields, val, &gs->profile, err, errlen);
	if (!r && json_object_object_get_ex(obj, "witness", &val))
		r = fields_from_obj(witness_fields, val, &gs->witness, err, errlen);
	if (!r && json_object_object_get_ex(obj, "alternate", &val))
		r = fields_from_obj(witness_fields, val, &gs->alternate, err, errlen);
	if (r || !json_object_object_get_ex(obj, "networks", &val))
		return r;
	r = get_array(obj, "networks", GROUP_NETWORKS_MAX, &val, err, errlen);
	n = r ? 0 : json_object_array_length(val);
	for (i = 0; !r && i < n; i++)
		r = fields_from_obj(network_fields, json_object_array_get_idx(val, i),
				    &gs->networks[gs->nr_networks++], err, errlen);
	return r;
}

static int take_stores(struct json_object *obj, struct group_state *gs, char *err, size_t errlen)
{
	struct json_object *stores;
	size_t i, n;
	int r;

	r = get_array(obj, "stores", GROUP_STORES_MAX, &stores, err, errlen);
	if (r)
		return r;
	n = json_object_array_length(stores);
	r = group_state_room(gs, n);
	if (r)
		return refuse(err, errlen, "no memory for the stores of the group");
	for (i = 0; i < n; i++) {
		struct group_store *st = &gs->stores[i];

		memset(st, 0, sizeof(*st));
		/* nr_stores grows after the check, so that it does not find itself */
		r = group_store_from_obj(json_object_array_get_idx(stores, i), st, err, errlen);
		if (r)
			return r;
		if (group_find_store_uuid(gs, st->uuid))
			return refuse(err, errlen, "store %s: its uuid is there twice", st->name);
		gs->nr_stores++;
	}
	return 0;
}

static void empty(struct group_state *gs)
{
	struct group_store *stores = gs->stores;
	uint32_t room = gs->room;

	memset(gs, 0, sizeof(*gs));
	gs->stores = stores;
	gs->room = room;
}

int group_state_from_obj(struct json_object *obj, struct group_state *ret, char *err, size_t errlen)
{
	uint8_t bin[16];
	int r;

	empty(ret);
	r = fields_from_obj(state_fields, obj, ret, err, errlen);
	if (!r && !group_name_valid(ret->name, GROUP_NAME_MAX))
		r = refuse(err, errlen, "name of the group is not valid");
	if (!r && uuid_parse_text(ret->uuid, bin))
		r = refuse(err, errlen, "uuid of the group is not a uuid");
	if (!r)
		r = take_settings(obj, ret, err, errlen);
	if (!r)
		r = take_members(obj, ret, err, errlen);
	if (!r)
		r = take_stores(obj, ret, err, errlen);
	if (!r)
		return 0;
	empty(ret);
	return r;
}

struct json_object *json_parse_strict(const char *text, size_t len, char *err, size_t errlen)
{
	struct json_tokener *tok = json_tokener_new_ex(JSON_DEPTH_MAX);
	struct json_object *obj = NULL;
	size_t end;

	if (!tok) {
		refuse(err, errlen, "out of memory");
		return NULL;
	}
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	if (len > INT32_MAX / 2) {
		refuse(err, errlen, "text is too long");
		goto out;
	}
	obj = json_tokener_parse_ex(tok, text, len);
	if (json_tokener_get_error(tok) == json_tokener_continue)
		refuse(err, errlen, "json ends early");
	else if (json_tokener_get_error(tok) != json_tokener_success)
		refuse(err, errlen, "not json: %s",
		       json_tokener_error_desc(json_tokener_get_error(tok)));
	if (!obj)
		goto out;
	end = json_tokener_get_parse_end(tok);
	while (end < len && strchr(" \t\r\n", text[end]))
		end++;
	if (end < len || !json_object_is_type(obj, json_type_object)) {
		refuse(err, errlen, "not one json object");
		json_object_put(obj);
		obj = NULL;
	}
out:
	json_tokener_free(tok);
	return obj;
}

char *group_state_to_json(const struct group_state *gs)
{
	struct json_object *obj = group_state_to_obj(gs);
	char *text;

	text = strdup(json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PRETTY |
						     JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(obj);
	return text;
}

int group_state_from_json(const char *json, struct group_state *ret, char *err, size_t errlen)
{
	struct json_object *obj;
	int r;

	obj = json_parse_strict(json, strlen(json), err, errlen);
	if (!obj)
		return -EINVAL;
	r = group_state_from_obj(obj, ret, err, errlen);
	json_object_put(obj);
	return r;
}
