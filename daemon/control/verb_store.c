// SPDX-License-Identifier: GPL-2.0
/* verb_store - create, show, set, remove stores; marks. Moves: verb_move.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/random.h>
#include <unistd.h>

#include "daemon/control/blockdev.h"
#include "daemon/control/control_int.h"
#include "daemon/control/history.h"
#include "daemon/control/verb_store.h"
#include "daemon/group/state_json.h"
#include "daemon/group/uuid.h"
#include "daemon/net/service_addr.h"
#include "daemon/store/steps.h"
#include "daemon/tap/tap.h"

#define RING_MIB	64
#define SEGMENT_MIB	64
#define REGION_KIB	1024
#define LATE_MS		5000
#define QUOTA_BYTES	(4ull << 30)	/* a copy that is away must not fill the disk */
#define FULL_MS		5000
#define FORGET_MS	30000

#define ERR		call->err, sizeof(call->err)

int store_set_path(struct rpc_call *call, const char *key, const char *value, char *to)
{
	if (value[0] != '/' || strlen(value) > GROUP_PATH_MAX)
		return call_fail(call, -EINVAL, "%s %s: not an absolute path of at most %d characters",
				 key, value, GROUP_PATH_MAX);
	strcpy(to, value);
	return 0;
}

/* Paths of a copy; the log directory has a default. */
int store_copy_paths(struct rpc_call *call, const char *store, struct group_copy *cp)
{
	const char *device, *meta, *log_dir;
	char path[GROUP_PATH_MAX + 64];
	int r;

	if (rpc_str(call->params, "device", &device, ERR))
		return -EINVAL;
	meta = device;
	snprintf(path, sizeof(path), "%s/log/%s", call->ct->cf->state_dir, store);
	log_dir = path;
	if (rpc_str_opt(call->params, "meta_device", &meta, ERR) ||
	    rpc_str_opt(call->params, "log_dir", &log_dir, ERR))
		return -EINVAL;
	r = store_set_path(call, "device", device, cp->device);
	if (!r)
		r = store_set_path(call, "meta-device", meta, cp->meta_device);
	if (!r)
		r = store_set_path(call, "log-dir", log_dir, cp->log_dir);
	snprintf(cp->member, sizeof(cp->member), "%s", call->ct->cf->member);
	return r;
}

static int check_signature(struct rpc_call *call, const char *path, bool whole)
{
	char type[64];
	int r;

	r = blockdev_signature(path, type, sizeof(type));
	if (r > 0 && whole)
		return call_fail(call, -EEXIST, "device %s: holds %s, which the copy would "
				 "overwrite; pass --force if it can go", path, type);
	if (r > 0)
		return call_fail(call, -EEXIST, "device %s: holds %s, whose end the metadata would "
				 "overwrite; pass --meta-device to keep it, or --force to use the "
				 "device anyway", path, type);
	if (r < 0)
		return call_fail(call, r, "device %s: blkid cannot tell whether it is empty: %s; pass "
				 "--force if it is", path, strerror(-r));
	return 0;
}

/*
 * Measure the devices of a copy and place the metadata. want_sectors: size that
 * the store has already, else 0. Fills cp->meta_block, *ret_sectors.
 */
