// SPDX-License-Identifier: GPL-2.0
/* dagctl status, dagctl watch */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/client.h"
#include "tools/fmt.h"
#include "tools/verbs.h"

#define CLEAR	"\033[H\033[2J"

/* What a reader must know before he believes the rest. */
static void print_stale(struct json_object *st)
{
	struct json_object *members = obj_get(obj_get(st, "group"), "members");
	struct json_object *copies = obj_get(st, "copies");
	size_t i, down = 0, stale = 0;

	for (i = 0; i < obj_len(members); i++)
		down += !obj_bool(json_object_array_get_idx(members, i), "reachable");
	for (i = 0; i < obj_len(copies); i++)
		stale += obj_bool(json_object_array_get_idx(copies, i), "stale");
	if (down)
		printf("\nstale: %zu of %zu members do not answer; what concerns them is what %s last "
		       "knew\n", down, obj_len(members),
		       obj_str(obj_get(st, "group"), "answered_by"));
	if (stale)
		printf("stale: %zu copies are shown without a word from their active member\n", stale);
}

/* Who decides, and whether this member may: where leases are held in a quorum. */
static void print_manager(struct json_object *mg)
{
	int64_t lease = obj_int(mg, "lease_ms");

	if (!obj_bool(mg, "quorum")) {
		puts("planned moves only: the engine knows no leases");
		return;
	}
	printf("manager %s; lease here %s", obj_str(mg, "manager"),
	       lease > 0 ? "held" : "LOST (no quorum, or fenced)");
	if (lease > 0)
		printf(" for %lld ms", (long long)lease);
	printf("; activation %s: %s\n", obj_bool(mg, "may_activate") ? "allowed" : "NOT allowed",
	       obj_str(mg, "dac"));
}

/* Who of the voters is there; without a majority: what that means here. */
static void print_quorum(struct json_object *group)
{
	struct json_object *members = obj_get(group, "members"), *wt = obj_get(group, "witness");
	size_t i, voters = 0, there = 0, nr = obj_len(members);
	char gone[512] = "", age[32];
	int64_t ms = obj_int(group, "engine_age_ms");

	for (i = 0; i < nr + (wt ? 1 : 0); i++) {
		struct json_object *o = i < nr ? json_object_array_get_idx(members, i) : wt;

		if (!obj_bool(o, "voter"))
			continue;
		voters++;
		if (obj_bool(o, "reachable"))
			there++;
		else
			snprintf(gone + strlen(gone), sizeof(gone) - strlen(gone), "%s%s",
				 gone[0] ? ", " : "", obj_str(o, "name"));
	}
	if (obj_bool(group, "engine_quorum")) {
		printf("quorum: %zu of %zu voters answer%s%s\n", there, voters,
		       gone[0] ? "; unreachable: " : "", gone);
		return;
	}
	fmt_seconds(ms / 1000.0, age);
	printf("no quorum: no majority of the %zu voters %s%s; unreachable: %s\n"
	       "  nothing is activated or changed from here; stores that were active here are shut "
	       "and serve again with a majority\n", voters, ms < 0 ? "since dagd started" :
	       "for ", ms < 0 ? "" : age, gone[0] ? gone : "none, by their daemons");
}

/* Stores with fewer than two healthy copies, for so long that it counts (semantics 37). */
static void print_alerts(struct json_object *list)
{
	char since[32];
	size_t i;

	for (i = 0; i < obj_len(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		if (!obj_bool(o, "alert"))
			continue;
		fmt_seconds(obj_int(o, "seconds"), since);
		printf("ALERT: store %s has %lld healthy cop%s for %s; see dagctl test %s\n",
		       obj_str(o, "store"), (long long)obj_int(o, "healthy"),
		       obj_int(o, "healthy") == 1 ? "y" : "ies", since, obj_str(o, "store"));
	}
}

static void print_status(struct json_object *st)
{
	struct json_object *group = obj_get(st, "group");

	printf("group %s: founder %s, answered by %s\n", obj_str(group, "name"),
	       obj_str(group, "founder"), obj_str(group, "answered_by"));
	if (obj_get(st, "manager"))
		print_manager(obj_get(st, "manager"));
	if (obj_get(group, "engine_age_ms"))
		print_quorum(group);
	print_alerts(obj_get(st, "redundancy"));
	putchar('\n');
	print_members(obj_get(group, "members"), NULL);
	putchar('\n');
	if (!obj_len(obj_get(st, "stores"))) {
		printf("no stores; make one with dagctl store create\n");
	} else {
		print_stores(obj_get(st, "stores"));
		putchar('\n');
		print_copies(obj_get(st, "copies"));
	}
	print_stale(st);
}

int cmd_status(struct cmd *cmd)
{
	struct json_object *st = NULL;

	if (client_call(cmd, "status", cmd->params, &st))
		return EXIT_FAILURE;
	if (cmd->json)
		print_json(st);
	else
		print_status(st);
	json_object_put(st);
	return EXIT_SUCCESS;
}

static int view(struct cmd *cmd, bool tty)
{
	struct json_object *st = NULL;
	char when[32];
	time_t now;
	struct tm tm;

	if (client_call(cmd, "status", NULL, &st))
		return EXIT_FAILURE;
	if (cmd->json) {
		puts(json_object_to_json_string_ext(st, JSON_C_TO_STRING_PLAIN |
						    JSON_C_TO_STRING_NOSLASHESCAPE));
	} else {
		now = time(NULL);
		strftime(when, sizeof(when), "%F %T", localtime_r(&now, &tm));
		printf("%s%s  ", tty ? CLEAR : "", when);
		print_status(st);
		if (!tty)
			putchar('\n');
	}
	fflush(stdout);
	json_object_put(st);
	return EXIT_SUCCESS;
}

int cmd_watch(struct cmd *cmd)
{
	double interval = obj_get(cmd->params, "interval") ? obj_double(cmd->params, "interval") : 2;
	int64_t count = obj_int(cmd->params, "count"), i;
	bool tty = isatty(STDOUT_FILENO);
	int r;

	if (interval < 0.1)
		interval = 0.1;
	for (i = 0; !count || i < count; i++) {
		if (i)
			usleep(interval * 1e6);
		r = view(cmd, tty);
		if (r)
			return r;
	}
	return EXIT_SUCCESS;
}
