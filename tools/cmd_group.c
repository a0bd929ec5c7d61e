// SPDX-License-Identifier: GPL-2.0
/* dagctl group create|show|join */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "tools/client.h"
#include "tools/fmt.h"
#include "tools/verbs.h"

static void print_settings(struct json_object *group)
{
	struct json_object *p = obj_get(group, "times");

	if (!p)
		return;
	printf("profile %s: lease %lld ms, renewed each %lld ms; heartbeats each %lld ms; engine %lld/%lld "
	       "ms\nencryption %s, compression %s (%s), activation mode (dac) %s\n\n", obj_str(p, "name"),
	       (long long)obj_int(p, "lease_ms"), (long long)obj_int(p, "lease_period_ms"),
	       (long long)obj_int(p, "heartbeat_ms"), (long long)obj_int(p, "engine_heartbeat_ms"),
	       (long long)obj_int(p, "engine_election_ms"), obj_str(group, "encryption"),
	       obj_str(group, "compression"), obj_str(group, "codec"), obj_bool(group, "dac") ? "on" : "off");
}

/* How old what is shown may be: without a majority it is what was known last. */
static void print_engine(struct json_object *group)
{
	long long age = obj_int(group, "engine_age_ms");
	struct json_object *wt = obj_get(group, "witness");
	char text[32];

	fmt_seconds(age / 1000.0, text);
	printf("generation %lld, quorum: %s%s%s%s\n", (long long)obj_int(group, "generation"),
	       obj_str(group, "quorum_model"), wt ? "; witness " : "", obj_str(wt, "name"),
	       wt && !obj_bool(wt, "voter") ? ", not needed now" : wt && !obj_bool(wt, "reachable") ?
	       ", unreachable" : "");
	printf("manager %s, %lld voters, majority answered %s%s%s\n\n",
	       *obj_str(group, "manager") ? obj_str(group, "manager") : "none",
	       (long long)obj_int(group, "engine_voters"),
	       age < 0 ? "not since dagd started" : text, age < 0 ? "" : " ago", obj_bool(group, "engine_confirmed") ? "" :
	       "; STALE: this is what the member knew when it was stopped");
	if (obj_int(group, "engine_connections"))
		printf("engine: %lld connections from and to here, over %lld ways\n\n",
		       (long long)obj_int(group, "engine_connections"),
		       (long long)obj_int(group, "engine_ways"));
	if (*obj_str(group, "engine_error"))
		printf("engine: %s\n\n", obj_str(group, "engine_error"));
}

static void print_group(struct json_object *group)
{
	printf("group %s: founder %s, engine %s, %lld stores, uuid %s\n\n", obj_str(group, "name"),
	       obj_str(group, "founder"), obj_str(group, "engine"),
	       (long long)obj_int(group, "stores"), obj_str(group, "uuid"));
	print_settings(group);
	if (obj_get(group, "engine_age_ms"))
		print_engine(group);
	print_members(obj_get(group, "members"), NULL);
}

static int show_result(struct cmd *cmd, const char *method)
{
	struct json_object *group = NULL;

	if (client_call(cmd, method, cmd->params, &group))
		return EXIT_FAILURE;
	if (cmd->json)
		print_json(group);
	else
		print_group(group);
	json_object_put(group);
	return EXIT_SUCCESS;
}

int cmd_group_create(struct cmd *cmd)
{
	return show_result(cmd, "group.create");
}

int cmd_group_set(struct cmd *cmd)
{
	if (!json_object_object_length(cmd->params)) {
		fail("group set: nothing to set; see dagctl group set --help");
		return EXIT_USAGE;
	}
	return show_result(cmd, "group.set");
}

int cmd_group_show(struct cmd *cmd)
{
	return show_result(cmd, "group.show");
}

/* Secrets do not belong on a screen. */
static char *read_hidden(char *buf, int cap)
{
	struct termios old, quiet;
	bool tty = isatty(STDIN_FILENO) && !tcgetattr(STDIN_FILENO, &old);
	char *got;

	if (tty) {
		fprintf(stderr, "token: ");
		quiet = old;
		quiet.c_lflag &= ~ECHO;
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	got = fgets(buf, cap, stdin);
	if (tty) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
		fputc('\n', stderr);
	}
	return got;
}

int cmd_group_join(struct cmd *cmd)
{
	const char *path = obj_str(cmd->params, "token_file");
	char buf[1024] = "";
	FILE *f;

	if (*path && strcmp(path, "-")) {
		f = fopen(path, "re");
		if (!f || !fgets(buf, sizeof(buf), f)) {
			fail("token file %s: %s; copy it from where dagctl member add wrote it", path,
			     f ? "empty" : "cannot be read");
			if (f)
				fclose(f);
			return EXIT_FAILURE;
		}
		fclose(f);
	} else if (!read_hidden(buf, sizeof(buf))) {
		return fail("group join: no token on standard input; make one with dagctl member add");
	}
	buf[strcspn(buf, "\r\n")] = '\0';
	json_object_object_del(cmd->params, "token_file");
	json_object_object_add(cmd->params, "token", json_object_new_string(buf));
	return show_result(cmd, "group.join");
}

int cmd_group_redistribute(struct cmd *cmd)
{
	struct json_object *res = NULL, *moves;
	int failed;

	on_interrupt("the daemon goes on with the moves; see dagctl status");
	if (client_call(cmd, "group.redistribute", cmd->params, &res))
		return EXIT_FAILURE;
	moves = obj_get(res, "moves");
	failed = (int)obj_int(res, "failed");
	if (cmd->json)
		print_json(res);
	for (size_t i = 0; !cmd->json && i < obj_len(moves); i++) {
		struct json_object *o = json_object_array_get_idx(moves, i);

		printf("store %s: %s to %s%s%s\n", obj_str(o, "store"), obj_str(o, "from"),
		       obj_str(o, "to"), *obj_str(o, "error") ? ": failed: " : "", obj_str(o, "error"));
	}
	if (!cmd->json && !obj_len(moves))
		printf("nothing to move\n");
	json_object_put(res);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
