// SPDX-License-Identifier: GPL-2.0
/* dagctl log list|dump|verify: reads segments itself, the daemon need not run. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log/logdump.h"
#include "tools/client.h"
#include "tools/fmt.h"
#include "tools/verbs.h"

/* The log directory of a store's copy on this host. */
static int dir_of_store(struct cmd *cmd, const char *store, char *ret, size_t len)
{
	struct json_object *params = json_object_new_object(), *group = NULL, *st = NULL, *copies;
	const char *self;
	size_t i;
	int r;

	json_object_object_add(params, "store", json_object_new_string(store));
	ret[0] = '\0';
	r = client_call(cmd, "group.show", NULL, &group);
	if (!r)
		r = client_call(cmd, "store.show", params, &st);
	self = obj_str(group, "answered_by");
	copies = obj_get(st, "copies");
	for (i = 0; i < obj_len(copies); i++) {
		struct json_object *cp = json_object_array_get_idx(copies, i);

		if (!strcmp(obj_str(cp, "member"), self))
			snprintf(ret, len, "%s", obj_str(cp, "log_dir"));
	}
	if (!r && !ret[0])
		r = fail("store %s: has no copy on %s; run this on a member that has one", store, self);
	json_object_put(params);
	json_object_put(group);
	json_object_put(st);
	return r;
}

/* A word with a slash is a directory, else a store. */
static int find_dir(struct cmd *cmd, char *ret, size_t len)
{
	const char *word = obj_str(cmd->params, "dir");

	if (!strchr(word, '/') && strcmp(word, "."))
		return dir_of_store(cmd, word, ret, len);
	snprintf(ret, len, "%s", word);
	return 0;
}

static int dump(struct cmd *cmd, uint64_t from, uint64_t to)
{
	char dir[4096];
	int r;

	if (find_dir(cmd, dir, sizeof(dir)))
		return EXIT_FAILURE;
	r = logdump_dir(dir, stdout, cmd->json, from, to);
	if (r)
		return fail("log %s: %s", dir, strerror(-r));
	return EXIT_SUCCESS;
}

int cmd_log_list(struct cmd *cmd)
{
	return dump(cmd, 0, 0);
}

int cmd_log_dump(struct cmd *cmd)
{
	bool end = obj_get(cmd->params, "to") != NULL;

	return dump(cmd, obj_int(cmd->params, "from"), end ? (uint64_t)obj_int(cmd->params, "to") :
							    UINT64_MAX);
}

int cmd_log_verify(struct cmd *cmd)
{
	char dir[4096];
	int r;

	if (find_dir(cmd, dir, sizeof(dir)))
		return EXIT_FAILURE;
	r = logdump_verify(dir, stdout, cmd->json);
	if (r < 0)
		return fail("log %s: %s", dir, strerror(-r));
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}
