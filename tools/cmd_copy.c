// SPDX-License-Identifier: GPL-2.0
/* dagctl copy add|set|status|open|close|suspend|resume|remove|seed */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/client.h"
#include "tools/fmt.h"
#include "tools/verbs.h"

#define SEED_POLL_US	1000000

/* "12 rec  48 KiB  0.3 s", "-" where it is not known. */
static void fmt_queue(struct json_object *cp, const char *which, char *ret, size_t len)
{
	char records[64], bytes[64], seconds[64], b[32], s[32];

	snprintf(records, sizeof(records), "%s_queue_records", which);
	snprintf(bytes, sizeof(bytes), "%s_queue_bytes", which);
	snprintf(seconds, sizeof(seconds), "%s_queue_seconds", which);
	if (!obj_get(cp, bytes)) {
		snprintf(ret, len, "-");
		return;
	}
	fmt_bytes(obj_int(cp, bytes), b);
	fmt_seconds(obj_double(cp, seconds), s);
	snprintf(ret, len, "%lld rec, %s, %s", (long long)obj_int(cp, records), b, s);
}

static void note_of(struct json_object *cp, char *ret, size_t len)
{
	double total = obj_double(cp, "seed_total");
	char left[32], of[32], rate[32], unused[32];

	ret[0] = '\0';
	if (total > 0 && !strncmp(obj_str(cp, "status"), "Seeding", 7)) {
		fmt_seconds(obj_double(cp, "seed_left_seconds"), left);
		fmt_bytes(total, of);
		fmt_bytes(obj_double(cp, "seed_rate"), rate);
		fmt_bytes(obj_double(cp, "seed_unused"), unused);
		snprintf(ret, len, "seed %.0f %% of %.16s%s%.16s%s, %.16s/s%s, %.24s left",
			 100 * obj_double(cp, "seed_done") / total, of,
			 obj_int(cp, "seed_unused") ? " (" : "",
			 obj_int(cp, "seed_unused") ? unused : "",
			 obj_int(cp, "seed_unused") ? " unused)" : "", rate,
			 obj_int(cp, "seed_rate_limit") ? " (limited)" : "", left);
	} else if (*obj_str(cp, "error")) {
		snprintf(ret, len, "%.150s", obj_str(cp, "error"));
	} else if (obj_double(cp, "replay_lag_seconds") > 0 && !strcmp(obj_str(cp, "role"), "passive")) {
		fmt_seconds(obj_double(cp, "replay_lag_seconds"), left);
		if (!strcmp(obj_str(cp, "lag"), "off"))
			snprintf(ret, len, "lag %s, off", left);
		else if (!strcmp(obj_str(cp, "lag_state"), "played-down") || *obj_str(cp, "lag_cause"))
			snprintf(ret, len, "lag %s, played down: %s", left, obj_str(cp, "lag_cause"));
		else
			snprintf(ret, len, "lag %s", left);
	} else if (*obj_str(cp, "comment")) {
		snprintf(ret, len, "%.150s", obj_str(cp, "comment"));
	}
}

/* Under the table: what is open, and what became of it. */
static void print_forks(struct json_object *copies)
{
	for (size_t i = 0; i < obj_len(copies); i++) {
		struct json_object *cp = json_object_array_get_idx(copies, i);
		struct json_object *forks = obj_get(cp, "forks");

		for (size_t k = 0; k < obj_len(forks); k++) {
			struct json_object *f = json_object_array_get_idx(forks, k);
			char used[32], space[32];

			fmt_bytes(obj_int(f, "used_bytes"), used);
			fmt_bytes(obj_int(f, "space_bytes"), space);
			printf("%s\\%s is open as %s: LSN %lld (%s), %s, %s of %s used%s%s\n",
			       obj_str(cp, "store"), obj_str(cp, "member"), obj_str(f, "device"),
			       (long long)obj_int(f, "lsn"),
			       *obj_str(f, "time") ? obj_str(f, "time") : "time not known",
			       obj_bool(f, "opening") ? "being opened" :
			       obj_bool(f, "writable") ? "writable" : "read-only", used, space,
			       *obj_str(f, "error") ? ", LOST: " : "", obj_str(f, "error"));
		}
	}
}