int store_measure(struct rpc_call *call, struct group_copy *cp, uint32_t region_bytes,
		  uint64_t want_sectors, bool force, uint64_t *ret_sectors)
{
	bool tail = !strcmp(cp->device, cp->meta_device);
	struct blockdev_layout lay;
	uint64_t data, meta = 0;
	int r;

	if (!strcmp(call->ct->tap->name, "module") && access("/dev/dagtap", F_OK))
		return call_fail(call, -ENODEV, "member %s: the module dagtap is not loaded; run "
				 "modprobe dagtap", call->ct->cf->member);
	r = blockdev_size(cp->device, &data, ERR);
	if (!r && !tail)
		r = blockdev_size(cp->meta_device, &meta, ERR);
	/* A copy's device is overwritten whole, the first one only where the
	 * metadata goes. */
	if (!r && !force && (tail || want_sectors))
		r = check_signature(call, cp->device, want_sectors);
	if (!r && !force && !tail)
		r = check_signature(call, cp->meta_device, true);
	if (r)
		return r;
	r = blockdev_layout(data, meta, region_bytes, want_sectors, &lay);
	if (r && want_sectors)
		return call_fail(call, r, "device %s: %llu bytes are too few for a store of %llu bytes "
				 "and its metadata", cp->device, (unsigned long long)data,
				 (unsigned long long)want_sectors * DAGTAP_SECTOR);
	if (r)
		return call_fail(call, r, "device %s: too small for data and metadata", cp->device);
	cp->meta_block = lay.meta_block;
	*ret_sectors = lay.sectors;
	return 0;
}

/* Values that `create` and `set` share. */
static int take_settings(struct rpc_call *call, struct group_store *st)
{
	uint64_t min = st->min_in_sync, late = st->late_ms_max, full = st->full_timeout_ms;
	uint64_t segment = st->segment_mib, quota = st->quota_bytes, rate = st->seed_rate;
	const char *mode = group_mode_name(st->mode), *ack = st->ack_durable ? "durable" : "received";
	struct json_object *p = call->params;

	if (rpc_str_opt(p, "mode", &mode, ERR) || rpc_str_opt(p, "ack", &ack, ERR) ||
	    rpc_u64_opt(p, "min_in_sync", GROUP_MEMBERS_MAX - 1, &min, ERR) ||
	    rpc_u64_opt(p, "late_ms", 3600000, &late, ERR) ||
	    rpc_u64_opt(p, "full_timeout_ms", 60000, &full, ERR) ||
	    rpc_u64_opt(p, "segment_mib", 65536, &segment, ERR) ||
	    rpc_u64_opt(p, "quota", INT64_MAX, &quota, ERR) ||
	    rpc_u64_opt(p, "seed_rate", INT64_MAX, &rate, ERR))
		return -EINVAL;
	if (group_mode_parse(mode, &st->mode))
		return call_fail(call, -EINVAL, "mode %s: not async, commit or sync", mode);
	if (strcmp(ack, "received") && strcmp(ack, "durable"))
		return call_fail(call, -EINVAL, "ack %s: not received or durable", ack);
	if (!segment || !full)
		return call_fail(call, -EINVAL, "store %s: segment size and full timeout cannot be 0",
				 st->name);
	st->ack_durable = !strcmp(ack, "durable");
	st->min_in_sync = min;
	st->late_ms_max = late;
	st->full_timeout_ms = full;
	st->segment_mib = segment;
	st->quota_bytes = quota;
	st->seed_rate = rate;
	return 0;
}

/* A text that "none" takes away. */
static int take_text(struct rpc_call *call, const char *key, char *to, size_t size)
{
	const char *value = to;

	if (rpc_str_opt(call->params, key, &value, ERR))
		return -EINVAL;
	if (!strcmp(value, "none"))
		value = "";
	if (strlen(value) >= size)
		return call_fail(call, -EINVAL, "%s: longer than %zu characters", key, size - 1);
	memmove(to, value, strlen(value) + 1);
	return 0;
}

