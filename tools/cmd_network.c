// SPDX-License-Identifier: GPL-2.0
/* dagctl network list|set|rediscover|status */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/client.h"
#include "tools/fmt.h"
#include "tools/verbs.h"

static const char *use_of(struct json_object *nw, char buf[64])
{
	const char *codec = obj_str(nw, "compression");

	snprintf(buf, 64, "%s%s%s%s%s%s", obj_bool(nw, "ignore") ? "ignored " : "",
		 obj_bool(nw, "client") ? "client " : "",
		 obj_bool(nw, "replication") ? "replication" : "",
		 !obj_bool(nw, "client") && !obj_bool(nw, "replication") ? "heartbeats only" : "",
		 *codec && strcmp(codec, "group") ? ", compression " : "",
		 *codec && strcmp(codec, "group") ? codec : "");
	return buf;
}

static void network_rows(struct table *tb, struct json_object *nw)
{
	struct json_object *subnets = obj_get(nw, "subnets"), *sn, *ifs, *in;
	const char *name = obj_str(nw, "name"), *subnet, *state;
	char use[64], where[FMT_CELL];
	size_t i, k;

	use_of(nw, use);
	for (i = 0; i < obj_len(subnets); i++) {
		sn = json_object_array_get_idx(subnets, i);
		ifs = obj_get(sn, "interfaces");
		subnet = obj_str(sn, "subnet");
		state = obj_str(sn, "state");
		for (k = 0; k < (obj_len(ifs) ? obj_len(ifs) : 1); k++) {
			in = obj_len(ifs) ? json_object_array_get_idx(ifs, k) : NULL;
			snprintf(where, sizeof(where), "%s %s", obj_str(in, "member"),
				 obj_str(in, "interface"));
			table_row(tb, (const char *[]){ k ? "" : i ? "" : name, k ? "" : i ? "" : use,
				  k ? "" : subnet, k ? "" : state, where, obj_str(in, "address"),
				  obj_str(in, "state") });
		}
	}
}

static int show(struct cmd *cmd, struct json_object *res)
{
	static const char *const head[] = { "NETWORK", "USE", "SUBNET", "STATE", "INTERFACE",
					    "ADDRESS", "STATE" };
	struct json_object *list = obj_get(res, "networks"), *silent = obj_get(res, "silent");
	struct table *tb;
	size_t i;

	if (cmd->json) {
		print_json(res);
	} else if (!obj_bool(res, "heartbeats")) {
		printf("this group has no heartbeats, so its networks are not watched\n");
	} else {
		tb = table_new(7);
		table_row(tb, head);
		for (i = 0; i < obj_len(list); i++)
			network_rows(tb, json_object_array_get_idx(list, i));
		table_print(tb, stdout);
		printf("as %s sees them; %s\n", obj_str(res, "seen_by"), obj_bool(res, "manual") ?
		       "kept by hand: dagctl network rediscover --auto ends that" :
		       "found from the members' interfaces");
	}
	for (i = 0; !cmd->json && i < obj_len(silent); i++)
		fprintf(stderr, "dagctl: member %s does not answer; its former addresses stand\n",
			json_object_get_string(json_object_array_get_idx(silent, i)));
	json_object_put(res);
	return EXIT_SUCCESS;
}

static int ask_and_show(struct cmd *cmd, const char *method)
{
	struct json_object *res = NULL;

	return client_call(cmd, method, cmd->params, &res) ? EXIT_FAILURE : show(cmd, res);
}

int cmd_network_list(struct cmd *cmd)
{
	return ask_and_show(cmd, "network.list");
}

int cmd_network_set(struct cmd *cmd)
{
	if (json_object_object_length(cmd->params) < 2) {
		fail("network set: nothing to set; see dagctl network set --help");
		return EXIT_USAGE;
	}
	return ask_and_show(cmd, "network.set");
}

int cmd_network_rediscover(struct cmd *cmd)
{
	return ask_and_show(cmd, "network.rediscover");
}

static void path_row(struct table *tb, struct json_object *p)
{
	const char *codec = obj_str(p, "compression");
	char log[48] = "log";
	char way[FMT_CELL], since[32], age[48] = "never", rtt[32] = "-", loss[32] = "-";

	snprintf(way, sizeof(way), "%s > %s", obj_str(p, "local"), obj_str(p, "remote"));
	fmt_seconds(obj_double(p, "since_seconds"), since);
	if (obj_get(p, "age_seconds")) {
		snprintf(age, sizeof(age), "%.1f s ago", obj_double(p, "age_seconds"));
		snprintf(loss, sizeof(loss), "%.1f %%", obj_double(p, "loss_percent"));
	}
	if (obj_get(p, "rtt_ms"))
		snprintf(rtt, sizeof(rtt), "%.2f ms", obj_double(p, "rtt_ms"));
	if (*codec && strcmp(codec, "none"))
		snprintf(log, sizeof(log), "log, %s%s", codec,
			 obj_bool(p, "compression_seed_only") ? " for seeds" : "");
	table_row(tb, (const char *[]){ obj_str(p, "member"),
		  *obj_str(p, "network") ? obj_str(p, "network") : "-", obj_str(p, "use"), way,
		  obj_str(p, "state"), since, age, loss, rtt, obj_bool(p, "chosen") ? log : "" });
}

int cmd_network_status(struct cmd *cmd)
{
	static const char *const head[] = { "TO", "NETWORK", "USE", "FROM > TO", "STATE", "SINCE",
					    "HEARD", "LOSS", "RTT", "" };
	static const char *const bad[] = { "forged", "foreign", "replayed", "malformed" };
	struct json_object *res = NULL, *list, *beats;
	struct table *tb;
	size_t i;

	if (client_call(cmd, "network.status", cmd->params, &res))
		return EXIT_FAILURE;
	list = obj_get(res, "paths");
	beats = obj_get(res, "heartbeats");
	if (cmd->json) {
		print_json(res);
	} else {
		tb = table_new(10);
		table_row(tb, head);
		for (i = 0; i < obj_len(list); i++)
			path_row(tb, json_object_array_get_idx(list, i));
		table_print(tb, stdout);
		printf("as %s sees them; \"log\": shipping and calls go there\n", obj_str(res, "seen_by"));
		for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
			if (obj_int(beats, bad[i]))
				printf("refused: %lld %s heartbeats; see dagctl events list --kind refused\n",
				       (long long)obj_int(beats, bad[i]), bad[i]);
	}
	json_object_put(res);
	return EXIT_SUCCESS;
}