void print_copies(struct json_object *copies)
{
	static const char *const head[] = { "NAME", "STATUS", "ROLE", "COPY QUEUE", "REPLAY QUEUE",
					    "LAST INSPECTED", "" };
	struct table *tb = table_new(7);
	size_t i;

	table_row(tb, head);
	for (i = 0; i < obj_len(copies); i++) {
		struct json_object *cp = json_object_array_get_idx(copies, i);
		char name[128], copyq[96] = "-", replayq[96] = "-", note[FMT_CELL];
		const char *when = obj_str(cp, "last_inspected_time");
		bool passive = !strcmp(obj_str(cp, "role"), "passive");

		snprintf(name, sizeof(name), "%s\\%s", obj_str(cp, "store"), obj_str(cp, "member"));
		if (passive) {
			fmt_queue(cp, "copy", copyq, sizeof(copyq));
			fmt_queue(cp, "replay", replayq, sizeof(replayq));
		}
		note_of(cp, note, sizeof(note));
		table_row(tb, (const char *[]){ name, obj_str(cp, "status"), obj_str(cp, "role"), copyq,
			  replayq, passive && *when ? when : "-", note });
	}
	table_print(tb, stdout);
}

static void print_full(struct json_object *copies)
{
	size_t i;

	for (i = 0; i < obj_len(copies); i++) {
		struct json_object *cp = json_object_array_get_idx(copies, i);

		printf("%s%s\\%s\n", i ? "\n" : "", obj_str(cp, "store"), obj_str(cp, "member"));
		json_object_object_foreach(cp, key, val) {
			const char *text = json_object_is_type(val, json_type_string) ?
					   json_object_get_string(val) :
					   json_object_to_json_string(val);
			char human[40] = "", b[32];

			if (!strcmp(key, "store") || !strcmp(key, "member") || !*text)
				continue;
			if (strstr(key, "bytes") || !strcmp(key, "space_left") ||
			    !strcmp(key, "seed_done") || !strcmp(key, "seed_total") ||
			    !strcmp(key, "seed_unused")) {
				fmt_bytes(obj_int(cp, key), b);
				snprintf(human, sizeof(human), " (%s)", b);
			}
			printf("  %-24s %s%s\n", key, text, human);
		}
	}
}

int cmd_copy_status(struct cmd *cmd)
{
	bool full = obj_bool(cmd->params, "full");
	struct json_object *copies = NULL;

	json_object_object_del(cmd->params, "full");
	if (client_call(cmd, "copy.status", cmd->params, &copies))
		return EXIT_FAILURE;
	if (cmd->json)
		print_json(copies);
	else if (full)
		print_full(copies);
	else
		print_copies(copies);
	if (!cmd->json && !full)
		print_forks(copies);
	json_object_put(copies);
	return EXIT_SUCCESS;
}

static int simple(struct cmd *cmd, const char *method, const char *done)
{
	struct json_object *res = NULL;

	if (client_call(cmd, method, cmd->params, &res))
		return EXIT_FAILURE;
	if (cmd->json)
		print_json(res);
	else
		printf("copy %s\\%s: %s\n", obj_str(cmd->params, "store"),
		       *obj_str(res, "member") ? obj_str(res, "member") :
						 obj_str(cmd->params, "member"), done);
	json_object_put(res);
	return EXIT_SUCCESS;
}

int cmd_copy_open(struct cmd *cmd)
{
	struct json_object *res = NULL;

	on_interrupt("the daemon goes on opening it; see dagctl copy status --full, and dagctl copy close");
	if (client_call(cmd, "copy.open", cmd->params, &res))
		return EXIT_FAILURE;
	if (cmd->json)
		print_json(res);
	else
		printf("store %s: %s, LSN %lld (%s), %s\n", obj_str(res, "store"), obj_str(res, "device"),
		       (long long)obj_int(res, "lsn"),
		       *obj_str(res, "time") ? obj_str(res, "time") : "time not known",
		       obj_bool(res, "writable") ? "writable" : "read-only");
	json_object_put(res);
	return EXIT_SUCCESS;
}

int cmd_copy_close(struct cmd *cmd)
{
	struct json_object *res = NULL;

	if (client_call(cmd, "copy.close", cmd->params, &res))
		return EXIT_FAILURE;
	if (cmd->json)
		print_json(res);
	else
		printf("store %s: %s closed\n", obj_str(res, "store"), obj_str(res, "name"));
	json_object_put(res);
	return EXIT_SUCCESS;
}

int cmd_copy_add(struct cmd *cmd)
{
	on_interrupt("the daemon finishes it or undoes it; see dagctl status");
	return simple(cmd, "copy.add", "added; it is seeded now, see dagctl copy status");
}