/* What happens around the store when it becomes active (store/steps.h). */
static int take_steps(struct rpc_call *call, struct group_store *st)
{
	uint64_t timeout = st->step_timeout_ms;
	const char *at_start = st->manual ? "no" : "yes", *client = st->client_stays ? "no" : "yes";
	struct json_object *p = call->params;
	struct steps_plan *plan;
	char why[300];
	int r;

	if (take_text(call, "fs_type", st->fs_type, sizeof(st->fs_type)) ||
	    take_text(call, "mount_point", st->mount_point, sizeof(st->mount_point)) ||
	    take_text(call, "mount_options", st->mount_options, sizeof(st->mount_options)) ||
	    take_text(call, "unit", st->unit, sizeof(st->unit)) ||
	    take_text(call, "exec", st->exec, sizeof(st->exec)) ||
	    take_text(call, "addresses", st->addresses, sizeof(st->addresses)) ||
	    rpc_u64_opt(p, "step_timeout_ms", 3600000, &timeout, ERR) ||
	    rpc_str_opt(p, "activate_at_start", &at_start, ERR) ||
	    rpc_str_opt(p, "client_failover", &client, ERR))
		return -EINVAL;
	if (strcmp(at_start, "yes") && strcmp(at_start, "no"))
		return call_fail(call, -EINVAL, "activate-at-start %s: not yes or no", at_start);
	if (strcmp(client, "yes") && strcmp(client, "no"))
		return call_fail(call, -EINVAL, "client-failover %s: not yes or no", client);
	st->manual = !strcmp(at_start, "no");
	st->client_stays = !strcmp(client, "no");
	st->step_timeout_ms = timeout;
	plan = malloc(sizeof(*plan));
	r = plan ? steps_plan_make(st, plan, why, sizeof(why)) : -ENOMEM;
	free(plan);
	return r ? call_fail(call, r, "store %s: %s", st->name, r == -ENOMEM ? strerror(-r) : why) : 0;
}

/* A service address belongs to one store. */
static int check_addresses(struct rpc_call *call, const struct group_store *mine)
{
	struct service_addr a[STEPS_ADDRESSES_MAX], b[STEPS_ADDRESSES_MAX];
	const char *list = "";
	struct group_state gs;
	char why[200];
	int na, r;

	if (rpc_str_opt(call->params, "addresses", &list, ERR) || !strcmp(list, "none"))
		return call->err[0] ? -EINVAL : 0;
	na = service_addr_parse(list, a, STEPS_ADDRESSES_MAX, why, sizeof(why));
	if (na < 0)
		return call_fail(call, na, "store %s: %s", mine->name, why);
	r = control_state(call, &gs);
	if (r)
		return r;
	for (uint32_t i = 0; i < gs.nr_stores && !r; i++) {
		const struct group_store *st = &gs.stores[i];
		int nb = st->removed || !memcmp(st->uuid, mine->uuid, 16) ? 0 :
			 service_addr_parse(st->addresses, b, STEPS_ADDRESSES_MAX, why, sizeof(why));

		for (int k = 0; k < na * (nb > 0 ? nb : 0) && !r; k++)
			if (a[k / nb].family == b[k % nb].family &&
			    !memcmp(a[k / nb].addr, b[k % nb].addr, 16))
				r = call_fail(call, -EADDRINUSE, "store %s: %s is an address of store "
					      "%s", mine->name, a[k / nb].text, st->name);
	}
	group_state_free(&gs);
	return r;
}

static int edit_copy_all(struct group_store *st, void *ctx)
{
	const struct group_store *from = ctx;
	uint64_t version = st->version;

	*st = *from;
	st->version = version;
	return 0;
}

static bool power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

