// SPDX-License-Identifier: GPL-2.0
/*
 * verb_branch - the tails of former actives: list them, on all members, and drop one.
 *
 * They are read from the log directories, not asked of the running copies: a copy
 * that does not run has its branches all the same.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/clock.h"
#include "daemon/control/ask_all.h"
#include "daemon/control/history.h"
#include "daemon/control/verb_store.h"
#include "daemon/log/branch_content.h"

#define ERR		call->err, sizeof(call->err)
#define COUNT_MS	2000	/* for all branches here; who asks waits for 3 s */
#define RANGES_MAX	1024	/* of one branch, in an answer */

static void put_s(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

static void put_u(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_int64((int64_t)value));
}

/* ---- list --------------------------------------------------------------------- */

static struct json_object *ranges_obj(const struct extents *x)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < x->nr && i < RANGES_MAX; i++) {
		struct json_object *e = json_object_new_object();

		put_u(e, "sector", x->list[i].sector);
		put_u(e, "sectors", x->list[i].end - x->list[i].sector);
		json_object_array_add(list, e);
	}
	return list;
}

/* What was counted of its content; a number that is not whole is left out. */
static void put_content(struct json_object *o, const struct group_store *st,
			const struct branch_content *c)
{
	store_put_time(o, "kept_time", c->kept_ns);
	json_object_object_add(o, "counted", json_object_new_boolean(c->counted));
	put_u(o, "region_bytes", st->region_bytes);
	if (!c->counted)
		return;
	put_u(o, "records", c->records);
	put_u(o, "writes", c->writes);
	put_u(o, "written_bytes", c->written_bytes);
	store_put_time(o, "first_time", c->first_ns);
	store_put_time(o, "last_time", c->last_ns);
	put_u(o, "regions", extents_regions(&c->changed, st->region_bytes / 512));
	put_u(o, "changed_bytes", extents_sectors(&c->changed) * 512);
	put_u(o, "nr_ranges", c->changed.nr);
	json_object_object_add(o, "ranges", ranges_obj(&c->changed));
}

static void add_branches(struct json_object *list, const struct group_store *st,
			 const struct group_copy *cp, uint64_t deadline_ms)
{
	struct branch found[BRANCHES_MAX];
	unsigned n = branch_list(cp->log_dir, found, BRANCHES_MAX);

	for (unsigned i = 0; i < n; i++) {
		struct json_object *o = json_object_new_object();
		char name[BRANCH_NAME_BYTES];
		struct branch_content c;

		branch_name(&found[i], name);
		branch_content(cp->log_dir, &found[i], deadline_ms, &c);
		put_s(o, "store", st->name);
		put_s(o, "member", cp->member);
		put_s(o, "branch", name);
		put_u(o, "epoch", found[i].epoch);
		put_u(o, "first_lsn", found[i].first_lsn);
		put_u(o, "end_lsn", found[i].end_lsn);
		put_u(o, "bytes", found[i].end_lsn - found[i].first_lsn);
		put_u(o, "disk_bytes", found[i].bytes);
		put_content(o, st, &c);
		branch_content_free(&c);
		json_object_array_add(list, o);
	}
}

int verb_branch_local(struct rpc_call *call, struct json_object **ret)
{
	uint64_t deadline_ms = now_ms() + COUNT_MS;
	struct group_state gs;
	int r = control_state(call, &gs);

	if (r)
		return r;
	*ret = json_object_new_array();
	for (uint32_t i = 0; i < gs.nr_stores; i++) {
		struct group_store *st = &gs.stores[i];
		struct group_copy *cp = group_find_copy(st, call->ct->cf->member);

		if (!st->removed && cp)
			add_branches(*ret, st, cp, deadline_ms);
	}
	group_state_free(&gs);
	return 0;
}

static const char *text_in(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) && json_object_get_string(v) ?
	       json_object_get_string(v) : "";
}

static void take_report(struct json_object *from, const char *store, struct json_object *list)
{
	for (size_t i = 0; i < json_object_array_length(from); i++) {
		struct json_object *o = json_object_array_get_idx(from, i);

		if (!store || !strcmp(text_in(o, "store"), store))
			json_object_array_add(list, json_object_get(o));
	}
}

