// SPDX-License-Identifier: GPL-2.0
/* dagctl group stop|start|restore */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/client.h"
#include "tools/fmt.h"
#include "tools/verbs.h"

/* The answer to a question on standard input, without its newline. */
static bool ask(const char *question, char *ret, int cap)
{
	fprintf(stderr, "%s ", question);
	fflush(stderr);
	if (!fgets(ret, cap, stdin)) {
		fputc('\n', stderr);
		return false;
	}
	ret[strcspn(ret, "\r\n")] = '\0';
	return true;
}

bool agreed(struct cmd *cmd, const char *what)
{
	bool yes = obj_bool(cmd->params, "yes");
	char text[32];

	json_object_object_del(cmd->params, "yes");
	if (yes)
		return true;
	fprintf(stderr, "%s\n", what);
	if (!isatty(STDIN_FILENO)) {
		fail("not done: pass --yes where nobody can be asked");
		return false;
	}
	return ask("Go on? [y/N]", text, sizeof(text)) && (text[0] == 'y' || text[0] == 'Y');
}

static void print_names(struct json_object *list)
{
	for (size_t i = 0; i < obj_len(list); i++)
		printf("%s%s", i ? ", " : "",
		       json_object_get_string(json_object_array_get_idx(list, i)));
}

static int whom(struct cmd *cmd, char *ret, size_t len)
{
	const char *name = obj_str(cmd->params, "name"), *site = obj_str(cmd->params, "site");

	if (!*name == !*site) {
		fail("group %s: name a member, or a site with --site", cmd->verb->verb);
		return EXIT_USAGE;
	}
	snprintf(ret, len, "%s%s", *site ? "the members of site " : "", *site ? site : name);
	return 0;
}

int cmd_group_stop(struct cmd *cmd)
{
	bool only = obj_bool(cmd->params, "configuration_only");
	struct json_object *res = NULL;
	char text[700], who[200];
	int r = whom(cmd, who, sizeof(who));

	if (r)
		return r;
	snprintf(text, sizeof(text), only ? "This calls %s stopped: nobody waits for what is there any more. "
		 "It must be off, or cut off for good." : "This stops %s: active stores are moved away, "
		 "copies there get nothing more, votes and leases end, until dagctl group start.", who);
	if (!agreed(cmd, text))
		return EXIT_FAILURE;
	on_interrupt("the daemon goes on; see dagctl group show");
	if (client_call(cmd, "group.stop", cmd->params, &res))
		return EXIT_FAILURE;
	if (cmd->json) {
		print_json(res);
	} else {
		printf("stopped: ");
		print_names(obj_get(res, "stopped"));
		if (!obj_bool(res, "agreed"))
			printf("; written down on this host only, for want of a majority. Where it is lost "
			       "for good: dagctl group restore, here");
		else if (obj_bool(res, "still_vote"))
			printf("; votes are still being taken away: see voter in dagctl group show --json "
			       "before you switch anything off");
		putchar('\n');
	}
	json_object_put(res);
	return EXIT_SUCCESS;
}

int cmd_group_start(struct cmd *cmd)
{
	struct json_object *res = NULL;
	char text[700], who[200];
	int r;

	if (obj_bool(cmd->params, "activate")) {
		if (*obj_str(cmd->params, "name") || *obj_str(cmd->params, "site")) {
			fail("group start: --activate is for this member, without a name or a site");
			return EXIT_USAGE;
		}
		snprintf(text, sizeof(text), "This lets this member activate stores although it has met nobody "
			 "who may.\nOnly if the group has NOT gone on elsewhere, by dagctl group restore, "
			 "while it was away.");
	} else {
		r = whom(cmd, who, sizeof(who));
		if (r)
			return r;
		snprintf(text, sizeof(text), "This lets %s take part again: copies there catch up, what "
			 "only they had is kept as a branch.", who);
	}
	if (!agreed(cmd, text))
		return EXIT_FAILURE;
	if (client_call(cmd, "group.start", cmd->params, &res))
		return EXIT_FAILURE;
	if (cmd->json) {
		print_json(res);
	} else if (obj_bool(res, "confirmed")) {
		puts("this member may activate stores");
	} else {
		printf("started: ");
		print_names(obj_get(res, "started"));
		putchar('\n');
	}
	json_object_put(res);
	return EXIT_SUCCESS;
}

static void print_plan(struct json_object *plan)
{
	struct json_object *stores = obj_get(plan, "stores");

	printf("group %s, generation %lld\n  left: ", obj_str(plan, "group"),
	       (long long)obj_int(plan, "generation"));
	print_names(obj_get(plan, "left"));
	printf("\n  lost, to be let in again by dagctl group start: ");
	print_names(obj_get(plan, "lost"));
	if (obj_bool(plan, "witness_lost"))
		printf("\n  the witness is lost; %s%s", *obj_str(plan, "witness") ? "the alternate takes its "
		       "place: " : "there is no alternate", obj_str(plan, "witness"));
	putchar('\n');
	for (size_t i = 0; i < obj_len(stores); i++) {
		struct json_object *o = json_object_array_get_idx(stores, i);

		if (!*obj_str(o, "to"))
			printf("  store %s: stays down, %s\n", obj_str(o, "store"), obj_str(o, "why"));
		else
			printf("  store %s: active on %s (was %s): %s%s\n", obj_str(o, "store"),
			       obj_str(o, "to"), obj_str(o, "from"), obj_str(o, "why"),
			       obj_bool(o, "complete") ? "" : " -- LOSS IS POSSIBLE");
	}
}

int cmd_group_restore(struct cmd *cmd)
{
	bool dry = obj_bool(cmd->params, "dry_run"), given = *obj_str(cmd->params, "confirm");
	struct json_object *plan = NULL, *first = json_object_new_object();
	char name[64] = "";
	int r = EXIT_SUCCESS;

	json_object_object_add(first, "dry_run", json_object_new_boolean(true));
	if (dry || !given)
		r = client_call(cmd, "group.restore", first, &plan) ? EXIT_FAILURE : EXIT_SUCCESS;
	json_object_put(first);
	if (r)
		return r;
	if (dry || !given) {
		if (cmd->json)
			print_json(plan);
		else
			print_plan(plan);
		json_object_put(plan);
		plan = NULL;
	}
	if (dry)
		return EXIT_SUCCESS;
	if (!given) {
		fprintf(stderr, "The lost members must be off, or cut off for good: if they have a majority "
			"among themselves they may be serving.\n");
		if (!ask("To go on, type the name of the group:", name, sizeof(name)) || !name[0])
			return fail("group restore: not done");
		json_object_object_add(cmd->params, "confirm", json_object_new_string(name));
	}
	on_interrupt("the daemon goes on; see dagctl status");
	if (client_call(cmd, "group.restore", cmd->params, &plan))
		return EXIT_FAILURE;
	if (cmd->json) {
		print_json(plan);
	} else {
		puts("restored:");
		print_plan(plan);
		if (!obj_bool(plan, "all_follow"))
			puts("not all that are left have followed yet; see dagctl status on them");
	}
	json_object_put(plan);
	return EXIT_SUCCESS;
}