/* The new store from the parameters, without its size. */
static int describe(struct rpc_call *call, struct group_store *st)
{
	uint64_t ring = RING_MIB, region = REGION_KIB;
	const char *name;
	int r;

	if (rpc_str(call->params, "name", &name, ERR) ||
	    rpc_u64_opt(call->params, "ring_mib", 1024, &ring, ERR) ||
	    rpc_u64_opt(call->params, "region_kib", 1u << 20, &region, ERR))
		return -EINVAL;
	if (!group_name_valid(name, STORE_NAME_MAX - 1))
		return call_fail(call, -EINVAL, "store %s: not a name; use up to %d letters, digits, "
				 "'.', '-' and '_'", name, STORE_NAME_MAX - 1);
	if (!power_of_two(ring) || ring < 4)
		return call_fail(call, -EINVAL, "store %s: ring-mib must be a power of two from 4 to "
				 "1024", name);
	if (!power_of_two(region) || region < 4)
		return call_fail(call, -EINVAL, "store %s: region-kib must be a power of two from 4",
				 name);
	strcpy(st->name, name);
	st->ring_mib = ring;
	st->region_bytes = region << 10;
	st->segment_mib = SEGMENT_MIB;
	st->late_ms_max = LATE_MS;
	st->quota_bytes = QUOTA_BYTES;
	st->full_timeout_ms = FULL_MS;
	st->epoch = 1;
	strcpy(st->active, call->ct->cf->member);
	r = take_settings(call, st);
	if (r)
		return r;
	st->nr_copies = 1;
	st->copies[0].preference = 1;
	st->copies[0].in_sync = true;
	if (getrandom(st->uuid, sizeof(st->uuid), 0) != sizeof(st->uuid))
		return -EIO;
	uuid_from_random(st->uuid);
	return store_copy_paths(call, name, &st->copies[0]);
}

static int check_name_free(struct rpc_call *call, const char *name)
{
	struct group_store *st;
	struct group_state gs;
	int r;

	r = control_state(call, &gs);
	if (r)
		return r;
	st = group_find_store(&gs, name);
	if (st)
		r = call_fail(call, -EEXIST, "store %s: is there already, active on %s", name,
			      st->active);
	group_state_free(&gs);
	return r;
}

/* Metadata first, then the state: a store that is agreed can be served. */
static int create_here(struct rpc_call *call, struct group_store *st, bool force)
{
	struct engine *en = call->ct->engine;
	struct stores *ss = control_use(call);
	char ignored[ERR_BYTES];
	int r;

	if (!ss)
		return -ENOENT;
	r = stores_prepare_copy(ss, st, &st->copies[0], force, ERR);
	if (!r) {
		r = en->ops->txn_store(en, st->uuid, 0, edit_copy_all, st, ERR);
		if (r)
			stores_forget_copy(ss, st->uuid, ignored, sizeof(ignored));
	}
	control_unuse(call->ct);
	return r;
}

static int edit_remove(struct group_store *st, void *ctx)
{
	st->removed = true;
	return 0;
}

/* A store that has never been served holds nothing: take it back. */
static int wait_served(struct rpc_call *call, const struct group_store *st, unsigned timeout_ms)
{
	struct engine *en = call->ct->engine;
	struct stores *ss = control_use(call);
	char why[ERR_BYTES] = "", ignored[ERR_BYTES];
	int r;

	if (!ss)
		return -ENOENT;
	r = stores_wait_active(ss, st->uuid, st->epoch, timeout_ms, why, sizeof(why));
	control_unuse(call->ct);
	if (!r)
		return 0;
	if (!en->ops->txn_store(en, st->uuid, st->epoch, edit_remove, NULL, ignored, sizeof(ignored))) {
		control_wait_applied(call->ct);
		return call_fail(call, r, "store %s: not created: %s; see the log of dagd", st->name,
				 why[0] ? why : strerror(-r));
	}
	return call_fail(call, r, "store %s: exists, but is not served on %s yet: %s; see "
			 "dagctl status", st->name, st->active, why[0] ? why : strerror(-r));
}

int verb_store_create(struct rpc_call *call, struct json_object **ret)
{
	struct group_store *st = calloc(1, sizeof(*st));
	int force = rpc_bool(call->params, "force", ERR), r;

	if (!st)
		return -ENOMEM;
	r = force < 0 ? force : describe(call, st);
	if (!r)
		r = check_name_free(call, st->name);
	if (!r)
		r = store_measure(call, &st->copies[0], st->region_bytes, 0, force, &st->sectors);
	if (!r)
		r = create_here(call, st, force);
	if (!r) {
		control_wait_applied(call->ct);
		r = wait_served(call, st, 15000);
	}
	if (!r) {
		log_notice("store=%s device=%s sectors=%llu msg=created", st->name,
			   st->copies[0].device, (unsigned long long)st->sectors);
		history_add(call->ct->history, "store-create", st->name, NULL, "created on %s",
			    st->copies[0].device);
		*ret = group_store_to_obj(st);
		json_object_object_add(*ret, "bytes", json_object_new_int64(st->sectors *
									    DAGTAP_SECTOR));
	}
	free(st);
	return r;
}