int cmd_copy_set(struct cmd *cmd)
{
	struct json_object *res = NULL;
	char replay[32], truncation[32];

	if (json_object_object_length(cmd->params) < 3) {
		fail("copy set: nothing to set; see dagctl copy set --help");
		return EXIT_USAGE;
	}
	if (client_call(cmd, "copy.set", cmd->params, &res))
		return EXIT_FAILURE;
	fmt_seconds(obj_int(res, "replay_lag_ms") / 1e3, replay);
	fmt_seconds(obj_int(res, "truncation_lag_ms") / 1e3, truncation);
	if (cmd->json)
		print_json(res);
	else
		printf("copy %s\\%s: replay lag %s, truncation lag %s, %s; seeded %s%s\n",
		       obj_str(cmd->params, "store"), obj_str(res, "member"), replay, truncation,
		       obj_bool(res, "lag_off") ? "off" : "on",
		       obj_bool(res, "seed_whole") ? "whole" : "without what is not used",
		       obj_int(res, "seed_rate") ? ", at a rate of its own" : "");
	json_object_put(res);
	return EXIT_SUCCESS;
}

int cmd_copy_suspend(struct cmd *cmd)
{
	return simple(cmd, "copy.suspend", obj_bool(cmd->params, "activation_only") ?
		      "activation blocked" : "suspended");
}

int cmd_copy_resume(struct cmd *cmd)
{
	return simple(cmd, "copy.resume", "resumed");
}

int cmd_copy_remove(struct cmd *cmd)
{
	return simple(cmd, "copy.remove", "removed; its data stays on the device");
}

static struct json_object *find_copy(struct json_object *copies, const char *member)
{
	size_t i;

	for (i = 0; i < obj_len(copies); i++) {
		struct json_object *cp = json_object_array_get_idx(copies, i);

		if (!strcmp(obj_str(cp, "member"), member))
			return cp;
	}
	return NULL;
}

static void print_seed(struct json_object *cp)
{
	char done[32], total[32], rate[32], left[32];

	if (obj_int(cp, "seed_total") <= 0) {
		fprintf(stderr, "%s\n", obj_str(cp, "status"));
		return;
	}
	fmt_bytes(obj_int(cp, "seed_done"), done);
	fmt_bytes(obj_int(cp, "seed_total"), total);
	fmt_bytes(obj_double(cp, "seed_rate"), rate);
	fmt_seconds(obj_double(cp, "seed_left_seconds"), left);
	fprintf(stderr, "%s: %s of %s, %s/s, %s left\n", obj_str(cp, "status"), done, total, rate, left);
}

/*
 * Healthy right after the request may be the state from before it: believed
 * only after something else was seen, or three times.
 */
static int wait_seeded(struct cmd *cmd, const char *store, const char *member)
{
	struct json_object *params = json_object_new_object(), *copies, *cp;
	int healthy = 0, r = -1;
	bool moved = false;

	json_object_object_add(params, "store", json_object_new_string(store));
	while (r < 0) {
		usleep(SEED_POLL_US);
		copies = NULL;
		if (client_call(cmd, "copy.status", params, &copies)) {
			r = EXIT_FAILURE;
			break;
		}
		cp = find_copy(copies, member);
		if (!cp) {
			r = fail("copy %s\\%s: is gone", store, member);
		} else if (!strcmp(obj_str(cp, "status"), "FailedAndSuspended")) {
			r = fail("copy %s\\%s: %s; see dagctl copy status %s --full", store, member,
				 obj_str(cp, "error"), store);
		} else {
			bool ok = !strcmp(obj_str(cp, "status"), "Healthy");

			healthy += ok;
			moved |= !ok;
			print_seed(cp);
			if (ok && (moved || healthy >= 3))
				r = EXIT_SUCCESS;
		}
		json_object_put(copies);
	}
	json_object_put(params);
	return r;
}

int cmd_copy_seed(struct cmd *cmd)
{
	bool wait = obj_bool(cmd->params, "wait");
	int r;

	json_object_object_del(cmd->params, "wait");
	r = simple(cmd, "copy.seed", "seeding requested");
	if (r || !wait)
		return r;
	fflush(stdout);
	on_interrupt("seeding goes on in the daemon; see dagctl copy status");
	return wait_seeded(cmd, obj_str(cmd->params, "store"), obj_str(cmd->params, "member"));
}
