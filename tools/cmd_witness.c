// SPDX-License-Identifier: GPL-2.0
/* dagctl witness set|show|remove */
#include <stdio.h>
#include <stdlib.h>

#include "tools/client.h"
#include "tools/fmt.h"
#include "tools/verbs.h"

int cmd_witness_set(struct cmd *cmd)
{
	return invite_host(cmd, "witness.set");
}

int cmd_witness_show(struct cmd *cmd)
{
	struct json_object *res = NULL;

	if (client_call(cmd, "witness.show", cmd->params, &res))
		return EXIT_FAILURE;
	if (cmd->json) {
		print_json(res);
	} else {
		printf("quorum: %s\n", obj_str(res, "quorum"));
		if (*obj_str(res, "witness"))
			printf("witness: %s, address %s, port %lld%s\n", obj_str(res, "witness"),
			       obj_str(res, "address"), (long long)obj_int(res, "port"),
			       obj_bool(res, "voter") ? ", votes" : ", not needed now");
		else
			printf("witness: none%s\n", obj_bool(res, "manual_only") ? "; two members without "
			       "one activate nothing by themselves" : "");
		if (*obj_str(res, "alternate"))
			printf("alternate: %s, address %s; votes only after a group restore\n",
			       obj_str(res, "alternate"), obj_str(res, "alternate_address"));
	}
	json_object_put(res);
	return EXIT_SUCCESS;
}

int cmd_witness_remove(struct cmd *cmd)
{
	struct json_object *res = NULL;

	if (client_call(cmd, "witness.remove", cmd->params, &res))
		return EXIT_FAILURE;
	if (cmd->json)
		print_json(res);
	else
		printf("witness removed\n");
	json_object_put(res);
	return EXIT_SUCCESS;
}