static struct json_object *describe_obj(const struct group_store *st)
{
	struct json_object *obj = group_store_to_obj(st);

	json_object_object_add(obj, "bytes", json_object_new_int64(st->sectors * DAGTAP_SECTOR));
	return obj;
}

int verb_store_list(struct rpc_call *call, struct json_object **ret)
{
	struct json_object *list;
	struct group_state gs;
	uint32_t i;
	int r;

	r = control_state(call, &gs);
	if (r)
		return r;
	list = json_object_new_array();
	for (i = 0; i < gs.nr_stores; i++)
		if (!gs.stores[i].removed)
			json_object_array_add(list, describe_obj(&gs.stores[i]));
	group_state_free(&gs);
	*ret = list;
	return 0;
}

int verb_store_show(struct rpc_call *call, struct json_object **ret)
{
	struct group_store *st;
	struct group_state gs;
	int r;

	r = control_state(call, &gs);
	if (r)
		return r;
	st = call_store(call, &gs);
	r = st ? 0 : -ENOENT;
	if (st)
		*ret = describe_obj(st);
	group_state_free(&gs);
	return r;
}

int store_snapshot(struct rpc_call *call, struct group_store *ret)
{
	struct group_store *st;
	struct group_state gs;
	int r;

	r = control_state(call, &gs);
	if (r)
		return r;
	st = call_store(call, &gs);
	if (st)
		*ret = *st;
	group_state_free(&gs);
	return st ? 0 : -ENOENT;
}

static int edit_set(struct group_store *st, void *ctx)
{
	int r = take_settings(ctx, st);

	return r ? r : take_steps(ctx, st);
}

int verb_store_set(struct rpc_call *call, struct json_object **ret)
{
	struct engine *en = call->ct->engine;
	struct group_store *st = calloc(1, sizeof(*st));
	char why[ERR_BYTES];
	int r;

	if (!st)
		return -ENOMEM;
	r = store_snapshot(call, st);
	if (!r)
		r = check_addresses(call, st);
	if (!r) {
		/* edit_set() leaves its own message in call->err */
		r = en->ops->txn_store(en, st->uuid, st->epoch, edit_set, call, why, sizeof(why));
		if (r && why[0])
			call_fail(call, r, "%s", why);
	}
	if (!r)
		r = store_snapshot(call, st);
	if (!r) {
		history_add(call->ct->history, "store-set", st->name,
			    json_object_get(call->params), "settings changed");
		*ret = describe_obj(st);
	}
	free(st);
	return r;
}

/* Tell a member to clean up what is left of a copy; a dead one keeps its log. */
int store_forget_on(struct rpc_call *call, const char *member, const uint8_t uuid[16])
{
	struct json_object *params, *result = NULL;
	char text[UUID_TEXT], why[ERR_BYTES] = "";
	struct stores *ss;
	int r;

	if (!strcmp(member, call->ct->cf->member)) {
		ss = control_use(call);
		if (!ss)
			return -ENOENT;
		r = stores_forget_copy(ss, uuid, why, sizeof(why));
		control_unuse(call->ct);
		if (r)
			call_fail(call, r, "%s", why[0] ? why : strerror(-r));
		return r;
	}
	r = peer_exchange(call, member, FORGET_MS);
	if (r)
		return r;
	uuid_format(uuid, text);
	params = json_object_new_object();
	json_object_object_add(params, "uuid", json_object_new_string(text));
	r = peer_call(call, member, "copy.forget", params, FORGET_MS, &result);
	json_object_put(params);
	json_object_put(result);
	return r;
}

