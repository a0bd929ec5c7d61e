// SPDX-License-Identifier: GPL-2.0
/*
 * verb_fork - open this member's passive copy at a point of its log, and close it. The
 * device is on this host, so both are done here only.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/history.h"
#include "daemon/control/verb_store.h"
#include "daemon/store/passive_fork.h"

#define ERR		call->err, sizeof(call->err)

/* The stores are not held meanwhile: an activation does not wait for us. */
static struct forks *take_forks(struct rpc_call *call, const struct group_store *st)
{
	struct stores *ss = control_use(call);
	struct forks *fk = NULL;
	char why[200];

	if (!ss)
		return NULL;
	fk = stores_forks(ss, st->uuid, why, sizeof(why));
	control_unuse(call->ct);
	if (!fk)
		call_fail(call, -ENOENT, "store %s: %s", st->name, why);
	return fk;
}

static struct json_object *fork_obj(const struct group_store *st, const struct fork_info *info)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "store", json_object_new_string(st->name));
	json_object_object_add(o, "name", json_object_new_string(info->name));
	json_object_object_add(o, "device", json_object_new_string(info->path));
	json_object_object_add(o, "lsn", json_object_new_int64(info->lsn));
	store_put_time(o, "time", info->time_ns);
	json_object_object_add(o, "writable", json_object_new_boolean(info->writable));
	json_object_object_add(o, "space_bytes", json_object_new_int64(info->space));
	json_object_object_add(o, "used_bytes", json_object_new_int64(info->used));
	return o;
}

static void say_progress(void *ctx, uint64_t done, uint64_t total)
{
	call_progress(ctx, "applied %llu of %llu MiB of the log", (unsigned long long)done >> 20,
		      (unsigned long long)total >> 20);
}

static int take_ask(struct rpc_call *call, struct fork_ask *ask)
{
	int writable = rpc_bool(call->params, "writable", ERR);

	if (writable < 0 || rpc_str_opt(call->params, "name", &ask->name, ERR) ||
	    rpc_str_opt(call->params, "at", &ask->at, ERR) ||
	    rpc_u64_opt(call->params, "space", INT64_MAX, &ask->space, ERR))
		return -EINVAL;
	ask->writable = writable;
	return 0;
}

int verb_copy_open(struct rpc_call *call, struct json_object **ret)
{
	struct fork_ask ask = { .at = "", .progress = say_progress, .ctx = call };
	struct group_store *st = calloc(1, sizeof(*st));
	struct forks *fk = NULL;
	struct fork_info info;
	int r = st ? take_ask(call, &ask) : -ENOMEM;

	if (!r)
		r = store_snapshot(call, st);
	if (!r) {
		fk = take_forks(call, st);
		r = fk ? forks_open(fk, &ask, &info, ERR) : -ENOENT;
	}
	if (!r) {
		*ret = fork_obj(st, &info);
		history_add(call->ct->history, "copy-open", st->name, fork_obj(st, &info),
			    "%s opened at lsn=%llu", info.path, (unsigned long long)info.lsn);
	}
	forks_put(fk);
	free(st);
	return r;
}

/* Of one fork all is known without its name. */
static int find_name(struct rpc_call *call, const struct group_store *st, struct forks *fk,
		     char ret[FORK_NAME_BYTES])
{
	struct fork_info info[FORKS_MAX];
	const char *name = NULL;
	unsigned n;

	if (rpc_str_opt(call->params, "name", &name, ERR))
		return -EINVAL;
	n = forks_list(fk, info, FORKS_MAX);
	if (!name && n > 1)
		return call_fail(call, -EINVAL, "store %s: %u forks are open here; name one, see dagctl copy "
				 "status %s --full", st->name, n, st->name);
	if (!name && !n)
		return call_fail(call, -ENOENT, "store %s: no fork is open here", st->name);
	if (name && strlen(name) >= FORK_NAME_BYTES)
		return call_fail(call, -ENOENT, "store %s: no fork %s is open here", st->name, name);
	snprintf(ret, FORK_NAME_BYTES, "%s", name ? name : info[0].name);
	return 0;
}

int verb_copy_close(struct rpc_call *call, struct json_object **ret)
{
	int force = rpc_bool(call->params, "force", ERR), r = force < 0 ? force : 0;
	struct group_store *st = calloc(1, sizeof(*st));
	struct forks *fk = NULL;
	char name[FORK_NAME_BYTES];

	if (!st)
		return -ENOMEM;
	if (!r)
		r = store_snapshot(call, st);
	if (!r) {
		fk = take_forks(call, st);
		r = fk ? find_name(call, st, fk, name) : -ENOENT;
	}
	if (!r)
		r = forks_close(fk, name, force, ERR);
	if (!r) {
		*ret = json_object_new_object();
		json_object_object_add(*ret, "store", json_object_new_string(st->name));
		json_object_object_add(*ret, "name", json_object_new_string(name));
		history_add(call->ct->history, "copy-close", st->name, NULL, "/dev/mapper/%s closed", name);
	}
	forks_put(fk);
	free(st);
	return r;
}
