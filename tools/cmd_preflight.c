// SPDX-License-Identifier: GPL-2.0
/* dagctl preflight: what this host lacks to be a member; needs no daemon. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/preflight.h"
#include "tools/client.h"
#include "tools/fmt.h"
#include "tools/verbs.h"

#define EXIT_WARN	3

int cmd_preflight(struct cmd *cmd)
{
	const char *path = obj_str(cmd->params, "config"), *device = obj_str(cmd->params, "device");
	struct preflight_conf conf = { .device = *device ? device : NULL };
	enum preflight_level worst;
	struct json_object *obj;
	struct preflight pf;
	struct config cf;
	char err[400];
	unsigned i;

	if (config_load(*path ? path : CONFIG_PATH, !*path, &cf, err, sizeof(err)))
		return fail("preflight: %s", err);
	conf.cf = &cf;
	worst = preflight_run(&conf, &pf);
	if (cmd->json) {
		obj = preflight_to_obj(&pf);
		print_json(obj);
		json_object_put(obj);
	}
	for (i = 0; !cmd->json && i < pf.nr; i++) {
		printf("%-4s  %-9s %s\n", preflight_level_name(pf.res[i].level), pf.res[i].name,
		       pf.res[i].text);
		if (pf.res[i].next[0])
			printf("%16s > %s\n", "", pf.res[i].next);
	}
	return worst == PREFLIGHT_FAIL ? EXIT_FAILURE : worst == PREFLIGHT_WARN ? EXIT_WARN :
	       EXIT_SUCCESS;
}
