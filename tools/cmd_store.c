// SPDX-License-Identifier: GPL-2.0
/* dagctl store create|list|show|set|move|remove, dagctl mark */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/client.h"
#include "tools/fmt.h"
#include "tools/verbs.h"

/* Run a method; *ret is NULL after --json has been served. */
static int run(struct cmd *cmd, const char *method, struct json_object **ret)
{
	struct json_object *res = NULL;

	*ret = NULL;
	if (client_call(cmd, method, cmd->params, &res))
		return EXIT_FAILURE;
	if (cmd->json) {
		print_json(res);
		json_object_put(res);
		res = NULL;
	}
	*ret = res;
	return EXIT_SUCCESS;
}

static void name_copies(struct json_object *store, char *ret, size_t len)
{
	struct json_object *copies = obj_get(store, "copies");
	size_t i, at = 0;

	ret[0] = '\0';
	for (i = 0; i < obj_len(copies) && at + 1 < len; i++) {
		struct json_object *cp = json_object_array_get_idx(copies, i);

		at += snprintf(ret + at, len - at, "%s%s%s", at ? " " : "", obj_str(cp, "member"),
			       obj_bool(cp, "suspended") ? "(suspended)" : "");
	}
}

void print_stores(struct json_object *stores)
{
	static const char *const head[] = { "STORE", "SIZE", "MODE", "ACTIVE", "EPOCH", "COPIES" };
	struct table *tb = table_new(6);
	size_t i;

	table_row(tb, head);
	for (i = 0; i < obj_len(stores); i++) {
		struct json_object *st = json_object_array_get_idx(stores, i);
		char size[32], epoch[16], copies[FMT_CELL];

		fmt_bytes(obj_int(st, "bytes"), size);
		snprintf(epoch, sizeof(epoch), "%lld", (long long)obj_int(st, "epoch"));
		name_copies(st, copies, sizeof(copies));
		table_row(tb, (const char *[]){ obj_str(st, "name"), size, obj_str(st, "mode"),
			  obj_str(st, "active"), epoch, copies });
	}
	table_print(tb, stdout);
}

static void print_bytes_line(const char *name, uint64_t bytes, const char *zero)
{
	char text[32];

	fmt_bytes(bytes, text);
	printf("  %-16s %s\n", name, bytes || !zero ? text : zero);
}

/* What happens when it becomes active; nothing is said where nothing happens. */
static void print_steps(struct json_object *st)
{
	static const char *const keys[][2] = {
		{ "exec", "exec" }, { "unit", "unit" }, { "addresses", "service-address" },
	};
	const char *type = obj_str(st, "fs_type"), *options = obj_str(st, "mount_options");

	if (*obj_str(st, "mount_point"))
		printf("  %-16s %s%s%s%s%s\n", "mount-point", obj_str(st, "mount_point"),
		       *type ? ", type " : "", type, *options ? ", options " : "", options);
	for (int i = 0; i < 3; i++)
		if (*obj_str(st, keys[i][0]))
			printf("  %-16s %s\n", keys[i][1], obj_str(st, keys[i][0]));
	if (obj_int(st, "step_timeout_ms"))
		printf("  %-16s %lld ms\n", "step-timeout", (long long)obj_int(st, "step_timeout_ms"));
	if (obj_bool(st, "manual"))
		printf("  %-16s no\n", "at-start");
	if (obj_bool(st, "client_stays"))
		printf("  %-16s no\n", "client-failover");
	if (obj_bool(st, "dismounted"))
		printf("  %-16s by hand; dagctl store mount %s\n", "dismounted", obj_str(st, "name"));
}

/* ", replay lag 2 h, truncation lag 1 d, off"; nothing where there is none. */
static void print_lag(struct json_object *cp, char *ret, size_t len)
{
	char replay[32], truncation[32];

	ret[0] = '\0';
	if (!obj_int(cp, "replay_lag_ms") && !obj_int(cp, "truncation_lag_ms"))
		return;
	fmt_seconds(obj_int(cp, "replay_lag_ms") / 1e3, replay);
	fmt_seconds(obj_int(cp, "truncation_lag_ms") / 1e3, truncation);
	snprintf(ret, len, ", replay lag %s, truncation lag %s%s", replay, truncation,
		 obj_bool(cp, "lag_off") ? ", off" : "");
}