int store_check_unused(struct rpc_call *call, const char *name, const char *what)
{
	struct blockdev_use use;
	int r;

	r = blockdev_use(name, &use);
	if (r)
		return call_fail(call, r, "store %s: device-mapper: %s", name, strerror(-r));
	if (use.mounted[0])
		return call_fail(call, -EBUSY, "store %s: mounted at %s; unmount it%s, or run dagctl "
				 "store dismount %s if it is mounted by its steps", name, use.mounted,
				 what, name);
	if (use.holder[0])
		return call_fail(call, -EBUSY, "store %s: %s uses /dev/mapper/%s; take it down first",
				 name, use.holder, name);
	if (use.open_count > 0)
		return call_fail(call, -EBUSY, "store %s: a program has /dev/mapper/%s open; end it, see "
				 "fuser -v /dev/mapper/%s", name, name, name);
	return 0;
}

int verb_store_remove(struct rpc_call *call, struct json_object **ret)
{
	struct engine *en = call->ct->engine;
	struct group_store *st = calloc(1, sizeof(*st));
	struct json_object *left = NULL;
	uint32_t i;
	int r;

	if (!st)
		return -ENOMEM;
	r = store_snapshot(call, st);
	if (!r)
		r = store_check_unused(call, st->name, "");
	if (!r)
		r = en->ops->txn_store(en, st->uuid, st->epoch, edit_remove, NULL, ERR);
	if (r)
		goto out;
	control_wait_applied(call->ct);
	log_notice("store=%s msg=removed", st->name);
	history_add(call->ct->history, "store-remove", st->name, NULL, "removed");
	left = json_object_new_array();
	for (i = 0; i < st->nr_copies; i++) {
		call->err[0] = '\0';
		if (!store_forget_on(call, st->copies[i].member, st->uuid))
			continue;
		call_progress(call, "copy on %s not cleaned up: %s", st->copies[i].member, call->err);
		json_object_array_add(left, json_object_new_string(st->copies[i].member));
	}
	*ret = json_object_new_object();
	json_object_object_add(*ret, "not_cleaned_up", left);
out:
	free(st);
	return r;
}

void store_put_time(struct json_object *o, const char *key, uint64_t ns)
{
	time_t s = ns / 1000000000;
	char text[48] = "";
	struct tm tm;

	if (ns && gmtime_r(&s, &tm)) {
		size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);

		snprintf(text + n, sizeof(text) - n, ".%03uZ", (unsigned)(ns / 1000000 % 1000));
	}
	json_object_object_add(o, key, json_object_new_string(text));
}

int verb_store_mark(struct rpc_call *call, struct json_object **ret)
{
	struct group_store *st = calloc(1, sizeof(*st));
	struct stores *ss = NULL;
	const char *name;
	uint64_t lsn;
	int r;

	if (!st)
		return -ENOMEM;
	r = rpc_str(call->params, "name", &name, ERR);
	if (!r && strlen(name) > DAGTAP_MARK_MAX)
		r = call_fail(call, -EINVAL, "mark %s: longer than %u bytes", name, DAGTAP_MARK_MAX);
	if (!r)
		r = store_snapshot(call, st);
	if (!r)
		ss = control_use(call);
	if (ss) {
		r = stores_mark(ss, st->uuid, name, &lsn);
		control_unuse(call->ct);
		if (r)
			call_fail(call, r, "store %s: mark not written: %s; see dagctl status",
				  st->name, strerror(-r));
	} else if (!r) {
		r = -ENOENT;
	}
	if (!r) {
		*ret = json_object_new_object();
		json_object_object_add(*ret, "lsn", json_object_new_int64(lsn));
	}
	free(st);
	return r;
}