int verb_branch_list(struct rpc_call *call, struct json_object **ret)
{
	struct ask_report *reports = calloc(GROUP_MEMBERS_MAX, sizeof(*reports));
	struct json_object *list, *silent;
	struct group_store *st = NULL;
	struct group_state gs;
	int r = reports ? control_state(call, &gs) : -ENOMEM;

	if (!r && json_object_object_get_ex(call->params, "store", NULL)) {
		st = call_store(call, &gs);
		if (!st) {
			group_state_free(&gs);
			r = -ENOENT;
		}
	}
	if (r) {
		free(reports);
		return r;
	}
	list = json_object_new_array();
	silent = json_object_new_array();
	ask_all(call, &gs, "branch.local", verb_branch_local, reports);
	for (uint32_t i = 0; i < gs.nr_members; i++) {
		if (json_object_is_type(reports[i].result, json_type_array))
			take_report(reports[i].result, st ? st->name : NULL, list);
		else
			json_object_array_add(silent, json_object_new_string(reports[i].member));
		json_object_put(reports[i].result);
	}
	group_state_free(&gs);
	free(reports);
	*ret = json_object_new_object();
	json_object_object_add(*ret, "branches", list);
	json_object_object_add(*ret, "silent", silent);
	return 0;
}

/* ---- drop ----------------------------------------------------------------------- */

static int find_branch(struct rpc_call *call, const struct group_store *st,
		       const struct group_copy *cp, struct branch *ret)
{
	struct branch want, found[BRANCHES_MAX];
	const char *text;
	unsigned n;

	if (rpc_str(call->params, "branch", &text, ERR))
		return -EINVAL;
	if (branch_parse(text, &want))
		return call_fail(call, -EINVAL, "branch %s: not the name of one; see dagctl branch list %s",
				 text, st->name);
	n = branch_list(cp->log_dir, found, BRANCHES_MAX);
	for (unsigned i = 0; i < n; i++) {
		if (found[i].epoch != want.epoch || found[i].first_lsn != want.first_lsn)
			continue;
		*ret = found[i];
		return 0;
	}
	return call_fail(call, -ENOENT, "store %s: member %s keeps no %s; see dagctl branch list %s",
			 st->name, cp->member, text, st->name);
}

static int drop(struct rpc_call *call, const struct group_store *st, const struct group_copy *cp,
		struct json_object **ret)
{
	struct json_object *o, *fields;
	char name[BRANCH_NAME_BYTES];
	struct branch b;
	int r = find_branch(call, st, cp, &b);

	if (r)
		return r;
	branch_name(&b, name);
	r = branch_drop(cp->log_dir, &b);
	if (r)
		return call_fail(call, r, "%s/%s: not dropped as a whole: %s; drop it again", cp->log_dir,
				 name, strerror(-r));
	log_notice("store=%s %s msg=dropped lsn=%llu..%llu", st->name, name,
		   (unsigned long long)b.first_lsn, (unsigned long long)b.end_lsn);
	o = json_object_new_object();
	put_s(o, "branch", name);
	put_u(o, "epoch", b.epoch);
	put_u(o, "first_lsn", b.first_lsn);
	put_u(o, "end_lsn", b.end_lsn);
	put_u(o, "disk_bytes", b.bytes);
	fields = json_object_get(o);
	history_add(call->ct->history, "branch-drop", st->name, fields, "%s dropped, with the lsn=%llu..%llu",
		    name, (unsigned long long)b.first_lsn, (unsigned long long)b.end_lsn);
	*ret = o;
	return 0;
}

/* On the member that keeps it. */
int verb_branch_drop(struct rpc_call *call, struct json_object **ret)
{
	const char *self = call->ct->cf->member;
	struct group_store *st = calloc(1, sizeof(*st));
	struct group_copy *cp;
	int r;

	if (!st)
		return -ENOMEM;
	r = store_snapshot(call, st);
	cp = r ? NULL : group_find_copy(st, self);
	if (!r && !cp)
		r = call_fail(call, -ENOENT, "store %s: has no copy on %s; see dagctl branch list %s",
			      st->name, self, st->name);
	if (!r)
		r = drop(call, st, cp, ret);
	free(st);
	return r;
}