static void print_store(struct json_object *st)
{
	struct json_object *copies = obj_get(st, "copies");
	char lag[100], rate[32];
	size_t i;

	printf("store %s\n", obj_str(st, "name"));
	printf("  %-16s %s\n", "uuid", obj_str(st, "uuid"));
	printf("  %-16s /dev/mapper/%s on %s, epoch %lld\n", "active", obj_str(st, "name"),
	       obj_str(st, "active"), (long long)obj_int(st, "epoch"));
	print_bytes_line("size", obj_int(st, "bytes"), NULL);
	printf("  %-16s %s, ack %s, min-in-sync %lld, late after %lld ms\n", "mode",
	       obj_str(st, "mode"), obj_bool(st, "ack_durable") ? "durable" : "received",
	       (long long)obj_int(st, "min_in_sync"), (long long)obj_int(st, "late_ms_max"));
	print_bytes_line("region", obj_int(st, "region_bytes"), NULL);
	print_bytes_line("ring", obj_int(st, "ring_mib") << 20, NULL);
	print_bytes_line("segment", obj_int(st, "segment_mib") << 20, NULL);
	print_bytes_line("quota", obj_int(st, "quota_bytes"), "none");
	if (obj_int(st, "seed_rate")) {
		fmt_bytes(obj_int(st, "seed_rate"), rate);
		printf("  %-16s %s/s\n", "seed-rate", rate);
	}
	printf("  %-16s %lld ms\n", "full-timeout", (long long)obj_int(st, "full_timeout_ms"));
	print_steps(st);
	for (i = 0; i < obj_len(copies); i++) {
		struct json_object *cp = json_object_array_get_idx(copies, i);

		print_lag(cp, lag, sizeof(lag));
		printf("  copy on %s: device %s, metadata %s block %lld, log %s, preference %lld%s%s%s\n",
		       obj_str(cp, "member"), obj_str(cp, "device"), obj_str(cp, "meta_device"),
		       (long long)obj_int(cp, "meta_block"), obj_str(cp, "log_dir"),
		       (long long)obj_int(cp, "preference"), obj_bool(cp, "in_sync") ? ", in sync" : "",
		       obj_bool(cp, "suspended") ? ", suspended" : "", lag);
	}
}

int cmd_store_create(struct cmd *cmd)
{
	struct json_object *st;
	char size[32];
	int r;

	on_interrupt("the daemon finishes it or undoes it; see dagctl status");
	r = run(cmd, "store.create", &st);
	if (r || !st)
		return r;
	fmt_bytes(obj_int(st, "bytes"), size);
	printf("store %s: %s, active on %s as /dev/mapper/%s\n", obj_str(st, "name"), size,
	       obj_str(st, "active"), obj_str(st, "name"));
	json_object_put(st);
	return EXIT_SUCCESS;
}

int cmd_store_list(struct cmd *cmd)
{
	struct json_object *list;
	int r = run(cmd, "store.list", &list);

	if (!r && list)
		print_stores(list);
	json_object_put(list);
	return r;
}

static int show_after(struct cmd *cmd, const char *method)
{
	struct json_object *st;
	int r = run(cmd, method, &st);

	if (!r && st)
		print_store(st);
	json_object_put(st);
	return r;
}

int cmd_store_show(struct cmd *cmd)
{
	return show_after(cmd, "store.show");
}

int cmd_store_set(struct cmd *cmd)
{
	if (json_object_object_length(cmd->params) < 2) {
		fail("store set: nothing to set; see dagctl store set --help");
		return EXIT_USAGE;
	}
	return show_after(cmd, "store.set");
}

