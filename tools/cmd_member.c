// SPDX-License-Identifier: GPL-2.0
/* dagctl member add|list|remove|set|maintenance */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/client.h"
#include "tools/fmt.h"
#include "tools/verbs.h"

static void print_invited(struct json_object *invited)
{
	char when[32];
	size_t i;

	for (i = 0; i < obj_len(invited); i++) {
		struct json_object *in = json_object_array_get_idx(invited, i);

		fmt_seconds(obj_int(in, "expires") - time(NULL), when);
		printf("invited: %s, address %s, token good for %s\n", obj_str(in, "name"),
		       obj_str(in, "address"), when);
	}
}

static const char *state_of(struct json_object *mb)
{
	bool there = obj_bool(mb, "reachable");

	if (obj_bool(mb, "stopped"))
		return there ? "stopped" : "stopped, unreachable";
	if (!there)
		return "unreachable";
	return obj_bool(mb, "maintenance") ? "maintenance" : "up";
}

void print_members(struct json_object *members, struct json_object *invited)
{
	static const char *const head[] = { "MEMBER", "ADDRESS", "PORT", "STATE", "LAST SEEN", "RTT",
					    "VERSION", "" };
	struct table *tb = table_new(8);
	size_t i;

	table_row(tb, head);
	for (i = 0; i < obj_len(members); i++) {
		struct json_object *mb = json_object_array_get_idx(members, i);
		char port[16], seen[48] = "never", rtt[32] = "-", age[32], note[FMT_CELL];

		snprintf(port, sizeof(port), "%lld", (long long)obj_int(mb, "port"));
		if (obj_get(mb, "age_seconds")) {
			fmt_seconds(obj_double(mb, "age_seconds"), age);
			snprintf(seen, sizeof(seen), "%s ago", age);
		}
		if (obj_get(mb, "rtt_ms"))
			snprintf(rtt, sizeof(rtt), "%.1f ms", obj_double(mb, "rtt_ms"));
		snprintf(note, sizeof(note), "%s%s%s", obj_bool(mb, "founder") ? "founder " : "",
			 obj_bool(mb, "authority") ? "authority " : "", obj_str(mb, "error"));
		table_row(tb, (const char *[]){ obj_str(mb, "name"), obj_str(mb, "address"), port,
			  state_of(mb), seen, rtt,
			  obj_str(mb, "version"), note });
	}
	table_print(tb, stdout);
	print_invited(invited);
}

static int write_token(const char *path, const char *token)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || fchmod(fd, 0600) || dprintf(fd, "%s\n", token) < 0 || fsync(fd) || close(fd))
		return fail("token file %s: %m; the token is lost, make a new one", path);
	return EXIT_SUCCESS;
}

/* The token of an invitation, to where it was asked for. */
int invite_host(struct cmd *cmd, const char *method)
{
	char path[4096];
	struct json_object *res = NULL;
	int r = EXIT_SUCCESS;

	snprintf(path, sizeof(path), "%s", obj_str(cmd->params, "token_out"));
	json_object_object_del(cmd->params, "token_out");
	if (client_call(cmd, method, cmd->params, &res))
		return EXIT_FAILURE;
	if (path[0]) {
		r = write_token(path, obj_str(res, "token"));
		json_object_object_del(res, "token");
		json_object_object_add(res, "token_file", json_object_new_string(path));
	}
	if (cmd->json) {
		print_json(res);
	} else if (!path[0]) {
		/* the token alone on stdout, so that it can be piped */
		printf("%s\n", obj_str(res, "token"));
		fprintf(stderr, "On %s, within 24 hours: dagctl group join (and give it this token)\n",
			obj_str(res, "name"));
	} else if (!r) {
		printf("token for %s in %s; copy it there and run, within 24 hours:\n"
		       "  dagctl group join --token-file FILE\n", obj_str(res, "name"), path);
	}
	json_object_put(res);
	return r;
}

int cmd_member_add(struct cmd *cmd)
{
	return invite_host(cmd, "member.add");
}

int cmd_member_list(struct cmd *cmd)
{
	struct json_object *res = NULL;

	if (client_call(cmd, "member.list", cmd->params, &res))
		return EXIT_FAILURE;
	if (cmd->json)
		print_json(res);
	else
		print_members(obj_get(res, "members"), obj_get(res, "invited"));
	json_object_put(res);
	return EXIT_SUCCESS;
}

int cmd_member_remove(struct cmd *cmd)
{
	struct json_object *res = NULL;
	const char *name = obj_str(cmd->params, "name");

	if (client_call(cmd, "member.remove", cmd->params, &res))
		return EXIT_FAILURE;
	if (cmd->json)
		print_json(res);
	else if (obj_bool(res, "invitation"))
		printf("invitation of %s taken back\n", name);
	else
		printf("member %s removed%s%s\n", name, obj_bool(res, "told") ? "" :
		       "; it does not answer and does not know it yet", obj_bool(res, "revoked") ? "" :
		       "; its certificate is NOT revoked: see dagctl events list --kind alert");
	json_object_put(res);
	return EXIT_SUCCESS;
}

int cmd_member_set(struct cmd *cmd)
{
	struct json_object *res = NULL;

	if (json_object_object_length(cmd->params) < 2) {
		fail("member set: nothing to set; see dagctl member set --help");
		return EXIT_USAGE;
	}
	if (client_call(cmd, "member.set", cmd->params, &res))
		return EXIT_FAILURE;
	if (cmd->json)
		print_json(res);
	else
		printf("member %s: set\n", obj_str(res, "name"));
	json_object_put(res);
	return EXIT_SUCCESS;
}

int cmd_member_maintenance(struct cmd *cmd)
{
	struct json_object *res = NULL, *moved;
	bool start = !strcmp(obj_str(cmd->params, "action"), "start");

	on_interrupt("the daemon goes on with the moves; see dagctl status");
	if (client_call(cmd, "member.maintenance", cmd->params, &res))
		return EXIT_FAILURE;
	moved = obj_get(res, "moved");
	if (cmd->json) {
		print_json(res);
	} else {
		for (size_t i = 0; i < obj_len(moved); i++) {
			struct json_object *o = json_object_array_get_idx(moved, i);

			printf("store %s: moved to %s\n", obj_str(o, "store"), obj_str(o, "to"));
		}
		printf("member %s: %s\n", obj_str(res, "of"), start ? "in maintenance" :
		       "out of maintenance, its settings are as they were");
	}
	json_object_put(res);
	return EXIT_SUCCESS;
}