/* "12 MiB of its log, the last 61.5 s" */
static void given_up(struct json_object *res, char *ret, size_t len)
{
	double seconds = json_object_get_double(obj_get(res, "given_up_seconds"));
	char bytes[32];

	fmt_bytes(obj_int(res, "given_up_bytes"), bytes);
	snprintf(ret, len, "%s of its log, the last %.1f s", bytes, seconds);
}

/*
 * A move to a point gives up what was acknowledged: the daemon says how much, and holds
 * the copy there for two minutes while a person decides; then its LSN is moved to.
 */
static int agree_to_point(struct cmd *cmd)
{
	bool yes = obj_bool(cmd->params, "yes");
	struct json_object *res = NULL;
	char text[400], what[100], at[24];
	int r;

	if (yes || !obj_get(cmd->params, "at"))
		return 0;
	json_object_object_add(cmd->params, "preview", json_object_new_boolean(true));
	if (client_call(cmd, "store.move", cmd->params, &res))
		return EXIT_FAILURE;
	json_object_object_del(cmd->params, "preview");
	given_up(res, what, sizeof(what));
	snprintf(text, sizeof(text), "Store %s becomes on %s what it was at LSN %lld, %s. That gives up %s, "
		 "on all copies, with every commit that was acknowledged in them; %s keeps it as a branch.",
		 obj_str(res, "store"), obj_str(res, "to"), (long long)obj_int(res, "point_lsn"),
		 *obj_str(res, "point_time") ? obj_str(res, "point_time") : "time not known", what,
		 obj_str(res, "to"));
	r = agreed(cmd, text) ? 0 : EXIT_FAILURE;
	snprintf(at, sizeof(at), "%lld", (long long)obj_int(res, "point_lsn"));
	json_object_object_add(cmd->params, "at", json_object_new_string(at));
	json_object_object_add(cmd->params, "yes", json_object_new_boolean(true));
	json_object_put(res);
	return r;
}

int cmd_store_move(struct cmd *cmd)
{
	struct json_object *res;
	char what[100];
	int r;

	r = agree_to_point(cmd);
	if (r)
		return r;
	on_interrupt("the daemon goes on with the move, or undoes it; see dagctl status");
	r = run(cmd, "store.move", &res);
	if (r || !res)
		return r;
	printf("store %s: moved from %s to %s in %.1f s, epoch %lld\n", obj_str(res, "store"),
	       obj_str(res, "from"), obj_str(res, "to"), obj_int(res, "total_ms") / 1e3,
	       (long long)obj_int(res, "epoch"));
	if (obj_get(res, "point_lsn")) {
		given_up(res, what, sizeof(what));
		printf("store %s: as of LSN %lld, %s; given up: %s\n", obj_str(res, "store"),
		       (long long)obj_int(res, "point_lsn"), obj_str(res, "point_time"), what);
	}
	json_object_put(res);
	return EXIT_SUCCESS;
}

static int change_mount(struct cmd *cmd, const char *method)
{
	struct json_object *res;
	int r;

	on_interrupt("the daemon goes on with the steps; see dagctl status");
	r = run(cmd, method, &res);
	if (!r && res)
		printf("store %s: %s on %s\n", obj_str(res, "store"), obj_str(res, "status"),
		       obj_str(res, "member"));
	json_object_put(res);
	return r;
}

int cmd_store_mount(struct cmd *cmd)
{
	return change_mount(cmd, "store.mount");
}

int cmd_store_dismount(struct cmd *cmd)
{
	return change_mount(cmd, "store.dismount");
}

int cmd_store_remove(struct cmd *cmd)
{
	struct json_object *res;
	int r = run(cmd, "store.remove", &res);

	if (!r && res)
		printf("store %s: removed; its data stays on the devices\n",
		       obj_str(cmd->params, "store"));
	json_object_put(res);
	return r;
}

int cmd_mark(struct cmd *cmd)
{
	struct json_object *res;
	int r = run(cmd, "store.mark", &res);

	if (!r && res)
		printf("store %s: mark %s at LSN %lld\n", obj_str(cmd->params, "store"),
		       obj_str(cmd->params, "name"), (long long)obj_int(res, "lsn"));
	json_object_put(res);
	return r;
}
